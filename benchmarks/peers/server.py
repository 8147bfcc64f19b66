"""The platform that everybody reads: an OMTrader sandbox whose deals can be put back to where they were.

    .venv/bin/python benchmarks/peers/server.py --deals 300000 --accounts 20000

It is the sandbox of `counterfoil sandbox` with its API, its listings and its login. What this adds is that the list of deals can be
exchanged for an earlier one, so that every contender reads the same bytes: `before` holds `--deals` deals, `after` 1,000 more, and
1,000 of the former are changed. The changed ones were made within nine minutes, an hour before the new ones.

One deal carries more digits than a binary float holds, to see who keeps them. Prints a line of JSON when it listens, then answers each
line on its standard input with one: `before`, `after`, `stir`, which changes 100 accounts that lie apart, `latency 0.05` for so many
seconds before each answer, or `requests`, which says how many came since it was asked last.
"""

import argparse
import asyncio
import json
import re
import sys
import time
from decimal import Decimal
from typing import Any

import msgspec

from counterfoil.sandbox import Sandbox, SandboxOptions
from counterfoil.sandbox.books import Books
from counterfoil.sandbox.omtrader import MANAGER, OmtraderPlatform
from counterfoil.sandbox.tables import Table
from counterfoil.sandbox.text import SECOND

MINUTE = 60 * SECOND
STEP = 1_000  # new deals, and changed ones
STIRRED = 100
PROBE = {"profit_raw": "1234567890.123456789", "price_position": "1.10"}
PROFIT = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Clock:
    """Made-up time, nanoseconds since 1970: it stands still until it is moved."""

    def __init__(self, at: int) -> None:
        self.at = at

    def __call__(self) -> int:
        self.at += 1_000_000
        return self.at


def trade(books: Books, clock: Clock, deals: int, minutes: int) -> None:
    """Exactly so many further deals, spread evenly over so many minutes."""
    begun, first = clock.at, len(books.deals)
    while (made := len(books.deals) - first) < deals:
        clock.at = max(clock.at, begun + minutes * MINUTE * made // deals)
        books.trade()
    surplus = books.deals.ids[first + deals :]
    for key in reversed(surplus):
        books.delete("deals", key)
    clock.at = max(clock.at, begun + minutes * MINUTE)


def frozen(table: "Table[Any]", apart: list[int]) -> "Table[Any]":
    """A table of the same rows; those with the ids `apart` are copies that stay as they are."""
    kept: Table[Any] = Table()
    kept.ids, kept.rows = list(table.ids), dict(table.rows)
    kept.rows |= {key: msgspec.structs.replace(table.rows[key]) for key in apart}
    return kept


def plant(table: "Table[Any]", key: int) -> None:
    """Give one deal more digits than a binary float holds, and a zero at the end."""
    text = table.json(key).decode()
    for name, token in PROBE.items():
        text = re.sub(rf'"{name}":[^,]+', f'"{name}":{token}', text)
    table.rows[key].json = text.encode()


def total(table: "Table[Any]") -> str:
    """The exact sum of the profits as they are sent."""
    return str(sum(Decimal(bytes(PROFIT.decode(table.json(key))["profit"]).decode()) for key in table.ids))


def prepare(plan: argparse.Namespace) -> "tuple[Books, dict[str, Table[Any]], dict[str, Any]]":
    """The books, the two states of the deals, and what is true of them."""
    clock = Clock(time.time_ns() - 180 * MINUTE)
    books = Books(clients=plan.accounts // 10 + 1, accounts=plan.accounts, deals=plan.deals - STEP, clock=clock)
    trade(books, clock, STEP, 9)
    recent = books.deals.ids[-STEP:]
    books.warm("deals")
    probe = books.deals.ids[-2 * STEP]
    plant(books.deals, probe)
    before = frozen(books.deals, recent)
    clock.at += 51 * MINUTE
    trade(books, clock, STEP, 60)
    for key in recent:
        books.touch("deals", key)
    books.warm("deals", "accounts")
    states = {"before": before, "after": books.deals}
    for table in states.values():
        table.ordered("updated_at")
    facts = {
        "deals": {name: len(table) for name, table in states.items()},
        "profit": {name: total(table) for name, table in states.items()},
        "accounts": len(books.accounts),
        "probe": {"id": probe, **PROBE},
        "bytes_a_row": sum(len(before.json(key)) for key in before.ids) // max(1, len(before)),
    }
    return books, states, facts


async def serve(plan: argparse.Namespace) -> None:
    books, states, facts = prepare(plan)
    sandbox = Sandbox(SandboxOptions(clients=0, accounts=0, deals=0))
    users = {sandbox.options.username: (sandbox.options.password, MANAGER)}
    sandbox.books = books
    sandbox.platform = OmtraderPlatform(books, users, token_lifetime=86_400, page_limit=sandbox.options.page_limit)
    books.deals = states["before"]
    async with sandbox:
        say({"url": sandbox.url, "username": sandbox.options.username, "password": sandbox.options.password, **facts})
        while line := await asyncio.to_thread(sys.stdin.readline):
            said = line.strip()
            if said.startswith("latency "):
                seconds = float(said.partition(" ")[2])
                sandbox.faults.set([{"kind": "delay", "seconds": seconds}] if seconds else [])
                say({"latency": seconds})
            elif said == "stir":
                for key in books.accounts.ids[:: max(1, len(books.accounts) // STIRRED)][:STIRRED]:
                    books.touch("accounts", key)
                say({"stirred": STIRRED})
            elif said in states:
                books.deals = states[said]
                say({"state": said})
            else:
                say({"requests": len(sandbox.requests), "logins": sandbox.requests.logins})
                sandbox.requests.clear()


def say(fact: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(fact) + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--deals", type=int, default=300_000)
    parser.add_argument("--accounts", type=int, default=20_000)
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
