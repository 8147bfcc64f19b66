"""Reading a list that changes while it is read, from an API that only knows page numbers.

Every request but the first overlaps the rows that were read before it. When rows vanish from the part already read, the
rest moves up; the overlap then no longer meets what was read, and the gap is seen instead of skipped. An API of pages
cannot ask for "500 rows from row 499", but it can be asked for page 2 of 499 rows: `window` finds such a pair.
"""

from collections.abc import Sequence
from dataclasses import dataclass

# How many page sizes below the wanted one are tried for the pair that reaches furthest.
_TRIES = 16


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


def window(row: int, size: int) -> Window:
    """The window of at most `size` rows that holds row `row` (from 0) and reaches furthest beyond it."""
    first = Window(1, size)
    if row <= 0:
        return first
    fewest = -(-row // size)
    pairs = [Window(pages + 1, row // pages) for pages in range(max(1, fewest), fewest + _TRIES) if row // pages > 1]
    best = max(pairs, key=lambda pair: (pair.end, pair.start), default=first)
    return best if best.end > row + 1 else first


def connects(ids: Sequence[int], seam: int, *, ascending: bool, descending: bool) -> bool:
    """Whether a page with these ids leaves no gap behind the row `seam`, the last one read before it.

    In a list sorted by id the page only has to begin at or before the seam, which may itself be gone; in any other the seam
    must be in it.
    """
    if not ids:
        return False
    if ascending:
        return ids[0] <= seam or seam in ids
    if descending:
        return ids[0] >= seam or seam in ids
    return seam in ids
