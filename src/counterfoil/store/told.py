"""What the CRM is told: committed events get their numbers here, without gaps, and a NOTIFY goes out as a hint to look."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from counterfoil.store.engine import brief, plain_connection, transaction

WORK = "counterfoil_work"
# Seconds between two tries to listen again; meanwhile the workers look by themselves.
RETRY = 2.0

_NUMBER = sa.text("""
    WITH turn AS MATERIALIZED (SELECT pg_try_advisory_xact_lock(hashtext('counterfoil.events')) AS mine)
    SELECT mine FROM turn
""")
# The lock is held, so nobody else numbers; what is visible now is committed, and the entries of one intent are in order.
_GIVE = sa.text("""
    WITH fresh AS (
        SELECT e.entry, (SELECT coalesce(max(l.id), 0) FROM counterfoil.events l) + row_number() OVER (ORDER BY e.entry) AS id
        FROM (SELECT u.entry FROM counterfoil.events u WHERE u.id IS NULL ORDER BY u.entry LIMIT 1000) e
    ), given AS (
        UPDATE counterfoil.events e SET id = f.id FROM fresh f WHERE e.entry = f.entry
        RETURNING e.id, e.reference, e.event, e.state
    )
    SELECT g.id, g.reference, g.event, g.state, pg_notify('counterfoil_crm',
        CAST(json_build_object('reference', g.reference, 'event', g.event, 'state', g.state) AS text))::text
    FROM given g ORDER BY g.id
""")


@dataclass(frozen=True, slots=True)
class Told:
    """One event that got its number."""

    id: int
    reference: str
    event: str
    state: str


async def number(engine: AsyncEngine) -> list[Told]:
    """Give the committed events that have none their numbers, at most 1,000 at once; empty when another process does it now."""
    async with transaction(engine) as connection:
        if not await connection.scalar(_NUMBER):
            return []
        return [Told(row.id, row.reference, row.event, row.state) for row in await connection.execute(_GIVE)]


async def listen(url: str, wake: Callable[[str], None], lost: Callable[[str], Awaitable[None]]) -> None:
    """Call `wake` with the platform's name whenever there is work; ends only when cancelled.

    `lost` is told, in words, when listening broke off; it is tried again by itself, and `wake("")` follows, because what was
    said meanwhile was not heard.
    """
    while True:
        try:
            connection = await plain_connection(url)
            async with connection:
                await connection.execute(f"LISTEN {WORK}")
                wake("")
                async for notice in connection.notifies():
                    wake(notice.payload)
        except Exception as error:  # noqa: BLE001 - without an ear everything only takes longer
            await lost(brief(error))
        await asyncio.sleep(RETRY)
