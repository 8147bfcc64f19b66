import json
from decimal import Decimal

import msgspec
import pytest

from counterfoil.sandbox import faults as f
from counterfoil.sandbox import writes
from counterfoil.sandbox.books import Books
from counterfoil.sandbox.desk import FaultDesk
from counterfoil.sandbox.ledger import RefusedError

CALM = f.Struck()
PERSON = {"first_name": "Ada", "family_name": "L"}


@pytest.fixture
def books():
    return Books(clients=2, accounts=6, deals=6, seed=4)


@pytest.fixture
def account(books):
    return books.accounts.rows[1]


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (
            b'{"a":1.10,"b":-7,"c":"x","d":null,"e":[1],"f":true}',
            {"a": Decimal("1.10"), "b": -7, "c": "x", "d": None, "e": [1], "f": True},
        ),
        (b'{"a":0.1000000000000000055511151231257827}', {"a": Decimal("0.1000000000000000055511151231257827")}),
        (b'{"a":1e2}', {"a": Decimal(100)}),
        (b"{}", {}),
    ],
)
def test_a_body_keeps_its_numbers_exact(body, fields):
    assert writes.read_body(body) == fields


@pytest.mark.parametrize("body", [b"", b"[]", b"nope", b'{"a":', b'{"a":9223372036854775808}', b'"\xff"'])
def test_a_body_that_is_no_object_is_refused(body):
    with pytest.raises(RefusedError):
        writes.read_body(body)


def test_unknown_and_unwritable_fields_of_a_client_are_ignored(books):
    client = writes.create_client(books, {**PERSON, "id": 1, "shoe_size": 44, "created_at": "x"}, CALM)
    row = json.loads(client.render())
    assert "shoe_size" not in row
    assert row["id"] == client.id != 1
    assert row["created_at"] == row["updated_at"] != "x"


@pytest.mark.parametrize(
    "wrong", [{"first_name": 1}, {"status": "new"}, {"status": True}, {"status": Decimal("1.5")}, {"birth_date": 1980}]
)
def test_a_client_field_of_the_wrong_type_is_refused(books, wrong):
    with pytest.raises(RefusedError, match="wrong type"):
        writes.create_client(books, {**PERSON, **wrong}, CALM)


def test_dates_may_be_null_and_fortunes_fractional(books):
    client = writes.create_client(books, {**PERSON, "birth_date": None, "net_worth": Decimal("0.10")}, CALM)
    assert b'"net_worth":0.1,' in client.render()
    writes.update_client(books, client, {"net_worth": Decimal("1.5e2")}, CALM)
    assert b'"net_worth":150,' in client.render()


@pytest.mark.parametrize("fortune", ["1e400", "1e-400", "0.123456789"])
def test_a_fortune_beyond_all_measure_is_refused(books, fortune):
    with pytest.raises(RefusedError, match="digits"):
        writes.create_client(books, {**PERSON, "net_worth": Decimal(fortune)}, CALM)


@pytest.mark.parametrize(
    ("wish", "reason"),
    [
        ({"client_id": 99}, "client_id"),
        ({"client_id": "3"}, "client_id"),
        ({"group_id": 1}, "group_id"),
        ({"username": ""}, "username"),
        ({"user_password": ""}, "user_password"),
        ({"phone": 49}, "phone"),
        ({"leverage": -1}, "leverage"),
    ],
)
def test_an_account_that_makes_no_sense_is_refused(books, wish, reason):
    good = {"client_id": 3, "group_id": 79, "username": "u", "user_password": "p"}
    before = len(books.accounts)
    with pytest.raises(RefusedError, match=reason):
        writes.create_account(books, {**good, **wish}, CALM)
    assert len(books.accounts) == before


def test_passwords_are_kept_nowhere(books):
    wish = {"client_id": 3, "group_id": 79, "username": "u", "user_password": "pa55", "investor_password": "inv3st"}
    account = writes.create_account(books, wish, CALM)
    writes.update_account(books, account, {"user_password": "pa55word"}, CALM)
    assert b"pa55" not in account.render()
    assert "pa55" not in repr(account)


def test_a_group_of_another_currency_is_refused(books, account):
    groups = books.trading_groups.values()
    foreign = next(group for group in groups if group.currency != account.group.currency)
    with pytest.raises(RefusedError, match="currency"):
        writes.update_account(books, account, {"group_id": foreign.id}, CALM)


def test_the_side_may_be_called_type(books, account):
    transaction = writes.transfer(books, account, {"amount": 7, "type": 3}, CALM)
    assert (transaction.side, account.credit) == (3, 7 * 10**account.group.digits)


@pytest.mark.parametrize("amount", [Decimal("1e400"), Decimal("1e-400"), 10**15, 0, None, "1", Decimal("0.005")])
def test_an_amount_that_cannot_be_booked_is_refused(books, account, amount):
    with pytest.raises(RefusedError, match="amount"):
        writes.transfer(books, account, {"amount": amount}, CALM)
    assert books.check() == []


def test_an_amount_is_booked_to_the_last_digit(books):
    account = next(row for row in books.accounts if row.group.digits == 2)
    before = account.balance
    writes.transfer(books, account, {"amount": Decimal("999999999999999.99")}, CALM)
    assert account.balance - before == 99_999_999_999_999_999
    writes.transfer(books, account, {"amount": Decimal("0.10"), "direction": 1}, CALM)
    assert account.balance - before == 99_999_999_999_999_989


# What a platform may do wrong with money

DIGITS = 10**2


@pytest.fixture
def dollars(books):
    return next(row for row in books.accounts if row.group.currency == "USD")


def struck(kind, **wishes):
    desk = FaultDesk()
    desk.set({"kind": kind, **wishes})
    return desk.pick("POST", "/api/v1/manager/accounts/1/money", f.WRITE)


def money(books, account, faults, amount=100, **wishes):
    """What the answer says after a transfer, and the transactions that it added to the books."""
    before = set(books.transactions_of[account.id])
    told = writes.transfer(books, account, {"amount": amount, "comment": "cf-1", **wishes}, faults)
    added = [books.transactions.rows[key] for key in books.transactions_of[account.id] if key not in before]
    assert books.check() == []
    return json.loads(told.render(), parse_float=Decimal), added


@pytest.mark.parametrize(
    ("by", "direction", "booked"),
    [("0.01", 0, 10_001), ("0.01", 1, -10_001), ("-0.5", 0, 9_950), ("25", 1, -12_500), ("-100", 0, 1)],
)
def test_a_wrong_amount_is_booked_and_told_as_it_was_booked(books, dollars, by, direction, booked):
    money(books, dollars, CALM, amount=1_000)
    told, (added,) = money(books, dollars, struck("wrong_amount", by=by), direction=direction)
    assert added.amount == booked
    assert (told["profit"], told["amount"]) == (Decimal(booked) / DIGITS, abs(Decimal(booked)) / DIGITS)


def test_a_wrong_amount_is_at_least_the_smallest_unit_of_the_currency(books, account):
    yen = msgspec.structs.replace(account.group, digits=0)
    account.group = yen
    before = account.balance
    writes.transfer(books, account, {"amount": 100}, struck("wrong_amount"))
    assert account.balance - before == 101


@pytest.mark.parametrize(("direction", "profit"), [(0, Decimal("100.01")), (1, Decimal("-100.01"))])
def test_an_answer_with_another_amount_leaves_the_books_right(books, dollars, direction, profit):
    money(books, dollars, CALM, amount=1_000)
    told, (added,) = money(books, dollars, struck("answer_amount"), direction=direction)
    assert (told["profit"], told["amount"]) == (profit, Decimal("100.01"))
    assert abs(added.amount) == 100 * DIGITS


def test_an_answer_may_differ_by_any_amount(books, dollars):
    told, _ = money(books, dollars, struck("answer_amount", by="-40.5"))
    assert (told["profit"], told["amount"]) == (Decimal("59.5"), Decimal("59.5"))


def test_an_answer_about_another_account_leaves_the_books_right(books, dollars):
    told, (added,) = money(books, dollars, struck("answer_account"))
    assert (told["account_id"], told["id"], told["amount"]) == (dollars.id + 1, added.id, 100)
    assert added.account_id == dollars.id


@pytest.mark.parametrize("direction", [0, 1])
def test_money_can_be_booked_twice_and_told_once(books, dollars, direction):
    money(books, dollars, CALM, amount=1_000)
    before = dollars.balance
    told, added = money(books, dollars, struck("books_twice"), direction=direction)
    assert [(row.comment, abs(row.amount)) for row in added] == [("cf-1", 100 * DIGITS)] * 2
    assert abs(dollars.balance - before) == 200 * DIGITS
    assert told["id"] == min(row.id for row in added)


def test_what_is_booked_twice_need_not_be_covered_twice(books, dollars):
    everything = Decimal(dollars.free - dollars.credit) / DIGITS
    _, added = money(books, dollars, struck("books_twice"), amount=everything, direction=1)
    assert len(added) == 2


def test_a_comment_that_is_cut_to_nothing_is_lost(books, dollars):
    told, (added,) = money(books, dollars, struck("comment_cut", length=0))
    assert (told["comment"], added.comment) == ("", "")
