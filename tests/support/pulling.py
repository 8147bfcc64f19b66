"""A sandbox, a database and the pulls between them, in one process."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import psycopg
import structlog
from psycopg.rows import namedtuple_row

from counterfoil.domain.interval import Interval
from counterfoil.domain.page import Page
from counterfoil.platforms.base import Query, Reader
from counterfoil.platforms.omtrader.client import Connection, OMTrader
from counterfoil.platforms.sessions import PrivateVault
from counterfoil.pull.pacing import STREAMED, wanted
from counterfoil.pull.puller import OMTRADER, Puller, Result, Wish
from counterfoil.pull.run import Pace
from counterfoil.sandbox import Sandbox, SandboxOptions
from counterfoil.sandbox.books import Books
from counterfoil.store import cursors
from counterfoil.store import engine as engines
from counterfoil.store.direct import direct
from counterfoil.store.runs import Runs
from support.budget import FreeBudget
from support.platform_truth import differences

PLATFORM = "live"
POLLED = tuple(OMTRADER)[:-1]
EVERY = timedelta(minutes=1)
INTERVALS = dict.fromkeys(POLLED, EVERY) | {"sweep": timedelta(days=1)}
DEALS = "/api/v1/trader/deals"
# Where every row lies and who wrote or locked it last: all of it stays as it is where nothing is written, and no log of it.
MARKS = "SELECT md5(string_agg(concat(ctid, xmin, xmax), ' ' ORDER BY ctid)) AS marks FROM mirror.{}"
# More runs than anything needs to finish: a run that says MORE for ever must not hang a test.
MOST_RUNS = 2_000


def paced(intervals: Mapping[str, timedelta | Interval]) -> Mapping[str, Interval]:
    """What a puller takes, of what is short to write."""
    return {name: Interval.steady(one) if isinstance(one, timedelta) else one for name, one in intervals.items()}


@dataclass
class Bench:
    """One sandbox and one database; every `Puller` made here is a replica of its own, with its own connections."""

    url: str
    sandbox: Sandbox
    pullers: list[Puller] = field(default_factory=list)

    @property
    def books(self) -> Books:
        """The platform's own truth."""
        return self.sandbox.books

    def puller(
        self,
        *,
        page_size: int = 50,
        ahead: int = 3,
        slice: float = 1_000.0,  # noqa: A002 - Pace's word for it
        intervals: Mapping[str, timedelta | Interval] = INTERVALS,
    ) -> Puller:
        """A replica that remembers nothing yet."""
        connection = Connection(base_url=self.sandbox.url, username="crm-api", password="sandbox", timeout=10)
        puller = Puller(
            runs=Runs(engines.create(self.url)),
            platform=PLATFORM,
            reader=OMTrader(connection, FreeBudget(), PrivateVault()),
            pace=Pace(page_size=page_size, ahead=ahead, slice=slice),
            intervals=paced(intervals),
        )
        self.pullers.append(puller)
        return puller

    async def close(self) -> None:
        """Close every connection."""
        for puller in self.pullers:
            await puller.reader.close()
            await puller.runs.engine.dispose()
        await self.sandbox.stop()

    def differences(self, *tables: str) -> list[str]:
        """Where the mirror is not what the books say; at most a few of it, for a person to read."""
        return differences(self.url, self.books, *tables)[:10]

    def rows(self, statement: str, *values: object) -> list[Any]:
        """What the database answers."""
        with psycopg.connect(self.url, row_factory=namedtuple_row) as connection:
            return connection.execute(statement, values).fetchall()

    def cursor(self, resource: str) -> dict[str, Any] | None:
        """The stored position of a pull."""
        found = self.rows("SELECT state FROM counterfoil.cursors WHERE resource = %s", resource)
        return found[0].state if found else None

    def versions(self) -> int:
        """The highest version that any row of the mirror has: it does not move when nothing is written."""
        return self.rows("SELECT last_value FROM mirror.version")[0].last_value

    def asked(self, part: str = "") -> list[str]:
        """The requests received since the journal was cleared, logins left out: path and query."""
        return [f"{e.path}?{e.query}" for e in self.sandbox.requests if part in e.path and e.target != "login"]

    def forget_requests(self) -> None:
        """Count requests from here."""
        self.sandbox.requests.clear()


def marks(url: str, tables: Iterable[str]) -> list[str]:
    """What changes when any row of these tables of the mirror is written or only locked."""
    with psycopg.connect(url) as connection:
        return [connection.execute(MARKS.format(table)).fetchone()[0] for table in tables]


@asynccontextmanager
async def bench(url: str, **options: Any) -> AsyncIterator[Bench]:
    """A running sandbox with small books, and a migrated database."""
    small = {"clients": 12, "accounts": 20, "deals": 320, "seed": 7}
    sandbox = Sandbox(SandboxOptions(**{**small, **options}))
    await sandbox.start()
    made = Bench(url, sandbox)
    try:
        yield made
    finally:
        await made.close()


class Meddled:
    """A reader that calls `meddle` with the number of each page, counted from 1, before or after it was asked for."""

    def __init__(self, reader: Reader, meddle: Callable[[int, str], Awaitable[None]], *, after: bool = False) -> None:
        self._reader = reader
        self._meddle = meddle
        self._after = after
        self.pages = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reader, name)

    async def page(self, resource: str, query: Query) -> Page:
        """See platforms.base.Reader."""
        self.pages += 1
        number = self.pages
        if not self._after:
            await self._meddle(number, resource)
        page = await self._reader.page(resource, query)
        if self._after:
            await self._meddle(number, resource)
        return page


async def until_done(puller: Puller, resource: str, **wish: Any) -> Result:
    """Run one resource, on and on while there is more."""
    for _ in range(MOST_RUNS):
        if (result := await puller.run(resource, Wish(**wish))) is not Result.MORE:
            return result
    raise AssertionError(f"{resource}: no end after {MOST_RUNS} runs")


async def one_pass(puller: Puller, *resources: str, **wish: Any) -> dict[str, Result]:
    """Everything once, in the order of a first pass; returns what was not simply done."""
    results = {name: await until_done(puller, name, **wish) for name in resources or POLLED}
    return {name: result for name, result in results.items() if result is not Result.DONE}


@contextmanager
def said() -> Iterator[Callable[[str], list[dict[str, Any]]]]:
    """What is said meanwhile: a function from an event's name to its lines."""
    with structlog.testing.capture_logs() as lines:
        yield lambda name: [line for line in lines if line["event"] == name]


async def interval(puller: Puller, resource: str) -> timedelta:
    """How often a resource is wanted now, over all replicas."""
    recent = await cursors.recent(direct(puller.runs.engine), puller.platform, resource)
    return wanted(puller.intervals[resource], recent, streamed=puller.streams and resource in STREAMED)
