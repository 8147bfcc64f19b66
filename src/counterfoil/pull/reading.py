"""Reads a paged list to its end, however it shifts, and says whether the end was proven."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field

from counterfoil.domain.errors import TransientError
from counterfoil.domain.page import Page
from counterfoil.domain.paging import Order, Window, connects, goes_beyond, order_of, window
from counterfoil.observe import events

Fetch = Callable[[int, int], Awaitable[Page]]

# Assumed: no server caps its pages below this. A shorter page is the last one, and nobody asks for an empty one behind it.
SMALLEST_CAP = 10
# Each try after a shift goes back twice as far; a list that even so does not connect is left for the next run.
MOST_SHIFTS = 24
# Assumed: caps are round numbers. A list that once ended for certain with a page of another length still ends with it.
ROUND = 10
# A list that is not sorted by id can only be read again from its beginning.
MOST_RESTARTS = 3
# Pages in a row that bring nothing new and do not come closer to it either.
MOST_IDLE_PAGES = 5
# Nobody's list: a server that never stops is given up.
MOST_PAGES = 20_000
# A page of at least so many records of which none can be read is no page of this list.
MANY = 10


@dataclass(slots=True)
class Position:
    """Where a reading stands: rows counted from the beginning, and the id of the last one (None: nothing read)."""

    rows: int = 0
    last: int | None = None


@dataclass(slots=True)
class ListReader:
    """Reads the pages of one list in order.

    `fetch(page, limit)` gets one page. `size`: rows asked for. `order`: how the list is wanted; what comes decides. `ahead`:
    requests under way at once; pages beyond `expected` rows are not asked for ahead. `capacity`: the largest page that this
    list has been seen to give, which is how a short page is told from a capped one; `end`: where it was known to end when
    it was last read. `ended`: a page was the last one. `proven`: the end is certain, for behind that page there was nothing,
    and every record told its id.
    """

    fetch: Fetch
    size: int
    order: Order = Order.ASCENDING
    ahead: int = 1
    expected: int | None = None
    position: Position = field(default_factory=Position)
    capacity: int = SMALLEST_CAP
    end: int | None = None
    ended: bool = False
    proven: bool = False
    _nameless: bool = False
    _order_seen: bool = False
    _at_start: bool = False
    _not_the_end: int | None = None
    _furthest: int | None = None
    _first: list[int] = field(default_factory=list)
    _flights: deque[tuple[Window, "asyncio.Task[Page]"]] = field(default_factory=deque)
    _full_pages: int = 0
    _shifts: int = 0
    _restarts: int = 0
    _idle: int = 0

    async def pages(self, *, prove: bool = False) -> AsyncGenerator[Page, None]:
        """The pages from the position on; called again with `prove`, it goes on to the proof of the end.

        To be closed by the caller (contextlib.aclosing), so that nothing is asked for any more.

        Raises:
            TransientError: the list cannot be read, shifts too fast, repeats itself, or never ends.
        """
        try:
            for _ in range(MOST_PAGES):
                if self.ended and (self.proven or not prove or await self._nothing_follows()):
                    return
                wanted = window(self.position.rows - 1, self.size)
                page = await self._get(wanted)
                # The count alone nearly always tells.
                if wanted.start and page.rows > wanted.limit and _rows(page) > wanted.limit:
                    await self._refuse_unless_whole(page)
                elif self._fits(wanted, page):
                    self._advance(wanted, page)
                    if page.rows:
                        yield page
            raise TransientError(f"the list did not end within {MOST_PAGES} pages")
        finally:
            self._drop_flights()

    def expect_up_to(self, newest: int) -> None:
        """Of a list sorted by id, ascending: this is its highest one, so no more rows can follow than ids lie between."""
        if self.position.last is not None:
            self.expected = self.position.rows + max(0, newest - self.position.last)

    async def _refuse_unless_whole(self, page: Page) -> None:
        """More rows came than were asked for: good where the platform gives this list whole, however it is asked."""
        if [*page.ids[:1]] != self._first or len(set((await self.fetch(1, 1)).ids)) < 2:
            raise TransientError("the platform gives pages of another length than was asked for")
        self.ended = self.proven = True

    async def _nothing_follows(self) -> bool:
        """Whether the row behind the last page does not exist; when it does, that page was not the last one."""
        self._drop_flights()
        behind = await (self.fetch(2, self.end or 1) if self._at_start else self.fetch((self.end or 0) + 1, 1))
        if behind.rows == 0 or [*behind.ids[:1]] == self._first:
            self.proven = not self._nameless
            return True
        if self._not_the_end == self.end:
            raise TransientError("the list goes on behind its last page, but no page shows how")
        self._not_the_end, self.ended = self.end, False
        return False

    def _fits(self, wanted: Window, page: Page) -> bool:
        """Whether the page continues what was read; when not, the position is set so that the next one does."""
        if page.rows and (not page.ids or (len(page.rejected) >= page.rows >= MANY and not page.lines)):
            raise TransientError("not one record of a page can be read")
        if wanted.start == 0:
            return True
        if self.capacity <= page.rows < min(wanted.limit, self.size):
            # The server may have its own page size, and with it its own idea of where page 2 begins.
            self.capacity = self.size = page.rows
            return False
        self._learn_order(page)
        seam = self.position.last
        if page.rows and (seam is None or connects(page.ids, seam, self.order)):
            return True
        self._step_back(wanted)
        return False

    def _learn_order(self, page: Page) -> None:
        order = order_of(page.ids)
        if order is not None:
            self.order = order if order is self.order or not self._order_seen else Order.OTHER
            self._order_seen = True

    def _step_back(self, wanted: Window) -> None:
        events.emit(events.PAGE_SHIFTED, offset=wanted.start)
        self._furthest = None
        if self.order is Order.OTHER:
            self.position = Position()
            self._restarts += 1
        else:
            self.position.rows = max(0, wanted.start - (max(1, self.size // 4) << self._shifts))
            self._shifts += 1
        if self._shifts > MOST_SHIFTS or self._restarts > MOST_RESTARTS:
            raise TransientError("the list shifts faster than it can be read")

    def _advance(self, wanted: Window, page: Page) -> None:
        """Move the position behind this page, and see whether it is the last one."""
        self._nameless = self._nameless or page.nameless > 0
        self._at_start = wanted.start == 0
        if self._at_start:
            self._learn_order(page)
            self._first = [*page.ids[:1]]
        self._note_progress(page)
        # Records without an id are read again with the next page: one of them may be the seam.
        self.position.rows = max(self.position.rows, wanted.start + min(_rows(page), wanted.limit))
        if page.rows >= wanted.limit and not (self._at_start and _rows(page) > wanted.limit):
            self.capacity = max(self.capacity, page.rows)
            self._full_pages += 1
            return
        end = wanted.start + page.rows - (len(page.ids) - len(set(page.ids)))
        if page.rows >= self.capacity:
            # Perhaps the server gives no more at once; then the next page goes on.
            self.capacity = self.size = page.rows
            if end != self.end or page.rows % ROUND == 0:
                return
        self.ended, self.proven, self.end = True, page.rows == 0, end

    def _note_progress(self, page: Page) -> None:
        if not page.ids:
            return
        seam, furthest = self.position.last, self._furthest
        progress = seam is None or goes_beyond(page.ids, seam, self.order)
        # A reading that starts far below its seam, or was set back there, comes up to it page by page.
        rising = self.order is not Order.OTHER and (furthest is None or goes_beyond(page.ids, furthest, self.order))
        if rising:
            self._furthest = page.ids[-1]
        if progress:
            self.position.last = page.ids[-1]
            self._shifts = 0
        self._idle = 0 if progress or rising else self._idle + 1
        if self._idle > MOST_IDLE_PAGES:
            raise TransientError("the platform gives the same rows again and again: the list cannot be read")

    async def _get(self, wanted: Window) -> Page:
        if not self._flights or self._flights[0][0] != wanted:
            self._drop_flights()
            self._launch(wanted)
        flight = self._flights.popleft()[1]
        self._look_ahead(wanted)
        return await flight

    def _launch(self, wanted: Window) -> None:
        self._flights.append((wanted, asyncio.ensure_future(self.fetch(wanted.page, wanted.limit))))

    def _look_ahead(self, wanted: Window) -> None:
        """Ask for what comes next: as far as the list is expected to go, else no further ahead than was already read."""
        latest = self._flights[-1][0] if self._flights else wanted
        most = self.ahead - 1 if self.expected else min(self.ahead - 1, self._full_pages)
        while self._full_pages and len(self._flights) < most:
            latest = window(latest.end - 1, self.size)
            if self.expected is not None and latest.start >= self.expected:
                return
            self._launch(latest)

    def _drop_flights(self) -> None:
        while self._flights:
            flight = self._flights.pop()[1]
            flight.cancel()
            flight.add_done_callback(_forget)


def _rows(page: Page) -> int:
    """Rows of a page, repeated ones counted once."""
    return min(page.rows, len(set(page.ids)))


def _forget(flight: "asyncio.Task[Page]") -> None:
    """A page that nobody wants any more may fail unheard."""
    if not flight.cancelled():
        flight.exception()
