"""Payouts: nobody is told to pay before the platform confirmed, and nobody is told twice."""

from decimal import Decimal

import pytest

from support.boundary import boundary, publish

SHOWN = "SELECT state, amount, currency, released_at IS NULL, settled_at IS NULL, bank_reference FROM crm.payouts"


@pytest.fixture
def it(database_url):
    with boundary(database_url) as it:
        it.ready()
        yield it


def test_a_withdrawal_has_one_payout_that_waits_for_it(it):
    it.crm.call("withdraw", "w", "7/1", "50.5")
    assert it.crm.rows(SHOWN) == [("blocked", Decimal("50.5"), "USD", True, True, None)]
    for state in ("sent", "unknown", "parked"):
        it.owner.advance("w", state)
        with it.unchanged(), it.crm.expect_refused("CF001"):
            it.crm.call("release_payout", "w")
    it.owner.advance("w", "confirmed")
    assert it.crm.state("payouts", "w") == "releasable"


@pytest.mark.parametrize("how", ["deposit", "credit in", "credit out"])
def test_nothing_but_a_withdrawal_is_paid_out(it, how):
    function, *direction = how.split()
    it.crm.call(function, "m", "7/1", 5, *direction)
    it.owner.confirm("m")
    with it.unchanged(), it.crm.expect_refused("CF005", "reference"):
        it.crm.call("release_payout", "m")


def test_a_release_tells_what_to_pay_once(it):
    it.withdrawn(amount="50.5")
    amount, currency, account, released_at = it.crm.call("release_payout", "w")
    assert (amount, currency, account) == (Decimal("50.5"), "USD", "7/1")
    assert it.crm.value("SELECT released_at FROM crm.payouts") == released_at
    with it.unchanged(), it.crm.expect_refused("CF002"):
        it.crm.call("release_payout", "w")


def test_once_released_it_never_can_be_again(it):
    it.withdrawn()
    it.withdrawn("x")
    it.crm.call("release_payout", "w")
    it.crm.call("release_payout", "x")
    it.crm.call("settle_payout", "x", "bank 1")
    it.crm.call("fail_payout", "w", "closed")
    with it.crm.expect_refused("CF002"):
        it.crm.call("release_payout", "w")
    it.owner.confirm("w/refund")
    for reference in "wx":
        with it.crm.expect_refused("CF002"):
            it.crm.call("release_payout", reference)


@pytest.mark.parametrize("end", ["rejected", "cancelled"])
def test_a_withdrawal_that_failed_declines_its_payout(it, end):
    it.crm.call("withdraw", "w", "7/1", 5)
    if end == "rejected":
        it.owner.advance("w", "sent", "rejected")
    else:
        it.crm.call("cancel", "w")
    assert it.crm.state("payouts", "w") == "declined"
    with it.unchanged():
        for call in (["release_payout", "w"], ["settle_payout", "w", "bank 1"], ["fail_payout", "w", "closed"]):
            with it.crm.expect_refused("CF003"):
                it.crm.call(*call)


def test_a_person_s_cancellation_of_a_parked_withdrawal_declines_its_payout(it):
    it.crm.call("withdraw", "w", "7/1", 5)
    it.owner.advance("w", "sent", "parked", "cancelled")
    assert it.crm.state("payouts", "w") == "declined"


def test_a_rolled_back_release_told_nobody(it):
    it.withdrawn()
    with it.unchanged(), it.crm.connection.transaction(force_rollback=True):
        it.crm.call("release_payout", "w")
    it.crm.call("release_payout", "w")
    assert it.crm.state("payouts", "w") == "released"


def test_a_settlement_names_the_bank_s_payment_once(it):
    it.withdrawn()
    it.crm.call("release_payout", "w")
    it.crm.call("settle_payout", "w", "bank 1")
    assert it.crm.rows(SHOWN) == [("settled", 50, "USD", False, False, "bank 1")]
    with it.unchanged():
        it.crm.call("settle_payout", "w", "bank 1")
        with it.crm.expect_refused("CF004", "bank_reference"):
            it.crm.call("settle_payout", "w", "bank 2")
        with it.crm.expect_refused("CF003"):
            it.crm.call("fail_payout", "w", "closed")


def test_only_a_released_payout_is_settled(it):
    it.crm.call("withdraw", "w", "7/1", 5)
    with it.unchanged(), it.crm.expect_refused("CF003"):
        it.crm.call("settle_payout", "w", "bank 1")
    it.owner.confirm("w")
    with it.unchanged(), it.crm.expect_refused("CF003"):
        it.crm.call("settle_payout", "w", "bank 1")


@pytest.mark.parametrize("name", [None, "", " 1", "a\nb", "x" * 10_240])
def test_a_bad_bank_reference_is_refused(it, name):
    it.withdrawn()
    it.crm.call("release_payout", "w")
    with it.unchanged(), it.crm.expect_refused("CF006", "bank_reference"):
        it.crm.call("settle_payout", "w", name)


@pytest.mark.parametrize("reason", [None, "", "  ", "x" * 1001, "bell\x07"])
def test_a_bad_reason_is_refused(it, reason):
    it.withdrawn()
    with it.unchanged(), it.crm.expect_refused("CF006", "reason"):
        it.crm.call("fail_payout", "w", reason)


def test_an_unknown_payout_is_refused(it):
    with it.unchanged():
        for name in ("w", None, "", "7/1", "x" * 10_240):
            for call in (["release_payout"], ["settle_payout", "bank"], ["fail_payout", "closed"]):
                with it.crm.expect_refused("CF005", "reference"):
                    it.crm.call(call[0], name, *call[1:])


def test_a_failed_payout_is_refunded_by_a_deposit(it):
    it.withdrawn(amount="50.5")
    it.crm.call("release_payout", "w")
    it.crm.call("fail_payout", "w", "account closed")
    refund = "SELECT kind, account_reference, amount, state FROM crm.operations WHERE reference = 'w/refund'"
    assert it.crm.rows(refund) == [("refund", "7/1", Decimal("50.5"), "pending")]
    assert it.crm.state("payouts", "w") == "refunding"
    with it.unchanged():
        it.crm.call("fail_payout", "w", "account closed")
        with it.crm.expect_refused("CF004", "reason"):
            it.crm.call("fail_payout", "w", "another reason")
        with it.crm.expect_refused("CF003"):
            it.crm.call("settle_payout", "w", "bank 1")
    it.owner.confirm("w/refund")
    assert it.crm.state("payouts", "w") == "refunded"
    with it.unchanged():
        it.crm.call("fail_payout", "w", "account closed")


def test_a_payout_may_fail_before_anybody_was_told_to_pay(it):
    it.withdrawn()
    it.crm.call("fail_payout", "w", "wrong bank details")
    with it.unchanged(), it.crm.expect_refused("CF003"):
        it.crm.call("release_payout", "w")


def test_a_refund_is_not_cancelled_by_the_crm(it):
    it.withdrawn()
    it.crm.call("fail_payout", "w", "closed")
    with it.unchanged(), it.crm.expect_refused("CF003"):
        it.crm.call("cancel", "w/refund")


def test_a_refund_of_the_longest_reference_has_room(it):
    it.withdrawn("w" * 200)
    it.crm.call("fail_payout", "w" * 200, "closed")
    assert it.crm.state("operations", "w" * 200 + "/refund") == "pending"


def test_a_reference_that_a_refund_will_need_is_not_given_away(it):
    it.crm.call("withdraw", "w", "7/1", 5)
    with it.crm.expect_refused("CF006", "reference"):
        it.crm.call("deposit", "w/refund", "7/1", 5)
    with it.crm.expect_refused("CF006", "reference"):
        it.crm.call("open_account", "w/refund", "7", {})


@pytest.mark.parametrize("sandbox", [True, None])
def test_a_simulator_s_withdrawal_is_not_paid_out(it, sandbox):
    it.owner.bind(sandbox=sandbox)
    it.withdrawn()
    with it.unchanged(), it.crm.expect_refused("CF001"):
        it.crm.call("release_payout", "w")


def test_a_simulator_s_withdrawal_is_paid_out_where_the_settings_say_so(it):
    it.owner.bind(sandbox=True)
    it.withdrawn()
    publish(it.url, sandbox_payouts=True)
    assert it.crm.state("payouts", "w") == "releasable"
    it.withdrawn("x")
    it.crm.call("release_payout", "x")


def test_a_restored_database_tells_nobody_to_pay(it):
    it.withdrawn()
    it.owner.rows("INSERT INTO counterfoil.database_identity (identity) VALUES ('another one')")
    with it.unchanged(), it.crm.expect_refused("CF003"):
        it.crm.call("release_payout", "w")
    it.owner.rows("UPDATE counterfoil.database_identity SET identity = counterfoil.identity()")
    it.crm.call("release_payout", "w")


def asking(*call):
    return lambda crm: crm.call(*call)


def test_of_two_who_release_at_once_one_is_told_to_pay(it):
    it.withdrawn()
    assert it.overtake(asking("release_payout", "w"), asking("release_payout", "w")) == "CF002"


def test_the_second_releases_when_the_first_takes_it_back(it):
    it.withdrawn()
    told = it.overtake(asking("release_payout", "w"), asking("release_payout", "w"), undone=True)
    assert told[:3] == (50, "USD", "7/1")


@pytest.mark.parametrize(
    ("first", "second", "outcome"),
    [
        (["release_payout", "w"], ["fail_payout", "w", "closed"], None),
        (["fail_payout", "w", "closed"], ["release_payout", "w"], "CF003"),
        (["fail_payout", "w", "closed"], ["fail_payout", "w", "closed"], None),
        (["fail_payout", "w", "closed"], ["fail_payout", "w", "other"], "CF004"),
    ],
)
def test_a_release_and_a_failure_at_once_follow_one_another(it, first, second, outcome):
    it.withdrawn()
    assert it.overtake(asking(*first), asking(*second)) == outcome
    assert it.crm.state("payouts", "w") == "refunding"
    assert it.crm.value("SELECT count(*) FROM crm.operations WHERE kind = 'refund'") == 1


def test_two_settlements_at_once_cannot_name_two_payments(it):
    it.withdrawn()
    it.crm.call("release_payout", "w")
    assert it.overtake(asking("settle_payout", "w", "bank 1"), asking("settle_payout", "w", "bank 2")) == "CF004"
