"""Of a page that changed only the rows that did are written."""

import pytest

from counterfoil.domain.page import Page, Rejected
from counterfoil.pull.known import Known
from counterfoil.pull.run import Listed, Memory, Pace, Run


def page(*rows: tuple[int, bytes], rejected: int = 0) -> Page:
    """Its digest tells what it shows."""
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
        digest=repr(rows).encode(),
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


# A row that is shown more than once


A, B, C = page((1, b"a"), (2, b"a")), page((3, b"a"), (4, b"a")), page((5, b"a"), (6, b"a"))


def test_a_row_that_changes_back_while_the_list_is_read_again_is_not_left_out():
    before = known(A, B, C)
    assert before.less(page((1, b"b"), (2, b"a"))).line_ids == [1]
    assert before.less(page((3, b"b"), (4, b"a"))).line_ids == [3]
    assert before.less(page((1, b"a"), (2, b"a"), (3, b"a"))).line_ids == [1, 3]


@pytest.mark.parametrize("last", [A, A.remembered()])
def test_a_page_that_shows_a_row_otherwise_than_it_was_written_last_is_not_remembered(last):
    before, first, second = known(A, B), page((1, b"b"), (2, b"a")), page((3, b"b"), (4, b"a"))
    for one in (first, second, last):
        before.less(one)
    stands = first if last.unchanged else last
    assert before.remembered().keys() == {stands.digest, second.digest}


def test_an_unchanged_page_one_of_whose_rows_is_written_after_it_is_not_remembered():
    before, after = known(A, B), page((2, b"b"), (3, b"a"))
    before.less(A.remembered())
    before.less(after)
    assert before.remembered() == {after.digest: after.remembered()}


def test_pages_that_show_a_row_alike_are_remembered():
    before, pages = known(A, B), [page((1, b"a"), (2, b"b")), page((2, b"b"), (3, b"a"))]
    assert [before.less(one).line_ids for one in pages] == [[2], [2]]
    assert before.remembered() == {one.digest: one.remembered() for one in pages}


def test_a_row_that_a_page_with_rejected_records_showed_is_not_left_out_by_what_another_shows():
    before = known(page((1, b"a"), (2, b"a")), page((2, b"b"), (3, b"a"), rejected=1))
    assert before.less(page((2, b"a"), (4, b"a"))).line_ids == [2, 4]


def test_a_page_is_not_remembered_when_one_with_rejected_records_showed_a_row_of_it_later():
    before, first, second = known(A), page((1, b"b"), (2, b"a")), page((2, b"b"), (3, b"a"), rejected=1)
    before.less(first)
    before.less(second)
    assert before.remembered().keys() == {second.digest}


def test_a_row_is_known_by_all_pages_that_show_it_however_their_ids_run():
    before = known(page((10, b"a"), (50, b"b"), (20, b"c")), page((70, b"d"), (50, b"e"), (71, b"f")))
    assert before.less(page((10, b"a"), (50, b"b"), (20, b"x"))).line_ids == [50, 20]
    assert set(before.between(10, 20).values()) == {10, 20}


def test_nothing_is_left_out_of_a_list_of_which_nothing_is_known():
    before = known()
    assert [before.less(one).line_ids for one in (A, A)] == [[1, 2], [1, 2]]


@pytest.mark.parametrize(
    ("table", "streamed", "known_again"),
    [("deals", False, {1, 2}), ("deals", True, {1}), ("orders", False, set()), ("positions", True, set())],
)
def test_a_run_knows_again_only_what_nobody_else_can_have_written_since(table, streamed, known_again):
    pace, listed = Pace(page_size=2, ahead=1), {"end": Listed({b"1": page((1, b"a")).remembered()})}
    memory = Memory(since=0.0, lists=listed)
    run = Run(mirror=None, reader=None, resource=table, memory=memory, pace=pace, streamed=streamed)
    left = run.known(table, "end", written=[page((2, b"b")).remembered()]).less(page((1, b"a"), (2, b"b")))
    assert {1, 2}.difference(left.line_ids) == known_again
