"""A connection beside the pool: quick, and none the wiser for a server that went away meanwhile."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from counterfoil.store import Unreachable
from counterfoil.store.direct import Direct
from support.proxy import Proxy
from support.store import connected, query, until

PID = "SELECT pg_backend_pid()"


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[AsyncEngine]:
    async with connected(database_url) as engine:
        yield engine


async def test_statements_share_one_connection_whoever_makes_them_at_once(database):
    direct = Direct(database)
    pids = await asyncio.gather(*(direct.row(PID, {}) for _ in range(5)))
    assert len(set(pids)) == 1


async def test_a_statement_that_gives_no_row_gives_none(database):
    direct = Direct(database)
    assert await direct.row("SELECT 1 WHERE %(never)s", {"never": False}) is None
    assert await direct.row("SET lock_timeout = '1s'", {}) is None


async def test_a_connection_that_died_is_made_again(database):
    direct = Direct(database)
    (pid,) = await direct.row(PID, {}) or ()
    await query(database, "SELECT pg_terminate_backend(:pid, 5000)", pid=pid)
    (other,) = await direct.row(PID, {}) or ()
    assert other != pid


async def test_a_database_that_is_not_there_is_said_so_and_asked_again(database_url):
    proxy = Proxy(database_url)
    await proxy.start()
    try:
        async with connected(proxy.url) as engine:
            direct = Direct(engine)
            await direct.row(PID, {})
            await proxy.stop()
            for _ in range(2):
                with pytest.raises(Unreachable):
                    await direct.row(PID, {})
            await proxy.start()
            assert await direct.row(PID, {})
    finally:
        await proxy.stop()


async def test_a_server_that_became_read_only_is_left_for_one_that_is_not(database):
    direct = Direct(database)
    (pid,) = await direct.row(PID, {}) or ()
    await direct.row("SET default_transaction_read_only = on", {})
    with pytest.raises(Unreachable):
        await direct.row("CREATE TABLE counterfoil.never ()", {})
    (other,) = await direct.row(PID, {}) or ()
    assert other != pid


async def test_it_goes_with_its_engine(database_url, database):
    mine = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    async with connected(database_url) as engine:
        assert await Direct(engine).row(PID, {})
        await until(database, f"({mine}) = 1")
    await until(database, f"({mine}) = 0")
