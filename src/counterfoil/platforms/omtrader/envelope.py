"""The envelope around every answer of OMTrader (reference, section 3).

`{"success", "code", "data", "error", "message"}`; where a list is expected `data` is an array, an object with `records`,
the text `success` for an empty list, or null.
"""

import json

import msgspec
from msgspec import Raw

from counterfoil.domain.outcome import Body
from counterfoil.platforms.rows import NULL, opening

EMPTY_LIST = Raw(b"[]")


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
        text = self.message or self.error or "no reason given"
        return " ".join(text.split())[:200]

    @property
    def body(self) -> Body:
        """What the classification needs to know."""
        return Body.UNDERSTOOD if self.success else Body.REFUSED


class _Records(msgspec.Struct):
    records: Raw


_DECODER = msgspec.json.Decoder(Envelope)


def read(body: bytes) -> Envelope | None:
    """The envelope in an answer; None when it is none."""
    try:
        return _DECODER.decode(body)
    except (msgspec.ValidationError, UnicodeDecodeError, RecursionError):
        return None
    except msgspec.DecodeError:
        return _salvage(body)


def _salvage(body: bytes) -> Envelope | None:
    """Some servers write NaN and Infinity, which JSON does not know: read them as text, so that only their records fail."""
    try:
        loose = json.loads(body, parse_constant=str, parse_float=_token, parse_int=_token)
        return _DECODER.decode(msgspec.json.encode(loose))
    except (ValueError, RecursionError, msgspec.MsgspecError):
        return None


def _token(text: str) -> Raw:
    return Raw(text.encode())


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
        except msgspec.DecodeError:
            return None
        return _list(listed)
    return None


def _list(listed: Raw) -> Raw | None:
    if listed == NULL:
        return EMPTY_LIST
    return listed if opening(listed) == b"[" else None
