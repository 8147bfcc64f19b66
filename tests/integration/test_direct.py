"""A connection beside the pool: quick, and none the wiser for a server that went away meanwhile."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from counterfoil.store import Unreachable
from counterfoil.store.direct import Direct, direct, first
from counterfoil.store.engine import transaction
from support.proxy import Proxy
from support.store import connected, query, until

PID = sa.text("SELECT pg_backend_pid() AS pid")


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[AsyncEngine]:
    async with connected(database_url) as engine:
        yield engine


async def test_statements_share_one_connection_whoever_makes_them_at_once(database):
    direct = Direct(database)
    answers = await asyncio.gather(*(direct.first(PID, {}) for _ in range(5)))
    assert len({answer["pid"] for answer in answers}) == 1


async def test_a_statement_that_gives_no_row_gives_none(database):
    direct = Direct(database)
    assert await direct.first(sa.text("SELECT 1 WHERE :never"), {"never": False}) is None
    assert await direct.first(sa.text("SET lock_timeout = '1s'"), {}) is None


async def test_a_connection_that_died_is_made_again(database):
    direct = Direct(database)
    pid = await direct.first(PID, {})
    await query(database, "SELECT pg_terminate_backend(:pid, 5000)", pid=pid["pid"])
    other = await direct.first(PID, {})
    assert other != pid


async def test_a_database_that_is_not_there_is_said_so_and_asked_again(database_url):
    proxy = Proxy(database_url)
    await proxy.start()
    try:
        async with connected(proxy.url) as engine:
            direct = Direct(engine)
            await direct.first(PID, {})
            await proxy.stop()
            for _ in range(2):
                with pytest.raises(Unreachable):
                    await direct.first(PID, {})
            await proxy.start()
            assert await direct.first(PID, {})
    finally:
        await proxy.stop()


async def test_a_server_that_became_read_only_is_left_for_one_that_is_not(database):
    direct = Direct(database)
    pid = await direct.first(PID, {})
    await direct.first(sa.text("SET default_transaction_read_only = on"), {})
    with pytest.raises(Unreachable):
        await direct.first(sa.text("CREATE TABLE counterfoil.never ()"), {})
    other = await direct.first(PID, {})
    assert other != pid


async def test_it_goes_with_its_engine(database_url, database):
    mine = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    async with connected(database_url) as engine:
        assert await Direct(engine).first(PID, {})
        await until(database, f"({mine}) = 1")
    await until(database, f"({mine}) = 0")


async def test_whoever_has_the_engine_shares_one(database_url, database):
    async with connected(database_url) as other:
        assert direct(database) is direct(database) is not direct(other)


async def test_a_statement_gives_the_same_in_a_transaction_of_the_caller_s(database):
    statement, given = sa.text("SELECT :number + 1 AS more, '%' AS sign"), {"number": 6}
    async with transaction(database) as connection:
        assert await first(connection, statement, given) == {"more": 7, "sign": "%"}
    assert await first(direct(database), statement, given) == {"more": 7, "sign": "%"}
