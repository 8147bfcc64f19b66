"""Balance operations over the boundary: amounts, repetition, order, cancellation."""

from decimal import Decimal

import pytest

from support.boundary import PROFILE, boundary

NOT_AMOUNTS = ["NaN", "Infinity", "-Infinity", 0, -1, "-0.01", None, "1" + "0" * 15, "9" * 30, "0." + "0" * 29 + "1"]
PLANS = [("deposit",), ("withdraw",), ("credit", "in"), ("credit", "out")]


@pytest.fixture
def it(database_url):
    with boundary(database_url) as it:
        yield it


def plan(crm, how, reference, account="7/1", amount: object = 5, note=None):
    function, *direction = how
    return crm.call(function, reference, account, amount, *direction, note)


@pytest.mark.parametrize("how", PLANS)
def test_an_operation_is_planned_once(it, how):
    it.ready()
    plan(it.crm, how, "m", amount="5.10", note="thanks")
    assert it.crm.rows("SELECT kind, amount, state FROM crm.operations") == [("_".join(how), Decimal("5.1"), "pending")]
    with it.unchanged():
        plan(it.crm, how, "m", amount="5.1", note="thanks")


@pytest.mark.parametrize("how", PLANS)
def test_an_operation_with_other_content_is_refused(it, how):
    it.ready()
    it.crm.call("open_account", "b", "7", {})
    plan(it.crm, how, "m", note="thanks")
    others = [{"amount": 6, "note": "thanks"}, {"account": "b", "note": "thanks"}, {"note": "other"}, {}]
    others += [{"amount": "NaN", "note": "thanks"}, {"amount": None, "note": "thanks"}]
    with it.unchanged():
        for other in others:
            with it.crm.expect_refused("CF004", "reference"):
                plan(it.crm, how, "m", **other)
        for another in PLANS:
            if another != how:
                with it.crm.expect_refused("CF004", "reference"):
                    plan(it.crm, another, "m", note="thanks")
        with it.crm.expect_refused("CF004", "reference"):
            plan(it.crm, how, "7/1")


@pytest.mark.parametrize("how", PLANS)
def test_a_bad_amount_is_refused_and_plans_nothing(it, how):
    it.ready()
    with it.unchanged():
        for amount in (*NOT_AMOUNTS, "5.001"):
            with it.crm.expect_refused("CF006", "amount"):
                plan(it.crm, how, "m", amount=amount)


def test_the_greatest_and_the_smallest_amount_are_kept_to_the_digit(it):
    it.ready()
    for reference, amount in (("most", "999999999999999.99"), ("least", "0.01"), ("zeros", "5.000000000000000000000")):
        it.crm.call("deposit", reference, "7/1", amount)
        kept = it.crm.value("SELECT amount FROM crm.operations WHERE reference = %s", reference)
        assert kept == Decimal(amount)


def test_digits_are_not_judged_before_the_currency_is_known(it):
    it.crm.call("register", "7", PROFILE, "live", {}, "5.001")
    it.crm.call("deposit", "m", "7/1", "0.00000001")
    it.owner.confirm("7", "7/1")
    with it.crm.expect_refused("CF006", "amount"):
        it.crm.call("deposit", "n", "7/1", "0.001")


@pytest.mark.parametrize(("account", "known"), [({}, 79), ({"group_id": 80}, 80), ({"group_id": 80.0}, 80)])
def test_digits_are_judged_as_soon_as_the_group_is_known(it, account, known):
    it.owner.rows(
        "INSERT INTO mirror.groups (platform, id, currency_digits, first_seen_at, changed_at, version) "
        "VALUES ('live', %s, 0, now(), now(), 1)",
        known,
    )
    it.crm.call("register", "7", PROFILE, "live", account)
    with it.unchanged(), it.crm.expect_refused("CF006", "amount"):
        it.crm.call("deposit", "m", "7/1", "5.5")


@pytest.mark.parametrize("how", PLANS)
def test_an_unknown_account_is_refused(it, how):
    it.ready()
    with it.unchanged():
        for account in ("8/1", "7", None, "", "7/1 ", "' OR true --"):
            with it.crm.expect_refused("CF005", "account_reference"):
                plan(it.crm, how, "m", account)


@pytest.mark.parametrize("how", PLANS)
def test_a_bad_reference_or_note_is_refused(it, how):
    it.ready()
    with it.unchanged():
        for name in (None, "", " m", "m ", "a\nb", "\x7f", "é" * 101, "x" * 10_240):
            with it.crm.expect_refused("CF006", "reference"):
                plan(it.crm, how, name)
        for note in ("x" * 1001, "bell\x07"):
            with it.crm.expect_refused("CF006", "note"):
                plan(it.crm, how, "m", note=note)


@pytest.mark.parametrize("direction", [None, "", "IN", "sideways", "in'; --"])
def test_a_credit_goes_in_or_out(it, direction):
    it.ready()
    with it.unchanged(), it.crm.expect_refused("CF006", "direction"):
        it.crm.call("credit", "m", "7/1", 5, direction)


def test_any_other_text_is_only_text(it):
    it.ready()
    for name in ("'; DROP TABLE counterfoil.intents; --", 'q"', "\\", "漢字 🐎", "%s {} :a", "x" * 200):
        it.crm.call("deposit", name, "7/1", 1, name)
        it.owner.confirm(name)
        assert it.crm.state("operations", name) == "confirmed"


def test_operations_of_one_account_stand_behind_the_first_unfinished_one(it):
    it.ready()
    for name in "abc":
        it.crm.call("deposit", name, "7/1", 1)
    assert [it.crm.reason("operations", name) for name in "abc"] == [None, "behind a", "behind a"]
    it.owner.advance("a", "sent", "unknown", "parked")
    assert it.crm.reason("operations", "c") == "behind a"
    it.owner.advance("a", "confirmed")
    assert [it.crm.reason("operations", name) for name in "bc"] == [None, "behind b"]


def test_another_account_is_not_held_up(it):
    it.ready()
    it.ready("8")
    it.crm.call("deposit", "a", "7/1", 1)
    it.crm.call("deposit", "b", "8/1", 1)
    it.owner.advance("a", "sent")
    assert it.crm.reason("operations", "b") is None
    it.owner.advance("b", "sent")


def test_operations_wait_for_their_account_and_leave_together(it):
    it.crm.call("register", "7", PROFILE, "live", {})
    for name in "ab":
        it.crm.call("deposit", name, "7/1", 1)
    it.owner.confirm("7")
    assert it.crm.state("operations", "a") == "waiting"
    it.owner.confirm("7/1")
    assert [it.crm.state("operations", name) for name in "ab"] == ["pending", "pending"]


@pytest.mark.parametrize("end", ["rejected", "cancelled"])
def test_what_stands_behind_a_step_that_failed_is_cancelled_to_the_last(it, end):
    it.crm.call("register", "7", PROFILE, "live", {}, 5)
    it.crm.call("withdraw", "w", "7/1", 5)
    if end == "rejected":
        it.owner.advance("7", "sent", "rejected")
    else:
        it.crm.call("cancel", "7")
    assert it.crm.reason("accounts", "7/1") == f"registrant 7 was {end}"
    assert it.crm.reason("operations", "w") == "account 7/1 was cancelled"
    assert {it.crm.state("operations", name) for name in ("7/1/deposit", "w")} == {"cancelled"}
    assert it.crm.state("payouts", "w") == "declined"
    with it.unchanged(), it.crm.expect_refused("CF003"):
        it.crm.call("deposit", "m", "7/1", 5)


def test_cancelling_is_repeatable_and_ends_at_the_first_attempt(it):
    it.ready()
    for name in "ab":
        it.crm.call("deposit", name, "7/1", 1)
    it.crm.call("cancel", "b")
    with it.unchanged():
        it.crm.call("cancel", "b")
    assert it.crm.reason("operations", "b") == "cancelled by the CRM"
    for state in ("sent", "unknown", "parked", "confirmed"):
        it.owner.advance("a", state)
        with it.unchanged(), it.crm.expect_refused("CF003"):
            it.crm.call("cancel", "a")


def test_what_surely_was_not_sent_can_be_cancelled(it):
    it.ready()
    it.crm.call("deposit", "a", "7/1", 1)
    it.owner.advance("a", "sent", "pending")
    it.crm.call("cancel", "a")
    assert it.crm.state("operations", "a") == "cancelled"


def test_nothing_unknown_is_cancelled(it):
    it.ready()
    with it.unchanged():
        for name in ("m", None, "", "x" * 10_240, "7/1 ", "\n"):
            with it.crm.expect_refused("CF005", "reference"):
                it.crm.call("cancel", name)


def test_a_cancelled_operation_s_reference_stays_taken(it):
    it.ready()
    it.crm.call("deposit", "a", "7/1", 1)
    it.crm.call("cancel", "a")
    with it.unchanged():
        it.crm.call("deposit", "a", "7/1", 1)
        with it.crm.expect_refused("CF004", "reference"):
            it.crm.call("deposit", "a", "7/1", 2)


def test_events_are_shown_once_they_are_numbered(it):
    it.ready()
    it.crm.call("deposit", "a", "7/1", 1)
    assert it.crm.rows("SELECT * FROM crm.events") == []
    it.owner.rows("UPDATE counterfoil.events SET id = entry WHERE event = 'operation.pending'")
    shown = "SELECT reference, event, state FROM crm.events"
    assert it.crm.rows(shown) == [("a", "operation.pending", "pending")]


def test_the_daemon_is_told_of_work_when_it_is_committed(it):
    it.ready()
    it.owner.rows("LISTEN counterfoil_work")
    with it.crm.connection.transaction():
        it.crm.call("deposit", "a", "7/1", 1)
        assert list(it.owner.connection.notifies(timeout=0.05)) == []
    told = list(it.owner.connection.notifies(timeout=5, stop_after=1))
    assert [(notify.channel, notify.payload) for notify in told] == [("counterfoil_work", "live")]
