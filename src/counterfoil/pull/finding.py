"""Finds rows of a history that is sorted by id, from an API that only knows page numbers: by halving."""

from dataclasses import dataclass, field

from counterfoil.domain.page import Page
from counterfoil.domain.priority import Priority
from counterfoil.platforms.base import Query
from counterfoil.pull.run import Run

# Doublings, and halvings after them, of a history of 2**40 pages.
_MOST_STEPS = 40


@dataclass(slots=True)
class Finder:
    """Looks for ids in one history. What it saw is kept meanwhile: the ways to most rows begin alike."""

    run: Run
    resource: str
    priority: Priority
    _seen: dict[int, Page] = field(default_factory=dict)

    async def find(self, record_id: int) -> Page | None:
        """The page that holds a record; None when the history does not."""
        number = await self._number(record_id)
        return await self._ask(number) if record_id in self._seen[number].ids else None

    async def rows_before(self, record_id: int) -> int:
        """About how many rows come before the page where this id is or would be."""
        number = await self._number(record_id)
        # The server's own page size, where it has one.
        return (number - 1) * max((page.rows for page in self._seen.values()), default=0)

    async def _number(self, record_id: int) -> int:
        """The first page that does not end before this id."""
        low = high = 1
        for _ in range(_MOST_STEPS):
            if not await self._ends_before(high, record_id):
                break
            low, high = high + 1, high * 2
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if await self._ends_before(middle, record_id) else (low, middle)
        return low

    async def _ends_before(self, number: int, record_id: int) -> bool:
        page = self._seen.get(number) or await self._ask(number)
        return bool(page.ids) and max(page.ids) < record_id

    async def _ask(self, number: int) -> Page:
        self.run.requests += 1
        query = Query(page=number, limit=self.run.pace.page_size, priority=self.priority)
        page = await self.run.reader.page(self.resource, query)
        self._seen[number] = page.remembered()
        return page
