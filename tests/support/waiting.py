"""Looking again and again until something is so: for what tells nobody when it happens."""

import asyncio
import time
from collections.abc import Callable, Container
from typing import TypeVar

T = TypeVar("T")

# Seconds between two looks.
PACE = 0.002


async def until(look: Callable[[], T], wanted: Container[T], patience: float) -> T:
    """What `look` returns as soon as it is one of those wanted, within so many seconds."""
    deadline = time.monotonic() + patience
    while (found := look()) not in wanted:
        assert time.monotonic() < deadline, f"it is {found!r}, not one of {wanted}"
        await asyncio.sleep(PACE)
    return found
