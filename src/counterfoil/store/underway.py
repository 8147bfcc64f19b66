"""Writes of one run that are under way at once: each commits only behind the one before it."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any


class OvertakenError(Exception):
    """What came before was not written, so this was not either."""


@dataclass(slots=True, eq=False)
class UnderWay:
    """A write and, while it is under way, the one before it."""

    before: "UnderWay | None" = None
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    task: "asyncio.Task[Any]" = field(init=False)

    def start(self, work: Coroutine[Any, Any, Any]) -> None:
        """Let it be done while others go on."""
        self.task = asyncio.create_task(work)
        # Also where it never began.
        self.task.add_done_callback(lambda _: self.begun.set())

    async def may_begin(self) -> None:
        """Until the one before it has begun: those who have a connection wait for nobody who has none."""
        if self.before is not None:
            await self.before.begun.wait()

    async def follow(self) -> None:
        """Until the one before it has committed.

        Raises:
            OvertakenError: it has not, and never will.
        """
        if self.before is None:
            return
        await asyncio.wait([self.before.task])
        if self.before.task.cancelled() or self.before.task.exception() is not None:
            raise OvertakenError
        self.before = None
