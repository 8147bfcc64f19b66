"""Whether ten times as much takes more than ten times as long: first load and quiet poll, small and big, in one run.

    .venv/bin/python benchmarks/growth.py --deals 300000,3000000 --accounts 20000,200000
    .venv/bin/python benchmarks/growth.py --quick
    .venv/bin/python benchmarks/growth.py --set shared_buffers=128MB --set max_wal_size=1GB

Starts a PostgreSQL (fsync on, settings as in `peers/measuring.py`) and platforms of both sizes (`peers/vast.py`), each a process of its
own. For each size: `counterfoil sync --resource deals` and `--resource accounts` into a fresh database, then a running daemon that
polls each while nothing has changed. The small size is measured before and after the big one, so that a machine that became busier in
between shows; its two figures are averaged. Prints two tables in markdown, with the ratio of big to small.

Time and CPU are those per 1,000 rows, without what starting the program costs: that is measured on a resource without rows. Other
programs on the machine lengthen seconds much and CPU little; what they used of it stands below. A poll of deals reads the overlap
and not the table, so it is compared as it is.
"""

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

PEERS = Path(__file__).parent / "peers"
sys.path.append(str(PEERS))

import daemon as daemons  # noqa: E402 - lies in peers
from environments import variables  # noqa: E402
from lineup import Place  # noqa: E402
from measuring import SETTINGS, Bench, Cost, Platform, Postgres, database_server  # noqa: E402

TIME, MEMORY = 1.3, 1.2  # no more than this for a ratio
PATIENCE = 3_600.0
EVERY = "500ms"
POLLS = {"deals": 20, "accounts": 5}
LOADED = ("deals", "accounts")


class Vast(Platform):
    """`peers/vast.py`, a process of its own."""

    def __init__(self, deals: int, accounts: int) -> None:
        command = [sys.executable, str(PEERS / "vast.py"), "--deals", str(deals), "--accounts", str(accounts)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.facts: dict[str, Any] = self._heard()


class Daemon(daemons.Daemon):
    """A running one, to be closed."""

    def peak(self) -> float:
        """The most memory that it has held at once, in MiB."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1_024

    @property
    def runs(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    close = daemons.Daemon.stop


def counterfoil(*words: object) -> list[str]:
    return [sys.executable, "-m", "counterfoil", *map(str, words)]


def synced(bench: Bench, place: Place, resource: str) -> tuple[Cost, float, int]:
    """One `counterfoil sync` to its end: what it cost, the seconds that its runs took, and how many rows it wrote."""
    settings = place.configure(**{resource: EVERY})
    log = place.folder / f"sync-{resource}.log"
    cost = bench.cost(counterfoil("sync", "-c", settings, "--resource", resource), variables(), log)
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    runs = [line for line in lines if line["event"] in ("pull.finished", "pull.progressed")]
    return cost, sum(run["duration"] for run in runs), sum(run["inserted"] for run in runs)


def loaded(bench: Bench, place: Place, database: str, resource: str, rows: int, start: Cost) -> dict[str, float]:
    """The first load of a resource, per 1,000 rows; `start`: what the program costs when there is nothing to read."""
    cost, seconds, inserted = synced(bench, place, resource)
    bench.postgres.settle(database)
    if inserted != rows:
        sys.exit(f"{inserted} of {rows} {resource} were loaded")
    thousands = rows / 1_000
    client = (cost.client_cpu - start.client_cpu) / thousands * 1_000
    server = (cost.postgres_cpu - start.postgres_cpu) / thousands * 1_000
    return {
        "ms per 1,000 rows": seconds / thousands * 1_000,
        "client CPU ms per 1,000 rows": client,
        "PostgreSQL CPU ms per 1,000 rows": server,
        "both CPU ms per 1,000 rows": client + server,
        "WAL bytes a row": cost.wal / rows,
        "peak memory MiB": cost.memory,
        "rows/s": rows / seconds,
        "requests": cost.requests,
        "others %": cost.others * 100,
    }


def polled(bench: Bench, place: Place, resource: str, rows: int) -> dict[str, float]:
    """A quiet poll in a running daemon, the average of several; all that the daemon does meanwhile is in it."""
    settings, log = place.configure(**{resource: EVERY}), place.folder / f"daemon-{resource}.log"
    count = POLLS[resource]
    with contextlib.closing(Daemon(settings, log)) as daemon:
        cold = daemon.take(1)[0]
        daemon.take(2)
        before = (daemon.cpu(), bench.postgres.cpu(), bench.postgres.wal())
        pulls = daemon.take(count)
        client, server, wal = (
            now - then
            for now, then in zip((daemon.cpu(), bench.postgres.cpu(), bench.postgres.wal()), before, strict=True)
        )
        peak = daemon.peak()
    if wrong := [pull for pull in pulls if pull["inserted"] or pull["changed"]]:
        sys.exit(f"nothing had changed, but the daemon wrote: {wrong[0]}")
    seen = pulls[-1]["seen"]
    if resource == "accounts" and seen < rows:  # windows overlap
        sys.exit(f"{seen} of {rows} accounts were seen")
    thousands = (rows if resource == "accounts" else 1_000) / 1_000
    return {
        "first poll ms": cold["duration"] * 1_000 / thousands,
        "ms": statistics.median(pull["duration"] for pull in pulls) * 1_000 / thousands,
        "client CPU ms": client / count * 1_000 / thousands,
        "PostgreSQL CPU ms": server / count * 1_000 / thousands,
        "both CPU ms": (client + server) / count * 1_000 / thousands,
        "peak memory MiB": peak,
        "requests": statistics.median(pull["requests"] for pull in pulls),
        "seen": seen,
        "WAL bytes": wal / count,
    }


def measured(postgres: Postgres, folder: Path, sizes: dict[str, int], name: str) -> dict[str, dict[str, float]]:
    """All steps of one size, by title; a fresh database, gone afterwards."""
    place_folder = folder / name
    place_folder.mkdir()
    with Vast(sizes["deals"], sizes["accounts"]) as platform:
        place = Place(platform.facts["url"], postgres.fresh(name), place_folder)
        bench = Bench(platform, postgres, PATIENCE)
        subprocess.run(counterfoil("migrate", "-c", place.configure(deals=EVERY)), check=True, capture_output=True)
        start = synced(bench, place, "positions")[0]
        figures = {}
        for resource in LOADED:
            figures[f"first load of {resource}"] = loaded(bench, place, name, resource, sizes[resource], start)
            told(name, f"first load of {resource}", figures)
        for resource in LOADED:
            figures[f"quiet poll of {resource}"] = polled(bench, place, resource, sizes[resource])
            told(name, f"quiet poll of {resource}", figures)
    postgres.drop(name)
    return figures


def told(name: str, step: str, figures: dict[str, dict[str, float]]) -> None:
    """Progress, for whoever waits."""
    short = {figure: round(value, 2) for figure, value in figures[step].items()}
    print(f"{time.strftime('%H:%M:%S')} {name}: {step}: {short}", file=sys.stderr)


def rows_of(small: list[dict[str, Any]], big: dict[str, Any]) -> Iterator[str]:
    """The lines of the table."""
    yield "| step | figure | small | small, again | big | big / small | bound |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for step, figures in big.items():
        for figure, value in figures.items():
            smalls = [one[step][figure] for one in small]
            base = statistics.mean(smalls)
            bound = bound_of(figure)
            ratio = value / base if base else float("nan")
            said = f"{bound}, {'kept' if ratio <= bound else 'BROKEN'}" if bound else ""
            shown = " | ".join(f"{one:,.1f}" for one in (*smalls, value))
            yield f"| {step} | {figure} | {shown} | {ratio:.2f} | {said} |"


def bound_of(figure: str) -> float | None:
    if "peak memory" in figure:
        return MEMORY
    return TIME if figure.startswith(("ms", "both")) else None


def sizes_of(text: str) -> tuple[int, int]:
    small, big = text.split(",")
    return int(small), int(big)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--deals", type=sizes_of, default=(300_000, 3_000_000), help="small,big")
    parser.add_argument("--accounts", type=sizes_of, default=(20_000, 200_000), help="small,big")
    parser.add_argument("--quick", action="store_true", help="20,000 and 200,000 deals, 2,000 and 20,000 accounts")
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="another setting of PostgreSQL"
    )
    plan = parser.parse_args()
    deals, accounts = ((20_000, 200_000), (2_000, 20_000)) if plan.quick else (plan.deals, plan.accounts)
    settings = SETTINGS | dict(one.split("=", 1) for one in plan.set)
    small, big = ({"deals": deals[n], "accounts": accounts[n]} for n in (0, 1))
    with tempfile.TemporaryDirectory(prefix="counterfoil-bench-") as folder, database_server(settings) as postgres:
        first = measured(postgres, Path(folder), small, "small")
        large = measured(postgres, Path(folder), big, "big")
        again = measured(postgres, Path(folder), small, "small_again")
    print(f"small: {small}, big: {big}; load of the machine: {[round(one, 1) for one in psutil.getloadavg()]}\n")
    print("\n".join(rows_of([first, again], large)))


if __name__ == "__main__":
    main()
