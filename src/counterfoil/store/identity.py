"""Is this the database that the write path knows? One that was restored or failed over may have forgotten what was sent."""

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from counterfoil.domain.errors import ConfigurationError
from counterfoil.store.engine import transaction

_FIRST = sa.text("""
    INSERT INTO counterfoil.database_identity (identity) VALUES (counterfoil.identity()) ON CONFLICT DO NOTHING
""")
_MARK = sa.text("""
    UPDATE counterfoil.database_identity SET held_since = clock_timestamp()
    WHERE held_since IS NULL AND identity <> counterfoil.identity() RETURNING true
""")
# What it holds as not sent may have been sent in the life that it forgot.
_DOUBT = sa.text("""
    UPDATE counterfoil.intents SET probe_first = true, probed_at = NULL
    WHERE state IN ('waiting', 'pending', 'sent', 'unknown', 'parked')
""")
_STATE = sa.text("""
    SELECT d.held_since IS NOT NULL AS held, (SELECT count(*) FROM counterfoil.intents i
        WHERE i.state = 'pending' AND i.amount IS NOT NULL AND i.probe_first AND i.probed_at IS NULL) AS unlooked,
        (SELECT count(*) FROM counterfoil.intents i WHERE i.state IN ('sent', 'unknown')) AS unsettled
    FROM counterfoil.database_identity d
""")
_ACCEPT = sa.text("""
    UPDATE counterfoil.database_identity SET identity = counterfoil.identity(), held_since = NULL,
        accepted_at = clock_timestamp()
    WHERE held_since IS NOT NULL RETURNING true
""")


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether the write path is held, what has not been looked for yet, and what is still unsettled."""

    held: bool
    unlooked: int
    unsettled: int


async def check(engine: AsyncEngine) -> bool:
    """Remember the database at the first time; True when it is another one now and this call is the first to notice."""
    async with transaction(engine) as connection:
        await connection.execute(_FIRST)
        if not await connection.scalar(_MARK):
            return False
        await connection.execute(_DOUBT)
        return True


async def standing(engine: AsyncEngine) -> Standing:
    """How the write path stands; not held before the first `check`."""
    async with transaction(engine) as connection:
        return await _standing(connection)


async def _standing(connection: AsyncConnection) -> Standing:
    row = (await connection.execute(_STATE)).one_or_none()
    return Standing(held=False, unlooked=0, unsettled=0) if row is None else Standing(*row)


async def accept(engine: AsyncEngine) -> None:
    """A person agrees that the write path goes on.

    Raises:
        ConfigurationError: something has not been looked for yet.
    """
    async with transaction(engine) as connection:
        await accept_within(connection)


async def accept_within(connection: AsyncConnection) -> bool:
    """The same in a transaction that the caller ends; False when the write path is not held.

    Raises:
        ConfigurationError: something has not been looked for yet.
    """
    found = await _standing(connection)
    if found.held and (found.unlooked or found.unsettled):
        raise ConfigurationError(
            f"{found.unlooked} requests have not been looked for on their platforms yet and {found.unsettled} attempts are "
            "unsettled: let the daemon run, and look again with counterfoil status"
        )
    return bool(await connection.scalar(_ACCEPT))
