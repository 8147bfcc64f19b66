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
from counterfoil.store.engine import Unreachable, transaction

TTL = timedelta(seconds=30)
HOLDER = f"{socket.gethostname()}:{os.getpid()}"


@dataclass(frozen=True, slots=True)
class Lease:
    """Proof of holding the work on one resource; `previous` is the token of whoever held it before."""

    platform: str
    resource: str
    token: uuid.UUID
    previous: uuid.UUID | None


_ACQUIRE = sa.text("""
    INSERT INTO counterfoil.leases AS l (platform, resource, token, holder, expires_at, started_at)
    VALUES (:platform, :resource, :token, :holder, clock_timestamp() + :ttl, clock_timestamp())
    ON CONFLICT (platform, resource) DO UPDATE
    SET token = excluded.token, previous = l.token, holder = excluded.holder, expires_at = excluded.expires_at,
        started_at = excluded.started_at
    WHERE (l.expires_at IS NULL OR l.expires_at < clock_timestamp()) AND l.started_at <= clock_timestamp() - :not_within
    RETURNING previous
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
    WHERE platform = :platform AND resource = :resource AND token = :token AND expires_at > clock_timestamp()
    FOR UPDATE
""")


async def acquire(
    engine: AsyncEngine, platform: str, resource: str, *, not_within: timedelta = timedelta(0), ttl: timedelta = TTL
) -> Lease | None:
    """Take the lease when it is free and was last taken longer than `not_within` ago; None otherwise."""
    token = uuid.uuid4()
    async with transaction(engine) as connection:
        row = (
            await connection.execute(
                _ACQUIRE,
                {
                    "platform": platform,
                    "resource": resource,
                    "token": token,
                    "holder": HOLDER,
                    "ttl": ttl,
                    "not_within": not_within,
                },
            )
        ).one_or_none()
    return None if row is None else Lease(platform, resource, token, row.previous)


def _key(lease: Lease) -> dict[str, object]:
    return {"platform": lease.platform, "resource": lease.resource, "token": lease.token}


async def hold(connection: AsyncConnection, lease: Lease) -> None:
    """Make this transaction fail unless the lease is still ours, and keep it ours until the transaction ends.

    Raises:
        LeaseLostError: it lapsed or somebody else has it.
    """
    if await connection.scalar(_HOLD, _key(lease)) is None:
        raise LeaseLostError(f"the lease on {lease.platform}/{lease.resource} was lost")


async def release(engine: AsyncEngine, lease: Lease) -> None:
    """Give the lease back; nothing happens when it is somebody else's by now."""
    async with transaction(engine) as connection:
        await connection.execute(_RELEASE, _key(lease))


async def _keep(engine: AsyncEngine, lease: Lease, ttl: timedelta) -> None:
    while True:
        await asyncio.sleep(ttl.total_seconds() / 3)
        try:
            async with transaction(engine) as connection:
                await connection.execute(_RENEW, {**_key(lease), "ttl": ttl})
        except Unreachable:
            # The work itself meets the same database and decides; a renewal missed is not yet a lease lost.
            continue


@asynccontextmanager
async def held(engine: AsyncEngine, lease: Lease, *, ttl: timedelta = TTL) -> AsyncIterator[Lease]:
    """Renew the lease while the body runs, and give it back at the end."""
    keeper = asyncio.create_task(_keep(engine, lease, ttl))
    try:
        yield lease
    finally:
        keeper.cancel()
        with suppress(*Unreachable):  # it lapses by itself
            await asyncio.shield(release(engine, lease))
