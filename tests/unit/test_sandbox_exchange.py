"""The arithmetic of trading, by hand: what one position costs and brings."""

import json

import pytest

from counterfoil.sandbox import catalogue
from counterfoil.sandbox.exchange import Exchange
from counterfoil.sandbox.ledger import RefusedError
from counterfoil.sandbox.rows import BALANCE, BUY, BUY_LIMIT, CANCELLED, REASON_STOP_LOSS, SELL, SELL_STOP
from counterfoil.sandbox.text import DAY

EURUSD, USDJPY, GOLD, BITCOIN = 1, 6, 20, 30
START = 20_700 * DAY


class Desk:
    """One account in one group, and a clock in the hand."""

    def __init__(self, group_id):
        self.at = START
        self.exchange = Exchange(lambda: self.at)
        client = self.exchange.add_client({"first_name": "Ada", "family_name": "L"})
        group = self.exchange.trading_groups[group_id]
        self.account = self.exchange.add_account(client.id, group, "ada", {})
        self.exchange.move_money(self.account, 10_000_000, BALANCE, "first")

    def open(self, symbol, side, volume):
        instrument = self.exchange.instruments[symbol]
        return self.exchange.open_position(self.exchange.new_order(self.account, instrument, side, volume))


@pytest.fixture
def dollars():
    return Desk(10)


def test_a_fill_pays_commission_and_binds_margin(dollars):
    position = dollars.open(EURUSD, BUY, 200)
    assert dollars.account.balance == 10_000_000 - 700
    assert position.price_open == 108_512
    assert dollars.account.margin == position.margin == 108_500 * 200 * 100_000 * 100 // (10**5 * 100 * 100)


def test_floating_profit_moves_equity_not_balance(dollars):
    position = dollars.open(EURUSD, SELL, 100)
    dollars.exchange.instruments[EURUSD].bid -= 112
    balance = dollars.account.balance
    dollars.exchange.revalue(position)
    assert dollars.account.floating == 10_000
    assert (dollars.account.balance, dollars.account.equity) == (balance, balance + 10_000)
    row = json.loads(dollars.account.render())
    assert (row["floating"], row["equity"]) == (100, (balance + 10_000) / 100)


def test_closing_turns_floating_into_balance_and_frees_the_margin(dollars):
    position = dollars.open(EURUSD, SELL, 100)
    dollars.exchange.instruments[EURUSD].bid -= 112
    dollars.exchange.revalue(position)
    deal = dollars.exchange.close_position(position, reason=REASON_STOP_LOSS)
    assert (deal.profit, deal.commission, deal.reason, deal.side) == (10_000, -350, REASON_STOP_LOSS, BUY)
    account = dollars.account
    assert (account.balance, account.floating, account.margin) == (10_000_000 + 10_000 - 700, 0, 0)


@pytest.mark.parametrize(
    ("symbol", "field", "amount"), [(EURUSD, "swap", -1_860), (GOLD, "storage", -9_300), (BITCOIN, "fee", -7_200)]
)
def test_each_night_costs(dollars, symbol, field, amount):
    position = dollars.open(symbol, BUY, 100)
    dollars.at += 3 * DAY
    deal = dollars.exchange.close_position(position)
    assert {name: getattr(deal, name) for name in ("swap", "storage", "fee")} == {
        **dict.fromkeys(("swap", "storage", "fee"), 0),
        field: amount,
    }
    assert dollars.account.balance == 10_000_000 + deal.net + position.commission - deal.commission


def test_profit_in_yen_has_no_fraction_but_its_raw_value_has():
    yen = Desk(12)
    position = yen.open(USDJPY, BUY, 1)
    yen.exchange.instruments[USDJPY].bid += 14
    deal = yen.exchange.close_position(position)
    row = json.loads(deal.render())
    assert (row["profit"], row["profit_raw"], row["digits_currency"]) == (1, 1, 0)
    assert isinstance(row["profit"], int)


def test_half_a_position_leaves_half_the_margin(dollars):
    position = dollars.open(EURUSD, BUY, 100)
    bound = position.margin
    dollars.exchange.close_position(position, volume=50)
    assert dollars.account.margin == position.margin == bound - bound // 2
    dollars.exchange.close_position(position)
    assert dollars.account.margin == 0
    assert dollars.exchange.positions.ids == []


def test_a_pending_order_rests_until_it_is_filled(dollars):
    exchange, instrument = dollars.exchange, dollars.exchange.instruments[EURUSD]
    order = exchange.place_order(dollars.account, instrument, BUY_LIMIT, volume=10, price=108_000)
    assert (exchange.orders.ids, exchange.orders_history.ids) == ([order.id], [])
    dollars.at += DAY
    position = exchange.fill_order(order)
    assert (exchange.orders.ids, exchange.orders_history.ids) == ([], [order.id])
    row = json.loads(order.render())
    assert (row["status"], row["side"], row["position_id"], row["volume_current"]) == (3, BUY, position.id, 0)
    assert row["time_done"] > row["time_setup"]


def test_a_cancelled_order_books_nothing(dollars):
    exchange = dollars.exchange
    order = exchange.place_order(dollars.account, exchange.instruments[EURUSD], SELL_STOP, volume=10, price=108_000)
    exchange.end_order(order)
    assert (order.status, order.side, len(exchange.deals)) == (CANCELLED, SELL, 1)


def test_bound_margin_cannot_be_withdrawn(dollars):
    dollars.open(EURUSD, BUY, 1_000)
    free = dollars.account.free
    with pytest.raises(RefusedError, match="free margin"):
        dollars.exchange.move_money(dollars.account, -free - 1, BALANCE, "")
    dollars.exchange.move_money(dollars.account, -free, BALANCE, "")
    assert dollars.account.free == 0


def test_an_account_with_something_open_cannot_be_removed(dollars):
    position = dollars.open(EURUSD, BUY, 1)
    with pytest.raises(RefusedError, match="open positions"):
        dollars.exchange.remove_account(dollars.account)
    dollars.exchange.close_position(position)
    dollars.exchange.remove_account(dollars.account)
    assert dollars.exchange.accounts.ids == []


def test_a_struck_deal_takes_its_effect_with_it(dollars):
    dollars.exchange.strike(dollars.exchange.deals.rows[dollars.exchange.deals.ids[0]])
    assert (dollars.account.balance, dollars.exchange.transactions.ids) == (0, [])
    assert dollars.exchange.transactions_of[dollars.account.id] == []


def test_rates_are_those_of_the_table():
    assert catalogue.exchange_rate("USD", "USD") == 10**8
    assert catalogue.exchange_rate("EUR", "USD") == 108_500_000
    assert catalogue.exchange_rate("USD", "JPY") == 10**16 // 666_667


def test_the_clock_is_cut_to_five_precisions_and_never_runs_backwards(dollars):
    dollars.at = START + 123_456_789
    seen = [dollars.exchange.now() for _ in range(10)]
    assert seen == sorted(seen)
    dollars.at = START
    assert dollars.exchange.now() == seen[-1]
