"""What a platform's event stream is to the rest: rows as they change, one connection at a time, nothing replayed.

A stream promises nothing: events may be missing, late, doubled or out of order. Polling stays the judge.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from counterfoil.domain.page import Page


@dataclass(frozen=True, slots=True)
class RowEvent:
    """A row as the platform says that it is now.

    `table`: the mirror's. `id`, `updated_at`: None where they cannot be read. `over`: the row says of itself that it is done.
    `record`: its JSON. `heard`: when it came, on the clock of time.monotonic().
    """

    table: str
    id: int | None
    updated_at: datetime | None
    over: bool
    record: bytes
    heard: float

    @property
    def key(self) -> tuple[str, int | bytes]:
        """What tells it from events of other rows."""
        return self.table, self.record if self.id is None else self.id

    def outdates(self, other: "RowEvent") -> bool:
        """Whether this, heard later than `other`, tells something newer of the same row."""
        if self.updated_at and other.updated_at and self.updated_at != other.updated_at:
            return self.updated_at > other.updated_at
        return self.over or not other.over


class Feed(Protocol):
    """One connection. Every method raises TransientError when it is over, RenewedError when a new one is due."""

    def events(self) -> AsyncIterator[RowEvent]:
        """Rows as they change, until the connection ends; never ends by itself."""

    async def subscribe(self, groups: Iterable[int]) -> int:
        """Hear of the accounts of these groups, too; returns how many were not heard of before."""

    async def settled(self) -> bool:
        """Until the platform has taken note of what we subscribed to; needs events to be read. False: it does not say so."""

    async def beat(self) -> None:
        """Show the platform that we are alive, and look whether it is and whether our session is still in force."""


class EventSource(Protocol):
    """A platform that can be listened to."""

    def connect(self) -> AbstractAsyncContextManager[Feed]:
        """A connection of our own.

        Raises:
            ConfigurationError, PermanentError, TransientError: as for a read.
        """

    def page(self, table: str, records: Sequence[bytes]) -> Page:
        """Records of events as a page of the mirror's table, exact and with what is unreadable apart."""


class RenewedError(Exception):
    """Our session was renewed, as it is every hour: nothing is wrong, and a new connection is due."""
