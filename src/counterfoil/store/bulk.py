"""Rows into the mirror: COPY into a staging table, then one statement that touches only what differs.

`version` numbers are drawn in that last statement, under one advisory lock that is held until the transaction ends. Rows
therefore become visible in the order of their versions, whoever writes: a reader that has seen version n will never find a
smaller one later. The COPY before it, which is most of the work, runs outside the lock.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import psycopg
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from counterfoil.domain.page import Page, Rejected
from counterfoil.domain.records import TABLES
from counterfoil.store.engine import driver

VERSION_LOCK = 0x76657273  # 'vers'

# What a computed column holds: s is the staged row, y the symbol that it names.
COMPUTED = {
    ("orders", "symbol"): "y.symbol",
    ("positions", "symbol"): "y.symbol",
    ("deals", "symbol"): "y.symbol",
    ("positions", "volume_base"): "s.volume_current * s.contract_size",
    ("deals", "volume_base"): "s.volume * s.contract_size",
}


@dataclass(frozen=True, slots=True)
class Written:
    """What a write changed: rows."""

    inserted: int = 0
    changed: int = 0
    deleted: int = 0
    quarantined: int = 0

    def __add__(self, other: "Written") -> "Written":
        return Written(
            self.inserted + other.inserted,
            self.changed + other.changed,
            self.deleted + other.deleted,
            self.quarantined + other.quarantined,
        )

    @property
    def anything(self) -> bool:
        """Whether any row of the mirror was touched."""
        return bool(self.inserted or self.changed or self.deleted)


async def write(connection: AsyncConnection, platform: str, table: str, page: Page) -> Written:
    """Bring the rows of a page into the mirror; a record that PostgreSQL refuses joins those the page rejected.

    The caller owns the transaction. Unchanged rows are not touched: no version, no lock on the row, no write-ahead log.
    """
    ids, lines = page.distinct()
    rejected = list(page.rejected)
    written = await _merge_or_halve(
        connection, platform, (table, page.columns), list(zip(ids, lines, strict=True)), rejected
    )
    return written + Written(quarantined=await quarantine(connection, platform, table, rejected))


async def _merge_or_halve(
    connection: AsyncConnection,
    platform: str,
    target: tuple[str, tuple[str, ...]],
    rows: Sequence[tuple[int, bytes]],
    rejected: list[Rejected],
) -> Written:
    """PostgreSQL has the last word on a value; halving finds the row that it refuses in log2(n) more tries."""
    if not rows:
        return Written()
    try:
        async with connection.begin_nested():
            return await _merge(connection, platform, target, [line for _, line in rows])
    except sa.exc.DataError as error:
        refusal = str(error.orig).splitlines()[0]
    if len(rows) == 1:
        row_id, line = rows[0]
        rejected.append(Rejected(str(row_id), refusal, line.decode(errors="backslashreplace")))
        return Written()
    half = len(rows) // 2
    first = await _merge_or_halve(connection, platform, target, rows[:half], rejected)
    return first + await _merge_or_halve(connection, platform, target, rows[half:], rejected)


async def _merge(
    connection: AsyncConnection, platform: str, target: tuple[str, tuple[str, ...]], lines: Sequence[bytes]
) -> Written:
    table, columns = target
    await connection.exec_driver_sql(_create_staging(table))
    await connection.exec_driver_sql(f"DELETE FROM pg_temp.staged_{table}")
    await copy(connection, table, columns, lines)
    await connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": VERSION_LOCK})
    renamed = await _renamed_symbols(connection, platform) if table == "symbols" else []
    inserted, total = (await connection.execute(sa.text(_merge_statement(table)), {"platform": platform})).one()
    if renamed:
        await _carry_symbol_names(connection, platform, renamed)
    return Written(inserted=inserted, changed=total - inserted)


async def copy(connection: AsyncConnection, table: str, columns: Sequence[str], lines: Iterable[bytes]) -> None:
    """Send CSV lines into the staging table of a mirror table.

    Raises:
        sqlalchemy.exc.DataError: PostgreSQL refuses a value.
    """
    names = ", ".join(f'"{name}"' for name in columns)
    statement = f"COPY pg_temp.staged_{table} ({names}) FROM STDIN (FORMAT csv, NULL 'null')"
    try:
        async with driver(connection).cursor() as cursor, cursor.copy(statement.encode()) as stream:
            await stream.write(b"\n".join(lines))
    except psycopg.DataError as error:
        raise sa.exc.DataError("COPY", {}, error) from error


@cache
def _create_staging(table: str) -> str:
    names = ", ".join(f'"{name}"' for name in ("id", *TABLES[table].column_names, "extra"))
    return (
        f"CREATE TEMP TABLE IF NOT EXISTS staged_{table} ON COMMIT DELETE ROWS"
        f" AS SELECT {names} FROM mirror.{table} WITH NO DATA"
    )


@cache
def _merge_statement(table: str) -> str:
    columns = (*TABLES[table].column_names, "extra")
    names = ", ".join(f'"{name}"' for name in columns)
    fresh = ", ".join(f'{COMPUTED.get((table, name), f"s.{chr(34)}{name}{chr(34)}")} AS "{name}"' for name in columns)
    symbols = "LEFT JOIN mirror.symbols y ON y.platform = :platform AND y.id = s.symbol_id"
    differs = f"({_each('t', columns)}) IS DISTINCT FROM ({_each('f', columns)})"
    updates = ", ".join(f'"{name}" = excluded."{name}"' for name in columns)
    return f"""
        WITH fresh AS (
            SELECT s.id, {fresh} FROM pg_temp.staged_{table} s {symbols if (table, "symbol") in COMPUTED else ""}
        ), differing AS MATERIALIZED (
            SELECT f.* FROM fresh f LEFT JOIN mirror.{table} t ON t.platform = :platform AND t.id = f.id
            WHERE t.id IS NULL OR t.deleted_at IS NOT NULL OR {differs}
        ), merged AS (
            INSERT INTO mirror.{table} (platform, id, {names}, first_seen_at, changed_at, version)
            SELECT :platform, id, {names}, now(), now(), nextval('mirror.version') FROM differing ORDER BY id
            ON CONFLICT (platform, id) DO UPDATE SET {updates}, changed_at = excluded.changed_at, deleted_at = NULL,
                version = excluded.version
            RETURNING xmax = 0 AS is_new
        )
        SELECT count(*) FILTER (WHERE is_new), count(*) FROM merged
    """


def _each(alias: str, columns: Iterable[str]) -> str:
    return ", ".join(f'{alias}."{name}"' for name in columns)


async def _renamed_symbols(connection: AsyncConnection, platform: str) -> list[int]:
    statement = sa.text("""
        SELECT s.id FROM pg_temp.staged_symbols s LEFT JOIN mirror.symbols t ON t.platform = :platform AND t.id = s.id
        WHERE t.symbol IS DISTINCT FROM s.symbol
    """)
    return list((await connection.scalars(statement, {"platform": platform})).all())


async def _carry_symbol_names(connection: AsyncConnection, platform: str, symbols: list[int]) -> None:
    """Rows that came before their symbol, or whose symbol has a new name, get it now."""
    for table, column in COMPUTED:
        if column == "symbol":
            await connection.execute(
                sa.text(f"""
                    UPDATE mirror.{table} t SET symbol = y.symbol, changed_at = now(), version = nextval('mirror.version')
                    FROM mirror.symbols y
                    WHERE t.platform = :platform AND y.platform = :platform AND t.symbol_id = y.id AND y.id = ANY(:symbols)
                        AND t.symbol IS DISTINCT FROM y.symbol
                """),
                {"platform": platform, "symbols": symbols},
            )


async def tombstone(connection: AsyncConnection, platform: str, table: str, ids: Sequence[int]) -> int:
    """Mark rows as deleted on the platform; returns how many were not marked before."""
    await connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": VERSION_LOCK})
    statement = sa.text(f"""
        UPDATE mirror.{table} SET deleted_at = now(), changed_at = now(), version = nextval('mirror.version')
        WHERE platform = :platform AND id = ANY(:ids) AND deleted_at IS NULL
    """)
    result = await connection.execute(statement, {"platform": platform, "ids": list(ids)})
    return result.rowcount


async def quarantine(connection: AsyncConnection, platform: str, resource: str, rejected: Sequence[Rejected]) -> int:
    """Keep records that cannot be read; returns how many were not kept already."""
    if not rejected:
        return 0
    rows = [
        {
            "platform": platform,
            "resource": resource,
            "record_id": record.record_id,
            "reason": record.reason.replace("\0", ""),
            "body": record.body.replace("\0", "\\0"),
            "fingerprint": hashlib.blake2b(record.body.encode(), digest_size=16).hexdigest(),
        }
        for record in rejected
    ]
    kept = 0
    for row in rows:
        kept += (await connection.execute(_QUARANTINE, row)).rowcount
    return kept


_QUARANTINE = sa.text("""
    INSERT INTO counterfoil.quarantine (platform, resource, record_id, reason, body, fingerprint)
    VALUES (:platform, :resource, :record_id, :reason, :body, :fingerprint) ON CONFLICT DO NOTHING
""")
