"""The request budget: never more than a platform allows, the urgent first, over all processes."""

import asyncio
import contextlib
import multiprocessing
import time
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from counterfoil.domain.errors import PausedError
from counterfoil.domain.priority import Priority
from counterfoil.observe import events
from counterfoil.store import Unreachable, budget
from counterfoil.store.budget import Breaker, Limits, SharedBudget
from counterfoil.store.engine import transaction
from support.proxy import Proxy
from support.store import connected, query, until, until_blocked, value
from support.store_budget import LIMITS, RECORD, greedy

MONEY, PROBE, OPEN, NORMAL, SWEEP = Priority
SLOW = 0.01  # tokens a second: what is there is all there is while a test runs
FAST = 10_000.0
TAKEN = "count(*) FROM counterfoil.slots WHERE expires_at > clock_timestamp()"
Make = Callable[..., SharedBudget]


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[AsyncEngine]:
    async with connected(database_url) as engine:
        yield engine


@pytest.fixture
def process(database: AsyncEngine) -> Make:
    """A budget as one process sees it; several of them share nothing but the database."""

    def make(platform: str = "live", breaker: Breaker | None = None, **limits: float) -> SharedBudget:
        given = {"per_second": FAST, "burst": 100, "concurrent": 10, "hold": 60.0} | limits
        return SharedBudget(database, platform, Limits(**given), breaker)

    return make


@pytest.fixture
def said(monkeypatch) -> list[tuple[str, dict[str, object]]]:
    heard: list[tuple[str, dict[str, object]]] = []
    monkeypatch.setattr(events, "emit", lambda event, **fields: heard.append((event.name, fields)))
    return heard


async def fill(database: AsyncEngine, platform: str = "live") -> None:
    """Let the bucket be full."""
    await query(
        database,
        """INSERT INTO counterfoil.budgets (platform, next_at, failures) VALUES (:platform, now() - interval '1 h', 0)
        ON CONFLICT (platform) DO UPDATE SET next_at = excluded.next_at""",
        platform=platform,
    )


async def ask(budget: SharedBudget, priority: Priority = NORMAL) -> None:
    async with asyncio.timeout(20), budget.request(priority):
        pass


async def take(budget: SharedBudget, priority: Priority = NORMAL) -> object:
    (outcome,) = await budget._take(priority, 1)
    return outcome


def statements(monkeypatch, live: SharedBudget) -> list[sa.TextClause]:
    """Those that it makes from here on."""
    made, real = [], live._direct.all

    async def noted(statement, given):
        made.append(statement)
        return await real(statement, given)

    monkeypatch.setattr(live._direct, "all", noted)
    return made


async def expect_free(database: AsyncEngine, budget: SharedBudget) -> None:
    """Nothing is held any more, and the next request goes through."""
    await until(database, f"(SELECT {TAKEN}) = 0")
    await fill(database)
    await ask(budget)
    assert budget._held == 0


async def until_waiting(budget: SharedBudget, count: int) -> None:
    async with asyncio.timeout(20):
        while len(budget._waiting) != count:  # noqa: ASYNC110 - no event says so
            await asyncio.sleep(0)


def granted(outcome: object) -> bool:
    return isinstance(outcome, budget._Grant)


@contextlib.asynccontextmanager
async def occupied(budget: SharedBudget) -> AsyncIterator[asyncio.Event]:
    """A request of this budget is under way until the event is set."""
    inside, done = asyncio.Event(), asyncio.Event()

    async def request() -> None:
        async with budget.request(NORMAL):
            inside.set()
            await done.wait()

    task = asyncio.create_task(request())
    await inside.wait()
    try:
        yield done
    finally:
        done.set()
        await task


# --- never more -------------------------------------------------------------------------------------------------------


async def test_processes_together_never_exceed_rate_burst_and_concurrency(database_url, database):
    await query(database, RECORD)
    spawn = multiprocessing.get_context("spawn")
    results = spawn.Queue()
    processes = [spawn.Process(target=greedy, args=(database_url, 25, results)) for _ in range(3)]
    began = time.monotonic()
    for process in processes:
        process.start()
    intervals = sorted([found for _ in processes for found in await asyncio.to_thread(results.get, timeout=120)])
    for process in processes:
        await asyncio.to_thread(process.join, 20)
    ready = [
        float(at)
        for (at,) in await query(database, "SELECT extract(epoch FROM ready_at) FROM public.granted ORDER BY 1")
    ]

    assert len(intervals) == len(ready) >= 3 * 25
    step = 1 / LIMITS.per_second
    for first in range(len(ready)):
        for last in range(first, len(ready)):
            assert last - first + 1 <= LIMITS.burst + (ready[last] - ready[first] + 1e-5) / step
    # The bucket was empty in the beginning: so many requests need so many steps.
    assert all(start - began >= step * number for number, (start, _) in enumerate(intervals))
    edges = sorted([(start, 1) for start, _ in intervals] + [(end, -1) for _, end in intervals])
    under_way = [sum(change for _, change in edges[: at + 1]) for at in range(len(edges))]
    assert max(under_way) <= LIMITS.concurrent


async def test_a_bucket_that_nobody_knows_starts_empty(process):
    wait = await take(process(per_second=SLOW))
    assert 1 / SLOW - 5 < wait <= 1 / SLOW


async def test_a_full_bucket_gives_its_burst_and_no_more(database, process):
    live = process(per_second=SLOW, burst=4)
    await fill(database)
    assert [granted(await take(live, NORMAL)) for _ in range(5)] == [True] * 4 + [False]


async def test_a_rate_that_is_no_whole_microsecond_is_rounded_down(database, process):
    live = process(per_second=3)
    await fill(database)
    await take(live, NORMAL)
    first = await value(database, "SELECT next_at FROM counterfoil.budgets")
    await take(live, NORMAL)
    second = await value(database, "SELECT next_at FROM counterfoil.budgets")
    assert (second - first).microseconds >= 333_334


async def test_no_more_requests_are_under_way_than_allowed(database, process):
    here, there = process(concurrent=2), process(concurrent=2)
    await fill(database)
    assert granted(await take(here, NORMAL))
    assert granted(await take(there, NORMAL))
    assert not granted(await take(here, MONEY))


DAWDLE = """
    CREATE FUNCTION public.dawdle() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NEW; END $$;
    CREATE TRIGGER dawdle BEFORE INSERT ON counterfoil.slots FOR EACH ROW EXECUTE FUNCTION public.dawdle();
"""


async def test_two_who_ask_at_once_do_not_get_the_same_token(database, process):
    here, there = process(per_second=SLOW, burst=1), process(per_second=SLOW, burst=1)
    await fill(database)
    await query(database, DAWDLE)
    async with transaction(database) as connection:
        await connection.exec_driver_sql("SELECT pg_advisory_xact_lock(1)")
        both = [asyncio.create_task(take(budget, NORMAL)) for budget in (here, there)]
        await until_blocked(database, 2)
    assert sorted([granted(await take) for take in both]) == [False, True]


async def test_a_place_comes_back_with_the_next_turn_that_is_asked_for(database, process, monkeypatch):
    here, there = process(concurrent=1), process(concurrent=1)
    await fill(database)
    monkeypatch.setattr(budget, "RETURN_WITHIN", 60.0)
    await ask(here)
    assert not granted(await take(there, NORMAL))
    await ask(here)
    monkeypatch.undo()
    here._returning.cancel()
    await asyncio.wait([here._returning])
    assert here._freed


async def test_a_place_comes_back_by_itself_when_nobody_asks(database, process):
    here, there = process(concurrent=1), process(concurrent=1)
    await fill(database)
    await ask(here)
    await ask(there)
    await until(database, f"(SELECT {TAKEN}) = 0")
    assert (here._freed, there._freed) == ({}, {})


async def test_a_place_is_back_when_the_budget_is_closed(database, process):
    live = process(concurrent=1)
    await fill(database)
    await ask(live)
    await live.close()
    assert await value(database, f"SELECT {TAKEN}") == 0


async def test_the_place_of_a_process_that_died_is_free_again_after_a_while(database, process):
    dead, alive = process(concurrent=1, hold=0.1), process(concurrent=1)
    await fill(database)
    assert granted(await take(dead, NORMAL))
    await until(database, "expires_at < clock_timestamp() FROM counterfoil.slots")
    await ask(alive)
    await until(database, f"(SELECT {TAKEN}) = 0")


async def test_a_place_is_kept_for_the_whole_of_a_wait_and_a_request(database, process):
    live = process(per_second=SLOW, burst=1, hold=5.0)
    grant = await take(live, MONEY)
    assert grant.wait > 90
    assert await value(database, "SELECT expires_at > clock_timestamp() + interval '95 s' FROM counterfoil.slots")


# --- the urgent first -------------------------------------------------------------------------------------------------


async def test_in_a_process_the_most_urgent_goes_first_and_equals_in_turn(database, process):
    live = process(concurrent=1)
    await fill(database)
    served: list[tuple[Priority, int]] = []

    async def request(priority: Priority, number: int) -> None:
        async with live.request(priority):
            served.append((priority, number))

    async with occupied(live) as done, asyncio.TaskGroup() as tasks:
        for number in range(2):
            for priority in reversed(Priority):
                tasks.create_task(request(priority, number))
        await until_waiting(live, 10)
        done.set()
    assert served == [(priority, number) for priority in Priority for number in range(2)]


async def test_money_takes_a_place_before_the_sweeps_of_another_process(database, process):
    sweeping, paying = process(concurrent=1), process(concurrent=1)
    await fill(database)
    served: list[Priority] = []

    async def request(budget: SharedBudget, priority: Priority) -> None:
        async with budget.request(priority):
            served.append(priority)

    async with occupied(sweeping) as done, asyncio.TaskGroup() as tasks:
        for _ in range(20):
            tasks.create_task(request(sweeping, SWEEP))
        await until_waiting(sweeping, 20)
        tasks.create_task(request(paying, MONEY))
        await until(database, "waiting = 0 FROM counterfoil.budgets")
        done.set()
    assert served == [MONEY] + [SWEEP] * 20


@pytest.mark.parametrize("priority", [MONEY, PROBE])
async def test_money_takes_the_next_token_before_it_is_there_and_others_wait_behind_it(process, priority):
    sweeping, paying = process(per_second=SLOW, burst=1), process(per_second=SLOW, burst=1)
    behind = await take(sweeping, SWEEP)
    grant = await take(paying, priority)
    assert behind - 5 < grant.wait <= behind
    assert await take(sweeping, SWEEP) > grant.wait + 90


async def test_a_sweep_leaves_one_token_for_the_others(database, process):
    live = process(per_second=SLOW, burst=3)
    await fill(database)
    assert [granted(await take(live, SWEEP)) for _ in range(3)] == [True, True, False]
    assert granted(await take(live, NORMAL))


@pytest.mark.parametrize(("urgent", "other"), [(MONEY, PROBE), (PROBE, OPEN), (OPEN, NORMAL), (NORMAL, SWEEP)])
async def test_whoever_is_turned_away_is_served_before_the_less_urgent_of_all_processes(
    database, process, urgent, other
):
    here, there = process(concurrent=1, burst=9), process(concurrent=1, burst=9)
    await fill(database)
    grant = await take(there, other)
    assert not granted(await take(here, urgent))
    there._free(grant)
    assert not granted(await take(there, other))
    grant = await take(here, urgent)
    assert granted(grant)
    here._free(grant)
    await here.close()
    assert granted(await take(there, other))


async def test_one_who_waited_and_went_away_holds_up_the_others_only_for_a_moment(database, process):
    here, there = process(concurrent=1), process(concurrent=1)
    await fill(database)
    grant = await take(there, NORMAL)
    assert not granted(await take(here, MONEY))
    there._free(grant)
    await ask(there, SWEEP)
    assert await value(database, "SELECT waiting FROM counterfoil.budgets") is None


async def test_reservations_that_are_cancelled_do_not_pile_up(database, process):
    live = process(per_second=SLOW, burst=1, concurrent=2)
    for _ in range(10):
        reserving = asyncio.create_task(ask(live, MONEY))
        await until(
            database, "count(*) > 0 FROM counterfoil.budgets WHERE waiting = 0 OR next_at > now() + interval '150 s'"
        )
        reserving.cancel()
        await asyncio.wait([reserving])
    ahead = await value(database, "SELECT next_at - clock_timestamp() FROM counterfoil.budgets")
    assert ahead.total_seconds() <= (1 + 2) / SLOW


# --- places come back -------------------------------------------------------------------------------------------------


async def test_a_place_is_given_back_when_the_request_fails(database, process):
    live = process(concurrent=1)
    with pytest.raises(ZeroDivisionError):
        async with live.request(NORMAL):
            raise ZeroDivisionError
    await expect_free(database, live)


async def test_a_place_is_given_back_when_the_request_is_cancelled(database, process):
    live = process(concurrent=1)
    inside = asyncio.Event()

    async def request() -> None:
        async with live.request(NORMAL):
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(request())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await expect_free(database, live)


async def test_a_place_is_given_back_when_its_reservation_is_cancelled(database, process):
    live = process(per_second=SLOW, burst=1)
    task = asyncio.create_task(ask(live, MONEY))
    await until(database, f"(SELECT {TAKEN}) = 1")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await expect_free(database, live)


async def test_a_place_is_given_back_when_its_request_is_cancelled_as_it_is_granted(database, process, monkeypatch):
    live = process()
    await fill(database)
    real = live._grant

    def grant_and_cancel(grant: object) -> None:
        real(grant)
        task.cancel()

    monkeypatch.setattr(live, "_grant", grant_and_cancel)
    task = asyncio.create_task(ask(live))
    with pytest.raises(asyncio.CancelledError):
        await task
    monkeypatch.undo()
    await expect_free(database, live)


@pytest.mark.parametrize("others", [0, 1])
async def test_a_turn_of_one_who_is_cancelled_meanwhile_goes_to_the_next(database, process, monkeypatch, others):
    live = process()
    await fill(database)
    real, asked, go_on = live._take, asyncio.Event(), asyncio.Event()

    async def slow(*asked_for: object) -> object:
        outcome = await real(*asked_for)
        asked.set()
        await go_on.wait()
        return outcome

    monkeypatch.setattr(live, "_take", slow)
    gone = asyncio.create_task(ask(live, MONEY))
    next_ones = [asyncio.create_task(ask(live)) for _ in range(others)]
    await asked.wait()
    gone.cancel()
    await asyncio.wait([gone])
    go_on.set()
    await asyncio.gather(*next_ones)
    taken = await value(database, "SELECT count(*) FROM counterfoil.slots")
    assert taken == 1
    monkeypatch.undo()
    await expect_free(database, live)


async def test_one_who_is_cancelled_in_the_queue_does_not_hold_up_the_others(database, process):
    live = process(concurrent=1)
    await fill(database)
    async with occupied(live) as done:
        gone, stays = asyncio.create_task(ask(live, MONEY)), asyncio.create_task(ask(live, SWEEP))
        await until_waiting(live, 2)
        gone.cancel()
        await asyncio.wait([gone])
        done.set()
        await stays
    await expect_free(database, live)


@pytest.mark.parametrize("begun", [False, True])
async def test_nobody_waits_for_ever_when_the_one_who_hands_out_turns_is_ended(database, process, begun):
    live = process(concurrent=1)
    await fill(database)
    async with occupied(live):
        waiting = asyncio.create_task(ask(live))
        await until_waiting(live, 1)
        if begun:
            await until(database, "waiting = 3 FROM counterfoil.budgets")
        live._pump.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    await expect_free(database, live)


def test_a_process_can_end_while_requests_wait(database_url):
    async def work() -> int:
        async with connected(database_url) as engine:
            live = SharedBudget(engine, "live", Limits(per_second=SLOW, burst=1, concurrent=1, hold=60))
            waiting = [asyncio.create_task(ask(live, priority)) for priority in Priority]
            await until(engine, f"(SELECT {TAKEN}) = 1")
            for task in waiting:
                task.cancel()
            await asyncio.wait(waiting)
            return sum(task.cancelled() for task in waiting)

    assert asyncio.run(work()) == len(Priority)


# --- what it costs ------------------------------------------------------------------------------------------------------


async def test_those_who_ask_at_once_are_served_by_one_statement_in_their_order(database, process, monkeypatch):
    live, served = process(), []
    await fill(database)
    made = statements(monkeypatch, live)

    async def request(number: int, priority: Priority) -> None:
        async with live.request(priority):
            served.append(number)

    await asyncio.gather(
        *(request(number, priority) for number, priority in enumerate([SWEEP, NORMAL, NORMAL, NORMAL]))
    )
    assert (made.count(budget._TAKE), served) == (2, [1, 2, 3, 0])


async def test_where_not_all_who_ask_at_once_can_be_served_the_first_ones_are(database, process):
    live, there = process(burst=3, per_second=SLOW, concurrent=10), process(burst=3, per_second=SLOW)
    await fill(database)
    outcomes = await live._take(NORMAL, 5)
    assert [granted(outcome) for outcome in outcomes] == [True] * 3 + [False]
    assert not granted(await take(there))
    assert await value(database, f"SELECT {TAKEN}") == 3


async def test_no_more_turns_are_asked_for_at_once_than_there_are_places(database, process):
    live = process(concurrent=2)
    await fill(database)
    async with occupied(live):
        waiting = [asyncio.create_task(ask(live)) for _ in range(3)]
        await until_waiting(live, 3)
        assert live._wanted() == 1
        await asyncio.gather(*waiting)
    await expect_free(database, live)


async def test_no_turn_is_asked_for_on_behalf_of_one_who_went_away(database, process):
    live = process(burst=10, per_second=SLOW)
    await fill(database)
    asking = [asyncio.create_task(ask(live)) for _ in range(10)]
    await until_waiting(live, 10)
    for task in asking[1:]:
        task.cancel()
    await asyncio.wait(asking)
    assert [granted(outcome) for outcome in await live._take(NORMAL, 10)] == [True] * 9 + [False]


async def test_the_end_of_a_process_gives_back_what_a_statement_under_way_takes(database, process):
    live = process()
    await fill(database)
    await ask(live)
    await asyncio.wait([live._returning])
    async with transaction(database) as other:
        await other.execute(sa.text("SELECT FROM counterfoil.budgets FOR UPDATE"))
        asking = [asyncio.create_task(ask(live)) for _ in range(5)]
        await until_blocked(database)
        for task in asking:
            task.cancel()
        await asyncio.wait(asking)
        closing = asyncio.create_task(live.close())
        ended, _ = await asyncio.wait([closing], timeout=0.2)
    await closing
    assert not ended
    assert (await value(database, f"SELECT {TAKEN}"), live._pump.done()) == (0, True)


async def test_the_end_of_a_process_waits_for_no_turn_that_nobody_wants(database, process):
    live = process(burst=1, per_second=SLOW)
    await fill(database)
    await ask(live)
    waiting = asyncio.create_task(ask(live))
    await until(database, "waiting = 3 FROM counterfoil.budgets")
    waiting.cancel()
    await asyncio.wait([waiting])
    async with asyncio.timeout(budget.LONGEST_CLOSE - 1):
        await live.close()
    assert live._pump.done()


async def test_while_turns_are_asked_for_nothing_else_gives_places_back(database, process, monkeypatch):
    monkeypatch.setattr(budget, "RETURN_WITHIN", 1.0)
    live = process()
    await fill(database)
    made = statements(monkeypatch, live)
    async with asyncio.timeout(20):
        began = time.monotonic()
        while time.monotonic() - began < 1.5:
            await ask(live)
    assert set(made) == {budget._TAKE}
    await asyncio.wait([live._returning])
    assert made[-1] is budget._RETURN
    assert made.count(budget._RETURN) == 1


# --- what goes wrong --------------------------------------------------------------------------------------------------


async def test_an_error_is_told_to_everybody_who_waits_and_the_next_one_tries_anew(database, process, monkeypatch):
    live = process()
    await fill(database)

    async def broken(*_: object) -> object:
        raise ZeroDivisionError

    monkeypatch.setattr(live, "_take", broken)
    outcomes = await asyncio.gather(*(ask(live) for _ in range(3)), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [ZeroDivisionError] * 3
    monkeypatch.undo()
    await expect_free(database, live)


async def test_the_loss_of_the_database_is_told_to_everybody_who_waits_and_heals(database_url, database):
    proxy = Proxy(database_url)
    await proxy.start()
    await fill(database)
    async with connected(proxy.url) as through:
        live = SharedBudget(through, "live", Limits(per_second=FAST, burst=100, concurrent=1, hold=60))
        async with occupied(live) as done:
            waiting = [asyncio.create_task(ask(live)) for _ in range(3)]
            await until_waiting(live, 3)
            await proxy.stop()
            for outcome in await asyncio.gather(*waiting, return_exceptions=True):
                assert isinstance(outcome, Unreachable)
            done.set()
        await proxy.start()
        await query(database, "UPDATE counterfoil.slots SET expires_at = clock_timestamp()")  # it lapses by itself
        await expect_free(database, live)
        await proxy.stop()


@pytest.mark.parametrize("column", ["next_at", "paused_until", "waiting_until"])
async def test_a_clock_that_was_set_back_does_not_stop_a_platform(database, process, column):
    live = process(per_second=100.0)
    await fill(database)
    waiting = ", waiting = 0" if column == "waiting_until" else ""
    await query(database, f"UPDATE counterfoil.budgets SET {column} = now() + interval '1 day' {waiting}")
    await ask(live)
    assert await value(database, "SELECT next_at < clock_timestamp() + interval '5 s' FROM counterfoil.budgets")


async def test_a_clock_that_was_set_back_does_not_keep_a_place(database, process):
    live = process(concurrent=1)
    await fill(database)
    await take(live, NORMAL)
    await query(database, "UPDATE counterfoil.slots SET expires_at = now() + interval '1 day'")
    assert granted(await take(live, NORMAL))


# --- pauses -----------------------------------------------------------------------------------------------------------


async def test_a_short_pause_is_waited_out(database, process):
    live = process()
    await fill(database)
    await live.limited(0.3)
    await ask(live)
    assert await value(database, "SELECT paused_until <= clock_timestamp() FROM counterfoil.budgets")


async def test_a_long_pause_is_told_to_everybody_who_asks_in_any_process(database, process):
    here, there = process(), process()
    await fill(database)
    await here.limited(100.0)
    outcomes = await asyncio.gather(ask(there), ask(here, MONEY), ask(there, SWEEP), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [PausedError] * 3
    assert all(90 < outcome.retry_after <= 100 for outcome in outcomes)
    assert "live is left alone for" in str(outcomes[0])
    assert "429" in str(outcomes[0])


async def test_a_pause_is_kept_though_nobody_asked_before_and_not_for_longer_than_any_may_be(process):
    await process().limited(10**9)
    with pytest.raises(PausedError) as told:
        await ask(process())
    assert 3500 < told.value.retry_after <= budget.LONGEST_PAUSE


async def test_a_shorter_pause_does_not_cut_a_longer_one(database, process):
    live = process()
    await live.limited(100.0)
    await live.limited(1.0)
    with pytest.raises(PausedError):
        await ask(live)
    assert await value(database, "SELECT paused_until > clock_timestamp() + interval '90 s' FROM counterfoil.budgets")


async def test_one_platform_s_pause_is_not_another_s(database, process):
    await process().limited(100.0)
    await fill(database, "demo")
    await ask(process("demo"))
    with pytest.raises(PausedError):
        await ask(process())


async def end_pause(database: AsyncEngine) -> None:
    await query(database, "UPDATE counterfoil.budgets SET paused_until = clock_timestamp()")


async def test_repeated_failures_open_pauses_that_grow_until_an_answer_closes_them(database, process, said):
    live = process(breaker=Breaker(tolerated=3, first=40.0, longest=100.0))
    await fill(database)
    for _ in range(2):
        await live.failed("HTTP 500")
    await ask(live)
    assert said == []
    for _ in range(3):
        await live.failed("HTTP 500")
        with pytest.raises(PausedError, match="HTTP 500"):
            await ask(live)
        await end_pause(database)
    assert [round(fields["seconds"]) for _, fields in said] == [40, 80, 100]
    assert [(name, fields["failures"]) for name, fields in said] == [("platform.paused", n) for n in (3, 4, 5)]
    assert list(await budget.troubles(database, Breaker(tolerated=3))) == ["live"]
    await ask(live)
    await live.succeeded()
    await live.succeeded()
    assert said[3:] == [("platform.resumed", {"platform": "live"})]
    assert await budget.troubles(database) == {}
    await live.failed("HTTP 500")
    await ask(live)


async def test_requests_that_fail_together_open_one_pause(database, process, said):
    live = process(breaker=Breaker(tolerated=2, first=40.0))
    await fill(database)
    await asyncio.gather(*(live.failed("HTTP 500") for _ in range(8)))
    assert [(name, fields["failures"]) for name, fields in said] == [("platform.paused", 2)]


async def test_an_answer_after_few_failures_is_no_news(database, process, said):
    live = process()
    await fill(database)
    await live.failed("HTTP 500")
    await ask(live)
    await live.succeeded()
    assert said == []
    assert await query(database, "SELECT failures, reason FROM counterfoil.budgets") == [(0, None)]


@pytest.fixture(params=["limited", "failed"])
def pausing(request) -> Callable[[SharedBudget], Awaitable[None]]:
    return (lambda live: live.limited(100.0)) if request.param == "limited" else (lambda live: live.failed("HTTP 500"))


async def test_an_answer_to_a_request_of_before_does_not_end_a_pause(database, process, said, pausing):
    live = process(breaker=Breaker(tolerated=2, first=100.0))
    await fill(database)
    await live.failed("HTTP 500")
    async with occupied(live):
        await pausing(live)
        await live.succeeded()
    with pytest.raises(PausedError):
        await ask(live)
    assert "platform.resumed" not in [name for name, _ in said]


# --- places that are given back -----------------------------------------------------------------------------------------


async def test_places_that_became_free_while_the_database_was_away_are_given_back(database_url):
    proxy = Proxy(database_url)
    await proxy.start()
    limits = Limits(per_second=FAST, burst=100, concurrent=1, hold=60.0)
    async with connected(proxy.url) as through, connected(database_url) as database:
        await fill(database)
        one = SharedBudget(through, "live", limits)
        async with one.request(NORMAL):
            await proxy.stop()
        await asyncio.wait([one._returning])
        await proxy.start()
        await ask(one, MONEY)
        await expect_free(database, one)
    await proxy.stop()


async def test_a_place_that_becomes_free_while_another_is_given_back_is_given_back_too(database, process, monkeypatch):
    await fill(database)
    one, first, second = process(), asyncio.Event(), asyncio.Event()
    statement = one._direct.all

    async def meanwhile(asked, given):
        if asked is budget._RETURN and not second.is_set():
            second.set()
            await asyncio.wait([other])
        return await statement(asked, given)

    async def hold(until: asyncio.Event) -> None:
        async with one.request(NORMAL):
            await until.wait()

    monkeypatch.setattr(one._direct, "all", meanwhile)
    tasks = [asyncio.create_task(hold(event)) for event in (first, second)]
    other = tasks[1]
    await until(database, f"(SELECT {TAKEN}) = 2")
    first.set()
    await asyncio.wait(tasks)
    await one.close()
    assert await value(database, f"SELECT {TAKEN}") == 0


async def test_a_turn_whose_answer_was_lost_holds_one_place(database, process, monkeypatch):
    await fill(database)
    one = process()
    await ask(one)
    await expect_free(database, one)
    ask_once, lost = one._direct._ask, []

    async def lose_the_first(*given):
        answer = await ask_once(*given)
        if not lost:
            lost.append(answer)
            await one._direct._connection.close()
            raise psycopg.OperationalError("gone")
        return answer

    monkeypatch.setattr(one._direct, "_ask", lose_the_first)
    async with one.request(NORMAL):
        assert await value(database, f"SELECT {TAKEN}") == 1
    assert len(lost) == 1


async def test_who_gives_back_a_place_that_lapsed_waits_for_one_who_takes_it(database, process):
    await fill(database)
    lapsed = uuid.uuid4()
    await query(
        database,
        "INSERT INTO counterfoil.slots (platform, slot, token, expires_at) VALUES ('live', 1, :lapsed, now() - interval '1 s')",
        lapsed=lapsed,
    )
    one = process()
    one._freed[budget._Grant(1, lapsed, 0.0)] = time.monotonic()
    async with transaction(database) as taking:
        await taking.execute(sa.text("SELECT FROM counterfoil.budgets WHERE platform = 'live' FOR UPDATE"))
        asking = asyncio.create_task(ask(one))
        await until_blocked(database)
        await taking.execute(sa.text("UPDATE counterfoil.slots SET token = gen_random_uuid()"))
    await asking
    await expect_free(database, one)
