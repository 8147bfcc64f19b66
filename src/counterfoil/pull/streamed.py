"""The event stream of one platform into the mirror: one replica at a time, in batches, with the polls as judge.

A stream is relied on only when it is open, everything that it may have missed was polled after it was opened, and it has
brought an event. Until then, and from the moment when it ends, polling goes on as if there were none.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from counterfoil.domain import retry
from counterfoil.domain.errors import CounterfoilError, LeaseLostError, TransientError
from counterfoil.observe import events
from counterfoil.platforms.streaming import EventSource, Feed, RenewedError, RowEvent
from counterfoil.pull.pacing import STREAMED
from counterfoil.store import Unreachable, leases, streams, whole
from counterfoil.store.mirror import Mirror
from counterfoil.store.newer import Heard
from counterfoil.store.runs import Runs

# What must have been read once before events make sense: the groups to subscribe to, and histories from their beginning.
NEEDED = ("groups", *STREAMED)
# A connection that lasted so many seconds was a good one: the next failure is the first again.
GOOD = 60.0

# Records of a connection that are recognised when they come again.
REMEMBERED = 20_000

CatchUp = Callable[[], Awaitable[bool]]
DatabaseLost = Callable[[BaseException], Awaitable[None]]


async def _never() -> bool:
    """Nobody polls: then the stream is never relied on."""
    return False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rhythm:
    """When things are done, in seconds.

    `beat`: between two heartbeats. `linger`: that events wait for others to be written with. `stand_by`: between two looks
    for the lease. `first_pause`, `longest_pause`: after failures. `most`: rows, not seconds, that may wait.
    """

    beat: float = 10.0
    linger: float = 0.1
    stand_by: float = 3.0
    first_pause: float = retry.FIRST
    longest_pause: float = retry.LONGEST
    most: int = 2_000


@dataclass(slots=True)
class Inbox:
    """Events that wait to be written, the newest of each row; whoever fills it waits while it is full.

    A record that was heard word for word before tells nothing new, and may be older than what was heard since; so it is left
    out where it says when it was changed. Otherwise a row may well be as it was before.
    """

    most: int
    heard: int = 0
    _waiting: dict[tuple[str, int | bytes], RowEvent] = field(default_factory=dict)
    _known: dict[int, None] = field(default_factory=dict)
    _since: float = 0.0
    _filled: asyncio.Event = field(default_factory=asyncio.Event)
    _room: asyncio.Event = field(default_factory=asyncio.Event)

    async def put(self, event: RowEvent) -> None:
        """Take an event, or wait for room."""
        self.heard += 1
        if event.updated_at is not None and self._is_known(event.record):
            return
        while len(self._waiting) >= self.most and event.key not in self._waiting:
            self._room.clear()
            await self._room.wait()
        if not self._waiting:
            self._since = event.heard
        known = self._waiting.get(event.key)
        if known is None or event.outdates(known):
            self._waiting[event.key] = event
        self._filled.set()

    def _is_known(self, record: bytes) -> bool:
        digest = hash(record)
        known = digest in self._known
        self._known[digest] = None
        if len(self._known) > REMEMBERED:
            del self._known[next(iter(self._known))]
        return known

    async def filled(self) -> None:
        """Until there is something."""
        await self._filled.wait()

    @property
    def full(self) -> bool:
        """Whether there is no more room."""
        return len(self._waiting) >= self.most

    def take(self) -> tuple[Mapping[str, list[bytes]], float, int]:
        """Everything: records by table, when the first was heard, how many events they stand for."""
        records: dict[str, list[bytes]] = {}
        for event in self._waiting.values():
            records.setdefault(event.table, []).append(event.record)
        taken = records, self._since, self.heard
        self._waiting, self.heard = {}, 0
        self._filled.clear()
        self._room.set()
        return taken


@dataclass(slots=True, kw_only=True)
class Streamer:
    """The stream of one platform, for as long as `run` runs.

    `catch_up`: polls everything that a stream brings, now; True when all of it is done. `on_database_lost`: is told so.
    """

    runs: Runs
    platform: str
    source: EventSource
    has_read: Callable[[str], Awaitable[bool]]
    rhythm: Rhythm = field(default_factory=Rhythm)
    catch_up: CatchUp = _never
    on_database_lost: DatabaseLost | None = None
    _failures: int = 0

    async def run(self) -> None:
        """Stream whenever no other replica does; for ever."""
        with events.bind(platform=self.platform, resource=streams.STREAM):
            while True:
                pause = self.rhythm.stand_by
                try:
                    lease = await whole(self._turn())
                    if lease is not None:
                        async with self.runs.held(lease):
                            pause = await self._once(lease)
                except Unreachable as error:
                    await self._lost(error)
                await asyncio.sleep(pause)

    async def _turn(self) -> leases.Lease | None:
        """The lease; None while another replica has it, or while something must be read first."""
        for resource in NEEDED:
            if not await self.has_read(resource):
                return None
        return await leases.acquire(self.runs.engine, self.platform, streams.STREAM)

    async def _once(self, lease: leases.Lease) -> float:
        """One connection from its opening to its end; returns the seconds to wait before the next."""
        began = time.monotonic()
        try:
            async with self.source.connect() as feed:
                await _Connection(self, feed, Mirror(self.runs.engine, lease)).follow()
        except RenewedError:
            self._failures = 0
            events.emit(events.STREAM_RENEWED)
            return 0.0
        except LeaseLostError:
            events.emit(events.LEASE_LOST, holder=None)
            return self.rhythm.stand_by
        except Unreachable as error:
            await self._lost(error)
            return await self._failed("the database cannot be reached", began)
        except CounterfoilError as error:
            return await self._failed(str(error), began, _told(error))
        except Exception as error:  # noqa: BLE001 - a bug of ours must not end the stream for ever; polls go on
            return await self._failed(f"{type(error).__name__}: {error}", began)
        return self.rhythm.stand_by

    async def _failed(self, reason: str, began: float, told: float = 0.0) -> float:
        self._failures = 1 if time.monotonic() - began > GOOD else self._failures + 1
        pause = retry.delay(self._failures, first=self.rhythm.first_pause, longest=self.rhythm.longest_pause)
        pause = max(pause, min(told, self.rhythm.longest_pause))
        line = (reason.splitlines() or ["unknown"])[0][:500]
        events.emit(events.STREAM_ENDED, reason=line, retry_in=round(pause, 1))
        try:
            await whole(streams.ended(self.runs.engine, self.platform, line))
        except Unreachable as error:
            await self._lost(error)
        return pause

    async def _lost(self, error: BaseException) -> None:
        if self.on_database_lost is not None:
            await self.on_database_lost(error)


async def tried(source: EventSource) -> None:
    """Open a stream, see a heartbeat answered and hang up; nothing is written.

    Raises:
        ConfigurationError, PermanentError, TransientError: what is wrong with it.
    """
    async with source.connect() as feed:
        await _until_one_fails(_passed_over(feed), _answered(feed))


async def _passed_over(feed: Feed) -> None:
    async for _ in feed.events():
        pass


async def _answered(feed: Feed) -> None:
    if not await feed.settled():
        raise TransientError("it was opened, but does not answer heartbeats")


class _Connection:
    """One connection: read, written, kept alive and caught up with, all at once, until one of these fails."""

    def __init__(self, streamer: Streamer, feed: Feed, mirror: Mirror) -> None:
        self._streamer = streamer
        self._rhythm = streamer.rhythm
        self._feed = feed
        self._mirror = mirror
        self._inbox = Inbox(streamer.rhythm.most)
        self._began = time.monotonic()
        self._ours: datetime | None = None
        self._caught_up = self._proven = False
        self._behind = asyncio.Event()

    async def follow(self) -> None:
        """Until the connection, the lease or the database is lost, which is raised."""
        groups = await self._feed.subscribe(await whole(self._mirror.groups()))
        self._behind.set()
        events.emit(events.STREAM_CONNECTED, groups=groups)
        try:
            await _until_one_fails(self._read(), self._write(), self._beat(), self._catch_up())
        finally:
            events.emit(events.STREAM_CLOSED, seconds=round(time.monotonic() - self._began, 3))

    async def _read(self) -> None:
        async for event in self._feed.events():
            await self._inbox.put(event)

    async def _write(self) -> None:
        while True:
            await self._inbox.filled()
            if not self._inbox.full:
                await asyncio.sleep(self._rhythm.linger)
            await self._write_batch()

    async def _write_batch(self) -> None:
        records, since, heard = self._inbox.take()
        pages = {table: self._streamer.source.page(table, lines) for table, lines in records.items()}
        written, self._ours = await whole(self._mirror.hear(pages, Heard(since, self._ours)))
        for rejected in written.rejected:
            events.emit(events.RECORD_QUARANTINED, record_id=rejected.record_id, reason=rejected.reason, count=1)
        events.emit(
            events.STREAM_WRITTEN,
            events=heard,
            inserted=written.inserted,
            changed=written.changed,
            quarantined=written.quarantined,
            lag=round(time.monotonic() - since, 3),
        )
        if not self._proven:
            self._proven = any(page.lines for page in pages.values())
            await self._tell()

    async def _beat(self) -> None:
        while True:
            await self._feed.beat()
            await whole(self._mirror.still_ours())
            await self._tell()
            await asyncio.sleep(self._rhythm.beat)
            if await self._feed.subscribe(await whole(self._mirror.groups())):
                # What happened to the accounts of a new group before it was subscribed to.
                self._caught_up = False
                self._behind.set()

    async def _catch_up(self) -> None:
        """Poll what may have been missed before a subscription was in force, as often as it takes."""
        while True:
            await self._behind.wait()
            self._behind.clear()
            await self._feed.settled()
            await self._poll()

    async def _poll(self) -> None:
        tries = 0
        while not await self._streamer.catch_up():
            tries += 1
            await asyncio.sleep(retry.delay(tries, first=self._rhythm.beat, longest=self._rhythm.longest_pause))
        self._caught_up = True
        await whole(streams.mended(self._streamer.runs.engine, self._streamer.platform))
        events.emit(events.STREAM_CAUGHT_UP, seconds=round(time.monotonic() - self._began, 3))
        await self._tell()

    async def _tell(self) -> None:
        """Let polls slow down, here and in other replicas, once there is reason to."""
        if self._caught_up and self._proven:
            await whole(streams.alive(self._streamer.runs.engine, self._streamer.platform))


def _told(error: CounterfoilError) -> float:
    """Seconds that an error says to wait; 0 where it does not say."""
    return getattr(error, "retry_after", None) or getattr(error, "retry_in", None) or 0.0


async def _until_one_fails(*works: Coroutine[Any, Any, None]) -> None:
    """Run all at once; what the first to end raises, is raised, and the others are ended."""
    tasks = [asyncio.create_task(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
