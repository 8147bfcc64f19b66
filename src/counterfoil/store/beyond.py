"""Rows whose ids lie beyond all that the mirror holds, by COPY straight into the table.

That is most of every first reading. It is half the work of the way through a staging table (store.bulk), and needs no
comparison: where nobody else can bring such a row, for the time of the transaction. What is computed of a row comes with it, so
only pages that say all of it go this way; and when PostgreSQL refuses a row, all of them go the other, which finds it.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import count, islice, repeat

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from counterfoil.domain.line import NULL, SEPARATOR, escaped
from counterfoil.domain.page import Page
from counterfoil.store.copying import Lock, copy, draw_versions, lock_versions, refusal
from counterfoil.store.plans import of_any_platform

# Fewer rows are not worth the statements around them.
MANY = 100
# Tables whose rows carry the name of their symbol. In that of the symbols themselves a new name has consequences.
NAMED = ("orders", "positions", "deals")
RENAMING = "symbols"
# Lines that are put together at once: enough to be quick, few enough to let others go on meanwhile.
_SOME = 1_000

_NAMES = sa.text("SELECT id, symbol FROM mirror.symbols WHERE platform = :platform AND id = ANY (:ids)")


def is_suited(table: str, page: Page) -> bool:
    """Whether the rows of a page may go this way, and are worth it."""
    named = table not in NAMED or len(page.symbol_ids) == len(page.lines)
    return table != RENAMING and named and len(page.lines) >= MANY


async def copy_beyond(
    connection: AsyncConnection, platform: str, table: str, page: Page, *, lock: Lock = lock_versions
) -> frozenset[int]:
    """Write what lies beyond, in the caller's transaction; returns the ids, none where another way is better.

    A row that PostgreSQL refuses leaves the transaction as it was. `lock`: see store.copying.
    """
    if not is_suited(table, page) or len(await _beyond(connection, platform, table, page)) < MANY:
        return frozenset()
    await lock(connection)
    places = await _beyond(connection, platform, table, page)
    if len(places) < MANY:
        return frozenset()
    try:
        async with connection.begin_nested():
            # In a page as in the table, a later row has a higher version.
            first = await draw_versions(connection, len(places))
            await copy_rows(connection, platform, table, page, places=places, first=first)
    except (sa.exc.DataError, sa.exc.OperationalError) as error:
        if refusal(error) is None:
            raise
        return frozenset()
    return frozenset(page.line_ids[at] for at in places)


async def highest(connection: AsyncConnection, platform: str, table: str, *, least: int) -> int | None:
    """The highest id that the mirror holds, of a deleted row too, if it is `least` or higher.

    Asked for all, PostgreSQL would pass over every row below that others are still writing.
    """
    statement = of_any_platform(f"SELECT max(id) FROM mirror.{table} WHERE platform = :platform AND id >= :least")
    known: int | None = await connection.scalar(statement, {"platform": platform, "least": least})
    return known


async def copy_rows(
    connection: AsyncConnection, platform: str, table: str, page: Page, *, places: Sequence[int], first: int
) -> None:
    """Write the rows at these places of a page, of which the mirror has none, with the versions from `first` on."""
    names: Iterable[bytes] = repeat(b"")
    if table in NAMED:
        names = await _names(connection, platform, [page.symbol_ids[at] for at in places])
    columns = ("platform", *page.columns, *(["symbol"] if table in NAMED else []), "version")
    rows = zip(repeat(_text(platform)), (page.lines[at] for at in places), names, count(first), strict=False)
    lines = map(b"%b\t%b%b\t%d\n".__mod__, rows)
    await copy(connection, f"mirror.{table} ({', '.join(map(_name, columns))})", _pieces(lines))


def _pieces(lines: Iterator[bytes]) -> Iterator[bytes]:
    while piece := b"".join(islice(lines, _SOME)):
        yield piece


async def _beyond(connection: AsyncConnection, platform: str, table: str, page: Page) -> list[int]:
    """At which places of the page such rows stand; of a repeated one, the last."""
    known = await highest(connection, platform, table, least=min(page.line_ids))
    places = dict(zip(page.line_ids, count(), strict=False))
    return [at for row_id, at in places.items() if known is None or row_id > known]


async def _names(connection: AsyncConnection, platform: str, symbols: Sequence[int | None]) -> list[bytes]:
    """The names of symbols as they stand in a line, with what separates them before each."""
    found = await connection.execute(_NAMES, {"platform": platform, "ids": list({*symbols} - {None})})
    names: dict[int | None, bytes] = {row.id: SEPARATOR + _text(row.symbol) for row in found if row.symbol is not None}
    return [names.get(symbol, SEPARATOR + NULL) for symbol in symbols]


def _name(column: str) -> str:
    return f'"{column}"'


def _text(text: str) -> bytes:
    return escaped(text.encode())
