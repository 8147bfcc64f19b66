"""A reader that remembers the highest version it has read, table by table, and asks for more, never misses a change."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from counterfoil.store import bulk
from counterfoil.store.engine import transaction
from support.store import connected, page, query, until, until_blocked, write

TABLES = ("accounts", "deals", "orders")


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[AsyncEngine]:
    async with connected(database_url) as engine:
        yield engine


async def no_lock(_connection: AsyncConnection) -> None:
    """Nobody waits for anybody."""


@dataclass
class Reader:
    """Follows the mirror as its consumers do."""

    database: AsyncEngine
    seen: dict[str, int] = field(default_factory=lambda: dict.fromkeys(TABLES, 0))
    rows: dict[tuple[str, int], int] = field(default_factory=dict)
    polls: int = 0
    polled: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def poll(self) -> None:
        for table in TABLES:
            more = f"SELECT id, version FROM mirror.{table} WHERE version > :seen ORDER BY version"
            for record_id, version in await query(self.database, more, seen=self.seen[table]):
                self.rows[table, record_id] = self.seen[table] = version
        async with self.polled:
            self.polls += 1
            self.polled.notify_all()

    async def follow(self) -> None:
        while True:
            await self.poll()

    async def polls_twice(self) -> None:
        """The second of two polls began after this call."""
        async with self.polled:
            target = self.polls + 2
            await self.polled.wait_for(lambda: self.polls >= target)

    async def missed(self) -> set[tuple[str, int]]:
        """Rows whose newest version was never read."""
        await self.poll()
        held = {
            (table, record_id): version
            for table in TABLES
            for record_id, version in await query(self.database, f"SELECT id, version FROM mirror.{table}")
        }
        assert held
        return {row for row, version in held.items() if self.rows.get(row) != version}


async def writer(database: AsyncEngine, reader: Reader, number: int) -> None:
    """Changes rows of every table, its own and common ones, and dawdles between drawing versions and committing."""
    for turn in range(6):
        async with transaction(database) as connection:
            for table in TABLES[:: 1 if number % 2 else -1]:
                rows = [{"id": 100 * number + turn}, {"id": turn}, {"id": 1}]
                text = "username" if table == "accounts" else "comment"
                changed = page(*(row | {text: f"{number}.{turn}"} for row in rows))
                await bulk.write(connection, "live", table, changed)
            if turn % 2:
                await bulk.tombstone(connection, "live", "deals", [turn - 1, 1])
            await reader.polls_twice()


async def follow_writers(database: AsyncEngine) -> set[tuple[str, int]]:
    reader = Reader(database)
    following = asyncio.create_task(reader.follow())
    try:
        async with asyncio.timeout(60):
            await asyncio.gather(*(writer(database, reader, number) for number in range(1, 5)))
    finally:
        following.cancel()
        await asyncio.wait([following])
    return await reader.missed()


async def test_a_reader_misses_nothing_of_many_writers_that_dawdle_before_they_commit(database):
    assert await follow_writers(database) == set()


async def test_without_the_lock_that_reader_would_miss_rows(database):
    reader = Reader(database)
    async with transaction(database) as slow:
        await bulk.write(slow, "live", "deals", page({"id": 1}), lock=no_lock)
        async with transaction(database) as quick:
            await bulk.write(quick, "live", "deals", page({"id": 2}), lock=no_lock)
        await reader.poll()
    assert await reader.missed() == {("deals", 1)}


async def change_deals(connection) -> None:
    await bulk.write(connection, "live", "deals", page({"id": 1, "symbol_id": 3, "comment": "new"}))


async def delete_deals(connection) -> None:
    await bulk.tombstone(connection, "live", "deals", [1])


async def rename_symbols(connection) -> None:
    await bulk.write(connection, "live", "symbols", page({"id": 3, "symbol": "EURUSD"}))


@pytest.mark.parametrize("change", [change_deals, delete_deals, rename_symbols])
async def test_a_later_change_waits_for_the_commit_of_an_earlier_one(database, change):
    await write(database, "deals", {"id": 1, "symbol_id": 3})
    reader = Reader(database)
    async with transaction(database) as slow:
        await change(slow)
        later = asyncio.create_task(write(database, "deals", {"id": 2}))
        await until_blocked(database)
        await reader.poll()
        assert set(reader.rows) == {("deals", 1)}
    await later
    assert await reader.missed() == set()


async def test_a_transaction_that_was_refused_a_row_still_holds_back_later_ones(database):
    async with transaction(database) as slow:
        await bulk.write(slow, "live", "deals", page({"id": 1}, {"id": 2, "profit": b"1e200000"}, {"id": 3}))
        later = asyncio.create_task(write(database, "orders", {"id": 2}))
        await until_blocked(database)
        assert not later.done()
    assert (await later).inserted == 1


async def test_copying_rows_does_not_hold_back_other_writers(database, monkeypatch):
    copied, go_on = asyncio.Event(), asyncio.Event()
    real = bulk.copy

    async def copy(connection, target, lines):
        await real(connection, target, lines)
        if "staged_deals" in target:
            copied.set()
            await go_on.wait()

    monkeypatch.setattr(bulk, "copy", copy)
    slow = asyncio.create_task(write(database, "deals", {"id": 1}))
    await copied.wait()
    assert (await write(database, "orders", {"id": 1})).inserted == 1
    go_on.set()
    assert (await slow).inserted == 1


async def test_the_next_writer_goes_on_when_one_dies_before_its_commit(database):
    async with database.connect() as doomed:
        await doomed.begin()
        await bulk.write(doomed, "live", "deals", page({"id": 1}))
        later = asyncio.create_task(write(database, "deals", {"id": 2}))
        await until_blocked(database)
        pid = (await doomed.exec_driver_sql("SELECT pg_backend_pid()")).scalar_one()
        await query(database, "SELECT pg_terminate_backend(:pid, 5000)", pid=pid)
        assert (await later).inserted == 1
        await doomed.invalidate()
    await until(database, "count(*) = 1 FROM mirror.deals")
    assert await query(database, "SELECT id FROM mirror.deals") == [(2,)]
