"""The write path of one platform at work: attempts, looks and rescues, woken by the database or by the clock.

Several processes share one database: what one has claimed the others do not see as pending, and what one lost the others
rescue. A process that ends in the middle costs time and nothing else.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field

from counterfoil.domain.errors import LeaseLostError
from counterfoil.domain.intent import Kind, State
from counterfoil.observe import events
from counterfoil.platforms.writing import Writer
from counterfoil.push.attempt import Attempts, keeping, say
from counterfoil.push.resolve import Looks
from counterfoil.store import Refused, Unreachable, Unstorable, is_contention
from counterfoil.store.intents import Held, Queue, Result

# Seconds between two looks into the queue when nothing wakes us.
POLL = 1.0
# Seconds between two tries to write a result while the database is away; and for how long: then the look finds it.
RETRY_RESULT = 0.5
LONGEST_RESULT = 120.0
# The longest rest of a platform that is in the way as a whole.
LONGEST_REST = 300.0
_STRANGE = "the platform answered something that cannot be kept: look at its own books"

DatabaseLost = Callable[[BaseException], Awaitable[None]]


async def _wait(_: BaseException) -> None:
    await asyncio.sleep(RETRY_RESULT)


@dataclass(slots=True, kw_only=True)
class Pusher:
    """Works until `stop`. `places`: attempts and looks under way at once."""

    queue: Queue
    writer: Writer
    attempts: Attempts
    looks: Looks
    places: int
    on_database_lost: DatabaseLost = _wait
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _tasks: set["asyncio.Task[None]"] = field(default_factory=set)
    _stopping: bool = False
    _compared: float | None = None
    _tidied: float = -math.inf
    _rests_until: float = -math.inf
    _rests: int = 0

    def wake(self) -> None:
        """There may be work."""
        self._news.set()

    async def run(self) -> None:
        """Until `stop` and everything in flight has ended; when cancelled, what is in flight is left to be rescued."""
        try:
            await self._work()
        finally:
            for task in self._tasks:
                task.cancel()

    async def _work(self) -> None:
        while not self._stopping:
            self._news.clear()
            try:
                full = await self.turn()
            except Unreachable as error:
                await self.on_database_lost(error)
                full = False
            except Exception as error:  # noqa: BLE001 - a bug of ours must not stop the write path for good
                events.emit(
                    events.PUSH_FAILED, platform=self.queue.platform, reason=error, kind="invariant", retry_in=POLL
                )
                full = False
            if not full:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._news.wait(), POLL)
        if self._tasks:
            await asyncio.wait(self._tasks)

    def stop(self) -> None:
        """Take up nothing more."""
        self._stopping = True
        self._news.set()

    async def turn(self) -> bool:
        """One look into the queue; True when there may be more to take up at once.

        Raises:
            store.Unreachable: the database cannot be reached.
        """
        if time.monotonic() >= self._tidied + POLL:
            self._tidied = time.monotonic()
            await self._tidy()
        taken = 0
        for take in (self._take_pending, self._take_unknown):
            free = self.places - len(self._tasks)
            if free > 0 and not self._stopping:
                taken += await take(free)
        return taken > 0 and len(self._tasks) < self.places

    async def _tidy(self) -> None:
        """What need not be looked at more often than once in a while."""
        if await self.queue.notices_another_database():
            events.emit(events.PUSH_HELD)
        await self._rescue()
        await self._compare_clients()
        await self._take_doubted(self.places - len(self._tasks))

    async def _rescue(self) -> None:
        for lost in await self.queue.rescue():
            events.emit(
                events.INTENT_RESCUED,
                platform=self.queue.platform,
                reference=lost.reference,
                intent_id=lost.id,
                attempt=lost.attempt,
                state=lost.state,
            )

    async def _compare_clients(self) -> None:
        """Once after every complete reading of the clients: what the CRM owns and somebody changed on the platform."""
        read_at = await self.queue.mirrored_at()
        if read_at is None or read_at == self._compared:
            return
        for drift in await self.queue.drift():
            with events.bind(platform=self.queue.platform, reference=drift.registrant_id):
                if drift.begun:
                    events.emit(events.DRIFT_FOUND, field=drift.field)
                else:
                    events.emit(events.DRIFT_ENDED, field=drift.field)
        self._compared = read_at

    def _rest(self, result: Result) -> None:
        """A platform that is in the way as a whole is left alone for growing whiles: nothing is begun on it, looks go on."""
        if result.rest and time.monotonic() >= self._rests_until:
            pause = min(result.rest * 2**self._rests, max(LONGEST_REST, result.rest))
            self._rests = min(self._rests + 1, 10)
            self._rests_until = time.monotonic() + pause
            events.emit(
                events.PUSH_RESTING, platform=self.queue.platform, reason=result.reason, retry_in=round(pause, 1)
            )
        elif not result.rest and result.state is not State.PENDING:
            self._rests = 0

    async def _take_pending(self, limit: int) -> int:
        if time.monotonic() < self._rests_until:
            return 0
        claimed_at = time.monotonic()
        prepared = [kind for kind in Kind if self.writer.prepares(kind)]
        held = await self.queue.claim(limit, prepared)
        for one in held:
            self._spawn(self._attempt(one, claimed_at))
        return len(held)

    async def _take_unknown(self, limit: int) -> int:
        held = await self.queue.claim_looks(limit)
        for one in held:
            self._spawn(self._look(one, self.looks.look))
        return len(held)

    async def _take_doubted(self, limit: int) -> None:
        if limit <= 0 or self._stopping or not await self.queue.is_held():
            return
        held = await self.queue.claim_doubted(limit)
        for one in held:
            self._spawn(self._look(one, self.looks.doubt))

    async def _attempt(self, held: Held, claimed_at: float) -> None:
        with events.bind(platform=held.platform, reference=held.reference, intent_id=held.id, attempt=held.attempt):
            events.emit(events.INTENT_SENT, kind=held.kind)
            try:
                result = await self.attempts.make(held, claimed_at)
            except LeaseLostError:
                events.emit(events.LEASE_LOST, holder=None)
                return
            await self._settle(held, result)

    async def _look(self, held: Held, look: Callable[[Held], Awaitable[Result]]) -> None:
        with events.bind(platform=held.platform, reference=held.reference, intent_id=held.id, attempt=held.attempt):
            async with keeping(self.queue, held):
                result = await look(held)
            await self._settle(held, result)

    async def _settle(self, held: Held, result: Result) -> None:
        """Write a result, through an absence of the database where need be: an answer that is known must not become unknown."""
        until = time.monotonic() + LONGEST_RESULT
        while not isinstance(written := await self._write(held, result, until), bool):
            result = written
        self._rest(result)
        if not written:
            events.emit(events.LEASE_LOST, holder=None)
        elif result.state is not held.state or held.state is State.SENT:
            say(held, result)
        self.wake()

    async def _write(self, held: Held, result: Result, until: float) -> bool | Result:
        """Whether the result is written; or what is to be written instead, or again."""
        try:
            return await self.queue.settle(held, result)
        except Refused:
            if result.state is not State.CONFIRMED:
                raise
            reason = f"the platform's record {result.record_id} belongs to another reference of ours"
            return Result(state=State.PARKED, reason=reason, evidence={"record": result.record_id})
        except Unstorable as error:
            if result.reason == _STRANGE:
                raise
            events.emit(events.PUSH_FAILED, reason=error, kind="invariant", retry_in=0.0)
            # What was answered to an attempt is looked for; what a look found is for a person.
            return Result(state=State.UNKNOWN if held.state is State.SENT else State.PARKED, reason=_STRANGE)
        except Unreachable as error:
            if not is_contention(error):
                await self.on_database_lost(error)
            if time.monotonic() > until:
                raise
            await asyncio.sleep(RETRY_RESULT)
            return result

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        self.wake()

    async def _guarded(self, work: Coroutine[None, None, None]) -> None:
        try:
            await work
        except Unreachable as error:
            await self.on_database_lost(error)
        except Exception as error:  # noqa: BLE001 - what it held is rescued when its lease lapses
            events.emit(events.PUSH_FAILED, reason=error, kind="invariant", retry_in=self.queue.lease.total_seconds())
