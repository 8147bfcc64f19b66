"""How often a resource is asked for: by how quiet it was, and by what a stream brings."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterfoil.domain.interval import Interval
from counterfoil.pull.pacing import not_within, quiet, slowed, wanted
from counterfoil.store.cursors import Recent

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
BETWEEN = Interval(30 * SECOND, 5 * MINUTE)
LENGTHS = st.integers(1, 10**6).map(lambda milliseconds: timedelta(milliseconds=milliseconds))


def recent(seconds: float | None, *, heard: float | None = None, relied: bool = False) -> Recent:
    """Quiet for so many seconds; `heard`: seconds before the newest run a stream was last relied on."""

    def before(length: float | None) -> datetime | None:
        return None if length is None else NOW - length * SECOND

    return Recent(as_of=NOW, busy_at=before(seconds), heard_at=before(heard), relied=relied)


@pytest.mark.parametrize(
    ("quiet_for", "expected"),
    [(0, 30), (30, 30), (60, 30), (119, 30), (120, 60), (180, 90), (400, 180), (600, 300), (86_400, 300)],
)
def test_a_quiet_resource_is_asked_after_half_the_time_for_which_nothing_changed(quiet_for, expected):
    assert wanted(BETWEEN, recent(quiet_for), streamed=False) == expected * SECOND


@pytest.mark.parametrize("quiet_for", [0, 3_600, None])
def test_without_a_longer_bound_nothing_changes_anything(quiet_for):
    assert wanted(Interval.steady(MINUTE), recent(quiet_for), streamed=False) == MINUTE


@pytest.mark.parametrize(
    "known",
    [
        Recent(as_of=None, busy_at=None, heard_at=None, relied=False),
        Recent(as_of=None, busy_at=NOW, heard_at=None, relied=False),
        Recent(as_of=NOW, busy_at=None, heard_at=None, relied=False),
        # A failed run came after the newest complete one.
        Recent(as_of=NOW, busy_at=NOW + MINUTE, heard_at=None, relied=False),
    ],
)
def test_what_is_not_known_to_be_quiet_is_asked_at_the_shortest_interval(known):
    assert wanted(BETWEEN, known, streamed=False) == BETWEEN.every


@given(LENGTHS, LENGTHS, LENGTHS, st.booleans(), st.booleans())
def test_the_interval_keeps_its_bounds_and_is_a_whole_number_of_beats(every, further, silence, streamed, relied):
    interval = Interval(every, every + further)
    known = recent(silence.total_seconds(), relied=relied)
    found = wanted(interval, known, streamed=streamed)
    longest = slowed(every) if streamed and relied else every
    assert every <= found <= max(interval.idle, longest)
    assert found % every == timedelta(0)
    assert timedelta(0) < not_within(interval, known, streamed=streamed, ours=True) < found


@given(LENGTHS, LENGTHS, st.lists(LENGTHS, min_size=2))
def test_the_longer_nothing_changes_the_longer_is_the_interval(every, further, silences):
    interval = Interval(every, every + further)
    found = [wanted(interval, recent(one.total_seconds()), streamed=False) for one in sorted(silences)]
    assert found == sorted(found)


@pytest.mark.parametrize(("quiet_for", "expected"), [(0, 120), (200, 120), (600, 300)])
def test_while_a_stream_is_relied_on_the_longer_of_both_intervals_holds(quiet_for, expected):
    assert wanted(BETWEEN, recent(quiet_for, relied=True), streamed=True) == expected * SECOND
    assert wanted(BETWEEN, recent(0, relied=True), streamed=False) == BETWEEN.every


def test_a_stream_never_makes_a_resource_rarer_than_its_own_bound():
    steady = Interval.steady(2 * MINUTE)
    assert wanted(steady, recent(0, relied=True), streamed=True) == 4 * MINUTE
    rare = Interval.steady(timedelta(hours=1))
    assert wanted(rare, recent(0, relied=True), streamed=True) == rare.every


def test_what_polls_did_not_find_while_events_brought_it_is_not_quiet():
    """The stream was relied on until a moment ago, and the polls beside it found nothing for hours."""
    known = recent(7_200, heard=5)
    assert quiet(known, streamed=True) == 5 * SECOND
    assert wanted(BETWEEN, known, streamed=True) == BETWEEN.every
    assert quiet(known, streamed=False) == 7_200 * SECOND
