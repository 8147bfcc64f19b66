"""One run of one resource: what it needs, what it counts, what it remembers for the next."""

import time
import uuid
from array import array
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from counterfoil.domain.page import ByMark, Page
from counterfoil.domain.paging import Order
from counterfoil.domain.priority import Priority
from counterfoil.observe import events
from counterfoil.platforms.base import Query, Reader
from counterfoil.pull.known import Known
from counterfoil.pull.pacing import STREAMED
from counterfoil.pull.reading import SMALLEST_CAP, ListReader
from counterfoil.store.appending import Appending
from counterfoil.store.bulk import Written
from counterfoil.store.mirror import Mirror
from counterfoil.store.newer import Asked
from counterfoil.store.underway import UnderWay

# Tables whose rows come from a list of live ones and from a history.
MIXED = ("orders", "positions")
# Seconds after which a page of a slow platform does not wait for others, so that little is read twice when we are ended.
LONGEST_WAIT = 1.0
# Told after each page: rows seen so far, and how many are expected (None: unknown).
Progress = Callable[[int, int | None], None]
# Asks a platform for the page that a query describes.
Ask = Callable[[Query], Awaitable[Page]]


@dataclass(slots=True)
class Listed:
    """What is remembered of one list: its pages by digest, its rows, the largest page that it gave, its certain end."""

    pages: dict[bytes, Page] = field(default_factory=dict)
    rows: int | None = None
    capacity: int = SMALLEST_CAP
    end: int | None = None


@dataclass(slots=True)
class Memory:
    """What a process remembers of a resource between runs, so that an unchanged page costs nothing.

    It holds only while no other replica has run the same resource: `token` is the lease under which it was made, and the
    next run's lease names its predecessor; and not for ever, for whatever else may write the same rows. `since`: when it was
    begun, on the run's clock. `swept_at`: when a sweep last moved on in the same table. `lists`: by a name of the run's own;
    `ids`: of the newest complete listing that needs no more thought; `order`: the same as it was listed, list by list, where
    there may be many; `said`: what need not be said at every run; `found`: whether earlier parts of a reading that is not
    complete yet found anything.
    """

    since: float
    token: uuid.UUID | None = None
    swept_at: datetime | None = None
    lists: dict[str, Listed] = field(default_factory=dict)
    ids: frozenset[int] | None = None
    order: "list[array[int]] | None" = None
    said: set[str] = field(default_factory=set)
    found: bool = False

    def listed(self, name: str) -> Listed:
        """What is remembered of one list."""
        return self.lists.setdefault(name, Listed())


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How to read: rows a page, requests under way at once, and seconds that a first reading may take in one run."""

    page_size: int
    ahead: int
    slice: float = 20.0


@dataclass(slots=True, kw_only=True)
class Run:
    """Everything that one run of one resource works with.

    `done`: the share of a long reading that is done, where it is known. `full`: read also what is only read now and then; `accepted`: tables whose rows may go however many vanished;
    `streamed`: events bring rows of the same tables meanwhile;
    `round_share`: which share of all accounts the slow round of this run may ask, so that all are asked within `round_length`.
    """

    mirror: Mirror
    reader: Reader
    resource: str
    memory: Memory
    pace: Pace
    full: bool = False
    accepted: frozenset[str] = frozenset()
    round_share: float = 0.0
    round_length: timedelta = timedelta(days=1)
    streamed: bool = False
    progress: Progress = lambda _rows, _expected: None
    clock: Callable[[], float] = time.monotonic
    written: Written = field(default_factory=Written)
    seen: int = 0
    requests: int = 0
    complete: bool = True
    done: float | None = None
    started: float = 0.0

    def __post_init__(self) -> None:
        self.started = self.clock()

    @property
    def age(self) -> float:
        """Seconds since it began."""
        return self.clock() - self.started

    @property
    def found(self) -> bool:
        """Whether it, or an earlier part of the same reading, found anything that the mirror did not know."""
        return self.memory.found or self.written.anything or self.written.quarantined > 0

    @property
    def out_of_time(self) -> bool:
        """Whether a long reading should make room for the next run of this resource."""
        return self.age > self.pace.slice

    def accepts(self, table: str) -> bool:
        """Whether a person said that the rows of a table may go, however many vanished."""
        return table in self.accepted

    def list_of(
        self,
        ask: Ask,
        name: str = "",
        *,
        priority: Priority = Priority.NORMAL,
        order: Order = Order.ASCENDING,
        once: bool = False,
        known: ByMark | None = None,
    ) -> ListReader:
        """A reader of one list, remembering under `name` what it gives. `once`: no page is ever asked for again; `known`: of Query."""
        listed = self.memory.listed(name)
        descending = order is Order.DESCENDING

        async def fetch(page: int, limit: int) -> Page:
            self.requests += 1
            query = Query(
                page=page,
                limit=limit,
                descending=descending,
                priority=priority,
                remembered=None if once else listed.pages,
                known=known,
            )
            return await ask(query)

        return ListReader(
            fetch,
            size=self.pace.page_size,
            order=order,
            ahead=self.pace.ahead,
            expected=listed.rows,
            capacity=listed.capacity,
            end=listed.end,
        )

    def forget_after(self, swept_at: datetime | None) -> None:
        """Remember no page from before a sweep last moved on: it writes the same rows, and maybe from an older answer."""
        if swept_at != self.memory.swept_at:
            self.memory.swept_at, self.memory.lists = swept_at, {}

    def known(self, table: str, name: str, *, times: bool = False, written: Sequence[Page] = ()) -> Known:
        """The rows of the list `name` as they were; of none where another list fills the same table too. `times`: as of Known.

        `written`: what is remembered of pages of this run whose rows are in the mirror by now; nobody else may have written them since.
        """
        pages = [*self.memory.listed(name).pages.values(), *([] if self.streamed else written)]
        return Known(() if table in MIXED else pages, times=times)

    def remember(self, name: str, reader: ListReader, pages: dict[bytes, Page] | None = None) -> None:
        """Keep what a reader learnt of the list `name`, and its pages, for the next run.

        Not the pages where events write the same rows: an unchanged answer then does not mean that the mirror is right.
        """
        kept = pages if pages and not self.streamed else {}
        self.memory.lists[name] = Listed(kept, reader.position.rows, reader.capacity, reader.end)

    def page_of(self, resource: str) -> Ask:
        """How to ask for a page of a list that is the platform's own."""

        async def ask(query: Query) -> Page:
            return await self.reader.page(resource, query)

        return ask

    async def single(self, resource: str, record_id: int, priority: Priority) -> Page | None:
        """One record; None when the platform does not have it."""
        self.requests += 1
        return await self.reader.single(resource, record_id, priority)

    def appending(self, table: str) -> Appending:
        """Write many pages of a first reading, see store.appending."""
        return Appending(self.mirror, table, self._landed, lambda page, states: self.keep(table, page, states=states))

    async def keep(
        self,
        table: str,
        page: Page,
        *,
        states: Mapping[str, dict[str, object]] | None = None,
        under_way: UnderWay | None = None,
    ) -> Written:
        """Write a page, and cursors with it, in one transaction; what is known to be unchanged is not written again.

        `under_way`: see Mirror.write.
        """
        wanted = Page(columns=()) if page.unchanged else page
        telling = Asked(self.started) if self.streamed and table in STREAMED else None
        written = await self.mirror.write(table, wanted, states=states, telling=telling, under_way=under_way)
        self._landed(page, written)
        return written

    def _landed(self, page: Page, written: Written) -> None:
        self.count(page, written)
        self.progress(self.seen, int(self.seen / self.done) if self.done else None)

    def count(self, page: Page, written: Written) -> None:
        """Add to the figures of this run, and say which records were put into quarantine."""
        self.seen += page.rows
        self.written += written
        by_reason = {rejected.reason: rejected for rejected in written.rejected}
        for reason, rejected in by_reason.items():
            count = sum(other.reason == reason for other in written.rejected)
            events.emit(events.RECORD_QUARANTINED, record_id=rejected.record_id, reason=reason, count=count)

    def deleted(self, rows: int) -> None:
        """Count tombstones."""
        self.written += Written(deleted=rows)
