"""The operator's desk where accounts are tied to clients by a step of their own, and a platform tells neither owners nor history."""

import pytest

from counterfoil.cli import intents_text
from counterfoil.cli.options import DONE, WRONG_USAGE
from support.boundary import PROFILE
from support.desk import REASON
from support.explaining import NAME, ledger_and_desk

LINKED = {"finding": "doubtful", "reason": "it may be linked already", "account": 501, "user": 7, "code": "CH_LINKED"}
SUMS = {
    "finding": "doubtful",
    "reason": "deals of the same amount: the balance could have moved either way",
    "before": "100.00",
    "after": "150.00",
    "moved": "50.00",
    "deals": {"81": "50.00", "82": "-0.50"},
    "not_explained_by_deals": "0.50",
}


@pytest.fixture
def books_and_desk(database_url, tmp_path, capsys):
    with ledger_and_desk(database_url, tmp_path, capsys) as both:
        yield both


@pytest.fixture
def books(books_and_desk):
    return books_and_desk[0]


@pytest.fixture
def desk(books_and_desk):
    return books_and_desk[1]


def register(books, desk, *confirmed: str) -> None:
    """Registrant 7 with an account and a deposit, of which these steps are done."""
    books.it.crm.call("register", "7", {**PROFILE, "email": "7@example.com"}, NAME, {}, 5)
    for kind in confirmed:
        desk.it.owner.advance("7" if kind == "client" else "7/1", "sent", "confirmed", kind=kind)


def refused(desk, *words: str) -> str:
    """The complaint of a command that must change nothing."""
    with desk.unchanged():
        said = desk.run("intents", *words, *REASON)
    assert said.code == WRONG_USAGE, said
    return said.complaint


# --- links --------------------------------------------------------------------------------------------------------------


def test_a_link_is_listed_and_shown_with_its_account(books, desk):
    register(books, desk, "client", "account")
    desk.park("7/1", LINKED, reason="it may be linked already", kind="link")
    listed = desk.run("intents", "list").lines
    assert [line.split()[:4:3] for line in listed] == [["parked", "link"], ["waiting", "deposit"]]
    shown = desk.run("intents", "show", "7/1").lines
    assert [line for line in shown if line and not line.startswith(" ")][:2] == [
        "account 7/1: confirmed",
        "link 7/1: parked",
    ]
    for line in (
        "    - nothing that the platform tells can settle it (doubtful)",
        "    - account 501 on the platform",
        "    - it was to be tied to client 7",
        "    - the platform's word for it is CH_LINKED",
        "    - confirm: the account is tied to this registrant's client; what waits behind goes on",
        "    - retry: sent again",
        "    - cancel: given up, with everything that waits behind it; the account stays, tied to nobody",
    ):
        assert line in shown
    assert "ct-live: link 7/1 is parked: it may be linked already" in desk.run("status").out


@pytest.mark.parametrize(
    ("word", "state", "behind"),
    [("confirm", "confirmed", "pending"), ("retry", "pending", "waiting"), ("cancel", "cancelled", "cancelled")],
)
def test_a_link_is_decided_on_and_what_waits_behind_it_follows(books, desk, word, state, behind):
    register(books, desk, "client", "account")
    desk.park("7/1", LINKED, kind="link")
    assert desk.run("intents", word, "7/1", *REASON).out == f"link 7/1: parked -> {state}\n"
    assert (desk.state("7/1", "link"), desk.state("7/1/deposit")) == (state, behind)
    assert desk.state("7/1", "account") == "confirmed"


def test_a_link_that_waits_is_cancelled_with_its_account(books, desk):
    register(books, desk, "client")
    assert desk.run("intents", "cancel", "7/1", *REASON).out == "account 7/1: pending -> cancelled\n"
    assert [desk.state(name, kind) for name, kind in (("7/1", "link"), ("7/1/deposit", None))] == ["cancelled"] * 2


def test_a_link_that_was_not_sent_is_cancelled_when_its_account_is_there(books, desk):
    register(books, desk, "client", "account")
    assert desk.run("intents", "cancel", "7/1", *REASON).out == "link 7/1: pending -> cancelled\n"
    assert desk.state("7/1/deposit") == "cancelled"


# --- accounts -----------------------------------------------------------------------------------------------------------


def test_an_account_is_confirmed_although_the_platform_tells_no_owner(books, desk):
    register(books, desk, "client")
    desk.park("7/1", {"finding": "unclear", "reason": "x"}, kind="account")
    assert "not in the mirror" in refused(desk, "confirm", "7/1", "--record", "600")
    books.account(number=600)
    books.read_accounts()
    assert desk.run("intents", "confirm", "7/1", "--record", "600", *REASON).code == DONE
    assert desk.rows("SELECT account_id, currency, currency_digits FROM counterfoil.accounts") == [(600, "USD", 2)]
    assert desk.state("7/1", "link") == "pending"


def test_an_account_that_was_linked_to_somebody_else_is_not_confirmed(books, desk):
    other = books.member("8")
    books.read_accounts()
    books.look("clients")
    register(books, desk, "client")
    desk.park("7/1", {"finding": "unclear", "reason": "x"}, kind="account")
    assert "belongs to client" in refused(desk, "confirm", "7/1", "--record", str(other.id))


# --- money --------------------------------------------------------------------------------------------------------------


def test_money_is_confirmed_with_and_without_a_record(books, desk):
    account = books.member()
    for reference, more in (("d", ()), ("e", ("--record", "812"))):
        books.ask("deposit", reference, 50)
        desk.park(reference, SUMS)
        assert desk.run("intents", "confirm", reference, *more, *REASON).code == DONE
        books.book(reference)
    books.settle()
    numbers = [number for (number,) in desk.rows("SELECT id FROM mirror.transactions ORDER BY version")]
    assert (len(numbers), numbers[0] < 0, numbers[1]) == (2, True, 812)
    assert (books.transactions(), account.balance) == ([], 100)


def test_a_doubtful_operation_is_sent_again_only_by_who_says_so(books, desk):
    books.member()
    books.ask("deposit", "d", 50)
    desk.park("d", SUMS)
    assert "--even-though-unproven" in refused(desk, "retry", "d")
    shown = desk.run("intents", "show", "d").out
    assert (
        "retry --even-though-unproven: sent again; if the first attempt comes to light, the money has moved twice"
        in shown
    )
    assert desk.run("intents", "retry", "d", "--even-though-unproven", *REASON).code == DONE
    assert desk.rows("SELECT probe_first, waived FROM counterfoil.intents WHERE reference = 'd'") == [(False, True)]


def test_the_arithmetic_is_shown(books, desk):
    books.member()
    books.ask("deposit", "d", 50)
    desk.park("d", SUMS)
    shown = desk.run("intents", "show", "d").lines
    sums = [
        "    - it held 100.00 before",
        "    - it holds 150.00 now",
        "    - it moved by 50.00 in between",
        "    - its closing deals in between, by id: 81 50.00; 82 -0.50",
        "    - the deals leave 0.50 unexplained",
    ]
    assert [line for line in shown if line in sums] == sums
    assert any("sent with it, but the platform shows no references" in line for line in shown)


def test_evidence_in_any_depth_is_one_line_each():
    told = intents_text.explained({"finding": "doubtful", "x": {"a": [1, {"b_c": 2}], "d": None}, "deals": {}}, {})
    assert told == ["nothing that the platform tells can settle it (doubtful)", "x: a 1, b c 2"]
