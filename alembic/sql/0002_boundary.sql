-- The boundary to the CRM: schema crm holds what its developers call and read, schema counterfoil what these lean on.
-- Functions of crm run as the owner of the tables; role counterfoil_crm itself can write nothing.
-- A statement ends with a semicolon before an empty line; bodies are indented.

CREATE SCHEMA crm;

CREATE FUNCTION counterfoil.refuse(code text, field text, why text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%', concat_ws(': ', field, why) USING ERRCODE = code, COLUMN = coalesce(field, '');
END $$;

CREATE FUNCTION counterfoil.require_name(field text, name text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF name IS NULL OR octet_length(name) NOT BETWEEN 1 AND 200 THEN
        PERFORM counterfoil.refuse('CF006', field, 'must be 1 to 200 bytes long');
    ELSIF name ~ '[[:cntrl:]]' OR name <> btrim(name) THEN
        PERFORM counterfoil.refuse('CF006', field, 'must not hold control characters, nor begin or end with a space');
    ELSIF field = 'reference' AND name LIKE '%/refund' THEN
        PERFORM counterfoil.refuse('CF006', field, 'must not end in /refund: so the refund of a failed payout is named');
    END IF;
END $$;

CREATE FUNCTION counterfoil.require_text(field text, given text, longest integer) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF char_length(given) > longest OR given ~ '[\x01-\x08\x0b\x0c\x0e-\x1f\x7f]' THEN
        PERFORM counterfoil.refuse('CF006', field, format('must be at most %s printable characters', longest));
    END IF;
END $$;

CREATE FUNCTION counterfoil.require_amount(field text, amount numeric, digits integer) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF amount IS NULL OR amount = 'NaN' OR amount <= 0 OR amount = 'Infinity' THEN
        PERFORM counterfoil.refuse('CF006', field, 'must be a positive number');
    ELSIF amount >= 1000000000000000 THEN
        PERFORM counterfoil.refuse('CF006', field, 'must have at most 15 digits before the point');
    ELSIF scale(trim_scale(amount)) > coalesce(digits, 20) THEN
        PERFORM counterfoil.refuse('CF006', field, format('has more than %s digits after the point', coalesce(digits, 20)));
    END IF;
END $$;

CREATE FUNCTION counterfoil.require_platform(named text) RETURNS counterfoil.published_platforms LANGUAGE plpgsql AS $$
DECLARE
    found_one counterfoil.published_platforms;
BEGIN
    SELECT p.* INTO found_one FROM counterfoil.published_platforms p WHERE p.platform = named AND p.configured;
    IF NOT FOUND THEN
        PERFORM counterfoil.refuse('CF006', 'platform', format('%s is not known; known are %s', coalesce(named, 'null'),
            (SELECT coalesce(string_agg(p.platform, ', ' ORDER BY p.platform), 'none: run counterfoil migrate')
                FROM counterfoil.published_platforms p WHERE p.configured)));
    END IF;
    RETURN found_one;
END $$;

CREATE FUNCTION counterfoil.require_value(field text, rule counterfoil.published_fields, value jsonb) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    said text := value #>> ARRAY[]::text[];
BEGIN
    IF jsonb_typeof(value) <> (CASE WHEN rule.type IN ('integer', 'number') THEN 'number' ELSE 'string' END) THEN
        PERFORM counterfoil.refuse('CF006', field, format('must be a %s', CASE rule.type WHEN 'text' THEN 'text'
            WHEN 'date' THEN 'date written as text, 2001-12-31' ELSE rule.type END));
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

CREATE FUNCTION counterfoil.require_fields(field text, of_entity text, of_kind text, given jsonb) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    pair record;
    rule counterfoil.published_fields;
BEGIN
    IF given IS NULL OR jsonb_typeof(given) <> 'object' THEN
        PERFORM counterfoil.refuse('CF006', field, 'must be a JSON object');
    END IF;
    FOR pair IN SELECT e.key, e.value FROM jsonb_each(given) e ORDER BY e.key LOOP
        SELECT f.* INTO rule FROM counterfoil.published_fields f
        WHERE f.entity = of_entity AND f.name = pair.key AND f.kind = coalesce(of_kind, f.kind) ORDER BY f.kind LIMIT 1;
        IF NOT FOUND THEN
            PERFORM counterfoil.refuse('CF006', pair.key, format('is no field of %s', replace(field, '_', ' ')));
        END IF;
        PERFORM counterfoil.require_value(pair.key, rule, pair.value);
    END LOOP;
END $$;

CREATE FUNCTION counterfoil.require_complete(of_entity text, of_kind text, given jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    missing text;
BEGIN
    SELECT f.name INTO missing FROM counterfoil.published_fields f
    WHERE f.kind = of_kind AND f.entity = of_entity AND f.required AND btrim(coalesce(given ->> f.name, '')) = ''
    ORDER BY f.name LIMIT 1;
    IF FOUND THEN
        PERFORM counterfoil.refuse('CF006', missing, 'is required');
    END IF;
END $$;

CREATE FUNCTION counterfoil.idempotency_reference(reference text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    -- The same as domain.references.idempotency_reference.
    SELECT 'cf-' || left(encode(sha256(convert_to(reference, 'UTF8')), 'hex'), 28)
$$;

CREATE FUNCTION counterfoil.make_password(length integer, symbols boolean) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    -- Without characters that a person mistakes for another.
    letters text := 'ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnpqrstuvwxyz23456789' || CASE WHEN symbols THEN '!#%+-=?@_' ELSE '' END;
    made text;
    bytes bytea;
BEGIN
    LOOP
        made := '';
        WHILE char_length(made) < coalesce(length, 16) LOOP
            -- The server's strong random source; the bytes that carry a UUID's version and variant are left out.
            bytes := substring(uuid_send(gen_random_uuid()) FROM 10 FOR 7);
            FOR at IN 0..6 LOOP
                -- Bytes beyond the last full turn of the alphabet would make its first letters likelier.
                IF get_byte(bytes, at) < 256 - 256 % char_length(letters) AND char_length(made) < coalesce(length, 16) THEN
                    made := made || substr(letters, 1 + get_byte(bytes, at) % char_length(letters), 1);
                END IF;
            END LOOP;
        END LOOP;
        EXIT WHEN made ~ '[A-Z]' AND made ~ '[a-z]' AND made ~ '[0-9]' AND (symbols IS NOT TRUE OR made ~ '[!#%+=?@_-]');
    END LOOP;
    RETURN made;
END $$;

CREATE FUNCTION counterfoil.make_username(of_registrant text, on_platform text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    template text := (SELECT r.username FROM counterfoil.published_rules r);
    slug text := regexp_replace(of_registrant, '[^A-Za-z0-9._-]+', '-', 'g');
    number bigint := (SELECT count(*) FROM counterfoil.accounts a WHERE a.registrant_id = of_registrant);
    name text;
BEGIN
    IF slug <> of_registrant OR char_length(slug) > 24 THEN
        slug := left(slug, 15) || '-' || left(encode(sha256(convert_to(of_registrant, 'UTF8')), 'hex'), 8);
    END IF;
    LOOP
        number := number + 1;
        name := replace(replace(replace(coalesce(template, '{registrant}-{number}'), '{registrant}', slug),
            '{number}', CAST(number AS text)), '{platform}', coalesce(on_platform, 'x'));
        EXIT WHEN NOT EXISTS (SELECT FROM counterfoil.accounts a WHERE lower(a.username) = lower(name))
            AND NOT EXISTS (SELECT FROM mirror.accounts m WHERE lower(m.username) = lower(name));
    END LOOP;
    RETURN name;
END $$;

CREATE FUNCTION counterfoil.is_operation(kind text) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT kind IN ('deposit', 'withdraw', 'refund', 'credit_in', 'credit_out')
$$;

CREATE FUNCTION counterfoil.named(wanted text) RETURNS counterfoil.intents LANGUAGE sql STABLE AS $$
    -- The one namespace of accounts and balance operations.
    SELECT i.* FROM counterfoil.intents i WHERE i.reference = wanted
        AND (i.kind IN ('account', 'adopt') OR i.kind IN ('deposit', 'withdraw', 'refund', 'credit_in', 'credit_out'))
$$;

CREATE FUNCTION counterfoil.repeats(earlier counterfoil.intents, kinds text[], wish jsonb) RETURNS boolean
LANGUAGE plpgsql AS $$
BEGIN
    IF earlier.id IS NULL THEN
        RETURN false;
    ELSIF earlier.kind <> ALL (kinds) OR earlier.wish IS DISTINCT FROM wish THEN
        PERFORM counterfoil.refuse('CF004', 'reference', format('%s was used before, with other content', earlier.reference));
    END IF;
    RETURN true;
END $$;

CREATE FUNCTION counterfoil.client_of(of_registrant text) RETURNS counterfoil.intents LANGUAGE sql VOLATILE AS $$
    -- Held until we commit: what is planned behind it must not miss its confirmation.
    SELECT i.* FROM counterfoil.intents i WHERE i.registrant_id = of_registrant AND i.kind = 'client'
    ORDER BY i.id DESC LIMIT 1 FOR KEY SHARE
$$;

CREATE FUNCTION counterfoil.opening_of(of_account text) RETURNS counterfoil.intents LANGUAGE sql VOLATILE AS $$
    SELECT i.* FROM counterfoil.intents i WHERE i.reference = of_account AND i.kind IN ('account', 'adopt') FOR KEY SHARE
$$;

CREATE FUNCTION counterfoil.plan(
    kind text, reference text, predecessor counterfoil.intents, account_reference text, wish jsonb,
    amount numeric DEFAULT NULL, note text DEFAULT NULL
) RETURNS bigint LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    made bigint;
    ready boolean := predecessor.state = 'confirmed';
BEGIN
    IF predecessor.state IN ('rejected', 'cancelled') THEN
        PERFORM counterfoil.refuse('CF003', NULL, format('%s %s was %s: nothing can follow it',
            counterfoil.noun(predecessor.kind), predecessor.reference, predecessor.state));
    END IF;
    INSERT INTO counterfoil.intents AS i (kind, reference, registrant_id, account_reference, platform, predecessor_id,
        previous_state, state, reason, wish, amount, note, idempotency_reference)
    VALUES (plan.kind, plan.reference, predecessor.registrant_id, plan.account_reference, predecessor.platform, predecessor.id,
        'new', CASE WHEN ready THEN 'pending' ELSE 'waiting' END,
        CASE WHEN NOT ready THEN format('behind %s %s', counterfoil.noun(predecessor.kind), predecessor.reference) END,
        plan.wish, plan.amount, plan.note,
        CASE WHEN counterfoil.is_operation(plan.kind) THEN counterfoil.idempotency_reference(plan.reference) END)
    ON CONFLICT (reference) WHERE kind IN ('account', 'adopt')
        OR kind IN ('deposit', 'withdraw', 'refund', 'credit_in', 'credit_out') DO NOTHING
    RETURNING i.id INTO made;
    RETURN made;
END $$;

CREATE FUNCTION counterfoil.keep_password(for_intent bigint, name text, secret text) RETURNS void LANGUAGE sql AS $$
    INSERT INTO counterfoil.passwords (intent_id, name, secret, sealed)
    VALUES (for_intent, name, convert_to(secret, 'UTF8'), false)
$$;

CREATE FUNCTION counterfoil.require_password(field text, given jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF given IS NULL THEN
        RETURN;
    ELSIF jsonb_typeof(given) <> 'string' OR char_length(given #>> ARRAY[]::text[]) NOT BETWEEN 8 AND 64
        OR (given #>> ARRAY[]::text[]) ~ '[[:cntrl:]]'
    THEN
        PERFORM counterfoil.refuse('CF006', field, 'must be a text of 8 to 64 characters');
    END IF;
END $$;

CREATE FUNCTION counterfoil.public_part(account jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN jsonb_typeof(account) = 'object' THEN account - 'user_password' - 'investor_password' ELSE account END
$$;

CREATE FUNCTION counterfoil.require_account(account jsonb, of_kind text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM counterfoil.require_fields('account', 'account', of_kind, counterfoil.public_part(account));
    PERFORM counterfoil.require_password('user_password', account -> 'user_password');
    PERFORM counterfoil.require_password('investor_password', account -> 'investor_password');
    IF account ? 'username' AND (account ->> 'username') !~ '^[[:graph:]]{1,64}$' THEN
        PERFORM counterfoil.refuse('CF006', 'username', 'must be 1 to 64 characters without spaces');
    END IF;
END $$;

CREATE FUNCTION counterfoil.plan_account(
    reference text, registrant counterfoil.registrants, client counterfoil.intents, account jsonb
) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    rules counterfoil.published_rules := (SELECT r FROM counterfoil.published_rules r);
    login text := account ->> 'username';
    secrets jsonb;
    intent bigint;
BEGIN
    IF login IS NULL THEN
        login := counterfoil.make_username(registrant.registrant_id, registrant.platform);
    END IF;
    secrets := jsonb_build_object('user_password',
            coalesce(account ->> 'user_password', counterfoil.make_password(rules.password_length, rules.password_symbols)),
        'investor_password',
            coalesce(account ->> 'investor_password', counterfoil.make_password(rules.password_length, rules.password_symbols)));
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
    RETURN jsonb_build_object('username', login) || secrets;
END $$;

CREATE FUNCTION counterfoil.digits_of(of_account counterfoil.accounts) RETURNS integer LANGUAGE sql STABLE AS $$
    SELECT coalesce(of_account.currency_digits,
        (SELECT CAST(m.currency_digits AS integer) FROM mirror.accounts m
            WHERE m.platform = of_account.platform AND m.id = of_account.account_id AND m.currency_digits BETWEEN 0 AND 18),
        (SELECT CAST(g.currency_digits AS integer) FROM mirror.groups g WHERE g.currency_digits BETWEEN 0 AND 18 AND g.platform = of_account.platform AND g.id =
            coalesce(CAST(of_account.wish ->> 'group_id' AS numeric), (SELECT CAST(p.account_defaults ->> 'group_id' AS numeric)
                FROM counterfoil.published_platforms p WHERE p.platform = of_account.platform))))
$$;

CREATE FUNCTION counterfoil.hold_owner(of_account text) RETURNS void LANGUAGE sql AS $$
    -- Held until we commit, and before any step: a choice of platform is over by then or waits, and nobody waits in a circle.
    SELECT FROM counterfoil.registrants r
    WHERE r.registrant_id = (SELECT a.registrant_id FROM counterfoil.accounts a WHERE a.reference = of_account) FOR KEY SHARE
$$;

CREATE FUNCTION counterfoil.plan_operation(
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
    intent := counterfoil.plan(kind, reference, counterfoil.opening_of(account.reference), account.reference, wish,
        trim_scale(amount), note);
    IF intent IS NULL THEN
        -- Another connection was quicker: with the same wish, or not.
        PERFORM counterfoil.repeats(counterfoil.named(reference), ARRAY[kind], wish);
    ELSIF kind = 'withdraw' THEN
        INSERT INTO counterfoil.payouts (reference, intent_id, previous_state, state)
        VALUES (plan_operation.reference, intent, 'new', 'blocked');
    END IF;
END $$;

CREATE FUNCTION counterfoil.registered(registrant counterfoil.registrants, credentials jsonb) RETURNS jsonb
LANGUAGE sql STABLE AS $$
    SELECT jsonb_strip_nulls(jsonb_build_object(
        'registrant', registrant.registrant_id,
        'account', CASE WHEN registrant.wish ? 'account' THEN registrant.registrant_id || '/1' END,
        'deposit', CASE WHEN registrant.wish ? 'deposit' THEN registrant.registrant_id || '/1/deposit' END,
        'credentials', credentials))
$$;

CREATE FUNCTION counterfoil.register(
    registrant_id text, profile jsonb, platform text, account jsonb, deposit numeric
) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    rule text := coalesce((SELECT r.platform_choice FROM counterfoil.published_rules r), 'required');
    target text := coalesce(platform, nullif(rule, 'required'));
    target_kind text;
    wish jsonb := jsonb_strip_nulls(jsonb_build_object('profile', profile, 'platform', platform,
        'account', counterfoil.public_part(account), 'deposit', trim_scale(deposit)));
    registrant counterfoil.registrants;
    client counterfoil.intents;
    credentials jsonb;
BEGIN
    PERFORM counterfoil.require_name('registrant_id', registrant_id);
    SELECT r.* INTO registrant FROM counterfoil.registrants r WHERE r.registrant_id = register.registrant_id;
    IF NOT FOUND THEN
        IF target IS NOT NULL THEN
            target_kind := (counterfoil.require_platform(target)).kind;
            IF rule NOT IN ('required', target) THEN
                PERFORM counterfoil.refuse('CF006', 'platform', format('every registrant goes to %s', rule));
            END IF;
        END IF;
        PERFORM counterfoil.require_fields('profile', 'client', target_kind, profile);
        IF target_kind IS NOT NULL THEN
            PERFORM counterfoil.require_complete('client', target_kind, profile);
        END IF;
        IF account IS NOT NULL THEN
            PERFORM counterfoil.require_account(account, target_kind);
            IF octet_length(registrant_id) > 190 THEN
                PERFORM counterfoil.refuse('CF006', 'registrant_id', 'must be at most 190 bytes long where an account is named after it');
            END IF;
        ELSIF deposit IS NOT NULL THEN
            PERFORM counterfoil.refuse('CF006', 'deposit', 'needs an account');
        END IF;
        IF deposit IS NOT NULL THEN
            PERFORM counterfoil.require_amount('deposit', deposit, NULL);
        END IF;
        INSERT INTO counterfoil.registrants AS r (registrant_id, platform, profile, wish)
        VALUES (register.registrant_id, target, register.profile, wish)
        ON CONFLICT DO NOTHING RETURNING r.* INTO registrant;
        IF FOUND THEN
            INSERT INTO counterfoil.intents AS i (kind, reference, registrant_id, platform, previous_state, state, reason, wish)
            VALUES ('client', register.registrant_id, register.registrant_id, target, 'new',
                CASE WHEN target IS NULL THEN 'waiting' ELSE 'pending' END,
                CASE WHEN target IS NULL THEN 'a platform has to be chosen' END, wish)
            RETURNING i.* INTO client;
            IF account IS NOT NULL THEN
                credentials := counterfoil.plan_account(registrant_id || '/1', registrant, client, account);
                IF credentials IS NULL THEN
                    PERFORM counterfoil.refuse('CF004', 'reference', format('%s/1 was used before, with other content', registrant_id));
                END IF;
            END IF;
            IF deposit IS NOT NULL THEN
                PERFORM counterfoil.plan_operation('deposit', registrant_id || '/1/deposit', registrant_id || '/1', deposit, NULL,
                    jsonb_build_object());
            END IF;
            RETURN counterfoil.registered(registrant, credentials);
        END IF;
        SELECT r.* INTO registrant FROM counterfoil.registrants r WHERE r.registrant_id = register.registrant_id;
    END IF;
    IF registrant.wish IS DISTINCT FROM wish THEN
        PERFORM counterfoil.refuse('CF004', 'registrant_id', format('%s was registered before, with other content', registrant_id));
    END IF;
    RETURN counterfoil.registered(registrant, NULL);
END $$;

CREATE FUNCTION counterfoil.locked_registrant(wanted text) RETURNS counterfoil.registrants LANGUAGE plpgsql AS $$
DECLARE
    registrant counterfoil.registrants;
BEGIN
    -- The step first, then what it makes: in the order in which the daemon locks them when it notes a confirmation.
    PERFORM FROM counterfoil.intents i WHERE i.registrant_id = wanted AND i.kind = 'client' ORDER BY i.id DESC LIMIT 1 FOR UPDATE;
    SELECT r.* INTO registrant FROM counterfoil.registrants r WHERE r.registrant_id = wanted FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        PERFORM counterfoil.refuse('CF005', 'registrant_id', format('%s is not known', coalesce(wanted, 'null')));
    END IF;
    RETURN registrant;
END $$;

CREATE FUNCTION counterfoil.choose_platform(registrant_id text, platform text) RETURNS void LANGUAGE plpgsql AS $$
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
    UPDATE counterfoil.intents i SET platform = choose_platform.platform,
        state = CASE WHEN i.id = client.id THEN 'pending' ELSE i.state END,
        reason = CASE WHEN i.id = client.id THEN NULL ELSE i.reason END
    WHERE i.registrant_id = choose_platform.registrant_id AND i.state = 'waiting';
    BEGIN
        UPDATE counterfoil.accounts a SET platform = choose_platform.platform
        WHERE a.registrant_id = choose_platform.registrant_id AND a.platform IS NULL;
    EXCEPTION WHEN unique_violation THEN
        PERFORM counterfoil.refuse('CF006', 'username', format('a login name of %s is taken on %s', registrant_id, platform));
    END;
END $$;

CREATE FUNCTION counterfoil.require_updatable(
    of_entity text, of_kind text, given jsonb, owned text[]
) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    field text;
BEGIN
    FOR field IN SELECT k FROM jsonb_object_keys(given) k ORDER BY k LOOP
        IF owned IS NOT NULL AND field <> ALL (owned) THEN
            PERFORM counterfoil.refuse('CF006', field, 'is not owned by the CRM (crm.owned_fields)');
        ELSIF NOT EXISTS (SELECT FROM counterfoil.published_fields f WHERE f.kind = of_kind AND f.entity = of_entity
            AND f.name = field AND f.updatable)
        THEN
            PERFORM counterfoil.refuse('CF006', field, 'is never changed by an update');
        END IF;
    END LOOP;
END $$;

CREATE FUNCTION counterfoil.difference(before jsonb, after jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(jsonb_object_agg(a.key, a.value), jsonb_build_object()) FROM jsonb_each(after) a
    WHERE before -> a.key IS DISTINCT FROM a.value
$$;

CREATE FUNCTION counterfoil.update_profile(registrant_id text, profile jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    registrant counterfoil.registrants := counterfoil.locked_registrant(registrant_id);
    of_kind text := (SELECT p.kind FROM counterfoil.published_platforms p WHERE p.platform = registrant.platform);
    changes jsonb;
    client counterfoil.intents;
BEGIN
    PERFORM counterfoil.require_fields('profile', 'client', of_kind, profile);
    changes := counterfoil.difference(registrant.profile, profile);
    IF changes = jsonb_build_object() THEN
        RETURN;
    END IF;
    -- Until we commit it is neither sent nor confirmed: the claim reads the profile after it has this row.
    SELECT i.* INTO client FROM counterfoil.intents i WHERE i.kind = 'client' AND i.registrant_id = registrant.registrant_id
    ORDER BY i.id DESC LIMIT 1 FOR NO KEY UPDATE;
    IF client.state = 'cancelled' THEN
        PERFORM counterfoil.refuse('CF003', NULL, format('registrant %s was cancelled', registrant_id));
    ELSIF of_kind IS NOT NULL THEN
        PERFORM counterfoil.require_complete('client', of_kind, registrant.profile || changes);
    END IF;
    UPDATE counterfoil.registrants r SET profile = r.profile || changes WHERE r.registrant_id = registrant.registrant_id;
    IF client.state = 'rejected' THEN
        INSERT INTO counterfoil.intents (kind, reference, registrant_id, platform, previous_state, state, wish)
        VALUES ('client', registrant.registrant_id, registrant.registrant_id, registrant.platform, 'new', 'pending', changes);
    ELSIF client.state NOT IN ('waiting', 'pending') THEN
        PERFORM counterfoil.require_updatable('client', of_kind, changes, (SELECT r.owned_fields FROM counterfoil.published_rules r));
        PERFORM counterfoil.plan('update_client', registrant.registrant_id, client, NULL, changes);
    END IF;
END $$;

CREATE FUNCTION counterfoil.open_account(reference text, registrant_id text, account jsonb) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    registrant counterfoil.registrants;
    earlier counterfoil.intents := counterfoil.named(reference);
    wish jsonb := counterfoil.public_part(CASE WHEN jsonb_typeof(account) = 'object' THEN account END);
    credentials jsonb;
BEGIN
    PERFORM counterfoil.require_name('reference', reference);
    -- Held until we commit: neither a choice of platform nor another derived login name comes between.
    registrant := counterfoil.locked_registrant(registrant_id);
    IF earlier.id IS NULL THEN
        PERFORM counterfoil.require_account(account,
            (SELECT p.kind FROM counterfoil.published_platforms p WHERE p.platform = registrant.platform));
        credentials := counterfoil.plan_account(reference, registrant, counterfoil.client_of(registrant_id), account);
    END IF;
    IF credentials IS NULL THEN
        earlier := counterfoil.named(reference);
        PERFORM counterfoil.repeats(earlier, ARRAY['account'], wish);
        IF earlier.registrant_id <> registrant_id THEN
            PERFORM counterfoil.refuse('CF004', 'reference', format('%s belongs to another registrant', reference));
        END IF;
    END IF;
    RETURN jsonb_strip_nulls(jsonb_build_object('registrant', registrant_id, 'account', reference, 'credentials', credentials));
END $$;

CREATE FUNCTION counterfoil.adopt_account(reference text, registrant_id text, platform text, account_id bigint) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    registrant counterfoil.registrants;
    wish jsonb := jsonb_strip_nulls(jsonb_build_object('registrant', registrant_id, 'platform', platform, 'account_id', account_id));
    owner text;
BEGIN
    PERFORM counterfoil.require_name('reference', reference);
    IF counterfoil.repeats(counterfoil.named(reference), ARRAY['adopt'], wish) THEN
        RETURN;
    END IF;
    SELECT r.* INTO registrant FROM counterfoil.registrants r WHERE r.registrant_id = adopt_account.registrant_id;
    IF NOT FOUND THEN
        PERFORM counterfoil.refuse('CF005', 'registrant_id', format('%s is not known', coalesce(registrant_id, 'null')));
    END IF;
    PERFORM counterfoil.require_platform(platform);
    IF registrant.platform IS DISTINCT FROM platform THEN
        PERFORM counterfoil.refuse('CF006', 'platform',
            format('the registrant''s is %s', coalesce(registrant.platform, 'not chosen yet')));
    ELSIF account_id IS NULL OR account_id <= 0 THEN
        PERFORM counterfoil.refuse('CF006', 'account_id', 'must be a positive number');
    END IF;
    SELECT a.reference INTO owner FROM counterfoil.accounts a
    WHERE a.platform = adopt_account.platform AND a.account_id = adopt_account.account_id;
    IF FOUND THEN
        PERFORM counterfoil.refuse('CF006', 'account_id', format('%s belongs to reference %s', account_id, owner));
    END IF;
    BEGIN
        INSERT INTO counterfoil.accounts (reference, registrant_id, platform, wish)
        VALUES (adopt_account.reference, adopt_account.registrant_id, adopt_account.platform, jsonb_build_object());
    EXCEPTION WHEN unique_violation THEN
        PERFORM counterfoil.repeats(counterfoil.named(reference), ARRAY['adopt'], wish);
        RETURN;
    END;
    IF counterfoil.plan('adopt', reference, counterfoil.client_of(registrant_id), reference, wish) IS NULL THEN
        PERFORM counterfoil.refuse('CF004', 'reference', format('%s was used before, with other content', reference));
    END IF;
END $$;

CREATE FUNCTION counterfoil.locked_account(wanted text) RETURNS counterfoil.accounts LANGUAGE plpgsql AS $$
DECLARE
    account counterfoil.accounts;
BEGIN
    PERFORM counterfoil.hold_owner(wanted);
    -- The step first, as in locked_registrant.
    PERFORM FROM counterfoil.intents i WHERE i.reference = wanted AND i.kind IN ('account', 'adopt') FOR UPDATE;
    SELECT a.* INTO account FROM counterfoil.accounts a WHERE a.reference = wanted FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        PERFORM counterfoil.refuse('CF005', 'reference', format('%s is not known', coalesce(wanted, 'null')));
    END IF;
    RETURN account;
END $$;

CREATE FUNCTION counterfoil.update_account(reference text, changes jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    account counterfoil.accounts := counterfoil.locked_account(reference);
    platform counterfoil.published_platforms;
    opening counterfoil.intents;
    fresh jsonb;
BEGIN
    SELECT p.* INTO platform FROM counterfoil.published_platforms p WHERE p.platform = account.platform;
    PERFORM counterfoil.require_fields('changes', 'account', platform.kind, changes);
    fresh := counterfoil.difference(account.wish, changes);
    IF fresh = jsonb_build_object() THEN
        RETURN;
    END IF;
    SELECT i.* INTO opening FROM counterfoil.intents i WHERE i.reference = account.reference AND i.kind IN ('account', 'adopt')
    FOR NO KEY UPDATE;
    IF opening.kind = 'adopt' OR opening.state NOT IN ('waiting', 'pending') THEN
        IF NOT coalesce(platform.updates_accounts, false) THEN
            PERFORM counterfoil.refuse('CF003', NULL, format('accounts of %s are not updated: set its `put: partial` when the broker '
                'confirms that a PUT keeps what it does not name', coalesce(account.platform, 'no platform yet')));
        END IF;
        PERFORM counterfoil.plan('update_account', reference, opening, reference, fresh);
    END IF;
    -- After the plan, which refuses where nothing can follow.
    PERFORM counterfoil.require_updatable('account', coalesce(platform.kind, 'omtrader'), fresh, NULL);
    UPDATE counterfoil.accounts a SET wish = a.wish || fresh WHERE a.reference = account.reference;
END $$;

CREATE FUNCTION counterfoil.reset_password(reference text) RETURNS jsonb LANGUAGE plpgsql AS $$
DECLARE
    account counterfoil.accounts := counterfoil.locked_account(reference);
    rules counterfoil.published_rules := (SELECT r FROM counterfoil.published_rules r);
    secrets jsonb := jsonb_build_object(
        'user_password', counterfoil.make_password(rules.password_length, rules.password_symbols),
        'investor_password', counterfoil.make_password(rules.password_length, rules.password_symbols));
    intent bigint;
BEGIN
    -- The newest passwords are the ones that count.
    UPDATE counterfoil.intents i SET state = 'cancelled', reason = 'another password was asked for'
    WHERE i.account_reference = account.reference AND i.kind = 'reset_password' AND i.state IN ('waiting', 'pending');
    intent := counterfoil.plan('reset_password', reference, counterfoil.opening_of(reference), reference, jsonb_build_object());
    PERFORM counterfoil.keep_password(intent, s.key, s.value) FROM jsonb_each_text(secrets) s;
    RETURN jsonb_build_object('registrant', account.registrant_id, 'account', reference,
        'credentials', jsonb_strip_nulls(jsonb_build_object('username', account.username)) || secrets);
END $$;

CREATE FUNCTION counterfoil.cancel(reference text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    intent counterfoil.intents := counterfoil.named(reference);
BEGIN
    IF intent.id IS NULL THEN
        intent := counterfoil.client_of(reference);
    END IF;
    IF intent.id IS NULL THEN
        PERFORM counterfoil.refuse('CF005', 'reference', format('%s is not known', coalesce(reference, 'null')));
    END IF;
    SELECT i.* INTO intent FROM counterfoil.intents i WHERE i.id = intent.id FOR UPDATE;
    IF intent.state = 'cancelled' THEN
        RETURN;
    ELSIF intent.state NOT IN ('waiting', 'pending') OR intent.kind = 'refund' THEN
        PERFORM counterfoil.refuse('CF003', NULL, format('%s is %s and cannot be cancelled any more', reference,
            CASE WHEN intent.kind = 'refund' THEN 'a refund' ELSE intent.state END));
    ELSIF intent.probed_at IS NOT NULL OR (intent.attempts > 0 AND intent.probe_first) THEN
        PERFORM counterfoil.refuse('CF003', NULL, format('%s was sent once, or may have been before the database was restored; a '
            'person can cancel it with counterfoil intents cancel', reference));
    END IF;
    UPDATE counterfoil.intents i SET state = 'cancelled', reason = 'cancelled by the CRM' WHERE i.id = intent.id;
END $$;

CREATE FUNCTION counterfoil.locked_payout(wanted text) RETURNS counterfoil.payouts LANGUAGE plpgsql AS $$
DECLARE
    payout counterfoil.payouts;
BEGIN
    SELECT p.* INTO payout FROM counterfoil.payouts p WHERE p.reference = wanted FOR UPDATE;
    IF NOT FOUND THEN
        PERFORM counterfoil.refuse('CF005', 'reference', format('%s is not known as a payout', coalesce(wanted, 'null')));
    END IF;
    RETURN payout;
END $$;

CREATE FUNCTION counterfoil.release_payout(reference text, OUT amount numeric, OUT currency text, OUT account text,
    OUT released_at timestamptz) LANGUAGE plpgsql AS $$
DECLARE
    payout counterfoil.payouts := counterfoil.locked_payout(reference);
BEGIN
    IF payout.released_at IS NOT NULL THEN
        PERFORM counterfoil.refuse('CF002', NULL, format('%s was released at %s', reference, payout.released_at));
    ELSIF payout.state = 'blocked' THEN
        PERFORM counterfoil.refuse('CF001', NULL, format('%s: the platform has not confirmed the withdrawal', reference));
    ELSIF payout.state <> 'releasable' THEN
        PERFORM counterfoil.refuse('CF003', NULL, format('%s is %s', reference, payout.state));
    ELSIF counterfoil.is_held() THEN
        PERFORM counterfoil.refuse('CF003', NULL, format('%s: the database was restored or failed over; a person has to agree '
            'first, see counterfoil status', reference));
    END IF;
    UPDATE counterfoil.payouts p SET state = 'released', released_at = clock_timestamp()
    WHERE p.reference = payout.reference AND p.state = 'releasable' RETURNING p.released_at INTO STRICT released_at;
    SELECT i.amount, coalesce(a.currency, m.currency), a.reference INTO STRICT amount, currency, account
    FROM counterfoil.intents i JOIN counterfoil.accounts a ON a.reference = i.account_reference
    LEFT JOIN mirror.accounts m ON m.platform = a.platform AND m.id = a.account_id WHERE i.id = payout.intent_id;
    IF currency IS NULL THEN
        PERFORM counterfoil.refuse('CF003', NULL, format('%s: the account''s currency is not known yet', reference));
    END IF;
END $$;

CREATE FUNCTION counterfoil.settle_payout(reference text, bank_reference text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    payout counterfoil.payouts := counterfoil.locked_payout(reference);
BEGIN
    PERFORM counterfoil.require_name('bank_reference', bank_reference);
    IF payout.state = 'settled' AND payout.bank_reference = bank_reference THEN
        RETURN;
    ELSIF payout.state = 'settled' THEN
        PERFORM counterfoil.refuse('CF004', 'bank_reference', format('%s was settled with another', reference));
    ELSIF payout.state <> 'released' THEN
        PERFORM counterfoil.refuse('CF003', NULL, format('%s is %s, not released', reference, payout.state));
    END IF;
    UPDATE counterfoil.payouts p SET state = 'settled', settled_at = clock_timestamp(),
        bank_reference = settle_payout.bank_reference
    WHERE p.reference = payout.reference;
END $$;

CREATE FUNCTION counterfoil.fail_payout(reference text, reason text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    payout counterfoil.payouts := counterfoil.locked_payout(reference);
    withdrawal counterfoil.intents;
BEGIN
    IF reason IS NULL OR btrim(reason) = '' THEN
        PERFORM counterfoil.refuse('CF006', 'reason', 'must not be empty');
    END IF;
    PERFORM counterfoil.require_text('reason', reason, 1000);
    IF payout.state IN ('refunding', 'refunded') AND payout.failure = reason THEN
        RETURN;
    ELSIF payout.state IN ('refunding', 'refunded') THEN
        PERFORM counterfoil.refuse('CF004', 'reason', format('%s failed before, for another reason', reference));
    ELSIF payout.state NOT IN ('releasable', 'released') THEN
        PERFORM counterfoil.refuse('CF003', NULL, format('%s is %s', reference, payout.state));
    END IF;
    UPDATE counterfoil.payouts p SET state = 'refunding', failure = fail_payout.reason WHERE p.reference = payout.reference;
    SELECT i.* INTO STRICT withdrawal FROM counterfoil.intents i WHERE i.id = payout.intent_id;
    PERFORM counterfoil.plan_operation('refund', reference || '/refund', withdrawal.account_reference, withdrawal.amount, NULL,
        jsonb_build_object('payout', reference));
END $$;

CREATE FUNCTION crm.register(registrant_id text, profile jsonb, platform text DEFAULT NULL, account jsonb DEFAULT NULL,
    deposit numeric DEFAULT NULL) RETURNS jsonb
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'SELECT counterfoil.register($1, $2, $3, $4, $5)';

CREATE FUNCTION crm.choose_platform(registrant_id text, platform text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'SELECT counterfoil.choose_platform($1, $2)';

CREATE FUNCTION crm.update_profile(registrant_id text, profile jsonb) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'SELECT counterfoil.update_profile($1, $2)';

CREATE FUNCTION crm.open_account(reference text, registrant_id text, account jsonb) RETURNS jsonb
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'SELECT counterfoil.open_account($1, $2, $3)';

CREATE FUNCTION crm.update_account(reference text, changes jsonb) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'SELECT counterfoil.update_account($1, $2)';

CREATE FUNCTION crm.adopt_account(reference text, registrant_id text, platform text, account_id bigint) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'SELECT counterfoil.adopt_account($1, $2, $3, $4)';

CREATE FUNCTION crm.reset_password(reference text) RETURNS jsonb
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'SELECT counterfoil.reset_password($1)';

CREATE FUNCTION counterfoil.operation(kind text, reference text, account_reference text, amount numeric, note text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM counterfoil.require_name('reference', reference);
    PERFORM counterfoil.plan_operation(kind, reference, account_reference, amount, note, jsonb_build_object());
END $$;

CREATE FUNCTION crm.deposit(reference text, account_reference text, amount numeric, note text DEFAULT NULL) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
'SELECT counterfoil.operation(''deposit'', $1, $2, $3, $4)';

CREATE FUNCTION crm.withdraw(reference text, account_reference text, amount numeric, note text DEFAULT NULL) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
'SELECT counterfoil.operation(''withdraw'', $1, $2, $3, $4)';

CREATE FUNCTION counterfoil.credit(reference text, account_reference text, amount numeric, direction text, note text)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF direction IS NULL OR direction NOT IN ('in', 'out') THEN
        PERFORM counterfoil.refuse('CF006', 'direction', 'must be in or out');
    END IF;
    PERFORM counterfoil.operation('credit_' || direction, reference, account_reference, amount, note);
END $$;

CREATE FUNCTION crm.credit(reference text, account_reference text, amount numeric, direction text, note text DEFAULT NULL)
RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
'SELECT counterfoil.credit($1, $2, $3, $4, $5)';

CREATE FUNCTION crm.release_payout(reference text, OUT amount numeric, OUT currency text, OUT account text,
    OUT released_at timestamptz)
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'SELECT * FROM counterfoil.release_payout($1)';

CREATE FUNCTION crm.settle_payout(reference text, bank_reference text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'SELECT counterfoil.settle_payout($1, $2)';

CREATE FUNCTION crm.fail_payout(reference text, reason text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'SELECT counterfoil.fail_payout($1, $2)';

CREATE FUNCTION crm.cancel(reference text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS 'SELECT counterfoil.cancel($1)';

CREATE VIEW crm.registrants AS
    SELECT r.registrant_id, r.platform, r.client_id, i.state, i.reason, r.created_at, i.confirmed_at
    FROM counterfoil.registrants r CROSS JOIN LATERAL (SELECT c.* FROM counterfoil.intents c
        WHERE c.registrant_id = r.registrant_id AND c.kind = 'client' ORDER BY c.id DESC LIMIT 1) i;

CREATE VIEW crm.accounts AS
    SELECT a.reference, a.registrant_id, a.platform, a.account_id, a.username, i.state, i.reason,
        a.created_at, i.confirmed_at
    FROM counterfoil.accounts a JOIN counterfoil.intents i ON i.reference = a.reference AND i.kind IN ('account', 'adopt');

CREATE VIEW crm.operations AS
    SELECT i.reference, i.kind, i.platform, i.account_reference, a.account_id, i.amount, a.currency, i.state,
        coalesce(CASE WHEN i.state = 'pending' THEN (SELECT 'behind ' || b.reference FROM counterfoil.intents b
            WHERE b.lane = i.lane AND b.id < i.id AND b.state IN ('pending', 'sent', 'unknown', 'parked')
            ORDER BY b.id LIMIT 1) END, i.reason) AS reason,
        i.created_at AS requested_at, i.sent_at, i.confirmed_at,
        CAST(i.record_id AS text) AS platform_reference
    FROM counterfoil.intents i JOIN counterfoil.accounts a ON a.reference = i.account_reference
    WHERE i.kind IN ('deposit', 'withdraw', 'refund', 'credit_in', 'credit_out');

CREATE VIEW crm.payouts AS
    SELECT p.reference, p.state, i.amount, a.currency, i.confirmed_at AS withdrawal_confirmed_at, p.released_at, p.settled_at,
        p.bank_reference
    FROM counterfoil.payouts p JOIN counterfoil.intents i ON i.id = p.intent_id
    JOIN counterfoil.accounts a ON a.reference = i.account_reference;

CREATE VIEW crm.events AS
    SELECT e.id, e.at, e.reference, e.event, e.state FROM counterfoil.events e WHERE e.id IS NOT NULL;

REVOKE ALL ON SCHEMA crm FROM PUBLIC;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA crm, counterfoil FROM PUBLIC;

GRANT USAGE ON SCHEMA crm TO counterfoil_crm;

GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA crm TO counterfoil_crm;

GRANT SELECT ON ALL TABLES IN SCHEMA crm TO counterfoil_crm;
