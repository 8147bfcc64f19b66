"""Rows of a page that changed which are themselves as they were: they need be neither read nor written to find that out."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from counterfoil.domain.page import Page


@dataclass(slots=True)
class Known:
    """What is remembered of the rows of one list: `pages`, of the run before; and what this run was shown of it so far.

    While a list is read a row may be shown more than once, and otherwise each time. It is left out only where all pages that
    show it agree, and never of a page that shows a row twice; only the database knows what it was written as. `times`: whether
    the creation times are to be remembered.
    """

    pages: Sequence[Page]
    times: bool = False
    _shown: dict[bytes, Page] = field(default_factory=dict)
    _changed: list[Page] = field(default_factory=list)
    _contradicted: set[bytes] = field(default_factory=set)

    def less(self, page: Page) -> Page:
        """The page without the rows that were listed just so."""
        if page.unchanged:
            if any(_differ(page, other) for other in _beside(page, self._changed)):
                self._contradicted.add(page.digest)
            self._shown[page.digest] = page
            return page
        marks = self._marks(page)
        same = {row for row, mark in _marked(page) if marks.get(row) == mark}
        is_twice = len(set(page.ids)) < len(page.ids)
        if page.whole and (is_twice or not same.issuperset(set(page.ids).difference(page.line_ids))):
            page = page.whole()
        remembered = page.remembered(times=self.times)
        if not is_twice:
            page = page.less(same)
        # It holds on to the whole answer.
        page.whole = None
        self._note(remembered, frozenset(page.line_ids))
        return page

    def between(self, low: int, high: int) -> dict[int, int]:
        """Rows with ids from `low` to `high` by their marks."""
        marks = _agreed(_overlapping(self.pages, low, high))
        return {mark: row for row, mark in marks.items() if mark is not None and low <= row <= high}

    def remembered(self) -> dict[bytes, Page]:
        """The pages of this run by their digests, but those that show a row otherwise than it was written last."""
        return {digest: page for digest, page in self._shown.items() if digest not in self._contradicted}

    def _marks(self, page: Page) -> Mapping[int, int | None]:
        """The marks of its rows as the run before was shown them, where nothing that came since differs."""
        marks = _agreed(_beside(page, self.pages))
        for other in _beside(page, self._changed) if marks else ():
            now = dict(zip(other.ids, other.marks, strict=True)) if other.marks else dict.fromkeys(other.ids)
            marks.update((row, None) for row in marks.keys() & now.keys() if marks[row] != now[row])
        return marks

    def _note(self, page: Page, written: frozenset[int]) -> None:
        """This page is written now: others that show any of its rows otherwise do no longer show what is in the mirror."""
        if written:
            others = _beside(page, self._shown.values())
            self._contradicted.update(other.digest for other in others if _differ(other, page, written))
        self._contradicted.discard(page.digest)
        self._shown[page.digest] = page
        self._changed.append(page)


def _beside(page: Page, others: Iterable[Page]) -> Iterator[Page]:
    """Those of other pages that may show rows of this one."""
    return _overlapping(others, *page.span()) if page.ids else iter(())


def _overlapping(pages: Iterable[Page], low: int, high: int) -> Iterator[Page]:
    for page in pages:
        if page.ids:
            lowest, highest = page.span()
            if lowest <= high and highest >= low:
                yield page


def _agreed(pages: Iterable[Page]) -> dict[int, int | None]:
    """The marks of the rows of pages; of one that is shown in two ways, or on a page without marks, none."""
    found: dict[int, int | None] = {}
    for page in pages:
        if not page.marks:
            found.update(dict.fromkeys(page.ids))
            continue
        for row, mark in zip(page.ids, page.marks, strict=True):
            found[row] = mark if found.get(row, mark) == mark else None
    return found


def _differ(one: Page, other: Page, rows: frozenset[int] | None = None) -> bool:
    """Whether two pages show a row otherwise, one of these rows where some are named; pages without marks may."""
    shared = frozenset(one.ids).intersection(other.ids, *(() if rows is None else (rows,)))
    if not shared or not (one.marks and other.marks):
        return bool(shared)
    marks = dict(zip(one.ids, one.marks, strict=True))
    return any(marks[row] != mark for row, mark in zip(other.ids, other.marks, strict=True) if row in shared)


def _marked(page: Page) -> Iterable[tuple[int, int]]:
    """Its rows with their marks."""
    if page.marks:
        return zip(page.ids, page.marks, strict=True)
    return zip(page.line_ids, map(hash, page.lines), strict=True)
