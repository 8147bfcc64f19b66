"""Imports of libraries without what they load for uses that are none of ours: 0.15 s of a start, and 6 MiB."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# httpx has a command line of its own, structlog draws tracebacks. Either does without what cannot be imported, and says so.
_COMMAND_LINE, _RICH = "httpx._main", "rich"
# aiohttp reads all authorities of the system, twice, for connections that bring no context; ours do (platforms.http).
_AUTHORITIES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


@contextmanager
def frugal(*, drawing: bool) -> Iterator[None]:
    """Inside, libraries import less; `drawing`: whether what is imported draws itself."""
    hidden = [name for name in (_COMMAND_LINE, *(() if drawing else (_RICH,))) if name not in sys.modules]
    before = {name: os.environ.get(name) for name in _AUTHORITIES}
    # What is None here cannot be imported.
    sys.modules.update(dict.fromkeys(hidden))
    os.environ.update(dict.fromkeys(_AUTHORITIES, os.devnull))
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
