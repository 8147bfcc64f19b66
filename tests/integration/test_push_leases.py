"""Who may write a result: the worker that holds the attempt, and no other, however late it comes back."""

import asyncio
import time

import pytest

from support.crashing import Crash, Point, Way
from support.pushing import PATIENCE, push_bench

MONEY = "/money"


@pytest.fixture
async def it(database_url):
    async with push_bench(database_url) as bench:
        bench.account("a")
        bench.sandbox.requests.clear()
        yield bench


async def test_a_lapsed_attempt_that_may_have_sent_is_unknown_and_never_pending(it):
    plan = Crash(it, Point.AFTER_CLAIM, Way.GONE)
    dead = it.replica(queueing=plan.queue, through=plan.engine, writing=plan.writer)
    it.crm.call("deposit", "m", "a/1", 5)
    working = asyncio.ensure_future(dead.turn())
    async with asyncio.timeout(PATIENCE):
        await plan.struck.wait()
    healthy = it.replica()
    await healthy.turn()
    assert it.state("m") == "sent"
    it.lapse()
    it.owner.rows("UPDATE counterfoil.platform_state SET paused = 'only the rescue'")
    assert [lost.state for lost in await healthy.queue.rescue()] == ["unknown"]
    assert it.reason("m") == "the worker ended before it noted an answer"
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)


async def test_a_lapsed_attempt_that_never_was_launched_is_pending_again(it):
    it.crm.call("register", "b", {"first_name": "B", "family_name": "C"}, "live")
    healthy = it.replica()
    (held,) = await healthy.queue.claim(9, ["client"])
    it.lapse()
    assert [lost.state for lost in await healthy.queue.rescue()] == ["pending"]
    assert it.reason("b") == "the worker ended before it sent anything"
    assert held.launched is False


async def test_a_stale_launch_sends_nothing(it):
    it.crm.call("register", "b", {"first_name": "B", "family_name": "C"}, "live")

    class Slow:
        def __init__(self, writer):
            self.writer = writer

        def __getattr__(self, name):
            return getattr(self.writer, name)

        async def prepare(self, wish, books):
            made = await self.writer.prepare(wish, books)
            it.lapse()
            return made

    replica = it.replica(writing=Slow)
    await replica.turn()
    assert it.writes() == []
    assert it.state("b") == "sent"
    await it.until_quiet(it.replica())
    assert (it.state("b"), len(it.clients("b"))) == ("confirmed", 1)


async def test_a_late_answer_of_a_worker_that_lost_its_lease_changes_nothing(it):
    it.crm.call("deposit", "m", "a/1", 5)
    slow, healthy = it.replica(), it.replica()
    (held,) = await slow.queue.claim(9, [])
    it.lapse()
    await healthy.queue.rescue()
    result = await slow.pusher.attempts.make(held, time.monotonic())
    assert result.state == "confirmed"
    assert await slow.queue.settle(held, result) is False
    assert it.state("m") == "unknown"
    await it.look(healthy)
    assert (it.state("m"), len(it.effects("m"))) == ("confirmed", 1)
    assert await slow.queue.settle(held, result) is False


async def test_a_late_look_of_a_worker_that_lost_its_lease_changes_nothing(it):
    replica = await it.unknown()
    it.hurry()
    (held,) = await replica.queue.claim_looks(9)
    late = await replica.pusher.looks.look(held)
    it.owner.rows(
        "UPDATE counterfoil.intents SET lease_until = clock_timestamp() - interval '1 s' WHERE state = 'unknown'"
    )
    other = it.replica()
    (theirs,) = await other.queue.claim_looks(9)
    assert await replica.queue.settle(held, late) is False
    assert await other.queue.settle(theirs, late) is True


async def test_many_replicas_never_do_one_thing_twice(it):
    names = []
    for number in range(6):
        it.account(f"r{number}")
        for turn in range(3):
            names.append(f"r{number}-{turn}")
            it.crm.call("deposit", names[-1], f"r{number}/1", "1.5")
    replicas = [it.replica(places=4) for _ in range(4)]
    it.sandbox.requests.clear()
    it.sandbox.faults.set({"kind": "drop_after", "path": MONEY, "every": 4})
    for _ in range(20):
        it.age()
        it.hurry()
        await asyncio.gather(*(replica.turn() for replica in replicas))
        if not it.unfinished():
            break
    assert [it.state(name) for name in names] == ["confirmed"] * len(names)
    assert [len(it.effects(name)) for name in names] == [1] * len(names)
    assert len(it.writes(MONEY)) == len(names)


async def test_two_replicas_do_not_look_at_the_same_attempt_at_once(it):
    await it.unknown()
    it.hurry()
    taken = await asyncio.gather(*(it.replica().queue.claim_looks(9) for _ in range(4)))
    assert sorted(map(len, taken)) == [0, 0, 0, 1]
