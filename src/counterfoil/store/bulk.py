"""Rows into the mirror: COPY into a staging table, then one statement that touches only what differs.

What lies beyond all that the mirror holds goes a shorter way first (store.beyond). `version` numbers are drawn in that last statement, under one advisory lock that is held until the transaction ends. Rows
therefore become visible in the order of their versions, whoever writes: a reader that has seen version n will never find a
smaller one later. The COPY before it, which is most of the work, runs outside the lock.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from counterfoil.domain.page import Page, Rejected
from counterfoil.domain.records import TABLES
from counterfoil.store import newer
from counterfoil.store.beyond import MANY, copy_beyond
from counterfoil.store.copying import Lock, copy, lock_versions
from counterfoil.store.copying import refusal as refused
from counterfoil.store.newer import Telling
from counterfoil.store.plans import of_any_platform

BODY_LIMIT = 65_536  # bytes of a record's text that are kept
# What a computed column holds where the platform did not send it: s is the staged row, y the symbol that it names.
COMPUTED = {
    ("orders", "symbol"): "coalesce(s.symbol, y.symbol)",
    ("positions", "symbol"): "coalesce(s.symbol, y.symbol)",
    ("deals", "symbol"): "coalesce(s.symbol, y.symbol)",
    ("positions", "volume_base"): "coalesce(s.volume_base, s.volume_current * s.contract_size)",
    ("deals", "volume_base"): "coalesce(s.volume_base, s.volume * s.contract_size)",
}
# Columns that others fill where a platform's pages lack them: such a page leaves what is there.
KEPT = {"accounts": ("client_id",)}


@dataclass(frozen=True, slots=True)
class Written:
    """What a write changed: rows.

    `renamed`: symbols that had another name before. `rejected`: the records that were not in quarantine yet, as many as
    `quarantined`; a sum of several writes leaves them out, since each may be long.
    """

    inserted: int = 0
    changed: int = 0
    deleted: int = 0
    quarantined: int = 0
    renamed: int = 0
    rejected: tuple[Rejected, ...] = ()

    def __add__(self, other: "Written") -> "Written":
        return Written(
            self.inserted + other.inserted,
            self.changed + other.changed,
            self.deleted + other.deleted,
            self.quarantined + other.quarantined,
            self.renamed + other.renamed,
        )

    @property
    def anything(self) -> bool:
        """Whether any row of the mirror was touched."""
        return bool(self.inserted or self.changed or self.deleted)


@dataclass(frozen=True, slots=True)
class _Target:
    """Where rows go: the platform's table, the columns that the lines hold, what must not be overwritten, and how it is locked."""

    platform: str
    table: str
    columns: tuple[str, ...]
    telling: Telling | None
    lock: Lock


async def write(
    connection: AsyncConnection,
    platform: str,
    table: str,
    page: Page,
    telling: Telling | None = None,
    *,
    lock: Lock = lock_versions,
    straight: bool = True,
) -> Written:
    """Bring the rows of a page into the mirror; a record that PostgreSQL refuses joins those the page rejected.

    The caller owns the transaction. Unchanged rows are not touched: no version, no lock on the row, no write-ahead log.
    `telling`: see store.newer; None where nobody else brings these rows. `lock`: see store.copying; of no rows, nothing is locked.
    `straight`: whether rows may go straight into the table.
    """
    copied = await copy_beyond(connection, platform, table, page, lock=lock) if straight else frozenset[int]()
    rows = [(row_id, line) for row_id, line in zip(*page.distinct(), strict=True) if row_id not in copied]
    rejected = list(page.rejected)
    if rows:
        # Outside the savepoints below: what a savepoint rolls back is made again at every try.
        await connection.exec_driver_sql(_create_staging(table))
    target = _Target(platform, table, page.columns, telling, lock)
    written = await _merge_or_halve(connection, target, rows, rejected)
    if rejected:
        await lock(connection)
    kept = await quarantine(connection, platform, table, rejected)
    return replace(written, inserted=written.inserted + len(copied), quarantined=len(kept), rejected=kept)


async def _merge_or_halve(
    connection: AsyncConnection, target: _Target, rows: Sequence[tuple[int, bytes]], rejected: list[Rejected]
) -> Written:
    """PostgreSQL has the last word on a value; halving finds the row that it refuses in log2(n) more tries."""
    if not rows:
        return Written()
    try:
        async with connection.begin_nested():
            return await _merge(connection, target, rows)
    except (sa.exc.DataError, sa.exc.OperationalError) as error:
        refusal = refused(error)
        if refusal is None:
            raise
    if len(rows) == 1:
        row_id, line = rows[0]
        rejected.append(Rejected(str(row_id), refusal, line.decode(errors="backslashreplace")))
        return Written()
    half = len(rows) // 2
    first = await _merge_or_halve(connection, target, rows[:half], rejected)
    return first + await _merge_or_halve(connection, target, rows[half:], rejected)


async def _merge(connection: AsyncConnection, target: _Target, rows: Sequence[tuple[int, bytes]]) -> Written:
    table, platform = target.table, target.platform
    await connection.exec_driver_sql(f"DELETE FROM pg_temp.staged_{table}")
    names = ", ".join(f'"{name}"' for name in target.columns)
    await copy(connection, f"pg_temp.staged_{table} ({names})", [b"\n".join(line for _, line in rows)])
    await target.lock(connection)
    named = await _newly_named(connection, platform) if table == "symbols" else {}
    inserted, total = await _merge_staged(connection, target, [row_id for row_id, _ in rows])
    renamed = [symbol for symbol, known in named.items() if known]
    if named:
        await _carry_symbol_names(connection, platform, list(named), _UNNAMED)
    if renamed:
        await _carry_symbol_names(connection, platform, renamed, _MISNAMED)
    return Written(inserted=inserted, changed=total - inserted, renamed=len(renamed))


async def _merge_staged(connection: AsyncConnection, target: _Target, ids: Sequence[int]) -> tuple[int, int]:
    """How many rows are new, and how many new or changed. What lies beyond all that the mirror holds need not be compared.

    The lock keeps every other writer away until we commit: what is not there now cannot come in between.
    """
    table, platform, telling = target.table, target.platform, target.telling
    known = await connection.scalar(_highest_statement(table), {"platform": platform})
    beyond = [row_id for row_id in ids if known is None or row_id > known]
    inserted = 0
    if len(beyond) >= MANY:
        given = {"platform": platform, "lowest": min(beyond)}
        inserted = (await connection.execute(_insert_statement(table), given)).rowcount
        ids = [row_id for row_id in ids if known is not None and row_id <= known]
    if not ids:
        return inserted, inserted
    kept = tuple(name for name in KEPT.get(table, ()) if name not in target.columns)
    statement = _merge_statement(table, kept, telling.NAME if telling else None)
    given = {"platform": platform, "highest": max(ids)}
    if telling:
        given |= await newer.given(connection, telling)
    merged, total = (await connection.execute(statement, given)).one()
    return inserted + merged, inserted + total


@cache
def _create_staging(table: str) -> str:
    names = ", ".join(f'"{name}"' for name in ("id", *TABLES[table].column_names, "extra"))
    return (
        f"CREATE TEMP TABLE IF NOT EXISTS staged_{table} ON COMMIT DELETE ROWS"
        f" AS SELECT {names} FROM mirror.{table} WITH NO DATA"
    )


@cache
def _merge_statement(table: str, kept: tuple[str, ...] = (), telling: str | None = None) -> sa.TextClause:
    """`kept`: columns that stay as they are; `telling`: the kind of page, where others bring the same rows."""
    columns = (*TABLES[table].column_names, "extra")
    names = ", ".join(f'"{name}"' for name in columns)
    values = {name: COMPUTED.get((table, name), f's."{name}"') for name in columns} | {
        name: f't."{name}"' for name in kept
    }
    fresh = ", ".join(f'{values[name]} AS "{name}"' for name in columns)
    # A limit makes it a lookup for each staged row. Without figures of the table, as in a first reading, or with old ones, PostgreSQL
    # expects one row of all that a span of ids holds, and would pass over the whole span for each.
    own = f"(SELECT * FROM mirror.{table} m WHERE m.platform = :platform AND m.id = s.id LIMIT 1)"
    # Images, not values: to = 1.5 and 1.50 are the same number, and the mirror holds the digits that were sent.
    differs = f"record_image_ne(ROW({_each('t', columns)}), ROW({_each('f', columns)}))"
    updates = ", ".join(f'"{name}" = excluded."{name}"' for name in columns)
    unless_newer = f"AND {newer.condition(telling, table)}" if telling else ""
    return of_any_platform(f"""
        WITH differing AS MATERIALIZED (
            SELECT f.* FROM pg_temp.staged_{table} s {_joins(table)} LEFT JOIN LATERAL {own} t ON true
                CROSS JOIN LATERAL (SELECT s.id, {fresh}) f
            WHERE s.id <= :highest AND (t.id IS NULL OR t.deleted_at IS NOT NULL OR {differs}) {unless_newer}
        ), merged AS (
            INSERT INTO mirror.{table} (platform, id, {names}, version)
            SELECT :platform, id, {names}, nextval('mirror.version') FROM differing ORDER BY id
            ON CONFLICT (platform, id) DO UPDATE SET {updates}, changed_at = excluded.changed_at, deleted_at = NULL,
                version = excluded.version
            RETURNING xmax = 0 AS is_new
        )
        SELECT count(*) FILTER (WHERE is_new), count(*) FROM merged
    """)


@cache
def _highest_statement(table: str) -> sa.TextClause:
    return of_any_platform(f"SELECT max(id) FROM mirror.{table} WHERE platform = :platform")


@cache
def _insert_statement(table: str) -> sa.TextClause:
    """Of rows of which the mirror holds none: a third cheaper than to compare first."""
    columns = (*TABLES[table].column_names, "extra")
    names = ", ".join(f'"{name}"' for name in columns)
    values = ", ".join(COMPUTED.get((table, name), f's."{name}"') for name in columns)
    return of_any_platform(f"""
        INSERT INTO mirror.{table} (platform, id, {names}, version)
        SELECT :platform, s.id, {values}, nextval('mirror.version') FROM pg_temp.staged_{table} s {_joins(table)}
        WHERE s.id >= :lowest
    """)


def _joins(table: str) -> str:
    if (table, "symbol") not in COMPUTED:
        return ""
    return "LEFT JOIN mirror.symbols y ON y.platform = :platform AND y.id = s.symbol_id"


def _each(alias: str, columns: Iterable[str]) -> str:
    return ", ".join(f'{alias}."{name}"' for name in columns)


async def _newly_named(connection: AsyncConnection, platform: str) -> dict[int, bool]:
    """Staged symbols whose name the mirror does not have, and whether it knows them under another."""
    statement = of_any_platform("""
        SELECT s.id, t.symbol IS NOT NULL AS known FROM pg_temp.staged_symbols s
        LEFT JOIN mirror.symbols t ON t.platform = :platform AND t.id = s.id
        WHERE t.symbol IS DISTINCT FROM s.symbol
    """)
    return {row.id: row.known for row in await connection.execute(statement, {"platform": platform})}


# Rows that came before their symbol; a partial index of the same words finds them among millions.
_UNNAMED = "t.symbol IS NULL AND t.symbol_id <> 0 AND y.symbol IS NOT NULL"
# Rows whose symbol has a new name: so rare that it may read whole tables.
_MISNAMED = "t.symbol IS DISTINCT FROM y.symbol"


async def _carry_symbol_names(connection: AsyncConnection, platform: str, symbols: list[int], condition: str) -> None:
    """Give rows the name that their symbol has now."""
    for table in (table for table, column in COMPUTED if column == "symbol"):
        await connection.execute(
            sa.text(f"""
                UPDATE mirror.{table} t SET symbol = y.symbol, changed_at = now(), version = nextval('mirror.version')
                FROM mirror.symbols y
                WHERE t.platform = :platform AND y.platform = :platform AND t.symbol_id = y.id AND y.id = ANY(:symbols)
                    AND {condition}
            """),
            {"platform": platform, "symbols": symbols},
        )


async def tombstone(connection: AsyncConnection, platform: str, table: str, ids: Sequence[int]) -> int:
    """Mark rows as deleted on the platform; returns how many were not marked before."""
    await lock_versions(connection)
    statement = sa.text(f"""
        UPDATE mirror.{table} SET deleted_at = now(), changed_at = now(), version = nextval('mirror.version')
        WHERE platform = :platform AND id = ANY(:ids) AND deleted_at IS NULL
    """)
    result = await connection.execute(statement, {"platform": platform, "ids": list(ids)})
    return result.rowcount


async def quarantine(
    connection: AsyncConnection, platform: str, resource: str, rejected: Sequence[Rejected]
) -> tuple[Rejected, ...]:
    """Keep records that cannot be read; returns those that were not kept already."""
    by_fingerprint = {_fingerprint(record): record for record in rejected}
    if not by_fingerprint:
        return ()
    rows = {
        "platform": platform,
        "resource": resource,
        "fingerprints": list(by_fingerprint),
        "record_ids": [record.record_id and _storable(record.record_id) for record in by_fingerprint.values()],
        "reasons": [_storable(record.reason) for record in by_fingerprint.values()],
        "bodies": [_storable(record.body) for record in by_fingerprint.values()],
    }
    kept = set((await connection.scalars(_QUARANTINE, rows)).all())
    return tuple(record for fingerprint, record in by_fingerprint.items() if fingerprint in kept)


def _fingerprint(record: Rejected) -> str:
    return hashlib.blake2b(record.body.encode(errors="backslashreplace"), digest_size=16).hexdigest()


def _storable(text: str) -> str:
    """What a text column takes, cut to 64 KiB."""
    return text.replace("\0", "\\0").encode(errors="backslashreplace")[:BODY_LIMIT].decode(errors="ignore")


# Those that are there already are left out beforehand: even a conflict that does nothing draws an id, and writes. In order,
# so that two who bring the same records never each wait for the other.
_QUARANTINE = sa.text("""
    INSERT INTO counterfoil.quarantine (platform, resource, record_id, reason, body, fingerprint)
    SELECT :platform, :resource, r.record_id, r.reason, r.body, r.fingerprint
    FROM unnest(CAST(:record_ids AS text[]), CAST(:reasons AS text[]), CAST(:bodies AS text[]), CAST(:fingerprints AS text[]))
        AS r(record_id, reason, body, fingerprint)
    WHERE NOT EXISTS (
        SELECT FROM counterfoil.quarantine q
        WHERE q.platform = :platform AND q.resource = :resource AND q.fingerprint = r.fingerprint
    )
    ORDER BY r.fingerprint ON CONFLICT DO NOTHING RETURNING fingerprint
""")
