"""`counterfoil run` as its users run it: a process, signals, a dying database, a dying platform."""

import asyncio
import itertools
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest

from counterfoil.sandbox import Sandbox, SandboxOptions
from support.process import QUICK, counterfoil, outcome, platform, write_settings
from support.proxy import Proxy


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(SandboxOptions(clients=20, accounts=30, deals=600)) as running:
        yield running


def count(url: str, table: str, platform_name: str = "live") -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute(
            f"SELECT count(*) FROM mirror.{table} WHERE platform = %s AND deleted_at IS NULL", [platform_name]
        ).fetchone()
    assert row is not None
    return int(row[0])


def expected(sandbox: Sandbox, resource: str) -> int:
    return len(list(sandbox.books.rows(resource)))


async def test_it_mirrors_everything_and_ends_in_order_on_sigterm(
    sandbox: Sandbox, empty_database_url: str, tmp_path: Path
) -> None:
    settings = write_settings(tmp_path / "c.yaml", empty_database_url, {"live": platform(sandbox.url)})
    async with counterfoil("run", "-c", settings) as daemon:
        await daemon.says("daemon.ready")
        for resource in (name for name in QUICK if name != "sweep"):
            await daemon.says("pull.finished", resource=resource)
        assert (await daemon.get("/readyz")).status_code == 200
        assert (await daemon.get("/healthz")).status_code == 200
        assert "counterfoil_pull_rows_inserted_total" in (await daemon.get("/metrics")).text
        assert await daemon.stop() == 0
        assert daemon.events[-1]["event"] == "daemon.stopped"
        assert daemon.events[-1]["clean"] is True
        assert daemon.other_lines == []
    for resource in ("clients", "accounts", "deals", "groups", "symbols", "group_symbols", "commissions"):
        assert count(empty_database_url, resource) == expected(sandbox, resource), resource
    for resource in ("orders", "positions"):
        whole = expected(sandbox, resource) + expected(sandbox, f"{resource}_history")
        assert count(empty_database_url, resource) == whole, resource
    assert count(empty_database_url, "transactions") == expected(sandbox, "transactions")


async def test_ended_amid_a_poll_it_complains_of_nothing(sandbox: Sandbox, database_url: str, tmp_path: Path) -> None:
    settings = write_settings(tmp_path / "c.yaml", database_url, {"live": platform(sandbox.url)})
    async with counterfoil("run", "-c", settings) as daemon:
        await daemon.says("daemon.ready")
        await daemon.says("pull.finished", resource="deals")
        sandbox.faults.set([{"kind": "delay", "seconds": 60.0, "path": "deals"}])
        sandbox.requests.clear()
        await sandbox.requests.reached(1, "deals")
        assert await daemon.stop() == 0
        assert [event for event in daemon.events if event["level"] in ("warning", "error")] == []
        assert daemon.events[-1]["clean"] is True


async def test_killed_at_any_moment_of_the_first_reading_it_goes_on_where_it_was(
    sandbox: Sandbox, database_url: str, tmp_path: Path
) -> None:
    own = platform(sandbox.url, page_size=20)
    settings = write_settings(tmp_path / "c.yaml", database_url, {"live": own})
    for requests in (5, 25, 60):
        sandbox.requests.clear()
        async with counterfoil("run", "-c", settings) as daemon:
            await sandbox.requests.reached(requests)
            daemon.send(signal.SIGKILL)
            assert await daemon.ends() == -signal.SIGKILL
    async with counterfoil("run", "-c", settings) as daemon:
        await daemon.says("pull.finished", resource="deals")
        assert await daemon.stop() == 0
    assert count(database_url, "deals") == expected(sandbox, "deals")


async def test_a_database_that_is_dead_at_the_start_is_waited_for(
    sandbox: Sandbox, empty_database_url: str, tmp_path: Path
) -> None:
    proxy = Proxy(empty_database_url)
    await proxy.reserve()
    settings = write_settings(tmp_path / "c.yaml", proxy.url, {"live": platform(sandbox.url)})
    async with counterfoil("run", "-c", settings) as daemon:
        await daemon.says("database.unreachable", times=2)
        assert (await daemon.get("/healthz")).status_code == 200
        ready = await daemon.get("/readyz")
        assert ready.status_code == 503
        assert "database" in ready.text
        assert len(sandbox.requests) == 0
        await proxy.start()
        await daemon.says("database.recovered")
        await daemon.says("daemon.ready")
        assert await daemon.stop() == 0
    await proxy.stop()


async def test_a_database_that_dies_later_is_survived_without_a_busy_loop(
    sandbox: Sandbox, database_url: str, tmp_path: Path
) -> None:
    proxy = Proxy(database_url)
    await proxy.start()
    settings = write_settings(tmp_path / "c.yaml", proxy.url, {"live": platform(sandbox.url)})
    async with counterfoil("run", "-c", settings) as daemon:
        await daemon.says("daemon.ready")
        await proxy.stop()
        third = await daemon.says("database.unreachable", times=3)
        assert third["retry_in"] == 4.0, "each try waits twice as long"
        assert (await daemon.get("/readyz")).status_code == 503
        asked = len(sandbox.requests)
        await daemon.says("database.unreachable", times=4)
        assert len(sandbox.requests) == asked, "the platform is not asked while nothing can be kept"
        sandbox.books.trade(3)
        await proxy.start()
        await daemon.says("database.recovered")
        await daemon.says_again("pull.finished", resource="deals")
        await daemon.says_again("pull.finished", resource="deals")
        assert (await daemon.get("/readyz")).status_code == 200
        assert await daemon.stop() == 0
    assert count(database_url, "deals") == expected(sandbox, "deals")
    await proxy.stop()


async def test_a_dead_platform_turns_readiness_off_and_the_others_go_on(
    sandbox: Sandbox, database_url: str, tmp_path: Path
) -> None:
    other = Sandbox(SandboxOptions(clients=3, accounts=4, deals=40))
    await other.start()
    platforms = {"live": platform(sandbox.url), "other": platform(other.url)}
    settings = write_settings(tmp_path / "c.yaml", database_url, platforms)
    async with counterfoil("run", "-c", settings) as daemon:
        await daemon.says("daemon.ready")
        await other.stop()
        await daemon.says("platform.paused", platform="other")
        ready = await daemon.get("/readyz")
        assert ready.status_code == 503
        assert "other" in ready.text
        assert "live" not in ready.text
        await daemon.says_again("pull.finished", platform="live", resource="deals")
        await other.start()
        await daemon.says("platform.resumed", platform="other")
        await daemon.says_again("pull.finished", platform="other", resource="deals")
        assert (await daemon.get("/readyz")).status_code == 200
        assert await daemon.stop() == 0
    await other.stop()


async def test_a_wrong_password_is_said_once_and_the_other_platform_is_mirrored(
    sandbox: Sandbox, database_url: str, tmp_path: Path
) -> None:
    platforms = {"live": platform(sandbox.url), "locked": platform(sandbox.url, password="wrong")}
    settings = write_settings(tmp_path / "c.yaml", database_url, platforms)
    async with counterfoil("run", "-c", settings) as daemon:
        await daemon.says("platform.misconfigured", platform="locked")
        for _ in range(3):
            await daemon.says_again("pull.finished", platform="live", resource="deals")
        assert len(daemon.named("platform.misconfigured", platform="locked")) == 1
        assert sandbox.requests.by_path["/api/v1/oauth2/login"] == 2
        ready = await daemon.get("/readyz")
        assert ready.status_code == 503
        assert "check username and password" in ready.text
        assert await daemon.stop() == 0
    assert "wrong" not in str([event for event in daemon.events if event["event"] != "http.listening"])


async def test_sighup_takes_a_valid_file_and_refuses_a_wrong_one(
    sandbox: Sandbox, database_url: str, tmp_path: Path
) -> None:
    file = tmp_path / "c.yaml"
    write_settings(file, database_url, {"live": platform(sandbox.url)})
    async with counterfoil("run", "-c", file) as daemon:
        await daemon.says("daemon.ready")
        file.write_text(f"{file.read_text()}nonsense: 1\n")
        daemon.send(signal.SIGHUP)
        rejected = await daemon.says("config.rejected")
        assert "nonsense: unknown key" in str(rejected["reason"])
        write_settings(file, database_url, {"live": platform(sandbox.url), "second": platform(sandbox.url)})
        daemon.send(signal.SIGHUP)
        reloaded = await daemon.says("config.reloaded")
        assert any("platforms.second" in str(key) for key in reloaded["changed"])  # type: ignore[attr-defined]
        await daemon.says("pull.finished", platform="second", resource="deals")
        write_settings(file, "postgresql://nobody@127.0.0.1:1/none", {"live": platform(sandbox.url)})
        daemon.send(signal.SIGHUP)
        assert "restart" in str((await daemon.says("config.rejected", times=2))["reason"])
        await daemon.says_again("pull.finished", platform="live", resource="deals")
        assert await daemon.stop() == 0
    assert count(database_url, "deals", "second") == expected(sandbox, "deals")


async def test_two_replicas_share_the_work_and_double_nothing(
    sandbox: Sandbox, database_url: str, tmp_path: Path
) -> None:
    settings = write_settings(tmp_path / "c.yaml", database_url, {"live": platform(sandbox.url)})
    async with counterfoil("run", "-c", settings) as one, counterfoil("run", "-c", settings) as two:
        await one.says("daemon.ready")
        await two.says("daemon.ready")
        for _ in range(3):
            sandbox.books.trade(2)
            waits = [asyncio.create_task(daemon.says_again("pull.finished", resource="deals")) for daemon in (one, two)]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
        one.send(signal.SIGKILL)
        await one.ends()
        sandbox.books.trade(2)
        await two.says_again("pull.finished", resource="deals")
        await two.says_again("pull.finished", resource="deals")
        assert await two.stop() == 0
    runs = sorted(
        (str(event["timestamp"]), str(event["event"]))
        for daemon in (one, two)
        for event in daemon.events
        if event.get("resource") == "deals" and str(event["event"]) in ("pull.started", "pull.finished")
    )
    kinds = [kind for _, kind in runs]
    overlapping = [pair for pair in itertools.pairwise(kinds) if pair == ("pull.started", "pull.started")]
    assert len(kinds) > 6
    assert len(overlapping) <= 1, "only the killed one may leave a start without an end"
    assert count(database_url, "deals") == expected(sandbox, "deals")


async def test_a_database_of_a_newer_version_is_refused_and_not_touched(
    sandbox: Sandbox, database_url: str, tmp_path: Path
) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE counterfoil.alembic_version SET version_num = 'from-the-future'")
    settings = write_settings(tmp_path / "c.yaml", database_url, {"live": platform(sandbox.url)})
    code, _, errors = await outcome("run", "-c", settings)
    assert code == 2
    assert "from-the-future" in errors.splitlines()[-1]
    assert "newer version" in errors.splitlines()[-1]
    with psycopg.connect(database_url) as connection:
        row = connection.execute("SELECT version_num FROM counterfoil.alembic_version").fetchone()
    assert row == ("from-the-future",)


async def test_sync_brings_an_exact_mirror_into_an_embedded_database_and_status_says_so(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    settings = write_settings(tmp_path / "c.yaml", f"embedded:{tmp_path / 'pg'}", {"live": platform(sandbox.url)})
    code, _, errors = await outcome("sync", "-c", settings)
    assert code == 0, errors
    code, output, errors = await outcome("status", "-c", settings, "--json")
    assert code == 0, errors
    assert f'"rows": {expected(sandbox, "deals")}' in output


async def test_deletions_held_back_make_status_ask_for_a_person_until_they_are_accepted(
    sandbox: Sandbox, database_url: str, tmp_path: Path
) -> None:
    settings = write_settings(tmp_path / "c.yaml", database_url, {"live": platform(sandbox.url)})
    assert (await outcome("sync", "-c", settings))[0] == 0
    before = count(database_url, "accounts")
    sandbox.faults.set({"kind": "vanish", "path": "accounts$", "fraction": 0.5})
    assert (await outcome("sync", "-c", settings))[0] == 3
    assert count(database_url, "accounts") == before
    code, output, _ = await outcome("status", "-c", settings)
    assert code == 3
    assert output.startswith(
        "money moves: these settings only mirror, no platform is written to; 1 thing of another kind"
    )
    assert "--accept-deletions accounts" in output.splitlines()[1]
    assert (await outcome("sync", "-c", settings, "--full", "--accept-deletions", "accounts"))[0] == 0
    assert count(database_url, "accounts") < before
    assert (await outcome("status", "-c", settings))[0] == 0
