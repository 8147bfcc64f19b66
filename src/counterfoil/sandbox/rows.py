"""The rows of the simulated platform and how each is written as JSON.

Field names, their order and their misspellings (`exit_loos`, `liqudation_status`, `expiration_police` on requests only) are
those of the reference, sections 5.1 to 5.9. Units inside: money in the smallest unit of the account's currency (`cents`),
prices in points of the instrument, volumes in hundredths of a lot, times in nanoseconds.
"""

from typing import Any, Final

import msgspec

from counterfoil.sandbox.text import ENCODER, maybe, moment, number, quoted, raw, stamp

# Enumerations: reference, section 6.
BUY, SELL, BALANCE, CREDIT = range(4)
IN, OUT = range(2)
OPEN, CLOSING, CLOSED = range(3)
PLACED, STARTED, PARTIAL, FILLED, CANCELLED, REJECTED, EXPIRED = range(7)
MARKET, BUY_LIMIT, BUY_STOP, SELL_LIMIT, SELL_STOP = range(5)
REASON_CLIENT, REASON_DEALER, REASON_STOP_LOSS, REASON_TAKE_PROFIT, REASON_TRANSFER = 0, 2, 3, 4, 13

LOT: Final = 2
"""Digits of a volume: hundredths of a lot."""

RAW_DIGITS: Final = 3
"""Digits that `profit_raw` has beyond the currency's own."""

RATE_DIGITS: Final = 8


class Instrument(msgspec.Struct, gc=False):
    """A symbol as the market trades it. Swaps are US cents per lot and night."""

    id: int
    name: str
    title: str
    base: str
    quote: str
    digits: int
    contract: int
    class_id: int
    start: int
    spread: int
    swap_long: int
    swap_short: int
    bid: int = 0

    @property
    def ask(self) -> int:
        """What a buyer pays."""
        return self.bid + self.spread


class Group(msgspec.Struct, gc=False):
    """What trading needs of a group; its full record is a `Record`. Commission: cents per lot by symbol class."""

    id: int
    currency: str
    digits: int
    leverage: int
    trade_type: int
    commission: dict[int, int]


class Record(msgspec.Struct):
    """A row without a balance (client, group, symbol, group symbol, commission): its fields in order."""

    id: int
    created_at: int
    updated_at: int
    fields: dict[str, Any]
    json: bytes | None = None

    def render(self) -> bytes:
        """The fields, with the times as they stand now."""
        if "updated_at" in self.fields:
            self.fields["updated_at"] = stamp(self.updated_at)
        return ENCODER.encode(self.fields)


class Account(msgspec.Struct):
    """A trading account. Balance, credit, floating profit and margin are kept up with every booking.

    Passwords are dropped where they arrive: there is no field that could give one back.
    """

    id: int
    client_id: int
    group: Group
    username: str
    profile: dict[str, str]
    created_at: int
    updated_at: int
    balance: int = 0
    credit: int = 0
    floating: int = 0
    margin: int = 0
    leverage: int = 0
    json: bytes | None = None

    @property
    def equity(self) -> int:
        """Balance, credit and what the open positions would bring."""
        return self.balance + self.credit + self.floating

    @property
    def free(self) -> int:
        """Margin that is not in use."""
        return self.equity - self.margin

    @property
    def effective_leverage(self) -> int:
        """0 means the group's (reference, section 5.2)."""
        return self.leverage or self.group.leverage

    def render(self) -> bytes:
        """The response model of the reference, section 5.2: no timestamps, no external id, never a password."""
        return ENCODER.encode({**self._identity(), **self._money(), **self._rest()})

    def _identity(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "user_id": self.id + 1_000,
            "client_id": self.client_id,
            "group_id": self.group.id,
            "currency": self.group.currency,
            "currency_digits": self.group.digits,
        }

    def _money(self) -> dict[str, Any]:
        digits = self.group.digits
        level = self.equity * 10_000 // self.margin if self.margin else 0
        return {
            "balance": raw(self.balance, digits),
            "credit": raw(self.credit, digits),
            "equity": raw(self.equity, digits),
            "margin": raw(self.margin, digits),
            "margin_free": raw(self.free, digits),
            "margin_level": raw(level, 2),
            "margin_initial": raw(self.margin, digits),
            "margin_maintenance": raw(self.margin, digits),
            "margin_leverage": self.effective_leverage,
            "profit": raw(self.floating, digits),
            "floating": raw(self.floating, digits),
        }

    def _rest(self) -> dict[str, Any]:
        zero = dict.fromkeys(("storage", "assets", "liabilities", "blocked_commission", "blocked_profit"), 0)
        periods = dict.fromkeys(("day_profit", "week_profit", "month_profit"), 0)
        names = ("max_day_loss", "max_day_profit", "max_week_loss", "max_week_profit")
        limits = dict.fromkeys((*names, "max_month_loss", "max_month_profit"), 0)
        return {
            **zero,
            **periods,
            "leverage": self.leverage,
            "trade_type": self.group.trade_type,
            "liqudation_status": 0,
            "enable_risk_management": False,
            **limits,
            "user": {"id": self.id + 1_000, "username": self.username, **self.profile},
            "orders": None,
            "positions": None,
            "deals": None,
        }


class Deal(msgspec.Struct, gc=False, kw_only=True):
    """A ledger line (reference, section 5.8). `instrument` is None for balance and credit lines."""

    id: int
    account_id: int
    currency_digits: int
    side: int
    direction: int
    reason: int
    created_at: int
    updated_at: int
    profit: int = 0
    instrument: Instrument | None = None
    order_id: int = 0
    position_id: int = 0
    price: int = 0
    price_position: int = 0
    price_sl: int | None = None
    price_tp: int | None = None
    bid: int = 0
    volume: int = 0
    closed_volume: int = 0
    profit_raw: int = 0
    commission: int = 0
    swap: int = 0
    storage: int = 0
    fee: int = 0
    channel: int = 1
    comment: str = ""
    json: bytes | None = None

    @property
    def net(self) -> int:
        """What the deal did to the balance (or, for side 3, to the credit)."""
        return self.profit + self.commission + self.swap + self.storage + self.fee

    def render(self) -> bytes:
        """The object of the reference, section 5.8, in its order."""
        instrument = self.instrument
        points, contract, symbol_id, ask, tick = 0, 0, 0, 0, 0
        if instrument is not None:
            points, contract, symbol_id, tick = instrument.digits, instrument.contract, instrument.id, 1
            ask = self.bid + instrument.spread if self.bid else 0
        cents = self.currency_digits
        volume, closed = number(self.volume, LOT), number(self.closed_volume, LOT)
        bid, price = number(self.bid, points), number(self.price, points)
        entered = price if self.price_position == self.price else number(self.price_position, points)
        created = stamp(self.created_at)
        updated = created if self.updated_at == self.created_at else stamp(self.updated_at)
        return (
            f'{{"id":{self.id},"external_id":"{_provider(self.id)}","account_id":{self.account_id},"dealer_id":0,'
            f'"order_id":{self.order_id},"action":{self.side},"entry":{self.direction},"reason":{self.reason},'
            f'"digits":{points},"digits_currency":{cents},"contract_size":{contract},"symbol_id":{symbol_id},'
            f'"price":{price},"external_volume":{volume},'
            f'"profit":{number(self.profit, cents)},"storage":{number(self.storage, cents)},'
            f'"commission":{number(self.commission, cents)},'
            f'"profit_raw":{number(self.profit_raw, cents + RAW_DIGITS)},'
            f'"price_position":{entered},"price_sl":{maybe(self.price_sl, points)},'
            f'"price_tp":{maybe(self.price_tp, points)},"external_volume_closed":{closed},"tick_value":0,'
            f'"tick_size":{number(tick, points)},"volume":{volume},"closed_volume":{closed},'
            f'"position_id":{self.position_id},"comment":{quoted(self.comment)},"swap":{number(self.swap, cents)},'
            f'"fee":{number(self.fee, cents)},"market_bid":{bid},"market_ask":{number(ask, points)},'
            f'"market_last":{bid},"side":{self.side},"direction":{self.direction},"channel":{self.channel},'
            f'"symbol":null,"account":null,"created_at":"{created}",'
            f'"updated_at":"{updated}"}}'
        ).encode()


class Position(msgspec.Struct, gc=False, kw_only=True):
    """A position, open or closed (reference, section 5.7). `profit` floats while open and is what was won when closed."""

    id: int
    account: Account
    instrument: Instrument
    side: int
    price_open: int
    volume: int
    volume_left: int
    margin: int
    created_at: int
    updated_at: int
    rate: int
    price_current: int = 0
    price_sl: int | None = None
    price_tp: int | None = None
    profit: int = 0
    won: int = 0
    swaps: int = 0
    storage: int = 0
    commission: int = 0
    reason: int = 0
    status: int = OPEN
    order_id: int = 0
    comment: str = ""
    json: bytes | None = None

    def render(self) -> bytes:
        """The object of the reference, section 5.7, in its order."""
        points, cents = self.instrument.digits, self.account.group.digits
        volume, left = number(self.volume, LOT), number(self.volume_left, LOT)
        rate = number(self.rate, RATE_DIGITS)
        total = self.profit + self.swaps + self.storage + self.commission
        gain, loss = max(self.won, 0), min(self.won, 0)
        return (
            f'{{"id":{self.id},"external_id":"{_provider(self.id)}","account_id":{self.account.id},"dealer_id":0,'
            f'"symbol_id":{self.instrument.id},"action":{self.side},"digits":{points},"digits_currency":{cents},'
            f'"reason":{self.reason},"contract_size":{self.instrument.contract},'
            f'"price_open":{number(self.price_open, points)},"price_current":{number(self.price_current, points)},'
            f'"price_sl":{maybe(self.price_sl, points)},"price_tp":{maybe(self.price_tp, points)},'
            f'"profit":{number(self.profit, cents)},"exit_level":0,"exit_profit":{number(gain, cents)},'
            f'"exit_loos":{number(loss, cents)},"storage":{number(self.storage, cents)},"rate_profit":{rate},'
            f'"rate_margin":{rate},"comment":{quoted(self.comment)},"volume_initial_ext":{volume},'
            f'"volume_current_ext":{left},"volume_initial":{volume},"volume_current":{left},'
            f'"swaps":{number(self.swaps, cents)},"commission":{number(self.commission, cents)},'
            f'"total_profit":{number(total, cents)},"side":{self.side},"status":{self.status},'
            f'"created_at":"{stamp(self.created_at)}","updated_at":"{stamp(self.updated_at)}","created_by":1}}'
        ).encode()


class Order(msgspec.Struct, gc=False, kw_only=True):
    """An order, live or done: the vendor's response model (reference, section 5.6)."""

    id: int
    account: Account
    instrument: Instrument
    kind: int
    side: int
    volume: int
    volume_left: int
    price: int
    created_at: int
    updated_at: int
    status: int = PLACED
    reason: int = 0
    price_current: int = 0
    position_id: int = 0
    policy: int = 0
    expires_at: int | None = None
    done_at: int | None = None
    comment: str = ""
    json: bytes | None = None

    def render(self) -> bytes:
        """The fields in the vendor's order; embedded objects stay null."""
        points = self.instrument.digits
        volume, left = number(self.volume, LOT), number(self.volume_left, LOT)
        created = stamp(self.created_at)
        return (
            f'{{"id":{self.id},"account_id":{self.account.id},"symbol_id":{self.instrument.id},'
            f'"position_id":{self.position_id},"position_by_id":0,"dealer_id":0,"type":{self.kind},"side":{self.side},'
            f'"status":{self.status},"reason":{self.reason},"type_fill":0,"expiration_policy":{self.policy},"type_time":0,'
            f'"volume_initial":{volume},"volume_current":{left},"volume_initial_ext":{volume},"volume_current_ext":{left},'
            f'"price_order":{number(self.price, points)},"price_trigger":0,'
            f'"price_current":{number(self.price_current, points)},"price_sl":null,"price_tp":null,"rate_margin":1,'
            f'"contract_size":{self.instrument.contract},"digits":{points},'
            f'"digits_currency":{self.account.group.digits},"exit_level":0,"exit_profit":0,"exit_loos":0,'
            f'"comment":{quoted(self.comment)},"external_id":"{_provider(self.id)}","time_setup":"{created}",'
            f'"time_expiration":{moment(self.expires_at)},"time_done":{moment(self.done_at)},"created_at":"{created}",'
            f'"updated_at":"{stamp(self.updated_at)}","created_by":1,"updated_by":1,'
            f'"symbol":null,"account":null,"position":null,"position_by":null}}'
        ).encode()


class Transaction(msgspec.Struct, gc=False, kw_only=True):
    """A movement of money: a deal-like row with the id of its deal (ASSUMED, reference, section 5.9)."""

    id: int
    account_id: int
    currency: str
    currency_digits: int
    side: int
    amount: int
    created_at: int
    updated_at: int
    comment: str = ""
    json: bytes | None = None

    @property
    def direction(self) -> int:
        """0 for money in, 1 for money out."""
        return OUT if self.amount < 0 else IN

    def render(self) -> bytes:
        """`profit` is signed, `amount` repeats the positive number of the request."""
        cents = self.currency_digits
        return (
            f'{{"id":{self.id},"external_id":"","account_id":{self.account_id},"dealer_id":0,"action":{self.side},'
            f'"entry":{self.direction},"reason":{REASON_TRANSFER},"digits_currency":{cents},'
            f'"profit":{number(self.amount, cents)},"amount":{number(abs(self.amount), cents)},'
            f'"currency":"{self.currency}","comment":{quoted(self.comment)},"side":{self.side},'
            f'"direction":{self.direction},"channel":3,"created_at":"{stamp(self.created_at)}",'
            f'"updated_at":"{stamp(self.updated_at)}","created_by":2}}'
        ).encode()


def _provider(key: int) -> str:
    """The liquidity provider's reference: every third row has one (reference, section 9, point 2)."""
    return "" if key % 3 else f"LP-{key:08}"
