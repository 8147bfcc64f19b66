"""Leases: one holder at a time over all replicas, and nothing written by one who lost it."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from counterfoil.domain.errors import LeaseLostError
from counterfoil.store import leases
from counterfoil.store.cursors import Success
from counterfoil.store.direct import direct
from counterfoil.store.engine import transaction
from counterfoil.store.runs import Runs
from support.proxy import Proxy
from support.store import connected, query, until, until_blocked, value

BLINK = timedelta(milliseconds=150)
# Renewed after half a second, with a second to spare on a busy machine.
SHORT = timedelta(seconds=1.5)
HOUR = timedelta(hours=1)


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[AsyncEngine]:
    async with connected(database_url) as engine:
        yield engine


@pytest.fixture
async def replica(database_url: str) -> AsyncIterator[AsyncEngine]:
    """Another process's way to the same database."""
    async with connected(database_url) as engine:
        yield engine


async def take(engine: AsyncEngine, **how: timedelta) -> leases.Lease | None:
    return await leases.acquire(engine, "live", "deals", **how)


async def expect_held(engine: AsyncEngine, lease: leases.Lease) -> None:
    async with transaction(engine) as connection:
        await leases.hold(connection, lease)


async def lapse(engine: AsyncEngine) -> None:
    await query(engine, "UPDATE counterfoil.leases SET expires_at = clock_timestamp() - interval '1 ms'")


async def test_a_lease_has_one_holder(database, replica):
    assert await take(database) is not None
    assert await take(replica) is None
    assert await take(database) is None


async def test_only_one_of_many_who_ask_at_once_gets_it(database, replica):
    both = [database, replica] * 10
    for _ in range(3):
        taken = [lease for lease in await asyncio.gather(*map(take, both)) if lease]
        assert len(taken) == 1
        await leases.release(database, taken[0])


async def test_other_resources_and_platforms_have_leases_of_their_own(database):
    pairs = [("live", "deals"), ("live", "orders"), ("demo", "deals")]
    taken = [await leases.acquire(database, *pair) for pair in pairs]
    assert [(lease.platform, lease.resource) for lease in taken] == pairs


async def test_a_released_lease_can_be_taken_at_once(database, replica):
    await leases.release(database, await take(database))
    assert await take(replica) is not None


async def test_a_run_does_not_begin_again_within_its_interval_whoever_asks(database, replica):
    await leases.release(database, await take(database))
    assert await take(replica, not_within=HOUR) is None
    assert await take(database, not_within=HOUR) is None
    await query(database, "UPDATE counterfoil.leases SET started_at = started_at - interval '61 min'")
    assert await take(replica, not_within=HOUR) is not None


async def test_a_holder_that_says_nothing_loses_the_lease(database, replica):
    lost = await take(database, ttl=BLINK)
    await until(database, "expires_at < clock_timestamp() FROM counterfoil.leases")
    assert await take(replica, ttl=BLINK) is not None
    with pytest.raises(LeaseLostError, match="live/deals"):
        await expect_held(database, lost)


async def test_a_lease_that_lapsed_is_lost_even_when_nobody_took_it(database):
    lease = await take(database)
    await lapse(database)
    with pytest.raises(LeaseLostError):
        await expect_held(database, lease)


async def test_a_lost_lease_undoes_what_its_transaction_wrote(database, replica):
    lease = await take(database)
    await lapse(database)
    await take(replica)

    async def work() -> None:
        async with transaction(database) as connection:
            await connection.execute(sa.text("DELETE FROM counterfoil.leases"))
            await leases.hold(connection, lease)

    with pytest.raises(LeaseLostError):
        await work()
    assert await value(database, "SELECT count(*) FROM counterfoil.leases") == 1


async def test_nobody_takes_over_while_a_holder_s_transaction_is_open_even_when_the_lease_lapses(database, replica):
    lease = await take(database, ttl=BLINK)
    async with transaction(database) as connection:
        await leases.hold(connection, lease)
        await until(replica, "expires_at < clock_timestamp() FROM counterfoil.leases")
        async with asyncio.timeout(5):
            assert await take(replica, ttl=BLINK) is None
    assert await take(replica, ttl=BLINK) is not None


async def test_asking_for_a_lease_in_use_does_not_wait_for_its_transaction(database, replica):
    lease = await take(database)
    async with transaction(database) as connection:
        await leases.hold(connection, lease)
        async with asyncio.timeout(5):
            assert await take(replica) is None


async def test_a_lease_is_renewed_as_long_as_it_is_held(database, replica):
    lease = await take(database, ttl=SHORT)
    async with leases.held(database, lease):
        for _ in range(2):
            now = await value(database, "SELECT max(expires_at) FROM counterfoil.leases")
            await until(replica, "expires_at > :now FROM counterfoil.leases", now=now)
            assert await take(replica, ttl=SHORT) is None
            await expect_held(database, lease)
    assert await take(replica, ttl=SHORT) is not None


async def test_a_renewal_waits_for_the_holder_s_own_transaction(database):
    lease = await take(database, ttl=SHORT)
    async with leases.held(database, lease):
        async with transaction(database) as connection:
            await leases.hold(connection, lease)
            await until_blocked(database)
        await until(database, "expires_at > clock_timestamp() FROM counterfoil.leases")
        await expect_held(database, lease)


async def test_a_lease_is_given_back_when_the_work_fails_or_is_cancelled(database, replica):
    with pytest.raises(ZeroDivisionError):
        async with leases.held(database, await take(database)):
            raise ZeroDivisionError
    entered = asyncio.Event()

    async def work(lease):
        async with leases.held(database, lease):
            entered.set()
            await asyncio.Event().wait()

    working = asyncio.create_task(work(await take(replica)))
    await entered.wait()
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
    assert await take(replica) is not None


async def leave(engine: AsyncEngine, lease: leases.Lease) -> None:
    """Work that is over at once."""
    async with leases.held(engine, lease):
        pass


async def test_who_is_told_to_end_while_a_lease_is_given_back_leaves_nothing_behind(database, replica):
    """Else a connection would be in use behind the end of everything, and never be closed."""
    lease = await take(database)
    async with transaction(replica) as connection:
        await leases.hold(connection, lease)
        leaving = asyncio.create_task(leave(database, lease))
        await until_blocked(replica)
        leaving.cancel()
        assert await asyncio.wait([leaving], timeout=0.05) == (set(), {leaving})
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert database.pool.checkedout() == 0
    assert await take(replica) is not None


async def test_who_is_told_to_end_while_a_lease_is_renewed_leaves_nothing_behind(database, replica):
    lease = await take(database, ttl=SHORT)
    async with transaction(replica) as connection:
        await leases.hold(connection, lease)
        keeping = asyncio.create_task(leases._keep(database, lease))
        await until_blocked(replica)
        keeping.cancel()
        assert await asyncio.wait([keeping], timeout=0.05) == (set(), {keeping})
    with pytest.raises(asyncio.CancelledError):
        await keeping
    assert database.pool.checkedout() == 0


async def test_one_who_lost_the_lease_cannot_release_or_renew_it(database, replica):
    lost = await take(database)
    await lapse(database)
    held = await take(replica)
    state = "SELECT token, expires_at FROM counterfoil.leases"
    before = await query(database, state)
    async with transaction(database) as connection:
        await connection.execute(leases._RENEW, {**leases._key(lost), "ttl": HOUR})
    await leases.release(database, lost)
    assert await query(database, state) == before
    assert before[0][0] == held.token


async def test_a_released_lease_cannot_be_renewed(database):
    lease = await take(database)
    await leases.release(database, lease)
    async with transaction(database) as connection:
        renewed = await connection.execute(leases._RENEW, {**leases._key(lease), "ttl": HOUR})
    assert renewed.rowcount == 0


async def test_a_lease_names_the_one_before_it(database, replica):
    first = await take(database)
    await leases.release(database, first)
    second = await take(replica)
    await lapse(database)
    third = await take(database)
    assert (first.previous, second.previous, third.previous) == (None, first.token, second.token)


async def test_a_crash_of_postgresql_takes_every_lease_and_token_with_it(database):
    unlogged = "SELECT relname FROM pg_class WHERE relpersistence = 'u' AND relkind = 'r' ORDER BY 1"
    assert await query(database, unlogged) == [("budgets",), ("freshness",), ("leases",), ("slots",)]
    lost = await take(database)
    await query(database, "TRUNCATE counterfoil.leases")  # what a crash leaves
    with pytest.raises(LeaseLostError):
        await expect_held(database, lost)
    assert (await take(database)).previous is None


@pytest.mark.parametrize("column", ["expires_at", "started_at"])
async def test_a_clock_that_was_set_back_does_not_keep_a_lease_for_ever(database, replica, column):
    lease = await take(database)
    if column == "started_at":
        await leases.release(database, lease)
    await query(database, f"UPDATE counterfoil.leases SET {column} = clock_timestamp() + interval '1 day'")
    assert await take(replica, not_within=timedelta(0) if column == "expires_at" else HOUR) is not None


async def test_a_database_that_goes_away_ends_the_work_and_not_the_keeper(database_url, replica):
    proxy = Proxy(database_url)
    await proxy.start()
    async with connected(proxy.url) as database:
        lease = await take(database, ttl=SHORT)
        async with leases.held(database, lease):
            await proxy.stop()
            await until(replica, "expires_at < clock_timestamp() FROM counterfoil.leases")
            await proxy.start()
            await until(replica, "expires_at > clock_timestamp() FROM counterfoil.leases")
            await expect_held(database, lease)
            await proxy.stop()
    assert await value(replica, "SELECT token FROM counterfoil.leases") == lease.token


async def test_runs_tell_how_old_the_mirror_had_become_and_how_often_they_failed(database):
    runs = Runs(database)
    noted, _ = await runs.succeeded("live", "deals", Success(took=timedelta(seconds=2)))
    assert noted.lag is None
    assert 2 <= noted.age < 60
    assert [await runs.failed("live", "deals", reason="down") for _ in range(2)] == [1, 2]
    state = (
        "SELECT failures, reason, failed_at IS NULL, succeeded_at - as_of > interval '1.9 s' FROM counterfoil.freshness"
    )
    assert await query(database, state) == [(2, "down", False, True)]
    noted, _ = await runs.succeeded("live", "deals", Success(took=timedelta(0)))
    assert noted.lag > 1.9 > noted.age
    assert await query(database, state) == [(0, None, True, False)]


async def test_a_lease_that_was_taken_though_the_answer_was_lost_is_ours(database, monkeypatch):
    before = await leases.acquire(database, "live", "sweep")
    await leases.release(database, before)
    connection, asked = direct(database), 0
    ask = connection._ask

    async def lose_the_first(*given):
        nonlocal asked
        asked += 1
        answer = await ask(*given)
        if asked == 1:
            await connection._connection.close()
            raise psycopg.OperationalError("gone")
        return answer

    monkeypatch.setattr(connection, "_ask", lose_the_first)
    await query(database, "UPDATE counterfoil.leases SET started_at = started_at - interval '1 h'")
    lease = await leases.acquire(database, "live", "sweep", not_within=timedelta(minutes=30))
    assert (asked, lease.previous) == (2, before.token)
    assert await leases.acquire(database, "live", "sweep") is None
