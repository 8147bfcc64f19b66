"""Windows that overlap, in an API of page numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterfoil.domain.paging import Order, Window, connects, goes_beyond, order_of, window


@given(st.integers(0, 10**8), st.integers(2, 2_000))
def test_a_window_holds_the_row_and_at_least_one_behind_it(row, size):
    found = window(row, size)
    assert found.start <= row < found.end - 1


@given(st.integers(0, 10**8), st.integers(23, 2_000))
def test_a_window_is_never_larger_than_wanted(row, size):
    assert window(row, size).limit <= size


@given(st.integers(0, 10**6), st.integers(2, 22))
def test_a_window_of_a_tiny_size_is_larger_only_where_no_smaller_one_reaches_beyond_the_row(row, size):
    found = window(row, size)
    if found.limit > size:
        assert all((row + 1) % limit == 0 for limit in range(max(2, size // 2 + 1), size + 1))
        assert found.limit < 23


@pytest.mark.parametrize(("size", "rows", "most"), [(500, 1_000_000, 1.1), (100, 300_000, 1.2), (7, 5_000, 2)])
def test_windows_one_after_the_other_walk_through_a_long_list_with_little_to_spare(size, rows, most):
    end = requests = 0
    while end < rows:
        end = window(end - 1, size).end
        requests += 1
    assert requests < rows / size * most + 1


def test_the_first_window_is_the_first_page():
    assert window(-1, 50) == window(0, 50) == Window(1, 50)


@pytest.mark.parametrize(
    ("ids", "order"),
    [
        ([1, 2, 5], Order.ASCENDING),
        ([5, 2, 1], Order.DESCENDING),
        ([1, 3, 2], Order.OTHER),
        ([1, 2, 1, 2, 3], Order.ASCENDING),
        ([4, 4], None),
        ([4], None),
        ([], None),
    ],
)
def test_the_order_of_a_page_is_what_its_distinct_ids_show(ids, order):
    assert order_of(ids) is order


@pytest.mark.parametrize(
    ("ids", "order", "meets", "beyond"),
    [
        ([5, 6], Order.ASCENDING, True, True),
        ([4, 6], Order.ASCENDING, True, True),
        ([6, 7], Order.ASCENDING, False, True),
        ([3, 5], Order.ASCENDING, True, False),
        ([5, 4], Order.DESCENDING, True, True),
        ([6, 4], Order.DESCENDING, True, True),
        ([4, 3], Order.DESCENDING, False, True),
        ([7, 5], Order.DESCENDING, True, False),
        ([9, 5, 1], Order.OTHER, True, True),
        ([9, 1, 5], Order.OTHER, True, False),
        ([4, 9, 6], Order.OTHER, False, True),
    ],
)
def test_a_page_connects_to_the_row_5_when_nothing_can_lie_between(ids, order, meets, beyond):
    assert (connects(ids, 5, order), goes_beyond(ids, 5, order)) == (meets, beyond)


def test_the_second_row_is_in_a_window_that_goes_beyond_it():
    assert window(1, 10) == Window(1, 10)
    assert window(0, 10) == Window(1, 10)


def test_two_ids_are_enough_to_tell_the_order():
    assert order_of([1, 2]) is Order.ASCENDING
    assert order_of([2, 1]) is Order.DESCENDING
    assert order_of([1, 1]) is None


def test_what_lies_beyond_the_seam_is_at_the_end_of_the_page():
    assert goes_beyond([3, 4, 5, 9], 5, Order.ASCENDING)
    assert not goes_beyond([3, 9, 5], 5, Order.ASCENDING)
    assert goes_beyond([9, 8, 7, 1], 5, Order.DESCENDING)
    assert not goes_beyond([9, 1, 7], 5, Order.DESCENDING)
