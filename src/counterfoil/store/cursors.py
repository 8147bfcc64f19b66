"""How far each pull has come, and how fresh each resource is."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from counterfoil.store.direct import Direct, first

State = dict[str, Any]

_LOAD = sa.text("SELECT state FROM counterfoil.cursors WHERE platform = :platform AND resource = :resource")
_MOVED_AT = sa.text("SELECT updated_at FROM counterfoil.cursors WHERE platform = :platform AND resource = :resource")
_SAVE = sa.text("""
    INSERT INTO counterfoil.cursors AS c (platform, resource, state) VALUES (:platform, :resource, :state)
    ON CONFLICT (platform, resource) DO UPDATE SET state = excluded.state, updated_at = now()
    WHERE c.state IS DISTINCT FROM excluded.state
""").bindparams(sa.bindparam("state", type_=JSONB))
_FORGET = sa.text("DELETE FROM counterfoil.cursors WHERE platform = :platform AND resource = :resource")


async def load(where: AsyncConnection | Direct, platform: str, resource: str) -> State | None:
    """The stored position; None when this resource has never been pulled."""
    found = await first(where, _LOAD, {"platform": platform, "resource": resource})
    return None if found is None else found["state"]


async def moved_at(where: AsyncConnection | Direct, platform: str, resource: str) -> datetime | None:
    """When the position last moved; None when this resource has never been pulled."""
    found = await first(where, _MOVED_AT, {"platform": platform, "resource": resource})
    return None if found is None else found["updated_at"]


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
    busy_at: datetime | None
    shows_at: datetime | None


@dataclass(frozen=True, slots=True)
class Recent:
    """What the interval of a resource follows from; times are the database's.

    `as_of`: start of the newest complete run. `busy_at`: start of the newest that found a change, or end of a failed one after
    it. `heard_at`: when an event stream was last relied on; `relied`: whether one is now. `token`: of the newest lease on it.
    None: never, as far as is known.
    """

    as_of: datetime | None
    busy_at: datetime | None
    heard_at: datetime | None
    relied: bool
    token: uuid.UUID | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Success:
    """A complete run, to be noted.

    `took`: from its beginning. `found`: whether it wrote anything. `streamed`: events may have written what it would have
    found. `relies_on`: resources whose rows told it what to ask, so that it knows nothing newer than they do.
    """

    took: timedelta
    found: bool = True
    streamed: bool = False
    relies_on: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Noted:
    """After a complete run: how old the mirror had become before it, and is now, in seconds. `lag`: None for the first."""

    lag: float | None
    age: float


# Two heartbeats of a stream and some: one that has not been seen for so long is not believed to be there.
BELIEVED = timedelta(seconds=30)

_RECENT = sa.text("""
    SELECT f.as_of, f.busy_at, s.as_of AS heard_at, coalesce(s.failures = 0 AND s.as_of BETWEEN
        clock_timestamp() - CAST(:believed AS interval) AND clock_timestamp(), false) AS relied, l.token
    FROM (SELECT) AS one
    LEFT JOIN counterfoil.leases l ON l.platform = :platform AND l.resource = :resource
    LEFT JOIN counterfoil.freshness f ON f.platform = :platform AND f.resource = :resource
    LEFT JOIN counterfoil.freshness s ON s.platform = :platform AND s.resource = 'stream'
""")
# Its lease was taken before the run began: however late this is written, the run is not told to have begun later than that.
# What it relied on counts as it was when it began: where that was read again meanwhile, what was known of it before.
_SUCCEEDED = sa.text(f"""
    WITH recent AS ({_RECENT.text}), began AS (
        SELECT least(clock_timestamp() - CAST(:took AS interval), (SELECT l.started_at FROM counterfoil.leases l
            WHERE l.platform = :platform AND l.resource = :resource)) AS at
    ), before AS (
        SELECT f.as_of, f.busy_at, least(f.as_of, f.shows_at) AS shown FROM counterfoil.freshness f
        WHERE f.platform = :platform AND f.resource = :resource
    ), relied AS (
        SELECT min(CASE WHEN r.succeeded_at <= began.at THEN r.as_of ELSE coalesce((SELECT shown FROM before), r.as_of) END) AS at
        FROM counterfoil.freshness r, began WHERE r.platform = :platform AND r.resource = ANY (CAST(:relies_on AS text[]))
    ), heard AS (
        SELECT max(s.as_of) AS at FROM counterfoil.freshness s
        WHERE :streamed AND s.platform = :platform AND s.resource = 'stream'
    ), fresh AS (
        SELECT began.at AS as_of, least(began.at, relied.at) AS shows_at, CASE
            WHEN :found OR before.as_of IS NULL THEN began.at
            ELSE greatest(coalesce(before.busy_at, before.as_of), heard.at) END AS busy_at
        FROM began CROSS JOIN relied CROSS JOIN heard LEFT JOIN before ON true
    )
    INSERT INTO counterfoil.freshness AS n (platform, resource, succeeded_at, as_of, shows_at, busy_at, failures)
    SELECT :platform, :resource, clock_timestamp(), as_of, shows_at, busy_at, 0 FROM fresh
    ON CONFLICT (platform, resource) DO UPDATE SET succeeded_at = excluded.succeeded_at, as_of = excluded.as_of,
        shows_at = excluded.shows_at, busy_at = excluded.busy_at, failed_at = NULL, failures = 0, reason = NULL
    RETURNING extract(epoch FROM clock_timestamp() - (SELECT shown FROM before))::float8 AS lag,
        extract(epoch FROM clock_timestamp() - n.shows_at)::float8 AS age, n.as_of, n.busy_at,
        (SELECT heard_at FROM recent), (SELECT relied FROM recent), (SELECT token FROM recent)
""")
_AGE = sa.text("""
    SELECT extract(epoch FROM clock_timestamp() - least(as_of, shows_at))::float8 AS age FROM counterfoil.freshness
    WHERE platform = :platform AND resource = :resource
""")
# A failed run knows nothing: what was quiet before it may not be any more.
_FAILED = sa.text("""
    INSERT INTO counterfoil.freshness AS f (platform, resource, failed_at, busy_at, failures, reason)
    VALUES (:platform, :resource, clock_timestamp(), clock_timestamp(), 1, :reason)
    ON CONFLICT (platform, resource) DO UPDATE SET failed_at = excluded.failed_at, busy_at = excluded.busy_at,
        failures = f.failures + 1, reason = excluded.reason
    RETURNING failures
""")
_ALL = sa.text("SELECT * FROM counterfoil.freshness ORDER BY platform, resource")


async def age(where: AsyncConnection | Direct, platform: str, resource: str) -> float | None:
    """Seconds since the moment that the mirror shows; None when there was no complete run."""
    found = await first(where, _AGE, {"platform": platform, "resource": resource})
    return None if found is None else found["age"]


async def recent(where: AsyncConnection | Direct, platform: str, resource: str) -> Recent:
    """What the interval of a resource follows from."""
    given = {"platform": platform, "resource": resource, "believed": BELIEVED}
    return Recent(**await first(where, _RECENT, given) or {})


async def succeeded(
    where: AsyncConnection | Direct, platform: str, resource: str, run: Success
) -> tuple[Noted, Recent]:
    """Note a complete run; returns how old the mirror was and is, and what the next interval follows from."""
    given = {
        "platform": platform,
        "resource": resource,
        "took": run.took,
        "found": run.found,
        "streamed": run.streamed,
        "relies_on": [*run.relies_on],
        "believed": BELIEVED,
    }
    noted = dict(await first(where, _SUCCEEDED, given) or {})
    return Noted(noted.pop("lag"), noted.pop("age")), Recent(**noted)


async def failed(where: AsyncConnection | Direct, platform: str, resource: str, *, reason: str) -> int:
    """Note a failed run; returns how many have failed in a row."""
    noted = await first(where, _FAILED, {"platform": platform, "resource": resource, "reason": reason}) or {}
    return int(noted["failures"])


async def freshness(connection: AsyncConnection) -> list[Freshness]:
    """Every resource that has ever run."""
    return [Freshness(**row) for row in (await connection.execute(_ALL)).mappings()]
