"""`counterfoil demo`: a database, two simulated platforms and the daemon, with a live view of what arrives."""

import asyncio
import contextlib
import json
import signal
import tempfile
from pathlib import Path

import click
from cryptography.fernet import Fernet
from rich.console import Console
from rich.live import Live

from counterfoil.cli.demo_parts import Ended, child, last_line, until_said
from counterfoil.cli.demo_view import Lines, View
from counterfoil.cli.options import DONE
from counterfoil.domain.errors import TransientError
from counterfoil.store.embedded import EmbeddedPostgres
from counterfoil.store.embedded_process import Guard

OMTRADER, CTRADER = "omtrader-demo", "ctrader-demo"
# Clients, accounts and deals before the demo begins. The second platform tells its past by spans of two days and its
# sub-accounts one owner at a time: with few accounts that takes seconds.
SIZES = {OMTRADER: (1_000, 2_000, 50_000), CTRADER: (150, 300, 6_000)}
PER_SECOND = 100
SETTINGS = """\
database: {{url: "{database}"}}
platforms:
  omtrader-demo:
    kind: omtrader
    base_url: {omtrader}
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
    # A group of the simulated platform that takes accounts.
    account_defaults: {{group_id: 10}}
  ctrader-demo:
    kind: ctrader
    base_url: {ctrader}
    manager_login: 2309
    password: sandbox
    broker_name: BESTBROKER
    environment_name: live
    rate_limit: {{per_second: {per_second}, burst: 20, concurrent: 6, writes_per_hour: 100000}}
    pull:
      positions: {{every: 2s}}
      deals: {{every: 2s}}
      accounts: {{every: 3s}}
      transactions: {{every: 3s}}
      clients: {{every: 5s}}
      subaccounts: {{every: 15s}}
      groups: {{every: 30s}}
      symbols: {{every: 30s}}
      deposit_assets: {{every: 30s}}
    account_defaults: {{groupName: default, depositCurrency: EUR, leverageInCents: 10000}}
crm: {{encryption_key: "{key}", platform_choice: required, allow_sandbox_payouts: true}}
http: {{listen: "127.0.0.1:0"}}
log: {{format: json, level: info}}
"""
# Seconds between two looks.
LOOK = 0.5


@click.command()
@click.option("--seconds", type=click.FloatRange(1), help="End by itself after so long.")
def demo(seconds: float | None) -> int:
    """Try everything at once with no settings; Ctrl-C ends it and leaves nothing behind."""
    console = Console(highlight=False)
    folder = Path(tempfile.mkdtemp(prefix="counterfoil-demo-"))
    with contextlib.closing(Guard(folder)):
        console.print("starting PostgreSQL …")
        with EmbeddedPostgres.start(durable=False) as server:
            console.print("look for yourself, in another terminal:")
            console.print(f"  {server.psql}", soft_wrap=True, markup=False)
            asyncio.run(_demo(console, server.url, folder, seconds))
    console.print("ended; nothing is left behind")
    return DONE


async def _demo(console: Console, url: str, folder: Path, seconds: float | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    if seconds is not None:
        loop.call_later(seconds, stop.set)
    console.print("starting two simulated platforms and the daemon:")
    for name, (_, accounts, deals) in SIZES.items():
        console.print(f"  {name}: {accounts:,} accounts, {deals:,} deals", markup=False)
    async with contextlib.AsyncExitStack() as parts:
        # Both at once: making up a past takes a moment.
        platforms = {name: await parts.enter_async_context(child(name, _sandbox(name), folder)) for name in SIZES}
        ended = [await parts.enter_async_context(Ended(platform)) for platform in platforms.values()]
        addresses = {}
        for name, platform in platforms.items():
            said = await until_said(platform, folder / f"{name}.log", "listening on ", stop)
            if said is None:
                return
            addresses[name] = said.partition("listening on ")[2].split()[0]
        settings = _write_settings(folder, url, addresses)
        daemon = await parts.enter_async_context(child("daemon", ["run", "-c", str(settings)], folder))
        ended.append(await parts.enter_async_context(Ended(daemon)))
        said = await until_said(daemon, folder / "daemon.log", '"http.listening"', stop)
        if said is not None:
            view = View(url, f"http://127.0.0.1:{json.loads(said)['port']}/metrics", (OMTRADER, CTRADER), PER_SECOND)
            await _show(console, view, stop, ended, folder)


def _sandbox(name: str) -> list[str]:
    """The command that simulates a platform of the demo."""
    kind = name.partition("-")[0]
    options = zip(("--clients", "--accounts", "--deals"), map(str, SIZES[name]), strict=True)
    return ["sandbox", "--kind", kind, "--port", "0", "--tick", "1", *(word for pair in options for word in pair)]


def _write_settings(folder: Path, url: str, addresses: dict[str, str]) -> Path:
    settings = folder / "counterfoil.yaml"
    settings.touch(0o600)
    key = Fernet.generate_key().decode()
    where = {"omtrader": addresses[OMTRADER], "ctrader": addresses[CTRADER]}
    settings.write_text(SETTINGS.format(database=url, per_second=PER_SECOND, key=key, **where))
    return settings


async def _show(
    console: Console, view: View, stop: asyncio.Event, ended: list["asyncio.Task[int]"], folder: Path
) -> None:
    stopped = asyncio.create_task(stop.wait())
    with (
        Live(console=console, refresh_per_second=4, transient=False) if console.is_terminal else Lines(console) as live
    ):
        while not stop.is_set():
            await view.look()
            live.update(view.shown())
            done, _ = await asyncio.wait((stopped, *ended), timeout=LOOK, return_when=asyncio.FIRST_COMPLETED)
            if done - {stopped}:
                stopped.cancel()
                raise TransientError(f"a part of the demo ended by itself: {last_line(folder / 'daemon.log')}")
    await view.close()
