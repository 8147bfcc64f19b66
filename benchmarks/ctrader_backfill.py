"""How fast the closing deals of a cTrader platform are read for the first time, and whether every one of them arrives.

    .venv/bin/python benchmarks/ctrader_backfill.py --accounts 20000 --deals 1000000

Starts a PostgreSQL (fsync on) and a simulated platform, each a process of its own, and runs `counterfoil sync` for the accounts and
then for the deals; prints one JSON object. With `--positions` the open positions are read before the deals, as a first pass does;
then the positions that are over are added with their deals. The count of the deals and the sum of their results by currency are compared with the
platform's own books; a difference ends it with an error.
"""

import argparse
import asyncio
import contextlib
import json
import os
import sys
import tempfile
import time
import urllib.request
from decimal import Decimal
from pathlib import Path

import psycopg

from counterfoil.store.embedded import EmbeddedPostgres

SETTINGS = """
database: {{url: "{database}"}}
platforms:
  live:
    kind: ctrader
    base_url: {platform}
    manager_login: 2309
    password: sandbox
    broker_name: BESTBROKER
    environment_name: live
    rate_limit: {{per_second: 1000, burst: 1000, concurrent: 16}}
http: {{listen: "127.0.0.1:0"}}
log: {{format: json, level: info}}
"""
SUMS = """
    SELECT a.currency, count(*), sum(d.profit) FROM mirror.deals d
    JOIN mirror.accounts a ON a.platform = d.platform AND a.id = d.account_id
    WHERE d.deleted_at IS NULL GROUP BY 1 ORDER BY 1
"""


async def started(arguments: list[str], folder: Path, name: str) -> asyncio.subprocess.Process:
    log = (folder / name).open("wb")
    return await asyncio.create_subprocess_exec(sys.executable, "-m", "counterfoil", *arguments, stdout=log, stderr=log)


async def said(path: Path, words: str) -> str:
    while True:
        for line in path.read_text().splitlines():  # noqa: ASYNC240 - a short file, before anything is timed
            if words in line:
                return line
        await asyncio.sleep(0.2)


def _waited(pid: int) -> tuple[int, int]:
    """The exit code of a child, and the most memory that it held at once, in KiB."""
    _, status, usage = os.wait4(pid, 0)
    return os.waitstatus_to_exitcode(status), usage.ru_maxrss


def synced(settings: Path, folder: Path, resource: str) -> dict[str, object]:
    """One `counterfoil sync` of one resource to its end."""
    log = folder / f"sync-{resource}"
    arguments = [sys.executable, "-m", "counterfoil", "sync", "-c", str(settings), "--resource", resource]
    begun = time.perf_counter()
    with log.open("wb") as out:
        pid = os.posix_spawn(
            sys.executable,
            arguments,
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, out.fileno(), fd) for fd in (1, 2)],
        )
    code, memory = _waited(pid)
    took = time.perf_counter() - begun
    if code:
        sys.exit(f"sync of {resource} ended with {code}: {log.read_text()[-2000:]}")
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    runs = [line for line in lines if line["event"] in ("pull.finished", "pull.progressed")]
    rows = sum(line["inserted"] for line in runs)
    return {
        "rows": rows,
        "seconds": round(took, 1),
        "rows_per_second": round(rows / sum(line["duration"] for line in runs)),
        "requests": sum(line["requests"] for line in runs),
        "peak_memory_mib": memory // 1024,
    }


def compared(url: str, platform: str) -> list[str]:
    """Where the mirror's deals are not those of the books."""
    with urllib.request.urlopen(f"{platform}/_sandbox/books") as answer:  # noqa: S310 - our own, on this machine
        books = json.load(answer)["deals"]
    with psycopg.connect(url) as connection:
        held = connection.execute(SUMS).fetchall()
    sums = {currency: total for currency, _, total in held}
    wrong = [] if (count := sum(row[1] for row in held)) == books["count"] else [f"{count} of {books['count']} deals"]
    true = {currency: Decimal(text) for currency, text in books["pnl"].items()}
    return wrong if sums == true else [*wrong, f"the results are {sums}, not {true}"]


async def measure(plan: argparse.Namespace, url: str, folder: Path) -> dict[str, object]:
    wanted = ["--clients", "100", "--accounts", str(plan.accounts), "--deals", str(plan.deals)]
    platform = await started(["sandbox", "--kind", "ctrader", "--port", "0", *wanted], folder, "platform")
    try:
        address = (await said(folder / "platform", "listening on ")).partition("listening on ")[2].split()[0]
        settings = folder / "settings.yaml"
        settings.write_text(SETTINGS.format(database=url, platform=address))
        found = {}
        for resource in ("symbols", "accounts", *(["positions"] if plan.positions else []), "deals"):
            found[resource] = await asyncio.to_thread(synced, settings, folder, resource)
        wrong = await asyncio.to_thread(compared, url, address)
        if wrong:
            sys.exit(f"the mirror is wrong: {wrong}")
        return {**found, "verified": True}
    finally:
        with contextlib.suppress(ProcessLookupError):
            platform.terminate()
        await platform.wait()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--accounts", type=int, default=20_000)
    parser.add_argument("--deals", type=int, default=1_000_000)
    parser.add_argument("--positions", action="store_true", help="read the open positions first, as a first pass does")
    plan = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="counterfoil-bench-") as folder, EmbeddedPostgres.start() as server:
        print(json.dumps(asyncio.run(measure(plan, server.url, Path(folder)))))


if __name__ == "__main__":
    main()
