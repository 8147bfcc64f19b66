"""`idle` as its users run it: what does not change is asked for less often, what does as often as ever."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from counterfoil.sandbox import Sandbox, SandboxOptions
from support.process import PATIENCE, QUICK, Process, counterfoil, outcome, platform, write_settings

EVERY = 0.2
IDLE = {"every": "200ms", "idle": "1h"}
PULL = {**dict.fromkeys(QUICK, "off"), "accounts": IDLE, "clients": IDLE}


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(SandboxOptions(clients=10, accounts=20, deals=50)) as running:
        yield running


def settings_of(folder: Path, database: str, sandbox: Sandbox, **pull: object) -> Path:
    return write_settings(folder / "c.yaml", database, {"live": platform(sandbox.url, pull={**PULL, **pull})})


def intervals(daemon: Process, resource: str) -> list[float]:
    """What each run so far left wanted."""
    return [float(str(line["interval"])) for line in daemon.named("pull.finished", resource=resource)]


async def until_idle(daemon: Process, sandbox: Sandbox, at_least: float) -> None:
    """Money moves all the time and clients stay as they are, until those are asked for so rarely."""
    async with asyncio.timeout(PATIENCE):
        while not intervals(daemon, "clients")[-1:] or intervals(daemon, "clients")[-1] < at_least:
            sandbox.books.touch("accounts", sandbox.books.accounts.ids[0])
            await daemon.says_again("pull.finished", resource="accounts")


async def test_a_busy_resource_is_asked_more_often_than_an_idle_one_until_that_changes(sandbox, database_url, tmp_path):
    settings = settings_of(tmp_path, database_url, sandbox)
    async with counterfoil("run", "-c", settings) as daemon:
        await until_idle(daemon, sandbox, 2.0)
        requests = [entry.path for entry in sandbox.requests]
        asked = {name: sum(path.endswith(f"/{name}") for path in requests) for name in ("accounts", "clients")}
        assert asked["accounts"] > 1.5 * asked["clients"]
        assert set(intervals(daemon, "accounts")[:-1]) == {EVERY}
        page = (await daemon.get("/metrics")).text
        assert 'counterfoil_pull_interval_seconds{platform="live",resource="accounts"} 0.2' in page
        _, told, _ = await outcome("status", "-c", settings)
        (line,) = (line for line in told.splitlines() if " clients " in line)
        assert "(idle, up to 1h)" in line
        assert "late" not in line
        sandbox.books.touch("clients", sandbox.books.clients.ids[0])
        found = await daemon.says("pull.finished", resource="clients", changed=1)
        assert found["interval"] == EVERY
        assert await daemon.stop() == 0


async def test_a_reload_brings_other_bounds_and_a_restart_keeps_what_was_known(sandbox, database_url, tmp_path):
    settings = settings_of(tmp_path, database_url, sandbox)
    async with counterfoil("run", "-c", settings) as daemon:
        await until_idle(daemon, sandbox, 1.0)
        settings_of(tmp_path, database_url, sandbox, clients={"every": "200ms", "idle": "400ms"})
        daemon.send(signal.SIGHUP)
        reloaded = await daemon.says("config.reloaded")
        assert reloaded["changed"] == ["platforms.live.pull.clients.idle"]
        await daemon.says("pull.finished", resource="clients", interval=0.4)
        settings_of(tmp_path, database_url, sandbox)
        assert await daemon.stop() == 0
    async with counterfoil("run", "-c", settings) as daemon:
        first = await daemon.says("pull.finished", resource="clients")
        assert float(str(first["interval"])) >= 0.6
        assert await daemon.stop() == 0


async def test_status_tells_what_was_never_read(sandbox, database_url, tmp_path):
    sandbox.faults.set({"kind": "error_before", "status": 500, "path": "/clients$"})
    settings = settings_of(tmp_path, database_url, sandbox, sweep={"every": "24h"})
    async with counterfoil("run", "-c", settings) as daemon:
        await daemon.says("pull.failed", resource="clients")
        await daemon.says("pull.finished", resource="accounts")
        _, told, _ = await outcome("status", "-c", settings, "--json")
        found = {row["resource"]: row for row in json.loads(told)["resources"]}
        assert found["sweep"]["state"] == "not read yet"
        assert found["sweep"]["age_seconds"] is None
        assert found["clients"]["state"].startswith("failing: ")
        assert found["clients"]["as_of"] is None
        assert (found["accounts"]["every_seconds"], found["accounts"]["idle_seconds"]) == (0.2, 3600.0)
        assert found["accounts"]["interval_seconds"] >= EVERY
        assert await daemon.stop() == 0
