"""JSON records into lines for COPY, without a number ever passing through a binary float.

A record is decoded twice by the same fast decoder: once into the types it must have, whose values are thrown away, and
once into the raw JSON tokens, which go to PostgreSQL as they stand: a JSON number is a valid `numeric` literal, a JSON
string without escapes is a valid quoted CSV field, and the bare word null is the NULL marker of our COPY. A page in which
anything is out of the ordinary (an unknown field, an escape, a nested object, a bad record) is read again, record by
record, with the same decoders.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw

from counterfoil.domain.page import Page, Rejected
from counterfoil.domain.records import TABLES, Column, Kind

Record = dict[str, Raw]
# Turns one record into the records it stands for, with the wire names of the table; used where the shapes differ.
Reshape = Callable[[Record], Iterable[Record]]

NULL = Raw(b"null")
BODY_LIMIT = 65_536
# A token longer than this is no number of anybody's books; PostgreSQL would take 131,072 digits.
NUMBER_LIMIT = 100
SECRET_NAME = re.compile(r"passw|pwd|secret|token|api_?key", re.IGNORECASE)
_SECRET_FIELD = re.compile(
    r'("[^"]*(?:passw|pwd|secret|token|api_?key)[^"]*"\s*:\s*)("(?:[^"\\]|\\.)*"?|[^,}\]]*)', re.IGNORECASE
)
_FRACTION = re.compile(rb"(\.\d{6})\d+")
_MICROSECONDS = len(b'"2025-01-01T00:00:00.000000Z"')

_Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
# Only asked "is this a number that JSON and PostgreSQL both understand?"; the value itself is never used.
_Number = float
_TYPES: Mapping[Kind, Any] = {
    Kind.INTEGER: _Int64 | None,
    Kind.NUMBER: _Number | None,
    Kind.TEXT: str | None,
    Kind.BOOLEAN: bool | None,
    Kind.TIMESTAMP: Annotated[datetime, Meta(tz=True)] | None,
    Kind.DATE: Annotated[str, Meta(pattern=r"^(\d{4}-\d{2}-\d{2}([T ].*)?)?$")] | None,
    Kind.JSON: Any,
}


class RowFormat:
    """How the records of one mirror table look on the wire; `columns` names what its lines hold, in order."""

    def __init__(self, table: str, *, reshape: Reshape | None = None) -> None:
        fields = tuple(column for column in TABLES[table].columns if column.wire)
        self.columns = ("id", *(column.name for column in fields), "extra")
        self._fields = fields
        self._names = frozenset({"id", *(column.wire for column in fields)})
        self._reshape = reshape
        self._numbers = _positions(fields, Kind.NUMBER)
        self._times = _positions(fields, Kind.TIMESTAMP)
        self._dates = _positions(fields, Kind.DATE)
        self._json = _positions(fields, Kind.JSON)
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
        self._page_types: msgspec.json.Decoder[list[Any]] = msgspec.json.Decoder(list[types])  # type: ignore[valid-type]
        self._page_tokens = msgspec.json.Decoder(list[tokens])  # type: ignore[valid-type]
        self._types: msgspec.json.Decoder[Any] = msgspec.json.Decoder(types)
        self._tokens = msgspec.json.Decoder(tokens)
        created = next((n for n, (wire, _) in enumerate(wires) if wire == "created_at"), None)
        self._created = None if created is None else created + 1

    def read(self, records: bytes | Raw, digest: bytes = b"") -> Page:
        """The page that a JSON array of records is.

        Raises:
            msgspec.DecodeError: it is not a JSON array.
        """
        page = Page(columns=self.columns, digest=digest)
        if self._reshape is not None or b"\\" in bytes(records) or not self._read_plain(records, page):
            self._read_carefully(records, page)
        return page

    def _read_plain(self, records: bytes | Raw, page: Page) -> bool:
        try:
            typed = self._page_types.decode(records)
        except msgspec.ValidationError:
            return False
        rows = [list(msgspec.structs.astuple(row)) for row in self._page_tokens.decode(records)]
        if not all(map(self._settle, rows)):
            return False
        page.rows = len(rows)
        page.ids = [row.id for row in typed]
        page.line_ids = page.ids
        page.lines = [b",".join([*row, NULL]) for row in rows]
        page.times = [self._created_at(row) for row in rows]
        return True

    def _settle(self, row: list[bytes | Raw]) -> bool:
        """Bring the tokens of one row into COPY's form in place; False when the row needs the careful way."""
        for at in self._times:
            if len(row[at]) > _MICROSECONDS:
                row[at] = _FRACTION.sub(rb"\1", bytes(row[at]))
        for at in self._numbers:
            if len(row[at]) > NUMBER_LIMIT:
                return False
        for at in self._dates:
            row[at] = _day(bytes(row[at]))
        return all(row[at] == NULL for at in self._json)

    def _read_carefully(self, records: bytes | Raw, page: Page) -> None:
        raws = msgspec.json.decode(records, type=list[Raw])
        page.rows = len(raws)
        for raw in raws:
            self._read_record(raw, page)

    def _read_record(self, raw: Raw, page: Page) -> None:
        try:
            record = msgspec.json.decode(raw, type=Record)
            for part in self._reshape(record) if self._reshape else (record,):
                self._read_part(part, page)
        except (msgspec.DecodeError, ValueError, RecursionError, UnicodeDecodeError) as error:
            record_id = read_id(raw)
            if record_id is not None and record_id.lstrip("-").isdigit() and abs(int(record_id)) < 2**63:
                page.ids.append(int(record_id))
            page.rejected.append(Rejected(record_id, _reason(error), scrub_text(bytes(raw))))

    def _read_part(self, record: Record, page: Page) -> None:
        extra = {name: value for name, value in record.items() if name not in self._names and value != NULL}
        known = msgspec.json.encode({name: value for name, value in record.items() if name in self._names})
        typed = self._types.decode(known)
        row: list[bytes | Raw] = list(msgspec.structs.astuple(self._tokens.decode(known)))
        self._settle(row)
        for at, column in enumerate(self._fields, 1):
            row[at] = _field(column, row[at])
        line = b",".join([*row, _quote(_scrub(extra)) if extra else NULL])
        page.ids.append(typed.id)
        page.line_ids.append(typed.id)
        page.times.append(self._created_at(row))
        page.lines.append(line)

    def _created_at(self, row: list[bytes | Raw]) -> str | None:
        if self._created is None or row[self._created] == NULL:
            return None
        return bytes(row[self._created]).decode().strip('"')


def opening(token: bytes | Raw) -> bytes:
    """The first byte of a JSON value, which tells its type."""
    return bytes(memoryview(token)[:1])


def _positions(fields: tuple[Column, ...], kind: Kind) -> tuple[int, ...]:
    return tuple(at for at, column in enumerate(fields, 1) if column.kind is kind)


def _rename(wires: list[tuple[str, Kind]]) -> dict[str, str]:
    return {f"f{n}": wire for n, (wire, _) in enumerate(wires)}


def _day(token: bytes) -> bytes:
    """A date, or a time of which only the day counts; the empty text is how some servers say that there is none."""
    if token == b'""':
        return b"null"
    return token if len(token) <= len(b'"2025-01-01"') else token[:11] + b'"'


def _field(column: Column, token: bytes | Raw) -> bytes | Raw:
    if token == NULL:
        return token
    if column.kind is Kind.JSON:
        return _quote(_scrub(_exact(token)))
    if column.kind is Kind.NUMBER and len(token) > NUMBER_LIMIT:
        raise ValueError(f"a number of {len(token)} characters - at `$.{column.wire}`")
    if column.kind is Kind.TEXT and b"\\" in bytes(token):
        text: str = msgspec.json.decode(token)
        if "\0" in text:
            raise ValueError(f"a NUL character - at `$.{column.wire}`")
        return _quote(text.encode())
    return token


def _quote(text: bytes) -> bytes:
    return b'"' + text.replace(b'"', b'""') + b'"'


_exact = msgspec.json.Decoder(float_hook=lambda text: Raw(text.encode())).decode


def _scrub(value: Any) -> bytes:
    """JSON without anything that is named like a secret, every number as it was sent."""
    return msgspec.json.encode(_without_secrets(value))


def _without_secrets(value: Any) -> Any:
    if isinstance(value, Raw):
        return _without_secrets(_exact(value)) if opening(value) in (b"{", b"[") else value
    if isinstance(value, dict):
        return {name: _without_secrets(part) for name, part in value.items() if not SECRET_NAME.search(name)}
    if isinstance(value, list):
        return [_without_secrets(part) for part in value]
    return value


def scrub_text(body: bytes) -> str:
    """A record's text for a person to read: secrets removed, NULs made visible, cut to 64 KiB."""
    text = body[:BODY_LIMIT].decode(errors="backslashreplace").replace("\0", "\\0")
    return _SECRET_FIELD.sub(r'\1"removed"', text)


def read_id(raw: bytes | Raw) -> str | None:
    """The id of a record that is otherwise unreadable, as text; None when it has none."""
    try:
        record_id = msgspec.json.decode(raw, type=Record).get("id")
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return None
    return None if record_id is None else scrub_text(bytes(record_id)[:100])


def _reason(error: Exception) -> str:
    return str(error).removeprefix("JSON is malformed: ")[:500] or type(error).__name__
