"""Rows of a first reading, in several transactions at once, which commit one after the other.

PostgreSQL writes a batch while the next is sent to it on another connection. Each transaction holds its own rows, their
versions and the cursor behind them, and commits only when the one before it has: what stands in the mirror is always the
beginning of what was read, and rows appear in the order of their versions. One that fails takes those behind it along.

Only rows that the mirror cannot have yet go this way (store.beyond); any others wait until all is written, and go the way of
every page.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from operator import lt

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from counterfoil.domain.page import Page
from counterfoil.store import beyond, copying, cursors, leases
from counterfoil.store.bulk import Written
from counterfoil.store.cursors import State
from counterfoil.store.engine import let_end, transaction, whole
from counterfoil.store.mirror import Mirror
from counterfoil.store.underway import UnderWay

# Transactions under way at once. One is copied while another is put together or is written to disk.
AT_ONCE = 3


class _RefusedError(Exception):
    """These rows cannot go this way; nothing of them was written. `highest`: the id up to which the mirror holds rows."""

    def __init__(self, highest: int | None = None) -> None:
        super().__init__()
        self.highest = highest


@dataclass(slots=True, eq=False, kw_only=True)
class _Flight(UnderWay):
    page: Page
    states: Mapping[str, State]


@dataclass(slots=True)
class Appending:
    """Writes pages of one table in the order given.

    `landed` is told of each page that is committed; `plainly` writes one in the way of every page. To be closed by whoever made it
    (contextlib.aclosing); until it is drained nobody else may write under its lease.
    """

    mirror: Mirror
    table: str
    landed: Callable[[Page, Written], None]
    plainly: Callable[[Page, Mapping[str, State]], Awaitable[object]]
    _flights: deque[_Flight] = field(default_factory=deque)
    _highest: int | None = None

    async def add(self, page: Page, states: Mapping[str, State]) -> None:
        """Write a page and cursors with it, at once or in a while.

        Raises:
            LeaseLostError, Unreachable: this or an earlier page could not be written, nor what came after it.
        """
        while len(self._flights) >= AT_ONCE:
            await self._land()
        if not self._lies_beyond(page):
            await self.drain()
            await self.plainly(page, states)
            return
        flight = _Flight(page=page, states=states, before=self._flights[-1] if self._flights else None)
        flight.start(self._fly(flight))
        self._flights.append(flight)
        self._highest = page.line_ids[-1]

    async def drain(self) -> None:
        """Until all is committed. Raises as `add` does."""
        while self._flights:
            await self._land()

    async def aclose(self) -> None:
        """Nothing is under way any more; what was is committed if it could be."""
        await whole(self._ground())

    def _lies_beyond(self, page: Page) -> bool:
        """Whether it does as far as is known here; the transaction looks again."""
        if page.rejected or not beyond.is_suited(self.table, page):
            return False
        ids = page.line_ids
        rising = all(map(lt, ids, islice(ids, 1, None)))
        return rising and (self._highest is None or ids[0] > self._highest)

    async def _fly(self, flight: _Flight) -> Written:
        try:
            await flight.may_begin()
            async with transaction(self.mirror.engine) as connection:
                await self._write(connection, flight)
        except sa.exc.IntegrityError as error:
            # Whoever else brought the row has the lease, or did not know yet that it lost it: the ordinary way tells.
            raise _RefusedError from error
        except (sa.exc.DataError, sa.exc.OperationalError) as error:
            if copying.refusal(error) is None:
                raise
            raise _RefusedError from error
        return Written(inserted=len(flight.page.lines))

    async def _write(self, connection: AsyncConnection, flight: _Flight) -> None:
        platform, page = self.mirror.platform, flight.page
        first = await copying.draw_versions(connection, len(page.lines))
        # Only now: who comes behind draws higher ones.
        flight.begun.set()
        # Whoever drew before has ended, or is one of us: nobody who has the lease can bring such a row any more.
        highest = await beyond.highest(connection, platform, self.table, least=page.line_ids[0])
        if highest is not None:
            raise _RefusedError(highest)
        await beyond.copy_rows(connection, platform, self.table, page, places=range(len(page.lines)), first=first)
        await flight.follow()
        await copying.await_versions(connection, first)
        # Only now: the row of the lease stays locked to the end, and those before need it too.
        await leases.hold(connection, self.mirror.lease)
        for resource, state in flight.states.items():
            await cursors.save(connection, platform, resource, state)

    async def _land(self) -> None:
        """Wait for the first that is under way."""
        flight = self._flights[0]
        await asyncio.wait([flight.task])
        try:
            written: Written = flight.task.result()
        except _RefusedError as refused:
            self._highest = refused.highest
            flights = list(self._flights)
            await whole(self._ground())
            for one in flights:
                await self.plainly(one.page, one.states)
            return
        self._flights.popleft()
        self.landed(flight.page, written)

    async def _ground(self) -> None:
        """Nothing is under way any more; behind one that failed nothing commits."""
        flights, self._flights = self._flights, deque()
        await let_end({flight.task for flight in flights})
