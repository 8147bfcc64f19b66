"""Tables in memory: rows by id, always in the order of their ids, each with its JSON kept ready."""

import bisect
from collections.abc import Iterator, Sequence
from typing import Final, Generic, Protocol, TypeVar

_GAP_PERIOD: Final = 89
_GAP_PHASE: Final = 7
_CACHED_ROWS: Final = 500_000


class Row(Protocol):
    """What a table asks of its rows. Times are nanoseconds since 1970."""

    id: int
    created_at: int
    updated_at: int
    json: bytes | None

    def render(self) -> bytes:
        """The row's JSON object, written afresh."""
        ...


R = TypeVar("R", bound=Row)


class Ids:
    """Hands out ids and leaves about one in ninety unused, so that a row can turn up late with an old id."""

    def __init__(self, first: int = 1) -> None:
        self.last = first - 1
        self.gaps: list[int] = []

    def draw(self) -> int:
        """The next id."""
        self.last += 1
        if self.last % _GAP_PERIOD == _GAP_PHASE:
            self.gaps.append(self.last)
            self.last += 1
        return self.last

    def draw_late(self) -> int | None:
        """The lowest id that was left unused, None when there is none."""
        return self.gaps.pop(0) if self.gaps else None

    def reserve(self, count: int) -> None:
        """Leave the next `count` ids unused for rows that will come late."""
        self.gaps.extend(range(self.last + 1, self.last + 1 + count))
        self.last += count


class Table(Generic[R]):
    """Rows of one kind. `ids` is sorted; whoever changes a row says so with `changed`."""

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.rows: dict[int, R] = {}
        self._version = 0
        self._sorted: dict[str, tuple[int, list[int]]] = {}

    def __len__(self) -> int:
        return len(self.ids)

    def __iter__(self) -> Iterator[R]:
        """Rows by ascending id."""
        return map(self.rows.__getitem__, self.ids)

    def get(self, key: int) -> R | None:
        """The row with this id."""
        return self.rows.get(key)

    def add(self, row: R) -> None:
        """Put a row in its place by id."""
        if not self.ids or row.id > self.ids[-1]:
            self.ids.append(row.id)
        else:
            bisect.insort(self.ids, row.id)
        self.rows[row.id] = row
        self._version += 1

    def remove(self, key: int) -> R:
        """Take a row out."""
        row = self.rows.pop(key)
        del self.ids[bisect.bisect_left(self.ids, key)]
        self._version += 1
        return row

    def changed(self, row: R) -> None:
        """Forget what was kept of a row that has changed."""
        row.json = None
        self._version += 1

    def ordered(self, by: str) -> Sequence[int]:
        """All ids, ascending by `id`, `created_at` or `updated_at` (ties by id)."""
        if by == "id":
            return self.ids
        version, ids = self._sorted.get(by, (-1, []))
        if version != self._version:
            ids = self.sort(self.ids, by)
            self._sorted[by] = (self._version, ids)
        return ids

    def sort(self, ids: Sequence[int], by: str) -> list[int]:
        """Some ids of this table, ascending by a time (ties by id)."""
        rows = self.rows
        return sorted(ids, key=lambda key: (getattr(rows[key], by), key))

    def json(self, key: int) -> bytes:
        """The JSON of one row; kept for the next time, unless the table is so large that memory matters more."""
        row = self.rows[key]
        text = row.json
        if text is None:
            text = row.render()
            if len(self.ids) <= _CACHED_ROWS:
                row.json = text
        return text

    def warm(self) -> None:
        """Write the JSON of every row that will be kept anyway."""
        if len(self.ids) <= _CACHED_ROWS:
            for key in self.ids:
                self.json(key)
