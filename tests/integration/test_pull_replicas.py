"""Several replicas on one database: the work is shared, nothing is done twice, nobody writes without a lease."""

import asyncio

import pytest

from counterfoil.pull import puller as pulls
from counterfoil.pull.puller import Result, Wish
from support.pulling import POLLED, Bench, Meddled, bench, one_pass, said

TAKEN_OVER = """UPDATE counterfoil.leases SET token = gen_random_uuid(), previous = token, expires_at = now() - interval '1 s'
    WHERE resource = %s RETURNING 1"""


def watched(running: dict[str, int], most: dict[str, int]) -> None:
    """Count the runs of each resource that are under way at once."""
    for resource, pull in list(pulls.OMTRADER.items()):

        async def counting(run, resource=resource, pull=pull):
            running[resource] = running.get(resource, 0) + 1
            most[resource] = max(most.get(resource, 0), running[resource])
            try:
                await pull(run)
            finally:
                running[resource] -= 1

        yield resource, counting


async def test_two_replicas_share_the_work_and_one_resource_never_runs_twice_at_once(database_url, monkeypatch):
    most: dict[str, int] = {}
    monkeypatch.setattr(pulls, "OMTRADER", dict(watched({}, most)))
    async with bench(database_url) as it:
        both = [it.puller(page_size=100) for _ in range(2)]
        results: list[Result] = []
        for _ in range(3):
            runs = [puller.run(name) for name in POLLED for puller in both]
            results += await asyncio.gather(*runs)
            it.books.trade()
        for name in POLLED:
            await one_pass(both[0], name)
            await one_pass(both[1], name)
        assert set(most.values()) == {1}
        assert {Result.DONE, Result.BUSY} >= set(results)
        assert Result.BUSY in results
        assert it.differences() == []


async def test_what_one_replica_remembers_is_worthless_once_the_other_wrote(database_url):
    async with bench(database_url) as it:
        first, second = it.puller(), it.puller()
        row, comment = it.books.clients.ids[0], "as it was"
        client = it.books.clients.rows[row]
        client.fields["comment"] = comment
        it.books.clients.changed(client)
        await one_pass(first, "clients")
        client.fields["comment"] = "changed"
        it.books.clients.changed(client)
        await one_pass(second, "clients")
        client.fields["comment"] = comment
        it.books.clients.changed(client)
        await one_pass(first, "clients")
        assert it.differences("clients") == []


async def test_what_is_remembered_is_compared_again_after_a_while(database_url, monkeypatch):
    async with bench(database_url) as it:
        puller = it.puller()
        await one_pass(puller, "clients")
        it.rows("UPDATE mirror.clients SET comment = 'not ours' RETURNING 1")
        await one_pass(puller, "clients")
        assert it.differences("clients") != []
        monkeypatch.setattr(pulls, "LONGEST_MEMORY", -1.0)
        await one_pass(puller, "clients")
        assert it.differences("clients") == []


@pytest.mark.parametrize("resource", ["deals", "positions", "transactions", "sweep"])
async def test_a_run_that_lost_its_lease_writes_nothing_more_and_another_goes_on(database_url, resource):
    async with bench(database_url) as it:
        first, second = it.puller(page_size=25), it.puller(page_size=25)
        await one_pass(second, "symbols", "accounts")
        if resource == "sweep":
            await one_pass(second, "deals")
            it.books.late(1)
        healthy, at = first.reader, 1 if resource == "sweep" else 3

        async def take_over(number: int, _resource: str) -> None:
            if number == at:
                it.rows(TAKEN_OVER, resource)

        first.reader = Meddled(healthy, take_over)
        if resource == "transactions":
            first.reader.transactions = stolen(it, healthy.transactions)
        with said() as lines:
            assert await first.run(resource) is Result.BUSY
        assert len(lines("lease.lost")) == 1
        before = rows_written(it)
        await asyncio.sleep(0)
        assert rows_written(it) == before
        assert await one_pass(second, resource) == {}
        tables = {"sweep": ("deals",)}.get(resource, (resource,))
        assert it.differences(*tables) == []


def stolen(it: Bench, ask):
    async def transactions(*given):
        it.rows(TAKEN_OVER, "transactions")
        return await ask(*given)

    return transactions


def rows_written(it: Bench) -> tuple[int, list]:
    return it.versions(), it.rows("SELECT * FROM counterfoil.cursors ORDER BY resource")


async def test_a_caller_that_waits_gets_its_turn_and_one_that_does_not_is_told(database_url, monkeypatch):
    monkeypatch.setattr(pulls, "TAKE_OVER_POLL", 0.01)
    async with bench(database_url) as it:
        first, second = it.puller(), it.puller()
        entered, leave = asyncio.Event(), asyncio.Event()

        async def hold(_number: int, _resource: str) -> None:
            entered.set()
            await leave.wait()

        first.reader = Meddled(first.reader, hold)
        running = asyncio.create_task(first.run("clients"))
        await entered.wait()
        assert await second.run("clients") is Result.BUSY
        waiting = asyncio.create_task(second.run("clients", Wish(wait=True)))
        leave.set()
        assert await running is Result.DONE
        assert await waiting is Result.DONE


async def test_a_tick_that_another_replica_has_just_served_does_nothing(database_url):
    async with bench(database_url) as it:
        first, second = it.puller(), it.puller()
        await one_pass(first, "clients")
        it.forget_requests()
        assert await second.run("clients", Wish(not_within=pulls.timedelta(minutes=5))) is Result.BUSY
        assert it.asked() == []
