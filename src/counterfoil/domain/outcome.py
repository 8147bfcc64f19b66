"""What an answer, or the lack of one, means: one pure function, one table."""

from enum import Enum, auto
from typing import assert_never


class Silence(Enum):
    """How a request ended without an answer."""

    NOT_CONNECTED = auto()
    """The connection was never made, or no place in the pool was free: no byte left."""
    INTERRUPTED = auto()
    """Write or read failed, timed out, broke the protocol, or the connection was closed."""


class Body(Enum):
    """What the body of an answer is."""

    UNDERSTOOD = auto()
    UNREADABLE = auto()
    """Not the envelope, or without what we need from it."""
    REFUSED = auto()
    """The envelope, with `success: false`."""


class Verdict(Enum):
    """What happens next. The first four concern reads, the others writes, the last two both."""

    DONE = auto()
    TRANSIENT = auto()
    RATE_LIMITED = auto()
    PERMANENT = auto()
    ACCEPTED = auto()
    REJECTED = auto()
    NOT_SENT = auto()
    UNKNOWN = auto()
    CONFLICT = auto()
    """A write met something of the same name: look whether it is ours."""
    LOG_IN = auto()
    CONFIGURATION_FAULT = auto()


_PERMANENT = frozenset({400, 404, 405, 410, 422})
_RATE_LIMITED = frozenset({425, 429})


def classify(signal: Silence | int, body: Body = Body.UNREADABLE, *, writing: bool, code: int | None = None) -> Verdict:
    """The verdict on one request.

    Args:
        signal: the HTTP status, or how the request ended without one.
        body: what the answer carries; only looked at under a 2xx status.
        writing: whether the request was to change something. Whatever is not proven otherwise is then UNKNOWN.
        code: the status that the envelope itself names (`code`), for `success: false` under a 2xx status.
    """
    match signal:
        case Silence.NOT_CONNECTED:
            return Verdict.NOT_SENT if writing else Verdict.TRANSIENT
        case Silence.INTERRUPTED:
            return Verdict.UNKNOWN if writing else Verdict.TRANSIENT
        case int() if 200 <= signal < 300:
            return _answered(body, code, writing=writing)
        case int():
            return _refused(signal, writing=writing)
        case _:
            assert_never(signal)


def _answered(body: Body, code: int | None, *, writing: bool) -> Verdict:
    match body:
        case Body.UNDERSTOOD:
            return Verdict.ACCEPTED if writing else Verdict.DONE
        case Body.UNREADABLE:
            return Verdict.UNKNOWN if writing else Verdict.TRANSIENT
        case Body.REFUSED:
            return _refused(code or 0, writing=writing)
        case _:
            assert_never(body)


def _refused(status: int, *, writing: bool) -> Verdict:
    if status == 401:
        return Verdict.LOG_IN
    if status == 403:
        return Verdict.CONFIGURATION_FAULT
    if status in _PERMANENT:
        return Verdict.REJECTED if writing else Verdict.PERMANENT
    if status in _RATE_LIMITED:
        return Verdict.NOT_SENT if writing else Verdict.RATE_LIMITED
    if status == 409:
        return Verdict.CONFLICT if writing else Verdict.TRANSIENT
    return Verdict.UNKNOWN if writing else Verdict.TRANSIENT
