"""`counterfoil`: every command, and what an error looks like on a terminal: one line, what is wrong and what to do."""

import gc
import importlib
from collections.abc import Sequence

import click

from counterfoil import __version__
from counterfoil.cli.options import DONE, FAILED, WRONG_USAGE
from counterfoil.cli.starting import frugal, keep_freed_memory
from counterfoil.domain.errors import ConfigurationError, CounterfoilError

INTERRUPTED = 130

# Where each command is, and what it is for: half a second of imports is only spent on the one that is called.
COMMANDS = {
    "run": ("run", "Run the daemon until a signal ends it."),
    "sync": ("sync", "Pull everything once and exit."),
    "check": ("check", "Try out the settings, a line each."),
    "status": ("status", "Say whether money moves and what waits for a person."),
    "intents": ("intents", "See what waits for a person, and decide."),
    "audit": ("audit", "Compare the books: balances, deals, transactions, operations."),
    "migrate": ("run", "Bring the database schema to the newest revision."),
    "config": ("config", "Explain the settings, show them, make a key."),
    "sandbox": ("sandbox", "Simulate a trading platform that keeps real books."),
    "demo": ("demo", "Try everything at once with no settings."),
}
# Those that draw tables and frames.
DRAWING = ("status", "demo")


class _Commands(click.Group):
    """The commands, imported when called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        with frugal(drawing=cmd_name in DRAWING):
            module = importlib.import_module(f"counterfoil.cli.{COMMANDS[cmd_name][0]}")
        # What is there now stays to the end; see counterfoil.__main__.
        gc.freeze()
        gc.enable()
        # Lists of a page's values are long and never part of a cycle: to look through them took a fortieth of a first reading's time.
        gc.set_threshold(10_000)
        keep_freed_memory()
        command: click.Command = getattr(module, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, purpose) for name, (_, purpose) in COMMANDS.items()])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="counterfoil")
def counterfoil() -> None:
    """Keeps a broker's CRM and its trading platforms in step."""


def run(arguments: Sequence[str]) -> int:
    """Run one command; returns the exit code."""
    try:
        code = counterfoil.main(list(arguments), prog_name="counterfoil", standalone_mode=False)
    except click.ClickException as error:
        return _complain(f"{error.format_message()} See counterfoil --help", WRONG_USAGE)
    except ConfigurationError as error:
        return _complain(error, WRONG_USAGE)
    except CounterfoilError as error:
        return _complain(error, FAILED)
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001 - nobody is shown a traceback
        return _complain(_outside_trouble(error), FAILED)
    return code if isinstance(code, int) else DONE


def _outside_trouble(error: Exception) -> str:
    """The database's trouble in words; anything else is a bug of ours, and the line names its kind."""
    from counterfoil.store import Unreachable, brief  # noqa: PLC0415 - only needed when something went wrong

    if isinstance(error, Unreachable):
        return f"the database cannot be reached: {brief(error)}"
    return f"internal error, please report it: {type(error).__name__}: {brief(error)}"


def _complain(what: object, code: int) -> int:
    click.echo(f"counterfoil: {what}", err=True)
    return code
