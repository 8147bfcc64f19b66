"""How numbers and times look on the wire: exact decimal tokens and RFC 3339 stamps, never a binary float.

Amounts are integers of the smallest unit (cents, points, hundredths of a lot) until this module writes them down.
"""

import datetime as dt
from typing import Final

import msgspec

SECOND: Final = 1_000_000_000
"""Nanoseconds in a second; every time in the sandbox is an integer of nanoseconds since 1970, UTC."""

DAY: Final = 86_400 * SECOND

GRAINS: Final = (1, 10, 100, 1_000, 10_000)
"""What a time is cut to, so that its fraction has 9, 8, 7, 6 or 5 digits (reference, section 1: 5 to 9 in samples)."""

ENCODER: Final = msgspec.json.Encoder(decimal_format="number")

_SHORTEST_FRACTION = 5
_dates: dict[int, str] = {}


def number(value: int, digits: int) -> str:
    """The shortest plain decimal of value / 10**digits: 1250, 2 -> 12.5; -5, 2 -> -0.05; 700, 2 -> 7."""
    if not value or not digits:
        return str(value)
    whole, part = divmod(abs(value), 10**digits)
    sign = "-" if value < 0 else ""
    if not part:
        return f"{sign}{whole}"
    return f"{sign}{whole}.{str(part).zfill(digits).rstrip('0')}"


def maybe(value: int | None, digits: int) -> str:
    """`number`, or the JSON null."""
    return "null" if value is None else number(value, digits)


def raw(value: int, digits: int) -> msgspec.Raw:
    """`number` as a token that the JSON encoder copies as it stands."""
    return msgspec.Raw(number(value, digits).encode())


def quoted(value: str) -> str:
    """The JSON string of a text, with its quotes."""
    return ENCODER.encode(value).decode() if value else '""'


def stamp(at: int) -> str:
    """RFC 3339 with Z and a fraction without trailing zeros, yet at least 5 digits (reference, section 1)."""
    seconds, fraction = divmod(at, SECOND)
    day, second = divmod(seconds, 86_400)
    minute, second = divmod(second, 60)
    hour, minute = divmod(minute, 60)
    digits = str(fraction).zfill(9).rstrip("0").ljust(_SHORTEST_FRACTION, "0")
    return f"{_dates.get(day) or _date(day)}T{hour:02}:{minute:02}:{second:02}.{digits}Z"


def moment(at: int | None) -> str:
    """`stamp` as a JSON string, or null when there is no such time."""
    return "null" if at is None else f'"{stamp(at)}"'


def _date(day: int) -> str:
    text = (dt.date(1970, 1, 1) + dt.timedelta(days=day)).isoformat()
    _dates[day] = text
    return text
