"""Reading a list that changes while it is read, from an API that only knows page numbers.

Every request but the first overlaps the rows that were read before it. When rows vanish from the part already read, the
rest moves up; the overlap then no longer meets what was read, and the gap is seen instead of skipped. An API of pages
cannot ask for "500 rows from row 499", but it can be asked for page 2 of 499 rows: `window` finds such a pair.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache
from itertools import count


class Order(Enum):
    """How the ids of a list run."""

    ASCENDING = auto()
    DESCENDING = auto()
    OTHER = auto()
    """By something else, but always the same way."""


@dataclass(frozen=True, slots=True)
class Window:
    """Rows `start` (from 0) to `start + limit`, which is page `page` of `limit` rows."""

    page: int
    limit: int

    @property
    def start(self) -> int:
        """Number of rows before this window."""
        return (self.page - 1) * self.limit

    @property
    def end(self) -> int:
        """Number of rows up to the end of this window, when it is full."""
        return self.page * self.limit


@lru_cache(maxsize=10_000)
def window(row: int, size: int) -> Window:
    """The window of at most `size` rows, 2 or more, that holds row `row` (from 0) and reaches furthest beyond it.

    Where every page size up to `size` ends a page with that very row, which happens at the multiples of all of them, the
    window is as much larger than `size` as it must be: for `size` 2 at row 1, and in no list on earth from 23 on.
    """
    if row <= 0:
        return Window(1, size)
    best = reached = 0
    for limit in range(size, size // 2, -1):
        if limit <= reached:
            break  # a smaller one cannot reach further
        if limit - row % limit > reached:
            best, reached = limit, limit - row % limit
    if (row + 1) % best == 0:
        best = next(limit for limit in count(size + 1) if (row + 1) % limit)
    return Window(row // best + 1, best)


def order_of(ids: Sequence[int]) -> Order | None:
    """How these ids run, repeated ones left out; None when there are too few to tell."""
    # Nearly every page is sorted, which is quickly seen.
    if len(ids) > 1 and ids[0] < ids[-1] and sorted(ids) == list(ids):
        return Order.ASCENDING
    distinct = list(dict.fromkeys(ids))
    if len(distinct) < 2:
        return None
    rising = sorted(distinct)
    if distinct == rising:
        return Order.ASCENDING
    return Order.DESCENDING if distinct[::-1] == rising else Order.OTHER


def connects(ids: Sequence[int], seam: int, order: Order) -> bool:
    """Whether a page with these ids leaves no gap behind the row `seam`, the last one read before it.

    In a list sorted by id the page only has to begin at or before the seam, which may itself be gone; in any other the seam
    must be in it.
    """
    match order:
        case Order.ASCENDING:
            return ids[0] <= seam
        case Order.DESCENDING:
            return ids[0] >= seam
        case Order.OTHER:
            return seam in ids


def goes_beyond(ids: Sequence[int], seam: int, order: Order) -> bool:
    """Whether a page that connects holds rows behind the seam."""
    match order:
        case Order.ASCENDING:
            return ids[-1] > seam
        case Order.DESCENDING:
            return ids[-1] < seam
        case Order.OTHER:
            return ids[-1] != seam
