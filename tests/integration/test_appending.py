"""Batches of a first reading are copied at the same time and committed one after the other."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from counterfoil.domain.errors import LeaseLostError
from counterfoil.domain.page import Page, Rejected, joined
from counterfoil.store import Unreachable, appending, beyond, copying, engine, leases
from counterfoil.store.appending import Appending
from counterfoil.store.bulk import Written
from counterfoil.store.engine import plain_connection, transaction
from counterfoil.store.mirror import Mirror
from support.store import VERSION_LOCK, connected, page, query, until_blocked, value, write

ROWS = 120  # of a batch; enough to go straight into the table


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[AsyncEngine]:
    async with connected(database_url) as engine:
        yield engine


@dataclass
class Reading:
    """A first reading of accounts under a lease of its own."""

    mirror: Mirror
    landed: list[tuple[int, Written]] = field(default_factory=list)
    plain: list[int] = field(default_factory=list)
    appending: Appending = field(init=False)

    def __post_init__(self) -> None:
        self.appending = Appending(self.mirror, "accounts", self._landed, self._plainly)

    def _landed(self, page: Page, written: Written) -> None:
        self.landed.append((page.line_ids[0], written))

    async def _plainly(self, page: Page, states: dict[str, dict[str, object]]) -> None:
        self.plain.append(page.line_ids[0])
        self._landed(page, await self.mirror.write("accounts", page, states=states))

    async def add(self, number: int, batch: Page | None = None) -> None:
        await self.appending.add(batch or batch_of(number), {"accounts": {"batch": number}})

    async def cursor(self) -> int | None:
        state = await self.mirror.cursor("accounts")
        return state and state["batch"]


def batch_of(number: int, *, first: int = 0, **fields: object) -> Page:
    return page(*({"id": 1_000 * number + at, "currency": "EUR", **fields} for at in range(first, ROWS)))


@asynccontextmanager
async def reading_of(database: AsyncEngine, platform: str) -> AsyncIterator[Reading]:
    one = Reading(Mirror(database, await leases.acquire(database, platform, "accounts")))
    async with aclosing(one.appending):
        yield one


@pytest.fixture
async def reading(database) -> AsyncIterator[Reading]:
    async with reading_of(database, "live") as one:
        yield one


@dataclass
class Gate:
    """Batches of this many turns wait, when all of their rows are copied, until they are let through."""

    copied: list[asyncio.Event] = field(default_factory=lambda: [asyncio.Event() for _ in range(5)])
    opened: list[asyncio.Event] = field(default_factory=lambda: [asyncio.Event() for _ in range(5)])
    connections: list[object] = field(default_factory=list)

    def open(self, *turns: int) -> None:
        for turn in turns or range(5):
            self.opened[turn].set()


@pytest.fixture
def gate(monkeypatch) -> Iterator[Gate]:
    held, copy = Gate(), copying.copy

    async def copied(connection, target, lines):
        turn = len(held.connections)
        held.connections.append(connection)
        await copy(connection, target, lines)
        held.copied[turn].set()
        await held.opened[turn].wait()

    monkeypatch.setattr(beyond, "copy", copied)
    yield held
    held.open()


@contextmanager
def patience(monkeypatch, seconds: float) -> Iterator[None]:
    with monkeypatch.context() as patched:
        patched.setattr(engine, "PATIENCE", seconds)
        yield


async def count(database: AsyncEngine) -> object:
    return await value(database, "SELECT count(*) FROM mirror.accounts")


async def in_order(database: AsyncEngine) -> bool:
    """Whether rows with higher ids have higher versions."""
    versions = [version for (version,) in await query(database, "SELECT version FROM mirror.accounts ORDER BY id")]
    return versions == sorted(set(versions))


async def test_batches_are_copied_at_the_same_time_and_no_more_of_them_than_that(reading, gate):
    numbers = range(1, appending.AT_ONCE + 1)
    for number in numbers:
        await reading.add(number)
    one_more = asyncio.create_task(reading.add(appending.AT_ONCE + 1))
    async with asyncio.timeout(20):
        await asyncio.gather(*(gate.copied[number - 1].wait() for number in numbers))
    assert (one_more.done(), len(gate.connections)) == (False, appending.AT_ONCE)
    gate.open()
    await one_more
    await reading.appending.drain()
    assert [first for first, _ in reading.landed] == [1_000 * number for number in (*numbers, appending.AT_ONCE + 1)]


async def test_a_batch_commits_only_when_the_one_before_it_has(database, reading, gate):
    await reading.add(1)
    await reading.add(2)
    await gate.copied[0].wait()
    await gate.copied[1].wait()
    gate.open(1)
    assert (await count(database), await reading.cursor()) == (0, None)
    gate.open(0)
    await reading.appending.drain()
    assert (await count(database), await reading.cursor()) == (2 * ROWS, 2)
    assert (await in_order(database), reading.plain) == (True, [])
    assert [written for _, written in reading.landed] == [Written(inserted=ROWS)] * 2


async def test_behind_a_batch_that_failed_nothing_is_written(database, reading, gate):
    await reading.add(1)
    await reading.add(2)
    await gate.copied[0].wait()
    await gate.copied[1].wait()
    pid = (await gate.connections[0].exec_driver_sql("SELECT pg_backend_pid()")).scalar_one()
    await query(database, "SELECT pg_terminate_backend(:pid, 5000)", pid=pid)
    gate.open()
    with pytest.raises(Unreachable):
        await reading.appending.drain()
    await reading.appending.aclose()
    assert (await count(database), await reading.cursor(), reading.landed) == (0, None, [])


async def test_what_is_under_way_is_finished_when_the_reading_ends(database, reading, gate):
    await reading.add(1)
    await gate.copied[0].wait()
    ending = asyncio.create_task(reading.appending.aclose())
    await asyncio.sleep(0)
    gate.open()
    await ending
    assert (await count(database), await reading.cursor()) == (ROWS, 1)


async def test_what_does_not_end_is_given_up(database, reading, gate, monkeypatch):
    await reading.add(1)
    await gate.copied[0].wait()
    with patience(monkeypatch, 0.05):
        await reading.appending.aclose()
    assert (await count(database), await reading.cursor()) == (0, None)


async def test_a_value_that_is_refused_costs_its_record_and_nothing_else(database, reading):
    await reading.add(1)
    bad = batch_of(2)
    bad.lines[7] = b"2007\tEUR\xff"
    await reading.add(2, bad)
    await reading.add(3)
    await reading.appending.drain()
    assert (await count(database), await reading.cursor()) == (3 * ROWS - 1, 3)
    assert await query(database, "SELECT record_id FROM counterfoil.quarantine") == [("2007",)]
    assert await in_order(database)
    assert sum(written.inserted for _, written in reading.landed) == 3 * ROWS - 1


@pytest.mark.parametrize("again", [{"first": 0}, {"first": 0, "currency": "USD"}])
async def test_rows_that_came_before_are_compared_as_ever(database, reading, again):
    await reading.add(1)
    await reading.add(2, batch_of(1, **again))
    await reading.appending.drain()
    assert (await count(database), await reading.cursor(), reading.plain) == (ROWS, 2, [1_000])
    assert reading.landed[1][1].changed == (ROWS if "currency" in again else 0)


async def test_rows_below_what_somebody_else_brought_are_compared_as_ever(database, reading, monkeypatch):
    last, tries, draw = appending.AT_ONCE + 2, [], copying.draw_versions
    reach = 1_000 * last - 500

    async def drawn(connection, rows):
        tries.append(rows)
        return await draw(connection, rows)

    monkeypatch.setattr(copying, "draw_versions", drawn)
    await write(database, "accounts", {"id": 1_050, "currency": "OLD"}, {"id": reach, "currency": "OLD"})
    for number in range(1, last + 1):
        await reading.add(number)
    await reading.appending.drain()
    assert (await count(database), await reading.cursor()) == (last * ROWS + 1, last)
    assert await query(database, "SELECT id FROM mirror.accounts WHERE currency = 'OLD'") == [(reach,)]
    # Once it is known how far the mirror reaches nobody tries again below it.
    assert len(tries) <= appending.AT_ONCE + 1
    assert reading.plain == [1_000 * number for number in range(1, last)]
    assert [written.changed for _, written in reading.landed] == [1, *[0] * (last - 1)]


def with_a_rejected_record(batch: Page) -> Page:
    return replace(batch, rejected=[Rejected("9", "wrong", "{}")])


def backwards(batch: Page) -> Page:
    return replace(batch, ids=batch.ids[::-1], line_ids=batch.line_ids[::-1], lines=batch.lines[::-1])


def with_a_record_twice(batch: Page) -> Page:
    return joined([batch, backwards(batch).less_first(ROWS - 1)])


@pytest.mark.parametrize("odd", [with_a_rejected_record, backwards, with_a_record_twice])
async def test_a_page_with_anything_odd_goes_the_way_of_every_page(database, reading, odd):
    await reading.add(1, odd(batch_of(1)))
    assert (len(reading.plain), await count(database), await reading.cursor()) == (1, ROWS, 1)


async def test_without_the_lease_nothing_is_written(database, reading, gate):
    await reading.add(1)
    await reading.add(2)
    await gate.copied[1].wait()
    await query(database, "UPDATE counterfoil.leases SET token = gen_random_uuid()")
    gate.open()
    with pytest.raises(LeaseLostError):
        await reading.appending.drain()
    assert await count(database) == 0


async def test_who_lost_the_lease_and_brings_rows_that_the_holder_brought_is_told_so(database, reading, gate):
    await query(database, "UPDATE counterfoil.leases SET expires_at = clock_timestamp() - interval '1 s'")
    async with reading_of(database, "live") as holder:
        await holder.add(1)
        await gate.copied[0].wait()
        await reading.add(1)
        await until_blocked(database)
        gate.open()
        await holder.appending.drain()
    with pytest.raises(LeaseLostError):
        await reading.appending.drain()
    assert await count(database) == ROWS


async def test_nothing_goes_on_behind_one_who_is_told_to_end_while_it_clears_up(database, reading, gate):
    spoilt = batch_of(1)
    spoilt.lines[3] = b"1003\t\xff"
    await reading.add(1, spoilt)
    await reading.add(2)
    await gate.copied[1].wait()
    flights = [flight.task for flight in reading.appending._flights]
    draining = asyncio.create_task(reading.appending.drain())
    await asyncio.wait([flights[0]])
    await asyncio.sleep(0)
    draining.cancel()
    gate.open()
    await asyncio.wait([draining])
    await reading.appending.aclose()
    assert [flight.done() for flight in flights] == [True, True]
    assert database.pool.checkedout() == 0


async def test_versions_that_are_drawn_while_another_draws_row_by_row_come_after_its_commit(database, reading, gate):
    gate.open()
    async with transaction(database) as slow:
        await copying.lock_versions(slow)
        await reading.add(1)
        await until_blocked(database)
        drawn = (await slow.exec_driver_sql("SELECT nextval('mirror.version')")).scalar_one()
    await reading.appending.drain()
    assert await value(database, "SELECT min(version) FROM mirror.accounts") == drawn + 1


async def test_to_draw_row_by_row_waits_for_all_who_drew_before(database, reading, gate):
    await reading.add(1)
    await reading.add(2)
    await gate.copied[1].wait()
    later = asyncio.create_task(write(database, "clients", {"id": 1}))
    await until_blocked(database)
    gate.open(0)
    await gate.copied[0].wait()
    assert await value(database, "SELECT count(*) FROM mirror.clients") == 0
    gate.open()
    await reading.appending.drain()
    await later
    newest = await value(database, "SELECT max(version) FROM mirror.accounts")
    assert await value(database, "SELECT version > :newest FROM mirror.clients", newest=newest)


@pytest.mark.parametrize("between", [0, 10], ids=["at once", "with a draw between that fails"])
async def test_whoever_drew_later_commits_later_whichever_reading_it_is_of(database, reading, gate, between):
    async with reading_of(database, "other") as other:
        await reading.add(1)
        await gate.copied[0].wait()
        if between:
            async with database.connect() as failed:
                await copying.draw_versions(failed, between)
        await other.add(1)
        gate.open(1)
        await until_blocked(database)
        assert await count(database) == 0
        gate.open(0)
        await other.appending.drain()
    assert await value(database, "SELECT array_agg(platform ORDER BY version) FROM mirror.accounts") == [
        *["live"] * ROWS,
        *["other"] * ROWS,
    ]


@pytest.mark.parametrize("drawn", [2**31 - 5, 2**33 - 3], ids=["the numbers of locks begin anew", "again"])
async def test_draws_are_in_order_where_the_numbers_of_locks_begin_anew(database, drawn):
    await value(database, "SELECT setval('mirror.version', :drawn)", drawn=drawn)
    async with transaction(database) as one, transaction(database) as two, transaction(database) as three:
        firsts = [await copying.draw_versions(connection, 10) for connection in (one, two, three)]
        later = asyncio.create_task(copying.await_versions(two, firsts[1]))
        await until_blocked(database)
        await copying.await_versions(one, firsts[0])
        await one.commit()
        await later
    assert firsts == [drawn + 1, drawn + 11, drawn + 21]


async def test_nobody_draws_while_another_is_at_it(database):
    async with transaction(database) as one, transaction(database) as two, transaction(database) as holding:
        last = await copying.draw_versions(holding, 5) + 9
        await holding.execute(sa.text(f"SELECT pg_advisory_xact_lock({VERSION_LOCK}, {last})"))
        first = asyncio.create_task(copying.draw_versions(one, 5))
        await until_blocked(database)
        second = asyncio.create_task(copying.draw_versions(two, 5))
        await until_blocked(database, 2)
        await holding.commit()
        assert (await first, await second) == (last - 4, last + 1)


async def test_a_writer_of_the_version_before_waits_for_all_who_drew_and_they_for_it(database, reading, gate):
    row_by_row = "SELECT pg_advisory_xact_lock(:lock)"
    await reading.add(1)
    await gate.copied[0].wait()
    async with transaction(database) as former:
        asked = asyncio.create_task(former.execute(sa.text(row_by_row), {"lock": VERSION_LOCK}))
        await until_blocked(database)
        gate.open()
        await reading.appending.drain()
        await asked
        seen = await value(database, "SELECT max(version) FROM mirror.accounts")
        await reading.add(2)
        await until_blocked(database)
        drawn = (await former.exec_driver_sql("SELECT nextval('mirror.version')")).scalar_one()
    await reading.appending.drain()
    later = await value(database, "SELECT min(version) FROM mirror.accounts WHERE id >= 2000")
    assert seen < drawn < later


async def test_versions_are_drawn_in_the_order_of_the_batches(database, reading, monkeypatch):
    draw, begun, go_on, drawing = copying.draw_versions, asyncio.Event(), asyncio.Event(), []

    async def slow(connection, rows):
        drawing.append(rows)
        begun.set()
        if len(drawing) == 1:
            await go_on.wait()
        return await draw(connection, rows)

    monkeypatch.setattr(copying, "draw_versions", slow)
    await reading.add(1)
    await reading.add(2)
    await begun.wait()
    # Time enough for a second one, if it did not wait.
    assert [await count(database) for _ in range(5)] == [0] * 5
    assert len(drawing) == 1
    go_on.set()
    await reading.appending.drain()
    assert (len(drawing), await in_order(database)) == (2, True)


async def test_to_draw_leaves_no_lock_of_the_session_behind_however_it_ends(database_url):
    mine = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
    async with connected(database_url) as other, transaction(other) as holding:
        connection = await plain_connection(database_url)
        try:
            (first,) = await (await connection.execute("SELECT counterfoil.draw_versions(5)")).fetchone()
            assert await (await connection.execute(mine)).fetchone() == (0,)
            # The lock that the next draw takes while it holds that of the session.
            await holding.execute(sa.text(f"SELECT pg_advisory_xact_lock({VERSION_LOCK}, {first} + 9)"))
            await connection.execute("SET lock_timeout = '50ms'")
            with pytest.raises(psycopg.errors.LockNotAvailable):
                await connection.execute("SELECT counterfoil.draw_versions(5)")
            await holding.commit()
            await connection.execute("SELECT set_config('search_path', 'public', false), counterfoil.draw_versions(5)")
            assert await (await connection.execute(mine)).fetchone() == (0,)
        finally:
            await connection.close()
