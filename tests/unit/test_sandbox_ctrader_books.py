import json
from collections import Counter, defaultdict
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterfoil.sandbox.books import UnknownRowError
from counterfoil.sandbox.ctrader_books import RESOURCES, CtraderBooks
from counterfoil.sandbox.ctrader_ledger import DAY, FOREIGN_BRAND, SECOND_BRAND, md5
from counterfoil.sandbox.ctrader_rows import (
    BUY,
    DEPOSIT,
    DEPOSIT_BONUS,
    DEPOSIT_CREDIT,
    SELL,
    WITHDRAW,
    WITHDRAW_BONUS,
    WITHDRAW_CREDIT,
)
from counterfoil.sandbox.ledger import RefusedError

NOW = 1_790_000_000_000
"""Milliseconds."""


def small(**wishes):
    given_ = {"clients": 12, "accounts": 40, "deals": 300, "seed": 7, "clock": lambda: NOW * 1_000_000}
    return CtraderBooks(**{**given_, **wishes})


def bare(**fields):
    books = small(clients=0, accounts=0, deals=0)
    return books, books.add_trader(**fields)


def decoded(books, resource):
    return [json.loads(row, parse_float=Decimal) for row in books.rows(resource)]


# Sums


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 60), st.integers(0, 400))
def test_every_balance_is_the_sum_of_its_history_and_its_deals_whatever_the_seed(seed, rounds, deals):
    books = small(seed=seed, deals=deals)
    assert len(books.deals) == deals
    books.trade(rounds)
    assert books.check() == []


def _close_part(books, login):
    for position in books.positions_of(login)[:1]:
        books.close_position(position.id, 1 + position.left // 3)


DEEDS = {
    "deposit": lambda books, login: books.move_money(login, 1_001, DEPOSIT),
    "withdraw": lambda books, login: books.move_money(login, -7, WITHDRAW),
    "credit": lambda books, login: books.move_money(login, 3, DEPOSIT_CREDIT),
    "open": lambda books, login: books.open_position(login, "GBPUSD", SELL),
    "close a part": _close_part,
    "close some": lambda books, login: books.close_some(login, 2),
    "hide": lambda books, login: books.change_brand(books.trader(login), FOREIGN_BRAND),
    "show": lambda books, login: books.change_brand(books.trader(login), SECOND_BRAND),
    "vanish": lambda books, login: books.vanish(login),
    "late": lambda books, _login: books.late(2),
    "drop": lambda books, login: [books.drop_position(position.id) for position in books.positions_of(login)],
    "strike": lambda books, _login: [books.strike(deal) for deal in books.deals[-1:]],
    "trade": lambda books, _login: books.trade(2),
}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(sorted(DEEDS)), st.integers(0, 5)), max_size=25))
def test_the_books_stay_in_order_whatever_is_done_to_them(deeds):
    books = small(accounts=6, deals=40)
    for name, place in deeds:
        logins = [*books.traders, *books.denied.traders]
        DEEDS[name](books, logins[place % len(logins)] if logins else books.add_trader().login)
    assert books.check() == []
    times = [(deal.closed_at, deal.id) for deal in books.deals]
    assert times == sorted(times)
    assert {deal.login for deal in books.deals} <= set(books.traders)
    assert books.truth()["counts"]["traders"] == len(books.traders)


def test_the_sums_hold_for_the_rows_that_are_served_to_the_last_unit():
    books = small(deals=2_000)
    books.trade(30)
    sums = defaultdict(Decimal)
    for deal in decoded(books, "deals"):
        sums[deal["login"]] += deal["pnl"]
    for line in decoded(books, "history"):
        if line["kind"] in (DEPOSIT, WITHDRAW):
            sums[line["login"]] += Decimal(line["amount"])
    traders = decoded(books, "traders")
    assert {t["login"]: sums[t["login"]].scaleb(t["moneyDigits"]) for t in traders} == {
        t["login"]: t["balance"] for t in traders
    }
    assert {t["depositCurrency"]: t["moneyDigits"] for t in traders} == {"EUR": 2, "USD": 2, "BTC": 8}


def test_every_kind_of_movement_occurs_and_open_positions_count_in_equity_and_margin():
    books = small(deals=6_000)
    assert {line.kind for line in books.history} == {
        *(DEPOSIT, WITHDRAW, DEPOSIT_CREDIT, WITHDRAW_CREDIT, DEPOSIT_BONUS, WITHDRAW_BONUS)
    }
    assert any(trader.equity != trader.balance for trader in books.traders.values())
    assert all(trader.free_margin == trader.equity - trader.margin for trader in books.traders.values())
    assert any(trader.margin for trader in books.traders.values())


def test_a_sum_that_went_wrong_is_named():
    books = small()
    login = next(iter(books.traders))
    books.traders[login].balance += 1
    assert [str(login) in wrong for wrong in books.check()] == [True]
    assert books.truth()["wrong"] == books.check()


def test_equal_seeds_give_equal_books():
    one, two, other = small(), small(), small(seed=8)
    one.trade(10)
    two.trade(10)
    assert all(list(one.rows(name)) == list(two.rows(name)) for name in RESOURCES)
    assert list(one.rows("deals")) != list(other.rows("deals"))


@pytest.mark.parametrize(
    ("clients", "accounts", "deals", "left"), [(0, 0, 50, 0), (3, 1, 50, 50), (0, 5, 0, 0), (30, 2, 9, 9)]
)
def test_odd_sizes_are_obeyed_as_far_as_they_can_be(clients, accounts, deals, left):
    books = small(clients=clients, accounts=accounts, deals=deals)
    assert (len(books.users), len(books.traders), len(books.deals)) == (clients, accounts, left)
    books.trade(3)
    assert books.check() == []


# The past


def test_the_past_is_spread_over_four_hundred_days_and_ends_before_now():
    books = small(deals=2_000)
    times = [deal.closed_at for deal in books.deals]
    assert times == sorted(times)
    assert NOW - 400 * DAY <= times[0] < NOW - 380 * DAY
    assert NOW - 5 * DAY < times[-1] <= NOW
    assert all(deal.position.opened_at <= deal.closed_at for deal in books.deals)
    assert len({time // (40 * DAY) for time in times}) >= 10


def test_accounts_join_while_others_trade_and_some_in_the_same_millisecond():
    books = small(accounts=200, deals=1_000)
    times = [trader.registered_at for trader in books.traders.values()]
    assert times == sorted(times)
    assert any(one == two for one, two in pairwise(times))
    assert times[-1] > books.deals[0].closed_at
    registered = {trader.login: trader.registered_at for trader in books.traders.values()}
    assert all(deal.position.opened_at >= registered[deal.login] for deal in books.deals)


def test_positions_close_in_parts():
    books = small(deals=3_000)
    ids = [deal.id for deal in books.deals]
    assert len(set(ids)) == len(ids)
    parts = Counter(deal.position.id for deal in books.deals)
    assert max(parts.values()) > 1
    closed = defaultdict(int)
    for deal in books.deals:
        closed[deal.position.id] += deal.volume
    positions = {deal.position.id: deal.position for deal in books.deals}
    assert all(closed[key] == position.volume - position.left for key, position in positions.items())
    assert any(position.left and key in books.positions for key, position in positions.items())


def test_ids_ascend_and_leave_gaps():
    books = small(deals=1_000)
    for ids in ([deal.id for deal in books.deals], list(books.traders), list(books.positions)):
        assert ids == sorted(ids)
    assert [line.id for line in books.history] == sorted(line.id for line in books.history)
    ids = [deal.id for deal in books.deals]
    assert ids[-1] - ids[0] > len(ids)


def test_what_the_manager_is_denied_counts_nowhere():
    books = small(accounts=60, deals=2_000)
    assert {trader.broker for trader in books.traders.values()} == {books.broker, SECOND_BRAND}
    assert {trader.broker for trader in books.denied.traders.values()} == {FOREIGN_BRAND}
    assert books.denied.deals
    assert not {deal.login for deal in books.deals} & set(books.denied.traders)
    truth = books.truth()
    assert (truth["denied"], truth["counts"]["traders"]) == (3, 57)
    assert set(truth["accounts"]) == {str(login) for login in books.traders}


def test_most_accounts_are_linked_and_one_person_may_have_several():
    books = small()
    users = {user.id for user in books.users.values()}
    assert set(books.links.values()) <= users
    assert 0 < len(set(books.traders) - set(books.links)) < len(books.traders) // 4
    assert max(Counter(books.links.values()).values()) > 1


# Trading by hand


@pytest.mark.parametrize(
    ("currency", "symbol", "side", "move", "pnl"),
    [
        # 1,000.00 EUR at 1.08512 (ask), closed at 1.08600 (bid): 0.88 USD less 0.06 commission (60 per million)
        ("USD", "EURUSD", BUY, 100, 88 - 6),
        # the same in euro at 1.085: 0.81 (rounded down), less 0.06 dollars, which are 0.05 euro
        ("EUR", "EURUSD", BUY, 100, 81 - 5),
        # sold at 1.08500, bought back at 1.08612 (ask): -1.12
        ("USD", "EURUSD", SELL, 100, -112 - 6),
        # in bitcoin at 64,200: 0.00001370 less 0.00000093
        ("BTC", "EURUSD", BUY, 100, 1_370 - 93),
    ],
)
def test_a_result_can_be_worked_out_by_hand(currency, symbol, side, move, pnl):
    books, trader = bare(currency=currency)
    position = books.open_position(trader.login, symbol, side, 100_000)
    books.symbols[symbol].bid += move
    books.revalue(position)
    deal = books.close_position(position.id)
    assert (deal.commission, deal.swap, deal.pnl) == (6, 0, pnl)
    assert (trader.balance, trader.floating, trader.margin) == (pnl, 0, 0)
    assert books.check() == []


def test_nights_cost_and_are_part_of_the_result():
    books, trader = bare(currency="USD")
    position = books.open_position(trader.login, "EURUSD", BUY, 10_000_000, at=books.now() - 3 * DAY)
    deal = books.close_position(position.id)
    assert deal.swap == 3 * -62
    assert deal.pnl == -1_200 - deal.commission - 186


def test_a_part_is_closed_and_margin_is_released_with_it():
    books, trader = bare()
    position = books.open_position(trader.login, "GBPUSD", BUY, 300_000)
    margin = trader.margin
    assert books.close_position(position.id, 100_000).volume == 100_000
    assert (position.left, trader.margin) == (200_000, margin - margin // 3)
    with pytest.raises(ValueError, match="no 200001 left"):
        books.close_position(position.id, 200_001)
    books.close_position(position.id)
    assert (trader.margin, trader.floating, books.positions) == (0, 0, {})
    with pytest.raises(UnknownRowError):
        books.close_position(position.id)


def test_a_result_can_be_ordered():
    books, trader = bare()
    position = books.open_position(trader.login)
    assert books.close_position(position.id, pnl=-12_345).pnl == trader.balance == -12_345
    assert books.check() == []


def test_some_close_at_once_even_where_nothing_was_open():
    books, trader = bare()
    assert len(books.close_some(trader.login, 1)) == 1
    for _ in range(3):
        books.open_position(trader.login)
    assert len(books.close_some(trader.login, 2, pnl=7)) == 2
    assert len(books.positions_of(trader.login)) == 1
    assert books.check() == []


def test_a_spread_bet_has_a_stake():
    books, trader = bare(account_type="SPREAD_BETTING")
    books.close_position(books.open_position(trader.login).id)
    (row,) = decoded(books, "deals")
    assert (row["spreadBetting"], row["stake"]) == (True, Decimal("0.09"))


def test_the_extremes_of_the_day_begin_anew_at_midnight():
    now = [NOW * 1_000_000]
    books = small(clients=0, accounts=0, deals=0, clock=lambda: now[0])
    trader = books.add_trader()
    books.move_money(trader.login, 500, DEPOSIT)
    books.move_money(trader.login, -400, WITHDRAW)
    assert books.extremes(trader) == (100, 500)
    now[0] += DAY * 1_000_000
    assert books.extremes(trader) == (100, 100)


# People and money by hand


def test_a_user_is_made_once():
    books, _ = bare()
    assert books.add_user("Ann@example.com") is books.add_user("ann@EXAMPLE.com")
    assert books.user(books.users["ann@example.com"].id).email == "Ann@example.com"
    assert books.user(1) is None


def test_an_account_has_defaults_and_what_was_asked_for():
    books, trader = bare(name="Ada", currency="BTC", registered_at=5, access_rights="NO_TRADING")
    assert (trader.group, trader.broker, trader.password_hash) == ("default", "BESTBROKER", md5("trader"))
    assert (trader.name, trader.digits, trader.registered_at, trader.access_rights) == ("Ada", 8, 5, "NO_TRADING")
    assert books.traders == {trader.login: trader}
    assert md5("password") == "5f4dcc3b5aa765d61d8327deb882cf99"


@pytest.mark.parametrize(
    ("kind", "amount", "sums"),
    [
        (DEPOSIT, 500, (1_500, 1_000, 1_000)),
        (WITHDRAW, -1_001, (-1, 1_000, 1_000)),
        (DEPOSIT_CREDIT, 1, (1_000, 1_001, 1_000)),
        (WITHDRAW_CREDIT, -1, (1_000, 999, 1_000)),
        (DEPOSIT_BONUS, 1, (1_000, 1_000, 1_001)),
        (WITHDRAW_BONUS, -1_000, (1_000, 1_000, 0)),
    ],
)
def test_money_moves_in_the_ledger_of_its_kind(kind, amount, sums):
    books, trader = bare()
    for each in (DEPOSIT, DEPOSIT_CREDIT, DEPOSIT_BONUS):
        books.move_money(trader.login, 1_000, each)
    booked = books.move_money(trader.login, amount, kind, "why", "ref-1")
    assert (trader.balance, trader.credit, trader.bonus) == sums
    assert (booked.comment, booked.external_id, booked.digits, booked.at) == ("why", "ref-1", 2, NOW)
    assert books.history[-1] is booked
    assert books.check() == []


@pytest.mark.parametrize(("kind", "amount"), [(DEPOSIT, -5), (WITHDRAW, 5), (DEPOSIT, 0), ("GIFT", 5)])
def test_a_movement_that_makes_no_sense_is_no_movement(kind, amount):
    books, trader = bare()
    with pytest.raises(ValueError, match="is no"):
        books.move_money(trader.login, amount, kind)
    assert books.history == []


# What happens on request


def test_an_account_that_vanishes_takes_everything_out_of_sight():
    books = small()
    login = books.deals[-1].login
    books.open_position(login)
    before = len(books.deals)
    books.vanish(login)
    assert login not in books.traders
    assert login not in books.links
    assert not [row for row in (*books.deals, *books.positions.values()) if row.login == login]
    assert len(books.deals) < before
    assert (books.truth()["vanished"], books.check()) == (1, [])
    with pytest.raises(UnknownRowError):
        books.vanish(login)
    books.trade(20)
    assert books.check() == []


def test_an_account_goes_out_of_sight_with_its_white_label_and_comes_back():
    books = small()
    trader = books.traders[books.deals[0].login]
    before = list(books.rows("deals"))
    books.change_brand(trader, FOREIGN_BRAND)
    assert (trader.login in books.traders, len(books.deals) < len(before)) == (False, True)
    books.change_brand(trader, SECOND_BRAND)
    assert list(books.rows("deals")) == before
    assert books.check() == []


def test_late_deals_lie_in_the_past_and_the_books_agree():
    books = small()
    newest = books.deals[-1].id
    ids = books.late(3)
    late = {deal.id: deal for deal in books.deals if deal.id in ids}
    assert len(late) == 3
    assert all(deal.id > newest and deal.closed_at < NOW for deal in late.values())
    times = [deal.closed_at for deal in books.deals]
    assert (times, books.check()) == (sorted(times), [])
    assert small(accounts=0, deals=0).late() == []


def test_rows_are_deleted_and_touched():
    books = small()
    deal, position, login = books.deals[3], next(iter(books.positions)), list(books.traders)[-1]
    for resource, key in (("deals", deal.id), ("positions", position), ("traders", login)):
        books.delete(resource, key)
    assert deal not in books.deals
    assert position not in books.positions
    assert login not in books.traders
    first = next(iter(books.traders.values()))
    books.touch("traders", first.login)
    assert (first.description, first.updated_at, books.check()) == (f"touched {NOW}", NOW, [])


@pytest.mark.parametrize(
    ("action", "error"),
    [
        (lambda books: books.delete("users", 1), RefusedError),
        (lambda books: books.touch("deals", 1), RefusedError),
        (lambda books: books.delete("deals", 1), UnknownRowError),
        (lambda books: books.delete("positions", 1), UnknownRowError),
        (lambda books: books.touch("traders", 1), UnknownRowError),
        (lambda books: books.table("people"), UnknownRowError),
        (lambda books: books.rows("people"), UnknownRowError),
    ],
)
def test_what_cannot_be_done_says_so(action, error):
    books = small()
    with pytest.raises(error):
        action(books)


# The truth


def test_the_truth_is_exact_text():
    books, trader = bare(currency="BTC")
    books.move_money(trader.login, 123_456_789, DEPOSIT)
    books.move_money(trader.login, 5, DEPOSIT_CREDIT)
    books.close_position(books.open_position(trader.login).id, pnl=-1)
    truth = books.truth()
    assert truth["accounts"][str(trader.login)] == {
        "currency": "BTC",
        "balance": "1.23456788",
        "bonus": "0.00000000",
        "nonWithdrawableBonus": "0.00000005",
        "equity": "1.23456788",
        "usedMargin": "0.00000000",
    }
    assert truth["deals"] == {"count": 1, "pnl": {"BTC": "-0.00000001"}}
    assert (truth["counts"]["history"], truth["counts"]["deals"], truth["wrong"]) == (2, 1, [])


def test_every_resource_has_rows():
    books = small()
    counts = books.truth()["counts"]
    assert {name: len(decoded(books, name)) for name in RESOURCES} == counts
    assert all(counts.values())
