"""Listings: paging and sorting (reference, section 3), the envelope, and the faults that bend them."""

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from counterfoil.sandbox import faults as f
from counterfoil.sandbox.tables import Table
from counterfoil.sandbox.text import ENCODER

_SORTABLE: Final = frozenset({"id", "created_at", "updated_at"})
_DEFAULT_LIMIT: Final = 100
_SECRETS: Final = ("user_password", "investor_password")
_HASH: Final = 2_654_435_761
_HASH_SPACE: Final = 1 << 32

_ROW = msgspec.json.Decoder(dict[str, msgspec.Raw])


class BadQueryError(ValueError):
    """A query that the platform refuses with 400."""


class Query(msgspec.Struct, frozen=True):
    """What a listing request asks. Page -1 means everything (seed's deals sample; INFER in the reference)."""

    page: int = 1
    limit: int = _DEFAULT_LIMIT
    sort_by: str = "id"
    descending: bool = False


class View(msgspec.Struct, frozen=True):
    """Rows to list: a table, and the ids of it that belong here (None: all)."""

    name: str
    table: Table[Any]
    ids: Sequence[int] | None = None

    def ordered(self, by: str) -> Sequence[int]:
        """The ids, ascending."""
        if self.ids is None:
            return self.table.ordered(by)
        return self.ids if by == "id" else self.table.sort(self.ids, by)


def parse(parameters: Mapping[str, str], page_limit: int) -> Query:
    """Read page, limit, sort_by and dir; a limit above the server's own is cut silently (ASSUMED)."""
    page = _integer(parameters.get("page", "1"), "page")
    limit = _integer(parameters.get("limit", str(_DEFAULT_LIMIT)), "limit")
    if page != -1 and page < 1:
        raise BadQueryError("page must be -1 or at least 1")
    if limit < 1:
        raise BadQueryError("limit must be at least 1")
    sort_by = parameters.get("sort_by", "id")
    if sort_by not in _SORTABLE:
        raise BadQueryError(f"cannot sort by {sort_by}")
    return Query(page, min(limit, page_limit), sort_by, parameters.get("dir", "asc").lower() == "desc")


def _integer(text: str, name: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise BadQueryError(f"{name} must be an integer") from None


def envelope(data: bytes, status: int = 200) -> bytes:
    """The success envelope around ready JSON (reference, section 3)."""
    return b'{"success":true,"code":%d,"data":%b,"error":"","message":""}' % (status, data)


def refusal(status: int, error: str, message: str, *, data: bytes = b"null") -> bytes:
    """The envelope of an error (reference, section 3)."""
    told = (status, data, ENCODER.encode(error), ENCODER.encode(message))
    return b'{"success":false,"code":%d,"data":%b,"error":%b,"message":%b}' % told


def page(view: View, query: Query, struck: f.Struck) -> bytes:
    """The `data` of one page, as the faults leave it."""
    query = _bend(query, struck)
    ids = _visible(view, view.ordered(query.sort_by), struck)
    if query.page == -1:
        start, stop = 0, len(ids)
    else:
        start, stop = _window(query, struck)
    chosen = _slice(ids, start, stop, descending=query.descending)
    rows = [view.table.json(key) for key in chosen]
    if struck.armed:
        rows = _distort(rows, view, (start, stop - start, len(ids)), struck)
    return _shape(rows, query, len(ids), struck)


def _bend(query: Query, struck: f.Struck) -> Query:
    if own := struck.get(f.IgnoreLimit):
        query = msgspec.structs.replace(query, limit=min(query.limit, own.limit))
    if struck.has(f.SamePage):
        query = msgspec.structs.replace(query, page=1)
    if struck.has(f.IgnoreSort):
        query = msgspec.structs.replace(query, sort_by="id", descending=True)
    return query


def _window(query: Query, struck: f.Struck) -> tuple[int, int]:
    stride = query.limit
    if overlap := struck.get(f.OverlapPage):
        stride = max(1, stride - overlap.rows)
    start = (query.page - 1) * stride
    stop = start + query.limit
    if cap := struck.get(f.Cap):
        stop = min(stop, cap.rows)
        start = min(start, stop)
    return start, stop


def _slice(ids: Sequence[int], start: int, stop: int, *, descending: bool) -> Sequence[int]:
    if not descending:
        return ids[start:stop]
    count = len(ids)
    return ids[max(0, count - stop) : max(0, count - start)][::-1]


def _visible(view: View, ids: Sequence[int], struck: f.Struck) -> Sequence[int]:
    if vanish := struck.get(f.Vanish):
        gone = vanishing(ids, vanish)
        ids = [key for key in ids if key not in gone]
    for armed in struck.armed:
        if isinstance(armed.fault, f.LateRows):
            hidden = _hidden(armed, armed.fault, view)
            ids = [key for key in ids if key not in hidden] if hidden else ids
    return ids


def _hidden(armed: f.Armed, fault: f.LateRows, view: View) -> set[int]:
    """The ids that a `late_rows` fault still hides from this listing."""
    requests = armed.memory.get(view.name, 0)
    armed.memory[view.name] = requests + 1
    chosen: set[int] = armed.memory.setdefault(f"{view.name} hidden", set(view.ordered("id")[-fault.rows - 1 : -1]))
    return chosen if requests <= fault.after else set()


def _distort(rows: list[bytes], view: View, window: tuple[int, int, int], struck: f.Struck) -> list[bytes]:
    if struck.has(f.EndlessPages):
        rows = rows + _invented(view, window, len(rows))
    if (short := struck.get(f.ShortPage)) is not None:
        rows = rows[: short.rows]
    if twice := struck.get(f.DuplicateRows):
        rows = rows[: twice.rows] + rows
    if view.name == "groups" and struck.has(f.NestedGroups):
        rows = _nested(rows)
    return mangle(rows, struck)


def _invented(view: View, window: tuple[int, int, int], present: int) -> list[bytes]:
    start, size, total = window
    last = view.ordered("id")[-1] if total else 0
    pattern = _ROW.decode(view.table.json(last)) if last else {}
    first = last + max(0, start - total) + 1
    keys = range(first, first + size - present)
    return [ENCODER.encode({**pattern, "id": key}) for key in keys]


def _nested(rows: list[bytes]) -> list[bytes]:
    """Only roots stay on top; children hang in their parent's `groups` (reference, section 5.3)."""
    groups = {group["id"]: group for group in map(msgspec.json.decode, rows)}
    for group in groups.values():
        if group["parent_id"] in groups:
            groups[group["parent_id"]]["groups"].append(group)
    return [ENCODER.encode(group) for group in groups.values() if group["parent_id"] not in groups]


def _shape(rows: list[bytes], query: Query, total: int, struck: f.Struck) -> bytes:
    if not rows:
        return b"null" if struck.has(f.NullEmpty) else b'"success"'
    body = b",".join(rows)
    if struck.has(f.BareList):
        return b"[%b]" % body
    told = (body, total, query.page, query.limit)
    return b'{"records":[%b],"total":%d,"page":%d,"limit":%d}' % told


# Faults of single rows

Fields = dict[str, msgspec.Raw]
"""A row's names and the raw text of its values."""


def mangle(rows: list[bytes], struck: f.Struck, secrets: Sequence[str] = _SECRETS) -> list[bytes]:
    """The rows of an answer as the row faults leave them, token by token. `secrets`: what passwords are called here."""
    if not any(isinstance(fault, f.RowFault) for fault in struck):
        return rows
    return [_written(fields) for fields in bend([_ROW.decode(row) for row in rows], struck, secrets)]


def bend(rows: list[Fields], struck: f.Struck, secrets: Sequence[str] = _SECRETS) -> list[Fields]:
    """The same for rows that are taken apart already."""
    changes = [_change(fault, secrets) for fault in struck if isinstance(fault, f.RowFault)]
    bent = []
    for place, row in enumerate(rows):
        fields = row
        for change in changes:
            fields = change(place, fields)
        bent.append(fields)
    return bent


def vanishing(keys: Iterable[int], fault: f.Vanish) -> set[int]:
    """Which ids a `vanish` fault takes away."""
    bound = fault.fraction * _HASH_SPACE
    return {key for key in keys if key * _HASH % _HASH_SPACE < bound}


def _change(fault: f.RowFault, secrets: Sequence[str]) -> Callable[[int, Fields], Fields]:
    if isinstance(fault, f.ShuffleFields):
        return _shuffled
    if isinstance(fault, f.ExtraField):
        added = {fault.name: msgspec.Raw(fault.value.encode())}
        return lambda _place, fields: {**fields, **added}
    if isinstance(fault, f.PasswordLeak):
        leak = {name: msgspec.Raw(b'"leaked-secret"') for name in secrets}
        return lambda _place, fields: {**fields, **leak}
    if isinstance(fault, f.MalformedRecord):
        return _malformed(fault)
    if isinstance(fault, f.AnswerWithoutId):
        return _malformed(f.MalformedRecord(field="id", value=None))
    raise TypeError(f"{type(fault).__name__} changes no rows")


def _shuffled(place: int, fields: Fields) -> Fields:
    names = list(fields)
    random.Random(place + 1).shuffle(names)
    return {name: fields[name] for name in names}


def _malformed(fault: f.MalformedRecord) -> Callable[[int, Fields], Fields]:
    def change(place: int, fields: Fields) -> Fields:
        if place != fault.row:
            return fields
        if fault.value is None:
            return {name: value for name, value in fields.items() if name != fault.field}
        return {**fields, fault.field: msgspec.Raw(fault.value.encode())}

    return change


def _written(fields: Fields) -> bytes:
    """Joined by hand, for the values need not be JSON any more."""
    return b"{%b}" % b",".join(b"%b:%b" % (ENCODER.encode(name), bytes(value)) for name, value in fields.items())
