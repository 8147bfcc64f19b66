"""Histories read by id: deals, and what orders and positions become once they are done.

The first reading goes from the beginning, page by page, and can be resumed at any page. After it every run reads backwards
from the newest row until it has re-read the overlap. Where the platform cannot read backwards, the run goes forward from
below the overlap instead.
"""

from dataclasses import dataclass, replace

from counterfoil.domain.cursor import OVERLAP_IDS, HistoryCursor
from counterfoil.domain.errors import TransientError
from counterfoil.domain.page import Page
from counterfoil.domain.priority import Priority
from counterfoil.observe import events
from counterfoil.pull.reading import ListReader, Position
from counterfoil.pull.run import Listed, Run

# A backward reading this long means that much was missed: going forward can be resumed, going backward cannot.
LONGEST_WAY_BACK = 50


async def pull(run: Run, resource: str, table: str, *, priority: Priority, live: int | None = None) -> None:
    """One poll of a history.

    Args:
        run: the run.
        resource: the list to read, which is also the cursor's name.
        table: where its rows go.
        priority: of the newest rows; a first reading goes last.
        live: highest id of the live list, read before this; None where there is no such list.
    """
    before = HistoryCursor.load(await run.mirror.cursor(resource))
    history = _History(run, resource, table, priority)
    cursor = before if before.begun else await history.from_the_beginning(before)
    if not run.complete:
        return
    newest = await history.back_to_the_overlap(cursor)
    if newest is None:
        run.complete = False
        return
    settled = cursor.settled(before, *newest, live)
    if settled != before:
        await run.keep(table, Page(columns=()), states={resource: settled.dump()})


@dataclass(slots=True)
class _History:
    run: Run
    resource: str
    table: str
    priority: Priority

    async def from_the_beginning(self, cursor: HistoryCursor) -> HistoryCursor:
        """From the first row, or where an earlier run stopped, to the end; not complete when the time is over.

        Its end becomes the watermark: a run lasts seconds and reads the live list first, so what was live unseen meanwhile
        lies within the overlap that the next runs read again.
        """
        reader = self._reader("beginning", Priority.SWEEP)
        reader.position = Position(cursor.rows, cursor.seen if cursor.rows else None)
        async for page in reader.pages():
            newest = max(page.ids, default=cursor.seen)
            cursor = cursor.advanced(newest, _time_of(page, newest), reader.position.rows)
            await self.run.keep(self.table, page, states={self.resource: cursor.dump()})
            if self.run.out_of_time:
                self.run.complete = False
                return cursor
        return replace(cursor, begun=True, watermark=cursor.seen, watermark_at=cursor.seen_at)

    async def back_to_the_overlap(self, cursor: HistoryCursor) -> tuple[int, str | None] | None:
        """From the newest row backwards; returns its id and time, None when the way is too long to go backwards."""
        reader = self._reader("end", self.priority, descending=True)
        listed = Listed(capacity=reader.capacity)
        newest: tuple[int, str | None] | None = None
        pages = 0
        async for page in reader.pages():
            if not page.descending:
                return await self._forward(cursor)
            await self.run.keep(self.table, page)
            listed.pages[page.digest] = page if page.unchanged else page.remembered()
            newest = newest or (page.ids[0], _time_of(page, page.ids[0]))
            lowest, pages = page.ids[-1], pages + 1
            if cursor.far_enough(lowest, _time_of(page, lowest)):
                break
            if pages >= LONGEST_WAY_BACK and lowest > cursor.watermark:
                await self._begin_again_from(cursor)
                return None
        else:
            self._refuse_gap(cursor, reader, newest)
        listed.capacity = reader.capacity
        self.run.memory.lists[self._name("end")] = listed
        return newest or (cursor.seen, cursor.seen_at)

    async def _forward(self, cursor: HistoryCursor) -> tuple[int, str | None]:
        """Where the platform gives ids ascending whatever we ask: from below the overlap to the end."""
        events.emit(
            events.PLATFORM_UNEXPECTED, reason="dir=DESC is ignored: histories are read forward, at more requests"
        )
        reader = self._reader("forward", self.priority)
        reader.position = Position(max(0, cursor.rows - OVERLAP_IDS))
        newest = (cursor.seen, cursor.seen_at)
        async for page in reader.pages():
            await self.run.keep(self.table, page)
            newest = max(newest, (page.ids[-1], _time_of(page, page.ids[-1])), key=lambda row: row[0])
        return newest

    async def _begin_again_from(self, cursor: HistoryCursor) -> None:
        """So much is new that it is read like a first reading: forward, resumable at every page."""
        state = replace(cursor, begun=False).dump()
        await self.run.keep(self.table, Page(columns=()), states={self.resource: state})

    def _refuse_gap(self, cursor: HistoryCursor, reader: ListReader, newest: tuple[int, str | None] | None) -> None:
        """Backwards the list ended before it came to what forwards was read last: rows between the two are out of reach."""
        lowest = reader.position.last
        if cursor.watermark and lowest is not None and lowest > cursor.watermark:
            events.emit(events.LISTING_CAPPED, rows=reader.position.rows, highest_id=newest[0] if newest else lowest)
            raise TransientError(
                f"the platform lists {self.resource} only up to a number of rows: ids between {cursor.watermark} and {lowest}"
                " cannot be read"
            )

    def _reader(self, name: str, priority: Priority, *, descending: bool = False) -> ListReader:
        reader = self.run.list_of(
            self.run.page_of(self.resource), self._name(name), priority=priority, descending=descending
        )
        reader.ahead = 1 if descending else reader.ahead
        reader.expected = None
        return reader

    def _name(self, name: str) -> str:
        return f"{self.resource}: {name}"


def _time_of(page: Page, record_id: int) -> str | None:
    try:
        return page.times[page.line_ids.index(record_id)]
    except ValueError:
        return None
