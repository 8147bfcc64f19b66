"""How far the pull of a history has come, and how far it may say that it has.

Rows enter a history late: an order that was live for a month enters with an id that is a month old. Two facts bound what is
proven complete. Ids that existed when the list of live records was read are either in that list or in the history read
after it; ids that may have been given out since are not proven. So the watermark follows the highest id seen in the run
before this one, or the highest live id, and never simply the highest id seen.
"""

from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Self

OVERLAP_IDS = 500
OVERLAP_TIME = timedelta(minutes=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryCursor:
    """Position of an incremental pull by id.

    `watermark`: every id up to it is in the mirror. `watermark_at`: a creation time no later than that of any row behind it,
    as the platform writes it; None: not known. `seen`: the highest id read. `seen_at`: the creation time of that row. `rows` and `last`: where
    a reading from the beginning stands, rows counted and the id of the last one. `begun`: that reading is complete.
    """

    watermark: int = 0
    watermark_at: str | None = None
    seen: int = 0
    seen_at: str | None = None
    rows: int = 0
    last: int | None = None
    begun: bool = False

    @classmethod
    def load(cls, state: dict[str, Any] | None) -> Self:
        """From what the database kept."""
        return cls(**(state or {}))

    def dump(self) -> dict[str, Any]:
        """For the database to keep."""
        return asdict(self)

    def advanced(self, seen: int, seen_at: str | None, *, rows: int, last: int | None) -> Self:
        """After one more page of a reading from the beginning that holds `seen` as its highest id."""
        if seen <= self.seen:
            seen, seen_at = self.seen, self.seen_at
        return replace(self, seen=seen, seen_at=seen_at, rows=rows, last=last)

    def arrived(self) -> Self:
        """At the end of a reading from the beginning."""
        return replace(self, watermark=self.seen, watermark_at=self.seen_at, begun=True)

    def sent_back(self, rows: int) -> Self:
        """So much is new that it is read like the first time, from about `rows` on."""
        return replace(self, rows=rows, last=self.reread_from, begun=False)

    def settled(self, before: Self, newest: int, newest_at: str | None, live: int | None) -> Self:
        """After a run that read everything above the old watermark's overlap.

        Args:
            before: the cursor at the start of the run, before the live list was read.
            newest: highest id of the history.
            newest_at: its creation time.
            live: highest id of the list of live records, 0 when that is empty; None for a history without such a list.
        """
        if newest < self.seen:
            newest, newest_at = self.seen, self.seen_at
        if live is None:
            watermark, at = newest, newest_at
        else:
            # What had been seen before this run, or was live in it, existed when the live list was read.
            watermark = max(self.watermark, before.seen, min(live, newest))
            at = before.seen_at or self.watermark_at
        return replace(self, watermark=watermark, watermark_at=at, seen=newest, seen_at=newest_at, begun=True)

    @property
    def reread_from(self) -> int:
        """The lowest id that every run reads again."""
        return self.watermark - OVERLAP_IDS + 1

    def far_enough(self, record_id: int, created_at: str | None) -> bool:
        """Whether a backward reading that has come to this row has re-read the overlap, in ids and in time."""
        if record_id > self.reread_from:
            return False
        mark, reached = parse_time(self.watermark_at), parse_time(created_at)
        return mark is None or reached is None or reached <= mark - OVERLAP_TIME


def parse_time(text: str | None) -> datetime | None:
    """A platform's timestamp, cut to microseconds; None for what is none."""
    if not text:
        return None
    head, dot, fraction = text.partition(".")
    if dot:
        digits = len(fraction) - len(fraction.lstrip("0123456789"))
        text = f"{head}.{fraction[:digits][:6]:0<6}{fraction[digits:]}"
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else None
