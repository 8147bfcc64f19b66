"""The daemon: survives a dead database and dead platforms, says how it is, ends when told."""

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence

from counterfoil import __version__, assembly, assembly_writing
from counterfoil.assembly import Platform
from counterfoil.domain.errors import ConfigurationError
from counterfoil.observe import events, logs
from counterfoil.observe.health import HealthServer
from counterfoil.pushing import Pushing
from counterfoil.scheduling import Schedule
from counterfoil.settings import Settings, changed_keys
from counterfoil.store import Unreachable, brief, budget, engine, is_contention, migrations
from counterfoil.streaming import Streaming

# SIGTERM must end us within 30 s: most of that time belongs to the runs.
GRACE = 20.0
# Seconds between tries to reach a lost database: the first, and the longest.
FIRST_RETRY = 1.0
LONGEST_RETRY = 30.0
# What is fixed for the life of a process.
FIXED = ("database", "http")

Load = Callable[[], Settings]


def run(load: Load) -> int:
    """Work until a signal ends it; returns the exit code. `load` reads the settings, again at every SIGHUP.

    Raises:
        ConfigurationError: the settings, or the database that they name, are not ours to work with.
    """
    settings = load()
    logs.configure(settings.log.format, settings.log.level)
    with assembly.database(settings.database) as url:
        return asyncio.run(_run(load, settings, url))


async def _run(load: Load, settings: Settings, url: str) -> int:
    return await Daemon(load, settings, url).run()


class Daemon:
    """One process of `counterfoil run`."""

    def __init__(self, load: Load, settings: Settings, url: str) -> None:
        self._load = load
        self._settings = settings
        self._url = url
        self._engine = engine.create(url)
        self._schedule = Schedule(self._database_lost)
        self._pushing = Pushing(self._engine, url, self._database_lost)
        self._streaming = Streaming(self._schedule.catch_up, self._database_lost)
        self._platforms: dict[str, Platform] = {}
        self._stop = asyncio.Event()
        self._signal = ""
        self._reload = asyncio.Event()
        self._lost: BaseException | None = None
        self._waiting_for_database: asyncio.Task[None] | None = None
        self._begun = False

    async def run(self) -> int:
        """From the first log line to the last."""
        self._listen_to_signals()
        events.emit(events.DAEMON_STARTED, version=__version__, platforms=list(self._settings.platforms))
        health = HealthServer(self._settings.http.host, self._settings.http.port, self._not_ready_because)
        await health.start()
        try:
            await self._prepare_database()
            await self._work()
            return 0
        finally:
            await self._end()
            await health.stop()

    async def _work(self) -> None:
        if self._stop.is_set():
            return
        for name in self._settings.platforms:
            self._add(name)
        self._begun = True
        self._schedule.resume()
        self._pushing.start()
        async with _background(self._announce_readiness()):
            while not self._stop.is_set():
                await _first(self._stop, self._reload)
                if self._reload.is_set():
                    self._reload.clear()
                    await self._reread_settings()

    async def _end(self) -> None:
        started = time.monotonic()
        if self._signal:
            events.emit(events.DAEMON_STOPPING, signal=self._signal)
        if self._waiting_for_database is not None:
            self._waiting_for_database.cancel()
        # Money first: an attempt under way gets its answer and its result, pulls resume anywhere.
        pushed, pulled, _ = await asyncio.gather(
            self._pushing.stop(GRACE), self._schedule.stop(GRACE), self._streaming.stop()
        )
        clean = pushed and pulled
        for platform in self._platforms.values():
            await platform.close()
        await self._engine.dispose()
        events.emit(events.DAEMON_STOPPED, clean=clean, seconds=round(time.monotonic() - started, 3))

    def _listen_to_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._told_to_stop, number.name)
        loop.add_signal_handler(signal.SIGHUP, self._reload.set)

    def _told_to_stop(self, name: str) -> None:
        self._signal = name
        self._stop.set()

    # --- the database ---------------------------------------------------------------------------------------------

    async def _prepare_database(self) -> None:
        """Wait for the database and bring or find its schema at head.

        Raises:
            ConfigurationError: it is another program's, or newer than this version, or behind it and we may not migrate.
        """
        while not self._stop.is_set():
            try:
                await self._ensure_schema()
            except Unreachable as error:
                await self._wait_for_database(error)
            except ConfigurationError as error:
                events.emit(events.SCHEMA_REFUSED, reason=str(error))
                raise
            else:
                return

    async def _ensure_schema(self) -> None:
        # alembic is not async, and a migration may take long: the loop goes on answering /healthz meanwhile.
        if self._settings.database.migrate:
            before, after = await asyncio.to_thread(migrations.upgrade, self._url)
            if before != after:
                events.emit(events.SCHEMA_MIGRATED, from_revision=before, to_revision=after)
        else:
            await asyncio.to_thread(migrations.require_head, self._url)
        await assembly_writing.publish(self._engine, self._settings)

    async def _database_lost(self, error: BaseException) -> None:
        """Told by a run: nothing is pulled until the database answers again."""
        if is_contention(error):
            return
        self._schedule.pause()
        if self._waiting_for_database is None or self._waiting_for_database.done():
            self._waiting_for_database = asyncio.create_task(self._recover(error))

    async def _recover(self, error: BaseException) -> None:
        await self._wait_for_database(error)
        self._schedule.resume()

    async def _wait_for_database(self, error: BaseException) -> None:
        """Try again at growing intervals until it answers or we are told to stop; said at every try, with the next."""
        started = time.monotonic()
        retry = FIRST_RETRY
        while not self._stop.is_set():
            self._lost = error
            events.emit(events.DATABASE_UNREACHABLE, reason=brief(error), retry_in=retry)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), retry)
            retry = min(retry * 2, LONGEST_RETRY)
            try:
                await engine.ping(self._engine)
            except Unreachable as again:
                error = again
            else:
                self._lost = None
                events.emit(events.DATABASE_RECOVERED, seconds=round(time.monotonic() - started, 3))
                return

    # --- settings -------------------------------------------------------------------------------------------------

    def _add(self, name: str) -> None:
        self._platforms[name] = assembly.platform(self._engine, name, self._settings)
        self._schedule.add(self._platforms[name])
        self._pushing.add(self._platforms[name])
        self._streaming.add(self._platforms[name])

    async def _reread_settings(self) -> None:
        """SIGHUP: an invalid file changes nothing; a platform whose settings changed starts anew, the others go on."""
        try:
            fresh = await asyncio.to_thread(self._load)
        except ConfigurationError as error:
            events.emit(events.CONFIG_REJECTED, reason=str(error))
            return
        changed = changed_keys(self._settings, fresh)
        fixed = [key for key in changed if key.partition(".")[0] in FIXED]
        if fixed:
            events.emit(events.CONFIG_REJECTED, reason=f"{fixed[0]} changes only with a restart")
            return
        logs.configure(fresh.log.format, fresh.log.level)
        before, self._settings = self._settings, fresh
        try:
            await assembly_writing.publish(self._engine, fresh)
        except Unreachable as error:
            await self._database_lost(error)
        # All at once: SIGTERM may follow, and waits for this.
        await asyncio.gather(
            *(
                self._replace(name)
                for name in before.platforms.keys() | fresh.platforms.keys()
                if before.crm != fresh.crm or before.platforms.get(name) != fresh.platforms.get(name)
            )
        )
        events.emit(events.CONFIG_RELOADED, changed=changed)

    async def _replace(self, name: str) -> None:
        if name in self._platforms:
            platform = self._platforms.pop(name)
            await self._streaming.remove(name)
            await self._pushing.remove(name, GRACE / 2)
            await self._schedule.remove(platform)
            await platform.close()
        if name in self._settings.platforms:
            self._add(name)

    # --- readiness ------------------------------------------------------------------------------------------------

    async def _not_ready_because(self) -> Sequence[str]:
        """Why we are not ready, a line each."""
        if self._lost is not None:
            return [f"database: {brief(self._lost)}"]
        if not self._begun:
            return ["starting: the database is not prepared yet"]
        try:
            troubled = await budget.troubles(self._engine)
        except Unreachable as error:
            return [f"database: {brief(error)}"]
        reasons = []
        for name, platform in self._platforms.items():
            if name in troubled:
                reasons.append(f"platform {name}: {troubled[name]}")
            elif platform.client.trouble:
                reasons.append(f"platform {name}: {platform.client.trouble}")
        return reasons

    async def _announce_readiness(self) -> None:
        while await self._not_ready_because():  # noqa: ASYNC110 - readiness is asked for, nobody announces it
            await asyncio.sleep(1)
        events.emit(events.DAEMON_READY)


async def _first(*wanted: asyncio.Event) -> None:
    """Until one of the events is set."""
    waits = [asyncio.create_task(event.wait()) for event in wanted]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()


@contextlib.asynccontextmanager
async def _background(work: Coroutine[None, None, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
