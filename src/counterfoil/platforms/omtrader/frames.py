"""What comes through OMTrader's WebSocket, frame by frame (reference, section 8).

Assumptions about what is not documented stand here:

- the events of a group's stream have the names that the vendor's client knows for a trader's;
- `data` of such an event is the whole record, as the lists show it; one that lacks what every record has is not written;
- a binary frame is a price or a profit: figures that change without a row being changed, and that polls bring.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

import msgspec
from msgspec import Raw

from counterfoil.platforms.rows import opening
from counterfoil.platforms.shapes import NULL, UNREADABLE
from counterfoil.platforms.streaming import RowEvent

HEARTBEAT, ANSWER = "9", "10"

TABLES = MappingProxyType({
    **dict.fromkeys(("orders_place", "orders_update", "orders_cancel", "orders_expired", "orders_rejected"), "orders"),
    "dealing_order_requote": "orders",
    **dict.fromkeys(("positions_open", "positions_update", "positions_close"), "positions"),
    **dict.fromkeys(("deals_create", "deals_update"), "deals"),
})  # fmt: skip
"""The events that are rows, and the mirror's table of each."""

# What every record of a list has. An event without it is no whole record, and would blank what the mirror knows.
_EXPECTED = MappingProxyType({
    "orders": ("id", "account_id", "symbol_id", "type", "status", "volume_current"),
    "positions": ("id", "account_id", "symbol_id", "side", "status", "volume_current", "price_open"),
    "deals": ("id", "account_id", "side", "profit", "created_at"),
})  # fmt: skip
_OVER = MappingProxyType({"orders": (b"3", b"4", b"5", b"6"), "positions": (b"2",), "deals": ()})
_ID = re.compile(rb"-?[0-9]{1,19}")
_PRICE_VALUES = 7
_MESSAGE_LIMIT = 200


@dataclass(frozen=True, slots=True)
class LoggedOut:
    """The platform ended a session: ours, or another of the same login."""

    session_id: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """The platform says that something is wrong, in its own words, on one line."""

    message: str


@dataclass(frozen=True, slots=True)
class Garbled:
    """A frame that cannot be understood; `reason` without any of its content."""

    reason: str


@dataclass(frozen=True, slots=True)
class Aside:
    """A frame that concerns no row: a greeting, a price, an event that is not mirrored.

    `answers`: it is the answer to a heartbeat, so everything sent before that heartbeat was read.
    """

    answers: bool = False


ASIDE = Aside()
Frame = RowEvent | LoggedOut | Refusal | Garbled | Aside


class _Message(msgspec.Struct):
    type: str
    data: Raw = NULL


class _Notice(msgspec.Struct):
    message: str = ""
    session_id: str = ""


_MESSAGES = msgspec.json.Decoder(_Message)
_RECORDS = msgspec.json.Decoder(dict[str, Raw])


def read(frame: str | bytes, heard: float) -> Frame:
    """What a frame says. `heard`: when it came, on the clock of time.monotonic()."""
    text = frame.encode() if isinstance(frame, str) else frame
    if opening(text.lstrip()) == b"{":
        return _message(text, heard)
    if isinstance(frame, bytes):
        return _figures(frame)
    # Bare text says nothing about any row: the answer to a heartbeat, or a greeting for people.
    return Aside(answers=True) if frame.strip() == ANSWER else ASIDE


def _figures(frame: bytes) -> Frame:
    """A price has seven values, a profit begins with s."""
    if frame.startswith(b"s") or frame.count(b",") == _PRICE_VALUES - 1:
        return ASIDE
    return Garbled("a binary frame that is neither a price nor a profit")


def _message(text: bytes, heard: float) -> Frame:
    try:
        message = _MESSAGES.decode(text)
    except UNREADABLE as error:
        return Garbled(f"a text frame that is no event: {type(error).__name__}")
    if message.type in TABLES:
        return _row(message.type, message.data, heard)
    if message.type == "session_logout":
        return LoggedOut(_notice(message.data).session_id)
    if message.type == "error":
        return Refusal(_one_line(_notice(message.data).message))
    return ASIDE


def _row(name: str, data: Raw, heard: float) -> Frame:
    table = TABLES[name]
    try:
        record = _RECORDS.decode(data)
    except UNREADABLE:
        return Garbled(f"{name} without a record")
    lacking = next((field for field in _EXPECTED[table] if field not in record), None)
    if lacking is not None:
        return Garbled(f"{name} without {lacking}: not the whole record")
    written = bytes(record["id"])
    return RowEvent(
        table,
        int(written) if _ID.fullmatch(written) else None,
        _moment(record.get("updated_at", NULL)),
        bytes(record.get("status", NULL)) in _OVER[table],
        bytes(data),
        heard,
    )


def _moment(token: Raw) -> datetime | None:
    """Good enough to tell which of two is later: what is finer than microseconds is rounded."""
    try:
        moment = msgspec.json.decode(token, type=datetime)
    except UNREADABLE:
        return None
    return moment if moment.tzinfo else None


def _notice(data: Raw) -> _Notice:
    try:
        return msgspec.json.decode(data, type=_Notice)
    except UNREADABLE:
        return _Notice()


def _one_line(text: str) -> str:
    shown = "".join(c if c.isprintable() else " " for c in text[: 4 * _MESSAGE_LIMIT])
    return " ".join(shown.split())[:_MESSAGE_LIMIT] or "no reason given"


def command(name: str, data: int) -> str:
    """A message to the platform; the value is a bare number."""
    return msgspec.json.encode({"type": name, "data": data}).decode()
