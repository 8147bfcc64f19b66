"""How events become lines: JSON for machines, columns for a terminal, secrets for nobody.

What libraries write through the standard library's logging comes out the same way, from warnings on, as the events
`library.logged` and `library.failed`.
"""

import json
import logging
import math
import sys
import threading
import traceback
from collections.abc import Collection, Mapping, MutableMapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from itertools import islice
from pathlib import PurePath
from typing import Any, Final, Literal, TextIO
from uuid import UUID

import structlog

from counterfoil.domain.errors import ConfigurationError
from counterfoil.observe import events
from counterfoil.observe.redaction import LONGEST, MASK, is_secret_name, one_line, redact

Format = Literal["json", "console"]

_LEVELS: Final = ("debug", "info", "warning", "error", "critical")
_TEXTUAL: Final = (UUID, PurePath, IPv4Address, IPv6Address)
_DEEPEST: Final = 6
"""Levels of nesting that a value may have; deeper ones are named by their class."""
_ITEMS: Final = 50
"""Items of a list that are shown."""
_BITS: Final = 128
"""Longest whole number that is shown; a hostile server can send one that Python refuses to print."""
_LEAVES: Final = 3
"""Exceptions of a group that are named."""
_FRAMES: Final = 20
"""Innermost frames that `stack` shows."""


def configure(format: Format | None = None, level: str = "info", stream: TextIO | None = None) -> None:  # noqa: A002 - the setting is called format
    """Send events of `level` and above to `stream` (standard error when not given); may be called again.

    `format` None means console when the stream is a terminal, else json.

    Raises:
        ConfigurationError: there is no such level.
    """
    if level not in _LEVELS:
        raise ConfigurationError(f"log.level: {level!r} is not a level; write one of {', '.join(_LEVELS)}")
    stream = stream or sys.stderr
    terminal = stream.isatty()
    as_json = format == "json" or (format is None and not terminal)
    structlog.configure(
        processors=[
            _Plain(stacks=level == "debug"),
            _stamp,
            *([_json_line] if as_json else [_visible, structlog.dev.ConsoleRenderer(colors=terminal)]),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=_Output(stream),
        cache_logger_on_first_use=False,
    )
    _route_libraries()


def _route_libraries() -> None:
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, _LibraryHandler)]:
        root.removeHandler(handler)
    # The handler's own level holds even where somebody lowered that of a library's logger.
    root.addHandler(_LibraryHandler(logging.WARNING))
    root.setLevel(logging.WARNING)
    # A tick that finds the one before it still at work is left out: that is meant, and no warning.
    logging.getLogger("apscheduler").setLevel(logging.ERROR)
    logging.captureWarnings(capture=True)


class _LibraryHandler(logging.Handler):
    """Turns records of the standard library's logging into events."""

    def emit(self, record: logging.LogRecord) -> None:
        """Say what the library said; a record that cannot be formatted is said as it stands."""
        try:
            message = record.getMessage()
        except (TypeError, ValueError, KeyError):
            message = str(record.msg)
        error = record.exc_info[1] if record.exc_info else None
        if record.levelno >= logging.ERROR:
            events.emit(events.LIBRARY_FAILED, logger=record.name, message=message, error=error)
        else:
            events.emit(events.LIBRARY_LOGGED, logger=record.name, message=message, error=error)


class _Output:
    """Writes whole lines; it is its own factory, as structlog wants one.

    A log that cannot be written (a full disk, a reader that went away) is no reason to stop working.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        # Python may warn of something from a destructor, in the middle of a line of the same thread.
        self._lock = threading.RLock()

    def __call__(self, *_: object) -> "_Output":
        """This logger."""
        return self

    def line(self, text: str) -> None:
        """Write one line at once, so that lines of several threads do not mix."""
        try:
            with self._lock:
                self._stream.write(text + "\n")
                self._stream.flush()
        except (OSError, ValueError, RuntimeError):
            # Nobody reads any more, no space, closed, no such character, or caught within a write by a destructor.
            return

    debug = info = warning = error = critical = line


def _json_line(_: object, __: str, entry: MutableMapping[str, Any]) -> str:
    # ASCII only: every stream can write it, and line separators beyond it stay escaped too.
    return json.dumps(entry, ensure_ascii=True, allow_nan=False)


def _stamp(_: object, method: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    at = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    return {"timestamp": at, "level": method, "event": entry.pop("event"), **entry}


def _visible(_: object, __: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    # Control characters could forge a line or drive the terminal of whoever reads it.
    shown = {name: _escape(value) if isinstance(value, str) else value for name, value in entry.items()}
    return shown | ({"stack": "\n".join(map(_escape, entry["stack"]))} if "stack" in entry else {})


def _escape(text: str) -> str:
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


class _Plain:
    """Brings every field to plain, masked values that JSON can hold."""

    def __init__(self, *, stacks: bool) -> None:
        self._stacks = stacks

    def __call__(self, _: object, __: str, entry: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """The entry with plain values, and with `stack` when one is an exception and that is wanted."""
        shown = _mapping(entry, 0)
        if self._stacks:
            raised = [value for value in entry.values() if isinstance(value, BaseException)]
            shown |= {"stack": _stack(raised[0])} if raised else {}
        return shown


def _stack(error: BaseException) -> list[str]:
    # File, line and function only: source lines and locals are where secrets are.
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames]


def _mapping(value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
    return {str(key): MASK if is_secret_name(str(key)) else _value(item, depth + 1) for key, item in value.items()}


def _value(value: object, depth: int = 0) -> Any:
    """The value as JSON can hold it, masked; exact numbers become text, durations seconds."""
    if value is None or isinstance(value, bool | int | str | Enum | float | Decimal):
        return _scalar(value)
    if isinstance(value, datetime | date | timedelta):
        return _moment(value)
    if isinstance(value, BaseException):
        return redact(describe(value))
    if depth < _DEEPEST and isinstance(value, Mapping):
        return _mapping(value, depth)
    if depth < _DEEPEST and isinstance(value, list | tuple | set | frozenset):
        return _items(value, depth)
    # What else an object's own text may tell is unknown, so only harmless ones get to speak.
    return redact(str(value)) if isinstance(value, _TEXTUAL) else f"<{type(value).__name__}>"


def _items(value: Collection[object], depth: int) -> list[Any]:
    more = len(value) - _ITEMS
    shown = [_value(item, depth + 1) for item in islice(value, _ITEMS)]
    return [*shown, f"and {more} more"] if more > 0 else shown


def _scalar(value: bool | float | str | Enum | Decimal | None) -> Any:  # noqa: FBT001 - the signature is the library's
    if isinstance(value, Enum):
        return _value(value.value)
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else str(value)
    if isinstance(value, Decimal):
        return redact(str(value))
    return f"<number of {value.bit_length()} bits>" if isinstance(value, int) and value.bit_length() > _BITS else value


def _moment(value: date | timedelta) -> float | str:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return value.isoformat()


def describe(error: BaseException) -> str:
    """Class and message of the error in one line; of a group, those of the errors in it."""
    if isinstance(error, BaseExceptionGroup):
        inside = "; ".join(describe(one) for one in error.exceptions[:_LEAVES])
        more = len(error.exceptions) - _LEAVES
        return inside + (f"; and {more} more" if more > 0 else "")
    message = one_line(str(error)[: 4 * LONGEST])
    return f"{type(error).__name__}: {message}" if message else type(error).__name__
