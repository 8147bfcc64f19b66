"""The event streams of all platforms in one process, beside the polls that judge them."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from counterfoil.assembly import Platform

DatabaseLost = Callable[[BaseException], Awaitable[None]]
CatchUp = Callable[[Platform], Awaitable[bool]]


class Streaming:
    """`catch_up` polls what a platform's stream brings, now; `on_database_lost` is told when it cannot be reached."""

    def __init__(self, catch_up: CatchUp, on_database_lost: DatabaseLost) -> None:
        self._catch_up = catch_up
        self._on_database_lost = on_database_lost
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def add(self, platform: Platform) -> None:
        """Listen to a platform from now on, where its settings say so."""
        if platform.streamer is not None:
            platform.streamer.catch_up = partial(self._catch_up, platform)
            platform.streamer.on_database_lost = self._on_database_lost
            self._tasks[platform.name] = asyncio.create_task(platform.streamer.run())

    async def remove(self, name: str) -> None:
        """Hang up; what was heard and is not written yet is the polls' to bring."""
        if name in self._tasks:
            await _ended([self._tasks.pop(name)])

    async def stop(self) -> None:
        """Hang up everywhere; another replica takes over at once."""
        tasks = [*self._tasks.values()]
        self._tasks.clear()
        await _ended(tasks)


async def _ended(tasks: "list[asyncio.Task[None]]") -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=5.0)
