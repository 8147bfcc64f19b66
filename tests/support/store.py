"""What tests of the store need: pages written by hand, rows as they stand, and waiting on what the database itself says."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from counterfoil.domain.line import SEPARATOR, escaped
from counterfoil.domain.page import Page, Rejected
from counterfoil.store import bulk, engine

PATIENCE = 20.0
VERSION_LOCK = 0x76657273
"""The advisory lock under which versions are drawn, see revision 0006."""


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[AsyncEngine]:
    """An engine as the product makes it, closed at the end."""
    database = engine.create(url)
    try:
        yield database
    finally:
        await database.dispose()


def token(value: object) -> bytes:
    """A field of a line for COPY; bytes stand as they are."""
    match value:
        case bytes():
            return value
        case None:
            return b"null"
        case bool():
            return b"true" if value else b"false"
        case int() | Decimal():
            return str(value).encode()
        case str():
            return escaped(value.encode())
        case _:
            return token(json.dumps(value))


def page(*rows: Mapping[str, object], rejected: Sequence[Rejected] = ()) -> Page:
    """A page of records with these fields; numbers are best given as Decimal or as bytes."""
    columns = tuple(dict.fromkeys(name for row in rows for name in row))
    lines = [SEPARATOR.join(token(row.get(name)) for name in columns) for row in rows]
    ids = [int(str(row["id"])) for row in rows]
    return Page(
        columns, rows=len(rows) + len(rejected), ids=ids, lines=lines, line_ids=list(ids), rejected=list(rejected)
    )


async def write(database: AsyncEngine, table: str, *rows: Mapping[str, object], platform: str = "live") -> bulk.Written:
    """Write rows in a transaction of their own."""
    async with engine.transaction(database) as connection:
        return await bulk.write(connection, platform, table, page(*rows))


async def query(database: AsyncEngine, statement: str, **parameters: object) -> list[tuple[object, ...]]:
    """The rows that a statement gives, in a transaction of its own; committed, so that it may also change something."""
    async with engine.transaction(database) as connection:
        result = await connection.execute(sa.text(statement), parameters)
        return [tuple(row) for row in result] if result.returns_rows else []


async def value(database: AsyncEngine, statement: str, **parameters: object) -> object:
    """The one value that a statement gives."""
    ((found,),) = await query(database, statement, **parameters)
    return found


async def until(database: AsyncEngine, condition: str, **parameters: object) -> None:
    """Ask until the condition is true."""
    async with asyncio.timeout(PATIENCE):
        while not await value(database, f"SELECT {condition}", **parameters):  # noqa: ASYNC110 - the database has no event
            await asyncio.sleep(0.005)


async def until_blocked(database: AsyncEngine, count: int = 1) -> None:
    """Until so many sessions of this database wait for a lock."""
    waiting = "count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with asyncio.timeout(PATIENCE):
        while await value(database, f"SELECT {waiting}") != count:  # noqa: ASYNC110 - the database has no event
            await asyncio.sleep(0.005)
