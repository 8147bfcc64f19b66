"""The sweep: late rows and deletions in histories, in slices, while the market goes on."""

import asyncio

import pytest

from counterfoil.domain import cursor as cursors
from counterfoil.pull import history, vanished
from counterfoil.pull.puller import Result
from counterfoil.sandbox.rows import OPEN
from support.pulling import Bench, Meddled, bench, one_pass, said, until_done

PULLED = ("symbols", "positions", "orders", "deals")


@pytest.fixture(autouse=True)
def small_overlap(monkeypatch):
    """5 ids instead of 500, so that there is something below it."""
    for module in (cursors, history):
        monkeypatch.setattr(module, "OVERLAP_IDS", 5)


async def pulled(it: Bench, **options):
    """A replica that has read everything once."""
    puller = it.puller(**{"page_size": 200, **options})
    assert await one_pass(puller, *PULLED) == {}
    return puller


@pytest.mark.parametrize("slice_", [0.0, 1_000.0])
async def test_rows_that_came_late_are_found_and_counted(database_url, slice_):
    async with bench(database_url) as it:
        puller = await pulled(it, slice=slice_)
        it.books.late(1)
        with said() as lines:
            await one_pass(puller, "sweep")
        assert it.differences(*PULLED) == []
        assert {line["resource"]: line["late"] for line in lines("sweep.finished")} == {
            "orders": 0, "positions": 0, "deals": 1,
        }  # fmt: skip


@pytest.mark.parametrize("place", [0, -1])
async def test_a_deal_that_was_deleted_is_found_wherever_it_stood(database_url, place):
    async with bench(database_url) as it:
        puller = await pulled(it, page_size=50)
        gone = it.books.deals.ids[place]
        it.books.delete("deals", gone)
        await one_pass(puller, "deals")
        assert it.differences("deals") == [f"deals {gone} is not in the books"]
        await one_pass(puller, "sweep")
        assert it.differences("deals") == []


@pytest.mark.parametrize("table", ["orders", "positions"])
async def test_a_closed_row_that_was_deleted_is_found_and_polls_meanwhile_do_not_forget_it(database_url, table):
    async with bench(database_url) as it:
        puller = await pulled(it, slice=0.0)
        gone = it.books.table(f"{table}_history").ids[3]
        it.books.table(f"{table}_history").remove(gone)
        while await puller.run("sweep") is Result.MORE:
            it.books.trade()
            await one_pass(puller, *PULLED[1:])
        await one_pass(puller, *PULLED[1:])
        assert it.differences("orders", "positions") == []


async def test_live_rows_are_never_taken_for_missing(database_url):
    async with bench(database_url) as it:
        puller = await pulled(it)
        before = it.versions()
        it.forget_requests()
        await one_pass(puller, "sweep")
        assert it.versions() == before
        assert [path for path in it.asked() if "?page" not in path] == []
        assert it.rows("SELECT * FROM counterfoil.vanished") == []


async def test_an_order_that_is_filled_after_its_page_was_read_is_not_taken_for_missing(database_url):
    async with bench(database_url) as it:
        first, second = await pulled(it), await pulled(it)
        order = it.books.orders.rows[it.books.orders.ids[0]]
        it.sandbox.faults.set({"kind": "hide_closed"})

        async def fill(number: int, _resource: str) -> None:
            if number == 1:
                it.books.fill_order(order)
                assert await one_pass(second, "orders", "positions") == {}

        first.reader = Meddled(first.reader, fill, after=True)
        assert await one_pass(first, "sweep") == {}
        assert it.differences("orders") == []


async def test_what_a_sweep_wrote_of_an_older_answer_is_made_good_by_the_next_poll(database_url):
    async with bench(database_url) as it:
        first, second = await pulled(it), await pulled(it)
        assert await one_pass(second, "deals") == {}

        async def change(_number: int, resource: str) -> None:
            if resource == "deals" and not changed:
                changed.append(it.books.deals.ids[150])
                it.books.touch("deals", *changed)
                assert await one_pass(second, "deals") == {}
                assert it.differences("deals") == []

        changed: list[int] = []
        first.reader = Meddled(first.reader, change, after=True)
        assert await one_pass(first, "sweep") == {}
        assert it.differences("deals") != []
        assert await one_pass(second, "deals") == {}
        assert it.differences("deals") == []


async def test_a_sweep_stops_at_any_page_and_goes_on_there(database_url):
    async with bench(database_url) as it:
        puller = await pulled(it, page_size=50, ahead=1)
        gone = [it.books.deals.ids[3], it.books.deals.ids[120]]
        for key in gone:
            it.books.delete("deals", key)
        healthy, stops = puller.reader, 0

        async def stop(number: int, _resource: str) -> None:
            if number == 4:
                raise asyncio.CancelledError

        for _ in range(50):
            puller.reader = Meddled(healthy, stop)
            try:
                assert await puller.run("sweep") is Result.DONE
            except asyncio.CancelledError:
                stops += 1
            else:
                break
        assert stops > 1
        assert it.differences("deals") == []


async def test_a_sweep_that_misses_a_fifth_holds_it_back_until_a_person_accepts_that_table(database_url):
    async with bench(database_url, deals=160) as it:
        puller = await pulled(it)
        for key in it.books.deals.ids[20:80]:
            it.books.delete("deals", key)
        with said() as lines:
            await one_pass(puller, "sweep")
            await one_pass(puller, "sweep", full=True, accepted=frozenset({"positions"}))
        assert [(line["resource"], line["vanished"]) for line in lines("deletions.held_back")] == [("deals", 60)]
        assert len(it.differences("deals")) == 10
        with said() as lines:
            await one_pass(puller, "sweep", full=True, accepted=frozenset({"deals"}))
        assert [line["deleted"] for line in lines("deletions.accepted")] == [60]
        assert it.differences("deals") == []
        assert it.rows("SELECT * FROM counterfoil.vanished") == []


async def test_what_was_held_back_and_is_there_again_waits_for_nobody(database_url):
    async with bench(database_url) as it:
        puller = await pulled(it)
        it.sandbox.faults.set({"kind": "vanish", "fraction": 0.5, "path": "/deals$"})
        await one_pass(puller, "sweep")
        assert len(it.rows("SELECT * FROM counterfoil.vanished WHERE state = 'held'")) > 40
        it.sandbox.faults.clear()
        await one_pass(puller, "sweep")
        assert it.rows("SELECT * FROM counterfoil.vanished") == []
        assert it.differences("deals") == []


async def test_what_was_held_back_and_is_live_again_waits_for_nobody(database_url):
    async with bench(database_url) as it:
        puller = await pulled(it)
        it.sandbox.faults.set({"kind": "vanish", "fraction": 0.5, "path": "/positions/history$"})
        await one_pass(puller, "sweep")
        held = it.rows("SELECT id FROM counterfoil.vanished WHERE resource = 'positions' AND state = 'held'")
        position = it.books.positions_history.remove(held[0].id)
        position.status, position.volume_left, position.json = OPEN, position.volume, None
        it.books.positions.add(position)
        it.sandbox.faults.clear()
        await one_pass(puller, "positions", "sweep")
        assert it.rows("SELECT * FROM counterfoil.vanished") == []
        assert it.differences("positions") == []


async def test_rows_that_a_listing_hides_are_kept_when_the_platform_has_them_by_id(database_url):
    async with bench(database_url) as it:
        puller = await pulled(it)
        it.sandbox.faults.set({"kind": "vanish", "fraction": 0.05, "path": "/deals$"})
        await one_pass(puller, "sweep")
        assert it.differences("deals") == []
        assert it.rows("SELECT * FROM counterfoil.vanished") == []


async def test_many_questions_are_asked_in_slices(database_url, monkeypatch):
    monkeypatch.setattr(vanished, "MOST_QUESTIONS", 4)
    async with bench(database_url) as it:
        puller = await pulled(it, slice=0.0)
        for key in it.books.deals.ids[20:30]:
            it.books.delete("deals", key)
        most, result = 0, Result.MORE
        while result is Result.MORE:
            it.forget_requests()
            result = await puller.run("sweep")
            most = max(most, len([path for path in it.asked() if "?page" not in path]))
        assert most == 4
        assert it.differences("deals") == []


async def test_a_sweep_in_slices_of_no_time_ends_while_trading_goes_on(database_url):
    async with bench(database_url) as it:
        puller = await pulled(it, page_size=50, slice=0.0)
        late = it.books.late(1)
        while await puller.run("sweep") is Result.MORE:
            it.books.trade()
        await one_pass(puller, *PULLED[1:])
        assert late
        assert it.differences(*PULLED) == []


async def test_the_next_sweep_begins_when_all_histories_are_done(database_url):
    async with bench(database_url) as it:
        puller = await pulled(it)
        for _ in range(2):
            it.forget_requests()
            assert await until_done(puller, "sweep") is Result.DONE
            assert {path.partition("?")[0].rpartition("/manager/")[2] for path in it.asked()} == {
                "orders/history", "positions/history", "/api/v1/trader/deals",
            }  # fmt: skip


async def test_a_record_without_an_id_leaves_the_sweep_without_a_verdict(database_url):
    async with bench(database_url) as it:
        puller = await pulled(it)
        it.sandbox.faults.set({"kind": "malformed_record", "row": 3, "path": "/deals$"})
        before = it.versions()
        with said() as lines:
            await one_pass(puller, "sweep")
        assert [line["resource"] for line in lines("listing.incomplete")] == ["deals"]
        assert it.versions() == before
