"""A platform that is in the way as a whole is left alone for growing whiles; a database that is well is not taken for lost."""

import time
from types import SimpleNamespace

import psycopg
import pytest
import sqlalchemy as sa

from counterfoil.domain.errors import LoginRefusedError
from support.pulling import said
from support.pushing import push_bench

MONEY = "/money"
RESTS = "push.resting"


@pytest.fixture
async def it(database_url):
    async with push_bench(database_url) as bench:
        bench.account("a")
        bench.sandbox.requests.clear()
        yield bench


class Clock:
    """The write path's clock, which can be put forward."""

    def __init__(self):
        self.ahead = 0.0

    def monotonic(self):
        return time.monotonic() + self.ahead


@pytest.fixture
def clock(monkeypatch):
    made = Clock()
    monkeypatch.setattr("counterfoil.push.pusher.time", SimpleNamespace(monotonic=made.monotonic))
    return made


async def again(it, replica, times=1):
    """So many turns in which everything that waits for its time is due."""
    for _ in range(times):
        it.hurry()
        await replica.turn()


async def refused(it, **how):
    """A deposit `m` that the platform forbids, and the replica that tried it."""
    it.strike("forbid", times=None)
    it.crm.call("deposit", "m", "a/1", 5)
    replica = it.replica(**how)
    await replica.turn()
    assert it.state("m") == "pending"
    return replica


def shut_out(replica, monkeypatch):
    """Nobody logs in for ten minutes."""

    async def current(*, rejected=None):
        del rejected
        raise LoginRefusedError("the platform refuses the login", retry_in=600)

    monkeypatch.setattr(replica.pusher.writer._calls._sessions, "current", current)
    return replica


# --- what makes it rest ----------------------------------------------------------------------------------------------


async def test_a_right_that_is_missing_makes_the_platform_rest_for_thirty_seconds(it, clock):
    replica = await refused(it)
    it.account("b")
    it.crm.call("deposit", "n", "b/1", 5)
    it.sandbox.requests.clear()
    await again(it, replica, 3)
    clock.ahead = 29
    await again(it, replica)
    assert (it.state("n"), it.intent("n")["attempts"], it.writes()) == ("pending", 0, [])
    clock.ahead = 31
    it.sandbox.faults.clear()
    await again(it, replica)
    assert (it.state("m"), it.state("n")) == ("confirmed", "confirmed")


async def test_however_many_attempts_meet_the_same_trouble_the_rest_is_told_once(it):
    for name in "bcd":
        it.account(name)
        it.crm.call("deposit", f"m{name}", f"{name}/1", 5)
    with said() as lines:
        replica = await refused(it)
        await again(it, replica, 5)
    (told,) = lines(RESTS)
    assert (told["platform"], told["retry_in"]) == ("live", 30.0)
    assert "may not do this" in told["reason"]


async def test_the_rests_grow_to_five_minutes(it, clock):
    with said() as lines:
        replica = await refused(it)
        for pause in (30, 60, 120, 240, 300, 300):
            assert lines(RESTS)[-1]["retry_in"] == pause
            clock.ahead += pause - 1
            await again(it, replica)
            assert lines(RESTS)[-1]["retry_in"] == pause
            clock.ahead += 2
            await again(it, replica)
    assert it.intent("m")["attempts"] == 7


async def test_a_day_of_trouble_leaves_few_rows_behind(it, clock):
    replica = await refused(it)
    for _ in range(40):
        clock.ahead += 10
        await again(it, replica)
    told = it.owner.value("SELECT count(*) FROM counterfoil.events WHERE reference = 'm'")
    # 400 seconds: four attempts of two steps each, and what the CRM asked for.
    assert told <= 10


async def test_an_outcome_of_another_kind_ends_the_growing(it, clock):
    replica = await refused(it)
    clock.ahead = 31
    it.sandbox.faults.clear()
    await again(it, replica)
    assert it.state("m") == "confirmed"
    it.strike("forbid", times=None)
    it.crm.call("deposit", "m2", "a/1", 5)
    with said() as lines:
        await again(it, replica)
    assert [line["retry_in"] for line in lines(RESTS)] == [30.0]


async def test_a_login_that_is_refused_makes_the_platform_rest_as_long_as_nobody_logs_in(it, clock, monkeypatch):
    it.crm.call("deposit", "m", "a/1", 5)
    replica = shut_out(it.replica(), monkeypatch)
    with said() as lines:
        await again(it, replica, 3)
        clock.ahead = 599
        await again(it, replica)
        assert [line["retry_in"] for line in lines(RESTS)] == [600.0]
    wait = it.owner.value("SELECT failures FROM counterfoil.intents WHERE reference = 'm'")
    assert (it.state("m"), wait, it.intent("m")["attempts"]) == ("pending", 0, 1)
    clock.ahead = 601
    await again(it, replica)
    assert it.intent("m")["attempts"] == 2


async def test_what_was_refused_with_the_login_is_due_when_somebody_may_log_in_again(it, monkeypatch):
    it.crm.call("deposit", "m", "a/1", 5)
    await shut_out(it.replica(), monkeypatch).turn()
    wait = it.owner.value(
        "SELECT extract(epoch FROM due_at - clock_timestamp()) FROM counterfoil.intents WHERE reference = 'm'"
    )
    assert 590 < wait <= 600


async def test_a_key_that_is_missing_makes_the_platform_rest(it):
    it.crm.call("open_account", "a/2", "a", {})
    replica = it.replica(key=None)
    with said() as lines:
        await again(it, replica, 3)
    assert [line["retry_in"] for line in lines(RESTS)] == [30.0]
    assert (it.state("a/2"), it.intent("a/2")["attempts"], it.intent("a/2")["failures"]) == ("pending", 1, 0)


async def test_looks_go_on_while_a_platform_rests(it):
    replica = await it.unknown("drop_after")
    it.account("b")
    it.strike("forbid", times=None, method="POST")
    it.crm.call("deposit", "n", "b/1", 5)
    it.owner.rows("UPDATE counterfoil.intents SET due_at = clock_timestamp() + interval '1 h' WHERE reference = 'm'")
    await replica.turn()
    assert (it.state("m"), it.state("n")) == ("unknown", "pending")
    await it.look(replica)
    assert (it.state("m"), it.intent("n")["attempts"]) == ("confirmed", 1)


@pytest.mark.parametrize("fault", [{"kind": "rate_limited"}, {"kind": "error_before", "status": 500}])
async def test_what_concerns_one_attempt_makes_nobody_rest(it, fault):
    it.account("b")
    it.sandbox.faults.set({"path": f"/{it.account_id('a/1')}{MONEY}", **fault})
    it.crm.call("deposit", "m", "a/1", 5)
    replica = it.replica()
    with said() as lines:
        await replica.turn()
        it.crm.call("deposit", "n", "b/1", 5)
        await again(it, replica)
    assert (lines(RESTS), it.state("n")) == ([], "confirmed")


# --- a database that is well -----------------------------------------------------------------------------------------


class Refusing:
    """A queue whose first `times` settlements end in an error."""

    def __init__(self, queue, error, times):
        self._queue = queue
        self._error = error
        self.left = times

    def __getattr__(self, name):
        return getattr(self._queue, name)

    async def settle(self, held, result):
        if self.left:
            self.left -= 1
            raise sa.exc.OperationalError("", {}, self._error)
        return await self._queue.settle(held, result)


async def settled(it, error):
    """A deposit whose result is refused twice; what the daemon is told of a lost database."""
    it.crm.call("deposit", "m", "a/1", 5)
    replica = it.replica(queueing=lambda queue: Refusing(queue, error, 2))
    lost = []

    async def told(found):
        lost.append(found)

    replica.pusher.on_database_lost = told
    await replica.turn()
    assert (it.state("m"), len(it.effects("m")), len(it.writes(MONEY))) == ("confirmed", 1, 1)
    return lost


@pytest.mark.parametrize("error", [psycopg.errors.DeadlockDetected, psycopg.errors.LockNotAvailable])
async def test_a_result_that_met_another_transaction_is_written_again_and_no_database_is_lost(it, error):
    assert await settled(it, error()) == []


async def test_a_result_that_met_no_database_is_written_again_and_said(it):
    assert len(await settled(it, psycopg.OperationalError("server closed the connection"))) == 2
