from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterfoil.sandbox import ctrader_faults, faults
from counterfoil.sandbox import ctrader_wire as wire
from counterfoil.sandbox.calls import Route
from counterfoil.sandbox.ctrader import CtraderPlatform, Terms, resolve
from counterfoil.sandbox.ctrader_books import CtraderBooks
from counterfoil.sandbox.desk import FaultDesk
from counterfoil.sandbox.faults import LIST, LOGIN, MISS, SINGLE, WRITE

BASE = "/v2/webserv"


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (7_617, 2, "76.17"),
        (-5, 2, "-0.05"),
        (700, 2, "7.00"),
        (0, 8, "0.00000000"),
        (1, 8, "0.00000001"),
        (42, 0, "42"),
    ],
)
def test_a_decimal_has_all_its_digits(value, digits, text):
    assert wire.fixed(value, digits) == text


@given(st.integers(0, 4_000_000_000_000))
def test_a_stamp_is_read_back_to_the_millisecond(at):
    text = wire.stamp(at)
    assert text == datetime.fromtimestamp(at // 1_000, UTC).strftime(f"%Y-%m-%dT%H:%M:%S.{at % 1_000:03}")
    assert wire.moment(text) == at


@pytest.mark.parametrize(
    "text",
    [
        *("", "now", "2026-11-21", "2026-11-21T10:00:00", "2026-11-21T10:00:00.000Z", "2026-13-21T10:00:00.000"),
        *("2026-11-21 10:00:00.000", "2026-11-21T10:00:00.0000", "٢026-11-21T10:00:00.000", "2026-02-30T10:00:00.000"),
    ],
)
def test_another_form_is_no_timestamp(text):
    assert wire.moment(text) is None


def test_both_orders_have_the_same_columns():
    assert sorted(wire.SECOND_ORDER) == sorted(wire.CLOSED_COLUMNS)
    assert wire.SECOND_ORDER != wire.CLOSED_COLUMNS
    assert set(wire.OPEN_COLUMNS) - set(wire.CLOSED_COLUMNS) == {"usedMargin"}


@pytest.mark.parametrize(
    ("method", "path", "route"),
    [
        ("POST", "/managers/token", Route(LOGIN)),
        ("GET", "/managers/token", Route(MISS)),
        ("GET", "/traders/", Route(LIST, "traders")),
        ("GET", "/traders", Route(LIST, "traders")),
        ("POST", "/traders", Route(WRITE, "create")),
        ("GET", "/traders/7", Route(SINGLE, "trader", 7)),
        ("GET", "/traders/7/subaccounts", Route(SINGLE, "subaccounts", 7)),
        ("PUT", "/traders/7", Route(WRITE, "put", 7)),
        ("PATCH", "/traders/7/", Route(WRITE, "patch", 7)),
        ("DELETE", "/traders/7", Route(WRITE, "delete", 7)),
        ("POST", "/traders/7/changebalance", Route(WRITE, "changebalance", 7)),
        ("POST", "/traders/7/changebonus", Route(WRITE, "changebonus", 7)),
        ("POST", "/traders/7/changepassword", Route(WRITE, "changepassword", 7)),
        ("POST", "/traders/7/checkpassword", Route(WRITE, "checkpassword", 7)),
        ("GET", "/traders/7/changebalance", Route(MISS)),
        ("POST", "/traders/7", Route(MISS)),
        ("GET", "/traders/seven", Route(MISS)),
        ("GET", f"/traders/{'7' * 19}", Route(MISS)),
        ("GET", "/tradergroups", Route(LIST, "tradergroups")),
        ("GET", "/openPositions", Route(LIST, "openPositions")),
        ("GET", "/closedPositions", Route(LIST, "closedPositions")),
        ("GET", "/closedpositions", Route(MISS)),
        ("GET", "/symbols", Route(LIST, "symbols")),
        ("GET", "/depositAssets", Route(LIST, "depositAssets")),
    ],
)
def test_a_path_means_what_the_reference_says(method, path, route):
    assert resolve(method, BASE + path) == route


@pytest.mark.parametrize("name", ["create", "link", "changeCtidTraderAccount"])
def test_users_live_beside_the_version(name):
    assert resolve("POST", f"/cid/ctid/{name}") == Route(WRITE, f"ctid {name}")
    assert resolve("POST", f"/v2/cid/ctid/{name}") == resolve("GET", f"/cid/ctid/{name}") == Route(MISS)


def test_the_window_means_closing_or_opening_and_nothing_else():
    books = CtraderBooks(accounts=0, deals=0)
    with pytest.raises(ValueError, match="filter_on"):
        CtraderPlatform(books, Terms(filter_on="settle"))


@pytest.mark.parametrize("kind", ["nested_groups", "success_false", "put_replaces", "answer_amount", "hide_closed"])
def test_a_fault_that_would_do_nothing_here_is_refused(kind):
    desk = FaultDesk(ctrader_faults.KINDS)
    with pytest.raises(faults.FaultError, match="column_order"):
        desk.set({"kind": kind})


@pytest.mark.parametrize(
    "spec",
    [
        {"kind": "chunk", "size": 0},
        {"kind": "late_deals", "rows": 0},
        {"kind": "close_meanwhile", "pnl": 0.5},
        {"kind": "close_meanwhile", "count": 0},
        {"kind": "description_cut", "length": -1},
        {"kind": "business_error", "status": 99},
        {"kind": "column_order", "colour": "red"},
    ],
)
def test_a_fault_that_nobody_can_obey_is_refused(spec):
    with pytest.raises(faults.FaultError, match="faults\\[0\\]"):
        FaultDesk(ctrader_faults.KINDS).set(spec)


def test_every_fault_says_what_it_does_and_the_desk_counts_it():
    desk = FaultDesk(ctrader_faults.KINDS)
    assert all(kind.__doc__ for kind in ctrader_faults.KINDS.values())
    desk.set([{"kind": "column_order"}, {"kind": "without_history_id"}, {"kind": "plain_error"}])
    desk.pick("GET", f"{BASE}/closedPositions", LIST)
    assert [desk.fired(kind) for kind in ("column_order", "without_history_id", "plain_error")] == [1, 0, 1]
