"""Several turns of the request budget in one statement, for those who ask for them at once."""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

# take_turn stays for the daemons of the version before.
TAKE_TURNS = """
CREATE FUNCTION counterfoil.take_turns(
    for_platform text, per_second float8, burst integer, concurrent integer, urgency integer, spare integer,
    may_reserve boolean, holders uuid[], hold float8, freed integer[], held_by uuid[]
) RETURNS TABLE (wait float8, slot integer, paused boolean, failures integer, reason text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    holder uuid;
BEGIN
    -- In the order of take_token: first the budget, then a place.
    PERFORM FROM counterfoil.budgets b WHERE b.platform = for_platform FOR UPDATE;
    -- With them what the same turns were given already, where their answer was lost.
    UPDATE counterfoil.slots s SET token = NULL, expires_at = NULL
    WHERE s.platform = for_platform AND (s.token = ANY (holders)
        OR (s.slot, s.token) IN (SELECT f.place, f.token FROM unnest(freed, held_by) AS f(place, token)));
    FOREACH holder IN ARRAY holders LOOP
        SELECT t.* INTO wait, slot, paused, failures, reason FROM counterfoil.take_token(
            for_platform, per_second, burst, concurrent, urgency, spare, may_reserve, holder, hold) t;
        RETURN NEXT;
        -- What is refused to one is refused to those behind.
        EXIT WHEN slot IS NULL;
    END LOOP;
END $$
"""


def upgrade() -> None:
    op.execute(TAKE_TURNS)
    op.execute("REVOKE ALL ON FUNCTION counterfoil.take_turns FROM PUBLIC")
    op.execute(
        "COMMENT ON FUNCTION counterfoil.take_turns IS "
        "'Give places back, and ask for a turn for each holder as take_token does, up to the first that is refused'"
    )


def downgrade() -> None:
    op.execute("DROP FUNCTION counterfoil.take_turns")
