"""How many requests a cycle of polls costs as accounts grow.

    .venv/bin/python benchmarks/requests_per_cycle.py 1000 20000 100000

For each number of accounts: a PostgreSQL, a simulated OMTrader server in a process of its own, the first reading of everything, and a poll of everything
that finds nothing. Then `--moved` accounts move money by deposits, and every polled resource is read once, as `counterfoil sync`
does; then the same with half of them moving it by trading. The requests that the server received are counted by kind: `look-ups`
are positions and orders that are over and whose ids are below the newest 500 of their history, one request each. Prints a table in
Markdown, and one for cTrader that is computed from its rules. `--also` adds rows that are computed by the formula of `predicted`, for numbers of accounts that would take too long.

The first reading asks for each account's transactions, so that 100,000 accounts take some minutes.
"""

import argparse
import asyncio
import math
import multiprocessing
import re
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing.connection import Connection

from counterfoil.domain.interval import Interval
from counterfoil.domain.priority import Priority
from counterfoil.observe import logs
from counterfoil.platforms.omtrader import client as omtrader
from counterfoil.platforms.omtrader.client import OMTrader
from counterfoil.platforms.sessions import PrivateVault
from counterfoil.pull.puller import OMTRADER, Puller, Result, Wish
from counterfoil.pull.run import Pace
from counterfoil.sandbox import Sandbox, SandboxOptions
from counterfoil.sandbox.books import Books
from counterfoil.store import engine, migrations
from counterfoil.store.embedded import EmbeddedPostgres
from counterfoil.store.runs import Runs

POLLED = tuple(name for name in OMTRADER if name != "sweep")
MINUTE = Interval.steady(timedelta(minutes=1))
# Accounts for one client of the simulated server.
ACCOUNTS_EACH = 2
# Open positions of the simulated server for a hundred accounts.
OPEN_PERCENT = 35
# Requests for histories and rows that left a live list: what the bound allows besides listings and moved accounts.
BESIDES = 10
# Requests under way at once, of the first reading alone: it is not what is measured.
FIRST_AHEAD = 12
# Traders of about 1.2 kB each, as the simulated platform tells them, in an answer of 32 MiB.
CTRADER_FITS = 28_700
# Groups, symbols, deposit assets, open positions.
CTRADER_LISTS = 4
# How the accounts move money: all by deposits; half by trading, which closes positions, the others by deposits.
WAYS = ("deposits", "trading")
KINDS = ("listings", "histories", "look-ups", "transactions")
HEADINGS = ("accounts", "moved", "page_size", *KINDS, "total", "bound", "")


class NoBudget:
    """Lets every request go at once: counted is what is asked, not how fast."""

    @asynccontextmanager
    async def request(self, _priority: Priority) -> AsyncIterator[None]:
        """See platforms.base.Budget."""
        yield

    async def succeeded(self) -> None:
        """See platforms.base.Budget."""

    async def failed(self, _reason: str) -> None:
        """See platforms.base.Budget."""

    async def limited(self, _seconds: float) -> None:
        """See platforms.base.Budget."""


@dataclass(frozen=True, slots=True)
class Cycle:
    """Requests of one cycle by kind; `bound`: what it may cost."""

    accounts: int
    moved: int
    page_size: int
    requests: dict[str, int]
    how: str

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.requests.values())

    @property
    def bound(self) -> int:
        """The listings, a request for each account whose money moved, and ten."""
        return self.requests["listings"] + self.moved + BESIDES

    def row(self) -> str:
        """A line of the table."""
        kinds = (f"{self.requests[kind]:,}" for kind in KINDS)
        cells = (f"{self.accounts:,}", f"{self.moved:,}", f"{self.page_size:,}", *kinds, f"{self.total:,}")
        return f"| {' | '.join((*cells, f'{self.bound:,}', self.how))} |"


def kind_of(path: str) -> str:
    """Which kind of request a path is."""
    if re.search(r"/accounts/\d+/", path):
        return "transactions"
    if re.search(r"/(positions|orders)/\d+$", path):
        return "look-ups"
    return "histories" if path.endswith(("/history", "/deals")) else "listings"


def pages(rows: int, size: int) -> int:
    """Requests for a list of so many rows: each page but the first begins with the last row of the one before."""
    return 1 if rows <= size else 1 + math.ceil((rows - size) / (size - 1))


def predicted(accounts: int, moved: int, page_size: int, like: Cycle) -> Cycle:
    """By formula: what grows are the pages of accounts, of clients and of what is open; the rest stays as measured."""

    def growing(count: int) -> int:
        return sum(pages(rows, page_size) for rows in (count, count // ACCOUNTS_EACH, count * OPEN_PERCENT // 100))

    rest = like.requests["listings"] - growing(like.accounts)
    return Cycle(accounts, moved, page_size, {**like.requests, "listings": growing(accounts) + rest}, "computed")


def ctrader_accounts(accounts: int, since: float = 23.9, until: float = 26.9) -> int:
    """Requests for the list of traders, registered evenly between two times: years since the first day that is asked for.

    Spans are halved until an answer fits; asked for are all, from today back to that day.
    """
    asked, spans = 0, [(0.0, until)]
    while spans:
        begin, end = spans.pop()
        asked += 1
        inside = accounts * max(0.0, end - max(begin, since)) / (until - since)
        if inside > CTRADER_FITS:
            spans += [(begin, (begin + end) / 2), ((begin + end) / 2, end)]
    return asked


def ctrader_table(numbers: Iterable[int], moved: int) -> str:
    """The same for cTrader, computed from its rules: whole lists, and sub-accounts of accounts whose money moved."""
    lines = ["| accounts | their list | other lists | closing deals | sub-accounts | total |", f"|{' --- |' * 6}"]
    for accounts in numbers:
        listed = ctrader_accounts(accounts)
        total = listed + CTRADER_LISTS + 1 + moved
        lines.append(f"| {accounts:,} | {listed} | {CTRADER_LISTS} | 1 | {moved} | {total} |")
    return "\n".join(lines)


def move(books: Books, wanted: int, traded: int) -> None:
    """Let exactly so many accounts move money: so many of them, or some more, by trading, the others by deposits."""
    before = {account.id: (account.balance, account.credit) for account in books.accounts}

    def moved() -> set[int]:
        return {account.id for account in books.accounts if before.get(account.id) != (account.balance, account.credit)}

    while len(done := moved()) < traded:
        books.trade()
    for account in list(books.accounts):
        if len(done) >= wanted:
            break
        if account.id not in done:
            books.move_money(account, 10_000, 2, "deposit")
            done.add(account.id)
    if len(moved()) != wanted:
        raise SystemExit(f"{len(moved())} accounts moved money instead of {wanted}: a round of trading moves more")


async def once(puller: Puller) -> None:
    """Every polled resource, as `counterfoil sync` reads it: with no share of the slow round."""
    for resource in POLLED:
        while (result := await puller.run(resource, Wish(wait=True))) is Result.MORE:
            pass
        if result is not Result.DONE:
            raise SystemExit(f"{resource}: {result.name.lower()}")


def serve(options: SandboxOptions, moved: int, asked: Connection) -> None:
    """The simulated platform, in a process of its own: `move` and `count` are answered, None ends it."""
    asyncio.run(_serve(options, moved, asked))


async def _serve(options: SandboxOptions, moved: int, asked: Connection) -> None:
    async with Sandbox(options) as sandbox:
        sandbox.books.warm()
        asked.send(sandbox.url)
        while (command := await asyncio.to_thread(asked.recv)) is not None:
            if command in WAYS and isinstance(sandbox.books, Books):
                move(sandbox.books, moved, moved // 2 if command == "trading" else 0)
            counted = Counter(kind_of(entry.path) for entry in sandbox.requests if entry.target != "login")
            sandbox.requests.clear()
            asked.send(dict(counted))


def measure(url: str, plan: argparse.Namespace, accounts: int) -> list[Cycle]:
    """The rows of the table for so many accounts."""
    options = SandboxOptions(
        clients=accounts // ACCOUNTS_EACH, accounts=accounts, deals=accounts * 2, token_lifetime=86_400
    )
    ours, theirs = multiprocessing.Pipe()
    platform = multiprocessing.get_context("spawn").Process(target=serve, args=(options, plan.moved, theirs))
    platform.start()
    try:
        cycles = asyncio.run(read(url, ours, options, plan.page_size))
        ours.send(None)
        platform.join()
    finally:
        platform.kill()
    return [
        Cycle(accounts, plan.moved, plan.page_size, {kind: counted.get(kind, 0) for kind in KINDS}, f"measured, {way}")
        for way, counted in cycles.items()
    ]


async def read(url: str, platform: Connection, options: SandboxOptions, page_size: int) -> dict[str, dict[str, int]]:
    """Requests by kind of one cycle after the accounts have moved money, for each way to move it."""

    def answer(command: str) -> dict[str, int]:
        platform.send(command)
        found: dict[str, int] = platform.recv()
        return found

    server = omtrader.Connection(
        base_url=platform.recv(), username=options.username, password=options.password, timeout=60
    )
    database = engine.create(url)
    reader = OMTrader(server, NoBudget(), PrivateVault())
    puller = Puller(
        runs=Runs(database),
        platform=f"of{options.accounts}",
        reader=reader,
        pace=Pace(page_size=page_size, ahead=FIRST_AHEAD, slice=1e9),
        intervals=dict.fromkeys(POLLED, MINUTE),
    )
    try:
        begun = time.monotonic()
        await once(puller)
        took, first = time.monotonic() - begun, sum(answer("count").values())
        say(f"{options.accounts} accounts: first reading in {took:.0f} s, {first} requests")
        puller.pace = Pace(page_size=page_size, ahead=4, slice=1e9)
        await once(puller)
        cycles = {}
        for way in WAYS:
            answer(way)
            await once(puller)
            cycles[way] = answer("count")
        return cycles
    finally:
        await reader.close()
        await database.dispose()


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def table(cycles: Iterable[Cycle]) -> str:
    """All rows in Markdown."""
    lines = [f"| {' | '.join(HEADINGS)} |", f"|{' --- |' * len(HEADINGS)}", *(cycle.row() for cycle in cycles)]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("accounts", type=int, nargs="+")
    parser.add_argument("--moved", type=int, default=100)
    parser.add_argument("--page-size", type=int, default=500)
    parser.add_argument("--also", type=int, nargs="*", default=[])
    plan = parser.parse_args()
    logs.configure("json", "warning")
    with EmbeddedPostgres.start() as server:
        migrations.upgrade(server.url)
        measured = [cycle for accounts in plan.accounts for cycle in measure(server.url, plan, accounts)]
    computed = [predicted(accounts, plan.moved, plan.page_size, measured[-len(WAYS)]) for accounts in plan.also]
    print(table([*measured, *computed]), ctrader_table([*plan.accounts, *plan.also], plan.moved), sep="\n\n")
    if any(cycle.total - cycle.requests["look-ups"] > cycle.bound for cycle in measured):
        raise SystemExit("above the bound")


if __name__ == "__main__":
    main()
