"""Counterfoil as it runs in earnest: `counterfoil run`, its pulls as it tells them, and what the process uses in between."""

import contextlib
import json
import signal
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
from environments import PROJECT, variables
from lineup import Place
from measuring import Bench, FailedError, last_words
from server import STIRRED

EVERY = "500ms"
WARM = 3  # polls before anything counts
POLLS = 20
PATIENCE = 120.0
LOOK = 0.02


class Daemon:
    """A running one, and the finished pulls that it has told of."""

    def __init__(self, settings: Path, log: Path) -> None:
        self._log = log
        command = [str(PROJECT.python), "-m", "counterfoil", "run", "-c", str(settings)]
        with log.open("wb") as out:
            self._process = subprocess.Popen(command, stdout=out, stderr=out, env=variables())
        self._seen = 0

    def finished(self) -> Iterator[dict[str, Any]]:
        """Every finished pull, as soon as it is told; never ends by itself."""
        give_up = time.monotonic() + PATIENCE
        while True:
            lines = self._log.read_bytes().split(b"\n")[:-1]
            for line in lines[self._seen :]:
                self._seen += 1
                if b'"pull.finished"' in line:
                    yield json.loads(line)
                    give_up = time.monotonic() + PATIENCE
            if self._process.poll() is not None or time.monotonic() > give_up:
                raise FailedError(f"the daemon pulls no more: {last_words(self._log)}")
            time.sleep(LOOK)

    def until(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The next finished pull that is wanted."""
        return next(filter(wanted, self.finished()))

    def take(self, count: int) -> list[dict[str, Any]]:
        """The next so many."""
        pulls = self.finished()
        return [next(pulls) for _ in range(count)]

    def cpu(self) -> float:
        """Seconds that it has used."""
        return sum(psutil.Process(self._process.pid).cpu_times()[:2])

    def memory(self) -> float:
        """MiB that it holds now."""
        return psutil.Process(self._process.pid).memory_info().rss / (1 << 20)

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait()


@contextlib.contextmanager
def running(settings: Path, log: Path) -> Iterator[Daemon]:
    daemon = Daemon(settings, log)
    try:
        yield daemon
    finally:
        daemon.stop()


def polled(bench: Bench, daemon: Daemon, *, stirred: int = 0) -> dict[str, float]:
    """What a poll costs when so many accounts have changed, on average over many; all that the daemon does meanwhile is in it."""

    def poll() -> dict[str, Any]:
        if stirred:
            bench.platform.ask("stir")
        return daemon.take(1)[0]

    for _ in range(WARM):
        poll()
    before = (daemon.cpu(), bench.postgres.cpu(), bench.postgres.wal())
    pulls = [poll() for _ in range(POLLS)]
    after = (daemon.cpu(), bench.postgres.cpu(), bench.postgres.wal())
    client, server, wal = (now - then for now, then in zip(after, before, strict=True))
    wrong = [pull for pull in pulls if pull["inserted"] or pull["changed"] != stirred]
    if wrong:
        raise FailedError(f"{stirred} rows had changed, but the daemon wrote: {wrong[0]}")
    return {
        "milliseconds": round(statistics.median(pull["duration"] for pull in pulls) * 1000, 1),
        "slowest_milliseconds": round(max(pull["duration"] for pull in pulls) * 1000, 1),
        "client_cpu_milliseconds": round(client / POLLS * 1000, 1),
        "postgres_cpu_milliseconds": round(server / POLLS * 1000, 1),
        "wal": round(wal / POLLS),
        "requests": statistics.median(pull["requests"] for pull in pulls),
        "memory": round(daemon.memory(), 1),
    }


def changed(bench: Bench, daemon: Daemon) -> dict[str, float]:
    """What the poll that brings the changes takes; the platform has yet to make them."""
    daemon.take(WARM)
    bench.platform.ask("after")
    pull = daemon.until(lambda pull: pull["inserted"] > 0)
    figures = {"milliseconds": round(pull["duration"] * 1000, 1), "requests": pull["requests"]}
    return {**figures, "rows": pull["inserted"] + pull["changed"]}


def measured(bench: Bench, place: Place, database: str) -> dict[str, dict[str, float]]:
    """The steps in a running daemon, on a database that holds the deals as they were before the changes."""
    bench.postgres.settle(database)
    copy = f"{database}_copy"
    bench.platform.ask("before")
    # A copy is written to the log as it is made: no page of it is written there whole again when it first changes.
    there = Place(place.platform, bench.postgres.fresh(copy, database), place.folder)
    try:
        with running(there.configure(deals=EVERY), place.folder / "daemon-copy.log") as daemon:
            later = changed(bench, daemon)
    finally:
        bench.postgres.drop(copy)
    bench.postgres.settle(database)
    bench.platform.ask("before")
    with running(place.configure(deals=EVERY), place.folder / "daemon-deals.log") as daemon:
        change = changed(bench, daemon)
        nothing = polled(bench, daemon)
    with running(place.configure(accounts=EVERY), place.folder / "daemon-accounts.log") as daemon:
        poll = polled(bench, daemon)
        bench.postgres.settle(database)
        stirred = polled(bench, daemon, stirred=STIRRED)
    return {"change": change, "change_later": later, "nothing": nothing, "poll": poll, "stirred": stirred}
