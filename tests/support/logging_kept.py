"""Commands that run inside a test set up logging for the whole process: afterwards it is as it was."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import structlog


@contextmanager
def logging_as_it_was() -> Iterator[None]:
    """What runs inside may configure logging; nobody after it hears of that."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        logging.captureWarnings(capture=False)
        structlog.reset_defaults()
