"""Rows of a page that changed which are themselves as they were: they need be neither read nor written to find that out."""

from collections.abc import Iterable
from dataclasses import InitVar, dataclass, field

from counterfoil.domain.page import Page


@dataclass(slots=True)
class Known:
    """What is remembered of the rows of one list, from the run before: `pages` in the order in which they were listed.

    Nothing is left out of a page that shows a row twice, nor a row that the page before showed otherwise: while a list is read a row may
    change and change back, and only the database knows what it was written as.
    """

    pages: InitVar[Iterable[Page]]
    _spans: list[tuple[int, int, Page]] = field(init=False)
    _before: frozenset[int] = field(default_factory=frozenset)

    def __post_init__(self, pages: Iterable[Page]) -> None:
        ends = ((page.ids[0], page.ids[-1], page) for page in pages if page.marks)
        self._spans = [(min(first, last), max(first, last), page) for first, last, page in ends]

    def less(self, page: Page) -> Page:
        """The page without the rows that were listed just so."""
        before, self._before = self._before, frozenset()
        if page.unchanged or not page.ids:
            return page
        shown = set(page.ids)
        is_twice = len(shown) < len(page.ids)
        if page.whole and (is_twice or before & shown.difference(page.line_ids)):
            page = page.whole()
        if not is_twice:
            marks = self._marks(min(shown), max(shown))
            page = page.less({row for row, mark in _marked(page) if marks.get(row) == mark} - before)
        self._before = frozenset(page.line_ids)
        # It holds on to the whole answer.
        page.whole = None
        return page

    def between(self, low: int, high: int) -> dict[int, int]:
        """Rows by their marks, at least those with ids from `low` to `high`."""
        return {mark: row for row, mark in self._marks(low, high).items() if mark is not None}

    def _marks(self, low: int, high: int) -> dict[int, int | None]:
        """The marks of rows with about these ids; of a row that was listed in two ways, none."""
        found: dict[int, int | None] = {}
        for lowest, highest, page in self._spans:
            if lowest <= high and highest >= low:
                for row, mark in zip(page.ids, page.marks, strict=True):
                    found[row] = mark if found.get(row, mark) == mark else None
        return found


def _marked(page: Page) -> Iterable[tuple[int, int]]:
    """Its rows with their marks."""
    if page.marks:
        return zip(page.ids, page.marks, strict=True)
    return zip(page.line_ids, map(hash, page.lines), strict=True)
