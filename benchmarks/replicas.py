"""What several daemons on one database are together: how fast they read four platforms, and whether any platform is asked too often.

    .venv/bin/python benchmarks/replicas.py --deals 50000 --seconds 90
    .venv/bin/python benchmarks/replicas.py --replicas 1,2,4,8 --per-second 50 --burst 10

Starts a PostgreSQL (fsync on) and four platforms (`peers/vast.py`), each a process of its own, and for each number of replicas so many
`counterfoil run` on a fresh database.

First, with a budget that never holds them back, they read the deals of all four platforms for the first time: rows a second from the
first request to the last row, CPU (that of starting a replica is in it), which share of the rows each replica wrote, and how much of
the time somebody waited for the lock under which versions are drawn. Once `together`, where each knows all platforms and leases decide,
and once `apart`, where each knows its own share of them: what replicas could reach if leases were always spread evenly.

Then, within a small budget and with pages of a few rows, they poll seven resources of each platform: hungry (all the time, so that each
wants more than it may have), and in gusts (with pauses in which the budget fills up). The platforms note when each request came, logins
included. In no window of 1 s or 10 s may there be more than `burst + per_second * window`. When there are, it ends with exit code 1.
Prints two tables in markdown.
"""

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg
from cryptography.fernet import Fernet

PEERS = Path(__file__).parent / "peers"
sys.path.append(str(PEERS))

from environments import variables  # noqa: E402 - lies in peers
from growth import Daemon, Vast, counterfoil  # noqa: E402
from lineup import RESOURCES  # noqa: E402
from measuring import SETTINGS, Postgres, database_server  # noqa: E402

PLATFORMS = 4
FEW = 1_000  # deals and accounts where requests are counted: some 80 small pages for a poll of everything
WINDOWS = (1.0, 10.0)
PATIENCE = 600.0
LOOK = 0.02
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND wait_event = 'advisory'"
POLLED = ("accounts", "deals", "clients", "groups", "symbols", "positions", "orders")
SMALL_PAGE = 20
HURRY = 2  # seconds in which hungry daemons want everything again
HUNGRY, GUSTS = "hungry", "in gusts"
TOGETHER, APART = "together", "apart"


@dataclass(frozen=True)
class Budget:
    """What each platform may be asked."""

    per_second: int = 1_000
    burst: int = 1_000
    concurrent: int = 16

    def most(self, window: float) -> int:
        """Requests in so many seconds."""
        return int(self.burst + self.per_second * window)


@dataclass(frozen=True)
class Stage:
    """Where daemons work: the platforms, the database server, and a folder for settings and logs."""

    platforms: list[Vast]
    postgres: Postgres
    folder: Path

    def configure(
        self, name: str, budget: Budget, page_size: int, pulls: dict[str, str], shares: int = 1
    ) -> list[Path]:
        """Settings for a fresh database that is migrated already; several, each with its share of the platforms."""
        limits = {"per_second": budget.per_second, "burst": budget.burst, "concurrent": budget.concurrent}
        wanted = {one: {"every": pulls[one]} if one in pulls else "off" for one in RESOURCES}
        common = {"kind": "omtrader", "username": "crm-api", "password": "sandbox", "push": False}
        common |= {"page_size": page_size, "rate_limit": limits, "pull": wanted}
        platforms = [(f"p{n}", common | {"base_url": one.facts["url"]}) for n, one in enumerate(self.platforms)]
        settings: dict[str, object] = {
            "database": {"url": self.postgres.fresh(name)},
            "crm": {"encryption_key": Fernet.generate_key().decode()},
            "http": {"listen": "127.0.0.1:0"},
            "log": {"format": "json", "level": "info"},
        }
        paths = [self.folder / f"{name}-{share}.yaml" for share in range(shares)]
        for share, path in enumerate(paths):
            path.write_text(json.dumps(settings | {"platforms": dict(platforms[share::shares])}))  # as good as YAML
        subprocess.run(counterfoil("migrate", "-c", paths[0]), check=True, capture_output=True, env=variables())
        return paths

    @contextlib.contextmanager
    def daemons(self, name: str, settings: list[Path]) -> Iterator[tuple[list[Daemon], list[Path]]]:
        """Replicas with these settings, and their logs."""
        for platform in self.platforms:
            platform.ask("times")
        given = {self.folder / f"{name}-{number}.log": path for number, path in enumerate(settings)}
        with contextlib.ExitStack() as stack:
            daemons = [stack.enter_context(contextlib.closing(Daemon(path, log))) for log, path in given.items()]
            yield daemons, list(given)
        self.postgres.drop(name)


class Looker(threading.Thread):
    """Looks how often somebody waits for the lock on versions."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self._url, self._done = url, threading.Event()
        self.looks = self.waiting = 0

    def run(self) -> None:
        with psycopg.connect(self._url, autocommit=True) as connection:
            while not self._done.wait(LOOK):
                self.looks += 1
                self.waiting += connection.execute(WAITING).fetchone()[0] > 0

    def share(self) -> float:
        """Of all looks, and the end of them."""
        self._done.set()
        self.join()
        return self.waiting / max(1, self.looks)


def events(log: Path, *names: str) -> list[dict[str, Any]]:
    """What a daemon has said so far."""
    lines = log.read_bytes().split(b"\n")[:-1]
    return [told for line in lines if line.startswith(b"{") and (told := json.loads(line))["event"] in names]


def until(done: Callable[[], bool], daemons: list[Daemon]) -> None:
    give_up = time.monotonic() + PATIENCE
    while not done():
        if time.monotonic() > give_up or not all(daemon.runs for daemon in daemons):
            sys.exit("the daemons did not get through")
        time.sleep(LOOK)


def read_first(stage: Stage, replicas: int, deals: int, how: str) -> dict[str, str]:
    """The first reading of all platforms' deals."""
    name = f"reading_{how}{replicas}"
    settings = stage.configure(name, Budget(), 1_000, {"deals": "1s"}, replicas if how == APART else 1)
    settings = settings * (replicas // len(settings))
    looker = Looker(stage.postgres.url(name))
    server = stage.postgres.cpu()
    with stage.daemons(name, settings) as (daemons, logs):
        looker.start()

        def everything() -> bool:
            return len({told["platform"] for log in logs for told in events(log, "pull.finished")}) == PLATFORMS

        until(everything, daemons)
        ended = time.monotonic()
        waiting, client = looker.share(), sum(daemon.cpu() for daemon in daemons)
        server = stage.postgres.cpu() - server
        shares = [sum(one["inserted"] for one in events(log, "pull.finished", "pull.progressed")) for log in logs]
        with psycopg.connect(stage.postgres.url(name)) as connection:
            rows = connection.execute("SELECT count(*) FROM mirror.deals").fetchone()[0]
    if rows != deals * PLATFORMS:
        sys.exit(f"{rows} of {deals * PLATFORMS} deals were read")
    begun = min(at for platform in stage.platforms for at in platform.ask("times")["times"])
    seconds = ended - begun
    return {
        "replicas": str(replicas),
        "how": how,
        "rows/s": f"{rows / seconds:,.0f}",
        "replicas' CPU ms per 1,000 rows": f"{client / rows * 1e6:.1f}",
        "PostgreSQL CPU ms per 1,000 rows": f"{server / rows * 1e6:.1f}",
        "share of each replica": ", ".join(f"{share / rows:.0%}" for share in shares),
        "waiting for the lock": f"{waiting:.0%}",
    }


def busiest(times: list[float], window: float) -> int:
    """The most requests in any window of so many seconds."""
    most = first = 0
    for last, at in enumerate(times):
        while times[first] < at - window:
            first += 1
        most = max(most, last - first + 1)
    return most


def asked(
    stage: Stage, replicas: int, budget: Budget, manner: str, plan: argparse.Namespace
) -> tuple[dict[str, str], bool]:
    """How often platforms are asked when replicas want more than they may have; and whether that was within the budget."""
    name = f"asking{replicas}{'g' if manner == GUSTS else 'h'}"
    every = f"{HURRY if manner == HUNGRY else plan.pause}s"
    settings = stage.configure(name, budget, SMALL_PAGE, dict.fromkeys(POLLED, every))
    with stage.daemons(name, settings * replicas) as (daemons, logs):
        until(lambda: all(events(log, "daemon.ready") for log in logs), daemons)
        time.sleep(plan.seconds)
        told = [platform.ask("times") for platform in stage.platforms]
        failed = Counter(str(one["reason"])[:60] for log in logs for one in events(log, "pull.failed"))
    if failed:
        print(f"{name}: pulls failed: {failed}", file=sys.stderr)
    journals = [sorted(one["times"]) for one in told]
    most = {window: max(busiest(times, window) for times in journals) for window in WINDOWS}
    within = all(count <= budget.most(window) for window, count in most.items())
    spans = [times[-1] - times[0] for times in journals]
    used = sum(map(len, journals)) / (sum(spans) * budget.per_second)
    return {
        "replicas": str(replicas),
        "manner": manner,
        "requests": f"{sum(map(len, journals)):,}",
        "of the rate used": f"{used:.0%}",
        **{f"most in {window:g} s (allowed {budget.most(window)})": str(count) for window, count in most.items()},
        "within the budget": "yes" if within else "NO",
    }, within


def table(rows: list[dict[str, str]]) -> str:
    """In markdown."""
    lines = [list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def stage_of(stack: contextlib.ExitStack, postgres: Postgres, deals: int, accounts: int) -> Stage:
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="counterfoil-bench-")))
    return Stage([stack.enter_context(Vast(deals, accounts)) for _ in range(PLATFORMS)], postgres, folder)


def measure(plan: argparse.Namespace, postgres: Postgres) -> bool:
    with contextlib.ExitStack() as stack:
        stage = stage_of(stack, postgres, plan.deals, FEW)
        ways = [(count, how) for count in plan.replicas for how in (TOGETHER, APART) if count > 1 or how == TOGETHER]
        print(table([read_first(stage, count, plan.deals, how) for count, how in ways]), flush=True)
    with contextlib.ExitStack() as stack:
        stage = stage_of(stack, postgres, FEW, FEW)
        budget = Budget(plan.per_second, plan.burst, plan.concurrent)
        askings = [asked(stage, count, budget, how, plan) for count in plan.replicas for how in (HUNGRY, GUSTS)]
        print(f"\n{table([row for row, _ in askings])}\n\nload of the machine: {psutil.getloadavg()[0]:.1f}")
    return all(within for _, within in askings)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--replicas", type=lambda text: [int(one) for one in text.split(",")], default=[1, 2, 4])
    parser.add_argument("--deals", type=int, default=50_000, help="of each platform")
    parser.add_argument("--per-second", type=int, default=5)
    parser.add_argument("--burst", type=int, default=10)
    parser.add_argument("--concurrent", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=90.0, help="for which they are watched")
    parser.add_argument("--pause", type=int, default=25, help="seconds between two gusts")
    plan = parser.parse_args()
    with database_server(SETTINGS | {"max_connections": "200"}) as postgres:
        within = measure(plan, postgres)
    sys.exit(0 if within else 1)


if __name__ == "__main__":
    main()
