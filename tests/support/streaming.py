"""A sandbox, a database, the pulls and the event stream between them, in one process and without a schedule."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from counterfoil.platforms.omtrader.stream import OMTraderStream
from counterfoil.pull.pacing import STREAMED
from counterfoil.pull.puller import Puller
from counterfoil.pull.streamed import Rhythm, Streamer
from support import pulling
from support.pulling import PLATFORM, Bench, one_pass
from support.waiting import until

PATIENCE = 60.0
# Everything at once, so that a test sees in a moment what a broker sees in a minute.
QUICK = Rhythm(beat=0.05, linger=0.02, stand_by=0.05, first_pause=0.02, longest_pause=0.1)
# What quotes change without an event: the stream tells it in binary frames, which are left to the polls.
QUOTED = ("price_current", "profit", "total_profit")


async def nothing_missed() -> bool:
    """A catching up that has nothing to do."""
    return True


@dataclass
class Replica:
    """One process's share: its pulls, its stream, and what goes on in it."""

    puller: Puller
    streamer: Streamer
    task: asyncio.Task[None] | None = None
    polls: list[asyncio.Task[bool]] = field(default_factory=list)

    def start(self) -> None:
        """Stream from now on."""
        self.task = asyncio.create_task(self.streamer.run())

    async def die(self) -> None:
        """Stop as a killed process does not: at once, but with what is held given back."""
        if self.task is not None:
            self.task.cancel()
            with suppress(asyncio.CancelledError):
                await self.task
            self.task = None
        await asyncio.gather(*self.polls, return_exceptions=True)


@dataclass
class Streamed:
    """`bench`: sandbox and database; `replicas`: those made so far."""

    bench: Bench
    replicas: list[Replica] = field(default_factory=list)

    def replica(
        self,
        *,
        rhythm: Rhythm = QUICK,
        silence: float = 10.0,
        catch_up: Callable[[Puller], Awaitable[bool]] | None = None,
    ) -> Replica:
        """A replica that does not stream yet. `catch_up`: what polls after an opening, the real polls by default."""
        puller = self.bench.puller()
        puller.streams = True
        source: OMTraderStream = puller.reader.stream(self.bench.sandbox.url.replace("http", "ws"))  # type: ignore[attr-defined]
        source._line = type(source._line)(url=source._line.url, timeout=5.0, silence=silence)

        async def polls() -> bool:
            # As the schedule does it: a poll does not end with the stream.
            made.polls.append(asyncio.create_task((catch_up or polled)(puller)))
            return await asyncio.shield(made.polls[-1])

        streamer = Streamer(
            runs=puller.runs,
            platform=PLATFORM,
            source=source,
            has_read=puller.has_read,
            rhythm=rhythm,
            catch_up=polls,
        )
        made = Replica(puller, streamer)
        self.replicas.append(made)
        return made

    async def listening(self) -> None:
        """Until somebody is subscribed to every group."""
        groups = set(self.bench.books.groups.ids)
        feed = self.bench.sandbox.platform.feed

        def all_groups() -> bool:
            return any(one.groups == groups for one in feed._listeners.values())

        await until(all_groups, (True,), PATIENCE)

    async def deaf(self) -> None:
        """Until nobody is connected."""
        await until(lambda: len(self.bench.sandbox.platform.feed._listeners), (0,), PATIENCE)

    async def follows(self, *tables: str, besides: tuple[str, ...] = ()) -> None:
        """Until the mirror is what the books say, but for columns in `besides`."""

        async with asyncio.timeout(PATIENCE):
            while await asyncio.to_thread(self.differences, *(tables or STREAMED), besides=besides):  # noqa: ASYNC110 - neither books nor database say when
                await asyncio.sleep(0)

    async def rob(self) -> None:
        """Let somebody else have the lease. In a thread: the row may be locked by a transaction that runs here."""
        taken = "UPDATE counterfoil.leases SET token = gen_random_uuid() WHERE resource = 'stream' RETURNING 1"
        assert len(await asyncio.to_thread(self.bench.rows, taken)) == 1

    def differences(self, *tables: str, besides: tuple[str, ...] = ()) -> list[str]:
        """See Bench.differences."""
        found = pulling.differences(self.bench.url, self.bench.books, *tables)
        return [line for line in found if not any(f".{column} is" in line for column in besides)]

    async def hears_all(self, lines: Callable[[str], list[Any]], copies: int = 1) -> int:
        """Wait until every event that was sent, so many times each, is written; returns how many these are."""
        sent = self.bench.sandbox.platform.feed.sent * copies

        def heard() -> int:
            return sum(line["events"] for line in lines("stream.written"))

        return await until(heard, (sent,), PATIENCE)

    async def hears(self, lines: Callable[[str], list[Any]], name: str, times: int = 1) -> Any:
        """Wait for the n-th event of a name; `lines` is what support.pulling.said gave."""
        await until(lambda: len(lines(name)) >= times, (True,), PATIENCE)
        return lines(name)[times - 1]


async def polled(puller: Puller) -> bool:
    """Poll everything that a stream brings."""
    return await one_pass(puller, *STREAMED, wait=True) == {}


async def no_polls(_puller: Puller) -> bool:
    """Nothing is polled after an opening: what the mirror holds then is the stream's."""
    return True


@asynccontextmanager
async def streamed(url: str, **options: Any) -> AsyncIterator[Streamed]:
    """A sandbox that was read once, and no stream yet."""
    async with pulling.bench(url, **options) as bench:
        made = Streamed(bench)
        first = bench.puller()
        assert await one_pass(first) == {}
        try:
            yield made
        finally:
            for replica in made.replicas:
                await replica.die()
