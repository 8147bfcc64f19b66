"""JSON records into lines for COPY, without a number ever passing through a binary float.

A page whose records all hold the same ordinary fields is read by a pattern (platforms.patterns). Any other is decoded twice: into
the types that its records must have, whose values are thrown away, and into what is written again as JSON, numbers as the text that
they are (platforms.lines). A page in which anything is out of the ordinary (an unknown field, an escape, a bad record) is read
again, record by record, with the same decoders.
"""

import re
import secrets
from array import array
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from operator import attrgetter
from typing import Any

import msgspec
import xxhash
from msgspec import Raw

from counterfoil.domain.page import ByMark, Page, Rejected
from counterfoil.domain.records import Kind
from counterfoil.platforms import lines
from counterfoil.platforms.lines import MICROSECONDS, NUMBER_LIMIT, covered, cut, decoded, scrubbed
from counterfoil.platforms.patterns import Rows, pattern_of
from counterfoil.platforms.scrubbing import SECRET_NAME, exact, scrub_text
from counterfoil.platforms.shapes import BARE, NULL, SINGLE, TIMES, UNREADABLE, Wrapping, shape_of

Record = dict[str, Raw]
# Turns one record into the records it stands for, with the wire names of the table; used where the shapes differ.
Reshape = Callable[[Record], Iterable[Record]]

# No list of ours comes near; each record and each value costs memory many times its length on the wire.
ROW_LIMIT = 100_000
VALUE_LIMIT = 2_000_000
# Bytes of the shortest record that tells its id, with the comma behind it.
SHORTEST = len(b'{"id":1},')

_ID = re.compile(rb"-?\d{1,19}")

# Of a record as sent. Nobody who writes a part of one can know how to make two of them look the same.
_mark = partial(xxhash.xxh3_64_intdigest, seed=secrets.randbits(64))
_NAMES = msgspec.json.Decoder(Record)


class RowFormat:
    """How the records of one mirror table look on the wire; `columns` names what its lines hold, in order."""

    def __init__(self, table: str, *, reshape: Reshape | None = None) -> None:
        self._table = table
        self._shape = shape_of(table)
        self._reshape = reshape
        self.columns = self._shape.columns
        # A record that becomes another, or several, says by itself what it is no more.
        self.has_marks = reshape is None

    def read(self, records: bytes | Raw, digest: bytes = b"") -> Page:
        """The page that a JSON array of records is.

        Raises:
            msgspec.DecodeError: it is not a JSON array, or far too long.
            RecursionError: it is nested too deep.
        """
        text = bytes(records)
        page = self.plain(text, BARE, digest)
        if page is not None:
            return page
        if _holds_too_much(text):
            raise msgspec.DecodeError(f"more than {VALUE_LIMIT} values")
        page = Page(columns=self.columns, digest=digest)
        self._read_carefully(text, page)
        return page

    def plain(self, text: bytes, wrapping: Wrapping, digest: bytes = b"") -> Page | None:
        """The page that an answer is, when nothing in it is out of the ordinary; None when it is to be read with care."""
        if self._reshape is not None or b"\\" in text or is_too_much(text):
            return None
        rows = self._matched(text, wrapping) or self._decoded(text, wrapping)
        if rows is None:
            return None
        return Page(
            columns=self.columns,
            rows=len(rows.ids),
            ids=rows.ids,
            lines=rows.lines,
            line_ids=rows.ids,
            times=rows.times,
            symbol_ids=rows.symbol_ids,
            digest=digest,
        )

    def _matched(self, text: bytes, wrapping: Wrapping) -> Rows | None:
        """Of records that all hold the same fields in the same order."""
        begin, end = text.find(b"[{") + 1, text.rfind(b"}]") + 1
        pattern = pattern_of(self._table, _names_of_first(text, begin)) if 0 < begin < end else None
        if pattern is None or not (_is_utf8(text) and wrapping.holds(text[:begin], text[end:])):
            return None
        return pattern.read(text, end)

    def _decoded(self, text: bytes, wrapping: Wrapping) -> Rows | None:
        """Of records that each hold what they like of the fields that the table knows."""
        shape, (check, keep) = self._shape, self._shape.decoders(wrapping)
        try:
            check(text)
            rows = wrapping.within(keep(text))
            if rows is None:
                return None
            lines.settle(shape, rows)
            return Rows(
                ids=[row.id for row in rows],
                lines=lines.split(lines.encoded(shape, rows)),
                times=list(map(attrgetter(shape.created), rows)) if shape.created else [None] * len(rows),
                symbol_ids=list(map(attrgetter(shape.symbol), rows)) if shape.symbol else [],
            )
        except UNREADABLE:
            return None

    def sift(self, records: list[Raw], digest: bytes, known: ByMark) -> Page:
        """The page of these records with their marks, of which only those are read that are not known, see base.Query.

        Raises as `read` does.
        """
        if len(records) > ROW_LIMIT:
            return self.read(_array(records), digest)
        marks = array("Q", map(_mark, records))
        before = known(*sorted(_number_of(records[at]) for at in (0, -1))) if records else {}
        fresh = [at for at, mark in enumerate(marks) if mark not in before]
        whole = partial(self._read_marked, records, marks, digest)
        if 2 * len(fresh) > len(records):
            return whole()
        page = self.read(_array(records[at] for at in fresh), digest)
        if len(page.line_ids) < len(fresh):
            return whole()
        ids = [before.get(mark, 0) for mark in marks]
        for at, row in zip(fresh, page.line_ids, strict=True):
            ids[at] = row
        return replace(page, rows=len(records), ids=ids, marks=marks, whole=whole)

    def _read_marked(self, records: list[Raw], marks: "array[int]", digest: bytes) -> Page:
        page = self.read(_array(records), digest)
        return replace(page, marks=marks) if len(page.line_ids) == len(marks) else page

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
        except UNREADABLE as error:
            _reject(page, error, raw, _id_of(raw))

    def _read_part(self, part: Record, raw: Raw | None, page: Page) -> None:
        """One row. `raw`: the record's own text; None when the part is only a piece of it."""
        try:
            row = self._row(part, raw if self._reshape is None else None)
            line = lines.line(self._shape, row)
        except UNREADABLE as error:
            _reject(page, error, raw or msgspec.json.encode(part), part.get("id", NULL))
            return
        page.ids.append(row.id)
        page.line_ids.append(row.id)
        if self._shape.symbol:
            page.symbol_ids.append(getattr(row, self._shape.symbol))
        page.times.append(getattr(row, self._shape.created) if self._shape.created else None)
        page.lines.append(line)

    def _row(self, part: Record, raw: Raw | None) -> Any:
        shape, (check, keep) = self._shape, self._shape.decoders(SINGLE)
        whole = part.keys() <= shape.names
        known = part if whole else {name: value for name, value in part.items() if name in shape.names}
        mended = [_unescape(known, wire) for kind in TIMES for _, wire in shape.attributes[kind]]
        # The record's own text will do where nothing of it was left out or mended.
        encoded = bytes(raw) if raw is not None and whole and not any(mended) else msgspec.json.encode(known)
        try:
            check(encoded)
        except UnicodeDecodeError as error:
            raise ValueError(f"not UTF-8 - at `$.{_culprit(known)}`") from error
        row = keep(encoded)
        lines.settle(shape, [row])
        if b"\\" in encoded:
            for attribute, wire in shape.attributes[Kind.TEXT]:
                if (text := getattr(row, attribute)) is not None:
                    setattr(row, attribute, _text(text, wire))
        if not whole:
            row.extra = _extra({name: part[name] for name in part.keys() - shape.names})
        return row


def _names_of_first(text: bytes, begin: int) -> tuple[str, ...]:
    """The fields of the record that begins there; none where they cannot be told at a glance."""
    end = text.find(b"},{", begin)
    try:
        return tuple(_NAMES.decode(text[begin : (text.rfind(b"}]") if end < 0 else end) + 1]))
    except UNREADABLE:
        return ()


def _is_utf8(text: bytes) -> bool:
    try:
        return text.isascii() or bool(text.decode())
    except UnicodeDecodeError:
        return False


def _array(records: Iterable[Raw]) -> bytes:
    return b"[%b]" % b",".join(records)


def is_too_much(text: bytes) -> bool:
    """Whether an answer stands for so many records or values that it is not even to be decoded."""
    return _holds_too_much(text) or _is_too_long(text)


def _holds_too_much(text: bytes) -> bool:
    return len(text) > VALUE_LIMIT and text.count(b",") > VALUE_LIMIT


def _is_too_long(text: bytes) -> bool:
    return len(text) >= ROW_LIMIT * SHORTEST and text.count(b"{") > ROW_LIMIT


def opening(token: bytes | Raw) -> bytes:
    """The first byte of a JSON value, which tells its type."""
    return bytes(memoryview(token)[:1])


def _unescape(known: Record, wire: str) -> bool:
    """Mend a time in place: none holds a character that needs an escape, and decoders round what is finer than microseconds."""
    token = known.get(wire, NULL)
    if opening(token) != b'"' or (len(token) <= MICROSECONDS + 2 and b"\\" not in bytes(token)):
        return False
    known[wire] = Raw(msgspec.json.encode(cut(decoded(token, wire))))
    return True


def _culprit(known: Record) -> str:
    for name, token in known.items():
        try:
            exact(token)
        except UnicodeDecodeError:
            return name
    return ""


def _text(text: str, wire: str) -> Raw:
    if "\0" in text:
        raise ValueError(f"a character that no text may hold - at `$.{wire}`")
    return covered(text.encode())


def _extra(unknown: Record) -> Raw:
    kept = {name: value for name, value in unknown.items() if value != NULL and not SECRET_NAME.search(name)}
    if not kept:
        return NULL
    return covered(msgspec.json.encode({name: Raw(scrubbed(bytes(kept[name]), name)) for name in sorted(kept)}))


class _Identified(msgspec.Struct):
    id: Raw = NULL


def _id_of(raw: bytes | Raw) -> bytes | Raw:
    """The id of a record that is otherwise unreadable; null when it has none."""
    try:
        return msgspec.json.decode(raw, type=_Identified).id
    except UNREADABLE:
        return NULL


def _number_of(raw: Raw) -> int:
    """The id of a record; 0 where it is none, of which nothing is known."""
    found = bytes(_id_of(raw))
    return int(found) if _ID.fullmatch(found) else 0


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
