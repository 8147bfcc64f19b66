"""The audit where no platform tells transactions: what was inferred is counted, what is not explained yet is no finding."""

import json
from decimal import Decimal

import pytest

from counterfoil.cli.options import DONE, NEEDS_A_PERSON
from support.explaining import ledger_and_desk


@pytest.fixture
def both(database_url, tmp_path, capsys):
    with ledger_and_desk(database_url, tmp_path, capsys) as both:
        yield both


def findings(desk) -> list[str]:
    """The lines of an audit without the last; the exit code must fit them."""
    said = desk.run("audit")
    *lines, _last = said.lines
    assert said.code == (NEEDS_A_PERSON if lines else DONE), said
    return lines


def summary(desk) -> str:
    return desk.run("audit").lines[-1]


def test_nothing_is_compared_before_everything_was_read(both):
    books, desk = both
    books.account(10)
    books.read_accounts()
    books.read_deals()
    assert summary(desk).startswith("nothing to compare yet; ct-live, live: accounts, deals and transactions")


def test_books_that_agree_are_silent_and_what_was_inferred_is_counted(both):
    books, desk = both
    account = books.member()
    books.account("100.10", 5)
    books.trade(account, "12.50")
    books.done("deposit", "d", 50)
    books.done("withdraw", "w", 20)
    books.settle()
    assert findings(desk) == []
    assert summary(desk) == (
        "compared 2 accounts, 4 transactions (2 of them inferred), 2 confirmed operations and 0 released payouts: 0 disagree; "
        "live: accounts, deals and transactions have not all been read yet"
    )


def test_what_is_not_explained_yet_is_no_finding(both):
    books, desk = both
    account, other = books.account(10), books.account()
    books.settle()
    account.move(Decimal(5))
    books.read_accounts()
    assert (findings(desk), "1 accounts moved" in summary(desk)) == ([], True)
    books.look()
    other.move(Decimal(1), credit=True)
    books.trade(account, 3)
    books.read_deals()
    assert findings(desk) == []
    books.settle()
    assert (findings(desk), "moved" in summary(desk)) == ([], False)


@pytest.mark.parametrize(
    ("column", "says"),
    [
        ("balance", "its balance is 11, its deals and transactions make 10.00, +1.00"),
        ("credit", "its credit is 1, its deals and transactions make 0, +1"),
    ],
)
def test_what_the_newest_look_saw_and_did_not_note_is_found(both, column, says):
    books, desk = both
    account = books.account(10)
    books.settle()
    books.rows(f"UPDATE mirror.accounts SET {column} = {column} + 1")
    assert findings(desk) == [f"ct-live: account {account.id}: {says}"]


def test_a_confirmed_operation_must_have_its_row(both):
    books, desk = both
    books.member()
    books.settle()
    books.done("deposit", "d", 50)
    assert (findings(desk), "1 operations are not mirrored yet" in summary(desk)) == ([], True)
    books.settle()
    assert findings(desk) == []
    books.rows("UPDATE mirror.transactions SET deleted_at = now()")
    assert "ct-live: deposit d: confirmed, but not in the platform's books" in findings(desk)


@pytest.mark.parametrize(
    ("states", "was"),
    [
        (("sent", "rejected"), "rejected"),
        (("sent", "unknown", "parked", "cancelled"), "cancelled"),
        (("sent", "unknown", "pending", "sent", "confirmed"), "sent more than once"),
    ],
)
@pytest.mark.parametrize(("kind", "way", "credit"), [("withdraw", "went out", False), ("credit_in", "came in", True)])
def test_inferred_money_that_looks_like_an_operation_that_was_not_done_is_told(both, kind, way, credit, states, was):
    books, desk = both
    account = books.member()
    books.settle()
    books.ask(kind, "x", 50)
    books.it.owner.advance("x", *states)
    if was == "sent more than once":
        books.book("x")
        books.rows("UPDATE counterfoil.intents SET resends = 1 WHERE reference = 'x'")
    books.settle()
    assert findings(desk) == []
    signed = Decimal(50 if way == "came in" else -50)
    account.move(signed, credit=credit)
    books.settle()
    ((number,),) = books.rows("SELECT id FROM mirror.transactions WHERE origin = 'inferred'")
    told = (
        f"50.00 {way} that nobody explains; {kind.replace('_', ' ')} x, of that amount, was {was}, transaction {number}"
    )
    assert findings(desk) == [f"ct-live: account {account.id}: {told}"]
    (found,) = json.loads(desk.run("audit", "--json").out)["findings"]
    assert (found["kind"], found["subject"]) == ("alike", str(account.id))
    account.move(-signed, credit=credit)
    books.settle()
    assert findings(desk) == []


@pytest.mark.parametrize("amount", [49, -50])
def test_inferred_money_of_another_amount_or_way_looks_like_nothing(both, amount):
    books, desk = both
    account = books.member()
    books.settle()
    books.ask("deposit", "x", 50)
    books.it.owner.advance("x", "sent", "rejected")
    account.move(Decimal(amount))
    books.settle()
    assert findings(desk) == []


def test_what_was_never_sent_looks_like_nothing(both):
    books, desk = both
    account = books.member()
    books.settle()
    books.ask("deposit", "x", 50)
    books.it.owner.advance("x", "cancelled")
    account.move(Decimal(50))
    books.settle()
    assert findings(desk) == []


def test_a_refund_that_was_given_back_by_hand_looks_like_nothing(both):
    books, desk = both
    account = books.member()
    books.done("deposit", "d", 80)
    books.done("withdraw", "w", 50)
    books.settle()
    books.it.crm.call("fail_payout", "w", "no such account")
    books.it.owner.advance("w/refund", "sent", "rejected")
    account.move(Decimal(50))
    books.settle()
    assert len(findings(desk)) == 1
    said = desk.run("intents", "confirm", "w/refund", "--record", "9", "--reason", "given back by hand")
    assert said.code == DONE
    assert findings(desk) == []
