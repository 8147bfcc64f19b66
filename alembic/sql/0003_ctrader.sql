-- cTrader's part of the order and of the boundary: an account is linked to its client before money moves on it.
-- What the revision before made is replaced as a whole where it changes.
-- A statement ends with a semicolon before an empty line; bodies are indented.

ALTER TABLE counterfoil.transition_rule DISABLE TRIGGER fixed;

INSERT INTO counterfoil.transition_rule (kind, previous_state, state)
SELECT 'link', r.previous_state, r.state FROM counterfoil.transition_rule r WHERE r.kind = 'account';

ALTER TABLE counterfoil.transition_rule ENABLE ALWAYS TRIGGER fixed;

CREATE OR REPLACE FUNCTION counterfoil.noun(kind text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN kind = 'client' THEN 'registrant' WHEN kind IN ('account', 'adopt') THEN 'account' WHEN kind = 'link' THEN 'link'
        WHEN kind IN ('update_client', 'update_account', 'reset_password') THEN 'update' ELSE 'operation' END
$$;

CREATE OR REPLACE FUNCTION counterfoil.guard_intent() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        NEW.previous_state := 'new';
        RETURN NEW;
    END IF;
    IF (NEW.id, NEW.kind, NEW.reference, NEW.registrant_id, NEW.account_reference, NEW.amount, NEW.idempotency_reference,
            NEW.created_at)
        IS DISTINCT FROM (OLD.id, OLD.kind, OLD.reference, OLD.registrant_id, OLD.account_reference, OLD.amount,
            OLD.idempotency_reference, OLD.created_at)
        -- The choice of a platform may put a step in between.
        OR (NEW.predecessor_id IS DISTINCT FROM OLD.predecessor_id
            AND (OLD.state <> 'waiting' OR OLD.platform IS NOT NULL OR NEW.platform IS NULL))
        OR (OLD.state <> 'waiting' AND NEW.platform IS DISTINCT FROM OLD.platform)
        OR NEW.wish IS DISTINCT FROM OLD.wish
    THEN
        RAISE EXCEPTION 'intent %: what was asked for never changes', OLD.id
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF NEW.state = OLD.state THEN
        NEW.previous_state := OLD.previous_state;
        NEW.changed_at := OLD.changed_at;
        NEW.confirmed_at := OLD.confirmed_at;
        -- An attempt belongs to one worker from its claim to its end.
        IF OLD.state = 'sent' AND (NEW.lease_token IS DISTINCT FROM OLD.lease_token OR NEW.attempts <> OLD.attempts
            OR (OLD.launched_at IS NOT NULL AND NEW.launched_at IS DISTINCT FROM OLD.launched_at))
        THEN
            RAISE EXCEPTION 'intent %: an attempt is under way', OLD.id USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        RETURN NEW;
    END IF;
    IF NEW.state = 'sent' AND NEW.amount IS NOT NULL
        AND EXISTS (SELECT FROM counterfoil.published_platforms p WHERE p.platform = NEW.platform AND p.kind = 'ctrader')
        AND EXISTS (SELECT FROM counterfoil.intents a WHERE a.reference = NEW.account_reference AND a.kind = 'account')
        AND NOT EXISTS (SELECT FROM counterfoil.intents l
            WHERE l.account_reference = NEW.account_reference AND l.kind = 'link' AND l.state = 'confirmed')
    THEN
        RAISE EXCEPTION 'intent %: account % is not linked to its client', OLD.id, NEW.account_reference
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    NEW.previous_state := OLD.state;
    NEW.changed_at := clock_timestamp();
    NEW.confirmed_at := CASE WHEN NEW.state = 'confirmed' THEN NEW.changed_at END;
    NEW.sent_at := CASE WHEN NEW.state = 'sent' THEN NEW.changed_at ELSE OLD.sent_at END;
    RETURN NEW;
END $$;

CREATE OR REPLACE FUNCTION counterfoil.require_value(field text, rule counterfoil.published_fields, value jsonb) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    said text := value #>> ARRAY[]::text[];
BEGIN
    IF jsonb_typeof(value) <> (CASE WHEN rule.type IN ('integer', 'number') THEN 'number'
            WHEN rule.type = 'boolean' THEN 'boolean' ELSE 'string' END) THEN
        PERFORM counterfoil.refuse('CF006', field, format('must be a %s', CASE rule.type WHEN 'text' THEN 'text'
            WHEN 'date' THEN 'date written as text, 2001-12-31' ELSE rule.type END));
    ELSIF said <> ALL (rule.choices) THEN
        PERFORM counterfoil.refuse('CF006', field, format('must be one of %s', array_to_string(rule.choices, ', ')));
    ELSIF rule.type = 'boolean' THEN
        RETURN;
    ELSIF rule.type = 'text' THEN
        PERFORM counterfoil.require_text(field, said, 1000);
        IF rule.name = 'email' AND said <> '' AND said !~ '^[^@[:space:]]+@[^@[:space:]]+$' THEN
            PERFORM counterfoil.refuse('CF006', field, 'must be an e-mail address');
        END IF;
    ELSIF rule.type = 'date' THEN
        BEGIN
            IF said !~ '^\d{4}-\d\d-\d\d$' OR CAST(said AS date) IS NULL THEN
                PERFORM counterfoil.refuse('CF006', field, 'must be a date such as 2001-12-31');
            END IF;
        EXCEPTION WHEN datetime_field_overflow OR invalid_datetime_format THEN
            PERFORM counterfoil.refuse('CF006', field, 'is no day of the calendar');
        END;
    ELSIF rule.type = 'integer' AND CAST(said AS numeric) <> trunc(CAST(said AS numeric)) THEN
        PERFORM counterfoil.refuse('CF006', field, 'must be a whole number');
    ELSIF CAST(said AS numeric) NOT BETWEEN coalesce(rule.lowest, -1000000000000000) AND coalesce(rule.highest, 1000000000000000)
    THEN
        PERFORM counterfoil.refuse('CF006', field, format('must be between %s and %s',
            coalesce(rule.lowest, -1000000000000000), coalesce(rule.highest, 1000000000000000)));
    END IF;
END $$;

CREATE FUNCTION counterfoil.step_before_money(of_account counterfoil.accounts) RETURNS counterfoil.intents
LANGUAGE sql VOLATILE AS $$
    -- The link where there is one, else the opening; held until we commit, as client_of.
    SELECT i.* FROM counterfoil.intents i
    WHERE i.account_reference = of_account.reference AND i.kind IN ('account', 'adopt', 'link')
    ORDER BY i.kind = 'link' DESC, i.id DESC LIMIT 1 FOR KEY SHARE
$$;

CREATE FUNCTION counterfoil.plan_link(opening counterfoil.intents, password_hash text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    intent bigint := counterfoil.plan('link', opening.reference, opening, opening.reference,
        jsonb_build_object('account', opening.reference));
BEGIN
    PERFORM counterfoil.keep_password(intent, 'password_hash', password_hash);
END $$;

CREATE OR REPLACE FUNCTION counterfoil.plan_account(
    reference text, registrant counterfoil.registrants, client counterfoil.intents, account jsonb
) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    rules counterfoil.published_rules := (SELECT r FROM counterfoil.published_rules r);
    of_kind text := (SELECT p.kind FROM counterfoil.published_platforms p WHERE p.platform = registrant.platform);
    login text := account ->> 'username';
    secrets jsonb := jsonb_build_object('user_password',
        coalesce(account ->> 'user_password', counterfoil.make_password(rules.password_length, rules.password_symbols)));
    intent bigint;
BEGIN
    IF of_kind = 'ctrader' AND account ? 'investor_password' THEN
        PERFORM counterfoil.refuse('CF006', 'investor_password', 'is no field of account');
    ELSIF of_kind IS DISTINCT FROM 'ctrader' THEN
        -- A cTrader account has neither: its number is given by the platform, and people log in as clients.
        login := coalesce(login, counterfoil.make_username(registrant.registrant_id, registrant.platform));
        secrets := secrets || jsonb_build_object('investor_password',
            coalesce(account ->> 'investor_password', counterfoil.make_password(rules.password_length, rules.password_symbols)));
    END IF;
    BEGIN
        INSERT INTO counterfoil.accounts (reference, registrant_id, platform, username, wish)
        VALUES (plan_account.reference, registrant.registrant_id, registrant.platform, login,
            counterfoil.public_part(account) - 'username');
    EXCEPTION WHEN unique_violation THEN
        IF EXISTS (SELECT FROM counterfoil.accounts a WHERE a.reference = plan_account.reference) THEN
            RETURN NULL;
        END IF;
        PERFORM counterfoil.refuse('CF006', 'username', format('%s belongs to another account', login));
    END;
    intent := counterfoil.plan('account', reference, client, reference, counterfoil.public_part(account));
    IF intent IS NULL THEN
        PERFORM counterfoil.refuse('CF004', 'reference', format('%s was used before, with other content', reference));
    END IF;
    PERFORM counterfoil.keep_password(intent, s.key, s.value) FROM jsonb_each_text(secrets) s;
    IF of_kind = 'ctrader' THEN
        PERFORM counterfoil.plan_link(counterfoil.opening_of(reference), md5(secrets ->> 'user_password'));
    END IF;
    RETURN jsonb_strip_nulls(jsonb_build_object('username', login)) || secrets;
END $$;

CREATE OR REPLACE FUNCTION counterfoil.plan_operation(
    kind text, reference text, account_reference text, amount numeric, note text, more jsonb
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    account counterfoil.accounts;
    -- Null in a place where the CRM said nothing is not the same as an absent one to jsonb.
    wish jsonb := jsonb_strip_nulls(jsonb_build_object('account', account_reference, 'amount',
        CASE WHEN amount = 'NaN' OR amount IN ('Infinity', '-Infinity') THEN NULL ELSE trim_scale(amount) END, 'note', note)) || more;
    intent bigint;
BEGIN
    IF counterfoil.repeats(counterfoil.named(reference), ARRAY[kind], wish) THEN
        RETURN;
    END IF;
    PERFORM counterfoil.hold_owner(account_reference);
    SELECT a.* INTO account FROM counterfoil.accounts a WHERE a.reference = plan_operation.account_reference;
    IF NOT FOUND THEN
        PERFORM counterfoil.refuse('CF005', 'account_reference', format('%s is not known', coalesce(account_reference, 'null')));
    END IF;
    PERFORM counterfoil.require_amount('amount', amount, counterfoil.digits_of(account));
    PERFORM counterfoil.require_text('note', note, 1000);
    intent := counterfoil.plan(kind, reference, counterfoil.step_before_money(account), account.reference, wish,
        trim_scale(amount), note);
    IF intent IS NULL THEN
        -- Another connection was quicker: with the same wish, or not.
        PERFORM counterfoil.repeats(counterfoil.named(reference), ARRAY[kind], wish);
    ELSIF kind = 'withdraw' THEN
        INSERT INTO counterfoil.payouts (reference, intent_id, previous_state, state)
        VALUES (plan_operation.reference, intent, 'new', 'blocked');
    END IF;
END $$;

CREATE OR REPLACE FUNCTION counterfoil.choose_platform(registrant_id text, platform text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    registrant counterfoil.registrants := counterfoil.locked_registrant(registrant_id);
    target_kind text := (counterfoil.require_platform(platform)).kind;
    client counterfoil.intents := counterfoil.client_of(registrant_id);
BEGIN
    IF registrant.platform = platform THEN
        RETURN;
    ELSIF registrant.platform IS NOT NULL THEN
        PERFORM counterfoil.refuse('CF004', 'platform', format('%s was chosen before', registrant.platform));
    ELSIF client.state <> 'waiting' THEN
        PERFORM counterfoil.refuse('CF003', NULL, format('registrant %s was %s', registrant_id, client.state));
    END IF;
    PERFORM counterfoil.require_fields('profile', 'client', target_kind, registrant.profile);
    PERFORM counterfoil.require_complete('client', target_kind, registrant.profile);
    PERFORM counterfoil.require_fields('account', 'account', target_kind, a.wish)
    FROM counterfoil.accounts a WHERE a.registrant_id = choose_platform.registrant_id;
    UPDATE counterfoil.registrants r SET platform = choose_platform.platform
    WHERE r.registrant_id = choose_platform.registrant_id;
    IF target_kind = 'ctrader' THEN
        PERFORM counterfoil.plan_link(i, (SELECT md5(convert_from(w.secret, 'UTF8')) FROM counterfoil.passwords w
            WHERE w.intent_id = i.id AND w.name = 'user_password'))
        FROM counterfoil.intents i
        WHERE i.registrant_id = choose_platform.registrant_id AND i.kind = 'account' AND i.state = 'waiting';
        DELETE FROM counterfoil.passwords w USING counterfoil.intents i
        WHERE i.id = w.intent_id AND i.registrant_id = choose_platform.registrant_id AND w.name = 'investor_password';
    END IF;
    UPDATE counterfoil.intents i SET platform = choose_platform.platform,
        state = CASE WHEN i.id = client.id THEN 'pending' ELSE i.state END,
        reason = CASE WHEN i.id = client.id THEN NULL ELSE i.reason END,
        predecessor_id = coalesce((SELECT l.id FROM counterfoil.intents l WHERE l.kind = 'link' AND l.state = 'waiting'
            AND l.account_reference = i.account_reference
            AND (i.amount IS NOT NULL OR i.kind = 'reset_password')), i.predecessor_id)
    WHERE i.registrant_id = choose_platform.registrant_id AND i.state = 'waiting';
    BEGIN
        UPDATE counterfoil.accounts a SET platform = choose_platform.platform,
            username = CASE WHEN target_kind <> 'ctrader' THEN a.username END
        WHERE a.registrant_id = choose_platform.registrant_id AND a.platform IS NULL;
    EXCEPTION WHEN unique_violation THEN
        PERFORM counterfoil.refuse('CF006', 'username', format('a login name of %s is taken on %s', registrant_id, platform));
    END;
END $$;

CREATE OR REPLACE FUNCTION counterfoil.reset_password(reference text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    account counterfoil.accounts := counterfoil.locked_account(reference);
    rules counterfoil.published_rules := (SELECT r FROM counterfoil.published_rules r);
    secrets jsonb := jsonb_build_object(
            'user_password', counterfoil.make_password(rules.password_length, rules.password_symbols))
        || CASE WHEN EXISTS (SELECT FROM counterfoil.published_platforms p WHERE p.platform = account.platform AND p.kind = 'ctrader')
            THEN jsonb_build_object()
            ELSE jsonb_build_object('investor_password', counterfoil.make_password(rules.password_length, rules.password_symbols)) END;
    intent bigint;
BEGIN
    -- The newest passwords are the ones that count.
    UPDATE counterfoil.intents i SET state = 'cancelled', reason = 'another password was asked for'
    WHERE i.account_reference = account.reference AND i.kind = 'reset_password' AND i.state IN ('waiting', 'pending');
    -- A link that is still to come needs the password with which the account was opened.
    intent := counterfoil.plan('reset_password', reference, counterfoil.step_before_money(account), reference, jsonb_build_object());
    PERFORM counterfoil.keep_password(intent, s.key, s.value) FROM jsonb_each_text(secrets) s;
    RETURN jsonb_build_object('registrant', account.registrant_id, 'account', reference,
        'credentials', jsonb_strip_nulls(jsonb_build_object('username', account.username)) || secrets);
END $$;

CREATE VIEW crm.registrants AS
    SELECT r.registrant_id, r.platform, r.client_id, i.state, i.reason, r.created_at, i.confirmed_at
    FROM counterfoil.registrants r CROSS JOIN LATERAL (SELECT c.* FROM counterfoil.intents c
        WHERE c.registrant_id = r.registrant_id AND c.kind = 'client' ORDER BY c.id DESC LIMIT 1) i;

CREATE VIEW crm.accounts AS
    -- Confirmed when it can be used: where accounts are linked, when that is done.
    SELECT a.reference, a.registrant_id, a.platform, a.account_id, a.username, s.state, s.reason, a.created_at, s.confirmed_at
    FROM counterfoil.accounts a CROSS JOIN LATERAL (SELECT i.state, i.reason, i.confirmed_at FROM counterfoil.intents i
        WHERE i.account_reference = a.reference AND i.kind IN ('account', 'adopt', 'link')
        ORDER BY CASE WHEN i.kind = 'link' THEN 1 WHEN i.state = 'confirmed' THEN 2 ELSE 0 END, i.id DESC LIMIT 1) s;

CREATE VIEW crm.operations AS
    SELECT i.reference, i.kind, i.platform, i.account_reference, a.account_id, i.amount, a.currency, i.state,
        coalesce(CASE WHEN i.state = 'pending' THEN (SELECT 'behind ' || b.reference FROM counterfoil.intents b
            WHERE b.lane = i.lane AND b.id < i.id AND b.state IN ('pending', 'sent', 'unknown', 'parked')
            ORDER BY b.id LIMIT 1) END, i.reason) AS reason,
        i.created_at AS requested_at, i.sent_at, i.confirmed_at,
        CAST(i.record_id AS text) AS platform_reference
    FROM counterfoil.intents i JOIN counterfoil.accounts a ON a.reference = i.account_reference
    WHERE i.kind IN ('deposit', 'withdraw', 'refund', 'credit_in', 'credit_out');

REVOKE ALL ON FUNCTION counterfoil.step_before_money(counterfoil.accounts), counterfoil.plan_link(counterfoil.intents, text)
FROM PUBLIC;

GRANT SELECT ON crm.registrants, crm.accounts, crm.operations TO counterfoil_crm;
