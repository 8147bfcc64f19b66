"""A PostgreSQL server as a child process: `database.url: embedded`, `counterfoil demo` and the tests.

Any directory with `initdb` and `postgres` will do. What a server keeps lies in one directory:

    data/          the cluster; PostgreSQL's own
    password       the superuser's password, mode 0600, the same across restarts
    postgres.log   since the last start; the start before is in postgres.log.1
    lock           held as long as a process of ours uses the directory

The server listens on 127.0.0.1 only and asks for the password, so that other people on the machine stay out. PostgreSQL
refuses to run as root: root starts it as another account. It never outlives its parent, however that one ends.
"""

import atexit
import contextlib
import fcntl
import os
import re
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import BinaryIO, Self

import psycopg

from counterfoil.domain.errors import ConfigurationError
from counterfoil.store.embedded_process import BINARIES_VARIABLE, Account, Guard, end, find_binaries, major_of

__all__ = ["EmbeddedPostgres", "find_binaries", "running"]

NAME = "counterfoil"  # of the superuser and of the database

_READY_SECONDS = 120.0  # a crash recovery may have much to replay
_VACATE_SECONDS = 20.0  # longer than the guard takes to end a server whose parent died
_RETRY_SECONDS = 0.1
_TRY_AGAIN = ("Address already in use", "pre-existing shared memory block", '"postmaster.pid" already exists')

_ALWAYS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
    "logging_collector": "off",
}
# A killed server loses nothing with these; only a machine that loses power does. `synchronous_commit` stays on: without it
# a killed server does lose rows.
_NOT_DURABLE = {"fsync": "off", "full_page_writes": "off", "wal_level": "minimal", "max_wal_senders": "0"}


class _Home:
    """The directory of one server: see the head of this module."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data = path / "data"
        self.log = path / "postgres.log"
        self.password = path / "password"
        self.log_file = -1

    @contextlib.contextmanager
    def taken(self) -> Iterator[Self]:
        """Ours alone until the end of the block, also against a process that shares no process table with us."""
        # Root keeps the directory: the server's account may pass through, but not put links where root writes.
        self.path.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, parents=True, exist_ok=True)
        with _private(self.path / "lock") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ConfigurationError(
                    f"{self.path}: another process runs its PostgreSQL here; stop it or choose another directory"
                ) from None
            if self.log.exists():
                self.log.replace(self.path / "postgres.log.1")
            with _private(self.log) as log:
                self.log_file = log.fileno()
                yield self

    def major(self) -> int | None:
        """The version that made the cluster; None when there is none yet."""
        version = self.data / "PG_VERSION"
        return int(version.read_text()) if version.exists() else None

    def said(self, since: int) -> str:
        """The log after byte `since`."""
        return self.log.read_bytes()[since:].decode(errors="replace")

    def complaint(self, since: int) -> str:
        """The line of the log after byte `since` that says why the server or initdb gave up."""
        lines = self.said(since).split("\n")
        fatal = [line for line in lines if re.search(r"FATAL:|PANIC:|initdb: error:", line)]
        said = fatal or [line for line in lines if line.strip()] or ["it said nothing"]
        return re.sub(r"^.*?(FATAL|PANIC|error):\s*", "", said[-1]).strip()

    def disown_reused_pid(self) -> None:
        """Keep a leftover postmaster.pid from naming a process that is no server.

        After a SIGKILL its number may belong to anything by now, in containers even regularly, and PostgreSQL refuses to
        start if that process is alive. Our own number, its parent's, counts as stale. The file stays: its shared memory
        key keeps a second server from joining the children of the first.
        """
        # O_NOFOLLOW: the file lies where the server's account may put what it likes, and we may be root.
        path, flags = self.data / "postmaster.pid", os.O_RDWR | os.O_NOFOLLOW
        with contextlib.suppress(FileNotFoundError, ValueError), os.fdopen(os.open(path, flags), "r+") as file:
            pid, rest = file.read().split("\n", 1)
            if Path("/proc/self/cwd").exists() and not _runs_in(int(pid), self.data):
                file.seek(0)
                file.write(f"{os.getpid()}\n{rest}")
                file.truncate()

    def taken_by_another(self) -> bool:
        """Whether a process uses the directory now."""
        try:
            with _private(self.path / "lock") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def running(directory: Path) -> str | None:
    """The URL of the server that another process, a daemon say, runs on `directory` now; None when nobody does."""
    home = _Home(directory)
    if not (home.path / "lock").exists() or not home.taken_by_another():
        return None
    try:
        port = int((home.data / "postmaster.pid").read_text().split("\n")[3])
        return f"postgresql://{NAME}:{home.password.read_text()}@127.0.0.1:{port}/{NAME}"
    except (OSError, IndexError, ValueError) as error:
        raise ConfigurationError(f"{directory}: its PostgreSQL is starting or ending; try again in a moment") from error


def _private(path: Path) -> BinaryIO:
    """Open a file to append to; only its owner may even look: who can open a lock can also hold it."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab")


def _runs_in(pid: int, data: Path) -> bool:
    """Whether the process works in `data`, as a server does; True when it may not be told."""
    try:
        return Path(f"/proc/{pid}/cwd").readlink() == data.resolve()
    except FileNotFoundError:
        return False
    except OSError:
        return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass(frozen=True)
class _Launcher:
    """Everything that starting takes."""

    home: _Home
    binaries: Path
    account: Account
    guard: Guard
    durable: bool

    @classmethod
    def prepare(cls, resources: contextlib.ExitStack, directory: Path | None, *, durable: bool) -> Self:
        """Take the directory, choose binaries and account, make the cluster; `resources` gives all of it back."""
        path = directory.absolute() if directory else Path(tempfile.mkdtemp(prefix="counterfoil-postgres-"))
        guard = Guard(None if directory else path)
        resources.callback(guard.close)
        if directory is None and os.geteuid() == 0:
            path.chmod(0o711)
        home = resources.enter_context(_Home(path).taken())
        made_by = home.major()
        binaries = find_binaries(made_by)
        if made_by not in (None, major_of(binaries)):
            raise ConfigurationError(
                f"{path} was made by PostgreSQL {made_by}, but {binaries} is {major_of(binaries)}:"
                f" point {BINARIES_VARIABLE} at a PostgreSQL {made_by}, or dump and load it anew"
            )
        launcher = cls(home, binaries, Account.choose(binaries, path), guard, durable)
        if made_by is None:
            launcher.initialise()
        launcher.account.own(home.data)
        return launcher

    def initialise(self) -> None:
        """Make the cluster; a run cut short leaves nothing that looks like one."""
        staging = self.home.path / "data.new"
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(mode=0o700)
        self.home.password.unlink(missing_ok=True)
        self.home.password.touch(mode=0o600)
        self.home.password.write_text(secrets.token_urlsafe(24))
        self.account.own(staging)
        self.account.own(self.home.password)
        command = [str(self.binaries / "initdb"), f"--pgdata={staging}", f"--username={NAME}", "--auth=scram-sha-256"]
        command += [f"--pwfile={self.home.password}", "--encoding=UTF8", "--locale=C", "--no-instructions"]
        process = self.account.popen(*command, *([] if self.durable else ["--no-sync"]), output=self.home.log_file)
        self.guard.watch(process.pid)
        try:
            status = process.wait()
        finally:
            end(process)
            self.guard.watch(None)
        if status != 0:
            raise ConfigurationError(f"{self.home.path}: initdb failed: {self.home.complaint(0)}")
        staging.rename(self.home.data)

    def launch(self, settings: Mapping[str, str]) -> tuple[subprocess.Popen[bytes], int]:
        """A server that accepts connections, and its port."""
        give_up = time.monotonic() + _VACATE_SECONDS
        while True:
            self.home.disown_reused_pid()
            port, since = _free_port(), self.home.log.stat().st_size
            process = self._server({**settings, "port": str(port)})
            try:
                if self._ready(process):
                    return process, port
            except BaseException:
                end(process)
                raise
            if time.monotonic() > give_up or not any(text in self.home.said(since) for text in _TRY_AGAIN):
                raise ConfigurationError(f"{self.home.path}: PostgreSQL did not start: {self.home.complaint(since)}")
            time.sleep(_RETRY_SECONDS)

    def _server(self, settings: Mapping[str, str]) -> subprocess.Popen[bytes]:
        effective = _ALWAYS | ({} if self.durable else _NOT_DURABLE) | dict(settings)
        options = [part for name, value in effective.items() for part in ("-c", f"{name}={value}")]
        command = (str(self.binaries / "postgres"), "-D", str(self.home.data), *options)
        process = self.account.popen(*command, output=self.home.log_file)
        self.guard.watch(process.pid)
        return process

    def _ready(self, process: subprocess.Popen[bytes]) -> bool:
        """True once it accepts connections, False when it ended."""
        give_up = time.monotonic() + _READY_SECONDS
        while process.poll() is None:
            with contextlib.suppress(FileNotFoundError):
                lines = (self.home.data / "postmaster.pid").read_text().split("\n")
                if lines[0] == str(process.pid) and lines[7:8] and lines[7].strip() == "ready":
                    return True
            if time.monotonic() > give_up:
                raise ConfigurationError(f"{self.home.path}: PostgreSQL was not ready after {_READY_SECONDS:.0f} s")
            time.sleep(0.02)
        self.guard.watch(None)
        return False


class EmbeddedPostgres:
    """A running server. Ends with `stop()`, at the latest when this process does."""

    def __init__(self, launcher: _Launcher, process: subprocess.Popen[bytes], port: int) -> None:
        self._launcher = launcher
        self._process = process
        self._port = port
        self._password = launcher.home.password.read_text()
        self._parent = os.getpid()
        self._resources = contextlib.ExitStack()

    @classmethod
    def start(
        cls,
        directory: Path | None = None,
        *,
        durable: bool = True,
        settings: Mapping[str, str] = MappingProxyType({}),
    ) -> Self:
        """Start a server on `directory`, making the cluster if there is none; blocks for 0.1 to 2 seconds.

        Args:
            directory: kept across restarts; None: a temporary one, gone when the server is.
            durable: False: much faster, but loses everything when the machine loses power.
            settings: further server settings, over those chosen here.

        Raises:
            ConfigurationError: no server can run here, with the reason in one line.
        """
        with contextlib.ExitStack() as resources:
            try:
                launcher = _Launcher.prepare(resources, directory, durable=durable)
                process, port = launcher.launch(settings)
                resources.callback(launcher.guard.watch, None)
                resources.callback(end, process)
                server = cls(launcher, process, port)
                server._ensure_database()
            except OSError as error:
                raise ConfigurationError(f"embedded PostgreSQL: {error}") from error
            server._resources = resources.pop_all()
        atexit.register(server.stop)
        return server

    def _ensure_database(self) -> None:
        try:
            with psycopg.connect(self._url("postgres"), autocommit=True, connect_timeout=10) as connection:
                if not connection.execute("SELECT FROM pg_database WHERE datname = %s", [NAME]).rowcount:
                    connection.execute(f"CREATE DATABASE {NAME}")
        except psycopg.Error as error:
            reason = str(error).strip().split("\n")[0]
            raise ConfigurationError(f"{self._launcher.home.path}: PostgreSQL refuses us: {reason}") from error

    def _url(self, database: str) -> str:
        return f"postgresql://{NAME}:{self._password}@127.0.0.1:{self._port}/{database}"

    @property
    def url(self) -> str:
        """`postgresql://counterfoil:PASSWORD@127.0.0.1:PORT/counterfoil`, of a superuser."""
        return self._url(NAME)

    @property
    def psql(self) -> str:
        """A command line with which a person gets in."""
        beside = self._launcher.binaries / "psql"
        command = "psql" if shutil.which("psql") or not beside.exists() else str(beside)
        return f"PGPASSWORD={self._password} {command} -h 127.0.0.1 -p {self._port} -U {NAME} {NAME}"

    @property
    def directory(self) -> Path:
        """Where it keeps its data, log and password."""
        return self._launcher.home.path

    @property
    def pid(self) -> int:
        """The process number of the postmaster."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the server still runs."""
        if self._process.poll() is None:
            return True
        self._launcher.guard.watch(None)
        return False

    def stop(self) -> None:
        """Shut down and clean up; does nothing the second time, nor in a fork of the process that started it."""
        if os.getpid() == self._parent:
            self._resources.close()
            atexit.unregister(self.stop)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
