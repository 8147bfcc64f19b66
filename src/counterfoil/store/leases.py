"""Leases: who does which work now, over all replicas.

A lease is a row with a token. Work commits only in a transaction that found its token still valid and keeps the row locked
until the end, so a process that lost its lease can write nothing more.
"""

import asyncio
import os
import socket
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from counterfoil.domain.errors import LeaseLostError
from counterfoil.store.direct import direct
from counterfoil.store.engine import Unreachable, transaction, whole

# Long enough for a slow commit, short enough that a killed daemon's work is soon taken up.
TTL = timedelta(seconds=10)
HOLDER = f"{socket.gethostname()}:{os.getpid()}"


@dataclass(frozen=True, slots=True)
class Lease:
    """Proof of holding the work on one resource; `previous` is the token of whoever held it before.

    `ttl`: how long it lasts without a renewal; the same for all who take the lease on one resource.
    """

    platform: str
    resource: str
    token: uuid.UUID
    previous: uuid.UUID | None
    ttl: timedelta = TTL


# A row that is locked is being used: nobody waits for it. One that is ours already was taken a moment ago, and the answer lost.
# One that would lapse later than any lease can, or that was taken in the future, was written before the clock was set back; a holder
# that lives notices that it lost it.
_ACQUIRE = sa.text("""
    WITH free AS (
        SELECT FROM counterfoil.leases
        WHERE platform = :platform AND resource = :resource
            AND (token = :token
                OR (expires_at IS NULL OR expires_at NOT BETWEEN clock_timestamp() AND clock_timestamp() + CAST(:ttl AS interval))
                AND (started_at NOT BETWEEN clock_timestamp() - CAST(:not_within AS interval) AND clock_timestamp()
                    OR CAST(:not_within AS interval) = interval '0'))
        FOR UPDATE SKIP LOCKED
    ), taken AS (
        UPDATE counterfoil.leases l SET token = :token, holder = :holder,
            previous = CASE WHEN l.token = :token THEN l.previous ELSE l.token END,
            expires_at = clock_timestamp() + CAST(:ttl AS interval), started_at = clock_timestamp()
        FROM free WHERE l.platform = :platform AND l.resource = :resource RETURNING l.previous
    ), made AS (
        INSERT INTO counterfoil.leases (platform, resource, token, holder, expires_at, started_at)
        SELECT :platform, :resource, :token, :holder, clock_timestamp() + CAST(:ttl AS interval), clock_timestamp()
        WHERE NOT EXISTS (SELECT FROM counterfoil.leases WHERE platform = :platform AND resource = :resource)
        ON CONFLICT DO NOTHING RETURNING previous
    )
    SELECT previous FROM taken UNION ALL SELECT previous FROM made
""")
_RENEW = sa.text("""
    UPDATE counterfoil.leases SET expires_at = clock_timestamp() + :ttl
    WHERE platform = :platform AND resource = :resource AND token = :token AND expires_at IS NOT NULL
""")
_RELEASE = sa.text("""
    UPDATE counterfoil.leases SET expires_at = NULL WHERE platform = :platform AND resource = :resource AND token = :token
""")
_HOLD = sa.text("""
    SELECT true FROM counterfoil.leases
    WHERE platform = :platform AND resource = :resource AND token = :token
        AND (expires_at > clock_timestamp() OR :again AND expires_at IS NOT NULL)
    FOR UPDATE
""")


async def acquire(
    engine: AsyncEngine, platform: str, resource: str, *, not_within: timedelta = timedelta(0), ttl: timedelta = TTL
) -> Lease | None:
    """Take the lease when it is free and was last taken longer than `not_within` ago; None otherwise."""
    given = {
        "platform": platform,
        "resource": resource,
        "token": (token := uuid.uuid4()),
        "holder": HOLDER,
        "ttl": ttl,
        "not_within": not_within,
    }
    row = await direct(engine).first(_ACQUIRE, given)
    return None if row is None else Lease(platform, resource, token, row["previous"], ttl)


def _key(lease: Lease) -> dict[str, object]:
    return {"platform": lease.platform, "resource": lease.resource, "token": lease.token}


async def hold(connection: AsyncConnection, lease: Lease, *, again: bool = False) -> None:
    """Make this transaction fail unless the lease is still ours, and keep it ours until the transaction ends.

    `again`: it was held a moment ago, by this transaction before a savepoint was rolled back, or by the one just before it. It may have
    lapsed meanwhile, for nobody can renew it while its row is locked; as long as nobody else has taken it, it is ours.

    Raises:
        LeaseLostError: it lapsed or somebody else has it.
    """
    if await connection.scalar(_HOLD, {**_key(lease), "again": again}) is None:
        raise LeaseLostError(f"the lease on {lease.platform}/{lease.resource} was lost")


async def release(engine: AsyncEngine, lease: Lease) -> None:
    """Give the lease back; nothing happens when it is somebody else's by now."""
    await direct(engine).first(_RELEASE, _key(lease))


async def _keep(engine: AsyncEngine, lease: Lease) -> None:
    while True:
        await asyncio.sleep(lease.ttl.total_seconds() / 3)
        try:
            await whole(_renew(engine, lease))
        except Unreachable:
            # The work itself meets the same database and decides; a renewal missed is not yet a lease lost.
            continue


async def _renew(engine: AsyncEngine, lease: Lease) -> None:
    async with transaction(engine) as connection:
        await connection.execute(_RENEW, {**_key(lease), "ttl": lease.ttl})


async def _end(engine: AsyncEngine, lease: Lease, keeper: "asyncio.Task[None]") -> None:
    keeper.cancel()
    await asyncio.wait([keeper])
    with suppress(*Unreachable):  # it lapses by itself
        await release(engine, lease)


@asynccontextmanager
async def held(engine: AsyncEngine, lease: Lease) -> AsyncIterator[Lease]:
    """Renew the lease while the body runs, and give it back at the end, whoever is told to end meanwhile."""
    keeper = asyncio.create_task(_keep(engine, lease))
    try:
        yield lease
    finally:
        await whole(_end(engine, lease, keeper))
