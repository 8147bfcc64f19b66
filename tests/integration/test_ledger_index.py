"""The index of what deals did to an account is left out only while nobody can miss it, and is there again whatever happens."""

import asyncio
import json
import signal
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
import structlog
from psycopg import conninfo

from counterfoil.sandbox import Sandbox, SandboxOptions
from counterfoil.store import ledger_index, migrations
from support.process import Process, counterfoil, outcome, platform, write_settings
from support.store import connected, write
from support.waiting import until

INDEX = "SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indexrelid = to_regclass('mirror.deals_ledger_idx') AND indisvalid"
WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'mirror.deals'::regclass"
DEAL = "INSERT INTO mirror.deals (platform, id, version) VALUES ('live', 1, 1)"
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


@contextmanager
def looking(url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


def index(url: str) -> str | None:
    """How the index is defined; None where it is missing. By a connection that is gone then, also on the server."""
    with looking(url) as sql:
        row = sql.execute(INDEX).fetchone()
        process = sql.info.backend_pid
    alone(url, but=process)
    return row and row[0]


def alone(url: str, *, but: int = 0) -> None:
    """Until that process of the server, or any other that serves this database, is gone."""
    name = conninfo.conninfo_to_dict(url)["dbname"]
    with psycopg.connect(conninfo.make_conninfo(url, dbname="postgres"), autocommit=True) as sql:
        gone = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND (%s = 0 OR pid = %s) AND backend_type = 'client backend'"
        deadline = time.monotonic() + 20
        while sql.execute(gone, [name, but, but]).fetchone() != (0,):
            assert time.monotonic() < deadline
            sql.execute("SELECT pg_sleep(0.002)")


def filled(url: str) -> str | None:
    """The index as it is while deals are read for the first time."""
    migrations.upgrade(url, filling=True)
    return index(url)


# --- in the store -----------------------------------------------------------------------------------------------------


async def test_it_is_missing_while_deals_are_read_and_afterwards_it_is_the_same(database_url):
    before = index(database_url)
    assert filled(database_url) is None
    async with connected(database_url) as database:
        await write(database, "deals", {"id": 1, "account_id": 7})
        assert await ledger_index.restored(database)
    assert index(database_url) == before is not None


def test_a_mirror_that_is_made_just_now_is_filled_without_it(empty_database_url):
    assert filled(empty_database_url) is None


@pytest.mark.parametrize("state", ["idle", "in a transaction"])
def test_where_somebody_is_connected_it_stays(database_url, state):
    with psycopg.connect(database_url, autocommit=state == "idle") as other:
        other.execute("SELECT 1")
        assert filled(database_url) is not None


def test_where_there_is_a_deal_it_stays(database_url):
    with looking(database_url) as sql:
        sql.execute(DEAL)
    alone(database_url)
    assert filled(database_url) is not None


@pytest.fixture
def blind(monkeypatch) -> None:
    """Nobody else is seen: as where somebody connects just then."""
    text = str(ledger_index._SUITED)
    monkeypatch.setattr(ledger_index, "_SUITED", sa.text(text.replace("datname = current_database()", "false")))


@pytest.mark.usefixtures("blind")
@pytest.mark.parametrize("statement", ["SELECT FROM mirror.deals", DEAL])
def test_nobody_is_waited_for(database_url, statement):
    with psycopg.connect(database_url) as busy:
        busy.execute(statement)
        began = time.monotonic()
        assert filled(database_url) is not None
        assert time.monotonic() - began < 10


@pytest.mark.usefixtures("blind")
async def test_who_wrote_while_we_waited_is_seen(database_url, monkeypatch):
    monkeypatch.setattr(ledger_index, "_PATIENCE", "20s")
    with psycopg.connect(database_url) as writing, looking(database_url) as sql:
        writing.execute(DEAL)
        task = asyncio.create_task(asyncio.to_thread(filled, database_url))
        await until(lambda: sql.execute(WAITING).fetchone(), [(1,)], 20)
        writing.commit()
        assert await task is not None


GUESTS = {
    "does not own the table": [
        "GRANT ALL ON ALL TABLES IN SCHEMA {} TO {{role}}",
        "GRANT ALL ON SCHEMA {} TO {{role}}",
    ],
    "may not build in the schema": [
        "GRANT USAGE ON SCHEMA {} TO {{role}}",
        "ALTER TABLE mirror.deals OWNER TO {{role}}",
    ],
}


@pytest.mark.parametrize("grants", GUESTS.values(), ids=GUESTS)
def test_a_role_that_could_not_build_it_leaves_it_alone(database_url, grants):
    role = f"counterfoil_test_{uuid.uuid4().hex[:12]}"
    with looking(database_url) as sql:
        sql.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'guest'")
        for schema in ("mirror", "counterfoil"):
            for statement in grants:
                sql.execute(statement.format(schema).format(role=role))
        sql.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA counterfoil TO {role}")
    alone(database_url)
    try:
        guest = conninfo.conninfo_to_dict(database_url)
        migrations.upgrade(f"postgresql://{role}:guest@{guest['host']}:{guest['port']}/{guest['dbname']}", filling=True)
        assert index(database_url) is not None
    finally:
        with looking(database_url) as sql:
            sql.execute(f"REASSIGN OWNED BY {role} TO CURRENT_USER")
            sql.execute(f"DROP OWNED BY {role}")
            sql.execute(f"DROP ROLE {role}")


@pytest.mark.parametrize(
    "damage",
    [
        "DROP INDEX mirror.deals_ledger_idx",
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'mirror.deals_ledger_idx'::regclass",
    ],
)
def test_it_is_built_by_whoever_brings_the_schema_to_head(database_url, damage):
    before = index(database_url)
    with looking(database_url) as sql:
        sql.execute(damage)
    assert index(database_url) is None
    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(migrations.upgrade, [database_url] * 2)) == [(migrations.head(), migrations.head())] * 2
    assert index(database_url) == before


def test_a_first_reading_that_goes_on_where_one_was_killed_builds_it_at_once(database_url):
    before = index(database_url)
    with looking(database_url) as sql:
        sql.execute("DROP INDEX mirror.deals_ledger_idx")
        sql.execute(DEAL)
    alone(database_url)
    assert filled(database_url) == before


async def test_where_it_stands_nobody_who_changes_the_schema_is_waited_for(database_url):
    with psycopg.connect(database_url) as changing:
        changing.execute("SELECT pg_advisory_xact_lock(%s)", [migrations.SCHEMA_LOCK])
        async with connected(database_url) as database:
            assert await asyncio.wait_for(ledger_index.restored(database), 10)


def test_a_database_in_which_it_cannot_be_built_is_brought_to_head_nevertheless(database_url, monkeypatch):
    monkeypatch.setattr(ledger_index, "LOCK_TIMEOUT", "100ms")
    filled(database_url)
    with psycopg.connect(database_url) as writing, structlog.testing.capture_logs() as said:
        writing.execute(DEAL)
        assert migrations.upgrade(database_url) == (migrations.head(), migrations.head())
    assert [entry["event"] for entry in said] == ["schema.index_missing"]


async def test_in_sync_too_it_can_fail_and_is_no_error_of_its_own(database_url, monkeypatch):
    monkeypatch.setattr(ledger_index, "LOCK_TIMEOUT", "100ms")
    filled(database_url)
    with psycopg.connect(database_url) as writing:
        writing.execute(DEAL)
        async with connected(database_url) as database:
            assert not await ledger_index.restored(database)
            writing.rollback()
            assert await ledger_index.restored(database)


async def test_who_is_told_to_end_while_it_is_built_waits_for_it(database_url):
    before = index(database_url)
    filled(database_url)
    with psycopg.connect(database_url) as writing, looking(database_url) as sql:
        async with connected(database_url) as database:
            writing.execute(DEAL)
            task = asyncio.create_task(ledger_index.restored(database))
            await until(lambda: sql.execute(WAITING).fetchone(), [(1,)], 20)
            task.cancel()
            await asyncio.sleep(0)
            writing.commit()
            with pytest.raises(asyncio.CancelledError):
                await task
    assert index(database_url) == before


async def test_a_daemon_that_starts_meanwhile_builds_it_and_it_is_not_built_twice(database_url):
    before = index(database_url)
    filled(database_url)
    with psycopg.connect(database_url) as starting, looking(database_url) as sql:
        starting.execute("SELECT pg_advisory_xact_lock(%s)", [migrations.SCHEMA_LOCK])
        starting.execute(before)
        async with connected(database_url) as database:
            task = asyncio.create_task(ledger_index.restored(database))
            waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'advisory'"
            await until(lambda: sql.execute(waiting).fetchone(), [(1,)], 20)
            starting.commit()
            assert await task
    assert index(database_url) == before


# --- in `counterfoil sync` --------------------------------------------------------------------------------------------


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(SandboxOptions(clients=2, accounts=5, deals=300)) as running:
        yield running


def became(url: str, *statements: str) -> list[str]:
    with looking(url) as sql:
        for statement in statements:
            sql.execute(statement)
        found = [what for (what,) in sql.execute("SELECT what FROM public.became ORDER BY at")]
    alone(url)
    return found


async def test_the_first_reading_of_one_platform_goes_without_it_and_no_other(sandbox, database_url, tmp_path):
    before = index(database_url)
    anew = "TRUNCATE mirror.deals, counterfoil.cursors"
    became(database_url, WATCH)
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
        became(database_url, anew)
        assert (await outcome("sync", "-c", file, *more))[0] == 0
        assert became(database_url) == []
    became(database_url, anew)
    for _ in range(2):
        assert (await outcome("sync", "-c", one))[0] == 0
        assert became(database_url) == ["dropped", f"built over {len(list(sandbox.books.rows('deals')))}"]
    assert index(database_url) == before


@pytest.fixture
async def reading(sandbox, database_url, tmp_path) -> AsyncIterator[tuple[Process, Path]]:
    """A first reading that waits for its deals, and its settings."""
    sandbox.faults.set({"kind": "delay", "path": "deals", "seconds": 15})
    file = write_settings(tmp_path / "c.yaml", database_url, {"live": platform(sandbox.url, timeout="20s")})
    async with counterfoil("sync", "-c", file, "--resource", "deals") as process:
        await process.says("platform.logged_in")
        assert index(database_url) is None
        yield process, file


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_first_reading_that_is_told_to_end_builds_it(reading, database_url, number):
    process, _ = reading
    process.send(number)
    assert await process.ends() == 128 + number
    assert index(database_url) is not None


async def test_after_a_killed_first_reading_the_next_command_builds_it(reading, database_url):
    process, file = reading
    process.send(signal.SIGKILL)
    await process.ends()
    assert index(database_url) is None
    assert (await outcome("migrate", "-c", file))[0] == 0
    assert index(database_url) is not None


async def test_a_first_reading_that_cannot_build_it_says_so(sandbox, database_url, tmp_path):
    with looking(database_url) as sql:
        sql.execute(
            "CREATE FUNCTION public.refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no room'; END $$"
        )
        sql.execute(
            "CREATE EVENT TRIGGER refuse ON ddl_command_start WHEN TAG IN ('CREATE INDEX') EXECUTE FUNCTION public.refuse()"
        )
    alone(database_url)
    file = write_settings(tmp_path / "c.yaml", database_url, {"live": platform(sandbox.url)})
    code, _, errors = await outcome("sync", "-c", file)
    last = json.loads(errors.splitlines()[-1])
    assert (code, last["event"], last["reason"]) == (1, "schema.index_missing", "no room")
    with looking(database_url) as sql:
        assert sql.execute("SELECT count(*) FROM mirror.deals").fetchone() == (len(list(sandbox.books.rows("deals"))),)
        assert sql.execute("SELECT count(*) > 0 FROM mirror.transactions").fetchone() == (True,)
