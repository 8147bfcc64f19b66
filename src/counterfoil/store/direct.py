"""A connection beside the pool, for statements so frequent that the pool's care would cost several times what they do.

The pool asks whether a connection still lives whenever it lends one. Here that shows when a statement fails: it is then made
again, once, so only statements belong here that may be made twice.
"""

import asyncio
from typing import Any, LiteralString

import psycopg
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from counterfoil.store.engine import plain_connection

Parameters = dict[str, object]


class Direct:
    """One connection of an engine's own; each statement is a transaction, and prepared when it comes again."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._url = engine.url
        self._connection: psycopg.AsyncConnection[tuple[Any, ...]] | None = None
        self._opening = asyncio.Lock()
        sa.event.listen(engine.sync_engine, "engine_disposed", self._close)

    async def row(self, statement: LiteralString, given: Parameters) -> tuple[Any, ...] | None:
        """The first row that a statement gives; None where it gives none.

        Raises:
            Unreachable: the database cannot be reached.
        """
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

    async def _ask(self, statement: LiteralString, given: Parameters) -> tuple[Any, ...] | None:
        async with self._opening:
            connection = self._connection or await plain_connection(self._url, prepare_threshold=1)
            self._connection = connection
        cursor = await connection.execute(statement, given)
        return await cursor.fetchone() if cursor.description else None

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
