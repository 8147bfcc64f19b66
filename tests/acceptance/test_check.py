"""`counterfoil check` as an integration engineer runs it before anybody relies on the settings."""

import pytest
from cryptography.fernet import Fernet

from counterfoil.sandbox import Sandbox, SandboxOptions
from support.process import outcome

SETTINGS = """
database: {{url: "{url}"}}
platforms:
  live: {{kind: omtrader, base_url: "{base_url}", username: crm-api, password: {password}}}
crm: {{{crm}}}
"""


@pytest.fixture
async def sandbox():
    async with Sandbox(SandboxOptions(clients=2, accounts=2, deals=10)) as running:
        yield running


def settings(tmp_path, url: str, base_url: str, *, password: str = "sandbox", crm: str = ""):  # noqa: S107 - the sandbox's
    file = tmp_path / "counterfoil.yaml"
    file.write_text(SETTINGS.format(url=url, base_url=base_url, password=password, crm=crm))
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
