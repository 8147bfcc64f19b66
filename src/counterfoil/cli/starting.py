"""Imports of libraries without what they load for uses that are none of ours: 0.2 s of a start, and 12 MiB. And how to keep memory."""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

# httpx has a command line of its own, structlog draws tracebacks. Either does without what cannot be imported, and says so.
_COMMAND_LINE, _RICH = "httpx._main", "rich"
# SQLAlchemy's sessions bring all that maps objects to rows; statements and connections, which are used here, know nothing of it.
_SESSIONS = ("sqlalchemy.ext.asyncio.scoping", "sqlalchemy.ext.asyncio.session")
# aiohttp reads all authorities of the system, twice, for connections that bring no context; ours do (platforms.http).
_AUTHORITIES = ("SSL_CERT_FILE", "SSL_CERT_DIR")

# Of glibc's malloc.h: what is freed at the end of the heap is given back from so many bytes on; what is larger lies outside of it.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT, _LARGE = 16 << 20, 4 << 20


class _Unused(ModuleType):
    """Stands for a module; whatever is imported from it is None."""

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)


@contextmanager
def frugal(*, drawing: bool) -> Iterator[None]:
    """Inside, libraries import less; `drawing`: whether what is imported draws itself."""
    # What is None here cannot be imported.
    unused: dict[str, Any] = {_COMMAND_LINE: None, **({} if drawing else {_RICH: None})}
    unused |= {name: _Unused(name) for name in _SESSIONS}
    hidden = {name: module for name, module in unused.items() if name not in sys.modules}
    before = {name: os.environ.get(name) for name in _AUTHORITIES}
    sys.modules.update(hidden)
    os.environ.update(dict.fromkeys(_AUTHORITIES, os.devnull))
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def keep_freed_memory() -> None:
    """Keep some for the next page, which else is asked of the system again: a twentieth of the client's CPU in a first reading.

    Nothing happens where the C library knows no such thing.
    """
    if (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)) is not None:
        mallopt(_M_TRIM_THRESHOLD, _KEPT)
        mallopt(_M_MMAP_THRESHOLD, _LARGE)
