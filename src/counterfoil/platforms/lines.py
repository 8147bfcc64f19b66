"""What is kept of records, brought into COPY's form (domain.line).

A JSON array is a line, less its brackets and the quotes of its strings, with tabs for its commas. What else has a comma or a quote
in it is covered until then.
"""

import re
from collections import deque
from collections.abc import Callable
from functools import lru_cache
from itertools import repeat
from operator import attrgetter
from typing import Any

import msgspec
from msgspec import Raw
from msgspec.structs import astuple

from counterfoil.domain.line import SEPARATOR, escaped
from counterfoil.domain.records import Kind
from counterfoil.platforms.products import product
from counterfoil.platforms.scrubbing import SECRET_NAME, exact, without_secrets
from counterfoil.platforms.shapes import COMPUTED, NULL, Shape

# A token longer than this is no number of anybody's books; PostgreSQL would take 131,072 digits.
NUMBER_LIMIT = 100
# Where all that numbers are written with looks the same, a longer one is easily seen among a page of lines.
_DIGITS = bytes(48 if at in b"0123456789+-.eE" else at for at in range(256))
_TOO_LONG = b"0" * (NUMBER_LIMIT + 1)

MICROSECONDS = len("2025-01-01T00:00:00.000000Z")
_FRACTION = re.compile(r"(\.\d{6})\d+")
_POINT = len("2025-01-01T00:00:00")
_DAY = len("2025-01-01")
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")

# Stand for a comma and a quote that are part of a value.
_COVER = bytes.maketrans(b',"', b"\1\2")
_UNCOVER = bytes.maketrans(b",\1\2", SEPARATOR + b',"')
_QUOTED_NULL = b'"null"'

# Of an object longer than this the names are not remembered.
_LONG = 10_000
_ENCODER = msgspec.json.Encoder()
_NAMES = msgspec.json.Decoder(dict[str, Raw])


def settle(shape: Shape, rows: list[Any]) -> None:
    """Bring the values of rows into COPY's form in place, and add what is computed of them.

    Raises:
        ValueError: one of them has none.
    """
    for attribute, _ in shape.attributes[Kind.TIMESTAMP]:
        _change(rows, attribute, MICROSECONDS, cut)
    for attribute, _ in shape.attributes[Kind.DATE]:
        _change(rows, attribute, -1, _day)
    for attribute, wire in shape.attributes[Kind.JSON]:
        tokens = list(map(attrgetter(attribute), rows))
        if tokens.count(NULL) < len(tokens):
            for row, token in zip(rows, tokens, strict=True):
                if token != NULL:
                    setattr(row, attribute, covered(scrubbed(bytes(token), wire)))
    if shape.factors:
        factors = map(attrgetter(*shape.factors), rows)
        _set(rows, COMPUTED, list(map(product, map(b"*".join, factors))))


def encoded(shape: Shape, rows: list[Any]) -> bytes:
    """The lines of settled rows, each in brackets; texts that may not stand as they are, are covered in place.

    Raises:
        ValueError: one holds a number that is too long.
    """
    text = _ENCODER.encode_lines(map(astuple, rows))
    if text.count(b",") > len(rows) * (len(shape.columns) - 1) or _QUOTED_NULL in text:
        _cover_texts(shape, rows)
        text = _ENCODER.encode_lines(map(astuple, rows))
    if _TOO_LONG in text.translate(_DIGITS):
        _refuse_long_numbers(shape, rows)
    return text.translate(_UNCOVER, b'"')


def split(text: bytes) -> list[bytes]:
    """The lines of rows, none of which holds the end of a line."""
    return text[1:-2].split(b"]\n[") if text else []


def line(shape: Shape, row: Any) -> bytes:
    """The line of a settled row, whose texts may hold anything. Raises as `encoded` does."""
    return encoded(shape, [row])[1:-2]


def _refuse_long_numbers(shape: Shape, rows: list[Any]) -> None:
    for attribute, wire in shape.attributes[Kind.NUMBER]:
        longest = max(len(getattr(row, attribute)) for row in rows)
        if longest > NUMBER_LIMIT:
            raise ValueError(f"a number of {longest} characters - at `$.{wire}`")


def _change(rows: list[Any], attribute: str, longest: int, change: Callable[[str], str | None]) -> None:
    """Change the texts of a column that are longer than so many characters."""
    before = list(map(attrgetter(attribute), rows))
    if max(map(len, filter(None, before)), default=0) > longest:
        _set(rows, attribute, [text if text is None or len(text) <= longest else change(text) for text in before])


def _set(rows: list[Any], attribute: str, values: list[Any]) -> None:
    deque(map(setattr, rows, repeat(attribute), values), 0)


def cut(moment: str) -> str:
    """A time without what is finer than microseconds: cut, never rounded."""
    if len(moment) <= MICROSECONDS:
        return moment
    # The usual form, without the cost of a search.
    if moment[_POINT : _POINT + 1] == "." and moment[-1] == "Z":
        return moment[: MICROSECONDS - 1] + "Z"
    return _FRACTION.sub(r"\1", moment)


def _day(date: str) -> str | None:
    """A date, or a time of which only the day counts; the empty text is how some servers say that there is none."""
    return date[:_DAY] or None


def decoded(token: bytes | Raw, name: str) -> Any:
    """The value of a field.

    Raises:
        ValueError: it has none.
    """
    try:
        return exact(token)
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 - at `$.{name[:60]}`") from error
    except RecursionError as error:
        raise ValueError(f"nested too deep - at `$.{name[:60]}`") from error
    except (msgspec.MsgspecError, ValueError) as error:
        raise ValueError(f"{error} - at `$.{name[:60]}`") from error


def scrubbed(token: bytes, name: str) -> bytes:
    """A JSON value without anything that is named like a secret, every number as it was sent."""
    if _is_harmless(token):
        return token
    try:
        text = msgspec.json.encode(without_secrets(decoded(token, name)))
    except RecursionError as error:
        raise ValueError(f"nested too deep - at `$.{name[:60]}`") from error
    if b"\\u0000" in text and _NUL.search(text):
        raise ValueError(f"a character that no text may hold - at `$.{name[:60]}`")
    return text


def _is_harmless(token: bytes) -> bool:
    """Whether a JSON value is an object of nothing but scalars, with names seen to be no secrets': a glance for the usual one."""
    if len(token) > _LONG or token[:1] != b"{" or b"{" in token[1:] or b"[" in token or b"\\" in token:
        return False
    return _are_harmless(tuple(_NAMES.decode(token)))


@lru_cache(maxsize=1_000)
def _are_harmless(names: tuple[str, ...]) -> bool:
    return not any(map(SECRET_NAME.search, names))


def covered(text: bytes) -> Raw:
    """A text or a JSON value as the value of a line that it will be when `encoded` has made one."""
    return Raw(escaped(text).replace(b"\1", rb"\x01").replace(b"\2", rb"\x02").translate(_COVER))


def _cover_texts(shape: Shape, rows: list[Any]) -> None:
    for attribute, _ in shape.attributes[Kind.TEXT]:
        for row in rows:
            if isinstance(text := getattr(row, attribute), str) and ("," in text or text == "null"):
                setattr(row, attribute, covered(text.encode()))
