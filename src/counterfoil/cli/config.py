"""`counterfoil config`: what a settings file may hold, what is in effect, a new encryption key."""

import json
from pathlib import Path

import click
from cryptography.fernet import Fernet

from counterfoil import settings


@click.group()
def config() -> None:
    """Explain the settings, show them, make a key."""


@config.command("schema")
def schema_command() -> None:
    """Print the JSON Schema of the settings file, for editors and checks."""
    click.echo(json.dumps(settings.schema(), indent=2))


@config.command("show")
@click.option("-c", "--config", "file", required=True, type=click.Path(path_type=Path), help="The settings file.")
def show_command(file: Path) -> None:
    """Print the settings in effect, defaults included and secrets masked."""
    click.echo(settings.show(settings.load(file)), nl=False)


@config.command("key")
def key_command() -> None:
    """Print a new encryption key, for the file that crm.encryption_key_file names."""
    click.echo(Fernet.generate_key().decode())
