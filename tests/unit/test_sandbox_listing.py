import json

import pytest

from counterfoil.sandbox import faults as f
from counterfoil.sandbox import listing
from counterfoil.sandbox.books import Books
from counterfoil.sandbox.listing import BadQueryError, Query, View

NOBODY = f.Struck()


@pytest.fixture(scope="module")
def deals():
    books = Books(clients=3, accounts=10, deals=250, seed=3)
    return View("deals", books.deals)


def ids(view, query, struck=NOBODY):
    data = json.loads(listing.page(view, query, struck))
    return [] if data == "success" else [row["id"] for row in data["records"]]


@pytest.mark.parametrize(
    ("parameters", "query"),
    [
        ({}, Query(1, 100, "id", descending=False)),
        (
            {"page": "3", "limit": "7", "sort_by": "created_at", "dir": "DESC"},
            Query(3, 7, "created_at", descending=True),
        ),
        ({"limit": "99999", "dir": "desc"}, Query(1, 1_000, "id", descending=True)),
        ({"page": "-1", "dir": "sideways"}, Query(-1, 100, "id", descending=False)),
    ],
)
def test_a_query_is_read(parameters, query):
    assert listing.parse(parameters, 1_000) == query


@pytest.mark.parametrize(
    "parameters", [{"page": "0"}, {"page": "x"}, {"limit": "0"}, {"limit": "-5"}, {"limit": ""}, {"sort_by": "profit"}]
)
def test_a_query_that_makes_no_sense_is_refused(parameters):
    with pytest.raises(BadQueryError):
        listing.parse(parameters, 1_000)


@pytest.mark.parametrize("limit", [1, 7, 100, 249, 250, 251])
@pytest.mark.parametrize("descending", [False, True])
def test_pages_together_are_the_whole_listing(deals, limit, descending):
    seen, page = [], 1
    while rows := ids(deals, Query(page, limit, "id", descending=descending)):
        assert len(rows) <= limit
        seen += rows
        page += 1
    assert seen == sorted(deals.table.ids, reverse=descending)


def test_minus_one_is_everything(deals):
    assert ids(deals, Query(-1, 1)) == deals.table.ids


@pytest.mark.parametrize("by", ["created_at", "updated_at"])
def test_sorting_by_time_breaks_ties_by_id(deals, by):
    rows = deals.table.rows
    assert ids(deals, Query(-1, 1, by)) == sorted(rows, key=lambda key: (getattr(rows[key], by), key))


def test_a_sorted_listing_notices_a_change():
    books = Books(clients=1, accounts=2, deals=20, seed=3)
    view = View("deals", books.deals)
    first = ids(view, Query(-1, 1, "updated_at"))[0]
    books.touch("deals", first)
    assert ids(view, Query(-1, 1, "updated_at"))[-1] == first


def test_only_some_ids_can_be_listed(deals):
    some = deals.table.ids[5:50:5]
    assert ids(View("deals", deals.table, some), Query(2, 4)) == some[4:8]
    assert ids(View("deals", deals.table, some), Query(1, 3, "created_at", descending=True)) == some[:-4:-1]


def test_the_page_tells_total_page_and_limit(deals):
    data = json.loads(listing.page(deals, Query(2, 30), NOBODY))
    assert {name: data[name] for name in ("total", "page", "limit")} == {"total": 250, "page": 2, "limit": 30}


def test_beyond_the_end_is_the_text_success(deals):
    assert listing.page(deals, Query(9, 100), NOBODY) == b'"success"'
