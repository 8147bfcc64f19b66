"""The way to PostgreSQL: what a session is like, how a URL gets its password, and who stands in between."""

import asyncio

import psycopg
import pytest
import sqlalchemy as sa

from counterfoil.store import Unreachable, brief, engine
from support.proxy import Proxy
from support.store import connected, query, value
from support.store_pooler import Pooler

SETTINGS = {
    "TimeZone": "UTC",
    "lock_timeout": "30s",
    "idle_in_transaction_session_timeout": "5min",
    "jit": "off",
    "transaction_isolation": "read committed",
    "client_encoding": "UTF8",
    "application_name": "counterfoil",
}


@pytest.mark.parametrize("name", SETTINGS)
async def test_every_session_has_the_settings_that_the_statements_rely_on(empty_database_url, name):
    url = f"{empty_database_url}?options=-c%20timezone%3DAsia%2FTokyo%20-c%20work_mem%3D5MB"
    async with connected(url) as database:
        assert await value(database, f"SHOW {name}") == SETTINGS[name]
        assert await value(database, "SHOW work_mem") == "5MB"


async def test_a_url_may_say_otherwise_where_it_does_no_harm(empty_database_url):
    async with connected(f"{empty_database_url}?application_name=mine") as database:
        assert await value(database, "SHOW application_name") == "mine"


@pytest.mark.parametrize("password", ["plain", "p@ss:w/rd?#[x]", "100% +&=", "a b", "Zoë'\"\\", "%41"])
@pytest.mark.parametrize(
    "url",
    [
        "postgresql://me@db.example:5433/counterfoil?sslmode=require",
        "postgresql://me:old@db.example:5433/counterfoil?sslmode=require",
        "postgresql:///counterfoil?host=db.example&port=5433&user=me&sslmode=require",
    ],
)
def test_any_password_survives_its_way_into_a_url(url, password):
    merged = engine.with_password(url, password)
    libpq = psycopg.conninfo.conninfo_to_dict(merged)
    (_, ours) = engine.sync_url(merged).get_dialect()().create_connect_args(engine.sync_url(merged))
    for given in (libpq, ours):
        named = {name: str(given[name]) for name in ("user", "password", "host", "port", "dbname", "sslmode")}
        assert named == {
            "user": "me",
            "password": password,
            "host": "db.example",
            "port": "5433",
            "dbname": "counterfoil",
            "sslmode": "require",
        }


def test_a_password_works_without_any_name():
    assert engine.with_password("postgresql:///x", "a b") == "postgresql:///x?password=a%20b"
    assert engine.with_password("postgresql://db/x?a=b", "s") == "postgresql://db/x?a=b&password=s"


async def test_an_error_is_told_in_one_line_without_statement_and_values(empty_database_url):
    async with connected(empty_database_url) as database:
        with pytest.raises(sa.exc.ProgrammingError) as raised:
            await query(database, "SELECT :secret FROM nowhere", secret="s3cret")
    assert brief(raised.value) == 'relation "nowhere" does not exist'
    assert brief(OSError()) == "OSError"


async def test_a_database_that_is_gone_is_unreachable_and_the_next_session_heals(empty_database_url):
    proxy = Proxy(empty_database_url)
    await proxy.start()
    async with connected(proxy.url) as database:
        assert await value(database, "SELECT 1") == 1
        await proxy.stop()
        with pytest.raises(Unreachable):
            await query(database, "SELECT 1")
        await proxy.start()
        assert await value(database, "SELECT 2") == 2
        await proxy.stop()


async def test_a_server_that_takes_no_writes_is_as_good_as_unreachable(empty_database_url):
    async with connected(f"{empty_database_url}?options=-c%20default_transaction_read_only%3Don") as database:
        with pytest.raises(Unreachable, match="read-only"):
            await query(database, "SELECT 1")


async def test_a_server_that_vanishes_without_a_word_is_noticed(empty_database_url):
    async with connected(empty_database_url) as database, database.connect() as connection:
        raw = engine.driver(connection)
        given = raw.info.get_parameters()
        assert [given[name] for name in ("keepalives_idle", "keepalives_interval", "keepalives_count")] == [
            "10",
            "5",
            "2",
        ]
        assert given["tcp_user_timeout"] == "20000"


async def test_a_client_that_vanishes_without_a_word_is_noticed_by_the_server(empty_database_url):
    names = ("idle", "interval", "count")
    settings = ", ".join(f"current_setting('tcp_keepalives_{name}')" for name in names)
    async with connected(empty_database_url) as database:
        assert await query(database, f"SELECT {settings}") == [("10", "5", "2")]


# --- poolers ----------------------------------------------------------------------------------------------------------


async def test_a_server_is_no_pooler(empty_database_url):
    assert await engine.pooled(empty_database_url) is False


async def test_a_pooler_in_session_mode_is_as_good_as_a_server(empty_database_url):
    async with Pooler(empty_database_url, session=True).running() as url:
        assert await engine.pooled(url) is False


@pytest.mark.parametrize("round_robin", [False, True])
@pytest.mark.parametrize("limit", [1, 10])
@pytest.mark.parametrize("busy", [0, 4])
async def test_a_pooler_in_transaction_mode_is_recognised(empty_database_url, round_robin, limit, busy):
    pooler = Pooler(empty_database_url, round_robin=round_robin, limit=limit)
    async with pooler.running() as url:
        clients = [await psycopg.AsyncConnection.connect(url) for _ in range(min(busy, limit))]
        for client in clients:
            await client.execute("SELECT 1")
        for client in clients:
            await client.commit()
        async with asyncio.timeout(20):
            assert await engine.pooled(url) is True
        for client in clients:
            await client.close()


async def test_a_pooler_without_connections_to_spare_is_an_error_and_not_an_answer(empty_database_url, monkeypatch):
    monkeypatch.setattr(engine, "_PATIENCE", 0.5)
    async with Pooler(empty_database_url, session=True, limit=1).running() as url:
        with pytest.raises(Unreachable, match="connections at once are not to be had"):
            await engine.pooled(url)


async def test_connections_are_opened_while_something_else_is_done(database_url):
    async with connected(database_url) as database:
        async with engine.opened_ahead(database, 3):
            assert await value(database, "SELECT 1") == 1
        assert database.pool.checkedin() == 3
        opened = await query(database, "SELECT pid FROM pg_stat_activity WHERE datname = current_database()")
        assert len(opened) == 3


async def test_nobody_fails_for_want_of_a_connection_that_was_not_asked_for(database_url):
    url = sa.make_url(database_url).set(port=1).render_as_string(hide_password=False)
    async with connected(url) as database, asyncio.timeout(10):
        async with engine.opened_ahead(database, 3):
            pass
        with pytest.raises(Unreachable):
            await value(database, "SELECT 1")
