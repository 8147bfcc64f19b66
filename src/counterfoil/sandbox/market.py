"""A seeded crowd of traders: the history before the server starts, and what goes on afterwards, round by round."""

import random
from collections.abc import Callable
from typing import Final, TypeVar

from counterfoil.sandbox import catalogue
from counterfoil.sandbox.exchange import Exchange
from counterfoil.sandbox.ledger import RefusedError
from counterfoil.sandbox.rows import (
    BALANCE,
    BUY_LIMIT,
    BUY_STOP,
    CANCELLED,
    CREDIT,
    EXPIRED,
    OPEN,
    REASON_CLIENT,
    REASON_STOP_LOSS,
    REASON_TAKE_PROFIT,
    SELL_LIMIT,
    SELL_STOP,
    Account,
    Instrument,
    Order,
    Position,
)
from counterfoil.sandbox.text import DAY

_HISTORY: Final = 90 * DAY
_IDLE_PERIOD: Final = 20
"""Every twentieth account never holds money nor trades, so that empty histories exist."""
_MARKED_PER_ROUND: Final = 200
_RESTING: Final = 60
"""About how many pending orders rest in the market."""
_PARTIAL: Final = 0.1

T = TypeVar("T")


class Timeline:
    """The clock of the made-up history: a small step at each look, and now and then none at all."""

    def __init__(self, start: int, step: int) -> None:
        self._at, self._step, self._looks = start, step, 0

    def __call__(self) -> int:
        """The next moment; one in eight shares its time with the one before."""
        self._looks += 1
        if self._looks % 8:
            self._at += self._step
        return self._at


class Crowd:
    """Everybody who trades. All chance comes from one dice, so that equal seeds give equal books."""

    def __init__(self, exchange: Exchange, dice: random.Random) -> None:
        self._exchange = exchange
        self._dice = dice
        self._instruments = list(exchange.instruments.values())
        self._active: list[Account] = []
        self._open: list[Position] = []
        self._resting: list[Order] = []
        self._people = 0

    # Before the start

    def settle(self, clients: int, accounts: int) -> None:
        """People register and open accounts."""
        for _ in range(clients):
            self.register()
        owners = self._exchange.clients.ids
        for serial in range(accounts if owners else 0):
            self.open_account(owners[serial % len(owners)])

    def trade_until(self, deals: int) -> None:
        """First deposits, then trading, until the ledger has exactly this many deals."""
        exchange = self._exchange
        for account in list(self._active)[:deals]:
            self._deposit(account, "first deposit")
        while self._active and len(exchange.deals) < deals:
            self._step(min(3 * len(self._active), deals // 8) + 4)
        for position in exchange.positions:
            exchange.revalue(position)

    # While the server runs

    def round(self) -> None:
        """One round: quotes move, some people act, open positions are marked to the market."""
        for instrument in self._instruments:
            self._move(instrument)
        self._active = [account for account in self._active if account.id in self._exchange.accounts.rows]
        for _ in range(max(3, min(50, len(self._active) // 10)) if self._active else 0):
            self._step(3 * len(self._active))
        self._run_the_office()
        positions = self._exchange.positions
        ids = positions.ids
        chosen = ids if len(ids) <= _MARKED_PER_ROUND else self._dice.sample(ids, _MARKED_PER_ROUND)
        for key in chosen:
            self._exchange.revalue(positions.rows[key])

    def _run_the_office(self) -> None:
        exchange, luck = self._exchange, self._dice.random()
        if luck < 0.1 or not exchange.clients.ids:
            self.register()
        elif luck < 0.2:
            self.open_account(self._dice.choice(exchange.clients.ids))
        elif luck < 0.5:
            client = exchange.clients.rows[self._dice.choice(exchange.clients.ids)]
            client.fields["mobile"] = f"+4940{self._dice.randrange(10**7):07}"
            client.updated_at = exchange.now()
            exchange.clients.changed(client)

    def register(self, *, key: int | None = None) -> int:
        """A made-up person becomes a client; returns the id."""
        self._people += 1
        return self._exchange.add_client(catalogue.invented_client(self._dice, self._people), key=key).id

    def open_account(self, client_id: int) -> Account:
        """An account for a client, in any of the groups that hold accounts."""
        fields = self._exchange.clients.rows[client_id].fields
        group = self._dice.choice(list(self._exchange.trading_groups.values()))
        profile = {name: fields[name] for name in ("first_name", "family_name", "email", "country", "city")}
        profile["phone"] = fields["mobile"]
        account = self._exchange.add_account(
            client_id, group, f"trader{client_id}-{self._dice.getrandbits(32):08x}", profile
        )
        if account.id % _IDLE_PERIOD:
            self._active.append(account)
        return account

    # One thing after another

    def _step(self, wanted: int) -> None:
        """One act of one person. It aims at `wanted` open positions."""
        luck = self._dice.random()
        if luck < 0.01:
            self._move_money(self._anybody())
        elif luck < 0.06:
            self._touch_orders()
        elif self._open and luck < (0.42 if len(self._open) < wanted else 0.64):
            self._close_something()
        else:
            self._open_something(self._anybody())

    def _anybody(self) -> Account:
        return self._active[int(self._dice.random() * len(self._active))]

    def _move(self, instrument: Instrument) -> None:
        """A step of a walk that turns back when it is a quarter away from where it began."""
        stride = instrument.start // 4_000 + 2
        step = int(self._dice.random() * (2 * stride + 1)) - stride
        if abs(instrument.bid + step - instrument.start) * 4 < instrument.start:
            instrument.bid += step

    def _volume(self) -> int:
        return 1 + int(self._dice.random() ** 3 * 150)

    def _open_something(self, account: Account) -> None:
        dice, exchange = self._dice, self._exchange
        instrument = self._instruments[int(dice.random() * len(self._instruments))]
        self._move(instrument)
        volume = self._volume()
        if exchange.margin_for(account, instrument, volume) * 2 > account.free:
            self._deposit(account, "")
            return
        order = exchange.new_order(account, instrument, int(dice.random() * 2), volume)
        distance = instrument.spread * 20
        far = (instrument.bid - distance, instrument.bid + distance)
        stop, take = (None, None) if dice.random() < 0.7 else (far[order.side], far[1 - order.side])
        self._open.append(exchange.open_position(order, stop=stop, take=take))

    def _close_something(self) -> None:
        dice = self._dice
        place = int(dice.random() * len(self._open))
        position = self._open[place]
        known = self._exchange.positions.get(position.id)
        if known is not position or position.status != OPEN:
            _forget(self._open, place)
            return
        self._move(position.instrument)
        if position.volume_left > 1 and dice.random() < _PARTIAL:
            self._exchange.close_position(position, volume=1 + int(dice.random() * (position.volume_left - 1)))
            return
        automatic = (REASON_STOP_LOSS, REASON_TAKE_PROFIT)[int(dice.random() * 2)]
        self._exchange.close_position(position, reason=REASON_CLIENT if position.price_sl is None else automatic)
        _forget(self._open, place)

    def _touch_orders(self) -> None:
        """Place a pending order, or let one be filled, cancelled or expire."""
        if len(self._resting) < _RESTING and self._dice.random() < 0.6:
            self._place()
            return
        if not self._resting:
            return
        place = int(self._dice.random() * len(self._resting))
        order = self._resting[place]
        _forget(self._resting, place)
        if self._exchange.orders.get(order.id) is not order:
            return
        need = self._exchange.margin_for(order.account, order.instrument, order.volume)
        if self._dice.random() < 0.5 and need * 2 <= order.account.free:
            self._open.append(self._exchange.fill_order(order))
        else:
            self._exchange.end_order(order, EXPIRED if order.expires_at else CANCELLED)

    def _place(self) -> None:
        dice, instrument = self._dice, self._dice.choice(self._instruments)
        kind = dice.choice((BUY_LIMIT, BUY_STOP, SELL_LIMIT, SELL_STOP))
        away = instrument.spread * dice.randrange(5, 60)
        price = instrument.bid - away if kind in (BUY_LIMIT, SELL_STOP) else instrument.bid + away
        account, volume = self._anybody(), self._volume()
        lasts = DAY if dice.random() < 0.5 else None
        order = self._exchange.place_order(account, instrument, kind, volume=volume, price=price, lasts=lasts)
        self._resting.append(order)

    def _move_money(self, account: Account) -> None:
        luck = self._dice.random()
        if luck < 0.4:
            self._deposit(account, f"card {self._dice.randrange(10**6):06}")
            return
        try:
            if luck < 0.75:
                amount = -max(1, account.balance * self._dice.randrange(1, 30) // 100)
                self._exchange.move_money(account, amount, BALANCE, "withdrawal")
            else:
                bonus = catalogue.in_currency(5_000, account.group)
                self._exchange.move_money(account, -bonus if account.credit else bonus, CREDIT, "bonus")
        except RefusedError:
            self._deposit(account, "")

    def _deposit(self, account: Account, comment: str) -> None:
        cents = self._dice.randrange(50_000, 5_000_000)
        self._exchange.move_money(account, catalogue.in_currency(cents, account.group), BALANCE, comment)


def _forget(items: list[T], place: int) -> None:
    """Take one out without moving all the others; their order means nothing."""
    last = items.pop()
    if place < len(items):
        items[place] = last


def history(crowd: Crowd, exchange: Exchange, wish: tuple[int, int, int], clock: Callable[[], int]) -> None:
    """Make the past: `wish` is (clients, accounts, deals). It ends at what `clock` says now, which then takes over."""
    clients, accounts, deals = wish
    looks = (clients + accounts + deals * 11 // 10 + 20) * 7 // 8 + 1
    exchange.clock = Timeline(clock() - _HISTORY, _HISTORY // looks)
    crowd.settle(clients, accounts)
    crowd.trade_until(deals)
    exchange.clock = clock
