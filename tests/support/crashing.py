"""Ends a replica of the write path at a chosen point, in a chosen way: wrappers around its queue, its writer and its engine."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

from counterfoil.store import Unreachable
from support.pushing import PATIENCE, PushBench, Replica

_STAGE: ContextVar[str] = ContextVar("_STAGE", default="")


class Point(StrEnum):
    """Where it ends; commits are those of the attempt's own transactions."""

    BEFORE_CLAIM = "before the claim's commit"
    AFTER_CLAIM = "after the claim's commit"
    BEFORE_LAUNCH = "before the launch's commit"
    AFTER_LAUNCH = "after the launch's commit"
    BEFORE_SEND = "before sending"
    AFTER_SEND = "after sending"
    AFTER_ANSWER = "after the answer"
    BEFORE_RESULT = "before the result's commit"
    AFTER_RESULT = "after the result's commit"


class Way(StrEnum):
    """How it ends."""

    EXCEPTION = "exception"
    GONE = "gone"
    CUT = "cut"
    TIMEOUT = "timeout"


LAUNCH = {Point.BEFORE_LAUNCH, Point.AFTER_LAUNCH}
SENDING = {Point.BEFORE_SEND, Point.AFTER_SEND, Point.AFTER_ANSWER}


def points(*, launches: bool, sends: bool = True) -> list[Point]:
    """The points that an attempt passes: one that looks first `launches`, one that writes nothing does not send."""
    missing = (set() if launches else LAUNCH) | (set() if sends else SENDING)
    return [point for point in Point if point not in missing]


def is_lost(point: Point, way: Way) -> bool:
    """Whether the effect is there by then, and its answer never will be."""
    if point is Point.AFTER_SEND:
        return True
    if point is Point.AFTER_ANSWER:
        # A database that is away is waited for.
        return way is not Way.CUT
    return point is Point.BEFORE_RESULT and way in (Way.EXCEPTION, Way.GONE)


class Bug(Exception):  # noqa: N818 - a bug, not an error on purpose
    """Something that nobody expected."""


@dataclass
class Crash:
    """Strikes once. `struck` tells that it did; a replica that is to be gone hangs from then on until it is abandoned."""

    bench: PushBench
    point: Point
    way: Way
    struck: asyncio.Event = field(default_factory=asyncio.Event)

    def is_due(self, point: Point) -> bool:
        """Whether this is the point, and it was not struck before."""
        return point is self.point and not self.struck.is_set()

    async def reach(self, point: Point, *, committed: bool = False) -> None:
        """End here if this is the point. `committed`: right behind a commit whose acknowledgement may get lost."""
        if not self.is_due(point):
            return
        self.struck.set()
        match self.way:
            case Way.EXCEPTION:
                raise Bug(point)
            case Way.GONE:
                await asyncio.Event().wait()
            case Way.CUT:
                self.bench.cut()
                if committed:
                    raise sa.exc.OperationalError("COMMIT", {}, Exception("server closed the connection"))
            case Way.TIMEOUT:
                raise sa.exc.TimeoutError("no answer of the database in time")

    # --- the wrappers ---------------------------------------------------------------------------------------------

    def engine(self, engine: Any) -> Any:
        """An engine whose commits are points."""
        return _Engine(engine, self)

    def queue(self, queue: Any) -> Any:
        """A queue that says which of its steps a transaction is of."""
        return _Queue(queue)

    def writer(self, writer: Any) -> Any:
        """A writer whose sending is a point."""
        return _Writer(writer, self)


class _Engine:
    def __init__(self, engine: Any, crash: Crash) -> None:
        self._engine = engine
        self._crash = crash

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[Any]:
        stage = _STAGE.get()
        async with self._engine.begin() as connection:
            yield connection
            if stage:
                await self._crash.reach(Point(f"before the {stage}'s commit"))
        if stage:
            await self._crash.reach(Point(f"after the {stage}'s commit"), committed=True)


class _Queue:
    _STAGES = {"claim": "claim", "launch": "launch", "settle": "result"}  # noqa: RUF012

    def __init__(self, queue: Any) -> None:
        self._queue = queue

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._queue, name)
        stage = self._STAGES.get(name)
        if stage is None:
            return found

        async def staged(*given: Any) -> Any:
            token = _STAGE.set(stage)
            try:
                return await found(*given)
            finally:
                _STAGE.reset(token)

        return staged


class _Writer:
    def __init__(self, writer: Any, crash: Crash) -> None:
        self._writer = writer
        self._crash = crash

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)

    async def send(self, wish: Any, *, deadline: float) -> Any:
        crash = self._crash
        if crash.is_due(Point.BEFORE_SEND) and crash.way is Way.TIMEOUT:
            crash.struck.set()
            deadline = time.monotonic() - 1
        await crash.reach(Point.BEFORE_SEND)
        if crash.is_due(Point.AFTER_SEND):
            return await self._cut_off(wish, deadline)
        outcome = await self._writer.send(wish, deadline=deadline)
        await crash.reach(Point.AFTER_ANSWER)
        return outcome

    async def _cut_off(self, wish: Any, deadline: float) -> Any:
        """The effect is there; the answer is not, or not whole."""
        crash, sandbox = self._crash, self._crash.bench.sandbox
        if crash.way in (Way.EXCEPTION, Way.CUT):
            crash.bench.strike("drop_after")
            outcome = await self._writer.send(wish, deadline=deadline)
            await crash.reach(Point.AFTER_SEND)
            return outcome
        crash.bench.strike("slow_body", bytes_per_second=10)
        if crash.way is Way.TIMEOUT:
            crash.struck.set()
            return await self._writer.send(wish, deadline=deadline)
        sending = asyncio.ensure_future(self._writer.send(wish, deadline=deadline))
        try:
            # The effect comes before the first byte of the answer, which nobody waits for.
            async with asyncio.timeout(PATIENCE):
                while not sandbox.faults.fired("slow_body"):  # noqa: ASYNC110 - the sandbox has no event for it
                    await asyncio.sleep(0.001)
            crash.struck.set()
            return await sending
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)


async def _turn(replica: Replica) -> None:
    """A database that goes away ends a look into the queue, and not what is under way."""
    with suppress(*Unreachable):
        await replica.turn()
    await replica.rest()


async def crash(it: PushBench, healthy: Replica, where: Point, way: Way) -> None:
    """A replica works until it is struck; one that is gone never works again."""
    plan = Crash(it, where, way)
    replica = it.replica(like=healthy, through=plan.engine, queueing=plan.queue, writing=plan.writer)
    turning = asyncio.ensure_future(_turn(replica))
    struck = asyncio.ensure_future(plan.struck.wait())
    async with asyncio.timeout(PATIENCE):
        await asyncio.wait({turning} if way is not Way.GONE else {struck, turning}, return_when=asyncio.FIRST_COMPLETED)
    assert plan.struck.is_set(), "the attempt did not come by this point"
    struck.cancel()
    turning.cancel()
    await asyncio.gather(turning, return_exceptions=True)
    await replica.abandon()
    it.replicas.remove(replica)
    it.sandbox.faults.clear()
