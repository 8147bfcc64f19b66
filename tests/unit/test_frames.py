"""Frames of OMTrader's WebSocket: what each says, and that nothing a server can send breaks the reader."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterfoil.platforms.omtrader import frames
from counterfoil.platforms.omtrader.frames import ASIDE, Aside, Garbled, LoggedOut, Refusal
from counterfoil.platforms.streaming import RowEvent
from counterfoil.pull.streamed import Inbox

ORDER = '"account_id":7,"symbol_id":3,"type":0,"volume_current":0.1'
POSITION = '"account_id":7,"symbol_id":3,"side":0,"volume_current":0.1,"price_open":1.2'
DEAL = '"account_id":7,"side":2,"profit":10.50,"created_at":"2026-03-01T10:00:00.54515Z"'


def message(name: str, data: str) -> str:
    return f'{{"type":"{name}","data":{data}}}'


@pytest.mark.parametrize(
    ("name", "data", "table", "over"),
    [
        ("orders_place", f'{{"id":1,"status":0,{ORDER}}}', "orders", False),
        ("orders_update", f'{{"id":1,"status":3,{ORDER}}}', "orders", True),
        ("orders_cancel", f'{{"id":1,"status":4,{ORDER}}}', "orders", True),
        ("orders_expired", f'{{"id":1,"status":6,{ORDER}}}', "orders", True),
        ("orders_rejected", f'{{"id":1,"status":5,{ORDER}}}', "orders", True),
        ("dealing_order_requote", f'{{"id":1,"status":7,{ORDER}}}', "orders", False),
        ("positions_open", f'{{"id":1,"status":0,{POSITION}}}', "positions", False),
        ("positions_update", f'{{"id":1,"status":1,{POSITION}}}', "positions", False),
        ("positions_close", f'{{"id":1,"status":2,{POSITION}}}', "positions", True),
        ("deals_create", f'{{"id":1,{DEAL}}}', "deals", False),
        ("deals_update", f'{{"id":1,{DEAL}}}', "deals", False),
    ],
)
def test_events_are_rows_with_the_record_as_it_was_sent(name, data, table, over):
    event = frames.read(message(name, data), 5.0)
    assert event == RowEvent(table, 1, None, over, data.encode(), 5.0)
    assert frames.read(message(name, data).encode(), 5.0) == event


def test_the_time_of_the_last_change_is_known_where_it_can_be_read():
    data = f'{{"id":1,"updated_at":"2026-03-01T10:00:00.113509Z",{DEAL}}}'
    event = frames.read(message("deals_create", data), 0.0)
    assert isinstance(event, RowEvent)
    assert event.updated_at == datetime(2026, 3, 1, 10, 0, 0, 113509, tzinfo=UTC)


@pytest.mark.parametrize("updated_at", ["null", '"yesterday"', "5", '"2026-03-01T10:00:00"', "{}"])
def test_a_time_that_cannot_be_read_is_none(updated_at):
    event = frames.read(message("deals_create", f'{{"id":1,"updated_at":{updated_at},{DEAL}}}'), 0.0)
    assert isinstance(event, RowEvent)
    assert event.updated_at is None


@pytest.mark.parametrize("written", ['"x"', "null", "1.5", "[]"])
def test_an_id_that_cannot_be_read_is_none_and_tells_its_record_from_others(written):
    event = frames.read(message("deals_create", f'{{"id":{written},{DEAL}}}'), 0.0)
    assert isinstance(event, RowEvent)
    assert (event.id, event.key) == (None, ("deals", event.record))


@pytest.mark.parametrize(
    ("name", "lacking", "data"),
    [
        ("deals_create", "id", f"{{{DEAL}}}"),
        ("orders_update", "status", f'{{"id":1,{ORDER}}}'),
        (
            "positions_close",
            "price_open",
            '{"id":1,"account_id":7,"symbol_id":3,"side":0,"status":2,"volume_current":0}',
        ),
    ],
)
def test_what_is_not_the_whole_record_is_no_event(name, lacking, data):
    assert frames.read(message(name, data), 0.0) == Garbled(f"{name} without {lacking}: not the whole record")


@pytest.mark.parametrize("data", ["null", "[]", "5", '"success"'])
def test_an_event_without_a_record_is_none(data):
    assert frames.read(message("deals_create", data), 0.0) == Garbled("deals_create without a record")


def test_the_answer_to_a_heartbeat_is_told_from_greetings():
    assert frames.read("10", 0.0) == Aside(answers=True)
    assert frames.read("Connected to api.example/ws/v1", 0.0) == ASIDE


@pytest.mark.parametrize(
    "frame",
    [
        b"5,1.1,1.2,1.15,0,1.3,1.0",
        b"s,12,3.5,3.1",
        b"s12,3.5,3.1",
        message("journal_create", '{"id":1}'),
        message("info", '{"message":"hello"}'),
        '{"type":"pong"}',
        message("account_summary", '{"id":1}'),
    ],
)
def test_prices_profits_and_events_of_other_things_are_left_aside(frame):
    assert frames.read(frame, 0.0) == ASIDE


def test_the_end_of_a_session_names_it():
    assert frames.read(message("session_logout", '{"session_id":"abc"}'), 0.0) == LoggedOut("abc")
    assert frames.read('{"type":"session_logout"}', 0.0) == LoggedOut("")


def test_a_complaint_is_one_line_of_bounded_length():
    told = frames.read(message("error", f'{{"message":"no\\n such{"x" * 900}"}}'), 0.0)
    assert isinstance(told, Refusal)
    assert told.message.startswith("no suchx")
    assert len(told.message) == 200
    assert frames.read('{"type":"error","data":7}', 0.0) == Refusal("no reason given")


@pytest.mark.parametrize("frame", ['{"type":7}', '{"data":{}}', '{"type":"deals_create","data":{"id"', "{" * 5000])
def test_what_is_no_event_is_garbled(frame):
    assert isinstance(frames.read(frame, 0.0), Garbled)


def test_a_binary_frame_that_is_no_figure_is_garbled():
    assert isinstance(frames.read(b"\xff\xfe\x00", 0.0), Garbled)


@given(
    st.one_of(
        st.text(),
        st.binary(),
        st.text().map(lambda text: "{" + text),
        st.text().map(lambda t: f'{{"type":"orders_update","data":{t}}}'),
    )
)
def test_no_frame_breaks_the_reader(frame):
    assert frames.read(frame, 0.0) is not None


def test_a_subscription_names_the_group_by_its_bare_number():
    assert frames.command("subscribe_group", 79) == '{"type":"subscribe_group","data":79}'


# --- the inbox ----------------------------------------------------------------------------------------------------------


def event(record: bytes, *, id: int | None = 1, second: int | None = None, over: bool = False) -> RowEvent:  # noqa: A002 - a row's word
    at = None if second is None else datetime(2026, 3, 1, 10, 0, second, tzinfo=UTC)
    return RowEvent("orders", id, at, over, record, 1.0)


async def left(*events: RowEvent) -> list[bytes]:
    """The records that would be written of these."""
    inbox = Inbox(100)
    for one in events:
        await inbox.put(one)
    records, since, heard = inbox.take()
    assert (since, heard) == (1.0, len(events))
    return records.get("orders", [])


async def test_of_several_events_of_a_row_the_newest_is_written():
    assert await left(event(b"a", second=1), event(b"b", second=2)) == [b"b"]
    assert await left(event(b"b", second=2), event(b"a", second=1)) == [b"b"]
    assert await left(event(b"a"), event(b"b")) == [b"b"]
    assert await left(event(b"a", second=1), event(b"b")) == [b"b"]


async def test_what_is_over_is_not_brought_back_by_something_of_the_same_moment():
    assert await left(event(b"over", second=1, over=True), event(b"live", second=1)) == [b"over"]
    assert await left(event(b"over", over=True), event(b"live")) == [b"over"]
    assert await left(event(b"over", second=1, over=True), event(b"live", second=2)) == [b"live"]


async def test_a_record_that_was_heard_before_tells_nothing_new_unless_no_time_is_in_it():
    assert await left(event(b"a", second=1), event(b"b", second=1), event(b"a", second=1)) == [b"b"]
    assert await left(event(b"a"), event(b"b"), event(b"a")) == [b"a"]


async def test_rows_without_an_id_are_told_apart_by_their_text():
    assert await left(event(b"a", id=None), event(b"b", id=None), event(b"a", id=None)) == [b"a", b"b"]
