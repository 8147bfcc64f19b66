"""How far a history has come, and how far it may say that it has."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterfoil.domain.cursor import OVERLAP_IDS, HistoryCursor, parse_time

NOON = "2025-06-01T12:00:00.123456789Z"
EARLIER = "2025-06-01T11:49:59.99999Z"
LATER = "2025-06-01T12:30:00.00000Z"
BEGUN = HistoryCursor(watermark=5_000, watermark_at=NOON, seen=5_000, seen_at=NOON, rows=5_000, last=5_000, begun=True)


def test_a_cursor_is_kept_and_loaded_as_it_is():
    assert HistoryCursor.load(BEGUN.dump()) == BEGUN
    assert HistoryCursor.load(None) == HistoryCursor()


def test_one_more_page_moves_the_place_and_never_the_highest_id_back():
    assert BEGUN.advanced(6_000, LATER, rows=6_000, last=6_000).seen_at == LATER
    down = BEGUN.advanced(4_000, EARLIER, rows=5_050, last=3_950)
    assert (down.seen, down.seen_at, down.rows, down.last) == (5_000, NOON, 5_050, 3_950)


def test_the_end_of_a_reading_from_the_beginning_is_the_watermark():
    arrived = replace(BEGUN, begun=False, watermark=0, watermark_at=None).arrived()
    assert arrived == BEGUN


def test_a_cursor_that_is_sent_back_begins_below_the_overlap_and_forgets_nothing():
    back = BEGUN.sent_back(4_400)
    assert (back.begun, back.rows, back.last) == (False, 4_400, 5_000 - OVERLAP_IDS + 1)
    assert (back.watermark, back.seen) == (5_000, 5_000)


def test_without_a_live_list_everything_read_is_settled():
    settled = BEGUN.settled(BEGUN, 5_100, LATER, None)
    assert (settled.watermark, settled.watermark_at, settled.seen, settled.begun) == (5_100, LATER, 5_100, True)


@pytest.mark.parametrize(
    ("live", "newest", "watermark"),
    [
        (5_050, 5_100, 5_050),
        (5_300, 5_100, 5_100),
        (0, 5_100, 5_000),
        (4_000, 5_100, 5_000),
        (0, 5_000, 5_000),
    ],
)
def test_with_a_live_list_only_ids_that_existed_before_the_history_was_read_are_settled(live, newest, watermark):
    assert BEGUN.settled(BEGUN, newest, LATER, live).watermark == watermark


def test_the_time_of_a_watermark_goes_on_with_it_however_busy_the_platform_is():
    """Each run sees a new highest closed id and a live one above it; the overlap in time must not grow with every run."""
    cursor = BEGUN
    for hour in range(13, 23):
        at = f"2025-06-01T{hour}:00:00.00000Z"
        cursor = cursor.settled(cursor, cursor.seen + 100, at, cursor.seen + 150)
    assert cursor.watermark_at == "2025-06-01T21:00:00.00000Z"


@given(st.lists(st.tuples(st.integers(0, 50), st.one_of(st.none(), st.integers(0, 2_000))), min_size=1, max_size=20))
def test_the_watermark_never_falls_and_never_passes_what_was_seen(runs):
    cursor = HistoryCursor()
    for more, live in runs:
        settled = cursor.settled(cursor, cursor.seen + more, NOON, live)
        assert cursor.watermark <= settled.watermark <= settled.seen
        cursor = settled


def test_rows_deleted_at_the_top_do_not_bring_the_highest_id_back():
    settled = BEGUN.settled(BEGUN, 4_990, EARLIER, None)
    assert (settled.seen, settled.watermark) == (5_000, 5_000)


@pytest.mark.parametrize(
    ("record_id", "created_at", "enough"),
    [
        (5_000 - OVERLAP_IDS + 1, EARLIER, True),
        (5_000 - OVERLAP_IDS + 2, EARLIER, False),
        (1, "2025-06-01T11:50:00.12346Z", False),
        (1, "2025-06-01T11:50:00.12345Z", True),
        (1, None, True),
        (1, "no time", True),
        (5_000, None, False),
    ],
)
def test_the_overlap_is_500_ids_and_10_minutes(record_id, created_at, enough):
    assert BEGUN.far_enough(record_id, created_at) is enough


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        (NOON, datetime(2025, 6, 1, 12, 0, 0, 123456, UTC)),
        ("2025-06-01T12:00:00.54515Z", datetime(2025, 6, 1, 12, 0, 0, 545150, UTC)),
        ("2025-06-01T12:00:00Z", datetime(2025, 6, 1, 12, tzinfo=UTC)),
        ("2025-06-01T12:00:00", None),
        ("soon", None),
        ("", None),
        (None, None),
    ],
)
def test_a_time_is_cut_to_microseconds_and_what_is_none_is_none(text, moment):
    assert parse_time(text) == moment


def test_a_page_whose_highest_id_was_seen_before_changes_neither_id_nor_time():
    again = BEGUN.advanced(5_000, LATER, rows=5_000, last=5_000)
    assert (again.seen, again.seen_at) == (5_000, NOON)
    assert BEGUN.advanced(5_001, LATER, rows=5_001, last=5_001).seen == 5_001


def test_a_run_that_saw_nothing_newer_keeps_the_time_that_was_known_unless_it_read_that_row_again():
    assert BEGUN.settled(BEGUN, 4_900, EARLIER, None).seen_at == NOON
    assert BEGUN.settled(BEGUN, 5_000, LATER, None).seen_at == LATER


def test_a_settled_history_is_begun_and_its_watermark_is_the_highest_that_is_proven():
    young = HistoryCursor(watermark=100, seen=100)
    assert young.settled(young, 90, None, 95).begun is True
    ahead = HistoryCursor(watermark=300, seen=400)
    assert ahead.settled(HistoryCursor(seen=200), 500, None, 250).watermark == 300
    assert ahead.settled(HistoryCursor(seen=350), 500, None, 250).watermark == 350
    assert ahead.settled(HistoryCursor(seen=200), 500, None, 450).watermark == 450


def test_exactly_ten_minutes_are_enough():
    cursor = replace(BEGUN, watermark_at="2025-06-01T12:00:00Z")
    assert cursor.far_enough(1, "2025-06-01T11:50:00Z")
    assert not cursor.far_enough(1, "2025-06-01T11:50:00.000001Z")


def test_of_a_fraction_six_digits_count_and_fewer_are_filled_up():
    assert parse_time("2025-06-01T12:00:00.1234567Z") == datetime(2025, 6, 1, 12, 0, 0, 123_456, UTC)
    assert parse_time("2025-06-01T12:00:00.5Z") == datetime(2025, 6, 1, 12, 0, 0, 500_000, UTC)
