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
        JOIN counterfoil.published_platforms p ON p.platform = i.platform AND p.pushes
        WHERE i.state = 'pending' AND i.amount IS NOT NULL AND i.probe_first AND i.probed_at IS NULL) AS unlooked,
        (SELECT count(*) FROM counterfoil.intents i
            JOIN counterfoil.published_platforms p ON p.platform = i.platform AND p.pushes
            WHERE i.state IN ('sent', 'unknown')) AS unsettled
    FROM counterfoil.database_identity d
""")
# No platform can tell whether the bank was told to pay them.
_RELEASABLE = sa.text("""
    SELECT p.reference FROM counterfoil.payouts p JOIN counterfoil.database_identity d ON d.held_since IS NOT NULL
    JOIN counterfoil.intents i ON i.id = p.intent_id
    WHERE p.state = 'releasable' AND i.confirmed_at < d.held_since ORDER BY p.reference
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


async def accept(engine: AsyncEngine, *, payouts_checked: bool = False) -> None:
    """A person agrees that the write path goes on; `payouts_checked`: those that may be released were compared with the bank.

    Raises:
        ConfigurationError: something has not been looked for yet, or payouts have not been checked.
    """
    async with transaction(engine) as connection:
        await accept_within(connection, payouts_checked=payouts_checked)


async def accept_within(connection: AsyncConnection, *, payouts_checked: bool) -> bool:
    """The same in a transaction that the caller ends; False when the write path is not held.

    Raises:
        ConfigurationError: something has not been looked for yet, or payouts have not been checked.
    """
    found = await _standing(connection)
    if found.held and not payouts_checked:
        releasable = list(await connection.scalars(_RELEASABLE))
        if releasable:
            raise ConfigurationError(
                f"{len(releasable)} payouts may have been paid in the life that the database forgot ({', '.join(releasable[:5])}"
                f"{' …' if len(releasable) > 5 else ''}): ask the bank, fail those that were paid by hand with crm.fail_payout or "
                "settle them, then repeat this with --payouts-checked"
            )
    if found.held and (found.unlooked or found.unsettled):
        raise ConfigurationError(
            f"{found.unlooked} requests have not been looked for on their platforms yet and {found.unsettled} attempts are "
            "unsettled: let the daemon run, and look again with counterfoil status"
        )
    return bool(await connection.scalar(_ACCEPT))
