import json
import time
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterfoil.domain.records import TABLES
from counterfoil.platforms.omtrader import wire
from support.lines import rows_of

REFERENCE = "cf-1a2b3c4d"


def transaction(fields, *, account_id=7, currency="EUR"):
    fmt = wire.transactions(account_id, currency)
    return fmt.read(f"[{fields if isinstance(fields, str) else json.dumps(fields)}]".encode())


def moved(text, **where):
    page = transaction(text, **where)
    assert page.rejected == []
    return rows_of(page)[0]


# Transactions


@pytest.mark.parametrize(
    ("sent", "amount", "direction"),
    [
        ('"amount":100.50,"direction":0', "100.50", "0"),
        ('"amount":100.50,"direction":1', "-100.50", "1"),
        ('"amount":-100.50,"direction":1', "-100.50", "1"),
        ('"amount":-100.50', "-100.50", "1"),
        ('"amount":100.50', "100.50", "0"),
        ('"profit":-3.10', "-3.10", "1"),
        ('"profit":3.10', "3.10", "0"),
        ('"profit":-3.10,"direction":1', "-3.10", "1"),
        ('"profit":3.10,"direction":0', "3.10", "0"),
        ('"amount":null,"profit":-7', "-7", "1"),
        ('"amount":5,"profit":-5,"direction":1', "-5", "1"),
        ('"amount":0', "0", "0"),
        ('"amount":-0.00', "-0.00", "0"),
        ('"amount":-1e-5', "-1e-5", "1"),
        ('"amount":-0e5', "-0e5", "0"),
    ],
)
def test_money_in_is_positive_and_money_out_negative(sent, amount, direction):
    row = moved(f'{{"id":1,"side":2,{sent}}}')
    assert (row["amount"], row["direction"], row["side"]) == (amount, direction, "2")


@settings(deadline=None)
@given(
    st.from_regex(r"(0|[1-9][0-9]{0,39})(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,2})?", fullmatch=True),
    st.sampled_from([0, 1]),
)
def test_an_amount_keeps_every_digit_and_only_its_sign_may_change(digits, direction):
    amount = moved(f'{{"id":1,"amount":{digits},"direction":{direction}}}')["amount"]
    assert amount == ("-" if direction else "") + digits
    assert Decimal(amount).copy_abs() == Decimal(digits)


@pytest.mark.parametrize("amount", ["1e999999999", "1e400", "-1e999999999999999999", "9" * 500])
def test_a_boundless_amount_is_refused_without_being_written_out(amount):
    began = time.process_time()
    page = transaction(f'{{"id":1,"amount":{amount}}}')
    assert (page.lines, "`$.amount`" in page.rejected[0].reason) == ([], True)
    assert time.process_time() - began < 1


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ('{"id":1}', "amount"), ('{"id":1,"amount":null,"profit":null}', "amount"), ('{"id":1,"amount":"5"}', "amount"),
        ('{"id":1,"profit":{}}', "profit"), ('{"id":1,"profit":true}', "profit"), ('{"id":1,"amount":5,"side":"2"}', "side"),
        ('{"id":1,"amount":5,"direction":true}', "direction"), (f'{{"id":1,"amount":5,"direction":{2**70}}}', "direction"),
        ('{"id":1,"amount":5,"comment":5}', "comment"), ('{"id":1,"amount":5,"currency":5}', "currency"),
        ('{"id":1,"amount":5,"account_id":8}', "account_id"), ('{"id":1,"amount":5,"account_id":"7"}', "account_id"),
        ('{"id":1,"amount":5,"created_at":"today"}', "created_at"),
    ],
)  # fmt: skip
def test_an_unreadable_movement_is_refused_by_name_and_the_rest_kept(fields, named):
    page = transaction(f'{fields},{{"id":2,"amount":1}}')
    assert (page.ids, page.line_ids) == ([1, 2], [2])
    assert f"`$.{named}`" in page.rejected[0].reason


@pytest.mark.parametrize(("sent", "currency"), [(',"currency":"USD"', "USD"), (',"currency":null', "EUR"), ("", "EUR")])
def test_the_accounts_currency_stands_in_for_one_not_sent(sent, currency):
    assert moved(f'{{"id":1,"amount":5{sent}}}')["currency"] == currency


def test_an_unknown_currency_is_null():
    assert moved('{"id":1,"amount":5}', currency=None)["currency"] is None


@pytest.mark.parametrize("account_id", ["", ',"account_id":null', ',"account_id":7'])
def test_a_movement_belongs_to_the_account_that_was_asked(account_id):
    assert moved(f'{{"id":1,"amount":5{account_id}}}')["account_id"] == "7"


def test_an_operation_of_ours_is_recognised_by_its_reference():
    row = moved({"id": 1, "amount": 5, "comment": f"wire {REFERENCE}"})
    assert (row["reference"], row["origin"], row["comment"]) == (
        REFERENCE,
        "counterfoil",
        f"wire {REFERENCE}",
    )


@pytest.mark.parametrize("comment", ["by hand", "", None])
def test_anything_else_is_the_platforms_own(comment):
    row = moved({"id": 1, "amount": 5, "comment": comment})
    assert (row["reference"], row["origin"]) == (None, "platform")


def test_the_platform_cannot_pass_a_movement_off_as_ours_and_loses_no_field():
    page = transaction({"id": 1, "amount": 5, "reference": REFERENCE, "origin": "counterfoil", "dealer_id": 4})
    (known,) = rows_of(page)
    assert (known["reference"], known["origin"]) == (None, "platform")
    assert json.loads(known["extra"]) == {
        "platform_reference": REFERENCE,
        "platform_origin": "counterfoil",
        "dealer_id": 4,
    }


# Groups


def groups(text):
    return wire.FORMATS["groups"].read(text.encode())


def test_nested_groups_are_rows_of_their_own():
    page = groups('[{"id":1,"groups":[{"id":2,"parent_id":1,"groups":[{"id":3}]},{"id":4,"groups":null}]},{"id":5}]')
    assert (page.line_ids, page.rejected) == ([1, 2, 3, 4, 5], [])


def test_a_bad_nested_group_costs_neither_its_parent_nor_its_siblings():
    page = groups('[{"id":1,"groups":[{"id":2,"root":"yes"},{"id":3}]}]')
    assert (page.line_ids, page.ids) == ([1, 3], [1, 2, 3])
    assert [(bad.record_id, bad.body) for bad in page.rejected] == [("2", '{"id":2,"root":"yes"}')]


def test_children_that_are_only_ids_are_no_rows():
    page = groups('[{"id":1,"groups":[2,3]}]')
    assert (page.line_ids, page.rejected) == ([1], [])


def test_passwords_of_nested_accounts_are_not_kept():
    page = groups('[{"id":1,"groups":[{"id":2,"trade_accounts":[{"user_password":"hunter2"}]}]}]')
    assert ("hunter2" in repr(page), page.line_ids) == (False, [1, 2])


# Symbols and commissions of a group


def symbols(text, group_id=3):
    fmt = wire.group_symbols(group_id)
    page = fmt.read(text.encode())
    return page, rows_of(page)


def test_a_group_symbol_with_an_id_of_its_own_keeps_it():
    page, (row,) = symbols('[{"id":900,"symbol_id":5,"group_id":3}]')
    assert (page.ids, row["symbol_id"], row["group_id"]) == ([900], "5", "3")


@pytest.mark.parametrize("sent", ["", ',"symbol_id":null', ',"group_id":null'])
def test_without_one_group_and_symbol_make_it(sent):
    page, (row,) = symbols(f'[{{"id":5{sent}}}]')
    assert (page.ids, row["id"], row["symbol_id"], row["group_id"]) == ([3 << 32 | 5], str(3 << 32 | 5), "5", "3")


def test_made_ids_of_different_groups_and_symbols_never_meet():
    made = [
        symbols(f'[{{"id":{symbol}}}]', group)[0].ids[0] for group in (1, 2, 2**31 - 1) for symbol in (0, 1, 2**32 - 1)
    ]
    assert (len(set(made)), max(made) < 2**63) == (9, True)


@pytest.mark.parametrize("symbol", ["-1", str(2**32), "null", '"5"', "1.0"])
def test_an_id_that_cannot_be_part_of_a_made_one_is_refused(symbol):
    page, good = symbols(f'[{{"id":{symbol}}},{{"id":6}}]')
    assert ("`$.id`" in page.rejected[0].reason, len(good), page.ids) == (True, 1, [3 << 32 | 6])
    assert page.nameless == 1


def test_a_refused_group_symbol_counts_as_listed_under_its_made_id():
    page, _ = symbols('[{"id":5,"digits":"x"}]')
    assert (page.ids, page.line_ids) == ([3 << 32 | 5], [])


@pytest.mark.parametrize(("sent", "group_id"), [("", "3"), (',"group_id":null', "3"), (',"group_id":9', "9")])
def test_a_commission_belongs_to_the_group_that_was_asked_unless_it_says_another(sent, group_id):
    fmt = wire.commissions(3)
    (row,) = rows_of(fmt.read(f'[{{"id":1{sent}}}]'.encode()))
    assert row["group_id"] == group_id


# Places


def test_every_list_fills_a_table_of_the_mirror():
    assert {place.table for place in wire.PLACES.values()} <= set(TABLES)
    assert all(wire.FORMATS[place.table].columns[0] == "id" for place in wire.PLACES.values())


def test_a_single_group_is_read_under_the_singular_path():
    assert (wire.PLACES["groups"].path, wire.PLACES["groups"].single) == (
        "/api/v1/manager/groups",
        "/api/v1/manager/group",
    )
