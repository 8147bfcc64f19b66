"""What the sandbox was asked: the ground on which tests of budgets, retries and idempotency stand."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import msgspec

from counterfoil.sandbox.faults import LOGIN

_KEPT: Final = 200_000


class Entry(msgspec.Struct):
    """One request. `at`: monotonic seconds when it came; `status`: None when nothing was answered (yet)."""

    method: str
    path: str
    query: str
    body: bytes
    at: float
    target: str
    status: int | None = None


class Journal:
    """The requests received, newest last, those to `/_sandbox` left out. Keeps the last 200,000."""

    def __init__(self) -> None:
        self.entries: deque[Entry] = deque(maxlen=_KEPT)
        self.by_path: Counter[str] = Counter()
        self.logins = 0
        self.running = 0
        self.max_concurrent = 0
        self._arrived = asyncio.Event()

    def __len__(self) -> int:
        return len(self.entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    @contextmanager
    def open(self, entry: Entry) -> Iterator[Entry]:
        """Count a request for as long as it runs."""
        self.entries.append(entry)
        self.by_path[entry.path] += 1
        self.logins += entry.target == LOGIN
        self.running += 1
        self.max_concurrent = max(self.max_concurrent, self.running)
        self._arrived.set()
        try:
            yield entry
        finally:
            self.running -= 1

    def matching(self, part: str, method: str | None = None) -> list[Entry]:
        """The requests whose path contains `part`."""
        return [entry for entry in self.entries if part in entry.path and method in (None, entry.method)]

    def times(self, part: str = "") -> list[float]:
        """When they came, monotonic seconds."""
        return [entry.at for entry in self.matching(part)]

    async def reached(self, count: int, part: str = "") -> None:
        """Wait until at least `count` requests whose path contains `part` have come: a signal for tests."""
        while len(self.matching(part)) < count:
            self._arrived.clear()
            await self._arrived.wait()

    def clear(self) -> None:
        """Forget everything but the requests that are running."""
        self.entries.clear()
        self.by_path.clear()
        self.logins = 0
        self.max_concurrent = self.running


def now() -> float:
    """The journal's clock."""
    return time.monotonic()
