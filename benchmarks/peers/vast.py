"""An OMTrader platform of any size that costs next to no memory: its deals and accounts are written when they are asked for.

    .venv/bin/python benchmarks/peers/vast.py --deals 3000000 --accounts 200000

It is the sandbox of `counterfoil sandbox` with its API, its envelope and its login; see `server.py` for a platform that trades. A row is
one of a small sandbox's with another id, account and time, so it is as long and as varied as those. Its books hold nothing else, and
nothing changes. Prints a line of JSON when it listens, then answers each line on its standard input with one: `requests`, which says
how many came since it was asked last, or `times`, when they came, in monotonic seconds.
"""

import argparse
import asyncio
import re
import sys
import time
from collections.abc import Callable
from typing import Any

from server import say

from counterfoil.sandbox import Sandbox, SandboxOptions
from counterfoil.sandbox.books import Books
from counterfoil.sandbox.tables import Table
from counterfoil.sandbox.text import SECOND, stamp

GAP = 30 * SECOND  # between two deals
PATTERNS = 500
Fields = Callable[[int], dict[str, object]]


class Endless(Table[Any]):
    """Rows 1 to `count`, made of `patterns` when they are asked for; `fields`: what is a row's own, by its id."""

    def __init__(self, patterns: list[str], count: int, fields: Fields) -> None:
        super().__init__()
        self.ids = range(1, count + 1)  # type: ignore[assignment]  # as good as a list, as long as nothing is added
        self._patterns, self._fields = patterns, fields

    def ordered(self, by: str) -> range:  # noqa: ARG002 - they are in every order at once
        return self.ids  # type: ignore[return-value]

    def json(self, key: int) -> bytes:
        return (self._patterns[key % len(self._patterns)] % self._fields(key)).encode()


def patterns(table: "Table[Any]", names: dict[str, str]) -> list[str]:
    """Rows of a table with a place for each of these: a regular expression of what comes before it, and its name."""
    made = []
    for key in table.ids[-PATTERNS:]:
        text = table.json(key).decode().replace("%", "%%")
        for before, name in names.items():
            text = re.sub(rf'({before}:"?)[^",}}]+', rf"\g<1>%({name})s", text, count=1)
        made.append(text)
    return made


def prepare(plan: argparse.Namespace, gap: int = GAP) -> Books:
    """Books of the wanted size, with so many nanoseconds between two deals."""
    small = Books(clients=100, accounts=PATTERNS, deals=4 * PATTERNS)
    begun = time.time_ns() - 3_600 * SECOND - plan.deals * gap

    def deal(key: int) -> dict[str, object]:
        at = stamp(begun + key * gap)
        return {
            "id": key,
            "account": 1 + key * 7_919 % plan.accounts,
            "order": key,
            "position": (key + 1) // 2,
            "at": at,
        }

    def account(key: int) -> dict[str, object]:
        return {"id": key, "user": key + 1_000, "client": 1 + key // 2, "name": f"trader{key}"}

    places = {'"id"': "id", '"account_id"': "account", '"order_id"': "order", '"position_id"': "position"}
    deals = patterns(small.deals, places | {'"created_at"': "at", '"updated_at"': "at"})
    places = {
        '"id"': "id",
        '"user_id"': "user",
        '"client_id"': "client",
        r'"user":\{"id"': "user",
        '"username"': "name",
    }
    accounts = patterns(small.accounts, places)
    books = Books(clients=0, accounts=0, deals=0)
    books.deals = Endless(deals, plan.deals, deal)
    books.accounts = Endless(accounts, plan.accounts, account)
    return books


async def serve(plan: argparse.Namespace) -> None:
    sandbox = Sandbox(SandboxOptions(clients=0, accounts=0, deals=0))
    books = prepare(plan)
    for name in ("deals", "accounts"):
        setattr(sandbox.books, name, books.table(name))
    journal = sandbox.requests
    async with sandbox:
        say({"url": sandbox.url, "deals": plan.deals, "accounts": plan.accounts})
        while line := await asyncio.to_thread(sys.stdin.readline):
            if line.strip() == "times":
                say({"times": journal.times()})
            else:
                say({"requests": len(journal), "logins": journal.logins})
            journal.clear()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--deals", type=int, default=3_000_000)
    parser.add_argument("--accounts", type=int, default=200_000)
    asyncio.run(serve(parser.parse_args()))


if __name__ == "__main__":
    main()
