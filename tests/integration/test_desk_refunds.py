"""Money that must be given back by hand, requests that nobody takes up, fields that drifted: what `status` says of them."""

import pytest

from counterfoil.cli.options import DONE, NEEDS_A_PERSON, WRONG_USAGE
from support.desk import REASON, desk


@pytest.fixture
def it(database_url, tmp_path, capsys):
    with desk(database_url, tmp_path, capsys) as it:
        it.ready()
        yield it


@pytest.fixture
def rejected(it):
    it.withdrawn()
    it.crm.call("fail_payout", "w", "no such account")
    it.owner.advance("w/refund", "sent", "rejected")
    return it


def test_a_rejected_refund_is_over_when_a_person_names_the_record_that_gave_the_money_back(rejected):
    said = rejected.run("intents", "confirm", "w/refund", "--record", "812", *REASON)
    assert (said.code, rejected.state("w/refund")) == (DONE, "rejected")
    assert rejected.rows("SELECT state FROM counterfoil.payouts") == [("refunded",)]
    assert [decision[:2] for decision in rejected.decisions()] == [("w/refund", "confirm")]
    assert rejected.run("status").code == DONE


def test_without_a_record_or_a_second_time_a_rejected_refund_is_not_taken_for_given_back(rejected):
    said = rejected.run("intents", "confirm", "w/refund", *REASON)
    assert (said.code, "--record ID" in said.complaint) == (WRONG_USAGE, True)
    assert rejected.rows("SELECT state FROM counterfoil.payouts") == [("refunding",)]
    rejected.run("intents", "confirm", "w/refund", "--record", "812", *REASON)
    assert "refunded already" in rejected.run("intents", "confirm", "w/refund", "--record", "813", *REASON).complaint


def test_a_record_that_is_not_the_refund_is_refused(rejected):
    rejected.booked(812, None, 49)
    assert "--record 812 is 49" in rejected.run("intents", "confirm", "w/refund", "--record", "812", *REASON).complaint


AGED = "UPDATE counterfoil.intents SET due_at = clock_timestamp() - make_interval(secs => 300) WHERE reference = %s"


def test_what_nobody_takes_up_needs_a_person(it):
    it.rows(AGED, it.deposit() and "d")
    said = it.run("status")
    assert (said.code, "(d)" in said.lines[0]) == (NEEDS_A_PERSON, True)
    assert "nobody takes it up: is counterfoil run at work" in said.lines[1]


@pytest.mark.parametrize(
    "in_the_way",
    [
        "UPDATE counterfoil.platform_state SET paused = 'x'",
        "UPDATE counterfoil.intents SET due_at = clock_timestamp() WHERE reference = 'd'",
    ],
)
def test_what_is_not_due_or_is_held_up_on_purpose_is_not_said_to_be_forgotten(it, in_the_way):
    it.rows(AGED, it.deposit() and "d")
    it.rows(in_the_way)
    assert not any("nobody takes it up" in line for line in it.run("status").lines)


def test_of_one_account_only_the_first_operation_is_said_to_be_forgotten(it):
    for name in ("d", "e"):
        it.rows(AGED, it.deposit(name) and name)
    assert sum("nobody takes it up" in line for line in it.run("status").lines) == 1


def test_drift_is_told_and_needs_nobody_at_once(it):
    it.rows(
        "INSERT INTO counterfoil.drift (registrant_id, field) SELECT registrant_id, 'email' FROM counterfoil.registrants"
    )
    said = it.run("status")
    assert said.code == DONE
    assert any("1 fields that the CRM owns were changed" in line for line in said.lines)
