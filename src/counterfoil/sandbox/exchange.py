"""Trading: orders, positions and the deals that they leave, booked to the smallest unit of the account's currency."""

from typing import Final

from counterfoil.sandbox import catalogue
from counterfoil.sandbox.ledger import Clock, Ledger
from counterfoil.sandbox.rows import (
    BUY,
    BUY_LIMIT,
    BUY_STOP,
    CANCELLED,
    CLOSED,
    EXPIRED,
    FILLED,
    IN,
    MARKET,
    OUT,
    RATE_DIGITS,
    RAW_DIGITS,
    REASON_CLIENT,
    SELL,
    Account,
    Deal,
    Group,
    Instrument,
    Order,
    Position,
)
from counterfoil.sandbox.text import DAY

_ENDINGS: Final = {CANCELLED: "orders_cancel", EXPIRED: "orders_expired"}
_METALS: Final = 2
_CRYPTO: Final = 3


class Exchange(Ledger):
    """The ledger with a trading desk on top."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self._factors: dict[tuple[int, str], tuple[int, int]] = {}

    def factors(self, instrument: Instrument, group: Group) -> tuple[int, int]:
        """(multiplier, divisor) from points times hundredths of a lot to the currency's unit times 10**RAW_DIGITS."""
        found = self._factors.get((instrument.id, group.currency))
        if found is None:
            rate = catalogue.exchange_rate(instrument.quote, group.currency)
            up = instrument.contract * rate * 10 ** (group.digits + RAW_DIGITS)
            found = self._factors[instrument.id, group.currency] = (up, 10 ** (instrument.digits + RATE_DIGITS + 2))
        return found

    def margin_for(self, account: Account, instrument: Instrument, volume: int) -> int:
        """What a position of this volume would bind."""
        up, down = self.factors(instrument, account.group)
        return instrument.bid * volume * up // (down * 10**RAW_DIGITS * account.effective_leverage)

    def _result(self, position: Position, volume: int, price: int) -> int:
        up, down = self.factors(position.instrument, position.account.group)
        points = price - position.price_open if position.side == BUY else position.price_open - price
        return points * volume * up // down

    def _commission(self, account: Account, instrument: Instrument, volume: int) -> int:
        return -((account.group.commission[instrument.class_id] * volume + 50) // 100)

    def open_position(self, order: Order, *, stop: int | None = None, take: int | None = None) -> Position:
        """Fill an order at the market: a position, the order in the history, a deal IN."""
        account, instrument, at = order.account, order.instrument, order.done_at or order.created_at
        price = instrument.ask if order.side == BUY else instrument.bid
        fee = self._commission(account, instrument, order.volume)
        position = Position(
            id=self.position_ids.draw(),
            account=account,
            instrument=instrument,
            side=order.side,
            price_open=price,
            price_current=price,
            price_sl=stop,
            price_tp=take,
            volume=order.volume,
            volume_left=order.volume,
            margin=self.margin_for(account, instrument, order.volume),
            created_at=at,
            updated_at=at,
            rate=catalogue.exchange_rate(instrument.quote, account.group.currency),
            commission=fee,
            order_id=order.id,
        )
        order.position_id, order.price_current = position.id, price
        account.margin += position.margin
        self.positions.add(position)
        self.told("orders_update", order)
        self.told("positions_open", position)
        self._book(account, self._entry(position, fee, at))
        return position

    def _entry(self, position: Position, fee: int, at: int) -> Deal:
        return Deal(
            id=self.deal_ids.draw(),
            account_id=position.account.id,
            currency_digits=position.account.group.digits,
            side=position.side,
            direction=IN,
            reason=position.reason,
            created_at=at,
            updated_at=at,
            instrument=position.instrument,
            order_id=position.order_id,
            position_id=position.id,
            price=position.price_open,
            price_position=position.price_open,
            price_sl=position.price_sl,
            price_tp=position.price_tp,
            bid=position.instrument.bid,
            volume=position.volume,
            commission=fee,
        )

    def close_position(self, position: Position, *, volume: int = 0, reason: int = REASON_CLIENT) -> Deal:
        """Close a position, or `volume` of it: a deal OUT with profit, commission, and swap for the nights held."""
        instrument, account, at = position.instrument, position.account, self.now()
        volume = volume or position.volume_left
        price = instrument.bid if position.side == BUY else instrument.ask
        exact = self._result(position, volume, price)
        deal = Deal(
            id=self.deal_ids.draw(),
            account_id=account.id,
            currency_digits=account.group.digits,
            side=SELL if position.side == BUY else BUY,
            direction=OUT,
            reason=reason,
            created_at=at,
            updated_at=at,
            instrument=instrument,
            position_id=position.id,
            price=price,
            price_position=position.price_open,
            price_sl=position.price_sl,
            price_tp=position.price_tp,
            bid=instrument.bid,
            volume=volume,
            closed_volume=volume,
            profit=(exact + 500) // 1000,
            profit_raw=exact,
            commission=self._commission(account, instrument, volume),
        )
        self._charge(position, deal)
        self._shrink(position, deal)
        self._book(account, deal)
        return deal

    def _charge(self, position: Position, deal: Deal) -> None:
        """Overnight interest: a swap, but for metals storage and for crypto a fee, so that each field gets used."""
        instrument, group = position.instrument, position.account.group
        nights = deal.created_at // DAY - position.created_at // DAY
        if not nights:
            return
        rate = instrument.swap_long if position.side == BUY else instrument.swap_short
        amount = catalogue.in_currency(rate * nights * deal.volume // 100 or -1, group)
        if instrument.class_id == _METALS:
            deal.storage = amount
            position.storage += amount
        elif instrument.class_id == _CRYPTO:
            deal.fee = amount
        else:
            deal.swap = amount
            position.swaps += amount

    def _shrink(self, position: Position, deal: Deal) -> None:
        released = position.margin * deal.volume // position.volume_left
        position.account.margin -= released
        position.margin -= released
        position.volume_left -= deal.volume
        position.won += deal.profit
        position.commission += deal.commission
        position.updated_at = deal.created_at
        if position.volume_left:
            self.revalue(position)
            self.positions.changed(position)
            self.told("positions_update", position)
            return
        position.account.floating -= position.profit
        position.profit, position.price_current, position.status = position.won, deal.price, CLOSED
        position.reason = deal.reason
        self.positions_history.add(self.positions.remove(position.id))
        position.json = None
        self.told("positions_close", position)

    def revalue(self, position: Position) -> None:
        """Mark an open position to the market; quotes change profits without touching `updated_at`."""
        price = position.instrument.bid if position.side == BUY else position.instrument.ask
        profit = (self._result(position, position.volume_left, price) + 500) // 1000
        if price != position.price_current or profit != position.profit:
            position.account.floating += profit - position.profit
            position.profit, position.price_current = profit, price
            position.json = position.account.json = None
            self.told("profit", position)

    def drop_position(self, position: Position) -> None:
        """Delete a position, open or closed, without a deal, as a broker's repair would."""
        if position.status == CLOSED:
            self.positions_history.remove(position.id)
            return
        self.positions.remove(position.id)
        position.account.margin -= position.margin
        position.account.floating -= position.profit
        position.account.json = None

    def new_order(self, account: Account, instrument: Instrument, side: int, volume: int) -> Order:
        """A market order, done at once and in the history; for a pending one see `place_order`."""
        order = self._order(account, instrument, MARKET, side, volume=volume)
        order.status, order.done_at, order.volume_left = FILLED, order.created_at, 0
        order.price = instrument.ask if side == BUY else instrument.bid
        self.orders_history.add(order)
        self.told("orders_place", order)
        return order

    def place_order(
        self, account: Account, instrument: Instrument, kind: int, *, volume: int, price: int, lasts: int | None = None
    ) -> Order:
        """A pending order among the live ones; `kind` is one of the four plain limits and stops.

        `lasts`: nanoseconds until it expires, None for ever.
        """
        order = self._order(account, instrument, kind, BUY if kind in (BUY_LIMIT, BUY_STOP) else SELL, volume=volume)
        order.price = price
        if lasts is not None:
            order.policy, order.expires_at = 2, order.created_at + lasts
        self.orders.add(order)
        self.told("orders_place", order)
        return order

    def _order(self, account: Account, instrument: Instrument, kind: int, side: int, *, volume: int) -> Order:
        at = self.now()
        return Order(
            id=self.order_ids.draw(),
            account=account,
            instrument=instrument,
            kind=kind,
            side=side,
            volume=volume,
            volume_left=volume,
            price=0,
            price_current=instrument.bid if kind == MARKET else 0,
            created_at=at,
            updated_at=at,
        )

    def end_order(self, order: Order, status: int = CANCELLED) -> None:
        """A live order is cancelled, expires or is filled: it enters the history with its old id."""
        order.status, order.done_at = status, self.now()
        order.updated_at, order.json = order.done_at, None
        if status == FILLED:
            order.volume_left = 0
        self.orders_history.add(self.orders.remove(order.id))
        self.told(_ENDINGS.get(status, "orders_update"), order)

    def fill_order(self, order: Order) -> Position:
        """A pending order is triggered."""
        self.end_order(order, FILLED)
        return self.open_position(order)
