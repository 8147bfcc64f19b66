"""The processes of the demo: started, listened to, ended in order."""

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

from counterfoil.domain.errors import TransientError
from counterfoil.store.embedded_process import Guard

# Seconds until a part must have started, and until it must have ended before it is killed.
START, END = 60.0, 30.0


class Ended:
    """A task that ends when a child does."""

    def __init__(self, watched: asyncio.subprocess.Process) -> None:
        self._watched = watched

    async def __aenter__(self) -> "asyncio.Task[int]":
        self._task = asyncio.create_task(self._watched.wait())
        return self._task

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()


@contextlib.asynccontextmanager
async def child(name: str, arguments: list[str], folder: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """A counterfoil process in a session of its own, so that Ctrl-C reaches it through us, in order; we may be killed, and it ends.

    What it says goes to a file in `folder` that is called like it.
    """
    with (folder / f"{name}.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "counterfoil", *arguments,
            stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
    guard = Guard(None)
    guard.watch(process.pid)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), END)
        except TimeoutError:
            process.kill()
            await process.wait()
        guard.watch(None)
        guard.close()


async def until_said(process: asyncio.subprocess.Process, log: Path, words: str, stop: asyncio.Event) -> str | None:
    """The line of a child's output with these words; None when we are told to stop first.

    Raises:
        TransientError: the child ended, or did not say it in time.
    """
    deadline = time.monotonic() + START
    while not stop.is_set() and time.monotonic() < deadline:
        for line in _lines(log):
            if words in line:
                return line
        if process.returncode is not None:
            break
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), 0.05)
    if stop.is_set():
        return None
    raise TransientError(f"a part of the demo did not start: {last_line(log)}")


def last_line(log: Path) -> str:
    """The last that a child said, at most 300 characters of it."""
    lines = _lines(log)
    return lines[-1][:300] if lines else "it said nothing"


def _lines(log: Path) -> list[str]:
    return log.read_text(errors="replace").strip().splitlines()
