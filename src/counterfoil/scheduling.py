"""When each resource of a platform is pulled. APScheduler beats time; everything durable lies in the database.

One tick asks for one run; the lease in the database decides whether it happens, so several daemons share the work, and a
run that takes longer than its interval is not doubled.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from apscheduler.schedulers.asyncio import AsyncIOScheduler

from counterfoil.assembly import Platform
from counterfoil.domain.errors import CounterfoilError
from counterfoil.observe import events
from counterfoil.pull.pacing import STREAMED
from counterfoil.pull.puller import Result, Wish
from counterfoil.store import Unreachable

# What is asked for with what another resource brings, or refers to it: read first when that is there.
AFTER = {
    "omtrader": {"commissions": "groups", "group_symbols": "groups", "transactions": "accounts"},
    "ctrader": {"deals": "accounts", "positions": "symbols", "subaccounts": "accounts"},
}
# What others refer to by name or id: begun before them.
FIRST = ("symbols", "groups", "accounts")
# Ticks are spread by this share of the interval, so that resources and replicas do not all ask at once.
JITTER = 0.05
RETRY_FIRST = 5.0
# The first readings bring everything; the first comparison can wait until they had their time.
FIRST_SWEEP = timedelta(minutes=30)

DatabaseLost = Callable[[BaseException], Awaitable[None]]
T = TypeVar("T")


class Schedule:
    """The ticks of all platforms. `on_database_lost` is told when a run could not reach the database."""

    def __init__(self, on_database_lost: DatabaseLost) -> None:
        self._scheduler = AsyncIOScheduler(timezone=UTC)
        self._on_database_lost = on_database_lost
        self._tasks: dict[asyncio.Task[Any], str] = {}
        self._scheduler.start(paused=True)

    def resume(self) -> None:
        """Begin, or go on."""
        self._scheduler.resume()

    def pause(self) -> None:
        """No new runs for now."""
        self._scheduler.pause()

    def add(self, platform: Platform) -> None:
        """Pull a platform's resources from now on."""
        for resource, interval in platform.settings.pull.items():
            if resource not in FIRST and _after(platform).get(resource) not in platform.settings.pull:
                delay = min(interval.every, FIRST_SWEEP) if resource == "sweep" else timedelta(0)
                self._add_job(platform, resource, delay)
        self._spawn(self._log_in(platform), platform)
        for resource in FIRST:
            if resource in platform.settings.pull:
                self._spawn(self._begin(platform, resource), platform)

    async def remove(self, platform: Platform) -> None:
        """No more runs of this platform; what is under way is ended at once, and resumes at its stored position."""
        for job in self._scheduler.get_jobs():
            if job.args[0] is platform:
                job.remove()
        await _end([task for task, name in self._tasks.items() if name == platform.name])

    async def stop(self, grace: float) -> bool:
        """End everything within `grace` seconds; True when nothing was left by then."""
        self._scheduler.shutdown(wait=False)
        return await _end(list(self._tasks), grace)

    async def _log_in(self, platform: Platform) -> None:
        """Be ready to take over, also where another replica does all the work for now."""
        while True:
            try:
                with events.bind(platform=platform.name):
                    await platform.client.log_in()
            except (CounterfoilError, *Unreachable):
                await asyncio.sleep(RETRY_FIRST)
            else:
                return

    async def _begin(self, platform: Platform, resource: str) -> None:
        """Read a resource that others wait for, and try again soon until it is there; then let them begin."""
        await self._run(platform, resource, Wish(when_due=True))
        while not await platform.puller.has_read(resource):
            await asyncio.sleep(RETRY_FIRST)
            await self._run(platform, resource, Wish())
        self._add_job(platform, resource, platform.settings.pull[resource].every)
        for dependent, needed in _after(platform).items():
            if needed == resource and dependent in platform.settings.pull:
                self._add_job(platform, dependent, timedelta(0))

    def _add_job(self, platform: Platform, resource: str, delay: timedelta) -> None:
        every = platform.settings.pull[resource].every.total_seconds()
        self._scheduler.add_job(
            self._tick,
            "interval",
            args=(platform, resource),
            seconds=every,
            jitter=every * JITTER,
            next_run_time=datetime.now(UTC) + delay,
            coalesce=True,
            max_instances=1,
            misfire_grace_time=None,
        )

    async def _tick(self, platform: Platform, resource: str) -> None:
        """One beat for one resource. Its task is ours, so that we can end it."""
        task = self._spawn(self._due(platform, resource), platform)
        # APScheduler cancels its beats when it ends, and calls that an error; the run is ended by us.
        with suppress(asyncio.CancelledError):
            await asyncio.wait([task])

    async def catch_up(self, platform: Platform) -> bool:
        """Poll what an event stream brings, now, after a run that is under way; whether all of it is done.

        Ended with the platform, like every run.
        """
        tasks = [self._spawn(self._caught_up(platform, resource), platform) for resource in STREAMED]
        done, _ = await asyncio.wait(tasks)
        return all(not task.cancelled() and task.result() for task in done)

    async def _caught_up(self, platform: Platform, resource: str) -> bool:
        result = Result.MORE
        while result is Result.MORE:
            result = await self._run(platform, resource, Wish(wait=True))
        return result is Result.DONE

    async def _due(self, platform: Platform, resource: str) -> None:
        """The run of one beat, unless one began within the interval that is wanted now; on and on while there is more."""
        wish = Wish(when_due=True)
        while await self._run(platform, resource, wish) is Result.MORE:
            wish = Wish()

    async def _run(self, platform: Platform, resource: str, wish: Wish) -> Result:
        try:
            return await platform.puller.run(resource, wish)
        except Unreachable as error:
            await self._on_database_lost(error)
            return Result.FAILED

    def _spawn(self, work: Coroutine[None, None, T], platform: Platform) -> "asyncio.Task[T]":
        task = asyncio.create_task(work)
        self._tasks[task] = platform.name
        task.add_done_callback(self._tasks.pop)
        return task


def _after(platform: Platform) -> Mapping[str, str]:
    return AFTER[platform.settings.kind]


async def _end(tasks: list["asyncio.Task[Any]"], grace: float = 10.0) -> bool:
    for task in tasks:
        task.cancel()
    late = (await asyncio.wait(tasks, timeout=grace))[1] if tasks else set()
    return not late
