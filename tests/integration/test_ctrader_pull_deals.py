"""Closing deals of a cTrader platform: every one of them, whichever time its filter means, by polls alone."""

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from unittest import mock

import pytest

from counterfoil.pull import live, spans
from counterfoil.pull.puller import Result
from counterfoil.sandbox.ctrader_ledger import DAY
from support.ctrader_pulling import Meddled, mirror_bench, polls
from support.pulling import one_pass, said, until_done

SECOND, HOUR = 1_000, 3_600_000
FIRST = ("symbols", "groups", "accounts", "positions", "deals")


@pytest.fixture(autouse=True)
def positions_are_known_at_once(monkeypatch):
    """What was opened and closed between two polls appears with the next poll, not a minute later."""
    monkeypatch.setattr(spans, "_KNOWN_AFTER", spans.timedelta(0))


def by_age(it):
    return sorted(it.books.positions.values(), key=lambda position: position.opened_at)


def divisible(it):
    return [position for position in by_age(it) if position.left >= 2 * position.symbol.lot]


def close_part(it, position):
    steps = position.left // position.symbol.lot
    return it.books.close_position(position.id, steps // 2 * position.symbol.lot)


# Whichever time counts


@pytest.mark.parametrize("filter_on", ["close", "open"])
async def test_every_closing_deal_arrives_by_two_polls_whichever_time_the_filter_means(database_url, filter_on):
    async with mirror_bench(database_url, days=30, deals=200, filter_on=filter_on) as it:
        puller = it.puller()
        assert await one_pass(puller, *FIRST) == {}
        assert it.cursor("deals")["by_closing"] is (filter_on == "close")
        assert it.books.now() - by_age(it)[0].opened_at > 5 * DAY
        for _ in range(5):
            oldest = by_age(it)[0]
            it.books.close_position(oldest.id)
            close_part(it, divisible(it)[0])
            close_part(it, divisible(it)[len(divisible(it)) // 2])
            it.books.close_position(it.books.open_position(min(it.books.traders)).id)
            it.books.trade()
            assert await polls(puller) == {}
            assert it.differences("accounts", "positions", "deals") == []
        assert not any("sweep" in str(row) for row in it.rows("SELECT resource FROM counterfoil.cursors"))


@pytest.mark.parametrize("filter_on", ["close", "open"])
async def test_a_position_that_shrinks_and_ends_between_two_polls(database_url, filter_on):
    async with mirror_bench(database_url, days=30, filter_on=filter_on) as it:
        puller = it.puller()
        await one_pass(puller, *FIRST)
        position = divisible(it)[0]
        close_part(it, position)
        it.books.close_position(position.id)
        assert await polls(puller) == {}
        assert it.differences("positions", "deals") == []


@pytest.mark.parametrize("filter_on", ["close", "open"])
async def test_a_filter_whose_meaning_nothing_has_proven_yet_costs_no_deal(database_url, filter_on):
    async with mirror_bench(database_url, days=1, deals=0, accounts=3, filter_on=filter_on) as it:
        puller = it.puller()
        await one_pass(puller, *FIRST)
        assert it.cursor("deals")["by_closing"] is None
        login = next(iter(it.books.traders))
        position = it.books.open_position(login, at=it.books.now() - 5 * DAY)
        assert await polls(puller) == {}
        it.books.close_position(position.id)
        assert await polls(puller) == {}
        assert it.differences("positions", "deals") == []


# Late


@pytest.mark.parametrize("filter_on", ["close", "open"])
async def test_deals_that_are_listed_late_arrive_by_polls_alone(database_url, filter_on):
    async with mirror_bench(database_url, days=30, filter_on=filter_on) as it:
        puller = it.puller()
        await one_pass(puller, *FIRST)
        for position in (by_age(it)[0], by_age(it)[-1]):
            it.books.close_position(position.id)
        close_part(it, divisible(it)[0])
        it.sandbox.faults.set({"kind": "late_deals", "rows": 3, "after": 2})
        assert await polls(puller, 1) == {}
        assert any(wrong.endswith("is missing") for wrong in it.differences("deals"))
        assert await polls(puller, 4) == {}
        assert it.differences("accounts", "positions", "deals") == []


@pytest.mark.parametrize("filter_on", ["close", "open"])
async def test_a_deal_of_long_ago_does_not_close_a_position_whose_last_deal_is_late(database_url, filter_on):
    async with mirror_bench(database_url, days=30, filter_on=filter_on) as it:
        puller = it.puller()
        position = divisible(it)[0]
        close_part(it, position)
        await one_pass(puller, *FIRST)
        it.rows("UPDATE mirror.positions SET changed_at = now() + interval '2 minutes' RETURNING id")
        last = it.books.close_position(position.id, at=it.books.now() + 121 * SECOND)
        it.sandbox.faults.set({"kind": "late_deals", "rows": 1, "after": 1})
        assert await one_pass(puller, "positions", "deals") == {}
        held = "SELECT status, volume_base FROM mirror.positions WHERE id = %s"
        assert it.rows(held, position.id)[0].status == 0
        it.sandbox.faults.clear()
        assert await polls(puller, 2) == {}
        assert (it.rows(held, position.id)[0].status, it.differences("deals")) == (2, [])
        assert it.rows("SELECT updated_at FROM mirror.positions WHERE id = %s", position.id)[0].updated_at == moment(
            last.closed_at
        )


def moment(milliseconds):
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)


# What becomes of positions


async def test_a_position_that_left_without_a_deal_is_said_a_few_times_and_then_left_as_it_is(database_url):
    async with mirror_bench(database_url, filter_on="open") as it:
        puller = it.puller()
        await one_pass(puller, *FIRST)
        gone = by_age(it)[0].id
        it.books.drop_position(gone)
        with said() as lines:
            assert await polls(puller, live.LOOKS + 4) == {}
        assert [line["looks"] for line in lines("position.unresolved")] == list(range(2, live.LOOKS + 1))
        assert {line["record_id"] for line in lines("position.unresolved")} == {gone}
        assert it.rows("SELECT status, deleted_at FROM mirror.positions WHERE id = %s", gone) == [(0, None)]
        noted = it.rows("SELECT * FROM counterfoil.vanished")
        it.forget_requests()
        assert await one_pass(puller, "positions") == {}
        assert (it.rows("SELECT * FROM counterfoil.vanished"), len(it.asked())) == (noted, 1)


async def test_a_position_whose_deal_came_after_it_was_given_up_is_closed_all_the_same(database_url):
    async with mirror_bench(database_url) as it:
        puller = it.puller()
        await one_pass(puller, *FIRST)
        position = by_age(it)[0]
        it.books.close_position(position.id)
        for _ in range(live.LOOKS + 2):
            assert await one_pass(puller, "positions") == {}
        assert it.rows("SELECT state FROM counterfoil.vanished WHERE id = %s", position.id)[0].state == "settled"
        assert await one_pass(puller, "deals", "positions") == {}
        assert it.differences("positions", "deals") == []
        assert it.rows("SELECT * FROM counterfoil.vanished") == []


async def test_a_position_that_is_listed_again_is_open_again(database_url):
    async with mirror_bench(database_url) as it:
        puller = it.puller()
        await one_pass(puller, *FIRST)
        it.sandbox.faults.set({"kind": "short_page", "rows": 1, "path": "openPositions$"})
        assert await polls(puller, live.LOOKS + 2) == {}
        it.sandbox.faults.clear()
        assert await polls(puller) == {}
        assert it.differences("positions") == []
        assert it.rows("SELECT * FROM counterfoil.vanished") == []


async def test_the_end_of_a_position_that_nobody_saw_open_is_that_of_its_last_deal(database_url):
    async with mirror_bench(database_url, days=12, deals=60) as it:
        position = it.books.open_position(next(iter(it.books.traders)), volume=300_000, at=it.books.now() - 9 * DAY)
        for days in (8, 5, 1):
            it.books.close_position(position.id, 100_000, at=it.books.now() - days * DAY)
        puller = it.puller(slice=0.0)
        assert await one_pass(puller, *FIRST) == {}
        assert it.differences("positions", "deals") == []


async def test_positions_that_came_and_went_between_polls_appear_also_on_a_busy_platform(database_url, monkeypatch):
    """So many deals that the overlap is ten minutes and no more."""
    monkeypatch.setattr(spans, "OVERLAP_IDS", 1)
    monkeypatch.setattr(spans, "_KNOWN_AFTER", timedelta(minutes=1))
    async with mirror_bench(database_url) as it:
        puller = it.puller()
        await one_pass(puller, *FIRST)
        login = next(iter(it.books.traders))
        for seconds in range(90, 590, 50):
            position = it.books.open_position(login, at=it.books.now() - seconds * SECOND - 5)
            it.books.close_position(position.id, at=it.books.now() - seconds * SECOND)
        assert await polls(puller) == {}
        assert it.differences("positions", "deals") == []


# Resumed


@pytest.mark.parametrize("filter_on", ["close", "open"])
async def test_a_first_reading_stops_at_any_span_and_goes_on_there(database_url, filter_on):
    async with mirror_bench(database_url, days=20, deals=80, filter_on=filter_on) as it:
        puller, stops = it.puller(slice=0.0), 0
        await one_pass(puller, *FIRST[:-1])
        healthy = puller.reader
        for _ in range(60):

            async def stop(number):
                if number == 2:
                    raise asyncio.CancelledError

            puller.reader = Meddled(healthy, stop)
            try:
                assert await until_done(puller, "deals") is Result.DONE
            except asyncio.CancelledError:
                stops += 1
                assert it.cursor("deals")["begun"] is False
                continue
            break
        assert stops > 5
        assert it.differences("positions", "deals") == []
        assert len(it.asked("closedPositions")) < 3 * stops


async def test_a_run_whose_time_is_over_makes_room_after_each_span(database_url):
    async with mirror_bench(database_url, days=20, deals=40) as it:
        puller = it.puller(slice=0.0)
        await one_pass(puller, *FIRST[:-1])
        results = []
        while (result := await puller.run("deals")) is Result.MORE:
            results.append(result)
        assert (result, len(results) >= 9) == (Result.DONE, True)
        assert it.differences("deals") == []


async def test_the_first_span_of_a_young_platform_claims_nothing_about_the_future(database_url):
    """Its end lies ahead; a process that ends right after it must read from here on."""
    async with mirror_bench(database_url, days=1) as it:
        puller = it.puller()
        await one_pass(puller, *FIRST[:-1])
        it.rows("UPDATE mirror.accounts SET created_at = now() - interval '1 day' RETURNING id")

        async def nothing(_number):
            """Ask as usual."""

        puller.reader = reader = Meddled(puller.reader, nothing)
        ended = None

        async def end(*_rest, **_named):
            nonlocal ended
            ended = it.cursor("deals")
            raise asyncio.CancelledError

        with mock.patch.object(spans, "_bury", end), pytest.raises(asyncio.CancelledError):
            await puller.run("deals")
        assert datetime.fromisoformat(ended["until"]) <= reader.now()


@pytest.mark.parametrize("filter_on", ["close", "open"])
async def test_a_daemon_that_was_down_for_a_week_reads_everything_since(database_url, filter_on, monkeypatch):
    monkeypatch.setattr(spans, "OVERLAP_IDS", 1)
    async with mirror_bench(database_url, days=20, deals=200, filter_on=filter_on) as it:
        before = it.puller()
        today = before.reader.now
        before.reader.now = lambda: today() - timedelta(days=7)
        accounts = it.puller()
        await one_pass(accounts, "symbols", "groups", "accounts", "positions")
        assert await one_pass(before, "deals") == {}
        missing = it.differences("deals")
        assert missing
        after = it.puller(slice=0.0)
        it.forget_requests()
        assert await polls(after) == {}
        assert it.differences("deals", "positions") == []
        assert len(it.asked("closedPositions")) < 10 + 60 * (filter_on == "open")


async def test_without_the_accounts_nobody_knows_where_to_begin(database_url):
    async with mirror_bench(database_url) as it:
        puller = it.puller()
        it.sandbox.faults.set({"kind": "error_before", "status": 500, "path": "/traders/$"})
        with said() as lines:
            assert await one_pass(puller, "accounts", "deals") == {"accounts": Result.FAILED, "deals": Result.FAILED}
        assert "accounts were never read to the end" in str(lines("pull.failed")[-1]["reason"])
        assert it.cursor("deals") is None
        it.sandbox.faults.clear()
        assert await one_pass(puller, *FIRST, wait=True) == {}
        assert it.differences("deals", "positions") == []


async def test_a_platform_without_an_account_is_read_when_it_has_one(database_url):
    async with mirror_bench(database_url, accounts=0, clients=0, deals=0) as it:
        puller = it.puller()
        assert await one_pass(puller, *FIRST) == {}
        trader = it.books.add_trader()
        it.books.close_some(trader.login, 1)
        assert await one_pass(puller, *FIRST) == {}
        assert it.differences("accounts", "deals") == []


async def test_amounts_arrive_to_the_last_digit(database_url):
    async with mirror_bench(database_url, accounts=20) as it:
        await one_pass(it.puller(), *FIRST)
        sums = {}
        for deal in it.books.deals:
            trader = it.books.trader(deal.login)
            sums[deal.login] = sums.get(deal.login, 0) + Decimal(deal.pnl).scaleb(-trader.digits)
        held = it.rows("SELECT account_id, sum(profit) AS total FROM mirror.deals GROUP BY 1")
        assert {row.account_id: row.total for row in held} == sums
