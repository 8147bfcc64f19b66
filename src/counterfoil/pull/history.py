"""Histories read by id: deals, and what orders and positions become once they are done.

The first reading goes from the beginning, page by page, and can be resumed at any page. After it every run reads backwards
from the newest row until it has re-read the overlap. Where the platform cannot read backwards, the run goes forward from
below the overlap instead.
"""

import asyncio
import time
from collections import deque
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from itertools import takewhile

from counterfoil.domain.cursor import OVERLAP_IDS, OVERLAP_TIME, HistoryCursor
from counterfoil.domain.errors import TransientError
from counterfoil.domain.page import Page, joined
from counterfoil.domain.paging import Order, order_of
from counterfoil.domain.priority import Priority
from counterfoil.observe import events
from counterfoil.platforms.base import Query
from counterfoil.pull.finding import Finder
from counterfoil.pull.known import Known
from counterfoil.pull.reading import ListReader, Position
from counterfoil.pull.run import LONGEST_WAIT, Run
from counterfoil.pull.sweep import place
from counterfoil.store import let_end, whole
from counterfoil.store.appending import Appending
from counterfoil.store.underway import OvertakenError, UnderWay

# A backward reading this long means that much was missed: going forward can be resumed, going backward cannot.
LONGEST_WAY_BACK = 50
# Two pages of a thousand rows share some fifty; were it more than so many, they would be written the slower way.
MOST_SHARED = 250
# Pages at the end of a reading from the beginning whose rows need not be compared when they are read again at once.
NEWEST = 3
# Pages that share a transaction: each costs a dozen statements and a flush to disk, however many rows it writes.
TOGETHER = 8


async def pull(run: Run, resource: str, table: str, *, priority: Priority, live: int | None = None) -> None:
    """One poll of a history.

    Args:
        run: the run.
        resource: the list to read, which is also the cursor's name.
        table: where its rows go.
        priority: of the newest rows; a first reading goes last.
        live: highest id of the live list, read before this; None where there is no such list.
    """
    run.forget_after(await run.mirror.moved_at(place(table)))
    before = HistoryCursor.load(await run.mirror.cursor(resource))
    history = _History(run, resource, table, priority)
    cursor = before
    if not before.begun:
        cursor = await history.forward(before, Priority.SWEEP)
        if not run.complete:
            return
    await history.backward(cursor, before, live, LONGEST_WAY_BACK if before.begun else None)


@dataclass(slots=True)
class _Batch:
    """Pages of a reading from the beginning that are written together, and where it then stands."""

    appending: Appending
    resource: str
    cursor: HistoryCursor
    _pages: list[Page] = field(default_factory=list)
    _moved: bool = False
    _sent_at: float = field(default_factory=time.monotonic)
    _before: dict[int, bytes] = field(default_factory=dict)
    _newest: deque[Page] = field(default_factory=lambda: deque(maxlen=NEWEST))
    # Few at first, so that PostgreSQL has something to do while the next ones come.
    _together: int = 1

    async def add(self, page: Page, position: Position) -> None:
        """Take a page; what is only read again moves nothing."""
        if position.last != self.cursor.last:
            highest = max(page.ids)
            self.cursor = self.cursor.advanced(highest, page.time_of(highest), rows=position.rows, last=position.last)
            self._moved = True
        self._newest.append(page)
        self._pages.append(self._less_overlap(page))
        if len(self._pages) >= self._together or time.monotonic() - self._sent_at > LONGEST_WAIT:
            await self._send()

    async def finish(self) -> HistoryCursor:
        """All is written; the cursor as it then stands."""
        await self._send()
        await self.appending.drain()
        return self.cursor

    def newest(self) -> list[Page]:
        """What is to be remembered of the last pages, once all is written."""
        return [page.remembered() for page in self._newest]

    def _less_overlap(self, page: Page) -> Page:
        """Every page begins with the last rows of the one before it; as long as nothing about them changed, once is enough."""
        before = self._before
        self._before = dict(zip(page.line_ids[-MOST_SHARED:], page.lines[-MOST_SHARED:], strict=True))
        if page.rejected:
            return page
        again = takewhile(lambda row: before.get(row[0]) == row[1], zip(page.line_ids, page.lines, strict=True))
        return page.less_first(sum(1 for _ in again))

    async def _send(self) -> None:
        if self._pages:
            states = {self.resource: self.cursor.dump()} if self._moved else {}
            await self.appending.add(joined(self._pages), states)
            self._together = min(2 * self._together, TOGETHER)
        self._pages, self._moved, self._sent_at = [], False, time.monotonic()


@dataclass(slots=True)
class _Aside:
    """Pages of a reading backwards, written while the next ones are fetched. To be closed (contextlib.aclosing)."""

    run: Run
    table: str
    known: Known
    _pages: list[Page] = field(default_factory=list)
    _writing: UnderWay | None = None

    def add(self, page: Page) -> None:
        """Take a page; what is known to be unchanged is only counted."""
        self._pages.append(self.known.less(page))

    async def begin(self) -> None:
        """Write what has come so far, in a while; at most so many pages wait for it."""
        if self._writing is not None and (self._writing.task.done() or len(self._pages) >= TOGETHER):
            await self._settle()
        if self._writing is None:
            pages, self._pages = self._pages, []
            self._writing = UnderWay()
            self._writing.start(self._write(pages, None, self._writing))

    async def finish(self, states: dict[str, dict[str, object]] | None = None) -> None:
        """Write the rest, and cursors with it, behind what is being written."""
        pages, self._pages = self._pages, []
        with suppress(OvertakenError):  # what it came behind says why
            await self._write(pages, states, UnderWay(self._writing))
        await self._settle()

    async def _write(self, pages: list[Page], states: dict[str, dict[str, object]] | None, under_way: UnderWay) -> None:
        fresh = [page for page in pages if not page.unchanged]
        for page in pages:
            if page.unchanged:
                await self.run.keep(self.table, page)
        if fresh or states:
            rows = joined(fresh) if fresh else Page(columns=())
            await self.run.keep(self.table, rows, states=states, under_way=under_way)

    async def _settle(self) -> None:
        if self._writing is not None:
            await asyncio.wait([self._writing.task])
            # Only now: who is told to end while it waits still has it to end.
            writing, self._writing = self._writing, None
            writing.task.result()

    async def aclose(self) -> None:
        """Nothing is under way any more."""
        if self._writing is not None:
            await whole(let_end({self._writing.task}))


@dataclass(slots=True)
class _History:
    run: Run
    resource: str
    table: str
    priority: Priority
    _written: list[Page] = field(default_factory=list)

    async def save(self, cursor: HistoryCursor, before: HistoryCursor) -> None:
        """Keep the cursor when it moved."""
        if cursor != before:
            await self.run.keep(self.table, Page(columns=()), states={self.resource: cursor.dump()})

    async def forward(self, cursor: HistoryCursor, priority: Priority) -> HistoryCursor:
        """From the first row, or a little before the place where an earlier run stopped, to the row that is the newest now.

        Its end becomes the watermark. Not complete when the time is over, nor when the reading took so long that what became
        live after the live list was read may lie outside the overlap that later runs read again.
        """
        newest = await self._newest()
        reader = self._reader("beginning", priority, Order.ASCENDING)
        reader.position = Position(max(0, cursor.rows - OVERLAP_IDS), cursor.last)
        begun_at = cursor.last
        batch = _Batch(self.run.appending(self.table), self.resource, cursor)
        async with aclosing(batch.appending), aclosing(reader.pages()) as pages:
            async for page in pages:
                await batch.add(page, reader.position)
                if newest is not None and reader.order is Order.ASCENDING:
                    if max(page.ids) >= newest:
                        break
                    reader.expect_up_to(newest)
                if self.run.out_of_time and not reader.ended and batch.cursor.last != begun_at:
                    self.run.complete = False
                    break
            cursor = await batch.finish()
        if not self.run.complete:
            return cursor
        # Unless a sweep has moved on since this run began: it may have written the same rows from an older answer.
        if await self.run.mirror.moved_at(place(self.table)) == self.run.memory.swept_at:
            self._written = batch.newest()
        if self.run.age > OVERLAP_TIME.total_seconds() / 2:
            self.run.complete = False
        return cursor.arrived()

    async def backward(
        self, cursor: HistoryCursor, before: HistoryCursor, live: int | None, most_pages: int | None
    ) -> None:
        """From the newest row down through the overlap, and the cursor behind it; not complete when the way is too long.

        Args:
            cursor: where the reading forward stands.
            before: the same at the start of the run.
            live: see `pull`.
            most_pages: beyond which the way is too long.
        """
        reader = self._reader("end", self.priority, Order.DESCENDING)
        read = 0
        newest: tuple[int, str | None] | None = None
        known = self.run.known(self.table, self._name("end"), times=True, written=self._written)
        aside = _Aside(self.run, self.table, known)
        async with aclosing(aside), aclosing(reader.pages()) as pages:
            async for page in pages:
                if order_of(page.ids) not in (Order.DESCENDING, None):
                    await self._forward_instead(cursor, before, live)
                    return
                aside.add(page)
                read += 1
                newest = newest or (page.ids[0], page.time_of(page.ids[0]))
                lowest = page.ids[-1]
                if cursor.far_enough(lowest, next(filter(None, reversed(page.times)), None)):
                    break
                if read == most_pages and lowest > cursor.watermark:
                    await aside.finish()
                    await self._send_back(cursor)
                    return
                await aside.begin()
            else:
                await self._refuse_gap(cursor, reader, newest)
            settled = cursor.settled(before, *(newest or (cursor.seen, cursor.seen_at)), live)
            await aside.finish(None if settled == before else {self.resource: settled.dump()})
        self.run.remember(self._name("end"), reader, aside.known.remembered())

    async def _forward_instead(self, cursor: HistoryCursor, before: HistoryCursor, live: int | None) -> None:
        """Where the platform lists ids ascending whatever we ask: from below the overlap to the end.

        It is an overlap of ids only; what comes later than that is the sweep's.
        """
        if "ascending" not in self.run.memory.said:
            events.emit(
                events.PLATFORM_UNEXPECTED, reason="dir=DESC is ignored: histories are read forward, at more requests"
            )
            self.run.memory.said.add("ascending")
        arrived = await self.forward(cursor, self.priority)
        if self.run.complete:
            await self.save(cursor.settled(before, arrived.seen, arrived.seen_at, live), before)

    async def _send_back(self, cursor: HistoryCursor) -> None:
        """So much is new that it is read like the first time: forward, resumable at every page."""
        rows = await Finder(self.run, self.resource, self.priority).rows_before(cursor.reread_from)
        await self.save(cursor.sent_back(rows), cursor)
        self.run.complete = False

    async def _refuse_gap(
        self, cursor: HistoryCursor, reader: ListReader, newest: tuple[int, str | None] | None
    ) -> None:
        """Backwards the list ended before it came to what forwards was read last: rows between the two are out of reach."""
        lowest = reader.position.last
        if newest is None or lowest is None or lowest <= cursor.watermark:
            return
        first = await self._ask(descending=False)
        if first.ids and first.ids[0] < lowest:
            events.emit(events.LISTING_CAPPED, rows=reader.position.rows, highest_id=newest[0])
            raise TransientError(
                f"the platform lists {self.resource} only up to a number of rows: ids between {cursor.watermark} and"
                f" {lowest} cannot be read"
            )

    async def _newest(self) -> int | None:
        """The highest id that there is; None where the platform cannot be asked for it."""
        page = await self._ask(descending=True)
        return None if order_of(page.ids) is not Order.DESCENDING else page.ids[0]

    async def _ask(self, *, descending: bool) -> Page:
        """The two rows at one end."""
        self.run.requests += 1
        return await self.run.reader.page(self.resource, Query(limit=2, descending=descending, priority=self.priority))

    def _reader(self, name: str, priority: Priority, order: Order) -> ListReader:
        backward = order is Order.DESCENDING
        ask = self.run.page_of(self.resource)
        reader = self.run.list_of(ask, self._name(name), priority=priority, order=order, once=not backward)
        reader.ahead = 1 if backward else reader.ahead
        reader.expected = None
        return reader

    def _name(self, name: str) -> str:
        return f"{self.resource}: {name}"
