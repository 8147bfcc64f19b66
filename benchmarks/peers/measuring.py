"""The platform, the PostgreSQL, and what one run of a program costs all of them."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil
import psycopg

from counterfoil.store.embedded import EmbeddedPostgres

LOOK = 0.1  # seconds between two looks at a process tree's memory
MIB = 1 << 20
SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "shared_buffers": "2GB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "30min",
    "work_mem": "64MB",
    "jit": "off",
    "autovacuum": "off",  # or it is chance whom it costs; everything is vacuumed and analysed between two steps instead
}


class FailedError(Exception):
    """A contender did not get through; the reason."""


class Platform:
    """The simulated platform, a process of its own; see `server.py`."""

    def __init__(self, deals: int, accounts: int) -> None:
        script = Path(__file__).with_name("server.py")
        command = [sys.executable, str(script), "--deals", str(deals), "--accounts", str(accounts)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.facts: dict[str, Any] = self._heard()

    def _heard(self) -> dict[str, Any]:
        line = self._process.stdout.readline() if self._process.stdout else ""
        if not line:
            raise FailedError("the simulated platform ended")
        return json.loads(line)

    def ask(self, words: str) -> dict[str, Any]:
        """One of the words that `server.py` understands, and its answer."""
        self._process.stdin.write(f"{words}\n")
        self._process.stdin.flush()
        return self._heard()

    def cpu(self) -> float:
        """Seconds that it has used."""
        times = psutil.Process(self._process.pid).cpu_times()
        return times.user + times.system

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait()


class Postgres:
    """One server for everybody, a fresh database for each."""

    def __init__(self, server: EmbeddedPostgres) -> None:
        self._server = server
        self._admin = psycopg.connect(server.url, autocommit=True)
        self.version: str = self._admin.execute("SHOW server_version").fetchone()[0]

    def url(self, database: str) -> str:
        return self._server.url.rpartition("/")[0] + f"/{database}"

    def fresh(self, database: str, template: str = "template0") -> str:
        """An empty database, or a copy of one that nobody is connected to; its URL."""
        self.drop(database)
        self._admin.execute(f"CREATE DATABASE {database} TEMPLATE {template}")
        return self.url(database)

    def drop(self, database: str) -> None:
        self._admin.execute(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")

    def warm(self) -> None:
        """Use the shared memory once: otherwise the first to come pays for every page of it that the system has yet to give."""
        self._admin.execute("CREATE TABLE warm AS SELECT 0 AS n")
        self._admin.execute("INSERT INTO warm SELECT n FROM generate_series(1, 20000000) n")
        self._admin.execute("DROP TABLE warm")

    def settle(self, database: str) -> None:
        """What would otherwise be done at some time in between, and be charged to somebody."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")
        self._admin.execute("CHECKPOINT")

    def wal(self) -> int:
        """Bytes of write-ahead log since the cluster was made."""
        return int(self._admin.execute("SELECT pg_current_wal_insert_lsn() - '0/0'").fetchone()[0])

    def cpu(self) -> float:
        """Seconds that the server and all of its processes have used."""
        postmaster = psutil.Process(self._server.pid)
        while True:
            own = postmaster.cpu_times()
            used = sum(own[:4])
            for child in postmaster.children():
                with contextlib.suppress(psutil.Error):
                    used += sum(child.cpu_times()[:2])
            # What one that ended had used is the server's own from then on; had it ended in between, it would be in neither.
            if postmaster.cpu_times()[2:4] == own[2:4]:
                return used

    def close(self) -> None:
        self._admin.close()


@dataclass(frozen=True)
class Cost:
    """Seconds, MiB, bytes and requests of one step; `others`: the share of the machine that nobody of ours used meanwhile."""

    wall: float
    client_cpu: float
    postgres_cpu: float
    memory: float
    wal: int
    requests: int
    logins: int
    platform_cpu: float
    others: float

    def plain(self) -> dict[str, float]:
        """For JSON; `cpu` is that of client and PostgreSQL together."""
        figures = asdict(self) | {"cpu": self.client_cpu + self.postgres_cpu}
        return {name: round(value, 4) for name, value in figures.items()}


class Watch(threading.Thread):
    """Looks at a process and all below it: the most memory that they held at once. Ends them when they take too long."""

    def __init__(self, pid: int, patience: float) -> None:
        super().__init__(daemon=True)
        self._pid, self._give_up = pid, time.monotonic() + patience
        self._done = threading.Event()
        self.most, self.lost_patience = 0, False

    def run(self) -> None:
        with contextlib.suppress(psutil.Error):
            root = psutil.Process(self._pid)
            while not self._done.wait(LOOK):
                held = 0
                for process in (root, *root.children(recursive=True)):
                    with contextlib.suppress(psutil.Error):
                        held += process.memory_info().rss
                self.most = max(self.most, held)
                if time.monotonic() > self._give_up:
                    self.lost_patience = True
                    end(self._pid)
                    return

    def stop(self) -> None:
        self._done.set()
        self.join()


@dataclass(frozen=True)
class Bench:
    """What everything is measured with."""

    platform: Platform
    postgres: Postgres
    patience: float

    def cost(self, command: Sequence[str], variables: Mapping[str, str], log: Path, *, tells: bool = False) -> Cost:
        """Run a program to its end. `tells`: its last line says wall and client CPU itself."""
        self.platform.ask("requests")
        busy, platform_cpu = busy_seconds(), self.platform.cpu()
        wal, postgres_cpu = self.postgres.wal(), self.postgres.cpu()
        begun = time.perf_counter()
        with log.open("wb") as out:
            process = subprocess.Popen(
                command, stdout=out, stderr=out, env=dict(variables), cwd=log.parent, start_new_session=True
            )
        watch = Watch(process.pid, self.patience)
        watch.start()
        try:
            _, status, usage = os.wait4(process.pid, 0)
        except BaseException:
            end(process.pid)  # it is in a group of its own, where no Ctrl-C reaches it
            raise
        finally:
            wall, busy = time.perf_counter() - begun, busy_seconds() - busy
            watch.stop()
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            reason = f"gave up after {self.patience:.0f} s" if watch.lost_patience else last_words(log)
            raise FailedError(f"ended with {process.returncode}: {reason}")
        asked = self.platform.ask("requests")
        client_cpu, platform_cpu = usage.ru_utime + usage.ru_stime, self.platform.cpu() - platform_cpu
        postgres_cpu = self.postgres.cpu() - postgres_cpu
        told = json.loads(log.read_text().splitlines()[-1]) if tells else {}
        return Cost(
            wall=told.get("wall", wall),
            client_cpu=told.get("client_cpu", client_cpu),
            postgres_cpu=postgres_cpu,
            memory=max(watch.most, usage.ru_maxrss * 1024) / MIB,
            wal=self.postgres.wal() - wal,
            requests=asked["requests"],
            logins=asked["logins"],
            platform_cpu=platform_cpu,
            others=max(0.0, busy - client_cpu - postgres_cpu - platform_cpu) / (wall * (os.cpu_count() or 1)),
        )


def busy_seconds() -> float:
    """Seconds that the cores of the machine have worked, for anybody."""
    times = psutil.cpu_times()
    return times.user + times.nice + times.system + getattr(times, "irq", 0) + getattr(times, "softirq", 0)


def end(group: int) -> None:
    """A program that we started, and all that it started itself."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def last_words(log: Path) -> str:
    """The line of a log that most likely says what went wrong."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return (lines or ["it said nothing"])[-1][:300]


@contextlib.contextmanager
def database_server(settings: Mapping[str, str]) -> Iterator[Postgres]:
    """A server of our own; it is gone afterwards."""
    with EmbeddedPostgres.start(settings=settings) as server, contextlib.closing(Postgres(server)) as postgres:
        postgres.warm()
        yield postgres
