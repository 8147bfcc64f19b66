from array import array

from counterfoil.domain.page import Page, Rejected

GOOD = Page(
    ("id", "comment"),
    rows=4,
    ids=[1, 2, 2, 9],
    lines=[b"1,a", b"2,b", b"2,c"],
    line_ids=[1, 2, 2],
    times=["t1", "t2", None],
    rejected=[Rejected("9", "wrong type", "{}")],
    digest=b"d",
)


def test_of_a_record_that_came_twice_the_last_counts():
    assert GOOD.distinct() == ([1, 2], [b"1,a", b"2,c"])


def test_records_that_came_once_are_taken_as_they_are():
    page = Page(("id",), ids=[3, 1], lines=[b"3", b"1"], line_ids=[3, 1])
    ids, lines = page.distinct()
    assert ids is page.line_ids
    assert lines is page.lines


def test_what_is_remembered_of_a_page_holds_no_rows_and_no_text():
    kept = GOOD.remembered()
    assert kept == Page(
        ("id", "comment"), 4, array("q", [1, 2, 2, 9]), rejected=[Rejected("9", "", "")], digest=b"d", unchanged=True
    )
    assert kept.distinct() == ([], [])
    assert kept.remembered() is kept


def test_the_lines_of_a_page_without_bad_records_are_known_again_by_their_hashes():
    kept = Page(("id",), ids=[3, 1], lines=[b"3", b"1"], line_ids=[3, 1]).remembered()
    assert (kept.ids, kept.marks) == (array("q", [3, 1]), array("q", [hash(b"3"), hash(b"1")]))


def test_times_are_remembered_where_they_are_asked_for_again():
    kept = GOOD.remembered(times=True)
    assert (kept.times, kept.line_ids, kept.lines) == (["t1", "t2", None], [1, 2, 2], [])
    assert (kept.time_of(2), kept.unchanged, kept.rows) == ("t2", True, 4)


def test_the_time_of_a_record_that_was_not_sent_or_has_none_is_not_known():
    assert GOOD.time_of(1) == "t1"
    assert GOOD.time_of(7) is None
    assert Page(("id",), line_ids=[1]).time_of(1) is None


def test_a_record_is_nameless_when_its_id_is_no_number():
    refused = [Rejected(name, "", "") for name in ("9", "-4", "x", "1.5", "", None)]
    assert Page(("id",), rejected=refused).nameless == 4
