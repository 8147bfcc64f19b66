"""`counterfoil audit`: whether the books agree, a line for each place where they do not."""

import asyncio
import json
from dataclasses import asdict
from pathlib import Path

import click

from counterfoil import assembly, settings
from counterfoil.cli.options import DONE, NEEDS_A_PERSON, config_option
from counterfoil.store import audit as books
from counterfoil.store import engine, migrations
from counterfoil.store.audit import Audit


@click.command()
@config_option
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def audit(file: Path, *, as_json: bool) -> int:
    """Compare balances, deals, transactions and operations; exit code 3 when they disagree."""
    loaded = settings.load(file)
    with assembly.database(loaded.database, join=True) as url:
        migrations.require_head(url)
        found = asyncio.run(_compare(url, list(loaded.platforms)))
    if as_json:
        click.echo(json.dumps(asdict(found), default=str, indent=2))
    else:
        for finding in found.findings:
            click.echo(f"{finding.platform}: {finding.text}")
        click.echo(_summary(found, len(loaded.platforms)))
    return NEEDS_A_PERSON if found.findings else DONE


async def _compare(url: str, platforms: list[str]) -> Audit:
    database = engine.create(url, pool_size=1)
    try:
        return await books.compare(database, platforms)
    finally:
        await database.dispose()


def _summary(found: Audit, platforms: int) -> str:
    """The last line: what was compared, and how it came out."""
    unread = (
        f"; {', '.join(found.unread)}: accounts, deals and transactions have not all been read yet"
        if found.unread
        else ""
    )
    if len(found.unread) == platforms:
        return f"nothing to compare yet{unread}; let the daemon run, or counterfoil sync"
    inferred = "" if found.inferred is None else f" ({found.inferred} of them inferred)"
    compared = (
        f"compared {found.accounts} accounts, {found.transactions} transactions{inferred}, {found.operations} confirmed operations and "
        f"{found.payouts} released payouts"
    )
    outcome = f"{len(found.findings)} {'disagrees' if len(found.findings) == 1 else 'disagree'}"
    later = []
    if found.moving:
        later.append(f"{found.moving} accounts moved while their books were read, ask again")
    if found.not_mirrored:
        later.append(f"{found.not_mirrored} operations are not mirrored yet")
    return f"{compared}: {'; '.join([outcome, *later])}{unread}"
