"""A connection beside the pool, for statements so frequent that the pool's care would cost several times what they do.

The pool asks whether a connection still lives whenever it lends one, and a transaction begins and ends with a round trip. Here a
statement is one round trip, and its plan is made once. That a connection died shows when a statement fails: it is then made
again, once, so only statements belong here that may be made twice.
"""

import asyncio
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, cast
from weakref import WeakKeyDictionary

import psycopg
import sqlalchemy as sa
from psycopg.rows import dict_row
from sqlalchemy.dialects.postgresql import psycopg as dialects
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from counterfoil.store.engine import plain_connection

Answer = Mapping[str, Any]


class Direct:
    """One connection; each statement is a transaction, and the next waits for it."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._url = engine.url
        self._connection: psycopg.AsyncConnection[tuple[Any, ...]] | None = None
        self._opening = asyncio.Lock()
        sa.event.listen(engine.sync_engine, "engine_disposed", self._close)

    async def first(self, statement: sa.TextClause, given: Mapping[str, object]) -> Answer | None:
        """The first row that a statement gives; None where it gives none.

        Raises:
            Unreachable: the database cannot be reached.
        """
        answers = await self.all(statement, given)
        return answers[0] if answers else None

    async def all(self, statement: sa.TextClause, given: Mapping[str, object]) -> list[Answer]:
        """The rows that a statement gives. Raises as `first` does."""
        known = self._connection
        try:
            return await self._ask(statement, given)
        except (psycopg.OperationalError, psycopg.InterfaceError, psycopg.InternalError):
            old = known is not None and known.closed
            await self._forget(known)
            # A connection that was made just now tells the truth; an older one may only have grown old.
            if not old:
                raise
        return await self._ask(statement, given)

    async def _ask(self, statement: sa.TextClause, given: Mapping[str, object]) -> list[Answer]:
        async with self._opening:
            connection = self._connection or await plain_connection(self._url, prepare_threshold=1)
            self._connection = connection
        cursor = connection.cursor(row_factory=dict_row)
        await cursor.execute(_written(statement), given)
        # Not `description`, which makes an object of every column.
        if cursor.pgresult is None or cursor.pgresult.nfields == 0:
            return []
        return list(await cursor.fetchall())

    async def _forget(self, connection: "psycopg.AsyncConnection[tuple[Any, ...]] | None") -> None:
        if connection is not None and self._connection is connection:
            self._connection = None
            await connection.close()

    async def close(self) -> None:
        """Close it; a statement opens it again."""
        await self._forget(self._connection)

    def _close(self, _engine: sa.Engine) -> None:
        if self._connection is not None:
            self._connection.pgconn.finish()
            self._connection = None


_SHARED: "WeakKeyDictionary[AsyncEngine, Direct]" = WeakKeyDictionary()


def direct(engine: AsyncEngine) -> Direct:
    """The one that whoever has this engine shares: for statements that wait for nobody."""
    if engine not in _SHARED:
        _SHARED[engine] = Direct(engine)
    return _SHARED[engine]


async def first(
    where: AsyncConnection | Direct, statement: sa.TextClause, given: Mapping[str, object]
) -> Answer | None:
    """The first row that a statement gives, in a transaction of the caller's or in one of its own."""
    if isinstance(where, Direct):
        return await where.first(statement, given)
    row = (await where.execute(statement, given)).mappings().first()
    return None if row is None else dict(row)


@lru_cache(maxsize=100)
def _written(statement: sa.TextClause) -> bytes:
    """In the driver's own words."""
    spoken = cast("sa.Dialect", dialects.dialect())  # type: ignore[no-untyped-call]
    return str(statement.compile(dialect=spoken)).encode()
