"""`counterfoil config`, as an operator calls it."""

import json
import os
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from cryptography.fernet import Fernet

from counterfoil.cli.config import config
from counterfoil.domain.errors import ConfigurationError

SANDBOX = Path(__file__).parents[2] / "config" / "sandbox.yaml"


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch):
    for name in [name for name in os.environ if name.startswith("COUNTERFOIL_")]:
        monkeypatch.delenv(name)


def test_config_key_prints_a_new_fernet_key_each_time():
    first, second = (CliRunner().invoke(config, ["key"]).stdout.removesuffix("\n") for _ in range(2))

    assert Fernet(first).decrypt(Fernet(first).encrypt(b"sealed")) == b"sealed"
    assert first != second


def test_config_schema_prints_json_schema():
    result = CliRunner().invoke(config, ["schema"])

    assert result.exit_code == 0
    assert set(json.loads(result.stdout)["properties"]) == {"database", "platforms", "crm", "http", "log"}


@pytest.mark.parametrize("option", ["-c", "--config"])
def test_config_show_prints_the_values_in_effect_without_secrets(option):
    result = CliRunner().invoke(config, ["show", option, str(SANDBOX)], env={"COUNTERFOIL_LOG__LEVEL": "debug"})

    assert result.exit_code == 0
    shown = yaml.safe_load(result.stdout)
    assert shown["platforms"]["sandbox"]["password"] == "********"
    assert shown["platforms"]["sandbox"]["timeout"] == "20s"
    assert shown["log"]["level"] == "debug"


def test_config_show_leaves_a_wrong_file_to_the_caller(tmp_path):
    result = CliRunner().invoke(config, ["show", "-c", str(tmp_path / "absent.yaml")])

    assert isinstance(result.exception, ConfigurationError)
    assert result.stdout == ""


def test_config_show_needs_a_file():
    result = CliRunner().invoke(config, ["show"])

    assert result.exit_code == 2
    assert "Missing option '-c'" in result.stderr
