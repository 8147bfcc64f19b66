"""How soon what a platform says is in the mirror: from an event of the WebSocket to a committed row that a reader sees.

    .venv/bin/python benchmarks/streaming.py --rate 20 --seconds 60

Starts a PostgreSQL (fsync on), a simulated platform in this process and one daemon with `stream: true`, all on this machine.
Lets the market trade so many rounds a second and measures each new deal: from the moment at which it enters the books to the
moment at which another connection reads its row. `--flood ROUNDS` lets so many rounds happen at once afterwards. Prints one
JSON object; times in milliseconds.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

import psycopg

from counterfoil.sandbox import Sandbox, SandboxOptions
from counterfoil.store.embedded import EmbeddedPostgres

SETTINGS = """
database: {{url: "{database}"}}
platforms:
  live:
    kind: omtrader
    base_url: {platform}
    username: crm-api
    password: sandbox
    stream: true
    rate_limit: {{per_second: 200, burst: 50, concurrent: 4}}
http: {{listen: "127.0.0.1:0"}}
log: {{format: json, level: debug}}
"""
# Seconds between two looks of the reader: what is measured is this much too long at most.
LOOK = 0.002


class Reader(threading.Thread):
    """Notes when each deal is first seen."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True)
        self.url = url
        self.seen: dict[int, float] = {}
        self.done = threading.Event()

    def run(self) -> None:
        # With the plan for any version that a prepared statement gets, it would read the whole table.
        with psycopg.connect(self.url, autocommit=True, prepare_threshold=None) as connection:
            version = connection.execute("SELECT coalesce(max(version), 0) FROM mirror.deals").fetchone()[0]
            while not self.done.wait(LOOK):
                rows = connection.execute(
                    "SELECT id, version FROM mirror.deals WHERE version > %s", [version]
                ).fetchall()
                at = time.monotonic()
                for key, number in rows:
                    self.seen.setdefault(key, at)
                    version = max(version, number)


def lines(log: Path, event: str) -> list[dict]:
    return [
        line
        for raw in log.read_text().splitlines()
        if event in raw
        for line in [json.loads(raw)]
        if line["event"] == event
    ]


async def until(look) -> None:
    while not look():  # noqa: ASYNC110 - a log file has no event
        await asyncio.sleep(0.05)


def figures(booked: dict[int, float], seen: dict[int, float]) -> dict:
    took = sorted((seen[key] - at) * 1000 for key, at in booked.items() if key in seen)
    cuts = statistics.quantiles(took, n=100)
    shown = {"median": statistics.median(took), "p95": cuts[94], "p99": cuts[98], "longest": took[-1]}
    return {"deals": len(took), **{name: round(value, 1) for name, value in shown.items()}}


async def measured(arguments: argparse.Namespace, url: str, folder: Path) -> dict:
    log = folder / "daemon.log"
    async with Sandbox(SandboxOptions(clients=200, accounts=400, deals=5_000)) as sandbox:
        settings = folder / "counterfoil.yaml"
        settings.write_text(SETTINGS.format(database=url, platform=sandbox.url))
        with log.open("wb") as out:
            daemon = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "counterfoil", "run", "-c", str(settings), stdout=out, stderr=out
            )
        booked: dict[int, float] = {}
        told = sandbox.books.told

        def noting(event, row) -> None:
            if event == "deals_create":
                booked[row.id] = time.monotonic()
            told(event, row)

        await until(lambda: lines(log, "stream.caught_up"))
        reader = Reader(url)
        reader.start()
        await asyncio.sleep(1)
        sandbox.books.told = noting
        sent, batches = sandbox.platform.feed.sent, len(lines(log, "stream.written"))
        ends = time.monotonic() + arguments.seconds
        while time.monotonic() < ends:
            sandbox.books.trade()
            await asyncio.sleep(1 / arguments.rate)
        await until(lambda: booked.keys() <= reader.seen.keys())
        result = {
            "events": sandbox.platform.feed.sent - sent,
            "transactions": len(lines(log, "stream.written")) - batches,
            "milliseconds": figures(booked, reader.seen),
        }
        if arguments.flood:
            booked.clear()
            sent, batches = sandbox.platform.feed.sent, len(lines(log, "stream.written"))
            sandbox.books.trade(arguments.flood)
            result["flood"] = {"events": sandbox.platform.feed.sent - sent}
            await until(lambda: booked.keys() <= reader.seen.keys())
            result["flood"] |= {
                "transactions": len(lines(log, "stream.written")) - batches,
                "milliseconds": figures(booked, reader.seen),
            }
        reader.done.set()
        daemon.terminate()
        await daemon.wait()
    return result


def main() -> None:
    options = argparse.ArgumentParser()
    options.add_argument("--rate", type=float, default=10.0)
    options.add_argument("--seconds", type=float, default=60.0)
    options.add_argument("--flood", type=int, default=0)
    arguments = options.parse_args()
    with tempfile.TemporaryDirectory() as folder, EmbeddedPostgres.start(Path(folder) / "data") as server:
        result = asyncio.run(measured(arguments, server.url, Path(folder)))
    print(json.dumps({**vars(arguments), **result}, indent=2))


if __name__ == "__main__":
    main()
