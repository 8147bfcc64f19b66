"""What several commands share: exit codes, and the option that names the settings file."""

from pathlib import Path

import click

DONE, FAILED, WRONG_USAGE, NEEDS_A_PERSON = 0, 1, 2, 3

config_option = click.option(
    "-c", "--config", "file", required=True, type=click.Path(path_type=Path), help="The settings file."
)
