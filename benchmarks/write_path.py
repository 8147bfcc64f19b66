"""How fast money moves: operations a second end to end, and the time from `crm.withdraw` to confirmed.

    .venv/bin/python benchmarks/write_path.py --daemons 1 --operations 2000

Starts a PostgreSQL (fsync on), a simulated platform and the daemons, each a process of its own; prints one JSON object. First the
operations are asked for all at once, spread over `--people` accounts, and timed until the last is confirmed; then withdrawals
one at a time with nothing in the way.
"""

import argparse
import asyncio
import contextlib
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import psycopg
from cryptography.fernet import Fernet

from counterfoil.store.embedded import EmbeddedPostgres

SETTINGS = """
database: {{url: "{database}"}}
platforms:
  live:
    kind: omtrader
    base_url: {platform}
    username: crm-api
    password: sandbox
    rate_limit: {{per_second: 1000, burst: 1000, concurrent: 16}}
    account_defaults: {{group_id: 10}}
    pull: {{clients: off, accounts: off, deals: off, transactions: off, groups: off, symbols: off, positions: off, orders: off,
      commissions: off, group_symbols: off, sweep: off}}
crm: {{encryption_key: "{key}", platform_choice: live, allow_sandbox_payouts: true}}
http: {{listen: "127.0.0.1:0"}}
log: {{format: json, level: warning}}
"""


async def started(arguments: list[str], folder: Path, name: str) -> asyncio.subprocess.Process:
    log = (folder / name).open("wb")
    return await asyncio.create_subprocess_exec(sys.executable, "-m", "counterfoil", *arguments, stdout=log, stderr=log)


async def said(path: Path, words: str) -> str:
    while True:
        for line in path.read_text().splitlines():  # noqa: ASYNC240 - a short file, before anything is timed
            if words in line:
                return line
        await asyncio.sleep(0.05)


async def confirmed(crm: "psycopg.AsyncConnection", pattern: str, wanted: int) -> None:
    while True:
        cursor = await crm.execute(
            "SELECT count(*) FROM crm.operations WHERE reference LIKE %s AND state = 'confirmed'", (pattern,)
        )
        if (await cursor.fetchone())[0] >= wanted:
            return
        await asyncio.sleep(0.02)


async def measure(plan: argparse.Namespace, url: str, folder: Path) -> dict[str, object]:
    platform = await started(
        ["sandbox", "--port", "0", "--clients", "5", "--accounts", "5", "--deals", "50"], folder, "platform"
    )
    children = [platform]
    try:
        address = (await said(folder / "platform", "listening on ")).partition("listening on ")[2].split()[0]
        key = Fernet.generate_key().decode()
        (folder / "settings.yaml").write_text(SETTINGS.format(database=url, platform=address, key=key))
        migrate = await started(["migrate", "-c", str(folder / "settings.yaml")], folder, "migrate")
        await migrate.wait()
        run = ["run", "-c", str(folder / "settings.yaml")]
        children += [await started(run, folder, f"run{number}") for number in range(plan.daemons)]
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as crm:
            return await _measure(plan, crm)
    finally:
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                child.terminate()
            await child.wait()


async def _measure(plan: argparse.Namespace, crm: "psycopg.AsyncConnection") -> dict[str, object]:
    profile = '{"first_name": "Ada", "family_name": "Byron"}'
    for person in range(plan.people):
        await crm.execute("SELECT crm.register(%s, %s::jsonb, NULL, '{}', 100000)", (f"p{person}", profile))
    await confirmed(crm, "%/1/deposit", plan.people)
    begun = time.perf_counter()
    async with crm.pipeline():
        for number in range(plan.operations):
            await crm.execute("SELECT crm.deposit(%s, %s, 1)", (f"d{number}", f"p{number % plan.people}/1"))
    asked = time.perf_counter() - begun
    await confirmed(crm, "d%", plan.operations)
    took = time.perf_counter() - begun
    waits = sorted([await _withdrawal(crm, number, plan.people) for number in range(plan.withdrawals)])
    return {
        "daemons": plan.daemons,
        "operations": plan.operations,
        "asked_in_seconds": round(asked, 2),
        "operations_per_second": round(plan.operations / took, 1),
        "withdrawals": plan.withdrawals,
        "median_ms": round(statistics.median(waits) * 1000, 1),
        "p99_ms": round(waits[int(len(waits) * 0.99) - 1] * 1000, 1),
    }


async def _withdrawal(crm: "psycopg.AsyncConnection", number: int, people: int) -> float:
    """Seconds from the call until the view says confirmed, asked every 2 ms."""
    begun = time.perf_counter()
    await crm.execute("SELECT crm.withdraw(%s, %s, 1)", (f"w{number}", f"p{number % people}/1"))
    while True:
        cursor = await crm.execute("SELECT state FROM crm.operations WHERE reference = %s", (f"w{number}",))
        if (await cursor.fetchone())[0] == "confirmed":
            return time.perf_counter() - begun
        await asyncio.sleep(0.002)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--daemons", type=int, default=1)
    parser.add_argument("--operations", type=int, default=2000)
    parser.add_argument("--people", type=int, default=100)
    parser.add_argument("--withdrawals", type=int, default=200)
    plan = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="counterfoil-bench-") as folder, EmbeddedPostgres.start() as server:
        print(json.dumps(asyncio.run(measure(plan, server.url, Path(folder)))))


if __name__ == "__main__":
    main()
