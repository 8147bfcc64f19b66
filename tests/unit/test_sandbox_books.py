import json
from collections import Counter
from decimal import Decimal
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterfoil.sandbox.books import RESOURCES, Books, UnknownRowError
from counterfoil.sandbox.ledger import RefusedError
from counterfoil.sandbox.rows import BALANCE, BUY, CREDIT
from counterfoil.sandbox.text import SECOND

NOW = 1_790_000_000 * SECOND


def small(**wishes):
    return Books(**{"clients": 8, "accounts": 25, "deals": 300, "seed": 7, "clock": lambda: NOW, **wishes})


def decoded(books, resource):
    return [json.loads(row, parse_float=Decimal) for row in books.rows(resource)]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(0, 60), st.integers(0, 400))
def test_every_balance_is_the_sum_of_its_deals_whatever_the_seed(seed, rounds, deals):
    books = small(seed=seed, deals=deals)
    assert len(books.deals) == deals
    books.trade(rounds)
    assert books.check() == []


def test_the_sums_hold_for_the_json_that_is_served():
    books = small(deals=2_000)
    books.trade(20)
    sums = dict.fromkeys(books.accounts.ids, Decimal(0))
    for deal in decoded(books, "deals"):
        if deal["side"] != CREDIT:
            parts = (Decimal(deal[name]) for name in ("profit", "commission", "swap", "storage", "fee"))
            sums[deal["account_id"]] += sum(parts)
    accounts = decoded(books, "accounts")
    assert {a["id"]: Decimal(a["balance"]) for a in accounts} == sums
    assert all(
        Decimal(a["equity"]) == Decimal(a["balance"]) + Decimal(a["credit"]) + Decimal(a["floating"]) for a in accounts
    )


def test_every_part_of_a_balance_occurs():
    deals = decoded(small(deals=3_000), "deals")
    for name in ("profit", "commission", "swap", "storage", "fee"):
        assert any(deal[name] for deal in deals), name
    assert {deal["side"] for deal in deals} == {0, 1, 2, 3}


def test_equal_seeds_give_equal_books():
    one, two, other = small(), small(), small(seed=8)
    one.trade(10)
    two.trade(10)
    assert all(list(one.rows(name)) == list(two.rows(name)) for name in RESOURCES)
    assert list(one.rows("deals")) != list(other.rows("deals"))


def test_ids_leave_gaps_and_ascend():
    books = small(deals=1_000)
    assert all(a < b for a, b in pairwise(books.deals.ids))
    assert 5 <= len(books.deal_ids.gaps) <= 20
    assert not set(books.deal_ids.gaps) & set(books.deals.ids)


def test_history_ends_before_now_and_times_never_run_backwards():
    books = small(deals=1_000)
    times = [deal.created_at for deal in books.deals]
    assert times == sorted(times)
    assert NOW - 86_400 * 30 * SECOND < times[-1] <= NOW
    assert len(set(times)) < len(times)


def test_late_deals_take_old_ids_and_the_books_still_agree():
    books = small(deals=1_000)
    newest = books.deals.ids[-1]
    ids = books.late(3)
    assert len(ids) == 3
    assert all(key < newest and key in books.deals.rows for key in ids)
    assert books.check() == []


def test_late_deals_end_with_the_unused_ids_unless_more_are_reserved():
    books = small(deals=200)
    gaps = len(books.deal_ids.gaps)
    assert len(books.late(1_000)) == gaps
    books.deal_ids.reserve(4)
    assert len(books.late(1_000)) == 4
    assert books.check() == []


@pytest.mark.parametrize("resource", RESOURCES)
def test_a_touch_changes_exactly_that_row(resource):
    books = small(deals=1_000)
    before = dict(zip(books.table(resource).ids, books.rows(resource), strict=True))
    key = books.table(resource).ids[0]
    books.touch(resource, key)
    after = dict(zip(books.table(resource).ids, books.rows(resource), strict=True))
    assert [k for k in after if after[k] != before[k]] == [key]


@pytest.mark.parametrize("resource", RESOURCES)
def test_a_deleted_row_is_gone_and_the_books_agree(resource):
    books = small(deals=1_000)
    key = books.table(resource).ids[0]
    books.delete(resource, key)
    assert key not in books.table(resource).ids
    assert books.check() == []
    books.trade(3)
    assert books.check() == []


def test_an_unknown_row_is_said_to_be_unknown():
    books = small()
    with pytest.raises(UnknownRowError, match="no row 999999 in deals"):
        books.delete("deals", 999_999)
    with pytest.raises(UnknownRowError, match="no resource 'people'"):
        books.touch("people", 1)


def test_orders_and_positions_enter_their_history_late_with_old_ids():
    books = small(deals=1_000)
    position, order = books.positions.ids[0], books.orders.ids[0]
    books.leave_front("positions")
    books.leave_front("orders")
    assert position in books.positions_history.ids
    assert position < books.positions_history.ids[-1]
    assert order in books.orders_history.ids
    assert json.loads(books.positions_history.json(position))["status"] == 2
    assert books.check() == []


@pytest.mark.parametrize("resource", ["deals", "positions_history", "orders_history", "clients"])
def test_a_row_can_enter_at_the_front(resource):
    books = small(deals=1_000, clients=100)
    table = books.table(resource)
    known, newest = set(table.ids), table.ids[-1]
    books.enter_front(resource)
    (added,) = set(table.ids) - known
    assert added < newest
    assert books.check() == []


def test_a_partial_close_keeps_the_rest_open():
    books = small(deals=100)
    account = books.accounts.rows[1]
    books.move_money(account, 10_000_000, BALANCE, "")
    position = books.open_position(books.new_order(account, books.instruments[6], BUY, 100))
    deal = books.close_position(position, volume=40)
    row = json.loads(position.render())
    assert (row["volume_initial"], row["volume_current"], row["status"]) == (1, 0.6, 0)
    assert json.loads(deal.render())["closed_volume"] == 0.4
    assert books.check() == []


def test_profit_is_points_times_lots_in_the_accounts_currency():
    books = small(deals=0)
    euro = next(group for group in books.trading_groups.values() if group.currency == "EUR")
    account = books.add_account(books.clients.ids[0], euro, "u", {})
    eurusd = books.instruments[1]
    position = books.open_position(books.new_order(account, eurusd, BUY, 100))
    eurusd.bid = position.price_open + 1_085
    deal = books.close_position(position)
    assert deal.profit == 1_085_00 * 100 // 108.5  # 1,085 US dollars at 1.085
    assert account.balance == deal.profit - 2 * euro.commission[1]


def test_money_cannot_be_taken_that_is_not_there():
    books = small(deals=0)
    account = books.accounts.rows[1]
    books.move_money(account, 5_000, BALANCE, "in")
    books.move_money(account, 700, CREDIT, "bonus")
    with pytest.raises(RefusedError, match="free margin"):
        books.move_money(account, -5_001, BALANCE, "")
    with pytest.raises(RefusedError, match="credit"):
        books.move_money(account, -701, CREDIT, "")
    books.move_money(account, -5_000, BALANCE, "all")
    assert (account.balance, account.credit) == (0, 700)
    assert books.check() == []


def test_a_transaction_shares_its_id_with_its_deal():
    books = small()
    deals = {deal["id"]: deal for deal in decoded(books, "deals")}
    transactions = decoded(books, "transactions")
    assert transactions
    for row in transactions:
        deal = deals[row["id"]]
        assert (deal["profit"], deal["side"], deal["account_id"]) == (row["profit"], row["side"], row["account_id"])
        assert abs(row["profit"]) == row["amount"]


def test_rounds_bring_every_kind_of_change():
    books = small(deals=500)
    before = {name: list(books.rows(name)) for name in RESOURCES}
    books.trade(80)
    moving = (
        "clients",
        "accounts",
        "orders",
        "orders_history",
        "positions",
        "positions_history",
        "deals",
        "transactions",
    )
    assert all(list(books.rows(name)) != before[name] for name in moving)
    assert len(books.accounts) > 25
    assert books.check() == []


def test_some_accounts_never_saw_money():
    books = small(accounts=40)
    assert Counter(bool(ids) for ids in books.transactions_of.values())[False] >= 2


def test_empty_books_can_exist_and_trade():
    books = small(clients=0, accounts=0, deals=0)
    books.trade(30)
    assert books.check() == []
    assert len(books.clients) > 0


def test_truth_tells_counts_and_exact_balances():
    books = small()
    truth = books.truth()
    assert truth["counts"]["deals"] == 300 == truth["deals"]["count"]
    account = json.loads(books.accounts.json(1), parse_float=str, parse_int=str)
    assert truth["accounts"]["1"]["balance"] == account["balance"]
    assert truth["wrong"] == []


def test_a_wrong_balance_is_found():
    books = small()
    books.accounts.rows[1].balance += 1
    assert len(books.check()) == 1
    assert books.check()[0].startswith("account 1:")


def test_warm_books_have_every_row_ready():
    books = small()
    books.warm()
    assert all(row.json == row.render() for name in RESOURCES for row in books.table(name))
