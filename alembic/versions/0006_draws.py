"""Versions drawn for many rows at once, so that several transactions may copy rows at the same time and still appear in order.

And a turn of the request budget that gives places back in the same breath, and an index on deals that is cheaper to keep.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

MIRROR = (
    *(
        "accounts",
        "clients",
        "commissions",
        "deals",
        "deposit_assets",
        "group_symbols",
        "groups",
        "orders",
        "positions",
    ),
    *("subaccounts", "symbols", "transactions"),
)

# 1986359923 is the lock under which versions are drawn. Whoever draws row by row holds it alone to the end of the transaction, as
# ever since 0001, so that a daemon of the version before may go on beside these. Whoever draws many holds it together with others
# of the kind, one at a time under 1986359924; a lock named by the draw's last number is what those who draw later wait for.
FUNCTIONS = (
    """
    CREATE FUNCTION counterfoil.lock_versions() RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
    BEGIN
        PERFORM pg_advisory_xact_lock(1986359923);
    END $$
    """,
    """
    CREATE FUNCTION counterfoil.draw_versions(rows bigint) RETURNS bigint LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
    DECLARE
        drawn bigint;
    BEGIN
        PERFORM pg_advisory_xact_lock_shared(1986359923);
        BEGIN
            -- Of the session, so that it can be given back before the transaction ends; in a block, so that it always is.
            PERFORM pg_advisory_lock(1986359924);
            drawn := nextval('mirror.version');
            PERFORM pg_advisory_xact_lock(1986359923, ((drawn + rows - 1) % 2147483648)::integer);
            PERFORM setval('mirror.version', drawn + rows - 1);
            PERFORM pg_advisory_unlock(1986359924);
            RETURN drawn;
        EXCEPTION WHEN query_canceled OR OTHERS THEN
            PERFORM pg_advisory_unlock(1986359924);
            RAISE;
        END;
    END $$
    """,
    """
    CREATE FUNCTION counterfoil.await_versions(drawn bigint) RETURNS void LANGUAGE plpgsql
    SET search_path = pg_catalog, pg_temp AS $$
    BEGIN
        -- Not only for the draw just before: its transaction may have failed, without waiting for those before it.
        PERFORM pg_advisory_xact_lock_shared(1986359923, l.objid::integer)
        FROM pg_locks l JOIN pg_database d ON d.oid = l.database AND d.datname = current_database()
        WHERE l.locktype = 'advisory' AND l.classid = 1986359923 AND l.objsubid = 2 AND l.mode = 'ExclusiveLock'
          AND l.pid <> pg_backend_pid() AND (drawn - 1 - l.objid::bigint + 2147483648) % 2147483648 < 1073741824;
    END $$
    """,
)
TAKE_TURN = """
CREATE FUNCTION counterfoil.take_turn(
    for_platform text, per_second float8, burst integer, concurrent integer, urgency integer, spare integer,
    may_reserve boolean, holder uuid, hold float8, freed integer[], held_by uuid[]
) RETURNS TABLE (wait float8, slot integer, paused boolean, failures integer, reason text)
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    -- In the order of take_token: first the budget, then a place.
    PERFORM FROM counterfoil.budgets b WHERE b.platform = for_platform FOR UPDATE;
    -- With them what the same turn was given already, where its answer was lost.
    UPDATE counterfoil.slots s SET token = NULL, expires_at = NULL
    WHERE s.platform = for_platform
        AND (s.token = holder OR (s.slot, s.token) IN (SELECT f.place, f.token FROM unnest(freed, held_by) AS f(place, token)));
    RETURN QUERY SELECT t.* FROM counterfoil.take_token(
        for_platform, per_second, burst, concurrent, urgency, spare, may_reserve, holder, hold) t;
END $$
"""
COMMENTS = {
    "lock_versions()": "Nobody else draws a version from here to the end of the transaction; waits for all who drew",
    "draw_versions(bigint)": "The first of so many versions that follow one another; others may draw meanwhile",
    "take_turn": "Give places back, and ask for a turn as take_token does",
    "await_versions(bigint)": "Wait for the end of whoever drew a version before this one; to be called before the commit",
}
LEDGER = ("profit", "commission", "swap", "storage", "fee", "commission_usd", "swap_usd", "deleted_at")
ASKED = "The account's balance when asked, {}account currency; null: was null{}"


def _index_ledger(*keys: str) -> None:
    # Both exist for a moment: no query is without one, and readers wait for nothing but the exchange.
    op.create_index(
        "deals_ledger_new_idx", "deals", keys, schema="mirror", postgresql_include=("side", "direction", *LEDGER)
    )
    op.execute("DROP INDEX IF EXISTS mirror.deals_ledger_idx")
    op.execute("ALTER INDEX mirror.deals_ledger_new_idx RENAME TO deals_ledger_idx")


def _comment_asked(*words: str) -> None:
    op.alter_column("asked", "balance", existing_type=sa.Numeric(), comment=ASKED.format(*words), schema="counterfoil")


def upgrade() -> None:
    # A number that decides is compared sooner than a name that is nearly always the same. Seconds per million deals; first of all,
    # because what follows keeps readers out until the end.
    _index_ledger("account_id", "platform", "created_at")
    for function in FUNCTIONS:
        op.execute(function)
    op.execute(TAKE_TURN)
    for function, comment in COMMENTS.items():
        op.execute(f"REVOKE ALL ON FUNCTION counterfoil.{function} FROM PUBLIC")
        op.execute(f"COMMENT ON FUNCTION counterfoil.{function} IS '{comment}'")
    # For rows to come: no row is rewritten.
    for table in MIRROR:
        for column in ("first_seen_at", "changed_at"):
            op.alter_column(table, column, server_default=sa.text("now()"), schema="mirror")
    _comment_asked("or since explained by deals, ", ", or is to be asked again")


def downgrade() -> None:
    _index_ledger("platform", "account_id", "created_at")
    for table in MIRROR:
        for column in ("first_seen_at", "changed_at"):
            op.alter_column(table, column, server_default=None, schema="mirror")
    _comment_asked("", "")
    for function in COMMENTS:
        op.execute(f"DROP FUNCTION counterfoil.{function}")
