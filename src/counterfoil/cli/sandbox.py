"""`counterfoil sandbox`: a simulated trading platform."""

from pathlib import Path

import click

from counterfoil.domain.errors import ConfigurationError
from counterfoil.sandbox import FaultError, SandboxOptions, serve


@click.command()
@click.option(
    "--kind", type=click.Choice(["omtrader", "ctrader"]), default="omtrader", help="Which platform to simulate."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), required=True, help="The port to listen on; 0: a free one.")
@click.option("--clients", type=click.IntRange(0), default=100, show_default=True)
@click.option("--accounts", type=click.IntRange(0), default=200, show_default=True)
@click.option("--deals", type=click.IntRange(0), default=2000, show_default=True, help="Deals before trading begins.")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed makes the same books.")
@click.option("--tick", type=click.FloatRange(0.01), help="Seconds between rounds of trading; without: still.")
@click.option("--faults", type=click.Path(path_type=Path), help="YAML file of faults to begin with.")
def sandbox(**options: object) -> int:
    """Simulate a trading platform that keeps real books, on a socket."""
    try:
        return serve(SandboxOptions(**options))  # type: ignore[arg-type]
    except FaultError as error:
        raise ConfigurationError(str(error)) from error
    except OSError as error:
        raise ConfigurationError(f"cannot listen on {options['host']}:{options['port']}: {error.strerror}") from error
