"""A seeded crowd of cTrader traders: the 400 days before the server starts, and what goes on afterwards, round by round."""

import random
from typing import Final

from counterfoil.sandbox import ctrader_catalogue as catalogue
from counterfoil.sandbox.ctrader_ledger import FOREIGN_BRAND, MILLISECOND, SECOND_BRAND, Clock, CtraderLedger
from counterfoil.sandbox.ctrader_rows import (
    DEPOSIT,
    DEPOSIT_BONUS,
    DEPOSIT_CREDIT,
    WITHDRAW,
    WITHDRAW_BONUS,
    WITHDRAW_CREDIT,
    Position,
    Symbol,
    Trader,
)

HISTORY: Final = 400 * 86_400 * 1_000 * MILLISECOND
"""Nanoseconds of the past."""

_MARKED_PER_ROUND: Final = 200
_PARTIAL: Final = 0.1
_TWINS: Final = 12
"""After every twelfth account comes one that was registered in the same millisecond."""


class Past:
    """The clock of the made-up past: as far on as the work is done, and now and then standing still."""

    def __init__(self, end: int, total: int, dice: random.Random) -> None:
        self._start, self._step, self._dice = end - HISTORY, HISTORY // max(1, total), dice
        self._at = self._start
        self.done = 0

    def __call__(self) -> int:
        """Never beyond the end; one look in eight finds the time where the one before it left it."""
        luck = self._dice.random()
        if luck > 0.125:
            self._at = self._start + self._step * self.done + int(luck * self._step)
        return self._at


class Crowd:
    """Everybody who trades. All chance comes from one dice, so that equal seeds give equal books."""

    def __init__(self, ledger: CtraderLedger, dice: random.Random) -> None:
        self._ledger = ledger
        self._dice = dice
        self._symbols = list(ledger.symbols.values())
        self._active: list[Trader] = []
        self._open: list[Position] = []
        self._people: list[int] = []
        self._accounts = 0
        self._last: Trader | None = None

    def live_through(self, wish: tuple[int, int, int], clock: Clock) -> None:
        """Make the past: `wish` is (users, traders, closing deals seen by the manager). It ends at what `clock` says."""
        users, traders, deals = wish
        ledger = self._ledger
        past = Past(clock(), traders + deals, self._dice)
        ledger.clock = past
        while self._accounts < traders or (self._active and len(ledger.deals) < deals):
            past.done = self._accounts + len(ledger.deals)
            if self._accounts < traders and self._accounts * deals <= 2 * len(ledger.deals) * traders:
                trader = self.join(users)
                if self._accounts % _TWINS == 0 and self._accounts < traders:
                    self.join(users, trader.registered_at)
            else:
                self._step(min(3 * len(self._active), deals // 8) + 4)
        while len(self._people) < users:
            self._register()
        ledger.clock = clock
        for position in (*ledger.shown.positions.values(), *ledger.denied.positions.values()):
            ledger.revalue(position)

    def round(self) -> None:
        """One round: quotes move, some people act, open positions are marked to the market."""
        ledger = self._ledger
        for symbol in self._symbols:
            self._move(symbol)
        self._active = [trader for trader in self._active if self._present(trader)]
        for _ in range(max(3, min(50, len(self._active) // 10)) if self._active else 0):
            self._step(3 * len(self._active))
        luck = self._dice.random()
        if luck < 0.1:
            self.join(len(self._people) + (luck < 0.05))
        elif luck < 0.5 and self._active:
            trader = self._dice.choice(self._active)
            trader.contact = {**trader.contact, "phone": f"+4940{self._dice.randrange(10**7):07}"}
            trader.updated_at = ledger.now()
        open_ = list(ledger.positions.values())
        for position in open_ if len(open_) <= _MARKED_PER_ROUND else self._dice.sample(open_, _MARKED_PER_ROUND):
            ledger.revalue(position)

    def _present(self, trader: Trader) -> bool:
        return trader.login in self._ledger.shown.traders or trader.login in self._ledger.denied.traders

    # People

    def _register(self) -> None:
        self._people.append(self._ledger.add_user(f"person{len(self._people) + 1}@example.com").id)

    def join(self, users: int, at: int | None = None) -> Trader:
        """An account is opened, and a person registers as long as there are to be more; nine accounts in ten are linked.

        `at`: milliseconds, when it was opened, instead of now.
        """
        serial = self._accounts
        self._accounts += 1
        if len(self._people) < users:
            self._register()
        trader = self._open_account(serial)
        trader.registered_at = trader.registered_at if at is None else at
        if self._people and serial % 10 != 9:
            self._ledger.link(trader.login, self._people[serial % len(self._people)])
        if serial % 20 != 19:
            self._active.append(trader)
        return trader

    def _open_account(self, serial: int) -> Trader:
        dice = self._dice
        groups = [group.name for group in catalogue.GROUPS if group.name != "bitcoin"]
        bitcoin = serial % 9 == 4
        copies = serial % 23 == 22 and self._last is not None
        trader = self._ledger.add_trader(
            **catalogue.invented_person(dice, serial + 1),
            group="bitcoin" if bitcoin else dice.choice(groups),
            currency="BTC" if bitcoin else ("EUR", "USD")[serial % 2],
            broker=FOREIGN_BRAND if serial % 17 == 16 else SECOND_BRAND if serial % 6 == 5 else self._ledger.broker,
            brand_told=serial % 8 != 7,
            account_type="SPREAD_BETTING" if serial % 13 == 12 else ("HEDGED", "NETTED")[serial % 13 == 6],
            access_rights="CLOSE_ONLY" if serial % 11 == 10 else "FULL_ACCESS",
            leverage=(10_000, 50_000, 3_000)[serial % 3],
            max_leverage=50_000 if serial % 2 else None,
            swap_free=serial % 10 == 3,
            owner=self._last.login if copies and self._last else None,
        )
        if serial % 4:
            trader.connected_at = trader.registered_at
        if not copies:
            self._last = trader
        return trader

    # One thing after another

    def _step(self, wanted: int) -> None:
        """One act of one person. It aims at `wanted` open positions."""
        luck = self._dice.random()
        if luck < 0.015:
            self._move_money(self._anybody())
        elif self._open and luck < (0.4 if len(self._open) < wanted else 0.65):
            self._close_something()
        else:
            self._open_something(self._anybody())

    def _anybody(self) -> Trader:
        return self._active[int(self._dice.random() * len(self._active))]

    def _move(self, symbol: Symbol) -> None:
        """A step of a walk that turns back when it is a quarter away from where it began."""
        stride = symbol.start // 4_000 + 2
        step = int(self._dice.random() * (2 * stride + 1)) - stride
        if abs(symbol.bid + step - symbol.start) * 4 < symbol.start:
            symbol.bid += step

    def _open_something(self, trader: Trader) -> None:
        dice, ledger = self._dice, self._ledger
        symbol = self._symbols[int(dice.random() * len(self._symbols))]
        self._move(symbol)
        volume = (1 + int(dice.random() ** 3 * 150)) * symbol.lot
        if ledger.margin_for(trader, symbol, volume) * 2 > trader.free_margin:
            self._deposit(trader)
            return
        self._open.append(ledger.open_position(trader.login, symbol.name, int(dice.random() * 2), volume))

    def _close_something(self) -> None:
        dice, ledger = self._dice, self._ledger
        place = int(dice.random() * len(self._open))
        position = self._open[place]
        if position.id not in ledger.positions and position.id not in ledger.denied.positions:
            self._forget(place)
            return
        self._move(position.symbol)
        steps = position.left // position.symbol.lot
        if steps > 1 and dice.random() < _PARTIAL:
            ledger.close_position(position.id, (1 + int(dice.random() * (steps - 1))) * position.symbol.lot)
            return
        ledger.close_position(position.id)
        self._forget(place)

    def _forget(self, place: int) -> None:
        """Take one out without moving all the others; their order means nothing."""
        last = self._open.pop()
        if place < len(self._open):
            self._open[place] = last

    def _move_money(self, trader: Trader) -> None:
        ledger, luck = self._ledger, self._dice.random()
        gift = catalogue.from_cents(5_000, trader.currency)
        if luck < 0.4 or trader.cash_equity <= 0:
            self._deposit(trader)
        elif luck < 0.75:
            amount = max(1, trader.cash_equity * self._dice.randrange(1, 30) // 100)
            ledger.move_money(trader.login, -amount, WITHDRAW, "withdrawal", f"out-{self._dice.randrange(10**6):06}")
        elif luck < 0.9:
            kind, amount = (WITHDRAW_CREDIT, -trader.credit) if trader.credit else (DEPOSIT_CREDIT, gift)
            ledger.move_money(trader.login, amount, kind, "credit")
        else:
            kind, amount = (WITHDRAW_BONUS, -trader.bonus) if trader.bonus else (DEPOSIT_BONUS, gift)
            ledger.move_money(trader.login, amount, kind, "bonus")

    def _deposit(self, trader: Trader) -> None:
        amount = catalogue.from_cents(self._dice.randrange(500_000, 50_000_000), trader.currency)
        self._ledger.move_money(trader.login, amount, DEPOSIT, "card", f"in-{self._dice.randrange(10**6):06}")
