"""Rows of a page that changed which are themselves as they were: they need not be written to find that out."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from counterfoil.domain.page import Page


@dataclass(slots=True)
class Known:
    """What is remembered of the rows of one list, from the run before: `pages` in the order in which they were listed.

    Nothing is left out of a page that shows a row twice, nor a row that the page before showed too: while a list is read a row may
    change and change back, and only the database knows what it was written as.
    """

    pages: Iterable[Page]
    _before: frozenset[int] = field(default_factory=frozenset)

    def less(self, page: Page) -> Page:
        """The page without the rows that were listed just so."""
        before, self._before = self._before, frozenset(page.ids)
        if page.unchanged or len(self._before) < len(page.ids):
            return page
        marks = self._marks(page.ids)
        same = {row for row, line in zip(page.line_ids, page.lines, strict=True) if marks.get(row) == hash(line)}
        return page.less(same - before)

    def _marks(self, ids: Sequence[int]) -> dict[int, int | None]:
        """The marks of rows with about these ids; of a row that was listed in two ways, none."""
        found: dict[int, int | None] = {}
        low, high = (min(ids), max(ids)) if ids else (0, 0)
        for page in self.pages:
            if page.marks and min(page.ids[0], page.ids[-1]) <= high and max(page.ids[0], page.ids[-1]) >= low:
                for row, mark in zip(page.ids, page.marks, strict=True):
                    found[row] = mark if found.get(row, mark) == mark else None
        return found
