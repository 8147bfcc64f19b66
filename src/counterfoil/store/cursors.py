"""How far each pull has come, and how fresh each resource is."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

State = dict[str, Any]

_LOAD = sa.text("SELECT state FROM counterfoil.cursors WHERE platform = :platform AND resource = :resource")
_SAVE = sa.text("""
    INSERT INTO counterfoil.cursors AS c (platform, resource, state) VALUES (:platform, :resource, :state)
    ON CONFLICT (platform, resource) DO UPDATE SET state = excluded.state, updated_at = now()
    WHERE c.state IS DISTINCT FROM excluded.state
""").bindparams(sa.bindparam("state", type_=JSONB))
_FORGET = sa.text("DELETE FROM counterfoil.cursors WHERE platform = :platform AND resource = :resource")


async def load(connection: AsyncConnection, platform: str, resource: str) -> State | None:
    """The stored position; None when this resource has never been pulled."""
    state: State | None = await connection.scalar(_LOAD, {"platform": platform, "resource": resource})
    return state


async def save(connection: AsyncConnection, platform: str, resource: str, state: State) -> None:
    """Move the position, in the caller's transaction, together with the rows that it covers."""
    await connection.execute(_SAVE, {"platform": platform, "resource": resource, "state": state})


async def forget(connection: AsyncConnection, platform: str, resource: str) -> None:
    """Start over at the next run."""
    await connection.execute(_FORGET, {"platform": platform, "resource": resource})


@dataclass(frozen=True, slots=True)
class Freshness:
    """What is known of one resource's newest runs; times are the database's."""

    platform: str
    resource: str
    succeeded_at: datetime | None
    as_of: datetime | None
    failed_at: datetime | None
    failures: int
    reason: str | None


# Its lease was taken before the run began: however late this is written, the run is not told to have begun later than that.
_SUCCEEDED = sa.text("""
    INSERT INTO counterfoil.freshness AS f (platform, resource, succeeded_at, as_of, failures)
    VALUES (:platform, :resource, clock_timestamp(), least(clock_timestamp() - :took, (SELECT l.started_at
        FROM counterfoil.leases l WHERE l.platform = :platform AND l.resource = :resource)), 0)
    ON CONFLICT (platform, resource) DO UPDATE SET succeeded_at = excluded.succeeded_at, as_of = excluded.as_of,
        failed_at = NULL, failures = 0, reason = NULL
""")
_AGE = sa.text("""
    SELECT extract(epoch FROM clock_timestamp() - as_of)::float8 FROM counterfoil.freshness
    WHERE platform = :platform AND resource = :resource
""")
_FAILED = sa.text("""
    INSERT INTO counterfoil.freshness AS f (platform, resource, failed_at, failures, reason)
    VALUES (:platform, :resource, clock_timestamp(), 1, :reason)
    ON CONFLICT (platform, resource) DO UPDATE SET failed_at = excluded.failed_at, failures = f.failures + 1,
        reason = excluded.reason
    RETURNING failures
""")
_ALL = sa.text("SELECT * FROM counterfoil.freshness ORDER BY platform, resource")


async def age(connection: AsyncConnection, platform: str, resource: str) -> float | None:
    """Seconds since the start of the newest complete run; None when there was none."""
    seconds: float | None = await connection.scalar(_AGE, {"platform": platform, "resource": resource})
    return seconds


async def succeeded(connection: AsyncConnection, platform: str, resource: str, *, took: object) -> None:
    """Note a complete run that began `took` (a timedelta) ago."""
    await connection.execute(_SUCCEEDED, {"platform": platform, "resource": resource, "took": took})


async def failed(connection: AsyncConnection, platform: str, resource: str, *, reason: str) -> int:
    """Note a failed run; returns how many have failed in a row."""
    row = await connection.execute(_FAILED, {"platform": platform, "resource": resource, "reason": reason})
    return int(row.scalar_one())


async def freshness(connection: AsyncConnection) -> list[Freshness]:
    """Every resource that has ever run."""
    return [Freshness(**row) for row in (await connection.execute(_ALL)).mappings()]
