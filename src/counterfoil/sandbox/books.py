"""The whole simulated platform as one object: its past from a seed, its market, its own truth, and a broker's mischief.

Tests call these methods in process; `/_sandbox/...` offers the same over HTTP.
"""

import random
import time
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Final

from counterfoil.sandbox import catalogue, market
from counterfoil.sandbox.exchange import Exchange
from counterfoil.sandbox.ledger import Clock
from counterfoil.sandbox.rows import CREDIT, Account, Deal, Order, Position, Record, Transaction
from counterfoil.sandbox.tables import Ids, Table
from counterfoil.sandbox.text import DAY, number

AnyRow = Record | Account | Order | Position | Deal | Transaction

RESOURCES: Final = (
    *("clients", "accounts", "groups", "symbols", "group_symbols", "commissions"),
    *("orders", "orders_history", "positions", "positions_history", "deals", "transactions"),
)
"""The names of the tables, as `/_sandbox/...` and the methods below take them."""

_SUMS: Final = ("profit", "commission", "swap", "storage", "fee")


class UnknownRowError(LookupError):
    """No such resource, or no such row in it."""


class Books(Exchange):
    """A broker's platform with clients, accounts and a past. Equal arguments and clock give equal books."""

    def __init__(
        self, *, clients: int = 100, accounts: int = 200, deals: int = 2_000, seed: int = 1, clock: Clock = time.time_ns
    ) -> None:
        super().__init__(clock)
        dice = random.Random(seed)
        self.crowd = market.Crowd(self, dice)
        self._set_up(clock() - 400 * DAY)
        market.history(self.crowd, self, (clients, accounts, deals), clock)

    def _set_up(self, at: int) -> None:
        for plan in catalogue.PLANS:
            self.groups.add(Record(plan.id, at, at, catalogue.group_fields(plan, at)))
        for instrument in self.instruments.values():
            self.symbols.add(Record(instrument.id, at, at, catalogue.symbol_fields(instrument, at)))
        terms, charges = Ids(), Ids()
        for group in self.trading_groups.values():
            for instrument in self.instruments.values():
                key = terms.draw()
                self.group_symbols.add(Record(key, at, at, catalogue.group_symbol_fields(key, group, instrument, at)))
            for class_id in group.commission:
                key = charges.draw()
                self.commissions.add(Record(key, at, at, catalogue.commission_fields(key, group, class_id, at)))

    # What happens on request

    def trade(self, rounds: int = 1) -> None:
        """Let the market run for some rounds."""
        for _ in range(rounds):
            self.crowd.round()

    def late(self, count: int = 1) -> list[int]:
        """Book deals under old ids that were left unused, as if committed late; returns their ids.

        Fewer than `count` when the unused ids run out (`deal_ids.reserve` makes more).
        """
        booked: list[int] = []
        positions = self.positions_history
        while len(booked) < count and self.accounts.ids and (key := self.deal_ids.draw_late()) is not None:
            position = positions.rows[positions.ids[key % len(positions)]] if len(positions) else None
            owner = position.account if position else None
            account = owner if owner and owner.id in self.accounts.rows else self.accounts.rows[self.accounts.ids[0]]
            self.adjust(key, account, position, -(1 + key % 97))
            booked.append(key)
        return booked

    def touch(self, resource: str, key: int) -> None:
        """Change a row: its time of change and a field that anybody may fill."""
        table, row = self._find(resource, key)
        row.updated_at = self.now()
        note = f"touched {row.updated_at}"
        if isinstance(row, Record):
            row.fields["comment" if "comment" in row.fields else "desc"] = note
        elif isinstance(row, Account):
            row.profile["company"] = note
        else:
            row.comment = note
        table.changed(row)
        if isinstance(row, Deal | Position | Order):
            self.told(f"{resource.removesuffix('_history')}_update", row)

    def delete(self, resource: str, key: int) -> None:
        """Make a row disappear for good. A deal takes its effect on the balance with it, so the books still agree."""
        table, row = self._find(resource, key)
        if isinstance(row, Deal):
            self.strike(row)
        elif isinstance(row, Transaction):
            self.strike(self.deals.rows[key])
        elif isinstance(row, Position):
            self.drop_position(row)
        else:
            table.remove(key)

    def leave_front(self, resource: str) -> None:
        """The lowest row leaves its listing the way rows of its kind do: it closes, is cancelled or is deleted."""
        table = self.table(resource)
        if not table.ids:
            return
        row = table.rows[table.ids[0]]
        if resource == "positions" and isinstance(row, Position):
            self.close_position(row)
        elif resource == "orders" and isinstance(row, Order):
            self.end_order(row)
        else:
            self.delete(resource, row.id)

    def enter_front(self, resource: str) -> None:
        """A row with an old id enters a listing: a late deal, or something that ended long after it began."""
        if resource == "deals":
            self.late(1)
        elif resource == "positions_history" and self.positions.ids:
            self.close_position(self.positions.rows[self.positions.ids[0]])
        elif resource == "orders_history" and self.orders.ids:
            self.end_order(self.orders.rows[self.orders.ids[0]])
        elif resource == "clients":
            self.crowd.register(key=self.client_ids.draw_late())

    def table(self, resource: str) -> Table[Any]:
        """A table by its name in `RESOURCES`."""
        if resource not in RESOURCES:
            raise UnknownRowError(f"no resource {resource!r}; there are {', '.join(RESOURCES)}")
        table: Table[Any] = getattr(self, resource)
        return table

    def _find(self, resource: str, key: int) -> tuple[Table[Any], AnyRow]:
        """A row; live resources look into their history too."""
        for name in (resource, f"{resource}_history") if resource in {"orders", "positions"} else (resource,):
            table = self.table(name)
            row = table.get(key)
            if row is not None:
                return table, row
        raise UnknownRowError(f"no row {key} in {resource}")

    # What is true

    def rows(self, resource: str) -> Iterator[bytes]:
        """Every row's JSON by ascending id: what a complete mirror must hold."""
        table = self.table(resource)
        return map(table.json, table.ids)

    def warm(self, *resources: str) -> None:
        """Write the JSON of some resources (none named: all) now, so that timing a client does not time the sandbox."""
        for resource in resources or RESOURCES:
            self.table(resource).warm()

    def sums(self) -> dict[int, tuple[int, int]]:
        """Balance and credit of each account, added up from its deals alone."""
        balances: dict[int, int] = defaultdict(int)
        credits_: dict[int, int] = defaultdict(int)
        for deal in self.deals:
            (credits_ if deal.side == CREDIT else balances)[deal.account_id] += deal.net
        return {key: (balances[key], credits_[key]) for key in self.accounts.ids}

    def check(self) -> list[str]:
        """What does not add up; empty when the books are in order."""
        sums = self.sums()
        floating: dict[int, int] = defaultdict(int)
        margin: dict[int, int] = defaultdict(int)
        for position in self.positions:
            floating[position.account.id] += position.profit
            margin[position.account.id] += position.margin
        wrong: list[str] = []
        for account in self.accounts:
            kept = (account.balance, account.credit, account.floating, account.margin)
            true = (*sums[account.id], floating[account.id], margin[account.id])
            if kept != true:
                wrong.append(f"account {account.id}: (balance, credit, floating, margin) {kept}, by its rows {true}")
        return wrong

    def truth(self) -> dict[str, Any]:
        """Counts, each account's money as exact text, and the deals' sums by currency: for tests that compare."""
        return {
            "counts": {name: len(self.table(name)) for name in RESOURCES},
            "accounts": {str(account.id): self._account_truth(account) for account in self.accounts},
            "deals": self._deal_truth(),
            "wrong": self.check(),
        }

    def _account_truth(self, account: Account) -> dict[str, str]:
        digits = account.group.digits
        names = ("balance", "credit", "floating", "equity", "margin")
        return {"currency": account.group.currency, **{n: number(getattr(account, n), digits) for n in names}}

    def _deal_truth(self) -> dict[str, str | int]:
        totals: dict[tuple[str, int], int] = defaultdict(int)
        for deal in self.deals:
            for name in _SUMS:
                totals[name, deal.currency_digits] += getattr(deal, name)
        digits = max((digits for _, digits in totals), default=0)
        added = {name: sum(v * 10 ** (digits - d) for (n, d), v in totals.items() if n == name) for name in _SUMS}
        return {"count": len(self.deals), **{name: number(value, digits) for name, value in added.items()}}
