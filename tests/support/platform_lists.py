"""A list behind an API of page numbers, in memory, with every bad habit that a server may have."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from counterfoil.domain.page import Page, Rejected


@dataclass
class ScriptedList:
    """Rows by their ids, in the order in which they are listed.

    `cap`: the largest page that the server gives, whatever is asked. `fixed`: its only page size. `whole`: it knows no pages.
    `same`: it always gives page 1. `lies`: of every page only so many rows. `after`: called with the number of each request,
    once it has been answered, to change `rows`. `nameless`: ids of rows whose id cannot be read. `asked`: page and limit.
    """

    rows: list[int]
    cap: int | None = None
    fixed: int | None = None
    whole: bool = False
    same: bool = False
    lies: int | None = None
    twice: int = 0
    nameless: frozenset[int] = frozenset()
    after: Callable[[int, list[int]], None] = lambda _number, _rows: None
    asked: list[tuple[int, int]] = field(default_factory=list)

    async def fetch(self, page: int, limit: int) -> Page:
        """One page, as the list is now."""
        self.asked.append((page, limit))
        given = self._given(1 if self.same else page, limit)
        given = given[: self.twice] + given
        read = [row for row in given if row not in self.nameless]
        self.after(len(self.asked), self.rows)
        rejected = [Rejected(None, "no id", "{}") for row in given if row in self.nameless]
        return Page(("id",), rows=len(given), ids=read, rejected=rejected, lines=[b"1"] * len(read))

    def _given(self, page: int, limit: int) -> Sequence[int]:
        if self.whole:
            return list(self.rows)
        limit = self.fixed or min(limit, self.cap or limit)
        return self.rows[(page - 1) * limit : page * limit][: self.lies]
