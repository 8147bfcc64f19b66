"""What a complete mirror of a sandbox must hold, worked out from its books without a line of the client."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import set_json_loads

from counterfoil.domain.records import TABLES, Column, Kind
from counterfoil.sandbox.books import RESOURCES, Books

Row = dict[str, Any]

HISTORIES = {"orders": ("orders", "orders_history"), "positions": ("positions", "positions_history")}
VOLUMES = {"positions": "volume_current", "deals": "volume"}
OURS = "cf-"


def truth(books: Books, table: str) -> dict[int, Row]:
    """The rows that the mirror's table must hold, by id, without bookkeeping."""
    symbols = {row["id"]: row["symbol"] for row in _sent(books, "symbols")}
    rows = [row for name in HISTORIES.get(table, (table,)) for row in _sent(books, name)]
    build = _transaction if table == "transactions" else _record
    return {row["id"]: build(table, row, symbols) for row in rows}


def _sent(books: Books, resource: str) -> Iterator[Row]:
    return (json.loads(row, parse_float=Decimal) for row in books.rows(resource))


def _record(table: str, sent: Row, symbols: dict[int, str]) -> Row:
    columns = TABLES[table].columns
    row = {column.name: _value(column, sent.get(column.wire)) for column in columns if column.wire}
    known = {column.wire for column in columns} | {"id", "symbol", "volume_base"}
    row["extra"] = {name: value for name, value in sent.items() if name not in known} or None
    if table in ("orders", "positions", "deals"):
        row["symbol"] = symbols.get(sent["symbol_id"])
    if table in VOLUMES:
        row["volume_base"] = Decimal(sent[VOLUMES[table]]) * sent["contract_size"]
    return row


def _transaction(_table: str, sent: Row, _symbols: dict[int, str]) -> Row:
    ours = sent["comment"] if sent["comment"].startswith(OURS) else None
    kept = ("id", "account_id", "side", "direction", "amount", "currency", "comment", "created_at", "updated_at")
    return {
        **{name: sent[name] for name in ("account_id", "side", "direction", "currency", "comment")},
        "amount": Decimal(sent["amount"]) * (-1 if sent["direction"] else 1),
        "reference": ours,
        "origin": "counterfoil" if ours else "platform",
        "created_at": moment(sent["created_at"]),
        "updated_at": moment(sent["updated_at"]),
        "extra": {name: value for name, value in sent.items() if name not in kept},
    }


def _value(column: Column, sent: Any) -> Any:
    if sent is None:
        return None
    match column.kind:
        case Kind.NUMBER:
            return Decimal(sent)
        case Kind.TIMESTAMP:
            return moment(sent)
        case Kind.DATE:
            return date.fromisoformat(sent[:10]) if sent else None
    return sent


def moment(text: str) -> datetime:
    """A time as sent, cut to microseconds."""
    whole, _, fraction = text.removesuffix("Z").partition(".")
    return datetime.fromisoformat(whole).replace(microsecond=int(fraction[:6].ljust(6, "0")), tzinfo=UTC)


def mirrored(url: str, table: str, platform: str = "live") -> dict[int, Row]:
    """The rows of a mirror's table that are not deleted, by id, without bookkeeping."""
    names = ", ".join(f'"{name}"' for name in ("id", *TABLES[table].column_names, "extra"))
    statement = f"SELECT {names} FROM mirror.{table} WHERE platform = %s AND deleted_at IS NULL"
    with psycopg.connect(url, row_factory=dict_row, options="-c timezone=UTC") as connection:
        set_json_loads(lambda text: json.loads(text, parse_float=Decimal), connection)
        return {row.pop("id"): row for row in connection.execute(statement, (platform,))}


def differences(url: str, books: Books, *tables: str) -> list[str]:
    """Where the mirror is not what the books say, in words; empty when it is exact. No tables named: all."""
    wrong = []
    for table in tables or (name for name in TABLES if name in RESOURCES):
        true, held = truth(books, table), mirrored(url, table)
        wrong += [f"{table} {key} is missing" for key in sorted(true.keys() - held.keys())]
        wrong += [f"{table} {key} is not in the books" for key in sorted(held.keys() - true.keys())]
        for key in sorted(true.keys() & held.keys()):
            wrong += [
                f"{table} {key}.{name} is {held[key][name]!r}, not {value!r}"
                for name, value in true[key].items()
                if held[key][name] != value
            ]
    return wrong
