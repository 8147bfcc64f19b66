"""Runs the pulls of one platform: one at a time per resource, over all replicas, each with its result told."""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum, auto
from functools import partial
from typing import cast

from counterfoil.domain.errors import (
    BrokenInvariantError,
    ConfigurationError,
    CounterfoilError,
    LeaseLostError,
    PausedError,
    PermanentError,
)
from counterfoil.domain.interval import Interval
from counterfoil.domain.priority import Priority
from counterfoil.observe import events
from counterfoil.platforms.base import Reader, SnapshotReader
from counterfoil.pull import (
    explained,
    history,
    listing,
    live,
    positions,
    registered,
    snapshots,
    spans,
    subaccounts,
    sweep,
    transactions,
)
from counterfoil.pull.pacing import STREAMED, not_within, wanted
from counterfoil.pull.run import Memory, Pace, Progress, Run
from counterfoil.store import Unreachable, leases
from counterfoil.store.cursors import Recent, Success
from counterfoil.store.mirror import Mirror
from counterfoil.store.runs import Runs

LONGEST_RETRY = 900.0
# The first pause after a failure of what is never pulled by itself.
RETRY_OTHERWISE = 60.0
# What is remembered of a resource is compared with the database again after so many seconds.
LONGEST_MEMORY = 3600.0
# Between two tries to take over the work on a resource that another process does now.
TAKE_OVER_POLL = 0.25


class Result(Enum):
    """How a run ended."""

    DONE = auto()
    MORE = auto()
    """There is more to read; run it again at once."""
    BUSY = auto()
    """Somebody else does it, or has just done it."""
    FAILED = auto()


async def _deals(run: Run) -> None:
    await history.pull(run, "deals", "deals", priority=Priority.NORMAL)


Plan = Mapping[str, Callable[[Run], Awaitable[None]]]
"""How each resource of a kind of platform is pulled, in the order of a first pass: what others refer to comes first."""

OMTRADER: Plan = {
    "groups": listing.pull,
    "symbols": listing.pull,
    "clients": listing.pull,
    "accounts": listing.pull,
    "positions": live.pull,
    "orders": live.pull,
    "commissions": listing.pull,
    "group_symbols": listing.pull,
    "deals": _deals,
    "transactions": transactions.pull,
    "sweep": sweep.pull,
}
CTRADER: Plan = {
    "groups": snapshots.pull,
    "symbols": snapshots.pull,
    "deposit_assets": snapshots.pull,
    "accounts": snapshots.pull,
    "clients": registered.pull,
    "positions": positions.pull,
    "deals": spans.pull,
    "transactions": explained.pull,
    "subaccounts": subaccounts.pull,
    "sweep": spans.sweep,
}
PLANS: Mapping[str, Plan] = {"omtrader": OMTRADER, "ctrader": CTRADER}

# What these learn from rows of others in the mirror alone: they know nothing that is newer than those.
RELIES_ON: Mapping[Callable[[Run], Awaitable[None]], tuple[str, ...]] = {
    transactions.pull: ("accounts",),
    explained.pull: ("accounts", "deals"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a caller wants of a run.

    `when_due`: not before the interval that is wanted now is over, whoever ran it last. `not_within`: not if one began so
    recently. `wait`: for another process to finish. `full`, `accepted`: see Run.
    """

    when_due: bool = False
    not_within: timedelta = timedelta(0)
    wait: bool = False
    full: bool = False
    accepted: frozenset[str] = frozenset()
    progress: Progress = lambda _rows, _expected: None


@dataclass(slots=True)
class _Backoff:
    failures: int = 0
    retry_at: float = 0.0


@dataclass(slots=True, kw_only=True)
class Puller:
    """The pulls of one platform. `intervals`: how often each resource is wanted; those not in it are off.

    `streams`: events bring rows as well.
    """

    runs: Runs
    platform: str
    reader: Reader | SnapshotReader
    pace: Pace
    intervals: Mapping[str, Interval]
    plan: Plan = field(default_factory=lambda: OMTRADER)
    streams: bool = False
    _memories: dict[str, Memory] = field(default_factory=dict)
    _backoffs: dict[str, _Backoff] = field(default_factory=dict)
    _tokens: dict[str, uuid.UUID] = field(default_factory=dict)

    async def run(self, resource: str, wish: Wish | None = None) -> Result:
        """One run of one resource; what goes wrong with it is said and noted, and only what concerns all is raised.

        Raises:
            store.Unreachable: the database cannot be reached.
        """
        wish = wish or Wish()
        with events.bind(platform=self.platform, resource=resource, run_id=uuid.uuid4().hex[:12]):
            backoff = self._backoffs.setdefault(resource, _Backoff())
            if not wish.wait and time.monotonic() < backoff.retry_at:
                return Result.BUSY
            lease = await self._acquire(resource, wish)
            if lease is None:
                return Result.BUSY
            async with self.runs.held(lease):
                return await self._guarded(resource, lease, wish, backoff)

    async def has_read(self, resource: str) -> bool:
        """Whether a run of this resource has ever been complete, whoever ran it."""
        try:
            return await self.runs.age(self.platform, resource) is not None
        except Unreachable:
            return False

    def _streams(self, resource: str) -> bool:
        """Whether events bring rows of a resource as well."""
        return self.streams and resource in STREAMED

    def _not_within(self, resource: str, recent: Recent) -> timedelta:
        ours = recent.token is not None and recent.token == self._tokens.get(resource)
        return not_within(self.intervals[resource], recent, streamed=self._streams(resource), ours=ours)

    async def _acquire(self, resource: str, wish: Wish) -> leases.Lease | None:
        if wish.when_due:
            return await self.runs.acquire_when_due(self.platform, resource, partial(self._not_within, resource))
        while (lease := await self.runs.acquire(self.platform, resource, not_within=wish.not_within)) is None:
            if not wish.wait:
                return None
            await asyncio.sleep(TAKE_OVER_POLL)
        return lease

    async def _guarded(self, resource: str, lease: leases.Lease, wish: Wish, backoff: _Backoff) -> Result:
        self._tokens[resource] = lease.token
        run = self._prepare(resource, lease, wish)
        events.emit(events.PULL_STARTED)
        try:
            await self.plan[resource](run)
            await self._finish(run)
        except asyncio.CancelledError:
            events.emit(events.PULL_INTERRUPTED)
            raise
        except Unreachable:
            raise
        except LeaseLostError:
            events.emit(events.LEASE_LOST, holder=None)
            return Result.BUSY
        except Exception as error:  # noqa: BLE001 - one resource's trouble, even a bug of ours, must not stop the others
            await self._say_failed(resource, error, backoff)
            return Result.FAILED
        backoff.failures, backoff.retry_at = 0, 0.0
        run.memory.token = lease.token
        self._memories[resource] = run.memory
        return Result.DONE if run.complete else Result.MORE

    def _prepare(self, resource: str, lease: leases.Lease, wish: Wish) -> Run:
        memory = self._memories.pop(resource, None)
        if memory is None or memory.token != lease.previous or time.monotonic() - memory.since > LONGEST_MEMORY:
            memory = Memory(since=time.monotonic())
        return Run(
            mirror=Mirror(self.runs.engine, lease),
            # Each pull of a plan knows which of the two it works with.
            reader=cast("Reader", self.reader),
            resource=resource,
            memory=memory,
            pace=self.pace,
            full=wish.full,
            accepted=wish.accepted,
            round_share=self._round_share(resource, wish),
            round_length=self.intervals["sweep"].every if "sweep" in self.intervals else timedelta(0),
            streamed=self.streams and resource in (*STREAMED, "sweep"),
            progress=wish.progress,
        )

    def _round_share(self, resource: str, wish: Wish) -> float:
        """The slow round belongs to the daemon, and takes as long as a sweep is wanted."""
        if wish.wait or "sweep" not in self.intervals:
            return 0.0
        # The most often that it may come: nobody is asked sooner than the round needs.
        return self.intervals[resource].every / self.intervals["sweep"].every if resource in self.intervals else 0.0

    async def _finish(self, run: Run) -> None:
        duration = run.age
        found = run.found
        run.memory.found = found and not run.complete
        if not run.complete:
            events.emit(
                events.PULL_PROGRESSED,
                done=None if run.done is None else round(run.done, 3),
                requests=run.requests,
                seen=run.seen,
                inserted=run.written.inserted,
                changed=run.written.changed,
                duration=round(duration, 3),
            )
            return
        success = Success(
            took=timedelta(seconds=duration),
            found=found,
            streamed=run.streamed,
            relies_on=RELIES_ON.get(self.plan[run.resource], ()),
        )
        noted, recent = await self.runs.succeeded(self.platform, run.resource, success)
        interval = self.intervals.get(run.resource)
        every = wanted(interval, recent, streamed=self._streams(run.resource)) if interval else None
        events.emit(
            events.PULL_FINISHED,
            requests=run.requests,
            seen=run.seen,
            inserted=run.written.inserted,
            changed=run.written.changed,
            deleted=run.written.deleted,
            quarantined=run.written.quarantined,
            lag=None if noted.lag is None else round(noted.lag, 3),
            age=round(noted.age, 3),
            interval=None if every is None else every.total_seconds(),
            duration=round(duration, 3),
        )
        if noted.lag is None:
            await self.runs.renew_figures(self.platform, run.resource)

    async def _say_failed(self, resource: str, error: Exception, backoff: _Backoff) -> None:
        reason = str(error) if isinstance(error, CounterfoilError) else f"{type(error).__name__}: {error}"
        await self.runs.failed(self.platform, resource, reason=reason.splitlines()[0][:500] if reason else "unknown")
        if isinstance(error, PausedError):
            events.emit(events.PULL_SKIPPED, reason=reason)
            return
        every = self.intervals[resource].every.total_seconds() if resource in self.intervals else RETRY_OTHERWISE
        retry_in = min(every * 2**backoff.failures, LONGEST_RETRY)
        backoff.failures = min(backoff.failures + 1, 10)
        backoff.retry_at = time.monotonic() + retry_in - every / 2
        events.emit(events.PULL_FAILED, reason=error, kind=_kind(error), retry_in=round(retry_in, 1))


def _kind(error: Exception) -> str:
    if isinstance(error, ConfigurationError):
        return "configuration"
    if isinstance(error, PermanentError):
        return "permanent"
    if isinstance(error, BrokenInvariantError) or not isinstance(error, CounterfoilError):
        return "invariant"
    return "transient"
