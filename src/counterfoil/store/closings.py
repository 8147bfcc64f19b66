"""What the mirror knows of positions and closing deals on platforms whose history comes by spans of time."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

import sqlalchemy as sa

from counterfoil.store import copying, leases
from counterfoil.store.engine import transaction
from counterfoil.store.mirror import LIVE, PRESENT, Mirror
from counterfoil.store.plans import of_any_platform

_FIRST_ACCOUNT = sa.text("SELECT min(created_at) FROM mirror.accounts WHERE platform = :platform")
_NEWEST = sa.text("""
    SELECT min(created_at) FROM (SELECT created_at FROM mirror.deals WHERE platform = :platform ORDER BY id DESC LIMIT :rows) n
""")
_OPEN = sa.text(
    f"SELECT id, volume_base, created_at FROM mirror.positions WHERE platform = :platform AND {LIVE['positions']}"
)
# A position that the list of open ones lacks has a closing deal; what the deal says of it is all that is known of its end. One
# that is older than the row's last change, on the platform's clock, closed only a part of it, and the last one is yet to come. Phrased
# so that the deals of its account are looked up for each position, even by a planner without figures; none of them is older than it.
_CLOSE = of_any_platform("""
    UPDATE mirror.positions p SET status = 2, volume_base = 0, updated_at = x.closed_at, changed_at = now(),
        version = nextval('mirror.version')
    FROM (SELECT o.id, e.closed_at FROM mirror.positions o
        CROSS JOIN LATERAL (SELECT max(d.created_at) AS closed_at FROM mirror.deals d
            WHERE d.platform = :platform AND d.account_id = o.account_id AND d.position_id = o.id AND d.deleted_at IS NULL
                AND d.created_at > coalesce(greatest(o.created_at - interval '1 day',
                    o.changed_at + CAST(:ahead AS interval) - interval '1 minute'), '-infinity')) e
        WHERE o.platform = :platform AND o.id = ANY (CAST(:ids AS bigint[])) AND e.closed_at IS NOT NULL) x
    WHERE p.platform = :platform AND p.id = ANY (CAST(:ids AS bigint[])) AND p.id = x.id RETURNING p.id
""")
# Positions that were over before anybody saw them open: their deals are all there is, and the last of them tells the end. Those
# that may still be open, because they were closed after the open ones were last read, come with the next reading. The span of
# ids is said so that a planner without figures, as in a first reading, does not read the whole table.
_BURY = of_any_platform("""
    INSERT INTO mirror.positions (platform, id, account_id, symbol_id, symbol, side, price_open, status, volume_base, created_at,
        updated_at, book_type, spread_betting, first_seen_at, changed_at, version)
    SELECT DISTINCT ON (d.position_id) d.platform, d.position_id, d.account_id, d.symbol_id, d.symbol, d.side, d.price_position,
        2, 0, d.opened_at, d.created_at, d.book_type, d.spread_betting, now(), now(), nextval('mirror.version')
    FROM mirror.deals d WHERE d.platform = :platform AND d.id BETWEEN :lowest AND :highest
        AND d.id = ANY (CAST(:ids AS bigint[])) AND d.position_id IS NOT NULL
        AND d.created_at < :before
        AND NOT EXISTS (SELECT FROM mirror.positions p WHERE p.platform = d.platform AND p.id = d.position_id
            AND (p.status IS DISTINCT FROM 2 OR p.updated_at >= d.created_at OR p.deleted_at IS NOT NULL))
    ORDER BY d.position_id, d.created_at DESC
    ON CONFLICT (platform, id) DO UPDATE SET updated_at = excluded.updated_at, changed_at = excluded.changed_at,
        version = excluded.version
    RETURNING id
""")
_UNBURIED = of_any_platform("""
    SELECT d.id FROM mirror.deals d WHERE d.platform = :platform AND d.id > :after AND d.position_id IS NOT NULL
        AND NOT EXISTS (SELECT FROM mirror.positions p WHERE p.platform = d.platform AND p.id = d.position_id)
    ORDER BY d.id LIMIT :rows
""")
_ORPHANED = of_any_platform("""
    SELECT p.id FROM mirror.positions p JOIN mirror.accounts a ON a.platform = p.platform AND a.id = p.account_id
    WHERE p.platform = :platform AND p.id = ANY (CAST(:ids AS bigint[])) AND p.deleted_at IS NULL AND a.deleted_at IS NOT NULL
    ORDER BY p.id
""")
_READ_AT = sa.text("SELECT as_of FROM counterfoil.freshness WHERE platform = :platform AND resource = :resource")


@dataclass(frozen=True, slots=True)
class Open:
    """A position that the mirror holds as open: its volume in base units, and when it was opened."""

    volume: Decimal | None
    opened_at: datetime | None


async def first_account_at(mirror: Mirror) -> datetime | None:
    """When the oldest account was opened: no deal is older. None when no account is mirrored."""
    async with transaction(mirror.engine) as connection:
        found: datetime | None = await connection.scalar(_FIRST_ACCOUNT, {"platform": mirror.platform})
        return found


async def newest_deals_since(mirror: Mirror, rows: int) -> datetime | None:
    """When the oldest of the newest so many deals was made; None when there is none."""
    async with transaction(mirror.engine) as connection:
        found: datetime | None = await connection.scalar(_NEWEST, {"platform": mirror.platform, "rows": rows})
        return found


async def deal_ids(mirror: Mirror, since: datetime, until: datetime, *, by_closing: bool) -> set[int]:
    """Ids of the deals of a span, by their time of closing or of opening."""
    column = "created_at" if by_closing else "opened_at"
    statement = sa.text(f"""
        SELECT id FROM mirror.deals WHERE platform = :platform AND {column} >= :since AND {column} < :until AND {PRESENT}
    """)
    async with transaction(mirror.engine) as connection:
        given = {"platform": mirror.platform, "since": since, "until": until}
        return set((await connection.scalars(statement, given)).all())


async def open_positions(mirror: Mirror) -> dict[int, Open]:
    """What the mirror holds as open."""
    async with transaction(mirror.engine) as connection:
        rows = await connection.execute(_OPEN, {"platform": mirror.platform})
        return {row.id: Open(row.volume_base, row.created_at) for row in rows}


async def read_at(mirror: Mirror, resource: str) -> datetime | None:
    """When the newest complete reading of a resource began; None before the first."""
    async with transaction(mirror.engine) as connection:
        found: datetime | None = await connection.scalar(_READ_AT, {"platform": mirror.platform, "resource": resource})
        return found


async def orphaned(mirror: Mirror, ids: Iterable[int]) -> list[int]:
    """Those of these positions whose account the platform does not have any more."""
    async with transaction(mirror.engine) as connection:
        given = {"platform": mirror.platform, "ids": list(ids)}
        return list((await connection.scalars(_ORPHANED, given)).all())


async def close(mirror: Mirror, ids: Iterable[int], *, ahead: timedelta | None) -> set[int]:
    """Close those of these positions that have a closing deal; returns them.

    `ahead`: by how much the platform's clock is ahead; only deals count that are newer than what was last seen of the
    position. None: any deal will do.
    """
    return await _change(mirror, _CLOSE, {"ids": list(ids), "ahead": ahead})


async def unburied(mirror: Mirror, after: int, rows: int) -> list[int]:
    """Deals with an id above `after` whose position the mirror lacks, at most so many, ascending."""
    async with transaction(mirror.engine) as connection:
        given = {"platform": mirror.platform, "after": after, "rows": rows}
        return list((await connection.scalars(_UNBURIED, given)).all())


async def bury(mirror: Mirror, deals: Collection[int], before: datetime) -> set[int]:
    """Add the positions of these deals that the mirror lacks, closed, and mend their end; only of deals made before a moment."""
    span = {"lowest": min(deals, default=0), "highest": max(deals, default=0)}
    return await _change(mirror, _BURY, {"ids": list(deals), "before": before, **span})


async def _change(mirror: Mirror, statement: sa.TextClause, given: dict[str, object]) -> set[int]:
    if not given["ids"]:
        return set()
    async with transaction(mirror.engine) as connection:
        await leases.hold(connection, mirror.lease)
        await copying.lock_versions(connection)
        return set((await connection.scalars(statement, {**given, "platform": mirror.platform})).all())
