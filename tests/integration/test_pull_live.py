"""Open positions and live orders: closing, vanishing and reopening, with and without a platform that answers by id."""

import pytest

from counterfoil.domain import cursor as cursors
from counterfoil.pull import history, live
from counterfoil.sandbox.rows import BUY_LIMIT, CLOSED, FILLED, OPEN
from support.pulling import Bench, bench, one_pass, said

PULLED = ("symbols", "positions", "orders")


@pytest.fixture(autouse=True)
def small_overlap(monkeypatch):
    """5 ids instead of 500, so that old positions lie below it."""
    for module in (cursors, history):
        monkeypatch.setattr(module, "OVERLAP_IDS", 5)


def status(it: Bench, key: int, table: str = "positions") -> int | None:
    """What the mirror says of one row."""
    return it.rows(f"SELECT status FROM mirror.{table} WHERE id = %s AND deleted_at IS NULL", key)[0].status


def missed(it: Bench) -> list[tuple[int, int, str]]:
    """What is being looked for."""
    return [tuple(row) for row in it.rows("SELECT id, looks, state FROM counterfoil.vanished ORDER BY id")]


async def pulled(it: Bench, **options):
    """A replica that has read everything once."""
    puller = it.puller(**{"page_size": 20, **options})
    assert await one_pass(puller, *PULLED) == {}
    return puller


async def test_a_position_that_closes_is_closed_in_the_mirror_by_the_same_run(database_url):
    async with bench(database_url) as it:
        puller = await pulled(it)
        newest = it.books.positions.ids[-1]
        it.books.close_position(it.books.positions.rows[newest])
        it.forget_requests()
        await one_pass(puller, "positions")
        assert status(it, newest) == CLOSED
        assert it.differences("positions") == []
        assert it.asked(f"positions/{newest}") == []


async def test_a_position_of_old_that_closes_is_looked_up_by_its_id(database_url):
    async with bench(database_url) as it:
        puller = await pulled(it)
        oldest = it.books.positions.ids[0]
        it.books.close_position(it.books.positions.rows[oldest])
        it.forget_requests()
        await one_pass(puller, "positions")
        assert status(it, oldest) == CLOSED
        assert len(it.asked(f"positions/{oldest}")) == 1
        assert it.differences("positions") == []


@pytest.mark.parametrize("limit", [20, 12])
async def test_where_closed_positions_have_no_answer_by_id_the_history_is_halved(database_url, limit):
    async with bench(database_url) as it:
        it.sandbox.faults.set([{"kind": "hide_closed"}, {"kind": "ignore_limit", "limit": limit}])
        puller = await pulled(it, page_size=20)
        for key in it.books.positions.ids[:3]:
            it.books.close_position(it.books.positions.rows[key])
        it.forget_requests()
        await one_pass(puller, "positions")
        assert it.differences("positions") == []
        assert len(it.asked("positions/history")) < 20
        assert missed(it) == []


async def test_a_position_that_is_nowhere_stays_open_and_is_said_until_it_is_settled(database_url, monkeypatch):
    monkeypatch.setattr(live, "LOOKS", 2)
    async with bench(database_url) as it:
        puller = await pulled(it)
        gone = it.books.positions.ids[0]
        it.books.delete("positions", gone)
        with said() as lines:
            for _ in range(live.LOOKS + 1):
                await one_pass(puller, "positions")
        assert [(line["record_id"], line["looks"]) for line in lines("position.unresolved")] == [
            (gone, looks) for looks in range(1, live.LOOKS + 1)
        ]
        assert status(it, gone) == OPEN
        assert missed(it) == [(gone, live.LOOKS, "settled")]
        it.forget_requests()
        await one_pass(puller, "positions")
        assert it.asked(f"positions/{gone}") == []
        await one_pass(puller, "sweep")
        assert it.differences("positions") == []
        assert missed(it) == []


async def test_an_order_that_is_nowhere_is_said_to_be_so(database_url):
    async with bench(database_url) as it:
        puller = await pulled(it)
        gone = it.books.orders.ids[0]
        it.books.delete("orders", gone)
        with said() as lines:
            await one_pass(puller, "orders")
        assert [line["record_id"] for line in lines("order.unresolved")] == [gone]


async def test_a_position_that_is_listed_again_is_not_looked_for_any_more(database_url):
    async with bench(database_url) as it:
        puller = await pulled(it)
        it.sandbox.faults.set({"kind": "vanish", "fraction": 0.9, "path": "/positions$"})
        await one_pass(puller, "positions")
        assert missed(it)
        it.sandbox.faults.clear()
        await one_pass(puller, "positions")
        assert missed(it) == []
        assert it.differences("positions") == []


async def test_a_position_that_is_reopened_is_open_again(database_url):
    async with bench(database_url) as it:
        puller = await pulled(it)
        position = it.books.positions_history.rows[it.books.positions_history.ids[3]]
        it.books.positions_history.remove(position.id)
        position.status, position.volume_left, position.json = OPEN, position.volume, None
        it.books.positions.add(position)
        await one_pass(puller, "positions")
        assert status(it, position.id) == OPEN
        assert it.differences("positions") == []
        it.books.close_position(position)
        await one_pass(puller, "positions")
        assert it.differences("positions") == []


async def test_an_order_that_is_filled_enters_the_history_with_its_old_id(database_url):
    async with bench(database_url) as it:
        books, account = it.books, it.books.accounts.rows[1]
        instrument = books.instruments[1]
        resting = books.place_order(account, instrument, BUY_LIMIT, volume=1, price=1)
        for _ in range(30):
            books.new_order(account, instrument, 0, 1)
        puller = await pulled(it)
        assert it.cursor("orders_history")["watermark"] > resting.id + 5
        books.fill_order(resting)
        await one_pass(puller, "orders")
        assert status(it, resting.id, "orders") == FILLED
        assert it.differences("orders") == []


async def test_a_position_that_opens_and_closes_between_two_polls_is_not_lost_however_late_it_enters(
    database_url, monkeypatch
):
    """Its id lies below the newest one of the history when that was last read, and above every live one."""
    monkeypatch.setattr(cursors, "OVERLAP_TIME", cursors.OVERLAP_TIME * 0)
    async with bench(database_url) as it:
        books = it.books
        puller = await pulled(it)
        account, instrument = books.accounts.rows[1], books.instruments[1]
        held, quick = (books.open_position(books.new_order(account, instrument, 0, 1)) for _ in range(2))
        books.positions.remove(held.id)
        books.close_position(quick)
        for _ in range(30):
            books.close_position(books.open_position(books.new_order(account, instrument, 0, 1)))
        await one_pass(puller, "positions")
        books.positions.add(held)
        books.close_position(held)
        await one_pass(puller, "positions")
        assert it.differences("positions") == []


@pytest.mark.parametrize("fault", [{"kind": "short_page", "rows": 12}, {"kind": "short_page", "rows": 1}])
async def test_a_live_list_that_comes_incomplete_closes_nothing(database_url, fault):
    async with bench(database_url) as it:
        puller = await pulled(it, page_size=50)
        it.sandbox.faults.set({**fault, "path": "/(positions|orders)$"})
        before = it.versions()
        await one_pass(puller, "positions", "orders")
        assert it.versions() == before
        it.sandbox.faults.clear()
        assert await one_pass(puller, "positions", "orders", wait=True) == {}
        assert it.differences("positions", "orders") == []


async def test_a_live_list_cut_off_at_a_number_of_rows_is_noticed(database_url):
    async with bench(database_url) as it:
        it.sandbox.faults.set({"kind": "cap", "path": "/positions$", "rows": 20})
        with said() as lines:
            assert "positions" in await one_pass(it.puller(page_size=50), "positions")
        assert [line["highest_id"] for line in lines("listing.capped")] == [it.books.positions.ids[19]]


async def test_not_all_that_left_the_list_at_once_is_looked_up_in_one_run(database_url, monkeypatch):
    monkeypatch.setattr(live, "MOST_LOOK_UPS", 3)
    async with bench(database_url) as it:
        puller = await pulled(it)
        for key in it.books.positions.ids[:5]:
            it.books.close_position(it.books.positions.rows[key])
        it.forget_requests()
        await one_pass(puller, "positions")
        assert len([path for path in it.asked("positions/") if "history" not in path]) == 3
        await one_pass(puller, "positions")
        assert it.differences("positions") == []
