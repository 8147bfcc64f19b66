"""The embedded PostgreSQL: what it keeps, whom it lets in, how it ends, and which binaries it finds."""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg
import pytest

from counterfoil.domain.errors import ConfigurationError
from counterfoil.store import embedded, embedded_process
from counterfoil.store.embedded import EmbeddedPostgres
from support.binaries import pretend
from support.waiting import until

ROOT = os.geteuid() == 0

# Starts a server in a process of its own, says how to find it, and stays.
PARENT = """
import pathlib, sys
from counterfoil.store.embedded import EmbeddedPostgres
server = EmbeddedPostgres.start(pathlib.Path(sys.argv[1]) if sys.argv[1:] else None, durable=False)
print(server.pid, server._launcher.guard._process.pid, server.directory, server.url, sep="\\n", flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres.start(durable=False) as running:
        yield running


@pytest.fixture
def place() -> Iterator[Path]:
    """A place for a cluster, closed to everybody else; `tmp_path` would keep 40 MB for each."""
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory, "here")


def ask(server: EmbeddedPostgres, query: str) -> object:
    with psycopg.connect(server.url) as connection:
        row = connection.execute(query).fetchone()
    return row and row[0]


def keep_a_row(server: EmbeddedPostgres) -> None:
    with psycopg.connect(server.url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")


def await_end(pid: int) -> None:
    """Return once the process is gone; TimeoutExpired when it is not."""
    try:
        process = psutil.Process(pid)
    except psutil.NoSuchProcess:
        return
    process.wait(timeout=30)


@contextmanager
def parent(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A process that runs PARENT; killed at the end, so that a test that fails inside cannot wait for it."""
    command = [sys.executable, "-c", PARENT, *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def ordinary_user() -> tuple[str, ...]:
    """What to put before a command so that an ordinary user runs it, even if only root can reach the interpreter."""
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    leave = ("--inh-caps=+dac_override", "--ambient-caps=+dac_override", "--securebits=+no_setuid_fixup")
    return (*nobody, *leave) if ROOT else ()


def test_a_new_server_has_an_empty_utf8_database(server):
    assert (
        ask(server, "SELECT pg_encoding_to_char(encoding) FROM pg_database WHERE datname = current_database()")
        == "UTF8"
    )
    assert ask(server, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == 0


def test_it_listens_on_the_loopback_interface_only(server):
    assert ask(server, "SHOW listen_addresses") == "127.0.0.1"
    assert ask(server, "SHOW unix_socket_directories") == ""


@pytest.mark.parametrize("password", ["", "guess"])
@pytest.mark.parametrize("database", ["counterfoil", "postgres"])
def test_nobody_gets_in_without_the_password(server, password, database):
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(server.url, password=password, dbname=database)


def test_the_password_is_for_its_owner_only(server):
    assert (server.directory / "password").stat().st_mode & 0o777 == 0o600


def test_the_psql_line_lets_a_person_in(server):
    line = ["sh", "-c", f"{server.psql} -Atc 'SELECT 6 * 7'"]
    answer = subprocess.run(line, capture_output=True, text=True, check=True)
    assert answer.stdout == "42\n"


def test_a_terminal_does_not_signal_the_server(server):
    assert os.getsid(server.pid) == server.pid


def test_the_server_is_never_root(server):
    uid = psutil.Process(server.pid).uids().real
    assert uid != 0
    assert ROOT or uid == os.geteuid()


def test_the_server_does_not_see_our_environment(monkeypatch):
    monkeypatch.setenv("COUNTERFOIL_SECRET", "s3cret")
    monkeypatch.setenv("PGPORT", "1")
    with EmbeddedPostgres.start(durable=False) as server, psycopg.connect(server.url) as connection:
        connection.execute("CREATE TABLE environment (line text)")
        connection.execute("COPY environment FROM PROGRAM 'env'")
        names = {line.split("=")[0] for (line,) in connection.execute("SELECT line FROM environment")}
    assert "PATH" in names
    assert names.isdisjoint({"COUNTERFOIL_SECRET", "PGPORT"})


@pytest.mark.parametrize("mode", [0o700, 0o711, 0o755])
def test_it_runs_below_open_and_closed_directories(place, mode):
    place.parent.chmod(mode)
    with EmbeddedPostgres.start(place, durable=False) as server:
        assert ask(server, "SELECT 1") == 1
        assert psutil.Process(server.pid).uids().effective == (place / "data").stat().st_uid


def test_below_a_closed_directory_it_may_pass_and_nothing_else(place):
    with EmbeddedPostgres.start(place, durable=False) as server:
        status = Path(f"/proc/{server.pid}/status").read_text()
    capabilities = int(re.search(r"^CapEff:\s*(\w+)$", status, re.MULTILINE)[1], 16)
    dac_override, dac_read_search = 1 << 1, 1 << 2
    assert capabilities in ({dac_override, dac_read_search} if ROOT else {0})


def test_where_the_way_is_open_no_leave_is_given(place):
    place.parent.chmod(0o755)
    account = embedded_process.Account.choose(pretend(place, "17.1"), place)
    assert account.prefix == ()
    assert (account.ids is not None) == ROOT


def test_a_cluster_that_changed_hands_still_starts(place):
    with EmbeddedPostgres.start(place, durable=False) as server:
        keep_a_row(server)
    for path in (place / "data", *(place / "data").rglob("*")):
        os.chown(path, os.geteuid(), os.getegid())  # as after a restore by root
    with EmbeddedPostgres.start(place, durable=False) as server:
        assert ask(server, "SELECT answer FROM kept") == 42


def test_root_says_so_when_no_account_can_run_it(place, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(embedded_process, "ACCOUNTS", ("no such account",))
    with pytest.raises(ConfigurationError, match="PostgreSQL does not run as root"):
        EmbeddedPostgres.start(place)
    assert not (place / "data").exists()


def test_an_ordinary_user_can_run_it():
    command = [*ordinary_user(), sys.executable, "-c", PARENT]
    answer = subprocess.run(command, input="", capture_output=True, text=True, check=True, timeout=60)
    pid, guard, directory, _ = answer.stdout.split()
    assert not psutil.pid_exists(int(pid))
    assert not psutil.pid_exists(int(guard))
    assert not Path(directory).exists()


@pytest.mark.parametrize(("durable", "fsync"), [(True, "on"), (False, "off")])
def test_only_a_server_that_need_not_be_durable_skips_fsync(place, durable, fsync):
    with EmbeddedPostgres.start(place, durable=durable) as server:
        assert ask(server, "SHOW fsync") == fsync
        assert ask(server, "SHOW synchronous_commit") == "on"


def test_rows_and_password_outlive_a_killed_server(place):
    with EmbeddedPostgres.start(place, durable=False) as killed:
        keep_a_row(killed)
        password = killed.url.split("@")[0]
        os.kill(killed.pid, signal.SIGKILL)
        await_end(killed.pid)
        assert not killed.alive
    with EmbeddedPostgres.start(place, durable=False) as restarted:
        assert ask(restarted, "SELECT answer FROM kept") == 42
        assert restarted.url.split("@")[0] == password


def test_a_stranger_with_the_killed_server_s_number_does_not_block_a_restart(place):
    with EmbeddedPostgres.start(place, durable=False) as killed:
        keep_a_row(killed)
        os.kill(killed.pid, signal.SIGKILL)
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as stranger:
        pid_file = place / "data" / "postmaster.pid"
        pid_file.write_text(pid_file.read_text().replace(str(killed.pid), str(stranger.pid), 1))
        with EmbeddedPostgres.start(place, durable=False) as restarted:
            assert ask(restarted, "SELECT answer FROM kept") == 42
            assert stranger.poll() is None


def test_a_directory_in_use_is_refused_in_one_line(place):
    with EmbeddedPostgres.start(place, durable=False) as first:
        with pytest.raises(ConfigurationError, match="another process runs its PostgreSQL here") as refusal:
            EmbeddedPostgres.start(place)
        assert "\n" not in str(refusal.value)
        assert ask(first, "SELECT 1") == 1


def test_a_server_that_somebody_else_started_is_left_alone(place, monkeypatch):
    monkeypatch.setattr(embedded, "_VACATE_SECONDS", 0.1)
    with EmbeddedPostgres.start(place, durable=False) as first:
        (place / "lock").unlink()  # as if no process of ours had it
        with pytest.raises(
            ConfigurationError, match=r'^\S+: PostgreSQL did not start: .*"postmaster.pid" already exists$'
        ):
            EmbeddedPostgres.start(place)
        assert ask(first, "SELECT 1") == 1


def test_a_cluster_of_another_version_is_refused_in_one_line(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "PG_VERSION").write_text("13\n")
    with pytest.raises(ConfigurationError, match=r"was made by PostgreSQL 13, but \S+ is \d+:[^\n]*$"):
        EmbeddedPostgres.start(tmp_path)


def test_a_missing_password_file_is_named(place):
    with EmbeddedPostgres.start(place, durable=False) as server:
        server.directory.joinpath("password").unlink()
    with pytest.raises(ConfigurationError, match=r"here/password"):
        EmbeddedPostgres.start(place, durable=False)
    assert not (place / "data" / "postmaster.pid").exists()


def test_further_settings_reach_the_server():
    with EmbeddedPostgres.start(durable=False, settings={"work_mem": "7MB", "timezone": "Asia/Tokyo"}) as server:
        assert ask(server, "SHOW work_mem") == "7MB"
        assert ask(server, "SHOW timezone") == "Asia/Tokyo"


def test_what_the_server_complains_about_is_the_message(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(ConfigurationError, match=r'did not start: unrecognized configuration parameter "no_such"$'):
        EmbeddedPostgres.start(durable=False, settings={"no_such": "1"})
    assert list(tmp_path.iterdir()) == []


def test_an_initdb_that_fails_leaves_nothing(tmp_path, place, monkeypatch):
    binaries = pretend(tmp_path / "bin", "17.1", initdb='echo "initdb: error: no room left"; exit 1')
    monkeypatch.setenv(embedded_process.BINARIES_VARIABLE, str(binaries))
    with pytest.raises(ConfigurationError, match=r"initdb failed: no room left$"):
        EmbeddedPostgres.start(place)
    assert not (place / "data").exists()


def test_a_port_that_was_taken_meanwhile_is_replaced(monkeypatch):
    free_port = embedded._free_port
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = iter([taken.getsockname()[1]])
        monkeypatch.setattr(embedded, "_free_port", lambda: next(ports, None) or free_port())
        with EmbeddedPostgres.start(durable=False) as server:
            assert ask(server, "SELECT 1") == 1
        assert next(ports, None) is None


def test_stopping_removes_a_temporary_directory():
    with EmbeddedPostgres.start(durable=False) as server:
        assert server.directory.exists()
    assert not server.alive
    assert not server.directory.exists()


def test_stopping_twice_is_stopping_once(place):
    server = EmbeddedPostgres.start(place, durable=False)
    server.stop()
    server.stop()
    assert not server.alive
    assert (place / "data").exists()


def test_stopping_does_not_wait_for_open_sessions():
    with EmbeddedPostgres.start(durable=False) as server, psycopg.connect(server.url) as session:
        session.execute("CREATE TABLE unfinished ()")
        server.stop()
        with pytest.raises(psycopg.OperationalError):
            session.execute("SELECT 1")


def test_a_killed_parent_leaves_neither_server_nor_directory():
    with parent() as killed:
        pid, guard, directory, _ = (killed.stdout.readline().strip() for _ in range(4))
        killed.kill()
        await_end(int(pid))
        await_end(int(guard))
        assert not Path(directory).exists()


async def test_a_parent_killed_during_initdb_leaves_nothing(tmp_path, monkeypatch):
    for name in ("begun", "never"):
        os.mkfifo(tmp_path / name)
        (tmp_path / name).chmod(0o666)  # the server's account is another one when root runs this
    script = f"echo $$ > {tmp_path}/begun; exec cat {tmp_path}/never"
    binaries = pretend(tmp_path / "bin", "17.1", initdb=script)
    monkeypatch.setenv(embedded_process.BINARIES_VARIABLE, str(binaries))
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    with parent() as killed:
        initdb = int((tmp_path / "begun").read_text())
        # It waits for initdb, so it has told its guard.
        await until(psutil.Process(killed.pid).status, {psutil.STATUS_SLEEPING}, patience=30)
        guards = [child for child in psutil.Process(killed.pid).children() if "counterfoil-guard" in child.cmdline()]
        killed.kill()
        await_end(initdb)
        psutil.wait_procs(guards, timeout=30)
        assert len(guards) == 1
        assert list((tmp_path / "temporary").iterdir()) == []


def test_a_daemon_killed_and_started_at_once_waits_for_its_old_server(place, monkeypatch):
    with parent(place) as killed:
        pid, *_, url = (killed.stdout.readline().strip() for _ in range(4))
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        os.kill(int(pid), signal.SIGSTOP)  # it takes its time to shut down, until the new one has met it
    pause, met = time.sleep, []

    def let_it_end(seconds: float) -> None:
        if seconds == embedded._RETRY_SECONDS and not met:
            met.append(seconds)
            os.kill(int(pid), signal.SIGCONT)
        pause(seconds)

    monkeypatch.setattr(time, "sleep", let_it_end)
    with EmbeddedPostgres.start(place, durable=False) as restarted:
        assert ask(restarted, "SELECT answer FROM kept") == 42
        assert len(met) == 1
