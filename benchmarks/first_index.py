"""What the index of an account's figures costs a first reading, kept row by row or built at its end: docs/runbook.md.

    .venv/bin/python benchmarks/first_index.py --deals 3000000 --accounts 200000

Starts a PostgreSQL with its own defaults for memory and log (`shared_buffers` 128 MB, `max_wal_size` 1 GB, `checkpoint_timeout` 5 min),
and adds deals of accounts at random in batches of 8,000, as a first reading does, once with the index and once without it. Prints a table
in markdown: seconds and write-ahead log of each sixth, and what building the index at the end takes.
"""

import argparse
import sys
import time
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path

import psycopg

sys.path.append(str(Path(__file__).parent / "peers"))

from measuring import SETTINGS, Postgres, database_server

from counterfoil.store import migrations

DEFAULTS = {"shared_buffers": "128MB", "max_wal_size": "1GB", "checkpoint_timeout": "5min"}
TOGETHER = 8_000
PARTS = 6
FILL = """
    INSERT INTO mirror.deals (platform, id, external_id, account_id, dealer_id, order_id, action, entry, reason, digits, digits_currency,
        contract_size, symbol_id, symbol, price, external_volume, profit, storage, commission, profit_raw, price_position, price_sl,
        price_tp, external_volume_closed, tick_value, tick_size, volume, closed_volume, position_id, comment, swap, fee, market_bid,
        market_ask, market_last, side, direction, channel, created_at, updated_at, volume_base, version)
    SELECT 'live', g, '', 1 + floor(random() * %(accounts)s), 0, g, 1, 0, 0, 3, 2, 5000, 21, 'EURUSD', 28.548, 0.26, 0, 0, -1.2, 0, 28.548,
        29.148, 27.948, 0, 0, 0.001, 0.26, 0, g, '', 0, 0, 28.548, 28.578, 28.548, 1, 0, 1, now() + g * interval '1 second', now(),
        1300.00, g
    FROM generate_series(CAST(%(first)s AS bigint), %(last)s) g
"""


def parts(sql: psycopg.Connection, postgres: Postgres, plan: Namespace) -> Iterator[tuple[float, float]]:
    """Seconds and bytes of log a row of each part of the deals."""
    for part in range(PARTS):
        wal, begun = postgres.wal(), time.perf_counter()
        first, last = (1 + plan.deals * at // PARTS for at in (part, part + 1))
        for lowest in range(first, last, TOGETHER):
            highest = min(last, lowest + TOGETHER) - 1
            sql.execute(FILL, {"accounts": plan.accounts, "first": lowest, "last": highest})
        yield time.perf_counter() - begun, (postgres.wal() - wal) / (last - first)


def tried(postgres: Postgres, plan: Namespace, *, kept: bool) -> list[str]:
    """A line of the table."""
    url = postgres.fresh("kept" if kept else "later")
    migrations.upgrade(url)
    with psycopg.connect(url, autocommit=True) as sql:
        definition = sql.execute("SELECT pg_get_indexdef('mirror.deals_ledger_idx'::regclass)").fetchone()[0]
        if not kept:
            sql.execute("DROP INDEX mirror.deals_ledger_idx")
        before = postgres.wal()
        took = list(parts(sql, postgres, plan))
        begun = time.perf_counter()
        if not kept:
            sql.execute(definition)
        built = time.perf_counter() - begun
        log = (postgres.wal() - before) / 1_000_000
    total = sum(seconds for seconds, _ in took) + built
    cells = [f"{seconds:.1f} s, {wal:.0f} B" for seconds, wal in took]
    return ["kept" if kept else "built at the end", *cells, f"{built:.1f} s", f"{total:.1f} s, {log:,.0f} MB"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--deals", type=int, default=3_000_000)
    parser.add_argument("--accounts", type=int, default=200_000)
    plan = parser.parse_args()
    print("| the index |", " | ".join(f"{part + 1}/{PARTS}" for part in range(PARTS)), "| building | in all |")
    print("| --- |" + " --: |" * (PARTS + 2))
    with database_server({**SETTINGS, **DEFAULTS}) as postgres:
        for kept in (True, False):
            print("|", " | ".join(tried(postgres, plan, kept=kept)), "|", flush=True)


if __name__ == "__main__":
    main()
