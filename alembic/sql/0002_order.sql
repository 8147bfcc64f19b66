-- What keeps the write path in order, whoever asks: rules as rows, triggers that nobody's session can switch off by
-- replication roles, and what follows from a state when it is reached.
-- A statement ends with a semicolon before an empty line; bodies are indented.

INSERT INTO counterfoil.transition_rule (kind, previous_state, state)
SELECT kinds.kind, ways.previous_state, ways.state
FROM unnest(ARRAY['client', 'account', 'adopt', 'deposit', 'withdraw', 'refund', 'credit_in', 'credit_out',
        'update_client', 'update_account', 'reset_password']) AS kinds (kind),
    (VALUES ('new', 'waiting'), ('new', 'pending'),
        ('waiting', 'pending'), ('waiting', 'cancelled'),
        ('pending', 'cancelled'), ('pending', 'sent'),
        ('sent', 'confirmed'), ('sent', 'rejected'), ('sent', 'pending'), ('sent', 'parked'), ('sent', 'unknown'),
        ('unknown', 'confirmed'), ('unknown', 'pending'), ('unknown', 'parked'),
        ('parked', 'confirmed'), ('parked', 'pending'), ('parked', 'cancelled')) AS ways (previous_state, state)
UNION ALL
VALUES ('payout', 'new', 'blocked'),
    ('payout', 'blocked', 'releasable'), ('payout', 'blocked', 'declined'),
    ('payout', 'releasable', 'released'), ('payout', 'releasable', 'refunding'),
    ('payout', 'released', 'settled'), ('payout', 'released', 'refunding'),
    ('payout', 'refunding', 'refunded');

CREATE FUNCTION counterfoil.refuse_change() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION '% of %.% is refused: what it holds is the proof of what was done',
        TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation';
END $$;

CREATE TRIGGER fixed BEFORE INSERT OR UPDATE OR DELETE ON counterfoil.transition_rule
    FOR EACH ROW EXECUTE FUNCTION counterfoil.refuse_change();

CREATE TRIGGER kept BEFORE DELETE ON counterfoil.intents FOR EACH ROW EXECUTE FUNCTION counterfoil.refuse_change();

CREATE TRIGGER kept BEFORE DELETE ON counterfoil.payouts FOR EACH ROW EXECUTE FUNCTION counterfoil.refuse_change();

CREATE TRIGGER kept BEFORE DELETE ON counterfoil.accounts FOR EACH ROW EXECUTE FUNCTION counterfoil.refuse_change();

CREATE TRIGGER kept BEFORE DELETE ON counterfoil.registrants FOR EACH ROW EXECUTE FUNCTION counterfoil.refuse_change();

CREATE TRIGGER kept BEFORE DELETE ON counterfoil.events FOR EACH ROW EXECUTE FUNCTION counterfoil.refuse_change();

CREATE TRIGGER kept BEFORE UPDATE OR DELETE ON counterfoil.decisions
    FOR EACH ROW EXECUTE FUNCTION counterfoil.refuse_change();

DO $$
DECLARE
    named text;
BEGIN
    FOREACH named IN ARRAY ARRAY['transition_rule', 'intents', 'payouts', 'accounts', 'registrants', 'events', 'decisions'] LOOP
        EXECUTE format('CREATE TRIGGER not_emptied BEFORE TRUNCATE ON counterfoil.%I
            FOR EACH STATEMENT EXECUTE FUNCTION counterfoil.refuse_change()', named);
        EXECUTE format('ALTER TABLE counterfoil.%I ENABLE ALWAYS TRIGGER not_emptied', named);
        EXECUTE format('ALTER TABLE counterfoil.%I ENABLE ALWAYS TRIGGER %I',
            named, CASE named WHEN 'transition_rule' THEN 'fixed' ELSE 'kept' END);
    END LOOP;
END $$;

CREATE FUNCTION counterfoil.guard_intent() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        NEW.previous_state := 'new';
        RETURN NEW;
    END IF;
    IF (NEW.id, NEW.kind, NEW.reference, NEW.registrant_id, NEW.account_reference, NEW.predecessor_id, NEW.amount,
            NEW.idempotency_reference, NEW.created_at)
        IS DISTINCT FROM (OLD.id, OLD.kind, OLD.reference, OLD.registrant_id, OLD.account_reference, OLD.predecessor_id,
            OLD.amount, OLD.idempotency_reference, OLD.created_at)
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
    NEW.previous_state := OLD.state;
    NEW.changed_at := clock_timestamp();
    NEW.confirmed_at := CASE WHEN NEW.state = 'confirmed' THEN NEW.changed_at END;
    NEW.sent_at := CASE WHEN NEW.state = 'sent' THEN NEW.changed_at ELSE OLD.sent_at END;
    RETURN NEW;
END $$;

CREATE TRIGGER guarded BEFORE INSERT OR UPDATE ON counterfoil.intents
    FOR EACH ROW EXECUTE FUNCTION counterfoil.guard_intent();

ALTER TABLE counterfoil.intents ENABLE ALWAYS TRIGGER guarded;

CREATE FUNCTION counterfoil.guard_payout() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        NEW.previous_state := 'new';
        IF NOT EXISTS (SELECT FROM counterfoil.intents i
            WHERE i.id = NEW.intent_id AND i.kind = 'withdraw' AND i.reference = NEW.reference)
        THEN
            RAISE EXCEPTION 'payout %: no withdrawal of this name stands behind it', NEW.reference
                USING ERRCODE = 'integrity_constraint_violation';
        END IF;
        RETURN NEW;
    END IF;
    IF (NEW.reference, NEW.intent_id) IS DISTINCT FROM (OLD.reference, OLD.intent_id)
        OR (OLD.released_at IS NOT NULL AND NEW.released_at IS DISTINCT FROM OLD.released_at)
        OR (NEW.state = OLD.state AND NEW IS DISTINCT FROM OLD)
    THEN
        RAISE EXCEPTION 'payout %: what was paid out, and when, never changes', OLD.reference
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    NEW.previous_state := CASE WHEN NEW.state = OLD.state THEN OLD.previous_state ELSE OLD.state END;
    RETURN NEW;
END $$;

CREATE TRIGGER guarded BEFORE INSERT OR UPDATE ON counterfoil.payouts
    FOR EACH ROW EXECUTE FUNCTION counterfoil.guard_payout();

ALTER TABLE counterfoil.payouts ENABLE ALWAYS TRIGGER guarded;

CREATE FUNCTION counterfoil.guard_event() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF OLD.id IS NOT NULL OR (NEW.entry, NEW.at, NEW.reference, NEW.event, NEW.state)
        IS DISTINCT FROM (OLD.entry, OLD.at, OLD.reference, OLD.event, OLD.state)
    THEN
        RAISE EXCEPTION 'event %: what was told stays told', OLD.entry USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END $$;

CREATE TRIGGER guarded BEFORE UPDATE ON counterfoil.events FOR EACH ROW EXECUTE FUNCTION counterfoil.guard_event();

ALTER TABLE counterfoil.events ENABLE ALWAYS TRIGGER guarded;

CREATE FUNCTION counterfoil.noun(kind text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN kind = 'client' THEN 'registrant' WHEN kind IN ('account', 'adopt') THEN 'account'
        WHEN kind IN ('update_client', 'update_account', 'reset_password') THEN 'update' ELSE 'operation' END
$$;

CREATE FUNCTION counterfoil.payout_may_leave(withdrawal_id bigint) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    -- A simulator's confirmation moves no money.
    SELECT EXISTS (SELECT FROM counterfoil.intents i
        LEFT JOIN counterfoil.platform_state s ON s.platform = i.platform
        LEFT JOIN counterfoil.published_rules r ON true
        WHERE i.id = withdrawal_id AND i.state = 'confirmed' AND (s.sandbox IS FALSE OR r.sandbox_payouts))
$$;

CREATE FUNCTION counterfoil.follow_intent() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO counterfoil.events (reference, event, state)
    VALUES (NEW.reference, counterfoil.noun(NEW.kind) || '.' || NEW.state, NEW.state);
    IF NEW.state = 'pending' THEN
        PERFORM pg_notify('counterfoil_work', NEW.platform);
    ELSIF NEW.state = 'confirmed' THEN
        -- What was planned while the platform was being chosen does not know it.
        UPDATE counterfoil.intents i
        SET state = 'pending', platform = NEW.platform, reason = NULL, due_at = clock_timestamp()
        WHERE i.predecessor_id = NEW.id AND i.state = 'waiting';
        IF NEW.kind = 'withdraw' AND counterfoil.payout_may_leave(NEW.id) THEN
            UPDATE counterfoil.payouts p SET state = 'releasable' WHERE p.intent_id = NEW.id AND p.state = 'blocked';
        ELSIF NEW.kind = 'refund' THEN
            UPDATE counterfoil.payouts p SET state = 'refunded'
            WHERE p.reference = NEW.wish ->> 'payout' AND p.state = 'refunding';
        END IF;
    ELSIF NEW.state IN ('rejected', 'cancelled') THEN
        UPDATE counterfoil.intents i
        SET state = 'cancelled', reason = format('%s %s was %s', counterfoil.noun(NEW.kind), NEW.reference, NEW.state)
        WHERE i.predecessor_id = NEW.id AND i.state = 'waiting';
        UPDATE counterfoil.payouts p SET state = 'declined' WHERE p.intent_id = NEW.id AND p.state = 'blocked';
    END IF;
    IF NEW.state IN ('confirmed', 'rejected', 'cancelled') THEN
        DELETE FROM counterfoil.passwords w WHERE w.intent_id = NEW.id;
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER followed AFTER INSERT ON counterfoil.intents
    FOR EACH ROW EXECUTE FUNCTION counterfoil.follow_intent();

CREATE TRIGGER followed_on AFTER UPDATE ON counterfoil.intents
    FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION counterfoil.follow_intent();

ALTER TABLE counterfoil.intents ENABLE ALWAYS TRIGGER followed, ENABLE ALWAYS TRIGGER followed_on;

CREATE FUNCTION counterfoil.follow_payout() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    INSERT INTO counterfoil.events (reference, event, state) VALUES (NEW.reference, 'payout.' || NEW.state, NEW.state);
    PERFORM pg_notify('counterfoil_work', '');
    RETURN NULL;
END $$;

CREATE TRIGGER followed AFTER INSERT ON counterfoil.payouts
    FOR EACH ROW EXECUTE FUNCTION counterfoil.follow_payout();

CREATE TRIGGER followed_on AFTER UPDATE ON counterfoil.payouts
    FOR EACH ROW WHEN (OLD.state IS DISTINCT FROM NEW.state) EXECUTE FUNCTION counterfoil.follow_payout();

ALTER TABLE counterfoil.payouts ENABLE ALWAYS TRIGGER followed, ENABLE ALWAYS TRIGGER followed_on;

CREATE FUNCTION counterfoil.identity() RETURNS text LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    -- Another server, a promoted standby or a recovery (timeline), another database, a dump that was put back (table): each
    -- may know less than what was done.
    SELECT concat_ws('/', (SELECT c.system_identifier FROM pg_control_system() c),
        left(pg_walfile_name(pg_current_wal_insert_lsn()), 8),
        (SELECT d.oid FROM pg_database d WHERE d.datname = current_database()),
        CAST('counterfoil.intents' AS regclass)::oid)
$$;

CREATE FUNCTION counterfoil.is_held() RETURNS boolean LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce((SELECT d.held_since IS NOT NULL OR d.identity <> counterfoil.identity()
        FROM counterfoil.database_identity d), false)
$$;
