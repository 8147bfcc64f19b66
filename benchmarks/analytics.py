"""How fast schema analytics answers for one account, in milliseconds.

    .venv/bin/python benchmarks/analytics.py --deals 5000000 --accounts 20000

Starts a PostgreSQL, fills the mirror with books of two platforms, one of each kind, half of everything on each; account 1 of each
has `--busy` deals, the others share the rest. Then calls each function `--runs` times over the whole life of an account and over
its last month, for account 1 and for another, and prints one JSON object: median and worst. `--directory` keeps the database, so
that the next run need not fill it.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import psycopg

from counterfoil.store import migrations
from counterfoil.store.embedded import EmbeddedPostgres

YEARS = 3
SYMBOLS = 40
KINDS = {"live": "omtrader", "ct": "ctrader"}
# The database lies on one disk and is thrown away.
SETTINGS = {"max_wal_size": "4GB", "checkpoint_timeout": "30min"}

SEEN = "first_seen_at, changed_at, version"
NOW = "now(), now(), nextval('mirror.version')"
# %(n)s deals on the platform; account 1 has one of every %(every)s, which is odd so that it buys, sells, opens and closes.
ACCOUNT = "CASE WHEN g %% %(every)s = 0 THEN 1 ELSE 2 + g * 7919 %% (%(accounts)s - 1) END"
AT = f"now() - interval '{YEARS} years' * (1 - g / %(n)s::numeric)::float8"

COMMON = f"""
    INSERT INTO mirror.accounts (platform, id, currency, currency_digits, balance, {SEEN})
    SELECT %(platform)s, g, 'USD', 2, 1000, {NOW} FROM generate_series(1, %(accounts)s) g;
    INSERT INTO mirror.symbols (platform, id, symbol, category, asset_class, {SEEN})
    SELECT %(platform)s, g, 'SYMBOL' || g, 'category ' || g %% 9, 'class ' || g %% 4, {NOW} FROM generate_series(1, {SYMBOLS}) g;
    INSERT INTO mirror.positions (platform, id, account_id, symbol_id, symbol, side, status, contract_size, volume_initial,
        volume_current, volume_base, price_open, price_current, profit, swaps, commission, created_at, updated_at, {SEEN})
    SELECT %(platform)s, g, {ACCOUNT}, 1 + g * 31 %% {SYMBOLS}, 'SYMBOL' || 1 + g * 31 %% {SYMBOLS}, g / 2 %% 2,
        CASE WHEN g > %(n)s - 4 * %(open)s AND g %% 4 = 0 THEN 0 ELSE 2 END, 100000, 0.10, 0.10, 10000, 1.10234, 1.10250,
        g %% 200 - 99.5, -0.35, -0.70, {AT}, now(), {NOW}
    FROM generate_series(CAST(2 AS bigint), %(n)s, 2) g
"""
BOOKS = {
    "omtrader": f"""
    INSERT INTO mirror.deals (platform, id, account_id, order_id, action, entry, reason, digits, digits_currency, contract_size,
        symbol_id, symbol, price, profit, storage, commission, profit_raw, price_position, volume, closed_volume, position_id,
        comment, swap, fee, market_bid, market_ask, market_last, side, direction, channel, volume_base, created_at, updated_at,
        external_id, external_volume, {SEEN})
    SELECT %(platform)s, g, {ACCOUNT}, g, 0, 0, 0, 5, 2, 100000, 1 + g * 31 %% {SYMBOLS}, 'SYMBOL' || 1 + g * 31 %% {SYMBOLS},
        1.10234, CASE WHEN g %% 2 = 0 THEN 0 ELSE g %% 200 - 99.5 END, 0, -0.35, g %% 200 - 99.512, 1.10231, 0.10, 0.10, g / 2,
        '', -0.12, 0, 1.10234, 1.10236, 1.10234, CASE WHEN g %% 101 = 0 THEN 2 ELSE g / 2 %% 2 END, g %% 2, 1, 10000, {AT}, {AT},
        'LP-' || g, 0.1, {NOW}
    FROM generate_series(CAST(1 AS bigint), %(n)s) g;
    INSERT INTO mirror.transactions (platform, id, account_id, side, direction, amount, currency, comment, origin, created_at,
        updated_at, {SEEN})
    SELECT d.platform, d.id, d.account_id, 2, 0, 5, 'USD', '', 'platform', d.created_at, d.created_at, {NOW}
    FROM mirror.deals d WHERE d.platform = %(platform)s AND d.side = 2;
    INSERT INTO mirror.orders (platform, id, account_id, symbol_id, symbol, position_id, type, side, status, reason,
        volume_initial, volume_current, price_order, price_current, comment, time_setup, time_done, created_at, updated_at, {SEEN})
    SELECT %(platform)s, g, {ACCOUNT}, 1 + g * 31 %% {SYMBOLS}, 'SYMBOL' || 1 + g * 31 %% {SYMBOLS}, g / 2, 0, g %% 2, 3, 0,
        0.10, 0, 1.10234, 1.10234, '', {AT}, {AT}, {AT}, {AT}, {NOW}
    FROM generate_series(CAST(2 AS bigint), %(n)s, 2) g
    """,
    "ctrader": f"""
    INSERT INTO mirror.deals (platform, id, account_id, position_id, symbol, side, direction, profit, price, price_position,
        volume_base, commission_usd, swap_usd, deposit_conversion_rate, usd_conversion_rate, opened_at, book_type, spread_betting,
        created_at, {SEEN})
    SELECT %(platform)s, g, {ACCOUNT}, g, 'SYMBOL' || 1 + g * 31 %% {SYMBOLS}, g / 2 %% 2, 1, g %% 200 - 99.5, 1.10234, 1.10231,
        10000, -0.35, -0.12, 1, 1, {AT}, 'BOOK_B', false, {AT}, {NOW}
    FROM generate_series(CAST(1 AS bigint), %(n)s) g;
    INSERT INTO mirror.transactions (platform, id, account_id, side, direction, amount, currency, origin, created_at, {SEEN})
    SELECT %(platform)s, g, {ACCOUNT}, 2, 0, 5, 'USD', CASE WHEN g %% 3 = 0 THEN 'inferred' ELSE 'counterfoil' END, {AT}, {NOW}
    FROM generate_series(CAST(1 AS bigint), %(n)s, 100) g;
    INSERT INTO mirror.subaccounts (platform, id, account_id, logins, balance, equity, {SEEN})
    SELECT %(platform)s, g, g, '[7, 8]', 10, 11, {NOW} FROM generate_series(1, %(accounts)s, 50) g
    """,
}
LIFE = ("realised_pnl", "win_loss", "most_traded", "funding", "balance_curve")
MOMENT = ("open_volume", "subaccounts")


def fill(connection: psycopg.Connection, plan: argparse.Namespace) -> None:
    for platform, kind in KINDS.items():
        given = {
            "platform": platform,
            "n": plan.deals // 2,
            "accounts": plan.accounts // 2,
            "every": plan.deals // 2 // plan.busy | 1,
            "open": plan.open,
        }
        with psycopg.ClientCursor(connection) as cursor:
            cursor.execute(COMMON + ";" + BOOKS[kind], given)
    connection.execute("VACUUM (ANALYZE, PARALLEL 0)")


def timed(connection: psycopg.Connection, statement: str, runs: int) -> str:
    """Median and worst of so many calls, as the caller sees them."""
    took = []
    for _ in range(runs):
        begun = time.perf_counter()
        connection.execute(statement, prepare=False).fetchall()
        took.append((time.perf_counter() - begun) * 1000)
    return f"{statistics.median(took):.1f} / {max(took):.1f}"


def calls() -> dict[str, str]:
    """A name for the report, and the call."""
    made = {}
    for platform in KINDS:
        for who, account in (("busy", 1), ("usual", 77)):
            for name in LIFE:
                made[f"{name} {platform} {who}, life"] = f"SELECT * FROM analytics.{name}('{platform}', {account})"
                since = "current_date - 30" if name == "balance_curve" else "now() - interval '30 days'"
                made[f"{name} {platform} {who}, month"] = (
                    f"SELECT * FROM analytics.{name}('{platform}', {account}, {since})"
                )
            for name in MOMENT:
                made[f"{name} {platform} {who}"] = f"SELECT * FROM analytics.{name}('{platform}', {account})"
        made[f"exposure {platform}"] = f"SELECT * FROM analytics.exposure('{platform}')"
    return made


def measure(url: str, plan: argparse.Namespace) -> dict[str, object]:
    migrations.upgrade(url)
    with psycopg.connect(url, autocommit=True) as connection:
        begun = time.perf_counter()
        if not connection.execute("SELECT EXISTS (SELECT FROM mirror.deals)").fetchone()[0]:
            fill(connection, plan)
        filled = time.perf_counter() - begun
        sizes = "SELECT indexrelid::regclass::text, pg_relation_size(indexrelid) / 1000000 FROM pg_index WHERE indrelid = ANY (%s::regclass[])"
        tables = [f"mirror.{name}" for name in ("deals", "orders", "positions")]
        counts = "SELECT count(*), count(*) FILTER (WHERE account_id = 1 AND platform = 'live') FROM mirror.deals"
        deals, busy = connection.execute(counts).fetchone()
        return {
            "filled_in_seconds": round(filled, 1),
            "deals": deals,
            "busy": busy,
            "indexes_mb": dict(sorted(connection.execute(sizes, [tables]).fetchall())),
            "median / worst ms": {name: timed(connection, call, plan.runs) for name, call in calls().items()},
        }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--deals", type=int, default=5_000_000)
    parser.add_argument("--accounts", type=int, default=20_000)
    parser.add_argument("--busy", type=int, default=20_000)
    parser.add_argument("--open", type=int, default=50_000)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--directory", type=Path)
    plan = parser.parse_args()
    with EmbeddedPostgres.start(plan.directory, durable=False, settings=SETTINGS) as server:
        print(json.dumps(measure(server.url, plan), indent=1))


if __name__ == "__main__":
    main()
