"""One page of records on its way from a platform to the mirror."""

from array import array
from collections.abc import Callable, Mapping, MutableSequence, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace

# The ids of the records that are remembered of a list, at least those between two ids, by their marks.
ByMark = Callable[[int, int], Mapping[int, int]]


@dataclass(frozen=True, slots=True)
class Rejected:
    """A record that cannot be read: its id as sent (None when it has none), what is wrong, and its text."""

    record_id: str | None
    reason: str
    body: str


@dataclass(slots=True)
class Page:
    """The records of one answer.

    `ids`: the ids of all records in the order sent, of the rejected ones too where they could be read: what was listed
    is there. `lines`: one line per good record (domain.line), in the order of `columns`. `rows`: the number of records
    sent. `times`: the creation time of the good records as sent, aligned with `line_ids`. `symbol_ids`: the symbols of
    the good records, where their names are wanted beside them; else empty. `digest`: hash of the answer; equal digests,
    equal pages. `unchanged`: this is what is remembered of such a page whose rows are in the mirror already. `marks`:
    hashes of the records as sent, aligned with `ids`, where a reader made them; of what is remembered else those of the
    lines, unless some records were rejected. `whole`: reads this page again with the rows that were left out because
    they are known; None where none were.
    """

    columns: tuple[str, ...]
    rows: int = 0
    ids: MutableSequence[int] = field(default_factory=list)
    lines: list[bytes] = field(default_factory=list)
    line_ids: list[int] = field(default_factory=list)
    times: list[str | None] = field(default_factory=list)
    symbol_ids: list[int | None] = field(default_factory=list)
    rejected: list[Rejected] = field(default_factory=list)
    digest: bytes = b""
    unchanged: bool = False
    marks: "array[int]" = field(default_factory=lambda: array("q"))
    whole: "Callable[[], Page] | None" = field(default=None, repr=False, compare=False)
    _span: tuple[int, int] | None = field(default=None, init=False, repr=False, compare=False)

    def span(self) -> tuple[int, int]:
        """The lowest and the highest id; of a page that has any, and that nobody changes any more."""
        if self._span is None:
            self._span = min(self.ids), max(self.ids)
        return self._span

    def distinct(self) -> tuple[list[int], list[bytes]]:
        """Ids and lines with the last of any repeated id: platforms do send a record twice in one page."""
        if self.unchanged:
            return [], []
        if len(set(self.line_ids)) == len(self.line_ids):
            return self.line_ids, self.lines
        last = dict(zip(self.line_ids, self.lines, strict=True))
        return list(last), list(last.values())

    def less_first(self, rows: int) -> "Page":
        """The page without its first records, which are good ones; `rows` still counts them."""
        return replace(
            self,
            ids=self.ids[rows:],
            lines=self.lines[rows:],
            line_ids=self.line_ids[rows:],
            times=self.times[rows:],
            symbol_ids=self.symbol_ids[rows:],
        )

    def less(self, rows: AbstractSet[int]) -> "Page":
        """The page without the lines of these good records; they are still counted as listed."""
        if not rows:
            return self
        kept = [at for at, row in enumerate(self.line_ids) if row not in rows]
        return replace(
            self,
            lines=[self.lines[at] for at in kept],
            line_ids=[self.line_ids[at] for at in kept],
            times=[self.times[at] for at in kept] if self.times else [],
            symbol_ids=[self.symbol_ids[at] for at in kept] if self.symbol_ids else [],
        )

    def remembered(self, *, times: bool = False) -> "Page":
        """What to keep of a page once its rows are in the mirror; the creation times where they are asked for again."""
        if self.unchanged:
            return self
        return Page(
            self.columns,
            self.rows,
            # A fifth of the memory of a list.
            array("q", self.ids),
            times=self.times if times else [],
            line_ids=self.line_ids if times else [],
            rejected=[Rejected(record.record_id, "", "") for record in self.rejected],
            digest=self.digest,
            unchanged=True,
            marks=self.marks or array("q", () if self.rejected else map(hash, self.lines)),
        )

    @property
    def nameless(self) -> int:
        """Records whose id cannot be read: nobody knows which rows of the mirror they are."""
        return sum(not (record.record_id or "").removeprefix("-").isdecimal() for record in self.rejected)

    def time_of(self, record_id: int) -> str | None:
        """The creation time of one record; None when it was not sent or cannot be read."""
        try:
            return self.times[self.line_ids.index(record_id)]
        except (ValueError, IndexError):
            return None


def joined(pages: Sequence[Page]) -> Page:
    """The rows of several pages of one list, in their order."""
    if len(pages) == 1:
        return pages[0]
    whole = Page(columns=pages[0].columns)
    for page in pages:
        whole.rows += page.rows
        whole.ids += page.ids
        whole.lines += page.lines
        whole.line_ids += page.line_ids
        whole.symbol_ids += page.symbol_ids
        whole.rejected += page.rejected
    return whole
