"""Statements look at what they are about, whatever figures of the tables PostgreSQL has: none, old ones, or new ones.

It has none behind a first reading, until its autovacuum comes by. A row then counts for a thousandth of what it is, and joins are
chosen that pass over a table, or over all rows of a platform, for each row of another.
"""

from collections.abc import AsyncIterator

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from counterfoil.store import bulk, closings, mirror
from counterfoil.store.engine import transaction
from support.store import connected, page, query, write

ROWS = 3_000
# As long as a row is in earnest: PostgreSQL guesses their number from the pages that they fill.
LONG = "x" * 300
FIGURES = pytest.mark.parametrize("figures", ["none", "old", "new"])


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[AsyncEngine]:
    async with connected(database_url) as engine:
        yield engine


async def fill(database: AsyncEngine, table: str, rows: list[dict[str, object]], figures: str) -> None:
    few = len(rows) // 10
    await write(database, table, *rows[:few])
    if figures == "old":
        await query(database, "ANALYZE")
    await write(database, table, *rows[few:])
    if figures == "new":
        await query(database, "ANALYZE")


async def passed_over(connection: AsyncConnection) -> int:
    """Rows of tables that the statements of this transaction have looked at."""
    statement = "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) FROM pg_stat_xact_user_tables"
    return int(await connection.scalar(sa.text(statement)))


@FIGURES
@pytest.mark.parametrize("table", ["deals", "positions"])
async def test_a_row_of_a_page_is_compared_with_its_own(database, table, figures):
    rows = [{"id": number, "symbol_id": 1 + number % 300, "comment": LONG} for number in range(ROWS)]
    await write(database, "symbols", *({"id": number, "symbol": f"S{number}"} for number in range(1, 301)))
    await fill(database, table, rows, figures)
    async with transaction(database) as connection:
        before = await passed_over(connection)
        written = await bulk.write(connection, "live", table, page(*({**row, "comment": "b"} for row in rows[::20])))
        looked_at = await passed_over(connection) - before
    assert written.changed == 150
    # The symbols may be read once.
    assert looked_at < 300 + 10 * written.changed


@FIGURES
async def test_a_position_is_closed_by_the_deals_of_its_account(database, figures):
    positions = [{"id": number, "account_id": number % 300, "comment": LONG} for number in range(ROWS)]
    deals = [row | {"position_id": row["id"], "created_at": "2026-01-01T00:00:00Z"} for row in positions]
    await fill(database, "positions", positions, figures)
    await fill(database, "deals", deals, figures)
    given = {"platform": "live", "ids": list(range(0, ROWS, 30)), "ahead": None}
    async with transaction(database) as connection:
        before = await passed_over(connection)
        closed = (await connection.scalars(closings._CLOSE, given)).all()
        looked_at = await passed_over(connection) - before
    assert sorted(closed) == given["ids"]
    # Both are found by their accounts' ten, and the positions may be read once each time.
    assert looked_at < 2 * ROWS + 20 * len(closed)


@FIGURES
async def test_what_is_settled_is_read_once_for_all_that_should_be_listed(database, figures):
    await fill(database, "positions", [{"id": number, "comment": LONG} for number in range(ROWS)], figures)
    await query(
        database,
        "INSERT INTO counterfoil.vanished (platform, resource, id, noticed_by, looks, state)"
        " SELECT 'live', 'positions', g, 'positions', 3, 'settled' FROM generate_series(0, 499) g",
    )
    async with transaction(database) as connection:
        before = await passed_over(connection)
        given = {"platform": "live", "table": "positions"}
        ids = (await connection.scalars(mirror._ids("positions", live=True, within=False), given)).all()
        looked_at = await passed_over(connection) - before
    assert sorted(ids) == list(range(500, ROWS))
    assert looked_at < 2 * ROWS
