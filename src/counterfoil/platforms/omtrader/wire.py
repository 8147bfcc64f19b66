"""Where OMTrader's lists are, and how their records differ from the mirror's tables (reference, sections 4 and 5).

Assumptions about what is not documented stand here and nowhere else:

- the lists that show no query in the reference take page, limit, sort_by and dir like the histories do;
- a row of a group's symbols has its own id and a symbol_id; without symbol_id its id is the symbol's, and the row is known
  by group and symbol together;
- a row of an account's transactions looks like a deal: id, side (2 balance, 3 credit), direction (0 in, 1 out), `amount` or
  else `profit`, comment, created_at (section 5.9); its id is unique over all accounts;
- groups may come nested in the `groups` of their parents; every one is a row.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

import msgspec
from msgspec import Raw

from counterfoil.domain.references import recognise
from counterfoil.platforms.rows import NULL, Record, RowFormat, opening

MANAGER = "/api/v1/manager"
# Group symbols without an id of their own: group in the upper, symbol in the lower half of a 64-bit number.
_HALF = 32


@dataclass(frozen=True, slots=True)
class Place:
    """A list of the API: its path, the path of one record ("" when there is none), the table it fills."""

    path: str
    single: str
    table: str


PLACES: dict[str, Place] = {
    "clients": Place(f"{MANAGER}/clients", f"{MANAGER}/clients", "clients"),
    "accounts": Place(f"{MANAGER}/accounts", f"{MANAGER}/accounts", "accounts"),
    "groups": Place(f"{MANAGER}/groups", f"{MANAGER}/group", "groups"),
    "symbols": Place(f"{MANAGER}/symbols", f"{MANAGER}/symbols", "symbols"),
    "orders": Place(f"{MANAGER}/orders", f"{MANAGER}/orders", "orders"),
    "orders_history": Place(f"{MANAGER}/orders/history", "", "orders"),
    "positions": Place(f"{MANAGER}/positions", f"{MANAGER}/positions", "positions"),
    "positions_history": Place(f"{MANAGER}/positions/history", "", "positions"),
}
OF_GROUP = {"commissions": "commissions", "group_symbols": "symbols"}

FORMATS: dict[str, RowFormat] = {table: RowFormat(table) for table in (
    "clients", "accounts", "symbols", "orders", "positions", "deals", "commissions",
)}  # fmt: skip


def _flatten(record: Record) -> Iterable[Record]:
    """A group and, where they are nested, the groups below it."""
    yield record
    children = record.get("groups", NULL)
    if opening(children) == b"[":
        for child in msgspec.json.decode(children, type=list[Record]):
            yield from _flatten(child)


FORMATS["groups"] = RowFormat("groups", reshape=_flatten)


def group_symbols(group_id: int) -> RowFormat:
    """The format of one group's symbols."""

    def complete(record: Record) -> Iterable[Record]:
        record.setdefault("group_id", Raw(str(group_id).encode()))
        if record.get("symbol_id", NULL) == NULL:
            symbol_id = msgspec.json.decode(record.get("id", NULL), type=int)
            record["symbol_id"] = record["id"]
            record["id"] = Raw(str(group_id << _HALF | symbol_id).encode())
        yield record

    return RowFormat("group_symbols", reshape=complete)


def commissions(group_id: int) -> RowFormat:
    """The format of one group's commissions."""

    def complete(record: Record) -> Iterable[Record]:
        record.setdefault("group_id", Raw(str(group_id).encode()))
        yield record

    return RowFormat("commissions", reshape=complete)


def transactions(account_id: int, currency: str | None) -> RowFormat:
    """The format of one account's money movements; `currency` is the account's."""

    def translate(record: Record) -> Iterable[Record]:
        side, direction = _integer(record, "side"), _integer(record, "direction")
        amount = _amount(record, direction)
        comment = msgspec.json.decode(record.get("comment", NULL), type=str | None)
        reference = recognise(comment or "")
        given = record.get("currency", NULL)
        known = {
            "id": record.get("id", NULL),
            "account_id": Raw(str(account_id).encode()),
            "side": _raw(side),
            "direction": _raw(direction if direction is not None else int(amount < 0)),
            "amount": Raw(f"{amount:f}".encode()),
            "currency": given if given != NULL else _raw(currency),
            "comment": record.get("comment", NULL),
            "reference": _raw(reference),
            "origin": _raw("counterfoil" if reference else "platform"),
            "created_at": record.get("created_at", NULL),
            "updated_at": record.get("updated_at", NULL),
        }
        if _integer(record, "account_id") not in (None, account_id):
            raise ValueError("the row belongs to another account - at `$.account_id`")
        yield known | {name: value for name, value in record.items() if name not in known}

    return RowFormat("transactions", reshape=translate)


def _raw(value: str | int | None) -> Raw:
    return Raw(msgspec.json.encode(value))


def _integer(record: Record, name: str) -> int | None:
    value: int | None = msgspec.json.decode(record.get(name, NULL), type=int | None)
    return value


def _amount(record: Record, direction: int | None) -> Decimal:
    """Signed, money in is positive: `profit` carries a sign; `amount` does not need to, then `direction` says."""
    for name in ("amount", "profit"):
        token = record.get(name, NULL)
        if token != NULL:
            break
    else:
        raise ValueError("neither amount nor profit was sent")
    try:
        amount = Decimal(bytes(token).decode())
    except (InvalidOperation, UnicodeDecodeError) as error:
        raise ValueError(f"not a number - at `$.{name}`") from error
    if name == "amount" and direction == 1:
        return -abs(amount)
    return amount
