"""What the records of each table must be to be read, and what is kept of them: types for the decoder."""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache, partial
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw

from counterfoil.domain.records import TABLES, Kind
from counterfoil.platforms.products import PRODUCTS

Decode = Callable[[bytes], Any]

NULL = Raw(b"null")
# Attributes that no field of a record fills.
COMPUTED, _EXTRA = "computed", "extra"
# A field that is null unless expanded; the column of that name is found elsewhere.
_EMBEDDED = "symbol"

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
# Of columns of such texts.
TIMES: Mapping[Kind, Any] = {kind: list[_TYPES[kind]] for kind in (Kind.TIMESTAMP, Kind.DATE)}  # type: ignore[valid-type]
# What a value is kept as until it is part of a line, and what stands for one that was not sent: numbers as the text that they are.
_KEPT: Mapping[Kind, tuple[Any, Any]] = {
    Kind.INTEGER: (_Int64 | None, None),
    Kind.NUMBER: (Raw, NULL),
    Kind.TEXT: (str | None, None),
    Kind.BOOLEAN: (bool | None, None),
    Kind.TIMESTAMP: (str | None, None),
    Kind.DATE: (str | None, None),
    Kind.JSON: (Raw, NULL),
}


@dataclass(frozen=True, slots=True)
class Wrapping:
    """What stands around the records in an answer.

    `around`: the type of an answer whose records are of a type. `within`: the records of such an answer, None where it holds none.
    """

    around: Callable[[Any], Any]
    within: Callable[[Any], list[Any] | None]

    def texts(self, answer: bytes) -> list[Raw] | None:
        """The records of an answer, each as it was sent; None where it holds none."""
        try:
            return self.within(_texts(self)(answer))
        except UNREADABLE:
            return None

    def holds(self, before: bytes, after: bytes) -> bool:
        """Whether records that stand between these two are those of the answer."""
        return list(map(bytes, self.texts(before + _STANDS_IN + after) or ())) == [_STANDS_IN]


# What may be wrong with a record; anything else is a bug of ours.
UNREADABLE = (msgspec.MsgspecError, ValueError, RecursionError)
# In the place of records. Whoever wrote the answer cannot know it, and have a list of it elsewhere.
_STANDS_IN = str(secrets.randbits(64)).encode()


@cache
def _texts(wrapping: Wrapping) -> Decode:
    return msgspec.json.Decoder(wrapping.around(Raw)).decode


BARE = Wrapping(lambda record: list[record], lambda answer: answer)  # type: ignore[valid-type]
SINGLE = Wrapping(lambda record: record, lambda answer: [answer])


@dataclass(frozen=True, slots=True)
class Shape:
    """What the records of a table look like.

    `columns`: what a line holds, in order. `names`: the fields that a column is filled with. `checked`: the type that a record
    must be of. `kept`: the type whose values become a line. `attributes`: of `kept`, by kind, with the wire name of each;
    `created`, `factors` and `symbol` are some of them.
    """

    columns: tuple[str, ...]
    names: frozenset[str]
    attributes: Mapping[Kind, tuple[tuple[str, str], ...]]
    created: str | None
    factors: tuple[str, str] | None
    symbol: str | None
    checked: Any
    kept: Any
    _decoders: dict[Wrapping, tuple[Decode, Decode]] = field(default_factory=dict)

    def decoders(self, wrapping: Wrapping) -> tuple[Decode, Decode]:
        """Of what an answer must be, and of what is kept of it."""
        if wrapping not in self._decoders:
            checked, kept = (msgspec.json.Decoder(wrapping.around(kind)).decode for kind in (self.checked, self.kept))
            self._decoders[wrapping] = checked, kept
        return self._decoders[wrapping]


@cache
def shape_of(table: str) -> Shape:
    """The shape of a table's records."""
    fields = tuple(column for column in TABLES[table].columns if column.wire)
    attributes = {column.name: f"f{n}" for n, column in enumerate(fields)}
    wires = {attributes[column.name]: column.wire or "" for column in fields}
    computed, *factors = PRODUCTS.get(table) or (None,)
    by_kind = {
        kind: tuple((attributes[column.name], column.wire or "") for column in fields if column.kind is kind)
        for kind in Kind
    }
    # What else was sent is refused, but for a null where an object may be.
    embedded = any(column.name == _EMBEDDED and not column.wire for column in TABLES[table].columns)
    made = partial(
        msgspec.defstruct,
        rename={**wires, _EXTRA: _EMBEDDED} if embedded else wires,
        forbid_unknown_fields=True,
        gc=False,
    )
    empty = [(name, None, None) for name in (*([COMPUTED] if computed else []), _EXTRA)]
    checked = [(attributes[column.name], _TYPES[column.kind], None) for column in fields]
    kept = [(attributes[column.name], *_KEPT[column.kind]) for column in fields]
    return Shape(
        columns=("id", *attributes, *([computed] if computed else []), "extra"),
        names=frozenset({"id", *wires.values()}),
        attributes=by_kind,
        created=attributes.get("created_at"),
        factors=(attributes[factors[0]], attributes[factors[1]]) if factors else None,
        symbol=attributes["symbol_id"] if table in PRODUCTS else None,
        checked=made("Checked", [("id", _Int64), *checked, *empty]),
        kept=made("Kept", [("id", _Int64), *kept, *empty]),
    )
