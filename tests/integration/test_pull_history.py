"""Histories: nothing is lost to rows that come late, share a time or a place, or move while being read."""

import asyncio
import json
from itertools import count

import psycopg
import pytest
import sqlalchemy as sa

from counterfoil.domain import cursor as cursors
from counterfoil.domain.page import Page
from counterfoil.pull import history
from counterfoil.pull.puller import Result
from counterfoil.store import appending, bulk, copying, engine, leases
from counterfoil.store import cursors as positions
from counterfoil.store.mirror import Mirror
from support.pulling import DEALS, Bench, Meddled, bench, one_pass, said, until_done
from support.store import connected, until_blocked


@pytest.fixture
def small_overlap(monkeypatch):
    """20 ids instead of 500, so that books of a few hundred deals reach below it."""
    for module in (cursors, history):
        monkeypatch.setattr(module, "OVERLAP_IDS", 20)


def stop_the_clock(it: Bench) -> None:
    """Everything that happens from now on happens at the same time."""
    now = it.books.now()
    it.books.clock = lambda: now


def shown(*rows: tuple[int, bytes]) -> Page:
    ids = [row for row, _ in rows]
    return Page(("id",), len(rows), ids, [line for _, line in rows], ids, [None] * len(rows))


@pytest.mark.parametrize(
    ("before", "after", "left"),
    [
        ([(1, b"a"), (2, b"a")], [(1, b"a"), (2, b"a"), (3, b"a")], [3]),
        ([(1, b"a"), (2, b"a")], [(1, b"b"), (2, b"a"), (3, b"a")], [1, 2, 3]),
        ([(1, b"a"), (1, b"b")], [(1, b"a"), (2, b"a")], [1, 2]),
        ([(1, b"a"), (1, b"b")], [(1, b"b"), (2, b"a")], [2]),
        ([(2, b"a")], [(1, b"a"), (2, b"a")], [1, 2]),
    ],
)
def test_of_what_pages_share_only_what_stands_as_it_was_shown_last_is_left_out(before, after, left):
    batch = history._Batch(None, "deals", None)
    batch._less_overlap(shown(*before))
    assert batch._less_overlap(shown(*after)).line_ids == left


# --- bugs that others shipped ---------------------------------------------------------------------------------------


async def test_rows_stamped_like_the_newest_one_are_not_skipped(database_url):
    async with bench(database_url) as it:
        puller = it.puller(page_size=50)
        await one_pass(puller, "symbols", "deals")
        stop_the_clock(it)
        for _ in range(3):
            it.books.trade()
            await one_pass(puller, "deals")
            assert it.differences("deals") == []
        newest = it.rows(
            "SELECT count(*) AS rows FROM mirror.deals GROUP BY created_at ORDER BY created_at DESC LIMIT 1"
        )
        assert newest[0].rows > 3


async def test_rows_committed_late_within_the_overlap_come_with_the_next_poll(database_url):
    async with bench(database_url) as it:
        puller = it.puller(page_size=50)
        it.books.deal_ids.reserve(5)
        late = it.books.deal_ids.gaps[-5:]
        it.books.trade(2)
        await one_pass(puller, "symbols", "deals")
        it.books.deal_ids.gaps = list(late)
        assert it.books.late(5) == late
        await one_pass(puller, "deals")
        assert it.differences("deals") == []


@pytest.mark.usefixtures("small_overlap")
async def test_rows_committed_late_below_the_overlap_come_with_the_sweep(database_url):
    async with bench(database_url) as it:
        puller = it.puller(page_size=50)
        await one_pass(puller, "symbols", "deals")
        late = it.books.late(2)
        it.books.trade()
        await one_pass(puller, "deals")
        assert it.differences("deals") == [f"deals {key} is missing" for key in late]
        await one_pass(puller, "sweep")
        assert it.differences("deals") == []


async def test_more_rows_of_one_time_than_fit_a_page_are_all_read(database_url):
    async with bench(database_url, deals=20) as it:
        stop_the_clock(it)
        it.books.trade(20)
        puller = it.puller(page_size=7)
        await one_pass(puller, "symbols", "deals")
        assert it.differences("deals") == []
        it.books.trade(10)
        await one_pass(puller, "deals")
        assert it.differences("deals") == []


@pytest.mark.parametrize("action", ["delete", "insert"])
async def test_rows_are_not_skipped_when_pages_shift_while_being_read(database_url, action):
    async with bench(database_url, deals=150) as it:
        before = set(it.books.deals.ids)
        it.sandbox.faults.set({"kind": "shift", "action": action, "path": DEALS, "times": 6})
        await one_pass(it.puller(page_size=30), "symbols", "deals")
        it.sandbox.faults.clear()
        assert {row.id for row in it.rows("SELECT id FROM mirror.deals")} >= before & set(it.books.deals.ids)
        await one_pass(it.puller(page_size=100), "deals", "sweep")
        assert it.differences("deals") == []


async def test_an_endpoint_cut_off_at_a_number_of_rows_is_noticed_and_said(database_url):
    async with bench(database_url) as it:
        it.sandbox.faults.set({"kind": "cap", "path": DEALS, "rows": 100})
        puller = it.puller(page_size=50)
        with said() as lines:
            assert await until_done(puller, "deals") is Result.FAILED
        assert [line["rows"] for line in lines("listing.capped")] == [100]
        it.sandbox.faults.clear()
        assert await until_done(puller, "symbols") is Result.DONE
        assert await until_done(puller, "deals", wait=True) is Result.DONE
        assert it.differences("deals") == []


async def test_an_endpoint_cut_off_beyond_half_of_its_rows_is_read_from_both_ends(database_url):
    async with bench(database_url) as it:
        it.sandbox.faults.set({"kind": "cap", "path": DEALS, "rows": 200})
        puller = it.puller(page_size=50)
        assert await one_pass(puller, "symbols", "deals") == {}
        assert it.differences("deals") == []


async def test_a_history_that_really_begins_above_the_watermark_is_no_cut_off_one(database_url):
    async with bench(database_url, deals=20) as it:
        puller = it.puller()
        await one_pass(puller, "symbols", "deals")
        for key in list(it.books.deals.ids):
            it.books.delete("deals", key)
        it.books.trade()
        assert await one_pass(puller, "deals") == {}
        assert len(it.differences("deals")) == 10


# --- resuming -------------------------------------------------------------------------------------------------------


async def stop(_page: int, _resource: str) -> None:
    raise asyncio.CancelledError


@pytest.mark.usefixtures("small_overlap")
@pytest.mark.parametrize(("pages", "together"), [(1, 1), (3, 1), (6, 1), (3, 2), (6, 4)])
async def test_a_first_reading_that_is_cancelled_goes_on_where_it_stopped(database_url, monkeypatch, pages, together):
    monkeypatch.setattr(history, "TOGETHER", together)
    async with bench(database_url) as it:
        puller = it.puller(page_size=50, ahead=1)
        healthy = puller.reader
        # The first request asks for the newest row alone.
        puller.reader = Meddled(healthy, lambda n, name: stop(n, name) if n > pages + 1 else asyncio.sleep(0))
        with pytest.raises(asyncio.CancelledError), said() as lines:
            await puller.run("deals")
        assert lines("pull.interrupted")
        assert it.cursor("deals")["rows"] == (read := it.rows("SELECT count(*) AS n FROM mirror.deals")[0].n) > 0
        puller.reader = healthy
        it.forget_requests()
        await one_pass(puller, "symbols", "deals")
        assert it.differences("deals") == []
        assert min(starts(it.asked("deals"))) >= read - 20 - 50


@pytest.mark.usefixtures("small_overlap")
async def test_a_first_reading_begins_with_few_pages_together(database_url, monkeypatch):
    async with bench(database_url, deals=500) as it:
        add, lengths = appending.Appending.add, []

        async def noted(self, page, states):
            lengths.append(page.rows)
            await add(self, page, states)

        monkeypatch.setattr(history, "TOGETHER", 4)
        monkeypatch.setattr(appending.Appending, "add", noted)
        await one_pass(it.puller(page_size=20), "symbols", "deals")
        together = [round(rows / 20) for rows in lengths]
        assert together[:5] == [1, 2, 4, 4, 4]


def starts(requests: list[str]) -> list[int]:
    """The first row of each page that was asked for, ascending."""
    queries = [dict(part.split("=") for part in request.partition("?")[2].split("&")) for request in requests]
    return [(int(q["page"]) - 1) * int(q["limit"]) for q in queries if q["dir"] == "ASC"]


# So few rows at once that they go the way of every page, and so many that they go straight into the table.
BATCHES = pytest.mark.parametrize("together", [1, 3])


@pytest.mark.usefixtures("small_overlap")
@BATCHES
async def test_a_first_reading_whose_database_dies_goes_on_where_it_stopped(database_url, monkeypatch, together):
    async with bench(database_url) as it:
        puller, save, saved = it.puller(page_size=50), positions.save, count(1)

        async def dying(*given):
            if next(saved) % 3 == 0:
                raise sa.exc.OperationalError("INSERT", {}, Exception("server closed the connection"))
            await save(*given)

        monkeypatch.setattr(positions, "save", dying)
        monkeypatch.setattr(history, "TOGETHER", together)
        lost = 0
        for _ in range(20):
            try:
                if await puller.run("deals") is Result.DONE:
                    break
            except sa.exc.OperationalError:
                lost += 1
        monkeypatch.undo()
        await one_pass(puller, "symbols")
        assert lost > 0
        assert it.differences("deals") == []


@pytest.mark.usefixtures("small_overlap")
async def test_a_row_that_came_late_just_below_the_place_where_a_reading_stopped_is_not_skipped(database_url):
    async with bench(database_url) as it:
        puller = it.puller(page_size=50, ahead=1, slice=0.0)
        assert await puller.run("deals") is Result.MORE
        assert await puller.run("deals") is Result.MORE
        # Ids 7 and 96 were left unused; the reading stands a little above the second.
        assert it.cursor("deals")["last"] < 116
        it.books.deal_ids.gaps = [key for key in it.books.deal_ids.gaps if key > 50]
        assert it.books.late(1) == [96]
        await one_pass(puller, "symbols", "deals")
        assert it.differences("deals") == []


@pytest.mark.usefixtures("small_overlap")
async def test_a_row_that_changes_between_the_two_pages_that_show_it_is_not_left_as_it_was(database_url, monkeypatch):
    monkeypatch.setattr(history, "TOGETHER", 3)
    async with bench(database_url) as it:
        puller = it.puller(page_size=50, ahead=1)
        seam = it.books.deals.ids[49]

        async def change(number: int, _resource: str) -> None:
            if number == 3:
                it.books.touch("deals", seam)

        await one_pass(puller, "symbols")
        puller.reader = Meddled(puller.reader, change)
        await one_pass(puller, "deals")
        assert it.differences("deals") == []


async def test_a_first_reading_that_took_longer_than_half_the_overlap_is_not_the_end_of_it(database_url, monkeypatch):
    async with bench(database_url) as it:
        puller = it.puller(page_size=50)
        monkeypatch.setattr(history, "OVERLAP_TIME", cursors.OVERLAP_TIME * 0)
        assert await puller.run("deals") is Result.MORE
        assert it.cursor("deals")["begun"] is False
        monkeypatch.undo()
        it.forget_requests()
        assert await puller.run("deals") is Result.DONE
        assert it.cursor("deals")["begun"] is True


async def test_a_first_reading_in_slices_of_no_time_ends_and_is_exact(database_url):
    async with bench(database_url, deals=120) as it:
        puller = it.puller(page_size=40, ahead=4, slice=0.0)
        await one_pass(puller, "symbols", "positions", "orders", "deals", "sweep")
        assert it.differences("positions", "orders", "deals") == []


@BATCHES
async def test_a_page_and_the_cursor_that_covers_it_are_written_together(database_url, monkeypatch, together):
    async with bench(database_url) as it:
        puller, save, saved = it.puller(page_size=50, ahead=1), positions.save, count(1)

        async def late_failure(*given):
            await save(*given)
            if next(saved) == 2:
                raise ValueError("after rows and cursor, before the commit")

        monkeypatch.setattr(positions, "save", late_failure)
        monkeypatch.setattr(history, "TOGETHER", together)
        assert await puller.run("deals") is Result.FAILED
        assert it.rows("SELECT count(*) AS n FROM mirror.deals")[0].n == it.cursor("deals")["rows"] > 0


async def test_newer_pages_are_written_while_older_ones_are_fetched(database_url, monkeypatch):
    async with bench(database_url) as it:
        puller = it.puller(page_size=40)
        await one_pass(puller, "symbols", "deals")
        it.books.trade(30)
        fetched, real = asyncio.Event(), Mirror.write

        async def waiting(*given, **named):
            async with asyncio.timeout(20):
                await fetched.wait()
            return await real(*given, **named)

        async def third(number: int, _resource: str) -> None:
            if number == 3:
                fetched.set()

        monkeypatch.setattr(Mirror, "write", waiting)
        puller.reader = Meddled(puller.reader, third)
        assert await one_pass(puller, "deals") == {}
        assert it.differences("deals") == []


class HeldUpError(Exception):
    """Stands for what becomes of a write that was held up."""


@pytest.fixture
def held_up(monkeypatch):
    """The first write of rows touches nothing before those of the next have been sent; `failure`: what becomes of it then."""
    write, hold, copy = Mirror.write, leases.hold, bulk.copy
    first, senders, sent = [], [], asyncio.Event()

    def look() -> None:
        if first and any(sender is not first[0] for sender in senders):
            sent.set()

    def begin(failure: Exception | None) -> None:
        async def written(*given, **named):
            try:
                return await write(*given, **named)
            except HeldUpError:
                raise failure from None

        async def held(connection, *given, **named):
            if not first:
                first.append(connection)
                look()
                async with asyncio.timeout(20):
                    await sent.wait()
                if failure:
                    raise HeldUpError
            await hold(connection, *given, **named)

        async def copied(connection, *given):
            await copy(connection, *given)
            senders.append(connection)
            look()

        monkeypatch.setattr(Mirror, "write", written)
        monkeypatch.setattr(leases, "hold", held)
        monkeypatch.setattr(bulk, "copy", copied)

    return begin


@pytest.mark.usefixtures("small_overlap")
@pytest.mark.parametrize(
    "failure",
    [None, ValueError("not this one"), sa.exc.DataError("COPY", {}, psycopg.errors.NumericValueOutOfRange())],
)
@pytest.mark.parametrize(("trades", "size"), [(30, 40), (300, 200)], ids=["few", "many"])
async def test_older_pages_are_sent_while_newer_ones_are_written_but_touch_nothing_before(
    database_url, held_up, failure, trades, size
):
    async with bench(database_url) as it:
        puller = it.puller(page_size=size)
        await one_pass(puller, "symbols", "deals")
        before = it.rows("SELECT count(*) AS n FROM mirror.deals")[0].n, it.cursor("deals")
        it.books.trade(trades)
        seam = it.books.deals.ids[-size]

        async def change(number: int, _resource: str) -> None:
            if number == 2:
                it.books.touch("deals", seam)

        held_up(failure)
        puller.reader = Meddled(puller.reader, change)
        if failure:
            assert await puller.run("deals") is Result.FAILED
            assert (it.rows("SELECT count(*) AS n FROM mirror.deals")[0].n, it.cursor("deals")) == before
            assert it.rows("SELECT record_id FROM counterfoil.quarantine") == []
        assert await until_done(puller, "deals", wait=True) is Result.DONE
        assert it.differences("deals") == []


async def test_nothing_is_written_behind_a_run_that_is_told_to_end(database_url, monkeypatch):
    settle, settling = history._Aside._settle, asyncio.Event()

    async def watched(aside):
        if aside._writing is not None and not aside._writing.task.done():
            settling.set()
        await settle(aside)

    monkeypatch.setattr(history._Aside, "_settle", watched)
    monkeypatch.setattr(engine, "PATIENCE", 0.1)
    async with bench(database_url) as it, connected(database_url) as other:
        puller = it.puller(page_size=40)
        await one_pass(puller, "symbols", "deals")
        it.books.trade(30)
        async with engine.transaction(other) as holding:
            await copying.lock_versions(holding)
            run = asyncio.create_task(puller.run("deals"))
            await settling.wait()
            await until_blocked(other)
            run.cancel()
            await asyncio.wait([run], timeout=10)
            assert (run.done(), puller.runs.engine.pool.checkedout()) == (True, 0)


@pytest.mark.parametrize("failing", [1, 2])
async def test_a_write_that_fails_meanwhile_fails_the_run_and_the_next_one_makes_up_for_it(
    database_url, monkeypatch, failing
):
    async with bench(database_url) as it:
        puller = it.puller(page_size=40)
        await one_pass(puller, "symbols", "deals")
        before = it.cursor("deals")
        it.books.trade(30)
        real, writes = Mirror.write, count(1)

        async def broken(*given, **named):
            if next(writes) == failing:
                raise ValueError("not this one")
            return await real(*given, **named)

        with monkeypatch.context() as patched:
            patched.setattr(Mirror, "write", broken)
            assert await puller.run("deals") is Result.FAILED
        assert it.cursor("deals") == before
        assert await until_done(puller, "deals", wait=True) is Result.DONE
        assert it.differences("deals") == []


# --- catching up ----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("small_overlap")
@pytest.mark.parametrize("slice_", [0.0, 1_000.0])
async def test_after_a_long_downtime_it_goes_forward_from_the_overlap_and_polls_are_cheap_again(
    database_url, monkeypatch, slice_
):
    monkeypatch.setattr(history, "LONGEST_WAY_BACK", 2)
    async with bench(database_url) as it:
        puller = it.puller(page_size=40, slice=slice_)
        await one_pass(puller, "symbols", "deals")
        it.books.trade(40)
        it.forget_requests()
        assert await puller.run("deals") is Result.MORE
        assert it.cursor("deals")["begun"] is False
        assert await until_done(puller, "deals") is Result.DONE
        assert it.differences("deals") == []
        first_look = [start for start in starts(it.asked("deals")) if start < 240]
        assert len(first_look) < 12
        it.forget_requests()
        # Ten minutes have not passed for any of the new deals, so that all of them are the overlap.
        monkeypatch.setattr(cursors, "OVERLAP_TIME", cursors.OVERLAP_TIME * 0)
        await one_pass(puller, "deals")
        assert len(it.asked("deals")) == 1


async def test_a_platform_that_only_lists_upwards_is_read_upwards_and_it_is_said_once(database_url):
    async with bench(database_url, deals=120) as it:
        puller = it.puller(page_size=50)
        healthy = puller.reader
        puller.reader = Upwards(healthy)
        with said() as lines:
            await one_pass(puller, "symbols", "deals")
            for _ in range(3):
                it.books.trade(2)
                await one_pass(puller, "deals")
                assert it.differences("deals") == []
        assert len(lines("platform.unexpected")) == 1


class Upwards:
    """A reader of a platform that ignores `dir`."""

    def __init__(self, reader):
        self._reader = reader

    def __getattr__(self, name):
        return getattr(self._reader, name)

    async def page(self, resource, query):
        return await self._reader.page(resource, type(query)(page=query.page, limit=query.limit))


async def test_a_platform_that_only_lists_downwards_is_mirrored_all_the_same(database_url):
    async with bench(database_url, deals=120) as it:
        it.sandbox.faults.set({"kind": "ignore_sort"})
        puller = it.puller(page_size=50, slice=0.0)
        for _ in range(3):
            await one_pass(puller, "symbols", "clients", "accounts", "deals")
            assert it.differences("clients", "accounts", "deals") == []
            it.books.trade()


async def test_the_cursor_of_a_poll_that_finds_nothing_does_not_move(database_url):
    async with bench(database_url) as it:
        puller = it.puller()
        await one_pass(puller, "deals", "positions", "orders")
        await one_pass(puller, "deals", "positions", "orders")
        before = [json.dumps(it.cursor(name)) for name in ("deals", "positions_history", "orders_history")]
        await one_pass(puller, "deals", "positions", "orders")
        assert [json.dumps(it.cursor(name)) for name in ("deals", "positions_history", "orders_history")] == before
