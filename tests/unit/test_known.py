"""Of a page that changed only the rows that did are written."""

import pytest

from counterfoil.domain.page import Page, Rejected
from counterfoil.pull.known import Known


def page(*rows: tuple[int, bytes], rejected: int = 0) -> Page:
    ids = [row for row, _ in rows]
    return Page(
        ("id", "text"),
        rows=len(rows) + rejected,
        ids=[*ids],
        lines=[text for _, text in rows],
        line_ids=ids,
        times=[text.decode() for _, text in rows],
        symbol_ids=[row * 10 for row in ids],
        rejected=[Rejected(None, "wrong", "{}")] * rejected,
    )


def known(*pages: Page) -> Known:
    return Known([one.remembered() for one in pages])


def test_rows_that_were_listed_just_so_are_left_out():
    left = known(page((1, b"a"), (2, b"b"), (3, b"c"))).less(page((1, b"a"), (2, b"B"), (3, b"c"), (4, b"d")))
    assert (left.line_ids, left.lines, left.times, left.symbol_ids) == ([2, 4], [b"B", b"d"], ["B", "d"], [20, 40])
    assert (left.rows, left.ids) == (4, [1, 2, 3, 4])


def test_rows_are_known_again_on_whichever_page_they_stand():
    left = known(page((1, b"a"), (2, b"b")), page((3, b"c"), (4, b"d"))).less(page((2, b"b"), (3, b"c"), (4, b"x")))
    assert left.line_ids == [4]


def test_descending_pages_are_known_as_well():
    assert known(page((9, b"i"), (8, b"h")), page((7, b"g"), (6, b"f"))).less(page((7, b"g"), (6, b"F"))).line_ids == [
        6
    ]


@pytest.mark.parametrize("way", [b"b", b"c"])
def test_a_row_that_was_listed_in_two_ways_is_not_left_out(way):
    before = known(page((1, b"a"), (2, b"b")), page((2, b"c"), (3, b"d")))
    assert before.less(page((1, b"a"), (2, way), (3, b"d"))).line_ids == [2]


def test_a_row_that_the_page_before_showed_otherwise_is_not_left_out():
    before = known(page((1, b"a"), (2, b"b"), (3, b"c")))
    assert before.less(page((1, b"a"), (2, b"B"))).line_ids == [2]
    assert before.less(page((2, b"b"), (3, b"c"))).line_ids == [2]
    assert before.less(page((2, b"b"), (3, b"c"))).line_ids == [2]
    assert before.less(page((3, b"c"), (4, b"d"))).line_ids == [4]


def test_a_row_that_an_unchanged_page_before_showed_is_left_out():
    first = page((1, b"a"), (2, b"b")).remembered()
    before = Known([first])
    assert before.less(page((1, b"a"), (2, b"B"))).line_ids == [2]
    assert before.less(first) is first
    assert before.less(page((2, b"b"), (3, b"c"))).line_ids == [3]


def test_of_a_page_that_shows_a_row_twice_nothing_is_left_out():
    twice = page((1, b"A"), (2, b"b"), (1, b"a"))
    assert known(page((1, b"a"), (2, b"b"))).less(twice) is twice


def test_nothing_is_known_of_a_page_some_of_whose_records_were_rejected():
    again = page((1, b"a"), (2, b"b"))
    assert known(page((1, b"a"), (2, b"b"), rejected=1)).less(again) is again


def test_records_that_are_rejected_now_stay_with_the_page():
    left = known(page((1, b"a"))).less(page((1, b"a"), rejected=1))
    assert (left.line_ids, len(left.rejected), left.rows) == ([], 1, 2)


def test_an_empty_page_is_left_as_it_is():
    assert known(page((1, b"a"))).less(page()).lines == []
