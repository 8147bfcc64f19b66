"""A simulated cTrader platform with a short past, so that a first reading takes a few requests, and its mirror."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any
from unittest import mock

from counterfoil.platforms.base import Closings
from counterfoil.pull.puller import CTRADER, Puller
from counterfoil.sandbox import ctrader_market
from support import ctrader_truth
from support.ctrading import CTraderPull, pull_bench
from support.pulling import marks, one_pass

DAY = 86_400 * 1_000 * ctrader_market.MILLISECOND
READ = tuple(name for name in CTRADER if name not in ("sweep", "transactions"))
CLOSED = "/closedPositions"


class Bench:
    """A CTraderPull whose mirror is compared with the books of this platform."""

    def __init__(self, pull: CTraderPull) -> None:
        self._pull = pull

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pull, name)

    def differences(self, *tables: str) -> list[str]:
        """Where the mirror is not what the books say; at most a few of it."""
        return ctrader_truth.differences(self._pull.url, self._pull.books, *tables)[:10]

    def written(self) -> list[str]:
        """What changes when any row of the mirror is written or only locked."""
        return marks(self._pull.url, ctrader_truth.TABLES_OF_CTRADER)


@asynccontextmanager
async def mirror_bench(url: str, *, days: int = 6, **options: Any) -> AsyncIterator[Bench]:
    """A running platform whose past is so many days long, and a migrated database."""
    with mock.patch.object(ctrader_market, "HISTORY", days * DAY):
        wish = {"accounts": 14, "deals": 120, **options}
        async with pull_bench(url, **wish) as pull:
            yield Bench(pull)


async def polls(puller: Puller, times: int = 2) -> dict[str, Any]:
    """So many polls of what moves all the time; returns what was not simply done."""
    bad: dict[str, Any] = {}
    for _ in range(times):
        bad |= await one_pass(puller, "accounts", "positions", "deals")
    return bad


class Meddled:
    """A reader that calls `meddle` with the number of each span of closing deals, counted from 1, before it is asked for."""

    def __init__(self, reader: Any, meddle: Callable[[int], Awaitable[None]]) -> None:
        self._reader = reader
        self._meddle = meddle
        self.spans = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)

    async def closings(self, since: datetime, until: datetime, *rest: Any) -> Closings:
        """See platforms.base.SnapshotReader."""
        self.spans += 1
        await self._meddle(self.spans)
        found: Closings = await self._reader.closings(since, until, *rest)
        return found

    # Named, for a protocol that is looked for at run time does not ask __getattr__.
    def now(self) -> datetime:
        """See platforms.base.SnapshotReader."""
        found: datetime = self._reader.now()
        return found
