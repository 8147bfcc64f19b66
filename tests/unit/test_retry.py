"""How long to wait: a table of tries and ages."""

import pytest

from counterfoil.domain import retry
from counterfoil.domain.retry import delay, until_next_look


@pytest.mark.parametrize(
    ("failures", "seconds"),
    [
        (-1, 1),
        (0, 1),
        (1, 1),
        (2, 2),
        (3, 4),
        (4, 8),
        (8, 128),
        (9, 256),
        (10, 300),
        (11, 300),
        (55, 300),
        (10_000, 300),
    ],
)
def test_the_wait_doubles_with_each_failure_up_to_five_minutes(failures, seconds):
    assert delay(failures) == seconds


def test_the_wait_begins_and_ends_where_it_is_told_to():
    assert [delay(n, first=0.5, longest=3) for n in (1, 2, 3, 4, 5)] == [0.5, 1, 2, 3, 3]
    # The doubling itself is bounded, however long the waits may grow.
    assert delay(31, longest=2**40) == 2**30
    assert delay(32, longest=2**40) == 2**30


def test_before_a_person_is_asked_it_has_been_tried_for_about_four_hours():
    assert retry.MOST_TRIES == 55
    hours = sum(delay(n) for n in range(1, retry.MOST_TRIES)) / 3600
    assert 3.5 < hours < 4.5


@pytest.mark.parametrize(
    ("age", "seconds"),
    [
        (-50, 1),
        (0, 1),
        (1, 1),
        (2, 2),
        (3, 3),
        (10, 10),
        (59, 59),
        (299, 299),
        (300, 300),
        (301, 300),
        (600, 300),
        (601, 299),
        (860, 40),
        (871, 29),
        (895, 5),
        (899, 1),
        (899.5, 0.5),
        (899.95, 0.1),
        (900, 7),
        (901, 7),
        (10_000, 7),
    ],
)
def test_looks_grow_rarer_until_the_settle_time_and_come_at_their_own_pace_after_it(age, seconds):
    assert until_next_look(age, settle=900, between=7) == pytest.approx(seconds)


def test_no_look_comes_later_than_the_end_of_a_short_settle_time():
    assert until_next_look(0, settle=0.5, between=9) == 0.5
    assert until_next_look(0.25, settle=0.3, between=9) == pytest.approx(0.1)
    assert until_next_look(0, settle=0, between=9) == 9
