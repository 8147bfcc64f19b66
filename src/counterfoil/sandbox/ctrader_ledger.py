"""The tables of the simulated cTrader server and every way in which money, positions and people can change.

A balance is always the sum of its movements and of the net results of its closing deals, to the last unit of moneyDigits;
opening, commission and swap are not booked apart. Nothing here throws dice or looks at requests.
"""

import bisect
import hashlib
from collections.abc import Callable, Iterator
from typing import Any, Final

from counterfoil.sandbox import ctrader_catalogue as catalogue
from counterfoil.sandbox.books import UnknownRowError
from counterfoil.sandbox.ctrader_rows import (
    BUY,
    LEDGERS,
    OUTWARD,
    Deal,
    Group,
    Movement,
    Position,
    Symbol,
    Trader,
    User,
)
from counterfoil.sandbox.tables import Ids

Clock = Callable[[], int]
"""Nanoseconds since 1970, UTC."""

MILLISECOND: Final = 1_000_000
DAY: Final = 86_400_000
"""Milliseconds in a day."""

SECOND_BRAND: Final = "SECONDBRAND"
FOREIGN_BRAND: Final = "OTHERBRAND"
"""White labels of the same plant; the manager is denied the other one (reference, section 1.2)."""

PASSWORD: Final = "trader"  # noqa: S105 - what accounts have that were made without one
_PER_MILLION: Final = 60
"""US dollars of commission per million traded, both sides together."""


def md5(text: str) -> str:
    """How this API wants a password (reference, section 1.1)."""
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def _by_closing(deal: Deal) -> tuple[int, int]:
    return deal.closed_at, deal.id


class Shelf:
    """Accounts that are seen by the same eyes, with what they trade. `deals` are ordered by the time of closing."""

    def __init__(self) -> None:
        self.traders: dict[int, Trader] = {}
        self.positions: dict[int, Position] = {}
        self.deals: list[Deal] = []


class CtraderLedger:
    """All tables and the bookings on them. What the manager may see is in `traders`, `positions` and `deals`."""

    def __init__(self, clock: Clock, broker: str) -> None:
        self.clock = clock
        self.broker = broker
        self.brands = (broker, SECOND_BRAND, FOREIGN_BRAND)
        self._latest = 0
        self._factors: dict[tuple[int, str], catalogue.Factors] = {}
        self.groups: tuple[Group, ...] = catalogue.GROUPS
        self.symbols: dict[str, Symbol] = {symbol.name: symbol for symbol in catalogue.symbols()}
        self.shown, self.denied, self.gone = Shelf(), Shelf(), Shelf()
        self.users: dict[str, User] = {}
        self.links: dict[int, int] = {}
        self.link_ids: dict[int, int] = {}
        self.history: list[Movement] = []
        self._logins, self._position_ids, self._deal_ids = Ids(3_000_001), Ids(6_101), Ids(4_690_813)
        self._user_ids, self._link_ids, self._movement_ids = Ids(70_001), Ids(910_001), Ids(500_001)

    @property
    def traders(self) -> dict[int, Trader]:
        """By login: the accounts that the manager sees."""
        return self.shown.traders

    @property
    def positions(self) -> dict[int, Position]:
        """By id: what is open on them."""
        return self.shown.positions

    @property
    def deals(self) -> list[Deal]:
        """Their closing deals by the time of closing."""
        return self.shown.deals

    def now(self) -> int:
        """The clock in milliseconds, never running backwards."""
        self._latest = max(self._latest, self.clock() // MILLISECOND)
        return self._latest

    # People and accounts

    def add_user(self, email: str, language: str = "EN") -> User:
        """The user with this e-mail address, made when there is none; letter case does not matter (ASSUMED)."""
        key = email.lower()
        if key not in self.users:
            self.users[key] = User(id=self._user_ids.draw(), email=email, language=language, created_at=self.now())
        return self.users[key]

    def user(self, key: int) -> User | None:
        """A user by its id."""
        return next((user for user in self.users.values() if user.id == key), None)

    def add_trader(self, **fields: Any) -> Trader:
        """A new account with nothing in it: the fields of `Trader`, all of them optional."""
        at = self.now()
        given = {
            "group": catalogue.DEFAULT_GROUP,
            "currency": "EUR",
            "broker": self.broker,
            "registered_at": at,
            "updated_at": at,
            "password_hash": md5(PASSWORD),
            "contact": {},
            **fields,
        }
        trader = Trader(login=self._logins.draw(), digits=catalogue.DIGITS[given["currency"]], **given)
        self._shelf(trader).traders[trader.login] = trader
        return trader

    def link(self, login: int, user_id: int) -> int:
        """Link an account to a user; the id of the link."""
        self.links[login] = user_id
        self.link_ids[login] = self._link_ids.draw()
        return self.link_ids[login]

    def vanish(self, login: int) -> None:
        """The platform removes an account: it, its positions, its deals and its link are seen no more."""
        trader = self.trader(login)
        self._carry(trader, self._shelf(trader), self.gone)
        self.links.pop(login, None)
        self.link_ids.pop(login, None)

    def change_brand(self, trader: Trader, broker: str) -> None:
        """Move an account under another white label, out of sight if it is the one that is denied."""
        before = self._shelf(trader)
        trader.broker, trader.brand_told = broker, True
        self._carry(trader, before, self._shelf(trader))

    @staticmethod
    def _carry(trader: Trader, source: Shelf, target: Shelf) -> None:
        login = trader.login
        if source is target:
            return
        target.traders[login] = source.traders.pop(login)
        mine = [key for key, position in source.positions.items() if position.login == login]
        target.positions.update((key, source.positions.pop(key)) for key in mine)
        target.deals.extend(deal for deal in source.deals if deal.login == login)
        target.deals.sort(key=_by_closing)
        source.deals[:] = [deal for deal in source.deals if deal.login != login]

    def _shelf(self, trader: Trader) -> Shelf:
        return self.denied if trader.broker == FOREIGN_BRAND else self.shown

    def trader(self, login: int) -> Trader:
        """An account, seen by the manager or not. Raises UnknownRowError."""
        found = self.shown.traders.get(login) or self.denied.traders.get(login)
        if found is None:
            raise UnknownRowError(f"no trader {login}")
        return found

    def positions_of(self, login: int) -> list[Position]:
        """What is open on an account, the oldest first."""
        shelf = self._shelf(self.trader(login))
        return [position for position in shelf.positions.values() if position.login == login]

    # Money

    def move_money(self, login: int, amount: int, kind: str, comment: str = "", external_id: str = "") -> Movement:
        """Book money, credit or bonus, asking for no cover. `amount` is signed in the account's smallest unit.

        `kind` is one of `LEDGERS`, and the sign must be the one that it stands for.
        """
        if kind not in LEDGERS or not amount or (amount < 0) is not (kind in OUTWARD):
            raise ValueError(f"{amount} is no {kind}")
        trader, at = self.trader(login), self.now()
        movement = Movement(
            id=self._movement_ids.draw(),
            login=login,
            kind=kind,
            amount=amount,
            digits=trader.digits,
            at=at,
            comment=comment,
            external_id=external_id,
        )
        self.history.append(movement)
        ledger = LEDGERS[kind]
        setattr(trader, ledger, getattr(trader, ledger) + amount)
        trader.updated_at = at
        self._mark(trader, at)
        return movement

    @staticmethod
    def _mark(trader: Trader, at: int) -> None:
        """Remember the extremes of the day's equity; the day starts at midnight UTC (reference, section 1.4)."""
        equity, day = trader.equity, at // DAY
        if day != trader.day:
            trader.day, trader.low, trader.high = day, equity, equity
        elif equity < trader.low:
            trader.low = equity
        elif equity > trader.high:
            trader.high = equity

    def extremes(self, trader: Trader) -> tuple[int, int]:
        """The lowest and the highest equity of this day."""
        self._mark(trader, self.now())
        return trader.low, trader.high

    # Trading

    def worth(self, symbol: Symbol, currency: str, points: int, volume: int) -> int:
        """Points of a volume in the smallest unit of a currency, rounded down."""
        factor = self._factors.get((symbol.id, currency))
        if factor is None:
            factor = self._factors[symbol.id, currency] = catalogue.factors(symbol, currency)
        return points * volume * factor.up // factor.down

    def margin_for(self, trader: Trader, symbol: Symbol, volume: int) -> int:
        """What a position of this volume would bind; leverage 0 counts as 1:1."""
        return self.worth(symbol, trader.currency, symbol.bid, volume) * 100 // (trader.leverage or 100)

    def commission_for(self, symbol: Symbol, price: int, volume: int) -> int:
        """US cents for opening and closing a volume."""
        return self.worth(symbol, "USD", price, volume) * _PER_MILLION // 1_000_000

    def swap_for(self, position: Position, volume: int, at: int) -> int:
        """US cents for the nights that a volume was held, negative when it costs."""
        symbol = position.symbol
        nights = at // DAY - position.opened_at // DAY
        rate = symbol.swap_long if position.side == BUY else symbol.swap_short
        return rate * nights * volume // (symbol.lot * 100) if nights else 0

    def open_position(
        self, login: int, symbol: str = "EURUSD", side: int = BUY, volume: int = 100_000, at: int | None = None
    ) -> Position:
        """Open at the market; `volume` is in hundredths of a base unit. `at`: when, instead of now."""
        trader, traded = self.trader(login), self.symbols[symbol]
        position = Position(
            id=self._position_ids.draw(),
            login=login,
            symbol=traded,
            side=side,
            entry=traded.ask if side == BUY else traded.bid,
            volume=volume,
            left=volume,
            margin=self.margin_for(trader, traded, volume),
            opened_at=self.now() if at is None else at,
        )
        if trader.account_type == "SPREAD_BETTING":
            position.betting, position.stake = True, self.worth(traded, trader.currency, 10, volume)
        trader.margin += position.margin
        self._shelf(trader).positions[position.id] = position
        return position

    def close_position(
        self, position_id: int, volume: int | None = None, *, pnl: int | None = None, at: int | None = None
    ) -> Deal:
        """Close a position, or `volume` of it. `pnl`: the net result, instead of the market's; `at`: when."""
        position, trader = self._open(position_id)
        volume = position.left if volume is None else volume
        if not 0 < volume <= position.left:
            raise ValueError(f"position {position_id} has no {volume} left")
        symbol, closed_at = position.symbol, self.now() if at is None else at
        price = symbol.bid if position.side == BUY else symbol.ask
        commission, swap = self.commission_for(symbol, price, volume), self.swap_for(position, volume, closed_at)
        if pnl is None:
            charged = catalogue.from_cents(swap, trader.currency) - catalogue.from_cents(commission, trader.currency)
            pnl = self._gross(position, trader, volume) + charged
        deal = Deal(
            id=self._deal_ids.draw(),
            position=position,
            price=price,
            volume=volume,
            commission=commission,
            swap=swap,
            pnl=pnl,
            closed_at=closed_at,
        )
        self._shrink(position, trader, volume)
        self._file(deal, self._shelf(trader).deals)
        trader.balance += pnl
        self._mark(trader, self.now())
        return deal

    @staticmethod
    def _file(deal: Deal, deals: list[Deal]) -> None:
        if deals and deal.closed_at < deals[-1].closed_at:
            bisect.insort(deals, deal, key=_by_closing)
        else:
            deals.append(deal)

    def _gross(self, position: Position, trader: Trader, volume: int) -> int:
        symbol = position.symbol
        points = symbol.bid - position.entry if position.side == BUY else position.entry - symbol.ask
        return self.worth(symbol, trader.currency, points, volume)

    def _shrink(self, position: Position, trader: Trader, volume: int) -> None:
        released = position.margin * volume // position.left
        position.left -= volume
        position.margin -= released
        trader.margin -= released
        if position.left:
            self.revalue(position)
            return
        trader.floating -= position.floating
        position.floating = 0
        del self._shelf(trader).positions[position.id]

    def revalue(self, position: Position) -> None:
        """Mark an open position to the market; no time of change moves."""
        trader = self.trader(position.login)
        floating = self._gross(position, trader, position.left)
        trader.floating += floating - position.floating
        position.floating = floating
        self._mark(trader, self.now())

    def drop_position(self, position_id: int) -> None:
        """Take an open position out without a deal, as a broker's repair would."""
        position, trader = self._open(position_id)
        del self._shelf(trader).positions[position_id]
        trader.margin -= position.margin
        trader.floating -= position.floating

    def strike(self, deal: Deal) -> None:
        """Delete a closing deal and undo what it did to the balance."""
        self.deals.remove(deal)
        self.trader(deal.login).balance -= deal.pnl

    def _open(self, position_id: int) -> tuple[Position, Trader]:
        position = self.shown.positions.get(position_id) or self.denied.positions.get(position_id)
        if position is None:
            raise UnknownRowError(f"no open position {position_id}")
        return position, self.trader(position.login)

    def _shelves(self) -> Iterator[Shelf]:
        yield from (self.shown, self.denied, self.gone)
