"""One list read whole into the mirror, and remembered, so that the same list costs nothing the next time."""

import time
from array import array
from contextlib import aclosing
from dataclasses import dataclass, field

from counterfoil.domain.errors import CounterfoilError, TransientError
from counterfoil.domain.page import Page, joined
from counterfoil.domain.paging import Order
from counterfoil.domain.priority import Priority
from counterfoil.observe import events
from counterfoil.platforms.base import Query
from counterfoil.pull.known import Known
from counterfoil.pull.reading import ROUND, ListReader
from counterfoil.pull.run import LONGEST_WAIT, MIXED, Ask, Run

# With more requests than that under way at once, it pays to ask how far a list goes.
WIDE = 3


@dataclass(slots=True)
class WholeList:
    """One list of the run's resource; `name` tells it from the others of that resource.

    `listed`: the ids that it holds in the order listed, some of them twice: a small part of the memory of a set.
    """

    run: Run
    ask: Ask
    name: str = ""
    priority: Priority = Priority.NORMAL
    listed: "array[int]" = field(default_factory=lambda: array("q"))
    reader: ListReader = field(init=False)
    _known: Known = field(init=False)
    _unwritten: list[Page] = field(default_factory=list)
    _waiting_since: float = 0.0

    def __post_init__(self) -> None:
        self._known = self.run.known(self.run.resource, self.name)
        known = None if self.run.resource in MIXED else self._known.between
        self.reader = self.run.list_of(self.ask, self.name, priority=self.priority, known=known)

    @property
    def ids(self) -> set[int]:
        """What it holds; a new set every time."""
        return set(self.listed)

    async def read(self, *, prove: bool = False) -> None:
        """Read it into the mirror; called again with `prove`, go on to the proof of its end."""
        try:
            async with aclosing(self.reader.pages(prove=prove)) as pages:
                async for page in pages:
                    self.listed.extend(page.ids)
                    if self.reader.expected is None and len(self.listed) == len(page.ids):
                        await self._expect(page)
                    await self._keep(self._known.less(page))
        except CounterfoilError:
            # What was read is true, whatever became of the rest.
            await self._write()
            raise
        await self._write()
        self.run.remember(self.name, self.reader, self._known.remembered())

    async def _keep(self, page: Page) -> None:
        """Write a page; the few rows of several are written together."""
        if page.unchanged:
            await self.run.keep(self.run.resource, page)
            return
        if not self._unwritten:
            self._waiting_since = time.monotonic()
        self._unwritten.append(page)
        rows = sum(len(one.lines) + len(one.rejected) for one in self._unwritten)
        if rows >= self.reader.size or time.monotonic() - self._waiting_since > LONGEST_WAIT:
            await self._write()

    async def _write(self) -> None:
        if self._unwritten:
            pages, self._unwritten = self._unwritten, []
            await self.run.keep(self.run.resource, joined(pages))

    async def _expect(self, page: Page) -> None:
        """How far a list that nobody has read yet will go: one request more, and none that asks beyond its end."""
        is_wide = self.run.pace.ahead > WIDE and page.rows >= self.reader.size
        if is_wide and self.reader.order is Order.ASCENDING and (newest := await self._newest()):
            self.reader.expect_up_to(max(newest))

    async def refuse_cap(self) -> None:
        """Ask for the newest row when the list may have been cut off at a number of rows.

        Raises:
            TransientError: the list ends before it; the event says so.
        """
        ids = self.ids
        if not ids or len(ids) % ROUND or self.reader.order is not Order.ASCENDING:
            return
        if await self._newest() <= ids:
            return
        # A row may have come just now; then it follows.
        self.reader.ended = self.reader.proven = False
        await self.read(prove=True)
        ids = self.ids
        if not await self._newest() <= ids:
            events.emit(events.LISTING_CAPPED, rows=len(ids), highest_id=max(ids))
            raise TransientError(
                f"the platform lists {self.run.resource} only up to {len(ids)} rows: the rest is missing"
            )

    async def _newest(self) -> set[int]:
        """The ids at the other end of the list; none where the platform cannot be asked from there."""
        self.run.requests += 1
        page = await self.ask(Query(limit=2, descending=True, priority=self.priority))
        return set(page.ids) if len(page.ids) > 1 and page.ids[0] > page.ids[-1] else set()
