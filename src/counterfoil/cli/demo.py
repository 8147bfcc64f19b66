"""`counterfoil demo`: a database, a simulated platform and the daemon, with a live view of what arrives."""

import asyncio
import contextlib
import json
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import click
import httpx
from cryptography.fernet import Fernet
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from counterfoil.cli.demo_crm import DemoCrm, summary
from counterfoil.cli.options import DONE
from counterfoil.domain.errors import TransientError
from counterfoil.store import engine, report
from counterfoil.store.embedded import EmbeddedPostgres

CLIENTS, ACCOUNTS, DEALS = 1_000, 2_000, 50_000
PER_SECOND = 100
# A group of the simulated platform that takes accounts.
GROUP = 10
SETTINGS = """\
database: {{url: "{database}"}}
platforms:
  demo:
    kind: omtrader
    base_url: {platform}
    username: crm-api
    password: sandbox
    rate_limit: {{per_second: {per_second}, burst: 20, concurrent: 6}}
    pull:
      positions: {{every: 2s}}
      deals: {{every: 2s}}
      orders: {{every: 3s}}
      accounts: {{every: 5s}}
      transactions: {{every: 5s}}
      clients: {{every: 10s}}
      groups: {{every: 30s}}
      symbols: {{every: 30s}}
      commissions: {{every: 30s}}
      group_symbols: {{every: 30s}}
    account_defaults: {{group_id: {group}}}
crm: {{encryption_key: "{key}", platform_choice: demo, allow_sandbox_payouts: true}}
http: {{listen: "127.0.0.1:0"}}
log: {{format: json, level: info}}
"""
# Seconds: between two looks, until a part must have started, and until it must have ended before it is killed.
LOOK, START, END = 0.5, 60.0, 30.0
# Seconds between two doings of the CRM.
ACT = 1.0


@click.command()
@click.option("--seconds", type=click.FloatRange(1), help="End by itself after so long.")
def demo(seconds: float | None) -> int:
    """Try everything at once with no settings; Ctrl-C ends it and leaves nothing behind."""
    console = Console(highlight=False)
    with tempfile.TemporaryDirectory(prefix="counterfoil-demo-") as folder:
        console.print("starting PostgreSQL …")
        with EmbeddedPostgres.start(durable=False) as server:
            console.print("look for yourself, in another terminal:")
            console.print(f"  {server.psql}", soft_wrap=True, markup=False)
            asyncio.run(_demo(console, server.url, Path(folder), seconds))
    console.print("ended; nothing is left behind")
    return DONE


async def _demo(console: Console, url: str, folder: Path, seconds: float | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    if seconds is not None:
        loop.call_later(seconds, stop.set)
    console.print(f"starting a simulated platform with {ACCOUNTS:,} accounts and {DEALS:,} deals, and the daemon …")
    size = ["--clients", str(CLIENTS), "--accounts", str(ACCOUNTS), "--deals", str(DEALS), "--tick", "1"]
    async with (
        _child("sandbox", ["--port", "0", *size], folder) as platform,
        _Ended(platform) as platform_ended,
    ):
        line = await _until_said(platform, folder / "sandbox.log", "listening on ", stop)
        if line is None:
            return
        settings = folder / "counterfoil.yaml"
        settings.touch(0o600)
        address = line.partition("listening on ")[2].split()[0]
        key = Fernet.generate_key().decode()
        settings.write_text(
            SETTINGS.format(database=url, platform=address, per_second=PER_SECOND, group=GROUP, key=key)
        )
        async with _child("run", ["-c", str(settings)], folder) as daemon, _Ended(daemon) as daemon_ended:
            said = await _until_said(daemon, folder / "run.log", '"http.listening"', stop)
            if said is not None:
                view = _View(url, f"http://127.0.0.1:{json.loads(said)['port']}/metrics")
                await _show(console, view, stop, (platform_ended, daemon_ended), folder)


class _Ended:
    """A task that ends when a child does."""

    def __init__(self, child: asyncio.subprocess.Process) -> None:
        self._child = child

    async def __aenter__(self) -> "asyncio.Task[int]":
        self._task = asyncio.create_task(self._child.wait())
        return self._task

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()


@contextlib.asynccontextmanager
async def _child(command: str, arguments: list[str], folder: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """A counterfoil process in a session of its own, so that Ctrl-C reaches it through us, in order."""
    with (folder / f"{command}.log").open("wb") as log:
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "counterfoil", command, *arguments,
            stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    try:
        yield child
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.terminate()
        try:
            await asyncio.wait_for(child.wait(), END)
        except TimeoutError:
            child.kill()
            await child.wait()


async def _until_said(child: asyncio.subprocess.Process, log: Path, words: str, stop: asyncio.Event) -> str | None:
    """The line of a child's output with these words; None when we are told to stop first.

    Raises:
        TransientError: the child ended, or did not say it in time.
    """
    deadline = time.monotonic() + START
    while not stop.is_set() and time.monotonic() < deadline:
        for line in _lines(log):
            if words in line:
                return line
        if child.returncode is not None:
            break
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), 0.05)
    if stop.is_set():
        return None
    raise TransientError(f"a part of the demo did not start: {_last_line(log)}")


def _lines(log: Path) -> list[str]:
    return log.read_text(errors="replace").strip().splitlines()


def _last_line(log: Path) -> str:
    lines = _lines(log)
    return lines[-1][:300] if lines else "it said nothing"


async def _show(
    console: Console, view: "_View", stop: asyncio.Event, ended: tuple["asyncio.Task[int]", ...], folder: Path
) -> None:
    stopped = asyncio.create_task(stop.wait())
    with (
        Live(console=console, refresh_per_second=4, transient=False) if console.is_terminal else _Lines(console) as live
    ):
        while not stop.is_set():
            await view.look()
            live.update(view.table())
            done, _ = await asyncio.wait((stopped, *ended), timeout=LOOK, return_when=asyncio.FIRST_COMPLETED)
            if done - {stopped}:
                stopped.cancel()
                raise TransientError(f"a part of the demo ended by itself: {_last_line(folder / 'run.log')}")
    await view.close()


class _Lines:
    """What a live view becomes where there is no terminal: a line every few seconds."""

    EVERY = 2.0

    def __init__(self, console: Console) -> None:
        self._console = console
        self._next = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def update(self, shown: "_Shown") -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + self.EVERY
            self._console.print(shown.line, soft_wrap=True)


@dataclass(slots=True)
class _Shown:
    """One look, as a table and as a line."""

    table: Group
    line: str

    def __rich__(self) -> Group:
        return self.table


@dataclass(slots=True)
class _View:
    """What the database and the daemon's metrics say."""

    url: str
    metrics_url: str
    begun: float = field(default_factory=time.monotonic)
    first_row_after: float | None = None
    rows: dict[str, int] = field(default_factory=dict)
    first: dict[str, int] = field(default_factory=dict)
    ages: dict[str, float] = field(default_factory=dict)
    requests: Mapping[str, float] = field(default_factory=dict)
    rate: float = 0.0
    _before: tuple[float, float] = (0.0, 0.0)
    crm: DemoCrm = field(default_factory=DemoCrm)
    crm_line: str = ""
    _engine: AsyncEngine | None = None
    _acted: float = 0.0

    async def look(self) -> None:
        """Read everything once; a part that does not answer yet is asked again at the next look."""
        self._engine = self._engine or engine.create(self.url, pool_size=1)
        with contextlib.suppress(SQLAlchemyError, OSError):
            self.rows = await report.rows(self._engine)
            found = await report.read(self._engine)
            self.ages = {row.resource: row.age.total_seconds() for row in found.resources if row.age is not None}
        if time.monotonic() - self._acted >= ACT:
            self._acted = time.monotonic()
            await self.crm.act(self._engine)
        with contextlib.suppress(SQLAlchemyError, OSError):
            self.crm_line = await summary(self._engine)
        if self.first_row_after is None and any(self.rows.values()):
            self.first_row_after = time.monotonic() - self.begun
        with contextlib.suppress(httpx.HTTPError):
            async with httpx.AsyncClient(trust_env=False) as client:
                self._count((await client.get(self.metrics_url)).text)

    def _count(self, text: str) -> None:
        by_resource: dict[str, float] = {}
        total = 0.0
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == "counterfoil_pull_requests_total":
                    by_resource[sample.labels["resource"]] = sample.value
                elif sample.name == "counterfoil_requests_total":
                    total += sample.value
        now = time.monotonic()
        before, at = self._before
        if now - at >= 1:
            self.rate = max(0.0, (total - before) / (now - at)) if at else 0.0
            self._before = (total, now)
        self.requests = by_resource

    def table(self) -> _Shown:
        """One look, ready to print."""
        table = Table(box=None, pad_edge=False)
        table.add_column("mirror.", justify="left")
        for heading in ("rows", "arriving", "seconds old", "requests"):
            table.add_column(heading, justify="right")
        for name, rows in self.rows.items():
            arriving = rows - self.first.setdefault(name, rows)
            age = self.ages.get(name)
            table.add_row(
                name,
                f"{rows:,}",
                f"+{arriving:,}" if arriving else "",
                "" if age is None else f"{age:.0f}",
                f"{self.requests.get(name, 0):,.0f}",
            )
        budget = f"requests: {self.rate:.0f} of {PER_SECOND} a second"
        first = "" if self.first_row_after is None else f"; first row after {self.first_row_after:.1f} s"
        line = ", ".join(f"{name} {rows:,}" for name, rows in self.rows.items() if rows)
        shown = Group(table, Text(self.crm_line), Text(budget + first + "; Ctrl-C ends it"))
        return _Shown(shown, "; ".join(filter(None, (line or "nothing yet", self.crm_line, budget))))

    async def close(self) -> None:
        """Let the database go."""
        if self._engine is not None:
            await self._engine.dispose()
