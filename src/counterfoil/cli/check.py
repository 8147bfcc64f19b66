"""`counterfoil check`: tries out every setting, one line each, before anybody relies on it."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import click
from sqlalchemy.ext.asyncio import AsyncEngine

from counterfoil import assembly, settings
from counterfoil.assembly import Platform
from counterfoil.cli.options import DONE, FAILED, config_option
from counterfoil.ctrader_settings import CTraderSettings
from counterfoil.domain.errors import ConfigurationError, CounterfoilError
from counterfoil.observe import logs
from counterfoil.platforms.streaming import EventSource
from counterfoil.pull.streamed import tried
from counterfoil.settings import Settings
from counterfoil.store import Unreachable, brief, engine, migrations

# Above this, times of the platform and of this machine cannot be compared in a log; seconds.
ACCEPTABLE_SKEW = 5.0


@dataclass(slots=True)
class Checks:
    """Prints one line a check and remembers whether all were good."""

    good: bool = True

    def say(self, name: str, finding: str, *, good: bool = True) -> None:
        """One line."""
        self.good = self.good and good
        click.echo(f"{'ok  ' if good else 'FAIL'}  {name}: {finding}")

    async def attempt(self, name: str, work: Callable[[], Awaitable[str]]) -> bool:
        """One line: what the work found, or why it failed."""
        try:
            self.say(name, await work())
        except CounterfoilError as error:
            self.say(name, str(error), good=False)
            return False
        except Unreachable as error:
            self.say(name, f"cannot be reached: {brief(error)}", good=False)
            return False
        return True


@click.command()
@config_option
@click.option("--offline", is_flag=True, help="Only the file and its secrets.")
def check(file: Path, *, offline: bool) -> int:
    """Try out the settings: file, secrets, database, schema, and on each platform login, scope, clock, deals and events."""
    # The lines below say it all.
    logs.configure(None, "critical")
    checks = Checks()
    loaded = settings.load(file)
    checks.say("file", f"{file} is valid, {len(loaded.platforms)} platform(s)")
    checks.say("secrets", _secrets(loaded))
    if offline:
        return DONE
    with assembly.database(loaded.database, join=True) as url:
        asyncio.run(_online(url, loaded, checks))
    return DONE if checks.good else FAILED


def _secrets(loaded: Settings) -> str:
    key = "set" if loaded.crm.encryption_key else "not set, so that replicas do not share sessions"
    return f"all readable; crm.encryption_key is {key}"


async def _online(url: str, loaded: Settings, checks: Checks) -> None:
    reachable = await checks.attempt("database", lambda: _database(url))
    at_head = reachable and await checks.attempt("schema", lambda: _schema(url, migrate=loaded.database.migrate))
    if not at_head:
        checks.say("platforms", "not tried: the request budget lies in the database", good=False)
        return
    database = engine.create(url)
    try:
        for name in loaded.platforms:
            await _platform(database, name, loaded, checks)
    finally:
        await database.dispose()


async def _database(url: str) -> str:
    if await engine.pooled(url):
        raise ConfigurationError(
            "a transaction pooler answers: leases and staging tables need sessions of their own; name PostgreSQL itself,"
            " or a pooler in session mode"
        )
    return await engine.server_version(url)


async def _schema(url: str, *, migrate: bool) -> str:
    if migrate:
        before, after = await asyncio.to_thread(migrations.upgrade, url)
        return f"at {after}" + ("" if before == after else f", brought there from {before or 'nothing'}")
    await asyncio.to_thread(migrations.require_head, url)
    return f"at {migrations.head()}"


async def _platform(database: AsyncEngine, name: str, loaded: Settings, checks: Checks) -> None:
    # A login of its own: a shared session would hide a password that is wrong by now.
    alone = loaded.model_copy(update={"crm": loaded.crm.model_copy(update={"encryption_key": None})})
    platform = assembly.platform(database, name, alone)
    try:
        if await checks.attempt(f"{name} login", lambda: _login(platform)):
            await checks.attempt(f"{name} clock", lambda: _clock(platform))
            for resource in platform.client.CHECKED:
                await checks.attempt(f"{name} {resource}", lambda resource=resource: _reads(platform, resource))  # type: ignore[misc]
            if platform.streamer is not None:
                source = platform.streamer.source
                await checks.attempt(f"{name} stream", lambda: _streams(source))
            checks.say(f"{name} writes", _writes(name, loaded))
    finally:
        await platform.close()


def _writes(name: str, loaded: Settings) -> str:
    own = loaded.platforms[name]
    if not loaded.pushes(name):
        return "off, this platform is only mirrored"
    if isinstance(own, CTraderSettings):
        return f"on; at most {own.rate_limit.writes_per_hour} in any hour, new accounts under {own.broker_name}"
    return f"on; references travel in {own.money.reference_field}, changes are sent with put: {own.put}"


async def _login(platform: Platform) -> str:
    facts = await platform.client.log_in()
    kind = ", a sandbox" if facts.sandbox else ""
    return f"account {facts.account_id}, scope {facts.scope or 'not told'}, for {facts.expires_in} s{kind}"


async def _clock(platform: Platform) -> str:
    skew = (await platform.client.log_in()).skew
    if skew is None:
        return "the platform does not tell its time"
    if abs(skew) > ACCEPTABLE_SKEW:
        raise ConfigurationError(f"the platform's clock differs by {skew:+.0f} s: check NTP on this machine")
    return f"differs by less than {ACCEPTABLE_SKEW:.0f} s"


async def _streams(source: EventSource) -> str:
    await tried(source)
    return "opens, and answers heartbeats"


async def _reads(platform: Platform, resource: str) -> str:
    try:
        seen = await platform.client.sees(resource)
    except CounterfoilError as error:
        hint = (
            "; try deals_path: /api/v1/manager/deals"
            if resource == "deals" and platform.settings.kind == "omtrader"
            else ""
        )
        raise type(error)(f"{error}{hint}") from error
    return "readable" if seen else "readable, but none is visible to this manager"
