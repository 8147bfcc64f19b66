"""What the database says of the state of affairs, for people."""

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from counterfoil.domain.records import TABLES
from counterfoil.store import cursors
from counterfoil.store.cursors import Recent
from counterfoil.store.engine import transaction


@dataclass(frozen=True, slots=True)
class Resource:
    """The newest runs of one resource; `rows` without tombstones, None for what fills no table.

    `as_of`, `age`: of the moment that the mirror shows, None where no run was complete yet. `recent`: what its interval
    follows from.
    """

    platform: str
    resource: str
    rows: int | None
    as_of: datetime | None
    age: timedelta | None
    failures: int
    reason: str | None
    recent: Recent


@dataclass(frozen=True, slots=True)
class Held:
    """Rows that vanished in such a number that a person decides."""

    platform: str
    resource: str
    rows: int


@dataclass(frozen=True, slots=True)
class Report:
    """Everything at one moment; `paused`: platforms that are not asked for now, and why. `drifted`: see store.drifting."""

    resources: list[Resource]
    held: list[Held]
    paused: dict[str, str]
    quarantined: int
    drifted: int


_FRESHNESS = sa.text("""
    SELECT platform, resource, least(as_of, shows_at) AS as_of, clock_timestamp() - least(as_of, shows_at) AS age, failures, reason
    FROM counterfoil.freshness ORDER BY platform, resource
""")
_HELD = sa.text("""
    SELECT platform, resource, count(*) AS rows FROM counterfoil.vanished WHERE state = 'held'
    GROUP BY platform, resource ORDER BY platform, resource
""")
_PAUSED = sa.text("""
    SELECT platform, reason, extract(epoch FROM paused_until - clock_timestamp())::float8 AS seconds
    FROM counterfoil.budgets WHERE paused_until > clock_timestamp()
""")
_QUARANTINED = sa.text("SELECT count(*) FROM counterfoil.quarantine")
_DRIFTED = sa.text("SELECT count(*) FROM counterfoil.drift")


async def rows(engine: AsyncEngine) -> dict[str, dict[str, int]]:
    """Rows of each table of the mirror that are not deleted, by platform."""
    async with transaction(engine) as connection:
        return {
            table: {
                row.platform: row.rows
                for row in await connection.execute(
                    sa.text(
                        f"SELECT platform, count(*) AS rows FROM mirror.{table} WHERE deleted_at IS NULL GROUP BY platform"
                    )
                )
            }
            for table in TABLES
        }


async def held(engine: AsyncEngine) -> list[Held]:
    """What vanished in such a number that a person decides."""
    async with transaction(engine) as connection:
        return [Held(*row) for row in await connection.execute(_HELD)]


async def read(engine: AsyncEngine) -> Report:
    """The state of affairs.

    Raises:
        store.Unreachable: the database cannot be reached.
        sqlalchemy.exc.ProgrammingError: the schema is not there.
    """
    async with transaction(engine) as connection:
        resources = [
            Resource(
                **row,
                rows=await _rows(connection, row["platform"], row["resource"]),
                recent=await cursors.recent(connection, row["platform"], row["resource"]),
            )
            for row in (await connection.execute(_FRESHNESS)).mappings().all()
        ]
        held = [Held(*row) for row in await connection.execute(_HELD)]
        paused = {row.platform: f"{row.reason} ({row.seconds:.0f} s more)" for row in await connection.execute(_PAUSED)}
        counts = [int(await connection.scalar(count) or 0) for count in (_QUARANTINED, _DRIFTED)]
        return Report(resources, held, paused, *counts)


async def _rows(connection: AsyncConnection, platform: str, resource: str) -> int | None:
    if resource not in TABLES:
        return None
    statement = sa.text(f"SELECT count(*) FROM mirror.{resource} WHERE platform = :platform AND deleted_at IS NULL")
    return int(await connection.scalar(statement, {"platform": platform}) or 0)
