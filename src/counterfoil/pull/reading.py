"""Reads a paged list to its end, however it shifts, and says whether the end was proven."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field

from counterfoil.domain.errors import TransientError
from counterfoil.domain.page import Page
from counterfoil.domain.paging import Window, connects, window
from counterfoil.observe import events

Fetch = Callable[[int, int], Awaitable[Page]]

# Assumed: no server caps its pages below this. A shorter page is the last one, without asking for an empty one behind it.
SMALLEST_CAP = 10
# A list that moves faster than it can be read is left for the next run.
MOST_SHIFTS = 10
# Windows in a row that bring no new row, in a list where rows were put in below.
MOST_IDLE_WINDOWS = 20
# Nobody's list: a server that never stops is given up.
MOST_PAGES = 200_000


@dataclass(slots=True)
class Position:
    """Where a reading stands: rows counted from the beginning, and the id of the last one (None: nothing read)."""

    rows: int = 0
    last: int | None = None


@dataclass(slots=True)
class ListReader:
    """Reads the pages of one list in order.

    `fetch(page, limit)` gets one page. `size`: rows asked for at most. `ahead`: requests under way at once; pages beyond
    `expected` rows are not asked for ahead. `capacity`: the largest page that this list has been seen to give, which is how
    a short page is told from a capped one. After a reading, `proven` says whether the end is certain: a page behind the
    last row was asked for and held nothing.
    """

    fetch: Fetch
    size: int
    ahead: int = 1
    expected: int | None = None
    position: Position = field(default_factory=Position)
    capacity: int = SMALLEST_CAP
    proven: bool = False
    _flights: deque[tuple[Window, "asyncio.Task[Page]"]] = field(default_factory=deque)
    _before: tuple[int, list[int]] = (0, [])
    _digest: bytes = b""
    _largest: int = 0
    _capped: bool = False
    _full: bool = False
    _shifts: int = 0
    _idle: int = 0

    def __post_init__(self) -> None:
        self._largest = self.size

    async def pages(self, *, prove: bool = False) -> AsyncIterator[Page]:
        """The pages from the position on; called again with `prove`, it goes on to the proof of the end.

        Raises:
            TransientError: the list shifts too fast, repeats itself, or never ends.
        """
        try:
            for _ in range(MOST_PAGES):
                wanted = window(self.position.rows - 1, self.size)
                page = await self._get(wanted)
                if page.rows == 0:
                    self.proven = True
                    return
                if not self._fits(wanted, page):
                    continue
                progress = self._advance(wanted, page)
                if progress:
                    yield page
                if self._ended(wanted, page, progress=progress, prove=prove):
                    return
            raise TransientError(f"the list did not end within {MOST_PAGES} pages")
        finally:
            self._drop_flights()

    def _fits(self, wanted: Window, page: Page) -> bool:
        """Whether the page continues what was read; when not, the position is set back so that the next one does."""
        if self.position.last is None:
            return True
        start, ids = self._before
        known = wanted.start - start
        moved = 0 <= known < len(ids) and bool(page.ids) and page.ids[0] != ids[known]
        if moved and page.digest and page.digest == self._digest:
            raise TransientError("the platform gives the same page again and again: the list cannot be read")
        if moved and page.rows < wanted.limit and not self._capped:
            self.size, self._capped = max(2, page.rows), True
            return False
        ascending, descending = page.ascending, page.descending
        if connects(page.ids, self.position.last, ascending=ascending, descending=descending and not ascending):
            return True
        self._step_back(wanted)
        return False

    def _step_back(self, wanted: Window) -> None:
        self._shifts += 1
        if self._shifts > MOST_SHIFTS:
            raise TransientError("the list shifts faster than it can be read")
        events.emit(events.PAGE_SHIFTED, offset=wanted.start)
        # Further with each try: how many rows went is not known.
        self.position.rows = max(0, wanted.start - self.size * self._shifts)

    def _advance(self, wanted: Window, page: Page) -> bool:
        """Move the position behind this page; False when it held nothing new."""
        end = wanted.start + page.rows
        fresh = self.position.last is None or page.ids[-1:] != [self.position.last]
        progress = fresh and not (
            page.ascending and self.position.last is not None and page.ids[-1] <= self.position.last
        )
        rising = page.ascending and page.ids[-1:] > self._before[1][-1:]
        self._before, self._digest = (wanted.start, page.ids), page.digest
        self.position.rows = end if progress else max(end, self.position.rows)
        if progress and page.ids:
            self.position.last = page.ids[-1]
        # A reading resumed far below its seam comes up to it page by page.
        self._idle = 0 if progress or rising else self._idle + 1
        if self._idle > MOST_IDLE_WINDOWS:
            raise TransientError("the pages of the list do not advance")
        return progress

    def _ended(self, wanted: Window, page: Page, *, progress: bool, prove: bool) -> bool:
        self._full = page.rows >= wanted.limit
        if self._full:
            self.capacity = max(self.capacity, page.rows)
            if not self._capped:
                self.size = min(self._largest, self.size * 2)
            return False
        if not progress:
            self.proven = True
            return True
        if page.rows < self.capacity and not prove:
            return True
        self.capacity = max(self.capacity, page.rows)
        self.size = max(2, min(self.size, page.rows))
        return False

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
        # Only a list that fills its pages is worth asking ahead of.
        if not self._full:
            return
        latest = self._flights[-1][0] if self._flights else wanted
        while len(self._flights) < self.ahead - 1:
            latest = window(latest.end - 1, self.size)
            if self.expected is not None and latest.start >= self.expected:
                return
            self._launch(latest)

    def _drop_flights(self) -> None:
        while self._flights:
            flight = self._flights.pop()[1]
            flight.cancel()
            flight.add_done_callback(_forget)


def _forget(flight: "asyncio.Task[Page]") -> None:
    """A page that nobody wants any more may fail unheard."""
    if not flight.cancelled():
        flight.exception()
