"""`counterfoil status`: whether money moves, what waits for a person, how long the queues are, how fresh everything is."""

import asyncio
import json
from collections.abc import Container, Iterable
from datetime import datetime, timedelta
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from counterfoil import assembly, settings
from counterfoil.cli import status_text
from counterfoil.cli.options import DONE, NEEDS_A_PERSON, config_option
from counterfoil.platform_settings import OMTraderSettings
from counterfoil.pull.pacing import STREAMED, slowed
from counterfoil.settings import Settings
from counterfoil.store import desk, engine, migrations, report
from counterfoil.store.desk import Desk
from counterfoil.store.report import Report, Resource
from counterfoil.store.streams import BELIEVED, STREAM

# A resource is late when it is this many intervals old: one miss is noise.
LATE = 3


@click.command()
@config_option
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def status(file: Path, *, as_json: bool) -> int:
    """Say whether money moves, how fresh the mirror is and what waits for a person; exit code 3 when something does."""
    loaded = settings.load(file)
    with assembly.database(loaded.database, join=True) as url:
        migrations.require_head(url)
        found, stands = asyncio.run(_read(url, [name for name in loaded.platforms if loaded.pushes(name)]))
    concerns = [*status_text.concerns(stands, loaded), *_concerns(found, loaded)]
    headline = status_text.headline(stands, concerns, loaded)
    if as_json:
        plain = {"headline": headline, **_plain(found, concerns), **status_text.plain(stands)}
        click.echo(json.dumps(plain, default=str, indent=2))
    else:
        _show(found, stands, [headline, *concerns], loaded)
    return NEEDS_A_PERSON if concerns else DONE


async def _read(url: str, pushed: list[str]) -> tuple[Report, Desk]:
    database = engine.create(url, pool_size=1)
    try:
        return await report.read(database), await desk.waiting(database, pushed=pushed)
    finally:
        await database.dispose()


def _concerns(found: Report, loaded: Settings) -> list[str]:
    """What needs a person, a line each."""
    lines = [
        f"{held.platform}/{held.resource}: {held.rows} rows vanished at once and are kept; if that is true: "
        f"counterfoil sync -c FILE --full --accept-deletions {held.resource}"
        for held in found.held
    ]
    failing = (row for row in found.resources if row.platform in loaded.platforms and row.failures >= LATE)
    return lines + [
        f"{row.platform}/{row.resource}: failed {row.failures} times in a row: {row.reason}" for row in failing
    ]


def _show(found: Report, stands: Desk, lines: list[str], loaded: Settings) -> None:
    console = Console(highlight=False)
    for line in lines:
        console.print(line, soft_wrap=True, markup=False)
    if stands.queues:
        console.print(_table(status_text.QUEUE_HEADINGS, status_text.queues(stands), left=("platform",)))
    console.print(
        _table(
            ("platform", "resource", "rows", "as of", "age", "state"),
            (
                (row.platform, row.resource, _count(row.rows), _moment(row.as_of), _age(row.age), _state(row, loaded))
                for row in found.resources
            ),
            left=("platform", "resource", "as of", "state"),
        )
    )
    for platform, reason in found.paused.items():
        console.print(f"{platform} is paused: {reason}", markup=False)
    if found.quarantined:
        console.print(f"{found.quarantined} records lie in counterfoil.quarantine")
    if found.drifted:
        console.print(f"{found.drifted} fields that the CRM owns were changed on a platform; see counterfoil.drift")


def _table(headings: Iterable[str], rows: Iterable[tuple[str, ...]], *, left: Container[str]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, justify="left" if heading in left else "right")
    for row in rows:
        table.add_row(*map(escape, row))
    return table


def _count(rows: int | None) -> str:
    return "" if rows is None else f"{rows:,}"


def _moment(moment: datetime | None) -> str:
    return "never" if moment is None else moment.strftime("%Y-%m-%d %H:%M:%SZ")


def _age(age: timedelta | None) -> str:
    return "" if age is None else f"{age.total_seconds():.0f} s"


def _state(row: Resource, loaded: Settings) -> str:
    own = loaded.platforms.get(row.platform)
    every = own.pull.get(row.resource) if own else None
    streams = isinstance(own, OMTraderSettings) and own.stream
    if row.reason:
        return f"failing: {row.reason}"
    if streams and row.resource == STREAM:
        relied = row.age is not None and row.age <= BELIEVED
        return "relied on" if relied else "not relied on"
    if streams and every is not None and row.resource in STREAMED:
        # As old as that is in order while the stream is relied on.
        every = slowed(every)
    if every is None:
        return "not pulled by these settings"
    return "late" if row.age is not None and row.age > every * LATE else "fresh"


def _plain(found: Report, concerns: list[str]) -> dict[str, object]:
    return {
        "concerns": concerns,
        "resources": [
            {
                "platform": row.platform,
                "resource": row.resource,
                "rows": row.rows,
                "as_of": row.as_of and row.as_of.isoformat(),
                "age_seconds": row.age and row.age.total_seconds(),
                "failures": row.failures,
                "reason": row.reason,
            }
            for row in found.resources
        ],
        "held": [{"platform": h.platform, "resource": h.resource, "rows": h.rows} for h in found.held],
        "paused": found.paused,
        "quarantined": found.quarantined,
        "drifted": found.drifted,
    }
