"""Rows whose ids lie beyond all that the mirror holds, by COPY straight into the table.

That is most of every first reading. It is half the work of the way through a staging table (store.bulk), and needs no
comparison: under the lock on versions nobody else can bring such a row. What is computed of a row comes with it, so only pages
that say all of it go this way; and when PostgreSQL refuses a row, all of them go the other, which finds it.
"""

from collections.abc import Sequence
from itertools import count, repeat

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from counterfoil.domain.page import Page
from counterfoil.store.copying import copy, lock_versions, refusal

# Fewer rows are not worth the statements around them.
MANY = 100
# Tables whose rows carry the name of their symbol. In that of the symbols themselves a new name has consequences.
NAMED = ("orders", "positions", "deals")
RENAMING = "symbols"

# Under the lock these are consecutive: in a page as in the table, a later row has a higher version.
_DRAWN = sa.text("SELECT now()::text AS at, setval('mirror.version', nextval('mirror.version') + :rows - 1) AS last")
_NAMES = sa.text("SELECT id, symbol FROM mirror.symbols WHERE platform = :platform AND id = ANY (:ids)")


async def copy_beyond(connection: AsyncConnection, platform: str, table: str, page: Page) -> frozenset[int]:
    """Write what lies beyond, in the caller's transaction; returns the ids, none where another way is better.

    A row that PostgreSQL refuses leaves the transaction as it was.
    """
    named = table in NAMED
    if table == RENAMING or len(page.lines) < MANY or (named and len(page.symbol_ids) < len(page.lines)):
        return frozenset()
    if len(await _beyond(connection, platform, table, page)) < MANY:
        return frozenset()
    await lock_versions(connection)
    places = await _beyond(connection, platform, table, page)
    if len(places) < MANY:
        return frozenset()
    symbols = [page.symbol_ids[at] for at in places] if named else None
    columns = ("platform", *page.columns, *(("symbol",) if named else ()), "first_seen_at", "changed_at", "version")
    target = f"mirror.{table} ({', '.join(map(_name, columns))})"
    endings = await _endings(connection, platform, len(places), symbols)
    lines = zip(repeat(_text(platform) + b","), (page.lines[at] for at in places), endings, strict=False)
    try:
        async with connection.begin_nested():
            await copy(connection, target, b"\n".join(map(b"".join, lines)))
    except (sa.exc.DataError, sa.exc.OperationalError) as error:
        if refusal(error) is None:
            raise
        return frozenset()
    return frozenset(page.line_ids[at] for at in places)


async def _beyond(connection: AsyncConnection, platform: str, table: str, page: Page) -> list[int]:
    """At which places of the page such rows stand; of a repeated one, the last."""
    statement = sa.text(f"SELECT max(id) FROM mirror.{table} WHERE platform = :platform")
    known: int | None = await connection.scalar(statement, {"platform": platform})
    places = dict(zip(page.line_ids, count(), strict=False))
    return [at for row_id, at in places.items() if known is None or row_id > known]


async def _endings(
    connection: AsyncConnection, platform: str, rows: int, symbols: Sequence[int | None] | None
) -> list[bytes]:
    """What stands behind the platform's own columns: the symbol's name where it is wanted, moments and version."""
    drawn = (await connection.execute(_DRAWN, {"rows": rows})).one()
    moments = b",%b,%b," % (_text(drawn.at), _text(drawn.at))
    versions = count(drawn.last - rows + 1)
    if symbols is None:
        return [moments + b"%d" % version for version, _ in zip(versions, range(rows), strict=False)]
    found = await connection.execute(_NAMES, {"platform": platform, "ids": list({*symbols} - {None})})
    named = {row.id: b"," + _text(row.symbol) + moments for row in found if row.symbol is not None}
    nameless = b",null" + moments
    return [named.get(symbol, nameless) + b"%d" % version for symbol, version in zip(symbols, versions, strict=False)]


def _name(column: str) -> str:
    return f'"{column}"'


def _text(value: str) -> bytes:
    return b'"' + value.replace('"', '""').encode() + b'"'
