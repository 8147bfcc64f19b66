"""The product as its users start it: a process, its log lines, its signals."""

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import httpx
import yaml

PATIENCE = 60.0

# Everything often, so that a test sees in seconds what a broker sees in minutes.
QUICK = {
    "positions": {"every": "1s"},
    "deals": {"every": "1s"},
    "orders": {"every": "1s"},
    "accounts": {"every": "1s"},
    "transactions": {"every": "1s"},
    "clients": {"every": "1s"},
    "groups": {"every": "2s"},
    "symbols": {"every": "2s"},
    "commissions": {"every": "2s"},
    "group_symbols": {"every": "2s"},
    "sweep": "off",
}


def platform(url: str, **changes: object) -> dict[str, object]:
    """Settings of one simulated platform."""
    return {
        "kind": "omtrader",
        "base_url": url,
        "username": "crm-api",
        "password": "sandbox",
        "timeout": "5s",
        "rate_limit": {"per_second": 500, "burst": 100, "concurrent": 6},
        "pull": QUICK,
        **changes,
    }


def write_settings(path: Path, database: str, platforms: Mapping[str, object], **further: object) -> Path:
    """A settings file; json is yaml."""
    content = {
        "database": {"url": database},
        "platforms": platforms,
        "http": {"listen": "127.0.0.1:0"},
        "log": {"format": "json", "level": "debug"},
        **further,
    }
    path.write_text(yaml.safe_dump(content))
    return path


class Process:
    """A running `counterfoil`, whose log lines are read as they come."""

    def __init__(self, child: asyncio.subprocess.Process) -> None:
        self._child = child
        self.events: list[dict[str, object]] = []
        self.other_lines: list[str] = []
        self._news = asyncio.Condition()
        self._reader = asyncio.create_task(self._read())

    @property
    def pid(self) -> int:
        return self._child.pid

    async def _read(self) -> None:
        assert self._child.stderr is not None
        async for raw in self._child.stderr:
            line = raw.decode().rstrip()
            async with self._news:
                try:
                    self.events.append(json.loads(line))
                except json.JSONDecodeError:
                    self.other_lines.append(line)
                self._news.notify_all()
        async with self._news:
            self._news.notify_all()

    def named(self, name: str, **fields: object) -> list[dict[str, object]]:
        """The events so far of this name and with these fields."""
        return [
            event
            for event in list(self.events)
            if event.get("event") == name and all(event.get(key) == value for key, value in fields.items())
        ]

    async def says(self, name: str, *, times: int = 1, **fields: object) -> dict[str, object]:
        """Wait for the n-th event of this name and with these fields, counted from the start."""

        def heard() -> bool:
            return len(self.named(name, **fields)) >= times or self._reader.done()

        async with self._news:
            try:
                await asyncio.wait_for(self._news.wait_for(heard), PATIENCE)
            except TimeoutError:
                like = [event for event in self.events if all(event.get(key) == fields[key] for key in fields)]
                raise AssertionError(f"no {name} {fields}; but of these fields: {like[-8:]}") from None
        found = self.named(name, **fields)
        assert len(found) >= times, f"ended without {name} {fields}: {self.events[-5:]} {self.other_lines[-5:]}"
        return found[times - 1]

    async def says_again(self, name: str, **fields: object) -> dict[str, object]:
        """Wait for one more event like those so far."""
        return await self.says(name, times=len(self.named(name, **fields)) + 1, **fields)

    def send(self, number: signal.Signals) -> None:
        self._child.send_signal(number)

    async def ends(self) -> int:
        """Wait for the end; returns the exit code."""
        code = await asyncio.wait_for(self._child.wait(), PATIENCE)
        await self._reader
        return code

    async def stop(self) -> int:
        """Tell it to end, and wait."""
        self.send(signal.SIGTERM)
        return await self.ends()

    async def get(self, path: str) -> httpx.Response:
        """Ask its HTTP port."""
        port = (await self.says("http.listening"))["port"]
        async with httpx.AsyncClient(trust_env=False, timeout=10) as client:
            return await client.get(f"http://127.0.0.1:{port}{path}")


@contextlib.asynccontextmanager
async def counterfoil(*arguments: object) -> AsyncIterator[Process]:
    """Start it; it is killed at the latest when the test ends."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "counterfoil", *map(str, arguments),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    process = Process(child)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()
        await process._reader


async def outcome(*arguments: object) -> tuple[int, str, str]:
    """Run it to its end; exit code, output, errors."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "counterfoil", *map(str, arguments),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await asyncio.wait_for(child.communicate(), PATIENCE)
    assert child.returncode is not None
    return child.returncode, out.decode(), err.decode()
