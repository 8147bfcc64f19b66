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
from types import MappingProxyType
from typing import TypeVar

import msgspec
from msgspec import Raw

from counterfoil.domain.references import recognise
from counterfoil.platforms.rows import Record, RowFormat, opening
from counterfoil.platforms.shapes import NULL

MANAGER = "/api/v1/manager"
# Group symbols without an id of their own: group in the upper, symbol in the lower half of a 64-bit number.
_HALF = 32
_NUMBER_BEGINS = frozenset(b"-0123456789"[at : at + 1] for at in range(11))
# Columns of a transaction that are ours; a field of the platform with such a name is kept under another.
_OURS = MappingProxyType({"reference": "platform_reference", "origin": "platform_origin"})


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
    """A group and, where they are nested, the groups below it; bare ids of such groups are rows elsewhere."""
    yield record
    children = record.get("groups", NULL)
    if opening(children) == b"[":
        for child in msgspec.json.decode(children, type=list[Raw]):
            if opening(child) == b"{":
                yield from _flatten(msgspec.json.decode(child, type=Record))


FORMATS["groups"] = RowFormat("groups", reshape=_flatten)


def group_symbols(group_id: int) -> RowFormat:
    """The format of one group's symbols."""

    def complete(record: Record) -> Iterable[Record]:
        _default(record, "group_id", group_id)
        if record.get("symbol_id", NULL) == NULL:
            symbol_id = _integer(record, "id")
            record["symbol_id"] = _raw(symbol_id)
            record["id"] = _raw(_made_id(group_id, symbol_id))
        yield record

    return RowFormat("group_symbols", reshape=complete)


def _made_id(group_id: int, symbol_id: int | None) -> int | None:
    """None when the symbol's id cannot be part of one: the row is then refused for want of an id."""
    if symbol_id is None or not 0 <= symbol_id < 1 << _HALF:
        return None
    return group_id << _HALF | symbol_id


def commissions(group_id: int) -> RowFormat:
    """The format of one group's commissions."""

    def complete(record: Record) -> Iterable[Record]:
        _default(record, "group_id", group_id)
        yield record

    return RowFormat("commissions", reshape=complete)


def _default(record: Record, name: str, value: int) -> None:
    if record.get(name, NULL) == NULL:
        record[name] = _raw(value)


def transactions(account_id: int, currency: str | None) -> RowFormat:
    """The format of one account's money movements; `currency` is the account's."""

    def translate(record: Record) -> Iterable[Record]:
        if _integer(record, "account_id") not in (None, account_id):
            raise ValueError("the row belongs to another account - at `$.account_id`")
        side, direction = _integer(record, "side"), _integer(record, "direction")
        amount = _amount(record, direction)
        reference = recognise(_read(record, "comment", str) or "")
        given = record.get("currency", NULL)
        known = {
            "id": record.get("id", NULL),
            "account_id": _raw(account_id),
            "side": _raw(side),
            "direction": _raw(int(_is_negative(amount)) if direction is None else direction),
            "amount": Raw(amount),
            "currency": given if given != NULL else _raw(currency),
            "comment": record.get("comment", NULL),
            "reference": _raw(reference),
            "origin": _raw("counterfoil" if reference else "platform"),
            "created_at": record.get("created_at", NULL),
            "updated_at": record.get("updated_at", NULL),
        }
        yield known | {
            _OURS.get(name, name): value for name, value in record.items() if name in _OURS or name not in known
        }

    return RowFormat("transactions", reshape=translate)


def _raw(value: str | int | None) -> Raw:
    return Raw(msgspec.json.encode(value))


T = TypeVar("T", int, str)


def _read(record: Record, name: str, kind: type[T]) -> T | None:
    """One field; the reason of a refusal names it."""
    try:
        value: T | None = msgspec.json.decode(record.get(name, NULL), type=kind | None)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{error} - at `$.{name}`") from error
    return value


def _integer(record: Record, name: str) -> int | None:
    return _read(record, name, int)


def _amount(record: Record, direction: int | None) -> bytes:
    """Signed, money in is positive: `profit` carries a sign; `amount` does not need to, then `direction` says.

    Only the sign is ever written anew: the digits are the platform's, and never become a number of ours.
    """
    name = "profit" if record.get("amount", NULL) == NULL else "amount"
    token = bytes(record.get(name, NULL))
    if token == b"null":
        raise ValueError("neither amount nor profit was sent - at `$.amount`")
    if opening(token) not in _NUMBER_BEGINS:
        raise ValueError(f"not a number - at `$.{name}`")
    return b"-" + token.lstrip(b"-") if name == "amount" and direction == 1 else token


def _is_negative(number: bytes) -> bool:
    mantissa = number.lower().partition(b"e")[0]
    return number.startswith(b"-") and mantissa.strip(b"-0.") != b""
