"""The envelope around every answer of OMTrader (reference, section 3).

`{"success", "code", "data", "error", "message"}`; where a list is expected `data` is an array, an object with `records`,
the text `success` for an empty list, or null.
"""

from typing import Any

import msgspec
from msgspec import Raw

from counterfoil.domain.outcome import Body
from counterfoil.platforms.mending import mended
from counterfoil.platforms.rows import opening
from counterfoil.platforms.shapes import NULL, Wrapping

EMPTY_LIST = Raw(b"[]")
_REASON_LIMIT = 200
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Envelope(msgspec.Struct):
    """An answer of OMTrader; `data` still as text."""

    success: bool
    code: int | None = None
    data: Raw = Raw(b"null")
    error: str | None = None
    message: str | None = None

    @property
    def reason(self) -> str:
        """What the platform says went wrong, on one line of at most 200 characters."""
        text = (self.message or self.error or "no reason given")[: 4 * _REASON_LIMIT]
        return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:_REASON_LIMIT].rstrip()

    @property
    def body(self) -> Body:
        """What the classification needs to know."""
        return Body.UNDERSTOOD if self.success else Body.REFUSED


class _Records(msgspec.Struct):
    records: Raw


_DECODER = msgspec.json.Decoder(Envelope)


def _listing(record: Any) -> Any:
    """The envelope of a list in its usual form, read in one go with the records in it."""
    data = msgspec.defstruct("Data", [("records", list[record])])
    return msgspec.defstruct("Listing", [("data", data)], bases=(Envelope,), kw_only=True)


LISTED = Wrapping(_listing, lambda answer: answer.data.records if answer.success else None)


def read(body: bytes) -> Envelope | None:
    """The envelope in an answer; None when it is none."""
    body = body.removeprefix(_BYTE_ORDER_MARK)
    try:
        return _DECODER.decode(body)
    except (msgspec.ValidationError, UnicodeDecodeError, RecursionError):
        return None
    except msgspec.DecodeError:
        return _salvage(body)


def _salvage(body: bytes) -> Envelope | None:
    """See platforms.mending."""
    if opening(body.lstrip()) != b"{":
        return None
    try:
        return _DECODER.decode(mended(body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def records(data: Raw) -> Raw | None:
    """The JSON array that `data` stands for; None when it stands for no list."""
    first = opening(data)
    if first == b"[":
        return data
    if len(data) < 10 and bytes(data) in (b'"success"', b"null"):
        return EMPTY_LIST
    if first == b"{":
        try:
            listed = msgspec.json.decode(data, type=_Records).records
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        return _list(listed)
    return None


def _list(listed: Raw) -> Raw | None:
    if listed == NULL:
        return EMPTY_LIST
    return listed if opening(listed) == b"[" else None
