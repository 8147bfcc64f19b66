"""`counterfoil intents`: the operator's desk. What is under way, everything about one request, and a person's decisions."""

import asyncio
import json
import os
import pwd
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

import click
from sqlalchemy.ext.asyncio import AsyncEngine

from counterfoil import assembly, settings
from counterfoil.cli import intents_text
from counterfoil.cli.options import DONE, config_option
from counterfoil.domain.errors import ConfigurationError
from counterfoil.domain.intent import State
from counterfoil.observe import events, logs
from counterfoil.store import decisions, desk, engine, migrations
from counterfoil.store.decisions import Because, Decided

T = TypeVar("T")


def _reason(context: click.Context, parameter: click.Parameter, value: str) -> str:
    """One line, not empty: it is kept for whoever asks later."""
    del context, parameter
    told = " ".join(value.split())
    if not told:
        raise click.BadParameter("must not be empty: it is kept for whoever asks later.")
    return told


reason_option = click.option("--reason", required=True, callback=_reason, help="Why; kept with the decision.")
json_option = click.option("--json", "as_json", is_flag=True, help="For programs.")


@click.group()
def intents() -> None:
    """See what waits for a person, and decide."""


@intents.command("list")
@config_option
@click.option(
    "--state", type=click.Choice([str(state) for state in State]), help="Only these; else all unfinished ones."
)
@click.option("--platform", help="Only of this platform.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=100, show_default=True, help="At most so many.")
@json_option
def list_command(file: Path, state: str | None, platform: str | None, limit: int, *, as_json: bool) -> int:
    """List requests, a line each: what is not finished, or what is in one state."""
    wanted = State(state) if state else None
    found = _at_desk(file, lambda database: desk.listing(database, state=wanted, platform=platform, limit=limit))
    if as_json:
        click.echo(json.dumps([asdict(intent) for intent in found], default=str, indent=2))
        return DONE
    for line in intents_text.table(found):
        click.echo(line)
    if len(found) == limit:
        click.echo(f"only the first {limit} are shown; ask for more with --limit")
    return DONE


@intents.command("show")
@config_option
@click.argument("reference")
@json_option
def show_command(file: Path, reference: str, *, as_json: bool) -> int:
    """Show everything that a person needs to decide about a reference."""
    found = _at_desk(file, lambda database: desk.one(database, reference))
    if found is None:
        raise ConfigurationError(f"{reference} is not known: counterfoil intents list shows what is under way")
    if as_json:
        click.echo(json.dumps(asdict(found), default=str, indent=2))
        return DONE
    for line in intents_text.dossier(found):
        click.echo(line)
    return DONE


@intents.command("confirm")
@config_option
@click.argument("reference", required=False)
@click.option("--record", "record_id", type=click.IntRange(1, 2**63 - 1), metavar="ID", help="The platform's id of it.")
@click.option("--resume", metavar="PLATFORM", help="Instead: write to this paused platform again.")
@click.option("--rebind", metavar="PLATFORM", help="Instead: the name means another server from the next login on.")
@click.option("--restored", is_flag=True, help="Instead: go on with the restored or failed-over database.")
@click.option("--payouts-checked", is_flag=True, help="With --restored: the bank was asked about what may be released.")
@reason_option
def confirm_command(
    file: Path, reference: str | None, record_id: int | None, reason: str, *, payouts_checked: bool, **instead: object
) -> int:
    """Confirm that a parked request has its effect on the platform; or agree to go on after a pause."""
    chosen = [name for name, value in {"REFERENCE": reference, **instead}.items() if value]
    if len(chosen) != 1:
        raise click.UsageError("Say one thing: a REFERENCE, --resume PLATFORM, --rebind PLATFORM or --restored.")
    if record_id is not None and reference is None:
        raise click.UsageError("--record goes with a REFERENCE.")
    because = Because(reason=reason, person=_person())
    if reference is not None:
        return _decide(file, "confirm", lambda database: decisions.confirm(database, reference, record_id, because))
    if instead["restored"]:
        _at_desk(file, lambda database: decisions.accept_restore(database, because, payouts_checked=payouts_checked))
        events.emit(events.INTENT_DECIDED, decision="accept-restore")
        click.echo("agreed: the write path goes on with this database")
        return DONE
    return _about_platform(file, chosen[0], str(instead[chosen[0]]), because)


def _about_platform(file: Path, decision: str, platform: str, because: Because) -> int:
    decide = {"resume": decisions.resume, "rebind": decisions.rebind}[decision]
    _at_desk(file, lambda database: decide(database, platform, because))
    events.emit(events.INTENT_DECIDED, platform=platform, decision=decision)
    told = {"resume": "is written to again", "rebind": "is bound anew at the next login"}[decision]
    click.echo(f"agreed: platform {platform} {told}")
    return DONE


@intents.command("retry")
@config_option
@click.argument("reference")
@click.option(
    "--even-though-unproven",
    "unproven",
    is_flag=True,
    help="Although nobody has proven that the first attempt had no effect: the money may move twice.",
)
@reason_option
def retry_command(file: Path, reference: str, reason: str, *, unproven: bool) -> int:
    """Send a parked request again."""
    because = Because(reason=reason, person=_person())
    return _decide(
        file,
        "retry",
        lambda database: decisions.retry(database, reference, because, even_though_unproven=unproven),
    )


@intents.command("cancel")
@config_option
@click.argument("reference")
@reason_option
def cancel_command(file: Path, reference: str, reason: str) -> int:
    """Give up a request that is parked or has not been sent, with all that waits behind it."""
    because = Because(reason=reason, person=_person())
    return _decide(file, "cancel", lambda database: decisions.cancel(database, reference, because))


def _decide(file: Path, decision: str, work: Callable[[AsyncEngine], Awaitable[Decided]]) -> int:
    """One decision, said once it is committed."""
    made = _at_desk(file, work)
    events.emit(
        events.INTENT_DECIDED,
        platform=made.platform,
        reference=made.reference,
        intent_id=made.id,
        decision=decision,
    )
    click.echo(f"{made.kind.replace('_', ' ')} {made.reference}: {made.before} -> {made.after}")
    return DONE


def _at_desk(file: Path, work: Callable[[AsyncEngine], Awaitable[T]]) -> T:
    """Do something in the settings' database, whose schema must be this version's."""
    loaded = settings.load(file)
    logs.configure(loaded.log.format, loaded.log.level)
    with assembly.database(loaded.database, join=True) as url:
        migrations.require_head(url)
        return asyncio.run(_with_engine(url, work))


async def _with_engine(url: str, work: Callable[[AsyncEngine], Awaitable[T]]) -> T:
    database = engine.create(url, pool_size=1)
    try:
        return await work(database)
    finally:
        await database.dispose()


def _person() -> str:
    """The operating-system user; by number where it has no name."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"
