"""`counterfoil run` and `counterfoil migrate`."""

import asyncio
from pathlib import Path

import click

from counterfoil import assembly, assembly_writing, daemon, settings
from counterfoil.cli.options import DONE, config_option
from counterfoil.settings import Settings
from counterfoil.store import engine, migrations


@click.command()
@config_option
def run(file: Path) -> int:
    """Run the daemon until a signal ends it."""
    return daemon.run(lambda: settings.load(file))


@click.command()
@config_option
@click.option("--sql", is_flag=True, help="Print the SQL instead of running it.")
def migrate(file: Path, *, sql: bool) -> int:
    """Bring the database schema to the newest revision."""
    loaded = settings.load(file)
    if sql:
        click.echo(migrations.upgrade_sql(), nl=False)
        return DONE
    with assembly.database(loaded.database, join=True) as url:
        before, after = migrations.upgrade(url)
        asyncio.run(_publish(url, loaded))
    click.echo(f"schema at {after}" + ("" if before == after else f" (was {before or 'empty'})"))
    return DONE


async def _publish(url: str, loaded: Settings) -> None:
    database = engine.create(url, pool_size=1)
    try:
        await assembly_writing.publish(database, loaded)
    finally:
        await database.dispose()
