"""How the event stream of a platform is, where all replicas and people can see it: a row of counterfoil.freshness.

For how long that row is believed, and what it means for polls: see cursors.Recent.
"""

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from counterfoil.store import cursors
from counterfoil.store.engine import transaction

STREAM = "stream"
"""The resource of its lease and of its freshness."""

_ALIVE = sa.text("""
    INSERT INTO counterfoil.freshness AS f (platform, resource, succeeded_at, as_of, failures)
    VALUES (:platform, :resource, clock_timestamp(), clock_timestamp(), 0)
    ON CONFLICT (platform, resource) DO UPDATE SET succeeded_at = excluded.succeeded_at, as_of = excluded.as_of,
        failed_at = NULL, failures = 0, reason = NULL
""")
_MENDED = sa.text("""
    UPDATE counterfoil.freshness SET failed_at = NULL, failures = 0, reason = NULL, as_of = NULL
    WHERE platform = :platform AND resource = :resource AND failures > 0
""")


async def alive(engine: AsyncEngine, platform: str) -> None:
    """Note that the stream is open, has caught up and brings events."""
    async with transaction(engine) as connection:
        await connection.execute(_ALIVE, {"platform": platform, "resource": STREAM})


async def mended(engine: AsyncEngine, platform: str) -> None:
    """Note that it is open again, whether or not it may be relied on yet."""
    async with transaction(engine) as connection:
        await connection.execute(_MENDED, {"platform": platform, "resource": STREAM})


async def ended(engine: AsyncEngine, platform: str, reason: str) -> None:
    """Note that there is none, and why."""
    async with transaction(engine) as connection:
        await cursors.failed(connection, platform, STREAM, reason=reason)
