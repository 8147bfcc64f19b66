"""The whole simulated cTrader server as one object: its past from a seed, its market, its own truth.

Tests call these methods in process; `/_sandbox/...` offers the same over HTTP. `traders`, `positions` and `deals` hold what
the manager may see; accounts under the white label that it is denied live apart, and count in nothing that it is told.
"""

import random
import time
from collections import defaultdict
from collections.abc import Iterator, Sized
from typing import Any, Final

from counterfoil.sandbox import ctrader_wire as wire
from counterfoil.sandbox.books import UnknownRowError
from counterfoil.sandbox.ctrader_catalogue import DIGITS
from counterfoil.sandbox.ctrader_ledger import Clock, CtraderLedger, Shelf
from counterfoil.sandbox.ctrader_market import Crowd
from counterfoil.sandbox.ctrader_rows import LEDGERS, Deal
from counterfoil.sandbox.ledger import RefusedError
from counterfoil.sandbox.text import ENCODER

RESOURCES: Final = ("groups", "symbols", "assets", "users", "traders", "links", "positions", "deals", "history")
"""The names of the tables, as `/_sandbox/...` and the methods below take them."""

_LATE: Final = 3_600_000
"""How many milliseconds a late deal comes too late."""


class CtraderBooks(CtraderLedger):
    """A broker's server with users, traders and a past. Equal arguments and clock give equal books."""

    def __init__(
        self,
        *,
        clients: int = 100,
        accounts: int = 200,
        deals: int = 2_000,
        seed: int = 1,
        broker: str = "BESTBROKER",
        clock: Clock = time.time_ns,
    ) -> None:
        super().__init__(clock, broker)
        self.crowd = Crowd(self, random.Random(seed))
        self.crowd.live_through((clients, accounts, deals), clock)

    # What happens on request

    def trade(self, rounds: int = 1) -> None:
        """Let the market run for some rounds."""
        for _ in range(rounds):
            self.crowd.round()

    def close_some(self, login: int, count: int, pnl: int | None = None) -> list[Deal]:
        """Close so many open positions of an account, one that is opened for it when there are none."""
        if not self.positions_of(login):
            self.open_position(login)
        return [self.close_position(position.id, pnl=pnl) for position in self.positions_of(login)[:count]]

    def late(self, count: int = 1) -> list[int]:
        """Positions close, and the server says so an hour too late: their deals lie in a window already over."""
        logins = list(self.traders)
        booked: list[int] = []
        for place in range(count if logins else 0):
            at = self.now() - _LATE - place
            position = self.open_position(logins[place % len(logins)], at=at - 1)
            booked.append(self.close_position(position.id, at=at).id)
        return booked

    def delete(self, resource: str, key: int) -> None:
        """Make a row disappear for good: an account vanishes; a deal takes its effect on the balance with it."""
        if resource == "traders":
            self.vanish(key)
        elif resource == "positions":
            self.drop_position(key)
        elif resource == "deals":
            self.strike(self._deal(key))
        else:
            raise RefusedError("only traders, positions and deals can be deleted")

    def touch(self, resource: str, key: int) -> None:
        """Change an account: its description and its time of change."""
        if resource != "traders":
            raise RefusedError("only traders can be touched")
        trader = self.trader(key)
        trader.updated_at = self.now()
        trader.description = f"touched {trader.updated_at}"

    def _deal(self, key: int) -> Deal:
        for deal in self.deals:
            if deal.id == key:
                return deal
        raise UnknownRowError(f"no deal {key}")

    # What is true

    def table(self, resource: str) -> Sized:
        """The rows of a resource of `RESOURCES`, to be counted."""
        if resource not in RESOURCES:
            raise UnknownRowError(f"no resource {resource!r}; there are {', '.join(RESOURCES)}")
        found: Sized = DIGITS if resource == "assets" else getattr(self, resource)
        return found

    def rows(self, resource: str) -> Iterator[bytes]:
        """Every row's JSON: what a complete mirror must hold. Positions have the keys of their columns."""
        self.table(resource)
        return map(ENCODER.encode, self._fields(resource))

    def _fields(self, resource: str) -> Iterator[Any]:
        if resource == "traders":
            return (wire.trader_fields(trader, self) for trader in self.traders.values())
        if resource == "positions":
            rows = self.positions.values()
            return (wire.as_json(wire.OPEN_COLUMNS, wire.open_cells(position, self)) for position in rows)
        if resource == "deals":
            known = self.traders
            return (
                wire.as_json(wire.CLOSED_COLUMNS, wire.closed_cells(deal, known[deal.login])) for deal in self.deals
            )
        if resource == "links":
            return ({"login": login, "userId": user_id} for login, user_id in self.links.items())
        simple: dict[str, Iterator[Any]] = {
            "groups": iter(self.groups),
            "symbols": map(wire.symbol_fields, self.symbols.values()),
            "assets": iter(DIGITS),
            "users": map(wire.user_fields, self.users.values()),
            "history": map(wire.movement_fields, self.history),
        }
        return simple[resource]

    def warm(self, *_resources: str) -> None:
        """Nothing is kept ready here: a row is written when it is asked for."""

    def check(self) -> list[str]:
        """What does not add up; empty when the books are in order."""
        moved: dict[tuple[int, str], int] = defaultdict(int)
        for movement in self.history:
            moved[movement.login, LEDGERS[movement.kind]] += movement.amount
        return [wrong for shelf in self._shelves() for wrong in _disagreements(shelf, moved)]

    def truth(self) -> dict[str, Any]:
        """Counts, each account's money as exact text, and the deals' sums by currency: for tests that compare."""
        return {
            "counts": {name: len(self.table(name)) for name in RESOURCES},
            "denied": len(self.denied.traders),
            "vanished": len(self.gone.traders),
            "accounts": {str(login): self._account_truth(login) for login in self.traders},
            "deals": {"count": len(self.deals), "pnl": self._results()},
            "wrong": self.check(),
        }

    def _account_truth(self, login: int) -> dict[str, str]:
        trader = self.traders[login]
        sums = {"balance": trader.balance, "bonus": trader.bonus, "nonWithdrawableBonus": trader.credit}
        sums |= {"equity": trader.equity, "usedMargin": trader.margin}
        return {"currency": trader.currency, **{name: wire.fixed(value, trader.digits) for name, value in sums.items()}}

    def _results(self) -> dict[str, str]:
        totals: dict[str, int] = defaultdict(int)
        for deal in self.deals:
            totals[self.traders[deal.login].currency] += deal.pnl
        return {currency: wire.fixed(total, DIGITS[currency]) for currency, total in sorted(totals.items())}


def _disagreements(shelf: Shelf, moved: dict[tuple[int, str], int]) -> Iterator[str]:
    """Accounts whose sums are not those of their rows."""
    won: dict[int, int] = defaultdict(int)
    floating: dict[int, int] = defaultdict(int)
    margin: dict[int, int] = defaultdict(int)
    for deal in shelf.deals:
        won[deal.login] += deal.pnl
    for position in shelf.positions.values():
        floating[position.login] += position.floating
        margin[position.login] += position.margin
    for login, trader in shelf.traders.items():
        kept = (trader.balance, trader.bonus, trader.credit, trader.floating, trader.margin)
        sums = (moved[login, "balance"] + won[login], moved[login, "bonus"], moved[login, "credit"])
        true = (*sums, floating[login], margin[login])
        if kept != true:
            yield f"trader {login}: (balance, bonus, credit, floating, margin) {kept}, by its rows {true}"
