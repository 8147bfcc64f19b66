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
