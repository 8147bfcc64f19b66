"""What the mirror holds: one table per resource, one column per documented field.

The column lists are text blocks, one column a line: `name[=wire name]  kind  meaning`. The wire name stands only where the
platform misspells it. A meaning says the unit, and after `null:` what null means; where it does not, null means that the
platform did not send the field.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

from counterfoil.domain import records_ctrader, records_market, records_people, records_trading

NOT_SENT = "null: not sent by the platform"


class Kind(StrEnum):
    """What a column holds; the wire formats and the SQL types follow from it."""

    INTEGER = "integer"
    NUMBER = "number"
    TEXT = "text"
    BOOLEAN = "boolean"
    TIMESTAMP = "timestamp"
    DATE = "date"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a mirror table.

    `wire` is the platform's spelling of the field; None for a column that no field fills directly.
    """

    name: str
    kind: Kind
    comment: str
    wire: str | None


@dataclass(frozen=True, slots=True)
class Table:
    """One table of schema `mirror`; the key (platform, id) and the bookkeeping columns are common to all."""

    name: str
    comment: str
    columns: tuple[Column, ...]
    indexes: tuple[str, ...]

    @property
    def column_names(self) -> tuple[str, ...]:
        """The names in the order of the table, without key and bookkeeping."""
        return tuple(column.name for column in self.columns)


def _columns(block: str) -> Iterator[Column]:
    for line in filter(None, map(str.strip, block.splitlines())):
        name, kind, meaning = line.split(maxsplit=2)
        name, _, wire = name.partition("=")
        comment = meaning if "null:" in meaning else f"{meaning}; {NOT_SENT}"
        yield Column(name, Kind(kind), comment, wire or name)


def _computed(block: str) -> Iterator[Column]:
    for column in _columns(block):
        yield Column(column.name, column.kind, column.comment, None)


def _table(name: str, comment: str, block: str, *, computed: str = "", ctrader: str = "", indexes: str = "") -> Table:
    """`ctrader`: columns that no field of OMTrader fills."""
    columns = (*_columns(block), *_computed(computed + ctrader))
    return Table(name, comment, columns, tuple(indexes.split()))


TABLES: Mapping[str, Table] = MappingProxyType(
    {
        spec["name"]: _table(**spec)
        for spec in (
            *records_people.TABLES,
            *records_market.TABLES,
            *records_trading.TABLES,
            *records_ctrader.TABLES,
        )
    }
)
