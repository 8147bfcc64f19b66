"""What is kept of records, brought into COPY's form: lines of CSV.

A JSON array less its brackets is a line: a number is a valid `numeric` literal, a string without escapes is a valid quoted CSV
field, and the bare word null is the NULL marker of our COPY.
"""

import re
from collections import deque
from collections.abc import Callable, Iterable
from functools import lru_cache
from itertools import chain, groupby, repeat
from operator import attrgetter
from typing import Any

import msgspec
from msgspec import Raw
from msgspec.structs import astuple

from counterfoil.domain.records import Kind
from counterfoil.platforms.products import product
from counterfoil.platforms.scrubbing import SECRET_NAME, exact, without_secrets
from counterfoil.platforms.shapes import COMPUTED, NULL, TIMES, Full, Shape

# A token longer than this is no number of anybody's books; PostgreSQL would take 131,072 digits.
NUMBER_LIMIT = 100
# Where all that numbers are written with looks the same, a longer one is easily seen among a page of lines.
_DIGITS = bytes(48 if at in b"0123456789+-.eE" else at for at in range(256))
_TOO_LONG = b"0" * (NUMBER_LIMIT + 1)
# All but the characters that tell what is no plain number: a text, an array, an object; true, false and 1e5 have an e.
_UNTELLING = bytes(set(range(256)) - set(b'"[{eE'))

MICROSECONDS = len("2025-01-01T00:00:00.000000Z")
_FRACTION = re.compile(r"(\.\d{6})\d+")
_POINT = len("2025-01-01T00:00:00")
_DAY = len("2025-01-01")
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")

_ENCODER = msgspec.json.Encoder()
_NAMES = msgspec.json.Decoder(dict[str, Raw])

# The values of those columns of a page that hold texts.
Texts = dict[str, list[str | None]]


def texts_of(shape: Shape, rows: list[Any]) -> Texts:
    """All that is text, a time or a date; neighbouring columns of times that say the same are one list.

    Raises:
        msgspec.ValidationError: something that is to be a time is none.
    """
    texts: Texts = {
        attribute: list(map(attrgetter(attribute), rows))
        for kind in (Kind.TEXT, *TIMES)
        for attribute, _ in shape.attributes[kind]
    }
    for kind, times in TIMES.items():
        before = None
        for attribute, _ in shape.attributes[kind]:
            # Records that were never changed were last changed when they were made.
            if texts[attribute] == before:
                texts[attribute] = before
            else:
                before = texts[attribute]
                msgspec.convert(before, times)
    return texts


def settle(shape: Shape, rows: list[Any], texts: Texts) -> int:
    """Bring the values of rows into COPY's form in place, and add what is computed of them.

    Returns by how many characters the texts are shorter now.

    Raises:
        ValueError: one of them has none.
    """
    shorter = _replace(rows, texts, shape.attributes[Kind.TIMESTAMP], MICROSECONDS, cut)
    shorter += _replace(rows, texts, shape.attributes[Kind.DATE], -1, _day)
    for attribute, wire in shape.attributes[Kind.JSON]:
        tokens = list(map(attrgetter(attribute), rows))
        if tokens.count(NULL) < len(tokens):
            for row, token in zip(rows, tokens, strict=True):
                if token != NULL:
                    setattr(row, attribute, Raw(quote(scrubbed(bytes(token), wire))))
    if shape.factors:
        factors = map(attrgetter(*shape.factors), rows)
        _set(rows, COMPUTED, list(map(product, map(b"*".join, factors))))
    return shorter


def encoded(shape: Shape, rows: list[Any]) -> bytes:
    """Settled rows as JSON arrays, each on a line of its own.

    Raises:
        ValueError: one holds a number that is too long.
    """
    text = _ENCODER.encode_lines(map(astuple, rows))
    if _TOO_LONG in text.translate(_DIGITS):
        _refuse_long_numbers(shape, rows)
    return text


def split(text: bytes) -> list[bytes]:
    """The lines of rows in whose texts nothing had to be escaped: so none of them looks like the end of one."""
    return text[1:-2].split(b"]\n[") if text else []


def line(shape: Shape, row: Any) -> bytes:
    """The line of a settled row, whose texts may hold anything. Raises as `encoded` does."""
    return encoded(shape, [row])[1:-2]


def is_all_numbers(shape: Shape, rows: list[Any], texts: Texts, text: bytes) -> bool:
    """Whether all that is to be a number in this text of rows is one, written without an exponent.

    All else that a number's place may hold brings a character that there is one too many of. Not told where JSON is kept.
    """
    telling = text.translate(None, _UNTELLING)
    words = "".join(filter(None, chain.from_iterable(texts[attribute] for attribute, _ in shape.attributes[Kind.TEXT])))
    quoted = sum(len(values) - values.count(None) for values in texts.values())
    flags = sum(getattr(row, attribute) is not None for attribute, _ in shape.attributes[Kind.BOOLEAN] for row in rows)
    return (
        telling.count(b'"') == 2 * quoted
        and telling.count(b"[") == words.count("[") + len(rows)
        and telling.count(b"{") == words.count("{")
        and telling.count(b"e") + telling.count(b"E") == words.count("e") + words.count("E") + flags
    )


def is_each_once(full: Full, rows: list[Any], text: bytes, shorter: int, answer: bytes) -> bool:
    """Whether the records of an answer hold each field once and no space between: then they are as long as their parts.

    A field that stands twice, or in this record alone, makes them longer, and nothing makes them shorter. `text`, `shorter`: what was
    made of them.
    """
    computed = sum(len(row.computed) + 1 for row in rows) if full.computes else 0
    # A line has brackets for the braces of its record and an end for the comma behind it; around all of them stand two more.
    parts = len(text) + 1 + shorter - computed + (full.frame - len(",null") * full.lacking) * len(rows)
    return answer.rfind(b"}]") + 2 - answer.find(b"[{") == parts


def _refuse_long_numbers(shape: Shape, rows: list[Any]) -> None:
    for attribute, wire in shape.attributes[Kind.NUMBER]:
        longest = max(len(getattr(row, attribute)) for row in rows)
        if longest > NUMBER_LIMIT:
            raise ValueError(f"a number of {longest} characters - at `$.{wire}`")


def _replace(
    rows: list[Any],
    texts: Texts,
    attributes: Iterable[tuple[str, str]],
    longest: int,
    change: Callable[[str], str | None],
) -> int:
    """Change the texts of columns that are longer than so many characters; a glance tells whether there are any.

    Returns by how many characters they are shorter now.
    """
    shorter = 0
    for _, columns in groupby((attribute for attribute, _ in attributes), key=lambda attribute: id(texts[attribute])):
        same = list(columns)
        before = texts[same[0]]
        after = _changed(before, longest, change)
        if after is not before:
            shorter += len(same) * (_length(before) - _length(after))
            for attribute in same:
                texts[attribute] = after
                _set(rows, attribute, after)
    return shorter


def _changed(values: list[str | None], longest: int, change: Callable[[str], str | None]) -> list[str | None]:
    if max(map(len, filter(None, values)), default=0) <= longest:
        return values
    return [text if text is None or len(text) <= longest else change(text) for text in values]


def _length(values: list[str | None]) -> int:
    """Of the values as they stand in a line; of those that are always ASCII."""
    missing = values.count(None)
    return sum(map(len, filter(None, values))) + len('""') * (len(values) - missing) + len("null") * missing


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
    if token[:1] != b"{" or b"{" in token[1:] or b"[" in token or b"\\" in token:
        return False
    return _are_harmless(tuple(_NAMES.decode(token)))


@lru_cache(maxsize=1_000)
def _are_harmless(names: tuple[str, ...]) -> bool:
    return not any(map(SECRET_NAME.search, names))


def quote(text: bytes) -> bytes:
    """A text as a field of CSV."""
    return b'"' + text.replace(b'"', b'""') + b'"'
