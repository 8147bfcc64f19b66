"""`stream: true` as its users run it: events within a second, two replicas, a stream that is dead, a reload."""

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from counterfoil.sandbox import Sandbox, SandboxOptions
from support.platform_truth import differences
from support.process import PATIENCE, QUICK, Process, counterfoil, outcome, platform, write_settings
from support.streaming import QUOTED

# Polls after the first would come too late for any test: what is in the mirror is the stream's.
RARE = {**QUICK, **{name: {"every": "1h"} for name in ("positions", "orders", "deals")}}
SOCKET = "^/ws/v1"


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    async with Sandbox(SandboxOptions(clients=10, accounts=20, deals=300)) as running:
        yield running


def settings_of(folder: Path, database: str, sandbox: Sandbox, *, name: str = "c.yaml", **changes: object) -> Path:
    own = platform(sandbox.url, pull=RARE, stream=True, **changes)
    return write_settings(folder / name, database, {"live": own})


async def follows(url: str, sandbox: Sandbox) -> None:
    """Until the mirror is what the books say, but for what quotes alone change."""

    def wrong() -> list[str]:
        found = differences(url, sandbox.books, "positions", "orders", "deals")
        return [line for line in found if not any(f".{column} is" in line for column in QUOTED)]

    async with asyncio.timeout(PATIENCE):
        while await asyncio.to_thread(wrong):  # noqa: ASYNC110 - the database has no event
            await asyncio.sleep(0)


async def streams(daemon: Process, times: int = 1) -> None:
    await daemon.says("stream.caught_up", times=times)


async def state(settings: Path) -> str:
    """What `status` says of the stream."""
    code, told, _ = await outcome("status", "-c", settings)
    assert code == 0
    (line,) = (line for line in told.splitlines() if " stream " in line)
    return line.strip()


async def relied_on(settings: Path) -> None:
    """Until `status` says so, which it does a moment after the first event was written."""
    async with asyncio.timeout(PATIENCE):
        while "not relied on" in await state(settings):
            pass
    assert (await state(settings)).endswith("relied on")


async def test_what_happens_is_in_the_mirror_before_anybody_polls(sandbox, database_url, tmp_path):
    settings = settings_of(tmp_path, database_url, sandbox)
    async with counterfoil("run", "-c", settings) as daemon:
        await streams(daemon)
        polled = len(daemon.named("pull.finished", resource="deals"))
        sandbox.books.trade(10)
        await follows(database_url, sandbox)
        assert len(daemon.named("pull.finished", resource="deals")) == polled
        written = await daemon.says("stream.written")
        # Events wait a moment for others to be written with; how long the machine takes is the benchmark's.
        assert 0 < written["lag"] < PATIENCE
        page = (await daemon.get("/metrics")).text
        assert 'counterfoil_stream_connected{platform="live"} 1.0' in page
        assert 'counterfoil_stream_lag_seconds_count{platform="live"}' in page
        await relied_on(settings)
        assert await daemon.stop() == 0
        assert daemon.events[-1]["clean"] is True
        assert daemon.other_lines == []


async def test_a_dead_stream_does_not_make_the_daemon_unready(sandbox, database_url, tmp_path):
    sandbox.faults.set({"kind": "error_before", "path": SOCKET, "status": 503})
    async with counterfoil("run", "-c", settings_of(tmp_path, database_url, sandbox)) as daemon:
        await daemon.says("stream.ended", times=2)
        assert (await daemon.get("/readyz")).status_code == 200
        sandbox.faults.clear()
        await streams(daemon)
        assert await daemon.stop() == 0


async def test_another_daemon_takes_over_from_one_that_was_killed(sandbox, database_url, tmp_path):
    settings = settings_of(tmp_path, database_url, sandbox)
    async with counterfoil("run", "-c", settings) as first:
        await streams(first)
        async with counterfoil("run", "-c", settings) as second:
            await second.says("daemon.ready")
            sandbox.books.trade(3)
            await follows(database_url, sandbox)
            assert second.named("stream.connected") == []
            first.send(signal.SIGKILL)
            await first.ends()
            sandbox.books.trade(3)
            await streams(second)
            sandbox.books.trade(3)
            await follows(database_url, sandbox)
            assert await second.stop() == 0


async def test_a_reload_ends_a_stream_and_begins_it(sandbox, database_url, tmp_path):
    settings = settings_of(tmp_path, database_url, sandbox)
    async with counterfoil("run", "-c", settings) as daemon:
        await streams(daemon)
        write_settings(settings, database_url, {"live": platform(sandbox.url, pull=RARE)})
        daemon.send(signal.SIGHUP)
        await daemon.says("config.reloaded")
        assert len(daemon.named("stream.closed")) == 1
        settings_of(tmp_path, database_url, sandbox)
        daemon.send(signal.SIGHUP)
        await streams(daemon, times=2)
        assert await daemon.stop() == 0
