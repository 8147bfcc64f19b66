"""Listings of the simulated cTrader server: traders in chunks, positions as CSV, groups, symbols and assets.

Paging, windows and forms: reference, sections 4.3, 4.4, 4.11 to 4.13 and 6.
"""

import bisect
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec

from counterfoil.sandbox import ctrader_faults as own
from counterfoil.sandbox import ctrader_wire as wire
from counterfoil.sandbox import faults as f
from counterfoil.sandbox import listing
from counterfoil.sandbox.calls import Reply
from counterfoil.sandbox.ctrader_answers import INVALID, SECRETS, TRADER, WebservError, entity
from counterfoil.sandbox.ctrader_books import CtraderBooks
from counterfoil.sandbox.ctrader_catalogue import DIGITS
from counterfoil.sandbox.ctrader_ledger import DAY
from counterfoil.sandbox.ctrader_rows import Deal, Trader
from counterfoil.sandbox.text import ENCODER

LONGEST_WINDOW: Final = 2 * DAY
"""Of closed positions (reference, section 4.13)."""

Query = Mapping[str, str]
Cells = tuple[str, ...]


# Parameters


def window(query: Query) -> tuple[int, int]:
    """`from` and `to` in milliseconds; both are required."""
    bounds = wire.moment(query.get("from", "")), wire.moment(query.get("to", ""))
    if bounds[0] is None or bounds[1] is None:
        raise WebservError(INVALID, "from and to must be yyyy-MM-ddTHH:mm:ss.SSS")
    if bounds[1] < bounds[0]:
        raise WebservError(INVALID, "to lies before from")
    return bounds[0], bounds[1]


def integer(query: Query, name: str) -> int | None:
    """An integer parameter, None when it is left out."""
    text = query.get(name)
    if text is None:
        return None
    if not text.isascii() or not text.isdigit():
        raise WebservError(INVALID, f"{name} must be an integer")
    return int(text)


def present(books: CtraderBooks, login: int) -> Trader:
    """An account that the manager sees."""
    trader = books.traders.get(login)
    if trader is None:
        raise WebservError(TRADER, f"no trader {login}")
    return trader


# Traders


def traders(books: CtraderBooks, query: Query, struck: f.Struck, chunk: int) -> Reply:
    """One chunk, the latest registration first; `hasMore` says that older ones were left out."""
    start, stop = window(query)
    if struck.has(f.SamePage):
        stop = books.now() + 1
    group = _group_name(books, integer(query, "groupId"))
    found = [
        trader
        for trader in books.traders.values()
        if start <= trader.registered_at < stop and group in (None, trader.group)
    ]
    found.sort(key=lambda trader: (-trader.registered_at, -trader.login))
    kept = _kept("traders", [trader.login for trader in found], lambda count: list(books.traders)[-count:], struck)
    found = [trader for trader in found if trader.login in kept]
    if smaller := struck.get(own.Chunk):
        chunk = smaller.size
    more = len(found) > chunk or struck.has(f.EndlessPages)
    found = found[:chunk]
    if (short := struck.get(f.ShortPage)) is not None:
        found, more = found[: short.rows], False
    if twice := struck.get(f.DuplicateRows):
        found = found[: twice.rows] + found
    names = [name for name in query.get("fields", "").split(",") if name]
    rows = [ENCODER.encode(_chosen(wire.trader_fields(trader, books), names)) for trader in found]
    body = b",".join(listing.mangle(rows, struck, SECRETS))
    return Reply(200, b'{"trader":[%b],"hasMore":%b}' % (body, b"true" if more else b"false"))


def _group_name(books: CtraderBooks, key: int | None) -> str | None:
    if key is None:
        return None
    for group in books.groups:
        if group.id == key:
            return group.name
    raise WebservError("TRADER_GROUP_NOT_FOUND", f"no group {key}")


def _chosen(fields: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: fields[name] for name in names if name in fields} if names else fields


def trader(books: CtraderBooks, login: int, struck: f.Struck) -> Reply:
    """One account."""
    return entity(wire.trader_fields(present(books, login), books), struck)


def subaccounts(books: CtraderBooks, login: int, struck: f.Struck) -> Reply:
    """The Copy sub-accounts of an account, with what they hold together."""
    present(books, login)
    copies = [trader for trader in books.traders.values() if trader.owner == login]
    told = {
        "subAccountLogins": {"login": [copy.login for copy in copies]},
        "totalSubAccountsBalance": sum(copy.balance for copy in copies),
        "totalSubAccountsEquity": sum(copy.equity for copy in copies),
    }
    return entity(told, struck)


# Positions


def open_positions(books: CtraderBooks, query: Query, struck: f.Struck) -> Reply:
    """What is open, of one account or of all."""
    login = integer(query, "login")
    found = list(books.positions.values()) if login is None else books.positions_of(present(books, login).login)
    kept = _kept("open", [position.id for position in found], lambda count: list(books.positions)[-count:], struck)
    rows = [wire.open_cells(position, books) for position in found if position.id in kept]
    return _sheet(wire.OPEN_COLUMNS, rows, struck)


def closed_positions(books: CtraderBooks, query: Query, struck: f.Struck, filter_on: str) -> Reply:
    """The closing deals of a window, of one account or of all."""
    start, stop = window(query)
    if stop - start > LONGEST_WINDOW:
        raise WebservError(INVALID, "from and to are more than two days apart")
    login = integer(query, "login")
    if login is not None:
        present(books, login)
    found: Iterable[Deal]
    if filter_on == "open" or struck.has(own.FilterOnOpen):
        found = (deal for deal in books.deals if start <= deal.position.opened_at < stop)
    else:
        first = bisect.bisect_left(books.deals, start, key=lambda deal: deal.closed_at)
        last = bisect.bisect_left(books.deals, stop, lo=first, key=lambda deal: deal.closed_at)
        found = books.deals[first:last]
    mine = [deal for deal in found if login in (None, deal.login)]
    kept = _kept("deals", [deal.id for deal in mine], lambda count: [deal.id for deal in books.deals[-count:]], struck)
    rows = [wire.closed_cells(deal, books.traders[deal.login]) for deal in mine if deal.id in kept]
    return _sheet(wire.CLOSED_COLUMNS, rows, struck)


def _kept(name: str, found: list[int], newest: Callable[[int], list[int]], struck: f.Struck) -> set[int]:
    """Which of the ids that were found are shown. `newest`: the last so many ids that there are."""
    kept = set(found)
    for armed in struck.armed:
        fault = armed.fault
        if isinstance(fault, f.Vanish):
            kept -= listing.vanishing(found, fault)
        elif isinstance(fault, f.LateRows):
            chosen: set[int] = armed.memory.setdefault(f"{name} hidden", set(newest(fault.rows + 1)[:-1]))
            kept -= _late(armed, f"{name} answers", chosen & kept, fault.after)
        elif isinstance(fault, own.LateDeals) and name == "deals":
            chosen = armed.memory.setdefault(f"{name} hidden", set(newest(fault.rows)))
            kept -= _late(armed, f"{name} answers", chosen & kept, fault.after)
    return kept


def _late(armed: f.Armed, counter: str, hidden: set[int], after: int) -> set[int]:
    """What stays hidden; answers that would not have held any of it do not count."""
    answered: int = armed.memory.get(counter, 0)
    if hidden:
        armed.memory[counter] = answered + 1
    return hidden if answered <= after else set()


def _sheet(columns: Cells, rows: list[Cells], struck: f.Struck) -> Reply:
    """Rows of positions: CSV with its header line, or what the faults make of it."""
    if (short := struck.get(f.ShortPage)) is not None:
        rows = rows[: short.rows]
    if twice := struck.get(f.DuplicateRows):
        rows = rows[: twice.rows] + rows
    if struck.has(own.JsonPositions):
        objects = [ENCODER.encode(wire.as_json(columns, row)) for row in rows]
        return Reply(200, b"[%b]" % b",".join(listing.mangle(objects, struck, SECRETS)))
    if struck.has(own.ColumnOrder) and columns == wire.CLOSED_COLUMNS:
        places = [columns.index(name) for name in wire.SECOND_ORDER]
        columns, rows = wire.SECOND_ORDER, [tuple(row[place] for place in places) for row in rows]
    if any(isinstance(fault, f.RowFault) for fault in struck):
        return _csv(*_bent(columns, rows, struck))
    return _csv(columns, rows)


def _csv(columns: Sequence[str], rows: list[Cells]) -> Reply:
    lines = [",".join(columns), *(",".join(row) for row in rows), ""]
    return Reply(200, "\n".join(lines).encode(), "text/csv")


def _bent(columns: Cells, rows: list[Cells], struck: f.Struck) -> tuple[list[str], list[Cells]]:
    """The sheet as the faults of rows leave it: more columns, shuffled columns, a cell that is wrong or missing."""
    fields = [{name: msgspec.Raw(cell.encode()) for name, cell in zip(columns, row, strict=True)} for row in rows]
    bent = [{name: _cell(token) for name, token in row.items()} for row in listing.bend(fields, struck, SECRETS)]
    header = list(columns)
    header += sorted({name for row in bent for name in row} - set(header))
    if struck.has(f.ShuffleFields):
        random.Random(1).shuffle(header)
    return header, [tuple(row[name] for name in header if name in row) for row in bent]


def _cell(token: msgspec.Raw) -> str:
    """The text of a token without the quotes of a JSON string, in quotes of CSV where it needs them."""
    text = bytes(token).decode()
    if text[:1] == '"' == text[-1:] and len(text) > 1:
        text = text[1:-1].replace('\\"', '"')
    return '"' + text.replace('"', '""') + '"' if "," in text or '"' in text else text


# Groups, symbols, assets


def groups(books: CtraderBooks, struck: f.Struck) -> Reply:
    """Every group; `description` is left out where there is none."""
    rows = [
        {
            "id": group.id,
            "name": group.name,
            **({} if group.description is None else {"description": group.description}),
        }
        for group in books.groups
    ]
    return _wrapped("traderGroup", [ENCODER.encode(row) for row in rows], struck)


def symbols(books: CtraderBooks, struck: f.Struck) -> Reply:
    """Every symbol."""
    rows = [ENCODER.encode(wire.symbol_fields(symbol)) for symbol in books.symbols.values()]
    return _wrapped("symbol", rows, struck)


def assets() -> Reply:
    """The currencies in which an account can be kept."""
    return Reply(200, ENCODER.encode({"depositAsset": list(DIGITS)}))


def _wrapped(name: str, rows: list[bytes], struck: f.Struck) -> Reply:
    if (short := struck.get(f.ShortPage)) is not None:
        rows = rows[: short.rows]
    return Reply(200, b'{"%b":[%b]}' % (name.encode(), b",".join(listing.mangle(rows, struck, SECRETS))))
