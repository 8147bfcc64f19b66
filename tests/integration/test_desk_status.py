"""What `status` says of requests that stand still: what goes on by itself stays out, what nobody moves is told with its reason."""

import json

import pytest

from counterfoil.cli.options import DONE, NEEDS_A_PERSON
from support.desk import desk


@pytest.fixture
def it(database_url, tmp_path, capsys):
    with desk(database_url, tmp_path, capsys) as it:
        it.ready()
        yield it


POSTPONED = """
    UPDATE counterfoil.intents SET attempts = %s, created_at = clock_timestamp() - make_interval(secs => %s),
        due_at = clock_timestamp() + interval '4 min', reason = 'not sent: HTTP 403: the Manager account may not do this'
    WHERE reference = 'd'
"""


def postpone(it, attempts, age):
    """Deposit `d` was asked for so many seconds ago and tried so often."""
    with it.owner.connection.transaction():
        it.rows("ALTER TABLE counterfoil.intents DISABLE TRIGGER USER")
        it.rows(POSTPONED, attempts, age)
        it.rows("ALTER TABLE counterfoil.intents ENABLE TRIGGER USER")


def waiting(it):
    return [
        (row["reference"], row["why"], row["person"]) for row in json.loads(it.run("status", "--json").out)["waiting"]
    ]


def test_what_is_postponed_for_over_a_quarter_of_an_hour_needs_a_person_who_is_told_why(it):
    it.deposit()
    postpone(it, 9, 901)
    said = it.run("status")
    assert (said.code, "(d)" in said.lines[0]) == (NEEDS_A_PERSON, True)
    assert said.lines[1].endswith(
        "deposit d: nobody takes it up: not sent: HTTP 403: the Manager account may not do this"
    )
    assert waiting(it) == [("d", "idle", True)]


@pytest.mark.parametrize(("attempts", "age"), [(9, 880), (0, 5000)])
def test_what_is_postponed_for_less_or_was_never_tried_needs_nobody(it, attempts, age):
    it.deposit()
    postpone(it, attempts, age)
    assert (it.run("status").code, waiting(it)) == (DONE, [])


def test_what_stands_behind_another_is_not_told_as_postponed(it):
    it.park(it.deposit("first"), {"finding": "unclear", "reason": "x"})
    it.deposit()
    postpone(it, 9, 5000)
    assert waiting(it) == [("first", "parked", True)]


def test_a_time_days_ahead_is_no_postponement(it):
    it.deposit()
    postpone(it, 9, 5000)
    it.rows("UPDATE counterfoil.intents SET due_at = clock_timestamp() + interval '3 days' WHERE reference = 'd'")
    assert waiting(it) == []


def test_an_unknown_outcome_on_a_platform_that_nobody_writes_to_needs_a_person(database_url, tmp_path, capsys):
    with desk(database_url, tmp_path, capsys, push=False) as it:
        it.ready()
        it.owner.advance(it.deposit(), "sent", "unknown")
        said = it.run("status")
        assert (said.code, said.lines[0]) == (NEEDS_A_PERSON, "money is stuck: 1 operation waits for a person (d)")
        assert waiting(it) == [("d", "unknown", True)]


def test_an_unknown_outcome_on_a_platform_that_is_written_to_needs_nobody(it):
    it.owner.advance(it.deposit(), "sent", "unknown")
    assert (it.run("status").code, waiting(it)) == (DONE, [("d", "unknown", False)])


def test_an_unknown_outcome_that_needs_a_person_is_not_called_parked(database_url, tmp_path, capsys):
    with desk(database_url, tmp_path, capsys, push=False) as it:
        it.ready()
        it.owner.advance(it.deposit(), "sent", "unknown")
        assert "is parked" not in it.run("status").out
