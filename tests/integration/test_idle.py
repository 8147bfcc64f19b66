"""Resources that do not change are asked less often, whichever replica finds out; what changes, at once as often as ever."""

from datetime import timedelta

import pytest

from counterfoil.domain.interval import Interval
from counterfoil.pull import history
from counterfoil.pull.puller import Puller, Result, Wish
from counterfoil.store import streams
from support.pulling import INTERVALS, PLATFORM, Bench, bench, interval, one_pass, said

BEAT = timedelta(minutes=1)
IDLE = timedelta(minutes=10)
PACED = {**INTERVALS, **dict.fromkeys(("clients", "accounts", "deals"), Interval(BEAT, IDLE))}
DUE = Wish(when_due=True)
# Times of the daemon's own tables: what a day later is the same, a day longer ago.
TIMES = {"leases": ("started_at",), "freshness": ("as_of", "shows_at", "busy_at", "succeeded_at", "failed_at")}


def passes(it: Bench, time: timedelta = BEAT) -> None:
    """Let time pass."""
    for table, columns in TIMES.items():
        moved = ", ".join(f"{column} = {column} - %s" for column in columns)
        it.rows(f"UPDATE counterfoil.{table} SET {moved} RETURNING 1", *[time] * len(columns))


async def beats(it: Bench, resource: str, *pullers: Puller, times: int) -> list[int]:
    """Beat by beat, all replicas one after the other: how many beats each run came after the one before."""
    gaps, since = [], 0
    for _ in range(times):
        passes(it)
        since += 1
        results = [await puller.run(resource, DUE) for puller in pullers]
        if Result.DONE in results:
            gaps.append(since)
            since = 0
        assert sorted(result.name for result in results)[: len(pullers) - 1] == ["BUSY"] * (len(pullers) - 1)
    return gaps


async def settled(it: Bench, resource: str, puller: Puller) -> None:
    """Quiet for so long that it is asked as rarely as it may be."""
    await one_pass(puller, "symbols", "groups", resource)
    await beats(it, resource, puller, times=80)
    assert await interval(puller, resource) == IDLE


async def test_two_replicas_together_ask_less_and_less_often_down_to_the_bound(database_url):
    async with bench(database_url) as it:
        first, second = it.puller(intervals=PACED), it.puller(intervals=PACED)
        await one_pass(first, "clients")
        gaps = await beats(it, "clients", first, second, times=90)
        assert gaps[:3] == [1, 1, 1]
        assert gaps == sorted(gaps)
        assert gaps[-3:] == [10, 10, 10]
        assert await interval(second, "clients") == IDLE


async def test_what_one_replica_finds_brings_the_other_back_to_the_shortest_interval_at_once(database_url):
    async with bench(database_url) as it:
        first, second = it.puller(intervals=PACED), it.puller(intervals=PACED)
        await settled(it, "clients", first)
        it.books.touch("clients", it.books.clients.ids[0])
        passes(it, IDLE)
        assert await first.run("clients", DUE) is Result.DONE
        assert await interval(second, "clients") == BEAT
        assert await beats(it, "clients", second, first, times=3) == [1, 1, 1]
        assert it.differences("clients") == []


async def test_who_remembers_a_list_goes_on_with_it_and_another_takes_over_at_the_second_beat(database_url):
    async with bench(database_url) as it:
        first, second = it.puller(intervals=PACED), it.puller(intervals=PACED)
        await one_pass(first, "clients")
        for _ in range(3):
            passes(it)
            assert await second.run("clients", DUE) is Result.BUSY
            assert await first.run("clients", DUE) is Result.DONE
        passes(it)
        assert await second.run("clients", DUE) is Result.BUSY
        passes(it)
        assert await second.run("clients", DUE) is Result.DONE
        passes(it)
        assert await first.run("clients", DUE) is Result.BUSY


@pytest.mark.parametrize("wish", [Wish(), Wish(wait=True), Wish(wait=True, full=True)])
async def test_a_run_wished_for_by_hand_is_not_held_back_and_counts_like_any_other(database_url, wish):
    async with bench(database_url) as it:
        puller, by_hand = it.puller(intervals=PACED), it.puller(intervals=PACED)
        await settled(it, "clients", puller)
        it.books.touch("clients", it.books.clients.ids[0])
        assert await puller.run("clients", DUE) is Result.BUSY
        assert await by_hand.run("clients", wish) is Result.DONE
        assert it.differences("clients") == []
        assert await interval(puller, "clients") == BEAT


async def test_a_restart_changes_nothing_and_other_bounds_hold_at_once(database_url):
    async with bench(database_url) as it:
        await settled(it, "clients", it.puller(intervals=PACED))
        passes(it, IDLE / 2)
        assert await it.puller(intervals=PACED).run("clients", DUE) is Result.BUSY
        narrower = {**PACED, "clients": Interval(BEAT, 2 * BEAT)}
        assert await interval(it.puller(intervals=narrower), "clients") == 2 * BEAT
        assert await it.puller(intervals=narrower).run("clients", DUE) is Result.DONE
        assert await interval(it.puller(), "clients") == BEAT


async def test_a_failed_run_is_not_quiet(database_url):
    async with bench(database_url) as it:
        puller, other = it.puller(intervals=PACED), it.puller(intervals=PACED)
        await settled(it, "clients", puller)
        it.sandbox.faults.set({"kind": "error_before", "status": 500, "path": "/clients$"})
        passes(it, IDLE)
        assert await puller.run("clients", DUE) is Result.FAILED
        it.sandbox.faults.clear()
        assert await interval(other, "clients") == BEAT
        # The other takes over at the second beat, and goes on with each.
        assert await beats(it, "clients", other, times=4) == [2, 1, 1]


async def test_records_that_go_into_quarantine_are_a_change(database_url):
    async with bench(database_url) as it:
        puller = it.puller(intervals=PACED)
        await settled(it, "clients", puller)
        it.sandbox.faults.set(
            {"kind": "malformed_record", "field": "status", "value": '"x"', "row": 2, "path": "/clients"}
        )
        passes(it, IDLE)
        assert await puller.run("clients", DUE) is Result.DONE
        assert await interval(puller, "clients") == BEAT


async def test_a_long_reading_that_found_something_in_an_earlier_part_is_not_quiet(database_url, monkeypatch):
    monkeypatch.setattr(history, "LONGEST_WAY_BACK", 2)
    async with bench(database_url, deals=700) as it:
        patient, hasty = it.puller(intervals=PACED), it.puller(intervals=PACED, page_size=50, slice=0)
        await settled(it, "deals", patient)
        for _ in range(60):
            it.books.trade()
        passes(it, IDLE)
        results = []
        while not results or results[-1] is Result.MORE:
            results.append(await hasty.run("deals"))
            passes(it)
        assert results[-1] is Result.DONE
        assert len(results) > 1
        assert await interval(patient, "deals") == BEAT
        assert it.differences("deals") == []


async def test_the_sweep_comes_at_its_own_interval_however_long_nothing_changes(database_url):
    async with bench(database_url) as it:
        puller = it.puller(intervals={**PACED, "sweep": timedelta(hours=1)})
        await one_pass(puller)
        for _ in range(3):
            assert await puller.run("sweep", DUE) in (Result.DONE, Result.BUSY)
            passes(it, timedelta(hours=1))
        assert await puller.run("sweep", DUE) is Result.DONE
        passes(it, timedelta(minutes=47))
        assert await puller.run("sweep", DUE) is Result.BUSY
        passes(it, timedelta(minutes=2))
        assert await puller.run("sweep", DUE) is Result.DONE


async def test_polls_beside_a_stream_are_no_reason_to_ask_less_often_when_it_ends(database_url):
    async with bench(database_url) as it:
        puller, other = it.puller(intervals=PACED), it.puller(intervals=PACED)
        puller.streams = other.streams = True
        await settled(it, "deals", puller)
        await streams.alive(puller.runs.engine, PLATFORM)
        # From now on polls prove nothing, and only the stream's own bound holds.
        assert await interval(puller, "deals") == 4 * BEAT
        for _ in range(3):
            passes(it, 5 * BEAT)
            await streams.alive(puller.runs.engine, PLATFORM)
            await puller.run("deals")
        assert await interval(puller, "deals") == 4 * BEAT
        passes(it, BEAT)
        await streams.ended(puller.runs.engine, PLATFORM, "closed")
        assert await interval(puller, "deals") == await interval(other, "deals") == BEAT
        await streams.mended(puller.runs.engine, PLATFORM)
        assert await interval(puller, "deals") == BEAT
        assert (await beats(it, "deals", other, times=80))[-1] == 10


async def test_the_end_of_a_run_tells_its_age_and_the_interval_from_then_on(database_url):
    async with bench(database_url) as it:
        puller = it.puller(intervals=PACED)
        await settled(it, "clients", puller)
        passes(it, IDLE)
        with said() as lines:
            await puller.run("clients", DUE)
        (line,) = lines("pull.finished")
        assert line["interval"] == IDLE.total_seconds()
        assert 0 <= line["age"] < 60
        assert line["lag"] >= IDLE.total_seconds()


async def test_transactions_know_nothing_newer_than_the_accounts_that_told_whom_to_ask(database_url):
    shown = "SELECT shows_at = (SELECT as_of FROM counterfoil.freshness WHERE resource = 'accounts') AS so, as_of > shows_at AS later"
    async with bench(database_url) as it:
        puller = it.puller(intervals=PACED)
        await one_pass(puller, "groups", "accounts")
        passes(it, 5 * BEAT)
        with said() as lines:
            await one_pass(puller, "transactions")
        assert lines("pull.finished")[0]["age"] >= 300
        told = f"{shown} FROM counterfoil.freshness WHERE resource = 'transactions'"
        assert it.rows(told) == [(True, True)]
        # Accounts were read again, and nobody has asked for their transactions yet.
        await one_pass(puller, "accounts")
        assert it.rows(told) == [(False, True)]
        await one_pass(puller, "transactions")
        assert it.rows(told) == [(True, True)]
