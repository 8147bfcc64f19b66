"""`counterfoil`, and `python -m counterfoil`."""

import signal
import sys


def main() -> None:
    """Run the command line and exit with its code."""
    # As the first process of a container nobody else ends us while we still start.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    from counterfoil.cli.main import run  # noqa: PLC0415 - see above

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
