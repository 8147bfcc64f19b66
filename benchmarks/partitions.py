"""Whether the mirror's table of deals would be better off in partitions: docs/adr/0030.

    .venv/bin/python benchmarks/partitions.py --deals 3000000 --accounts 20000
    .venv/bin/python benchmarks/partitions.py --deals 200000 --only whole,month

Starts a PostgreSQL (fsync on, autovacuum off) and makes a migrated database for each way to lay out `mirror.deals`: whole, as it is; in 8
partitions by hash of id; in 36 by ranges of id; in 37 by month of `created_at`, where the primary key must have the time in it. Columns
and indexes are those of the schema. Three years of deals go through `store/bulk.py`, as in a first reading.

Then, for each: pages that are in the mirror already, new and old ones, compared as polls and sweeps do (by month also without telling
the merge that a deal's time never changes: only so is a deal whose time was mended found again); what `schema analytics` says of an
account; a reader by version; vacuum after 1 % of the rows changed, all over the table and among the newest; and an end of the oldest
year, by DELETE and vacuum or, by ranges, by dropping partitions. Prints a table in markdown: milliseconds, CPU of PostgreSQL alone.
"""

import argparse
import asyncio
import statistics
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import psycopg
from sqlalchemy.ext.asyncio import AsyncEngine

PEERS = Path(__file__).parent / "peers"
sys.path.append(str(PEERS))

import vast  # noqa: E402 - lies in peers
from measuring import MIB, SETTINGS, Postgres, database_server  # noqa: E402

from counterfoil.domain.page import Page  # noqa: E402
from counterfoil.platforms.omtrader import wire  # noqa: E402
from counterfoil.sandbox.text import SECOND  # noqa: E402
from counterfoil.store import bulk, engine, migrations  # noqa: E402

PLATFORM = "live"
YEARS, MONTHS = 3, 36
HASHES = 8
TOGETHER = 4_000  # rows a transaction of a first reading
PAGE = 1_000
PAGES = 40  # compared
LOOKS = 200  # accounts asked for
WHOLE, HASH, RANGE, MONTH = "whole", "hash", "range", "month"
TITLES = {WHOLE: "whole", HASH: f"{HASHES} by hash of id", RANGE: f"{MONTHS} by range of id", MONTH: "37 by month"}
BY_TIME = "(platform, id, created_at)"
TOLD = "AND t.created_at BETWEEN (SELECT min(created_at) FROM fresh) AND (SELECT max(created_at) FROM fresh)"
NEWER = "SELECT id, version FROM mirror.deals WHERE version > {} ORDER BY version LIMIT 1000"
INDEXES = (
    "SELECT indexdef FROM pg_indexes WHERE schemaname = 'mirror' AND tablename = 'deals' AND indexname <> 'deals_pkey'"
)
SIZE = """
    SELECT coalesce(sum(pg_total_relation_size(relid)), pg_total_relation_size('mirror.deals'))
    FROM pg_partition_tree('mirror.deals')
"""
OTHERS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
CHANGE = "UPDATE mirror.deals SET comment = 'changed', version = nextval('mirror.version') WHERE platform = 'live' AND "


@dataclass
class Trial:
    """One layout in a database of its own; `figures`: what was measured, by what it is."""

    layout: str
    plan: Namespace
    postgres: Postgres
    sql: psycopg.Connection
    figures: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def measured(self, step: str, count: float = 1.0) -> Iterator[None]:
        """Milliseconds, milliseconds of PostgreSQL's CPU, and KiB of write-ahead log of what is done, each by `count`."""
        wal, cpu, begun = self.postgres.wal(), self.postgres.cpu(), time.perf_counter()
        yield
        self.figures[f"{step}: ms"] = (time.perf_counter() - begun) * 1_000 / count
        self.figures[f"{step}: CPU ms"] = (self.postgres.cpu() - cpu) * 1_000 / count
        self.figures[f"{step}: WAL KiB"] = (self.postgres.wal() - wal) / 1_024 / count

    def size(self) -> float:
        """MiB, indexes and all."""
        return float(self.sql.execute(SIZE).fetchone()[0]) / MIB


def lay_out(sql: psycopg.Connection, layout: str, deals: int) -> None:
    """Put an empty table of another layout in the place of the present one, with its columns and indexes."""
    if layout == WHOLE:
        return
    indexes = [row[0] for row in sql.execute(INDEXES).fetchall()]
    by = {HASH: "HASH (id)", RANGE: "RANGE (id)", MONTH: "RANGE (created_at)"}[layout]
    sql.execute("ALTER TABLE mirror.deals RENAME TO deals_whole")
    sql.execute(f"CREATE TABLE mirror.deals (LIKE mirror.deals_whole INCLUDING DEFAULTS) PARTITION BY {by}")
    sql.execute("DROP TABLE mirror.deals_whole")
    key = BY_TIME if layout == MONTH else "(platform, id)"
    sql.execute(f"ALTER TABLE mirror.deals ADD PRIMARY KEY {key}")
    for index in indexes:
        sql.execute(index.encode())
    for number, bounds in enumerate(bounds_of(layout, deals)):
        sql.execute(f"CREATE TABLE mirror.deals_{number} PARTITION OF mirror.deals {bounds}")


def bounds_of(layout: str, deals: int) -> Iterator[str]:
    if layout == HASH:
        for number in range(HASHES):
            yield f"FOR VALUES WITH (MODULUS {HASHES}, REMAINDER {number})"
        return
    for number in range(MONTHS + (layout == MONTH)):
        if layout == RANGE:
            low, high = (deals * n // MONTHS + 1 for n in (number, number + 1))
            yield f"FOR VALUES FROM ({low}) TO ({high if number < MONTHS - 1 else 'MAXVALUE'})"
        else:
            begin, end = (f"date_trunc('month', now()) - interval '{MONTHS - n} months'" for n in (number, number + 1))
            yield f"FOR VALUES FROM ({begin}) TO ({end})"


def suit(layout: str, *, told: bool) -> None:
    """Make the project's merge work with a primary key that has the time in it; `told`: a deal's time never changes."""
    if layout != MONTH:
        bulk._merge_statement = ORIGINAL  # noqa: SLF001
        return

    def suited(*given: object) -> str:
        statement = ORIGINAL(*given).replace("ON CONFLICT (platform, id)", f"ON CONFLICT {BY_TIME}")
        span = "AND t.id BETWEEN :lowest AND :highest"
        return statement.replace(span, f"{span} {TOLD}") if told else statement

    bulk._merge_statement = suited  # noqa: SLF001


ORIGINAL: Callable[..., str] = bulk._merge_statement  # noqa: SLF001 - the statement that is really used


class Source:
    """Pages of deals as the platform's answers bring them."""

    def __init__(self, plan: Namespace) -> None:
        gap = YEARS * 365 * 86_400 * SECOND // plan.deals
        self._table = vast.prepare(plan, gap).deals
        self._format = wire.FORMATS["deals"]

    def page(self, first: int, rows: int) -> Page:
        return self._format.read(b"[%b]" % b",".join(self._table.json(key) for key in range(first, first + rows)))


async def write(database: AsyncEngine, pages: list[Page]) -> bulk.Written:
    written = bulk.Written()
    for page in pages:
        async with engine.transaction(database) as connection:
            written += await bulk.write(connection, PLATFORM, "deals", page)
    return written


async def load(trial: Trial, database: AsyncEngine, source: Source) -> None:
    """Everything, page after page; only the writing counts."""
    deals, ms = trial.plan.deals, 0.0
    wal, cpu = trial.postgres.wal(), trial.postgres.cpu()
    for first in range(1, deals + 1, TOGETHER):
        pages = [source.page(first, min(TOGETHER, deals + 1 - first))]
        begun = time.perf_counter()
        await write(database, pages)
        ms += (time.perf_counter() - begun) * 1_000
    trial.figures["first load, 1,000 rows: ms"] = ms / deals * 1_000
    trial.figures["first load, 1,000 rows: CPU ms"] = (trial.postgres.cpu() - cpu) * 1e6 / deals
    trial.figures["first load, 1,000 rows: WAL KiB"] = (trial.postgres.wal() - wal) / 1_024 / deals * 1_000


async def compare(trial: Trial, database: AsyncEngine, source: Source, what: str) -> None:
    """Pages that the mirror holds already: the newest one again and again, and others from all over the table."""
    deals = trial.plan.deals
    for where, firsts in {
        "newest": [deals - PAGE + 1] * PAGES,
        "old": [1 + (deals - PAGE) * n // PAGES for n in range(PAGES)],
    }.items():
        pages = [source.page(first, PAGE) for first in firsts]
        await write(database, pages[:1])
        with trial.measured(f"compare 1,000 {where} rows{what}", PAGES):
            written = await write(database, pages)
        if written.anything:
            sys.exit(f"{trial.layout}: nothing had changed, but {written} was written")


def alone(trial: Trial) -> None:
    """Wait for the writer's connections to end: what they used is not counted for a moment, and then all at once."""
    while trial.sql.execute(OTHERS).fetchone()[0]:
        time.sleep(0.1)
    time.sleep(0.5)


def ask(trial: Trial) -> None:
    """An account's figures, and a reader by version."""
    month = ", now() - interval '30 days'"
    accounts = [1 + n * trial.plan.accounts // LOOKS for n in range(LOOKS)]
    for name, call in {
        "realised_pnl, life": "realised_pnl('live', {})",
        "realised_pnl, month": f"realised_pnl('live', {{}}{month})",
        "balance_curve, life": "balance_curve('live', {})",
    }.items():
        called = [f"SELECT * FROM analytics.{call.format(account)}" for account in accounts]
        answer(trial, f"analytics.{name}", called)
    last = trial.sql.execute("SELECT max(version) FROM mirror.deals").fetchone()[0]
    answer(trial, "1,000 newest by version", [NEWER.format(last - 1_000 - n) for n in range(LOOKS)])


def answer(trial: Trial, name: str, queries: list[str]) -> None:
    """CPU on average, and the median of the time, which what else goes on disturbs less."""
    took = []
    with trial.measured(name, len(queries)):
        for query in queries:
            begun = time.perf_counter()
            trial.sql.execute(query.encode()).fetchall()
            took.append((time.perf_counter() - begun) * 1_000)
    trial.figures[f"{name}: ms"] = statistics.median(took)
    del trial.figures[f"{name}: WAL KiB"]


def change(trial: Trial) -> None:
    """Vacuum after 1 % of the rows changed."""
    deals = trial.plan.deals
    for what, condition in {"all over": "id % 100 = 7", "among the newest": f"id > {deals - deals // 100}"}.items():
        trial.sql.execute(CHANGE + condition)
        with trial.measured(f"vacuum, 1 % changed {what}"):
            trial.sql.execute("VACUUM mirror.deals")


def retire(trial: Trial) -> None:
    """The end of the oldest year."""
    trial.figures["size: MiB"] = trial.size()
    with trial.measured("end of the oldest year"):
        if trial.layout in (RANGE, MONTH):
            for number in range(MONTHS // YEARS):
                trial.sql.execute(f"DROP TABLE mirror.deals_{number}")
        else:
            trial.sql.execute(
                "DELETE FROM mirror.deals WHERE platform = 'live' AND id <= %s", [trial.plan.deals // YEARS]
            )
            trial.sql.execute("VACUUM mirror.deals")
    trial.figures["size afterwards: MiB"] = trial.size()


async def measure(trial: Trial, url: str, source: Source) -> None:
    database = engine.create(url)
    try:
        suit(trial.layout, told=True)
        await load(trial, database, source)
        trial.sql.execute("VACUUM ANALYZE")
        trial.sql.execute("CHECKPOINT")
        await compare(trial, database, source, "")
        if trial.layout == MONTH:
            suit(trial.layout, told=False)
            await compare(trial, database, source, ", times may change")
    finally:
        await database.dispose()
    alone(trial)
    ask(trial)
    change(trial)
    retire(trial)


def tried(layout: str, plan: Namespace, postgres: Postgres, source: Source) -> Trial:
    url = postgres.fresh(layout)
    migrations.upgrade(url)
    with psycopg.connect(url, autocommit=True) as sql:
        lay_out(sql, layout, plan.deals)
        fill_accounts(sql, plan.accounts)
        trial = Trial(layout, plan, postgres, sql)
        asyncio.run(measure(trial, url, source))
    postgres.drop(layout)
    told = {name: round(value, 2) for name, value in trial.figures.items()}
    print(f"{time.strftime('%H:%M:%S')} {layout}: {told}", file=sys.stderr)
    return trial


def fill_accounts(sql: psycopg.Connection, accounts: int) -> None:
    """The accounts that the analytics ask for."""
    columns = "platform, id, currency, currency_digits, balance, first_seen_at, changed_at, version"
    sql.execute(
        f"INSERT INTO mirror.accounts ({columns}) SELECT 'live', g, 'USD', 2, 1000, now(), now(), nextval('mirror.version')"
        f" FROM generate_series(1, {accounts}) g"
    )


def table(trials: list[Trial]) -> Iterator[str]:
    """In markdown: a figure a line, a layout a column."""
    names = dict.fromkeys(name for trial in trials for name in trial.figures)
    yield "| | " + " | ".join(TITLES[trial.layout] for trial in trials) + " |"
    yield "| --- |" + " --- |" * len(trials)
    for name in names:
        shown = (f"{trial.figures[name]:,.1f}" if name in trial.figures else "" for trial in trials)
        yield f"| {name} | " + " | ".join(shown) + " |"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--deals", type=int, default=3_000_000)
    parser.add_argument("--accounts", type=int, default=20_000)
    parser.add_argument("--only", default=",".join(TITLES), help=f"some of {','.join(TITLES)}")
    plan = parser.parse_args()
    source = Source(plan)
    with database_server(SETTINGS) as postgres:
        trials = [tried(layout, plan, postgres, source) for layout in plan.only.split(",")]
    print(f"{plan.deals:,} deals, {plan.accounts:,} accounts; load of the machine: {psutil.getloadavg()[0]:.1f}\n")
    print("\n".join(table(trials)))


if __name__ == "__main__":
    main()
