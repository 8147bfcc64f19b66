"""`counterfoil`, and `python -m counterfoil`."""

import gc
import signal
import sys


def main() -> None:
    """Run the command line and exit with its code."""
    # As the first process of a container nobody else ends us while we still start.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    # Nothing of what is imported ever becomes garbage: to look for it takes a tenth of the time of a start.
    gc.disable()
    from counterfoil.cli.main import run  # noqa: PLC0415 - see above

    code = run(sys.argv[1:])
    # Python's last act would be to look through all of it once more.
    gc.freeze()
    sys.exit(code)


if __name__ == "__main__":
    main()
