"""Statements look at what they are about, whatever figures of the tables PostgreSQL has.

It has none behind a first reading, until its autovacuum comes by, and of a platform that is added to others none for much longer. It
then expects a row where there are thousands, and joins are chosen that pass over all of them for each row of another table.
"""

from collections.abc import AsyncIterator, Mapping, Sequence

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from counterfoil.store import beyond, bulk, closings, mirror, plans
from counterfoil.store.engine import transaction
from support.pulling import bench, one_pass
from support.store import connected, page, query, value, write

ROWS = 3_000
# As long as a row is in earnest: PostgreSQL guesses their number from the pages that they fill.
LONG = "x" * 300
FIGURES = pytest.mark.parametrize("figures", ["none", "old", "of another platform", "new"])
POSITIONS = [
    {"id": number, "account_id": number % 300, "symbol_id": 1 + number % 300, "comment": LONG} for number in range(ROWS)
]
DEALS = [row | {"position_id": row["id"], "created_at": "2026-01-01T00:00:00Z"} for row in POSITIONS]
SYMBOLS = [{"id": number, "symbol": f"S{number}"} for number in range(1, 301)]
ACCOUNTS = [{"id": number, "client_id": number % 300, "company": LONG} for number in range(ROWS)]


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[AsyncEngine]:
    async with connected(database_url) as engine:
        yield engine


async def fill(database: AsyncEngine, figures: str, **tables: Sequence[Mapping[str, object]]) -> None:
    for table, rows in tables.items():
        if figures == "old":
            await write(database, table, *rows[: len(rows) // 10])
        if figures == "of another platform":
            await write(database, table, *rows, platform="demo")
    if figures in ("old", "of another platform"):
        await query(database, "ANALYZE")
    for table, rows in tables.items():
        await write(database, table, *rows)
    if figures == "new":
        await query(database, "ANALYZE")


async def passed_over(connection: AsyncConnection) -> int:
    """Rows of tables that the statements of this transaction have looked at."""
    statement = "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) FROM pg_stat_xact_user_tables"
    return int(await connection.scalar(sa.text(statement)))


@FIGURES
@pytest.mark.parametrize(
    ("table", "rows", "column"),
    [("deals", DEALS, "comment"), ("positions", POSITIONS, "comment"), ("accounts", ACCOUNTS, "company")],
)
async def test_a_row_of_a_page_is_compared_with_its_own(database, table, rows, column, figures):
    await fill(database, figures, symbols=SYMBOLS, **{table: rows})
    async with transaction(database) as connection:
        before = await passed_over(connection)
        written = await bulk.write(connection, "live", table, page(*({**row, column: "b"} for row in rows[::20])))
        looked_at = await passed_over(connection) - before
    assert written.changed == 150
    # Each table may be read once.
    assert looked_at < 2 * ROWS


@FIGURES
@pytest.mark.parametrize("table", ["deals", "positions"])
async def test_the_highest_row_is_found_at_the_end(database, table, figures):
    await fill(database, figures, **{table: DEALS if table == "deals" else POSITIONS})
    async with transaction(database) as connection:
        before = await passed_over(connection)
        assert await beyond.highest(connection, "live", table, least=ROWS - 10) == ROWS - 1
        assert await passed_over(connection) - before < 20


@FIGURES
async def test_a_position_is_closed_by_the_deals_of_its_account(database, figures):
    await fill(database, figures, positions=POSITIONS, deals=DEALS)
    given = {"platform": "live", "ids": list(range(0, ROWS, 30)), "ahead": None}
    async with transaction(database) as connection:
        before = await passed_over(connection)
        closed = (await connection.scalars(closings._CLOSE, given)).all()
        looked_at = await passed_over(connection) - before
    assert sorted(closed) == given["ids"]
    # An account has ten deals, and the positions may be read once each time.
    assert looked_at < 2 * ROWS + 20 * len(closed)


@FIGURES
async def test_deals_without_a_position_are_found_without_reading_all_positions_for_each(database, figures):
    await fill(database, figures, positions=POSITIONS[10:], deals=DEALS)
    given = {"platform": "live", "after": -1, "rows": ROWS}
    async with transaction(database) as connection:
        before = await passed_over(connection)
        assert (await connection.scalars(closings._UNBURIED, given)).all() == list(range(10))
        looked_at = await passed_over(connection) - before
    assert looked_at < 5 * ROWS


@FIGURES
async def test_what_is_settled_is_read_once_for_all_that_should_be_listed(database, figures):
    await query(
        database,
        "INSERT INTO counterfoil.vanished (platform, resource, id, noticed_by, looks, state)"
        " SELECT 'live', 'positions', g, 'positions', 3, 'settled' FROM generate_series(0, 499) g",
    )
    await fill(database, figures, positions=POSITIONS)
    async with transaction(database) as connection:
        before = await passed_over(connection)
        given = {"platform": "live", "table": "positions"}
        ids = (await connection.scalars(mirror._ids("positions", live=True, within=False), given)).all()
        looked_at = await passed_over(connection) - before
    assert sorted(ids) == list(range(500, ROWS))
    assert looked_at < 3 * ROWS


# --- figures of a platform that was added -----------------------------------------------------------------------------

KNOWN = """
    SELECT coalesce((SELECT most_common_vals::text FROM pg_stats
        WHERE schemaname = 'mirror' AND tablename = 'clients' AND attname = 'platform'), 'none')
"""
CLIENTS = [{"id": number} for number in range(50)]


async def test_the_first_reading_of_another_platform_makes_figures_that_have_it(database_url, database):
    await write(database, "clients", *CLIENTS, platform="demo")
    await query(database, "ANALYZE")
    async with bench(database_url) as it:
        puller = it.puller()
        await one_pass(puller, "clients")
        assert await value(database, KNOWN) == "{demo,live}"
        await query(database, "DELETE FROM mirror.clients WHERE platform = 'live'")
        await query(database, "ANALYZE")
        await one_pass(puller, "clients")
        assert await value(database, KNOWN) == "{demo}"


async def test_a_first_platform_leaves_figures_to_autovacuum(database):
    await write(database, "clients", *CLIENTS)
    await plans.renew_figures(database, "live", "clients")
    assert await value(database, KNOWN) == "none"


async def test_figures_that_somebody_else_is_making_are_not_waited_for(database):
    await write(database, "clients", *CLIENTS, platform="demo")
    await query(database, "ANALYZE")
    await write(database, "clients", *CLIENTS)
    async with transaction(database) as somebody:
        await somebody.execute(sa.text("LOCK TABLE mirror.clients IN SHARE UPDATE EXCLUSIVE MODE"))
        await plans.renew_figures(database, "live", "clients")
        assert await value(database, KNOWN) == "{demo}"
    await plans.renew_figures(database, "live", "clients")
    assert await value(database, KNOWN) in ("{demo,live}", "{live,demo}")
