import json
from decimal import Decimal

import pytest

from counterfoil.sandbox import faults as f
from counterfoil.sandbox import writes
from counterfoil.sandbox.books import Books
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
