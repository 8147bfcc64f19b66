"""What a terminal sees when something is wrong: one line, what to do, the exit code; never a traceback, never a secret."""

import json
import os
import platform
import socket
import subprocess
import sys
from pathlib import Path

import click
import pytest

from counterfoil.cli import main
from counterfoil.cli.options import DONE, FAILED, WRONG_USAGE
from counterfoil.domain.errors import ConfigurationError, PermanentError, TransientError
from support.logging_kept import logging_as_it_was
from support.tls import Authority

VALID = """\
database: {url: "postgresql://counterfoil@127.0.0.1:1/none"}
platforms:
  live: {kind: omtrader, base_url: "http://127.0.0.1:1", username: crm-api, password: very-secret}
"""


@pytest.fixture(autouse=True)
def _logging_as_it_was():
    with logging_as_it_was():
        yield


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    file = tmp_path / "c.yaml"
    file.write_text(VALID)
    return file


def complaint(capsys) -> str:
    """The one line on standard error."""
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    return lines[0]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nope"], "No such command 'nope'"),
        (["run"], "Missing option '-c'"),
        (["run", "--fast"], "No such option"),
        (["sandbox", "--port", "70000"], "not in the range"),
        (["sandbox", "--kind", "mt5", "--port", "0"], "is not"),
        (["sync", "-c", "/nowhere/c.yaml"], "no such file"),
    ],
)
def test_wrong_usage_is_one_line_and_exit_code_2(arguments, says, capsys):
    assert main.run(arguments) == WRONG_USAGE
    assert says in complaint(capsys)


@pytest.mark.parametrize("command", sorted(main.COMMANDS))
def test_every_command_explains_itself(command, capsys):
    assert main.run([command, "--help"]) == DONE
    assert "Usage: counterfoil " + command in capsys.readouterr().out


def test_the_list_of_commands_names_each_with_its_purpose(capsys):
    assert main.run(["--help"]) == DONE
    shown = capsys.readouterr().out
    assert [name for name, (_, purpose) in main.COMMANDS.items() if purpose not in shown] == []


@pytest.mark.parametrize(
    "command",
    ["status", "migrate", "sync", "audit", "intents list", "intents show x", "intents retry x --reason seen"],
)
def test_a_database_that_cannot_be_reached_is_one_line_and_exit_code_1(command, settings, capsys):
    assert main.run([*command.split(), "-c", str(settings)]) == FAILED
    line = complaint(capsys)
    assert "the database cannot be reached" in line
    assert "very-secret" not in line


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        (["--platform", "other"], "--platform other: there is live"),
        (["--resource", "dealz"], "dealz is no resource"),
        (["--accept-deletions", "deals"], "--accept-deletions needs --full"),
    ],
)
def test_sync_refuses_what_it_cannot_do_before_it_does_anything(wanted, says, settings, capsys):
    assert main.run(["sync", "-c", str(settings), *wanted]) == WRONG_USAGE
    assert says in complaint(capsys)


def test_a_port_in_use_is_said_in_one_line(capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        arguments = [
            "sandbox",
            "--clients",
            "1",
            "--accounts",
            "1",
            "--deals",
            "1",
            "--port",
            str(taken.getsockname()[1]),
        ]
        assert main.run(arguments) == WRONG_USAGE
    assert "cannot listen on 127.0.0.1" in complaint(capsys)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigurationError("mend it"), WRONG_USAGE),
        (TransientError("later"), FAILED),
        (PermanentError("never"), FAILED),
        (ValueError("first line\nTraceback: second line"), FAILED),
        (KeyboardInterrupt(), main.INTERRUPTED),
        (click.Abort(), main.INTERRUPTED),
    ],
)
def test_each_error_has_its_exit_code_and_none_shows_a_traceback(error, code, monkeypatch, capsys):
    def fail(*_arguments: object, **_options: object) -> None:
        raise error

    monkeypatch.setattr(main.counterfoil, "main", fail)
    assert main.run(["run"]) == code
    assert "Traceback" not in capsys.readouterr().err


def test_check_offline_says_that_file_and_secrets_are_good_without_asking_anybody(settings, capsys):
    assert main.run(["check", "-c", str(settings), "--offline"]) == DONE
    shown = capsys.readouterr().out
    assert shown.splitlines()[0].startswith("ok    file:")
    assert "very-secret" not in shown


@pytest.mark.parametrize("command", sorted(main.COMMANDS))
def test_a_start_loads_nothing_that_only_libraries_would_use(command):
    ask = "import sys; from counterfoil.cli import main; main.counterfoil.get_command(None, sys.argv[1])"
    tell = "import json, os; print(json.dumps([[name for name in ('rich', 'httpx._main', 'sqlalchemy.orm') if name in sys.modules], os.environ.get('SSL_CERT_FILE')]))"
    told = subprocess.run(
        [sys.executable, "-c", f"{ask}; {tell}; import rich.console, httpx._main; from sqlalchemy.ext.asyncio.session import AsyncSession as a; a()", command],
        check=True, capture_output=True, text=True, env={**os.environ, "SSL_CERT_FILE": "/etc/own.pem"},
    )  # fmt: skip
    assert json.loads(told.stdout) == [["rich"] if command in main.DRAWING else [], "/etc/own.pem"]


def test_nobody_reads_the_authorities_of_the_system_before_they_are_asked_for(tmp_path):
    start = "import ssl; from counterfoil.cli import main; main.counterfoil.get_command(None, 'run')"
    contexts = "from aiohttp import connector as c; made = c._SSL_CONTEXT_VERIFIED, c._SSL_CONTEXT_UNVERIFIED"
    tell = "print(*(len(one.get_ca_certs()) for one in (*made, ssl.create_default_context())))"
    environment = {**os.environ, "SSL_CERT_FILE": str(Authority(tmp_path).ca_file), "SSL_CERT_DIR": "/nowhere"}
    told = subprocess.run(
        [sys.executable, "-c", f"{start}; {contexts}; {tell}"],
        check=True, capture_output=True, text=True, env=environment,
    )  # fmt: skip
    assert told.stdout.split() == ["0", "0", "1"]


def test_who_only_reads_loads_nothing_else_of_ours():
    ask = "import sys; from counterfoil.cli import main; main.counterfoil.get_command(None, 'sync')"
    tell = "print(*(name for name in sys.modules if name.startswith('counterfoil.')))"
    told = subprocess.run([sys.executable, "-c", f"{ask}; {tell}"], check=True, capture_output=True, text=True)
    others = {
        "push",
        "streaming",
        "pushing",
        "pushes",
        "looks",
        "stream",
        "tables",
        "write_tables",
        "embedded",
        "ctrader",
    }
    assert {name for name in told.stdout.split() if others.intersection(name.split("."))} == set()


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library, which has no such switch")
def test_memory_that_is_freed_is_kept_for_the_next_page():
    start = "import resource; from counterfoil.cli import main; main.counterfoil.get_command(None, 'sync')"
    # Five times 3 MiB at once, again and again: given back each time, each time costs 3,840 faults of a page.
    before = "before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt"
    work = "for _ in range(20): [bytearray(3 << 20) for _ in range(5)]"
    tell = "print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)"
    told = subprocess.run(
        [sys.executable, "-c", f"{start}\n{before}\n{work}\n{tell}"], check=True, capture_output=True, text=True
    )
    assert int(told.stdout) < 10 * 3_840
