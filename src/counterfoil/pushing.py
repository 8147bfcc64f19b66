"""The write paths of all platforms in one process, the ear for the database's wake-up calls, and the voice towards the CRM."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from sqlalchemy.ext.asyncio import AsyncEngine

from counterfoil.assembly import Platform
from counterfoil.observe import events
from counterfoil.push.pusher import Pusher
from counterfoil.store import Unreachable, told

# Seconds between two looks for events to number when nothing wakes us.
POLL = 1.0

DatabaseLost = Callable[[BaseException], Awaitable[None]]


class Pushing:
    """Everything that moves from the CRM to the platforms, and what the CRM is told of it."""

    def __init__(self, engine: AsyncEngine, url: str, on_database_lost: DatabaseLost) -> None:
        self._engine = engine
        self._url = url
        self._on_database_lost = on_database_lost
        self._pushers: dict[str, tuple[Pusher, asyncio.Task[None]]] = {}
        self._news = asyncio.Event()
        self._service: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Listen and tell from now on."""
        listening = told.listen(self._url, self._wake, _deaf)
        self._service = [asyncio.create_task(listening), asyncio.create_task(self._tell())]

    def add(self, platform: Platform) -> None:
        """Write to a platform from now on, where its settings say so."""
        if platform.pusher is not None:
            platform.pusher.on_database_lost = self._on_database_lost
            self._pushers[platform.name] = (platform.pusher, asyncio.create_task(platform.pusher.run()))

    async def remove(self, name: str, grace: float) -> bool:
        """Take up nothing more for a platform; True when what was in flight ended within `grace` seconds."""
        if name not in self._pushers:
            return True
        pusher, task = self._pushers.pop(name)
        pusher.stop()
        return await _ended([task], grace)

    async def stop(self, grace: float) -> bool:
        """End everything within `grace` seconds; what does not is rescued by the next process."""
        for pusher, _ in self._pushers.values():
            pusher.stop()
        clean = await _ended([task for _, task in self._pushers.values()], grace)
        if self._service:
            with contextlib.suppress(*Unreachable):
                await self._number()
        await _ended(self._service, 0.0)
        return clean

    def _wake(self, name: str) -> None:
        self._news.set()
        for platform, (pusher, _) in self._pushers.items():
            if name in ("", platform):
                pusher.wake()

    async def _tell(self) -> None:
        while True:
            self._news.clear()
            try:
                while await self._number():
                    pass
            except Unreachable as error:
                await self._on_database_lost(error)
            except Exception as error:  # noqa: BLE001 - the CRM must be told again as soon as it is possible
                events.emit(events.PUSH_FAILED, reason=error, kind="invariant", retry_in=POLL)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), POLL)

    async def _number(self) -> bool:
        numbered = await told.number(self._engine)
        for one in numbered:
            _say(one)
        return bool(numbered)


def _say(one: told.Told) -> None:
    """Payouts move by calls of the CRM, so this is where the log hears of them."""
    match one.event:
        case "payout.releasable":
            events.emit(events.PAYOUT_RELEASABLE, reference=one.reference)
        case "payout.released":
            events.emit(events.PAYOUT_RELEASED, reference=one.reference)
        case "payout.refunding":
            events.emit(events.PAYOUT_REFUNDING, reference=one.reference)


async def _deaf(reason: str) -> None:
    events.emit(events.PUSH_DEAF, reason=reason)


async def _ended(tasks: "list[asyncio.Task[None]]", grace: float) -> bool:
    """Wait, then cancel what is left; True when nothing was."""
    if not tasks:
        return True
    late = (await asyncio.wait(tasks, timeout=grace))[1] if grace else set(tasks)
    for task in late:
        task.cancel()
    if late:
        await asyncio.wait(late, timeout=5.0)
    return not late
