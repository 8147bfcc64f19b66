"""`counterfoil check` as an integration engineer runs it before anybody relies on the settings."""

import pytest
from cryptography.fernet import Fernet

from counterfoil.sandbox import Sandbox, SandboxOptions
from support.process import outcome

SETTINGS = """
database: {{url: "{url}"}}
platforms:
  live: {{kind: omtrader, base_url: "{base_url}", username: crm-api, password: {password}{more}}}
crm: {{{crm}}}
"""


@pytest.fixture
async def sandbox():
    async with Sandbox(SandboxOptions(clients=2, accounts=2, deals=10)) as running:
        yield running


def settings(tmp_path, url: str, base_url: str, *, password: str = "sandbox", crm: str = "", more: str = ""):  # noqa: S107 - the sandbox's
    file = tmp_path / "counterfoil.yaml"
    file.write_text(SETTINGS.format(url=url, base_url=base_url, password=password, crm=crm, more=more))
    return file


async def test_every_check_says_its_finding_in_a_line(tmp_path, database_url, sandbox):
    key = f'encryption_key: "{Fernet.generate_key().decode()}"'
    code, out, err = await outcome("check", "-c", settings(tmp_path, database_url, sandbox.url, crm=key))
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert all(line.startswith("ok  ") for line in lines)
    assert [line.split(":")[0].removeprefix("ok    ") for line in lines] == [
        "file", "secrets", "database", "schema",
        "live login", "live clock", "live accounts", "live deals", "live writes",
    ]  # fmt: skip
    assert "on; references travel in comment" in lines[-1]


async def test_a_platform_that_is_only_mirrored_is_said_to_be(tmp_path, database_url, sandbox):
    code, out, _ = await outcome("check", "-c", settings(tmp_path, database_url, sandbox.url))
    assert (code, "live writes: off, this platform is only mirrored" in out) == (0, True)


async def test_a_wrong_password_is_found_and_named(tmp_path, database_url, sandbox):
    file = settings(tmp_path, database_url, sandbox.url, password="wrong")
    code, out, _ = await outcome("check", "-c", file)
    assert code == 1
    assert "FAIL  live login: the platform refuses the login" in out
    assert "live writes" not in out


async def test_the_event_stream_is_tried_where_it_is_on(tmp_path, database_url, sandbox):
    code, out, err = await outcome("check", "-c", settings(tmp_path, database_url, sandbox.url, more=", stream: true"))
    assert (code, err) == (0, "")
    assert "ok    live stream: opens, and answers heartbeats" in out.splitlines()
    assert sandbox.platform.feed._listeners == {}


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"kind": "error_before", "method": "GET", "status": 502}, "the stream was refused: HTTP 502"),
        ({"kind": "mute"}, "it was opened, but does not answer heartbeats"),
        ({"kind": "drop_stream"}, "the platform closed the stream (code "),
    ],
)
async def test_a_stream_that_does_not_work_is_a_failure_with_its_reason(tmp_path, database_url, sandbox, fault, reason):
    sandbox.faults.set({**fault, "path": "^/ws/v1"})
    code, out, _ = await outcome("check", "-c", settings(tmp_path, database_url, sandbox.url, more=", stream: true"))
    (line,) = (line for line in out.splitlines() if " live stream: " in line)
    assert (code, line.startswith(f"FAIL  live stream: {reason}")) == (1, True)
    assert "live writes" in out
