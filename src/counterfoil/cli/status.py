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
from counterfoil.cli import status_freshness, status_text
from counterfoil.cli.options import DONE, NEEDS_A_PERSON, config_option
from counterfoil.cli.status_freshness import Freshness
from counterfoil.settings import Settings
from counterfoil.store import desk, engine, migrations, report
from counterfoil.store.desk import Desk
from counterfoil.store.report import Report

# A resource that failed so often in a row needs a person: one failure is noise.
FAILURES = 3
# Where nobody's window sets a width: room for every column on one line.
PLAIN_WIDTH = 140


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
        plain = {"headline": headline, **_plain(found, loaded, concerns), **status_text.plain(stands)}
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
    failing = (row for row in found.resources if row.platform in loaded.platforms and row.failures >= FAILURES)
    return lines + [
        f"{row.platform}/{row.resource}: failed {row.failures} times in a row: {row.reason}" for row in failing
    ]


def _show(found: Report, stands: Desk, lines: list[str], loaded: Settings) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, PLAIN_WIDTH)
    for line in lines:
        console.print(line, soft_wrap=True, markup=False)
    if stands.queues:
        console.print(_table(status_text.QUEUE_HEADINGS, status_text.queues(stands), left=("platform",)))
    console.print(
        _table(
            ("platform", "resource", "rows", "as of", "age", "asked", "state"),
            map(_told, status_freshness.freshness(found, loaded)),
            left=("platform", "resource", "as of", "asked", "state"),
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


def _told(one: Freshness) -> tuple[str, ...]:
    row = one.row
    return row.platform, row.resource, _count(row.rows), _moment(row.as_of), _age(row.age), one.asked, one.state


def _count(rows: int | None) -> str:
    return "" if rows is None else f"{rows:,}"


def _moment(moment: datetime | None) -> str:
    return "never" if moment is None else moment.strftime("%Y-%m-%d %H:%M:%SZ")


def _age(age: timedelta | None) -> str:
    return "" if age is None else f"{age.total_seconds():.0f} s"


def _seconds(length: timedelta | None) -> float | None:
    return None if length is None else length.total_seconds()


def _plain(found: Report, loaded: Settings, concerns: list[str]) -> dict[str, object]:
    return {
        "concerns": concerns,
        "resources": [
            {
                "platform": one.row.platform,
                "resource": one.row.resource,
                "rows": one.row.rows,
                "as_of": one.row.as_of and one.row.as_of.isoformat(),
                "age_seconds": _seconds(one.row.age),
                "interval_seconds": _seconds(one.interval),
                "every_seconds": None if one.bounds is None else _seconds(one.bounds.every),
                "idle_seconds": None if one.bounds is None else _seconds(one.bounds.idle),
                "state": one.state,
                "failures": one.row.failures,
                "reason": one.row.reason,
            }
            for one in status_freshness.freshness(found, loaded)
        ],
        "held": [{"platform": h.platform, "resource": h.resource, "rows": h.rows} for h in found.held],
        "paused": found.paused,
        "quarantined": found.quarantined,
        "drifted": found.drifted,
    }
