"""JSON records into lines for COPY, without a number ever passing through a binary float.

A record is decoded twice by the same fast decoder: once into the types it must have, whose values are thrown away, and
once into the raw JSON tokens, which go to PostgreSQL as they stand: a JSON number is a valid `numeric` literal, a JSON
string without escapes is a valid quoted CSV field, and the bare word null is the NULL marker of our COPY. A page in which
anything is out of the ordinary (an unknown field, an escape, a bad record) is read again, record by
record, with the same decoders.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache, lru_cache
from itertools import repeat
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw

from counterfoil.domain.page import Page, Rejected
from counterfoil.domain.records import TABLES, Column, Kind
from counterfoil.platforms.products import PRODUCTS, product
from counterfoil.platforms.scrubbing import SECRET_NAME, exact, scrub_text, without_secrets

Record = dict[str, Raw]
# Turns one record into the records it stands for, with the wire names of the table; used where the shapes differ.
Reshape = Callable[[Record], Iterable[Record]]

NULL = Raw(b"null")
# A token longer than this is no number of anybody's books; PostgreSQL would take 131,072 digits.
NUMBER_LIMIT = 100
# No list of ours comes near; each record and each value costs memory many times its length on the wire.
ROW_LIMIT = 100_000
VALUE_LIMIT = 2_000_000
# Bytes of the shortest record that tells its id, with the comma behind it.
SHORTEST = len(b'{"id":1},')

_FRACTION = re.compile(rb"(\.\d{6})\d+")
_POINT = len(b'"2025-01-01T00:00:00')
_MICROSECONDS = len(b'"2025-01-01T00:00:00.000000Z"')
_DAY = len(b'"2025-01-01"')
_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_ID = re.compile(rb"-?\d{1,19}")

_Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
# Only asked "is this a number that JSON and PostgreSQL both understand?"; the value itself is never used.
_Number = float
_DATE = (
    "^([0-9]{4}-(0[0-9]|1[0-2])-([0-2][0-9]|3[01])"
    r"([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,9})?)?(Z|[+-][0-9]{2}:?[0-9]{2})?)?)?$"
)
_TYPES: Mapping[Kind, Any] = {
    Kind.INTEGER: _Int64 | None,
    Kind.NUMBER: _Number | None,
    Kind.TEXT: str | None,
    Kind.BOOLEAN: bool | None,
    Kind.TIMESTAMP: Annotated[datetime, Meta(tz=True)] | None,
    Kind.DATE: Annotated[str, Meta(pattern=_DATE)] | None,
    Kind.JSON: Any,
}
_NAMES = msgspec.json.Decoder(dict[str, Raw])
# What may be wrong with a record; anything else is a bug of ours.
_UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)


@dataclass(frozen=True, slots=True)
class _Shape:
    """What the records of a table look like: columns, decoders, and at which place of a row each kind stands."""

    columns: tuple[str, ...]
    fields: tuple[Column, ...]
    names: frozenset[str]
    places: Mapping[Kind, tuple[int, ...]]
    moments: tuple[str, ...]
    created: int | None
    factors: tuple[int, int] | None
    symbol: str | None
    page_types: msgspec.json.Decoder[list[Any]]
    page_tokens: msgspec.json.Decoder[list[Any]]
    types: msgspec.json.Decoder[Any]
    tokens: msgspec.json.Decoder[Any]


@cache
def _shape(table: str) -> _Shape:
    fields = tuple(column for column in TABLES[table].columns if column.wire)
    wires = [(column.wire or "", column.kind) for column in fields]
    # A computed column's name may also be a field, of an object that is null unless expanded.
    embedded = [column.name for column in TABLES[table].columns if not column.wire]
    types = msgspec.defstruct(
        "Types", [("id", _Int64), *((f"f{n}", _TYPES[kind], None) for n, (_, kind) in enumerate(wires)),
                  *((name, None, None) for name in embedded)],
        rename=_rename(wires), forbid_unknown_fields=True,
    )  # fmt: skip
    tokens = msgspec.defstruct(
        "Tokens", [("id", Raw), *((f"f{n}", Raw, NULL) for n in range(len(wires)))], rename=_rename(wires)
    )  # fmt: skip
    places = {column.name: at for at, column in enumerate(fields, 1)}
    computed, *factors = PRODUCTS.get(table) or (None,)
    return _Shape(
        columns=("id", *(column.name for column in fields), *([computed] if computed else []), "extra"),
        fields=fields,
        names=frozenset({"id", *(column.wire or "" for column in fields)}),
        places={kind: tuple(at for at, column in enumerate(fields, 1) if column.kind is kind) for kind in Kind},
        moments=tuple(wire for wire, kind in wires if kind in (Kind.TIMESTAMP, Kind.DATE)),
        created=places.get("created_at"),
        factors=(places[factors[0]], places[factors[1]]) if factors else None,
        symbol=f"f{places['symbol_id'] - 1}" if table in PRODUCTS else None,
        page_types=msgspec.json.Decoder(list[types]),  # type: ignore[valid-type]
        page_tokens=msgspec.json.Decoder(list[tokens]),  # type: ignore[valid-type]
        types=msgspec.json.Decoder(types),
        tokens=msgspec.json.Decoder(tokens),
    )


def _rename(wires: list[tuple[str, Kind]]) -> dict[str, str]:
    return {f"f{n}": wire for n, (wire, _) in enumerate(wires)}


class RowFormat:
    """How the records of one mirror table look on the wire; `columns` names what its lines hold, in order."""

    def __init__(self, table: str, *, reshape: Reshape | None = None) -> None:
        self._shape = _shape(table)
        self._reshape = reshape
        self.columns = self._shape.columns

    def read(self, records: bytes | Raw, digest: bytes = b"") -> Page:
        """The page that a JSON array of records is.

        Raises:
            msgspec.DecodeError: it is not a JSON array, or far too long.
            RecursionError: it is nested too deep.
        """
        page = Page(columns=self.columns, digest=digest)
        text = bytes(records)
        if len(text) > VALUE_LIMIT and text.count(b",") > VALUE_LIMIT:
            raise msgspec.DecodeError(f"more than {VALUE_LIMIT} values")
        few = len(text) < ROW_LIMIT * SHORTEST or text.count(b"{") <= ROW_LIMIT
        plain = few and self._reshape is None and b"\\" not in text
        if not plain or not self._read_plain(text, page):
            self._read_carefully(text, page)
        return page

    def _read_plain(self, records: bytes, page: Page) -> bool:
        """Column by column, so that what is asked of every value is asked by the interpreter's own loops."""
        try:
            typed = self._shape.page_types.decode(records)
            columns = list(zip(*map(msgspec.structs.astuple, self._shape.page_tokens.decode(records)), strict=True))
            self._settle(columns)
        except _UNREADABLE:
            return False
        page.rows = len(typed)
        page.ids = [row.id for row in typed]
        page.line_ids = page.ids
        page.lines = list(map(b",".join, zip(*columns, repeat(NULL, page.rows), strict=True)))
        page.symbol_ids = [getattr(row, self._shape.symbol) for row in typed] if self._shape.symbol else []
        if self._shape.created is not None and columns:
            page.times = [_moment(token) for token in columns[self._shape.created]]
        else:
            page.times = [None] * page.rows
        return True

    def _settle(self, columns: list[tuple[bytes | Raw, ...]]) -> None:
        """Bring the tokens of rows into COPY's form in place, and add what is computed of them.

        Raises:
            ValueError: one of them has none.
        """
        shape = self._shape
        if not columns:
            return
        for at in shape.places[Kind.TIMESTAMP]:
            if max(map(len, columns[at])) > _MICROSECONDS:
                columns[at] = tuple(map(_cut, columns[at]))
        for at in shape.places[Kind.DATE]:
            columns[at] = tuple(_day(bytes(token)) for token in columns[at])
        for at in shape.places[Kind.NUMBER]:
            if (longest := max(map(len, columns[at]))) > NUMBER_LIMIT:
                raise ValueError(f"a number of {longest} characters - at `$.{shape.fields[at - 1].wire}`")
        for at in shape.places[Kind.JSON]:
            if columns[at].count(NULL) < len(columns[at]):
                name = shape.fields[at - 1].wire or ""
                columns[at] = tuple(
                    NULL if token == NULL else _quote(_scrubbed(bytes(token), name)) for token in columns[at]
                )
        if shape.factors:
            columns.append(tuple(map(product, *(columns[at] for at in shape.factors))))

    def _read_carefully(self, records: bytes, page: Page) -> None:
        raws = msgspec.json.decode(records, type=list[Raw])
        if len(raws) > ROW_LIMIT:
            raise msgspec.DecodeError(f"more than {ROW_LIMIT} records")
        page.rows = len(raws)
        for raw in raws:
            self._read_record(raw, page)

    def _read_record(self, raw: Raw, page: Page) -> None:
        try:
            record = msgspec.json.decode(raw, type=Record)
            parts = self._reshape(record) if self._reshape else (record,)
            for number, part in enumerate(parts):
                self._read_part(part, raw if number == 0 else None, page)
        except _UNREADABLE as error:
            _reject(page, error, raw, _id_of(raw))

    def _read_part(self, part: Record, raw: Raw | None, page: Page) -> None:
        """One row. `raw`: the record's own text; None when the part is only a piece of it."""
        try:
            typed, row = self._row(part, raw if self._reshape is None else None)
        except _UNREADABLE as error:
            _reject(page, error, raw or msgspec.json.encode(part), part.get("id", NULL))
            return
        page.ids.append(typed.id)
        page.line_ids.append(typed.id)
        if self._shape.symbol:
            page.symbol_ids.append(getattr(typed, self._shape.symbol))
        page.times.append(self._created_at(row))
        page.lines.append(b",".join(row))

    def _row(self, part: Record, raw: Raw | None) -> tuple[Any, list[bytes | Raw]]:
        shape = self._shape
        whole = part.keys() <= shape.names
        known = part if whole else {name: value for name, value in part.items() if name in shape.names}
        mended = [_unescape(known, wire) for wire in shape.moments]
        # The record's own text will do where nothing of it was left out or mended.
        encoded = raw if raw is not None and whole and not any(mended) else msgspec.json.encode(known)
        try:
            typed = shape.types.decode(encoded)
        except UnicodeDecodeError as error:
            raise ValueError(f"not UTF-8 - at `$.{_culprit(known)}`") from error
        columns: list[tuple[bytes | Raw, ...]] = [
            (token,) for token in msgspec.structs.astuple(shape.tokens.decode(encoded))
        ]
        self._settle(columns)
        row = [token for (token,) in columns]
        if b"\\" in bytes(encoded):
            for at in shape.places[Kind.TEXT]:
                row[at] = _text(row[at], shape.fields[at - 1])
        row.append(NULL if whole else _extra({name: part[name] for name in part.keys() - shape.names}))
        return typed, row

    def _created_at(self, row: list[bytes | Raw]) -> str | None:
        return None if self._shape.created is None else _moment(row[self._shape.created])


def opening(token: bytes | Raw) -> bytes:
    """The first byte of a JSON value, which tells its type."""
    return bytes(memoryview(token)[:1])


def _moment(token: bytes | Raw) -> str | None:
    """A time as it was sent, without its quotes."""
    text = str(token, "utf-8")
    return None if text == "null" else text.strip('"')


def _cut(token: bytes | Raw) -> bytes:
    """A time without what is finer than microseconds: cut, never rounded."""
    text = bytes(token)
    if len(text) <= _MICROSECONDS:
        return text
    # The usual form, without the cost of a search.
    if text[_POINT : _POINT + 1] == b"." and text[-2:] == b'Z"':
        return text[: _MICROSECONDS - 2] + b'Z"'
    return _FRACTION.sub(rb"\1", text)


def _day(token: bytes) -> bytes:
    """A date, or a time of which only the day counts; the empty text is how some servers say that there is none."""
    if token == b'""':
        return b"null"
    return token if len(token) <= _DAY else token[: _DAY - 1] + b'"'


def _unescape(known: Record, wire: str) -> bool:
    """Mend a time in place: none holds a character that needs an escape, and decoders round what is finer than microseconds."""
    token = known.get(wire, NULL)
    if opening(token) != b'"' or (len(token) <= _MICROSECONDS and b"\\" not in bytes(token)):
        return False
    known[wire] = Raw(_cut(msgspec.json.encode(_decoded(token, wire))))
    return True


def _decoded(token: bytes | Raw, name: str) -> Any:
    try:
        return exact(token)
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 - at `$.{name[:60]}`") from error
    except RecursionError as error:
        raise ValueError(f"nested too deep - at `$.{name[:60]}`") from error
    except (msgspec.MsgspecError, ValueError) as error:
        raise ValueError(f"{error} - at `$.{name[:60]}`") from error


def _culprit(known: Record) -> str:
    for name, token in known.items():
        try:
            exact(token)
        except UnicodeDecodeError:
            return name
    return ""


def _text(token: bytes | Raw, column: Column) -> bytes | Raw:
    if b"\\" not in bytes(token):
        return token
    text: str = msgspec.json.decode(token)
    if "\0" in text:
        raise ValueError(f"a character that no text may hold - at `$.{column.wire}`")
    return _quote(text.encode())


def _extra(unknown: Record) -> bytes | Raw:
    kept = {name: value for name, value in unknown.items() if value != NULL and not SECRET_NAME.search(name)}
    if not kept:
        return NULL
    return _quote(msgspec.json.encode({name: Raw(_scrubbed(bytes(kept[name]), name)) for name in sorted(kept)}))


def _scrubbed(token: bytes, name: str) -> bytes:
    """A JSON value without anything that is named like a secret, every number as it was sent."""
    if _is_harmless(token):
        return token
    try:
        text = msgspec.json.encode(without_secrets(_decoded(token, name)))
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


def _quote(text: bytes) -> bytes:
    return b'"' + text.replace(b'"', b'""') + b'"'


class _Identified(msgspec.Struct):
    id: Raw = NULL


def _id_of(raw: bytes | Raw) -> bytes | Raw:
    """The id of a record that is otherwise unreadable; null when it has none."""
    try:
        return msgspec.json.decode(raw, type=_Identified).id
    except _UNREADABLE:
        return NULL


def _reject(page: Page, error: Exception, text: bytes | Raw, record_id: bytes | Raw) -> None:
    """Keep a record apart; what was listed is there, so its id counts as seen where it can be read."""
    shown = bytes(record_id)
    if _ID.fullmatch(shown) and -(2**63) <= int(shown) < 2**63:
        page.ids.append(int(shown))
    scalar = record_id != NULL and opening(record_id) not in (b"{", b"[")
    page.rejected.append(
        Rejected(scrub_text(shown[:NUMBER_LIMIT]) if scalar else None, _reason(error), scrub_text(bytes(text)))
    )


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "nested too deep"
    return str(error).removeprefix("JSON is malformed: ")[:500] or type(error).__name__
