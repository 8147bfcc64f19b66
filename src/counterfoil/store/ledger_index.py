"""The index of what deals did to an account, left out while a mirror without any is filled for the first time.

Deals come in the order of their ids, their accounts at random. Kept row by row this index is a third of what PostgreSQL has to do
for a first reading; built of all rows at once it is a tenth of that. Nobody misses it meanwhile who would read deals by account:
it is only left out where no deal is there yet and nobody else works with the database. Whoever starts with the schema at head finds
it or builds it (store.migrations), so it does not stay away for longer than a process that was killed.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from counterfoil.store.engine import SCHEMA_LOCK, is_contention, transaction, whole
from counterfoil.store.leases import HOLDER
from counterfoil.store.tables import LEDGER

# A reader that is there already is not waited for: others would queue behind us.
_PATIENCE = "200ms"
# A daemon takes a lease for each poll, and asks for the idlest resource far more often than that.
_SUITED = sa.text("""
    SELECT NOT EXISTS (SELECT FROM mirror.deals) AND NOT EXISTS (
        SELECT FROM counterfoil.leases
        WHERE holder <> :holder AND (expires_at > clock_timestamp() OR started_at > clock_timestamp() - interval '1 day')
    )
""")


@asynccontextmanager
async def left_out(engine: AsyncEngine) -> AsyncIterator[None]:
    """Inside, a table without deals is filled without the index, and at the end it is there.

    Raises:
        Unreachable: the database cannot be reached.
    """
    dropped = await _drop(engine)
    try:
        yield
    finally:
        if dropped:
            await whole(_restore(engine))


async def _drop(engine: AsyncEngine) -> bool:
    """Whether it was there to be dropped, and is."""
    try:
        async with transaction(engine) as connection:
            await connection.execute(sa.text(f"SET LOCAL lock_timeout = '{_PATIENCE}'"))
            await _lock_schema(connection)
            if not await _is_suited(connection):
                return False
            await connection.execute(sa.text("LOCK TABLE mirror.deals IN ACCESS EXCLUSIVE MODE"))
            # Whoever had it before us may have written.
            if not await _is_suited(connection):
                return False
            await connection.execute(sa.schema.DropIndex(LEDGER, if_exists=True))
            return True
    except sa.exc.DBAPIError as error:
        if is_contention(error) or isinstance(error.orig, psycopg.errors.InsufficientPrivilege):
            return False
        raise


async def _restore(engine: AsyncEngine) -> None:
    async with transaction(engine) as connection:
        await _lock_schema(connection)
        await connection.run_sync(restore)


async def _lock_schema(connection: AsyncConnection) -> None:
    await connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": SCHEMA_LOCK})


async def _is_suited(connection: AsyncConnection) -> bool:
    return bool(await connection.scalar(_SUITED, {"holder": HOLDER}))


def restore(connection: sa.Connection) -> None:
    """Build the index where it is missing. In a transaction of its own, under the lock of migrations."""
    if connection.scalar(sa.text("SELECT to_regclass(:name)"), {"name": f"mirror.{LEDGER.name}"}) is None:
        connection.execute(sa.schema.CreateIndex(LEDGER))
