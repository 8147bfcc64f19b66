"""Values of cTrader's records as text tokens, and rows of them as lines for COPY: numbers keep the digits that were sent.

A record is a mapping from the platform's names to the texts of its values, None for null and for an empty cell of CSV. What a
table's reader makes of it is a mapping from columns to such texts; here they are checked against the columns' kinds.
"""

import csv
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Final

import msgspec
from msgspec import Raw

from counterfoil.domain.line import NULL, SEPARATOR, escaped
from counterfoil.domain.page import Page, Rejected
from counterfoil.domain.records import TABLES, Kind
from counterfoil.platforms.scrubbing import SECRET_NAME, exact, scrub_text, without_secrets

Texts = Mapping[str, str | None]
Record = dict[str, Raw]

_INTEGER: Final = re.compile(r"-?[0-9]{1,19}\Z")
_NUMBER: Final = re.compile(r"-?[0-9]{1,50}(?:\.[0-9]{1,50})?(?:[eE][+-]?[0-9]{1,3})?\Z")
_STAMP: Final = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.[0-9]{1,6})?)[0-9]*(Z?)\Z")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)

Row = tuple[int, dict[str, str | None], Texts]
"""An id, the columns, and what has none."""
Reading = Callable[[Texts], Row]
"""Makes a row of a record; ValueError says what is wrong with it."""

UNREADABLE: Final = "\0"
"""In a record of which a part cannot be read: under this name stands what is wrong with it."""
# By which name a record of a table tells its id.
_ID_NAMES: Final = {"accounts": "login", "deals": "dealId", "positions": "positionId"}


def whole(record: Texts, name: str) -> int | None:
    """A whole number of a record."""
    text = record.get(name)
    if text is None:
        return None
    if not _INTEGER.match(text) or not -(2**63) <= (found := int(text)) < 2**63:
        raise ValueError(f"not a whole number - at `{name}`")
    return found


def required(record: Texts, name: str) -> int:
    """A whole number without which a record is none."""
    found = whole(record, name)
    if found is None:
        raise ValueError(f"missing - at `{name}`")
    return found


def scaled(record: Texts, name: str, digits: int | None) -> str | None:
    """Money as the platform scales it, written with its point: 1234512 with 2 digits is 12345.12."""
    value = whole(record, name)
    if value is None:
        return None
    if digits is None or not 0 <= digits <= 18:
        raise ValueError("money without its digits - at `moneyDigits`")
    return f"{Decimal(value).scaleb(-digits):f}"


def from_milliseconds(record: Texts, name: str) -> str | None:
    """A time given in milliseconds since 1970."""
    value = whole(record, name)
    if value is None:
        return None
    try:
        return (_EPOCH + value * _MILLISECOND).isoformat(timespec="milliseconds")
    except OverflowError:
        raise ValueError(f"no time of this calendar - at `{name}`") from None


def stamp(record: Texts, name: str) -> str | None:
    """A time given as text without a zone, which is UTC (reference, section 1.4); cut to microseconds."""
    text = record.get(name)
    if text is None:
        return None
    found = _STAMP.match(text)
    if found is None:
        raise ValueError(f"not a time - at `{name}`")
    return f"{found[1]}Z"


def moment(text: str | None) -> datetime | None:
    """What `stamp` gave, as a time."""
    return None if text is None else datetime.fromisoformat(text)


@dataclass(frozen=True, slots=True)
class Lines:
    """Writes rows of one table; `columns`: those that this platform fills."""

    table: str
    columns: tuple[str, ...]
    checks: tuple[tuple[str, Callable[[str, str], bytes]], ...]

    @classmethod
    def of(cls, table: str, names: Iterable[str]) -> "Lines":
        """For these columns, which the table must have."""
        columns = tuple(names)
        kinds = {column.name: column.kind for column in TABLES[table].columns}
        return cls(table, columns, tuple((name, _CHECKS.get(kinds[name], _text)) for name in columns))

    def page(self, records: Iterable[Texts], reading: Reading, digest: bytes = b"") -> Page:
        """The page that these records are; what cannot be read is kept apart."""
        page = Page(columns=("id", *self.columns, "extra"), digest=digest)
        for record in records:
            page.rows += 1
            try:
                row_id, values, rest = reading(_readable(record))
                line = self._line(row_id, values, rest)
            except ValueError as error:
                self._reject(page, record, error)
                continue
            page.ids.append(row_id)
            page.line_ids.append(row_id)
            page.lines.append(line)
        return page

    def _reject(self, page: Page, record: Texts, error: ValueError) -> None:
        """Keep a record apart; its id counts all the same, for what was listed is there."""
        name = _ID_NAMES.get(self.table, "id")
        told = record.get(name)
        try:
            page.ids += [] if (row_id := whole(record, name)) is None else [row_id]
        except ValueError:
            told = None
        reason = "not UTF-8" if isinstance(error, UnicodeError) else str(error)
        kept = {key: _visible(text) for key, text in record.items() if not _is_secret(key) and key != UNREADABLE}
        page.rejected.append(Rejected(told, reason, scrub_text(msgspec.json.encode(kept))))

    def _line(self, row_id: int, values: Texts, rest: Texts) -> bytes:
        tokens = [NULL if (text := values.get(name)) is None else check(text, name) for name, check in self.checks]
        return SEPARATOR.join([str(row_id).encode(), *tokens, _extra(rest)])


def _readable(record: Texts) -> Texts:
    if UNREADABLE in record:
        raise ValueError(record[UNREADABLE])
    return record


def _integer(text: str, name: str) -> bytes:
    whole({name: text}, name)
    return text.encode()


def _number(text: str, name: str) -> bytes:
    if not _NUMBER.match(text):
        raise ValueError(f"not a number - at `{name}`")
    return text.encode()


def _boolean(text: str, name: str) -> bytes:
    if text.lower() not in ("true", "false"):
        raise ValueError(f"neither true nor false - at `{name}`")
    return text.lower().encode()


def _text(text: str, name: str) -> bytes:
    if "\0" in text:
        raise ValueError(f"a character that no text may hold - at `{name}`")
    return escaped(text.encode())


_CHECKS: Final = {Kind.INTEGER: _integer, Kind.NUMBER: _number, Kind.BOOLEAN: _boolean}


@lru_cache(maxsize=1024)
def _is_secret(name: str) -> bool:
    return SECRET_NAME.search(name) is not None


def _extra(rest: Texts) -> bytes:
    kept = {name: text for name, text in rest.items() if text is not None and not _is_secret(name)}
    return escaped(msgspec.json.encode(dict(sorted(kept.items())))) if kept else NULL


def _visible(text: str | None) -> str | None:
    """Bytes that were no UTF-8 as escapes."""
    return text if text is None or text.isascii() else text.encode(errors="backslashreplace").decode()


def of_json(record: Record) -> dict[str, str | None]:
    """A JSON object as texts; objects and arrays stay JSON, without what is named like a secret. See UNREADABLE."""
    texts: dict[str, str | None] = {}
    for name, value in record.items():
        try:
            texts[name] = _text_of(value)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            texts[UNREADABLE] = f"not readable - at `{name}`"
    return texts


def _text_of(value: Raw) -> str | None:
    token = bytes(value)
    if token == b"null":
        return None
    if token[:1] == b'"':
        text: str = msgspec.json.decode(token)
        return text
    if token[:1] in b"{[":
        return msgspec.json.encode(without_secrets(exact(token))).decode()
    return token.decode()


def of_grid(text: str, needed: AbstractSet[str]) -> list[dict[str, str | None]]:
    """CSV with a header row, whatever the order of its columns; an empty cell is None. See UNREADABLE.

    Raises:
        ValueError: the first line is no header, for it lacks columns that are `needed`; the last row is cut off; or most rows
            do not fit the header.
    """
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [name.strip() for name in next(rows, [])]
        if len(set(header)) != len(header) or not all(header) or not needed <= set(header):
            raise ValueError("the first line names no columns")
        table = [cells for cells in rows if cells]
    except csv.Error as error:
        raise ValueError(f"not CSV: {error}") from error
    ragged = sum(len(cells) != len(header) for cells in table)
    if table and (len(table[-1]) != len(header) or ragged > len(table) / 2):
        raise ValueError(f"{ragged} rows do not fit the first line, which names {len(header)} columns")
    return [_named(header, cells) for cells in table]


def _named(header: Sequence[str], cells: Sequence[str]) -> dict[str, str | None]:
    if len(cells) != len(header):
        told = {} if any(map(_is_secret, header)) else {"cells": ",".join(cells)}
        return {**told, UNREADABLE: f"{len(cells)} cells where the first line names {len(header)} columns"}
    return {name: cell.strip() or None for name, cell in zip(header, cells, strict=True)}


def nested(record: Texts, name: str) -> dict[str, str | None]:
    """An object within a record; nothing where there is none.

    Raises:
        ValueError: it is something else.
    """
    text = record.get(name)
    if text is None:
        return {}
    try:
        return of_json(msgspec.json.decode(text, type=Record))
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ValueError(f"not an object - at `{name}`") from error
