"""The index of what deals did to an account, left out while a mirror without any is filled for the first time.

Deals come in the order of their ids, their accounts at random. Kept row by row this index is a third of what PostgreSQL has to do
for a first reading; built of all rows at once it is a tenth of that. Nobody misses it meanwhile who would read deals by account:
it is only left out where no deal is there yet and nobody else is connected. Whoever brings the schema to head finds it or builds it
(store.migrations), so it does not stay away for longer than a process that was killed.
"""

import psycopg
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from counterfoil.observe import events
from counterfoil.store.engine import LOCK_TIMEOUT, SCHEMA_LOCK, brief, is_contention, transaction, whole

# What deals did to the balance of an account is summed from this index alone, without reading a row.
NAME = "deals_ledger_idx"
KEY = ("account_id", "platform", "created_at")
INCLUDED = (
    *("side", "direction", "profit", "commission", "swap", "storage", "fee", "commission_usd", "swap_usd"),
    "deleted_at",
)
_DROP = sa.text(f"DROP INDEX IF EXISTS mirror.{NAME}")
_BUILD = sa.text(f"CREATE INDEX {NAME} ON mirror.deals ({', '.join(KEY)}) INCLUDE ({', '.join(INCLUDED)})")

# A transaction that has the table is not waited for: others would queue behind us.
_PATIENCE = "200ms"
# Somebody else changes the schema, and may build this index.
_LONG_PATIENCE = "10min"
# Whose kind of process we may not see may be anybody's.
_SUITED = sa.text("""
    SELECT NOT EXISTS (SELECT FROM mirror.deals) AND has_schema_privilege('mirror', 'CREATE') AND NOT EXISTS (
        SELECT FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
            AND coalesce(backend_type, 'client backend') = 'client backend'
    )
""")
_STANDS = sa.text("SELECT true FROM pg_index WHERE indexrelid = to_regclass(:name) AND indisvalid")


def left_out(connection: sa.Connection) -> bool:
    """Drop the index where nobody can miss it; whether that was so. In a transaction of its own, under the lock of migrations."""
    try:
        connection.execute(sa.text(f"SET LOCAL lock_timeout = '{_PATIENCE}'"))
        if not connection.scalar(_SUITED):
            return False
        connection.execute(sa.text("LOCK TABLE mirror.deals IN ACCESS EXCLUSIVE MODE"))
        # Whoever had it before us may have written.
        if not connection.scalar(_SUITED):
            return False
        connection.execute(_DROP)
        connection.commit()
    except sa.exc.DBAPIError as error:
        if not is_contention(error) and not isinstance(error.orig, psycopg.errors.InsufficientPrivilege):
            raise
        return False
    else:
        return True
    finally:
        connection.rollback()


def stands(connection: sa.Connection) -> bool:
    """Whether the index is there and whole."""
    return bool(connection.scalar(_STANDS, {"name": f"mirror.{NAME}"}))


def restore(connection: sa.Connection) -> None:
    """Build the index where it is missing. In a transaction of its own, under the lock of migrations.

    Raises:
        sqlalchemy.exc.DBAPIError: it cannot be built.
    """
    if stands(connection):
        return
    connection.execute(sa.text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"))
    connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
    connection.execute(_DROP)
    connection.execute(_BUILD)


async def restored(engine: AsyncEngine) -> bool:
    """Build the index where it is missing, whoever is told to end meanwhile; whether it is there now."""
    return await whole(_restored(engine))


async def _restored(engine: AsyncEngine) -> bool:
    try:
        async with transaction(engine) as connection:
            if not await connection.run_sync(stands):
                await connection.execute(sa.text(f"SET LOCAL lock_timeout = '{_LONG_PATIENCE}'"))
                await connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": SCHEMA_LOCK})
                await connection.run_sync(restore)
    except sa.exc.DBAPIError as error:
        say_missing(error)
        return False
    return True


def say_missing(error: sa.exc.DBAPIError) -> None:
    """Say why it could not be built; without it much is slow, but nothing is wrong."""
    events.emit(events.SCHEMA_INDEX_MISSING, reason=brief(error))
