"""`counterfoil`: every command, and what an error looks like on a terminal: one line, what is wrong and what to do."""

from collections.abc import Sequence
from pathlib import Path

import click

from counterfoil import __version__, assembly, daemon, settings
from counterfoil.cli.check import check
from counterfoil.cli.config import config
from counterfoil.cli.demo import demo
from counterfoil.cli.options import DONE, FAILED, WRONG_USAGE, config_option
from counterfoil.cli.sandbox import sandbox
from counterfoil.cli.status import status
from counterfoil.cli.sync import sync
from counterfoil.domain.errors import ConfigurationError, CounterfoilError
from counterfoil.observe import logs
from counterfoil.store import Unreachable, brief, migrations

INTERRUPTED = 130


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="counterfoil")
def counterfoil() -> None:
    """Keeps a broker's CRM and its trading platforms in step."""


@counterfoil.command("run")
@config_option
def run_command(file: Path) -> int:
    """Run the daemon until a signal ends it."""
    return daemon.run(lambda: settings.load(file))


@counterfoil.command("migrate")
@config_option
@click.option("--sql", is_flag=True, help="Print the SQL instead of running it.")
def migrate_command(file: Path, *, sql: bool) -> int:
    """Bring the database schema to the newest revision."""
    loaded = settings.load(file)
    if sql:
        click.echo(migrations.upgrade_sql(), nl=False)
        return DONE
    with assembly.database(loaded.database, join=True) as url:
        before, after = migrations.upgrade(url)
    click.echo(f"schema at {after}" + ("" if before == after else f" (was {before or 'empty'})"))
    return DONE


for command in (check, config, demo, sandbox, status, sync):
    counterfoil.add_command(command)


def run(arguments: Sequence[str]) -> int:  # noqa: PLR0911 - a table of errors and exit codes
    """Run one command; returns the exit code."""
    logs.configure(None, "warning")
    try:
        code = counterfoil.main(list(arguments), prog_name="counterfoil", standalone_mode=False)
    except click.ClickException as error:
        return _complain(f"{error.format_message()} See counterfoil --help", WRONG_USAGE)
    except ConfigurationError as error:
        return _complain(error, WRONG_USAGE)
    except CounterfoilError as error:
        return _complain(error, FAILED)
    except Unreachable as error:
        return _complain(f"the database cannot be reached: {brief(error)}", FAILED)
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - nobody is shown a traceback; the line names the kind of bug
        return _complain(f"internal error, please report it: {type(error).__name__}: {brief(error)}", FAILED)
    return code if isinstance(code, int) else DONE


def _complain(what: object, code: int) -> int:
    click.echo(f"counterfoil: {what}", err=True)
    return code
