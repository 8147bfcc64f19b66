"""The request budget of a platform: one token bucket, one set of places and one breaker, shared by all replicas.

The bucket is a row: `next_at` is the moment at which it would be full again, so one timestamp holds the whole state. A
request may go when taking a token leaves the bucket no further than `burst` tokens from full. Who may go first is decided
twice: in the process, by a queue; between processes, in the row: whoever is turned away leaves its priority there, and less
urgent ones are turned away until it was served. Money and probes may take the next token before it is there and wait for
it; sweeps leave one token for the others.
"""

import asyncio
import heapq
import itertools
import time
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from counterfoil.domain.errors import PausedError
from counterfoil.domain.priority import Priority
from counterfoil.observe import events, metrics
from counterfoil.store.direct import Answer, Direct
from counterfoil.store.engine import Unreachable, transaction

# These take the next token before it is there, and wait for it.
RESERVING = (Priority.MONEY, Priority.PROBE)
# Longer pauses are told to whoever asks; shorter ones are waited out.
PATIENCE = 30.0
# No pause is longer: one that seems so was written before the clock was set back, see take_token.
LONGEST_PAUSE = 3600.0
# A place taken by another process cannot tell us that it is free again; our own do, and then we only repeat that we wait.
OTHERS_PLACE_POLL = 0.02
OWN_PLACE_POLL = 0.2

# A place that is free again waits so long, in seconds, for the next turn that is asked for: it is given back along with that.
RETURN_WITHIN = 0.01
# Seconds that the end of a process waits for a statement that asks for turns.
LONGEST_CLOSE = 5.0

_TAKE = sa.text("""
    SELECT wait, slot, paused, failures, reason FROM counterfoil.take_turns(:platform, :per_second, :burst, :concurrent, :urgency,
        :spare, :may_reserve, :tokens, :hold, :freed, :held_by)
""")
# The budget is locked first, as by whoever takes a turn: two who lock several places would wait for each other.
_RETURN = sa.text("""
    UPDATE counterfoil.slots s SET token = NULL, expires_at = NULL
    FROM (SELECT FROM counterfoil.budgets WHERE platform = :platform FOR UPDATE) b,
        unnest(CAST(:freed AS integer[]), CAST(:held_by AS uuid[])) AS f(place, token)
    WHERE s.platform = :platform AND s.slot = f.place AND s.token = f.token
""")
# A platform may be paused before it was ever asked.
_PAUSE = sa.text("""
    INSERT INTO counterfoil.budgets AS b (platform, next_at, failures, paused_until, reason)
    VALUES (:platform, clock_timestamp() + make_interval(secs => :burst / :per_second), 0,
        clock_timestamp() + make_interval(secs => :seconds), :reason)
    ON CONFLICT (platform) DO UPDATE SET
        paused_until = CASE WHEN b.paused_until <= clock_timestamp() + make_interval(secs => :longest)
            THEN greatest(b.paused_until, excluded.paused_until) ELSE excluded.paused_until END,
        reason = excluded.reason
""")
# Only the first failure after a pause opens the next one: requests that were under way together count once.
_FAIL = sa.text("""
    UPDATE counterfoil.budgets SET failures = failures + 1, reason = :reason,
        paused_until = CASE WHEN failures + 1 >= :tolerated
            THEN clock_timestamp() + make_interval(secs => least(:first * 2 ^ least(failures + 1 - :tolerated, 20), :longest))
            ELSE paused_until END
    WHERE platform = :platform AND (paused_until IS NULL OR paused_until <= clock_timestamp())
    RETURNING failures, greatest(extract(epoch FROM paused_until - clock_timestamp()), 0)::float8
""")
# An answer to a request that was sent before the pause does not end it: the platform may have asked for it.
_SUCCEED = sa.text("""
    WITH before AS (
        SELECT platform, failures FROM counterfoil.budgets
        WHERE platform = :platform AND failures > 0 AND (paused_until IS NULL OR paused_until <= clock_timestamp()) FOR UPDATE
    )
    UPDATE counterfoil.budgets b SET failures = 0, paused_until = NULL, reason = NULL
    FROM before WHERE b.platform = before.platform RETURNING before.failures
""")
_STATE = sa.text("""
    SELECT platform, failures, reason, greatest(extract(epoch FROM paused_until - clock_timestamp()), 0)::float8 AS paused
    FROM counterfoil.budgets
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a platform allows: requests a second, how many at once after a pause, how many under way; `hold` in seconds."""

    per_second: float
    burst: int
    concurrent: int
    # How long a place is kept for a request that never came back: longer than any request may take.
    hold: float


@dataclass(frozen=True, slots=True)
class Breaker:
    """When repeated failures open a pause, and how it grows: seconds."""

    tolerated: int = 5
    first: float = 5.0
    longest: float = 300.0


@dataclass(frozen=True, slots=True)
class _Grant:
    slot: int
    token: uuid.UUID
    wait: float


# A turn, that there is none for long, or how many seconds to wait before the next try.
_Outcome = _Grant | PausedError | float


class _Answer(NamedTuple):
    wait: float
    slot: int | None
    paused: bool
    failures: int
    reason: str | None


@dataclass(order=True, slots=True)
class _Waiter:
    priority: Priority
    order: int
    granted: "asyncio.Future[_Grant]" = field(compare=False)


class SharedBudget:
    """One platform's budget as one process sees it; the truth is in the database."""

    def __init__(self, engine: AsyncEngine, platform: str, limits: Limits, breaker: Breaker | None = None) -> None:
        self._engine = engine
        self._direct = Direct(engine)
        self._platform = platform
        self._limits = limits
        self._breaker = breaker or Breaker()
        self._waiting: list[_Waiter] = []
        self._order = itertools.count()
        self._changed = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None
        self._held = 0
        # With the moment since when it waits to be given back.
        self._freed: dict[_Grant, float] = {}
        self._returning: asyncio.Task[None] | None = None
        self._failures = 0

    @asynccontextmanager
    async def request(self, priority: Priority) -> AsyncIterator[None]:
        """Wait for a turn and hold a place while the body runs. See platforms.base.Budget."""
        asked = time.monotonic()
        grant = await self._turn(priority)
        try:
            await asyncio.sleep(grant.wait)
            metrics.request(self._platform, priority.name.lower(), time.monotonic() - asked)
            yield
        finally:
            self._free(grant)

    async def _turn(self, priority: Priority) -> _Grant:
        waiter = _Waiter(priority, next(self._order), asyncio.get_running_loop().create_future())
        heapq.heappush(self._waiting, waiter)
        self._changed.set()
        if self._pump is None or self._pump.done():
            self._pump = asyncio.create_task(self._serve())
            self._pump.add_done_callback(self._ended)
        try:
            return await waiter.granted
        except asyncio.CancelledError:
            if waiter.granted.done() and not waiter.granted.cancelled() and waiter.granted.exception() is None:
                self._free(waiter.granted.result())
            raise

    async def _serve(self) -> None:
        """Hand out turns, the most urgent first, until nobody waits."""
        try:
            while self._anybody_waits():
                self._changed.clear()
                for outcome in await self._take(self._waiting[0].priority, self._wanted()):
                    await self._follow(outcome)
        except Exception as error:  # noqa: BLE001 - whoever waits must learn of it, whatever it is
            self._refuse_all(error)

    async def _follow(self, outcome: _Outcome) -> None:
        if isinstance(outcome, _Grant):
            self._grant(outcome)
        elif isinstance(outcome, PausedError):
            self._refuse_all(outcome)
        else:
            await self._wait_for_change(outcome)

    def _ended(self, pump: "asyncio.Task[None]") -> None:
        """Cancelled, perhaps before it began: whoever waits would wait for ever."""
        if pump.cancelled() and pump is self._pump:
            for waiter in self._waiting:
                waiter.granted.cancel()

    def _anybody_waits(self) -> bool:
        while self._waiting and self._waiting[0].granted.done():
            heapq.heappop(self._waiting)
        return bool(self._waiting)

    def _wanted(self) -> int:
        """How many turns may be asked for at once: as many as wait that are equally urgent, and have a place here."""
        urgency = self._waiting[0].priority
        equals = sum(waiter.priority is urgency and not waiter.granted.done() for waiter in self._waiting)
        return max(1, min(equals, self._limits.concurrent - self._held))

    def _grant(self, grant: _Grant) -> None:
        """To the most urgent by now, which need not be the one for whom it was asked."""
        self._held += 1
        if self._anybody_waits():
            heapq.heappop(self._waiting).granted.set_result(grant)
        else:
            self._free(grant)

    def _refuse_all(self, error: Exception) -> None:
        while self._anybody_waits():
            heapq.heappop(self._waiting).granted.set_exception(error)

    async def _wait_for_change(self, seconds: float) -> None:
        """Until the time is over, a place is given back, or somebody more urgent comes."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()

    async def _take(self, priority: Priority, most: int) -> list[_Outcome]:
        """Ask for so many turns; the last outcome may be no turn, and then there are fewer."""
        tokens = [uuid.uuid4() for _ in range(most)]
        given = {
            "platform": self._platform,
            "per_second": self._limits.per_second,
            "burst": self._limits.burst,
            "concurrent": self._limits.concurrent,
            "urgency": int(priority),
            "spare": min(1, self._limits.burst - 1) if priority is Priority.SWEEP else 0,
            "may_reserve": priority in RESERVING,
            "tokens": tokens,
            "hold": self._limits.hold,
        }
        answers = [_Answer(**row) for row in await self._giving_back(_TAKE, given)]
        self._failures = answers[-1].failures
        return [self._outcome(token, answer) for token, answer in zip(tokens, answers, strict=False)]

    def _outcome(self, token: uuid.UUID, answer: _Answer) -> _Outcome:
        if answer.slot is not None:
            return _Grant(answer.slot, token, answer.wait)
        if answer.paused and answer.wait > PATIENCE:
            return PausedError(
                f"platform {self._platform} is left alone for {answer.wait:.0f} s more: {answer.reason}",
                retry_after=answer.wait,
            )
        if answer.wait:
            return answer.wait
        return OWN_PLACE_POLL if self._held >= self._limits.concurrent else OTHERS_PLACE_POLL

    def _free(self, grant: _Grant) -> None:
        """The place is free for others in this process at once, and for other processes very soon."""
        self._held -= 1
        self._freed[grant] = time.monotonic()
        self._changed.set()
        if self._returning is None or self._returning.done():
            self._returning = asyncio.create_task(self._return())

    async def _return(self) -> None:
        with suppress(*Unreachable):  # the next turn gives them back
            while self._freed:
                left = next(iter(self._freed.values())) + RETURN_WITHIN - time.monotonic()
                if left > 0:
                    await asyncio.sleep(left)
                else:
                    await self._giving_back(_RETURN, {"platform": self._platform})

    async def _giving_back(self, statement: sa.TextClause, given: Mapping[str, object]) -> list[Answer]:
        """Make a statement that gives back what is free; what it did not reach is given back with the next one."""
        freed = [*self._freed]
        places = {"freed": [grant.slot for grant in freed], "held_by": [grant.token for grant in freed]}
        answers = await self._direct.all(statement, {**given, **places})
        for grant in freed:
            self._freed.pop(grant, None)
        return answers

    async def close(self) -> None:
        """Give back what is free, what a statement under way takes too, and close the connection."""
        self._changed.set()
        if self._pump is not None:
            await asyncio.wait([self._pump], timeout=LONGEST_CLOSE)
        if self._returning is not None:
            await asyncio.wait([self._returning])
        await self._direct.close()

    async def succeeded(self) -> None:
        """See platforms.base.Budget. Costs a statement only after a failure."""
        if self._failures == 0:
            return
        async with transaction(self._engine) as connection:
            failures = await connection.scalar(_SUCCEED, {"platform": self._platform})
        self._failures = 0
        if failures is not None and failures >= self._breaker.tolerated:
            events.emit(events.PLATFORM_RESUMED, platform=self._platform)

    async def failed(self, reason: str) -> None:
        """See platforms.base.Budget."""
        async with transaction(self._engine) as connection:
            row = (
                await connection.execute(
                    _FAIL,
                    {
                        "platform": self._platform,
                        "reason": reason,
                        "tolerated": self._breaker.tolerated,
                        "first": self._breaker.first,
                        "longest": self._breaker.longest,
                    },
                )
            ).one_or_none()
        if row is not None and row[1]:
            events.emit(events.PLATFORM_PAUSED, platform=self._platform, reason=reason, seconds=row[1], failures=row[0])

    async def limited(self, seconds: float) -> None:
        """See platforms.base.Budget."""
        await self.pause(seconds, "the platform asked for a pause (429)")
        events.emit(events.PLATFORM_RATE_LIMITED, platform=self._platform, retry_after=seconds)

    async def pause(self, seconds: float, reason: str) -> None:
        """Let nobody ask this platform for so long."""
        given = {
            "platform": self._platform,
            "seconds": min(seconds, LONGEST_PAUSE),
            "longest": LONGEST_PAUSE,
            "reason": reason,
            "burst": float(self._limits.burst),
            "per_second": self._limits.per_second,
        }
        async with transaction(self._engine) as connection:
            await connection.execute(_PAUSE, given)


async def troubles(engine: AsyncEngine, breaker: Breaker | None = None) -> dict[str, str]:
    """Platforms that have failed so often that they are left alone, and why; a pause that a platform asked for is none."""
    tolerated = (breaker or Breaker()).tolerated
    async with transaction(engine) as connection:
        rows = (await connection.execute(_STATE)).all()
    return {
        row.platform: f"{row.reason}; asked again in {row.paused:.0f} s" for row in rows if row.failures >= tolerated
    }
