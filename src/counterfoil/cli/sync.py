"""`counterfoil sync`: one pass over everything, then the end."""

import asyncio
import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
from sqlalchemy.ext.asyncio import AsyncEngine

from counterfoil import assembly, settings
from counterfoil.assembly import Platform
from counterfoil.cli.options import DONE, FAILED, NEEDS_A_PERSON, config_option
from counterfoil.domain.errors import ConfigurationError
from counterfoil.observe import logs
from counterfoil.pull import puller
from counterfoil.pull.puller import Result, Wish
from counterfoil.settings import Settings
from counterfoil.store import engine, ledger_index, migrations, report
from counterfoil.store.appending import AT_ONCE

if TYPE_CHECKING:
    from rich.progress import Progress

SWEEP, DEALS = "sweep", "deals"
Note = Callable[[int, int | None], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """What one pass is to cover."""

    platforms: tuple[str, ...]
    resources: tuple[str, ...]
    full: bool
    accept: tuple[str, ...]


@click.command()
@config_option
@click.option("--platform", "platforms", multiple=True, help="Only this platform; may be given again.")
@click.option("--resource", "resources", multiple=True, help="Only this resource; may be given again.")
@click.option("--full", is_flag=True, help="Compare everything, for late rows and deletions.")
@click.option(
    "--accept-deletions", "accept", multiple=True, metavar="RESOURCE", help="Let go what was held back; with --full."
)
def sync(file: Path, **wanted: object) -> int:
    """Pull everything once and exit: 0 complete, 1 something failed, 3 something waits for a person."""
    loaded = settings.load(file)
    asked = Pass(**wanted)  # type: ignore[arg-type]
    _refuse_unknown(asked, loaded)
    interactive = sys.stderr.isatty()
    logs.configure(loaded.log.format, "warning" if interactive else loaded.log.level)
    with assembly.database(loaded.database, join=True) as url:
        _prepare(url, loaded, asked)
        return asyncio.run(_pass(url, loaded, asked, interactive=interactive))


def _prepare(url: str, loaded: Settings, asked: Pass) -> None:
    if not loaded.database.migrate:
        migrations.require_head(url)
        return
    # Several platforms do not wait for each other, and one may read by account what another still fills.
    alone = len(asked.platforms or loaded.platforms) == 1
    migrations.upgrade(url, filling=alone and (not asked.resources or DEALS in asked.resources))


def _refuse_unknown(asked: Pass, loaded: Settings) -> None:
    for name in asked.platforms:
        if name not in loaded.platforms:
            raise ConfigurationError(f"--platform {name}: there is {', '.join(loaded.platforms)}")
    kinds = [loaded.platforms[name].kind for name in asked.platforms or loaded.platforms]
    known = list(dict.fromkeys(resource for kind in kinds for resource in puller.PLANS[kind]))
    for resource in (*asked.resources, *asked.accept):
        if resource not in known:
            raise ConfigurationError(f"{resource} is no resource; there is {', '.join(known)}")
    if asked.accept and not asked.full:
        raise ConfigurationError("--accept-deletions needs --full: only a complete comparison can let rows go")


async def _pass(url: str, loaded: Settings, asked: Pass, *, interactive: bool) -> int:
    database = engine.create(url)
    try:
        with _progress(interactive=interactive) as bars:
            names = asked.platforms or tuple(loaded.platforms)
            async with engine.opened_ahead(database, AT_ONCE):
                good = await asyncio.gather(*(_one(database, name, loaded, asked, bars) for name in names))
        held = await report.held(database)
    finally:
        indexed = not loaded.database.migrate or await ledger_index.restored(database)
        await database.dispose()
    for row in held:
        click.echo(f"{row.platform}/{row.resource}: {row.rows} rows vanished at once and are kept", err=True)
    if not all(good) or not indexed:
        return FAILED
    return NEEDS_A_PERSON if held else DONE


async def _one(database: AsyncEngine, name: str, loaded: Settings, asked: Pass, bars: "_Bars") -> bool:
    """One platform, resource after resource; False when any failed."""
    platform = assembly.platform(database, name, loaded, writes=False)
    try:
        good = True
        for resource in _resources(platform, asked):
            good = await _until_done(platform, resource, asked, bars) and good
            if resource == DEALS and loaded.database.migrate:
                # What comes next may ask for the deals of an account.
                await ledger_index.restored(database)
        return good
    finally:
        await platform.close()


def _resources(platform: Platform, asked: Pass) -> list[str]:
    chosen = [name for name in platform.puller.plan if name in platform.settings.pull and name != SWEEP]
    chosen += [SWEEP] if asked.full else []
    return [name for name in chosen if not asked.resources or name in asked.resources]


async def _until_done(platform: Platform, resource: str, asked: Pass, bars: "_Bars") -> bool:
    with bars.bar(f"{platform.name} {resource}") as note:
        wish = Wish(wait=True, full=asked.full, accepted=frozenset(asked.accept), progress=note)
        while (result := await platform.puller.run(resource, wish)) is Result.MORE:
            pass
    return result is Result.DONE


class _Bars:
    """A bar a resource on a terminal; nothing elsewhere, where the log says it."""

    def __init__(self, progress: "Progress | None") -> None:
        self._progress = progress

    @contextlib.contextmanager
    def bar(self, name: str) -> Iterator[Note]:
        if self._progress is None:
            yield lambda _rows, _expected: None
            return
        progress, task, seen = self._progress, self._progress.add_task(name, total=None), [0, 0]

        def note(rows: int, expected: int | None) -> None:
            # A long reading comes in several runs, each counting from nothing.
            seen[0] += seen[1] if rows < seen[1] else 0
            seen[1] = rows
            progress.update(task, completed=seen[0] + rows, total=expected)

        yield note
        progress.update(task, total=max(1, seen[0] + seen[1]), completed=max(1, seen[0] + seen[1]))


@contextlib.contextmanager
def _progress(*, interactive: bool) -> Iterator[_Bars]:
    if not interactive:
        yield _Bars(None)
        return
    from rich.console import Console  # noqa: PLC0415 - nobody else needs its 30 ms
    from rich.progress import (  # noqa: PLC0415
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
    )

    columns = (TextColumn("{task.description:<24}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True)) as progress:
        yield _Bars(progress)
