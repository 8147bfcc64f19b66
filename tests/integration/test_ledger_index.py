"""The index of what deals did to an account is left out only while nobody can miss it, and is there again whatever happens."""

import asyncio
import signal
import uuid
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg import conninfo
from sqlalchemy.ext.asyncio import AsyncEngine

from counterfoil.sandbox import Sandbox, SandboxOptions
from counterfoil.store import leases, ledger_index, migrations
from support.process import counterfoil, outcome, platform, write_settings
from support.store import connected, write
from support.waiting import until

INDEX = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'mirror' AND indexname = 'deals_ledger_idx'"
DEAL = "INSERT INTO mirror.deals (platform, id, version) VALUES ('live', 1, 1)"
LEASE = """
    INSERT INTO counterfoil.leases (platform, resource, token, holder, expires_at, started_at)
    VALUES ('live', 'symbols', gen_random_uuid(), %s, now() + CAST(%s AS interval), now() - CAST(%s AS interval))
"""
# What became of the index, in the order of events.
WATCH = """
    CREATE TABLE public.became (at serial, what text);
    CREATE FUNCTION public.note_drop() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO public.became (what) SELECT 'dropped' FROM pg_event_trigger_dropped_objects()
            WHERE object_identity = 'mirror.deals_ledger_idx';
    END $$;
    CREATE FUNCTION public.note_build() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO public.became (what) SELECT 'built over ' || (SELECT count(*) FROM mirror.deals)
            FROM pg_event_trigger_ddl_commands() WHERE object_identity = 'mirror.deals_ledger_idx';
    END $$;
    CREATE EVENT TRIGGER note_drop ON sql_drop EXECUTE FUNCTION public.note_drop();
    CREATE EVENT TRIGGER note_build ON ddl_command_end EXECUTE FUNCTION public.note_build()
"""


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[AsyncEngine]:
    async with connected(database_url) as engine:
        yield engine


@pytest.fixture
def sql(database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


def index(sql: psycopg.Connection) -> str | None:
    row = sql.execute(INDEX).fetchone()
    return row and row[0]


async def inside(database: AsyncEngine, sql: psycopg.Connection) -> str | None:
    async with ledger_index.left_out(database):
        return index(sql)


# --- in the store -----------------------------------------------------------------------------------------------------


async def test_inside_it_is_missing_and_afterwards_it_is_the_same(database, sql):
    before = index(sql)
    async with ledger_index.left_out(database):
        assert index(sql) is None
        await write(database, "deals", {"id": 1, "account_id": 7})
    assert index(sql) == before is not None


@pytest.mark.parametrize("error", [RuntimeError, asyncio.CancelledError])
async def test_what_happens_inside_does_not_matter(database, sql, error):
    before = index(sql)
    with pytest.raises(error):
        async with ledger_index.left_out(database):
            raise error
    assert index(sql) == before


async def test_who_is_told_to_end_while_it_is_built_waits_for_it(database, sql, database_url):
    before = index(sql)
    entered = asyncio.Event()

    async def work() -> None:
        async with ledger_index.left_out(database):
            entered.set()

    with psycopg.connect(database_url) as writing:
        task = asyncio.create_task(work())
        await entered.wait()
        writing.execute(DEAL)
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'mirror.deals'::regclass"
        await until(lambda: sql.execute(waiting).fetchone(), [(1,)], 20)
        task.cancel()
        await asyncio.sleep(0)
        writing.commit()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert index(sql) == before


async def test_a_daemon_that_starts_meanwhile_builds_it_and_it_is_not_built_twice(database, sql, database_url):
    before = index(sql)
    with psycopg.connect(database_url) as starting:
        async with ledger_index.left_out(database):
            starting.execute("SELECT pg_advisory_xact_lock(%s)", [migrations.SCHEMA_LOCK])
            starting.execute(before)
            waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory'"
            ended = asyncio.create_task(until(lambda: sql.execute(waiting).fetchone(), [(1,)], 20))
            ended.add_done_callback(lambda _: starting.commit())
        await ended
    assert index(sql) == before


@pytest.mark.parametrize(
    ("holder", "expires", "started"),
    [("other:1", "10 s", "0"), ("other:1", "-1 h", "1 h"), ("other:1", "-23 h", "23 h"), ("other:1", "10 s", "30 h")],
)
async def test_where_somebody_else_works_with_the_database_it_stays(database, sql, holder, expires, started):
    sql.execute(LEASE, [holder, expires, started])
    assert await inside(database, sql) == index(sql) is not None


@pytest.mark.parametrize(
    ("holder", "expires", "started"),
    [("we", "10 s", "0"), ("we", "-1 h", "1 h"), ("other:1", "-25 h", "25 h")],
)
async def test_our_own_work_and_that_of_long_ago_are_no_reason(database, sql, holder, expires, started):
    sql.execute(LEASE, [leases.HOLDER if holder == "we" else holder, expires, started])
    assert await inside(database, sql) is None


async def test_where_there_is_a_deal_it_stays(database, sql):
    sql.execute(DEAL)
    assert await inside(database, sql) == index(sql) is not None


@pytest.mark.parametrize("statement", ["SELECT FROM mirror.deals", DEAL, "SELECT pg_advisory_xact_lock(%d)"])
async def test_nobody_is_waited_for(database, sql, database_url, statement):
    with psycopg.connect(database_url) as busy:
        busy.execute(statement.replace("%d", str(migrations.SCHEMA_LOCK)))
        assert await asyncio.wait_for(inside(database, sql), 10) == index(sql) is not None


async def test_who_wrote_while_we_waited_is_seen(database, sql, database_url, monkeypatch):
    monkeypatch.setattr(ledger_index, "_PATIENCE", "20s")
    with psycopg.connect(database_url) as writing:
        writing.execute(DEAL)
        task = asyncio.create_task(inside(database, sql))
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'mirror.deals'::regclass"
        await until(lambda: sql.execute(waiting).fetchone(), [(1,)], 20)
        writing.commit()
    assert await task == index(sql) is not None


async def test_a_role_that_does_not_own_the_table_leaves_it_alone(database_url, sql):
    role = f"counterfoil_test_{uuid.uuid4().hex[:12]}"
    sql.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'guest'")
    try:
        for schema in ("mirror", "counterfoil"):
            sql.execute(f"GRANT USAGE ON SCHEMA {schema} TO {role}")
            sql.execute(f"GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO {role}")
        parts = conninfo.conninfo_to_dict(database_url)
        async with connected(f"postgresql://{role}:guest@{parts['host']}:{parts['port']}/{parts['dbname']}") as guest:
            assert await inside(guest, sql) == index(sql) is not None
    finally:
        sql.execute(f"DROP OWNED BY {role}")
        sql.execute(f"DROP ROLE {role}")


def test_it_is_built_by_whoever_finds_the_schema_without_it(database_url, sql):
    before = index(sql)
    sql.execute("DROP INDEX mirror.deals_ledger_idx")
    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(migrations.upgrade, [database_url] * 2)) == [(migrations.head(), migrations.head())] * 2
    assert index(sql) == before


# --- in `counterfoil sync` --------------------------------------------------------------------------------------------


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(SandboxOptions(clients=2, accounts=5, deals=300)) as running:
        yield running


def became(sql: psycopg.Connection) -> list[str]:
    return [what for (what,) in sql.execute("SELECT what FROM public.became ORDER BY at")]


async def test_the_first_reading_of_one_platform_goes_without_it_and_no_other(sandbox, sql, database_url, tmp_path):
    before = index(sql)
    sql.execute(WATCH)
    one = write_settings(tmp_path / "one.yaml", database_url, {"live": platform(sandbox.url)})
    two = {"live": platform(sandbox.url), "demo": platform(sandbox.url)}
    both = write_settings(tmp_path / "both.yaml", database_url, two)
    guest = write_settings(tmp_path / "guest.yaml", database_url, {"live": platform(sandbox.url)})
    guest.write_text(guest.read_text().replace("database:\n", "database:\n  migrate: false\n"))
    for file, *more in (
        (both, "--resource", "deals", "--resource", "symbols"),
        (guest,),
        (one, "--resource", "accounts"),
    ):
        sql.execute("TRUNCATE mirror.deals, counterfoil.cursors, counterfoil.leases")
        assert (await outcome("sync", "-c", file, *more))[0] == 0
        assert became(sql) == []
    sql.execute("TRUNCATE mirror.deals, counterfoil.cursors, counterfoil.leases")
    for _ in range(2):
        assert (await outcome("sync", "-c", one))[0] == 0
        assert became(sql) == ["dropped", f"built over {len(list(sandbox.books.rows('deals')))}"]
    assert index(sql) == before


async def test_after_a_killed_first_reading_the_next_command_builds_it(sandbox, sql, database_url, tmp_path):
    before = index(sql)
    sandbox.faults.set({"kind": "delay", "path": "deals", "seconds": 15})
    file = write_settings(tmp_path / "c.yaml", database_url, {"live": platform(sandbox.url, timeout="20s")})
    async with counterfoil("sync", "-c", file, "--resource", "deals") as reading:
        await until(lambda: sql.execute("SELECT to_regclass('mirror.deals_ledger_idx')").fetchone(), [(None,)], 30)
        reading.send(signal.SIGKILL)
    assert (await outcome("migrate", "-c", file))[0] == 0
    assert index(sql) == before
