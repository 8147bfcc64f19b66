"""What can be said of the container without an engine: how it is built, how it is started, and with which settings."""

import re
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import psycopg.conninfo
import pytest
import yaml

from counterfoil import settings

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
SANDBOXES = ("sandbox", "sandbox-ctrader")
OURS = ("counterfoil", "demo", *SANDBOXES)


def instructions(text: str) -> list[list[tuple[str, str]]]:
    """A Dockerfile's stages, each a list of instruction and arguments."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    stages: list[list[tuple[str, str]]] = []
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        name, _, arguments = line.strip().partition(" ")
        if name == "FROM":
            stages.append([])
        if name:
            stages[-1].append((name, " ".join(arguments.split())))
    return stages


STAGES = instructions(DOCKERFILE)
BUILD = dict(STAGES[0])
LAST = dict(STAGES[-1])


def said(stage: list[tuple[str, str]], name: str) -> list[str]:
    return [arguments for instruction, arguments in stage if instruction == name]


def test_no_frontend_is_pulled_to_read_the_dockerfile() -> None:
    assert not re.search(r"^#\s*syntax\s*=", DOCKERFILE, re.MULTILINE | re.IGNORECASE)


def test_every_stage_starts_from_the_same_small_image() -> None:
    assert [said(stage, "FROM") for stage in STAGES] == [
        ["python:3.12-slim-bookworm AS build"],
        ["python:3.12-slim-bookworm"],
    ]


def test_dependencies_are_the_pinned_ones_and_the_product_is_a_wheel() -> None:
    runs = " && ".join(said(STAGES[0], "RUN"))
    installs = [part for part in runs.split("&&") if re.search(r"pip\b.*\binstall\b", part)]
    assert any("-r requirements/runtime.txt" in part for part in installs)
    for part in installs:
        assert "--require-hashes" in part or ("--no-deps --no-index" in part and ".whl" in part)
    assert "pip wheel --no-deps" in runs
    assert not re.search(r"\s(-e|--editable)\s", runs)


def test_the_build_backend_and_all_that_it_needs_are_pinned() -> None:
    named = re.search(r"wanted = /\^\(([^)]*)\)==/", DOCKERFILE)
    assert named
    pinned = set(re.findall(r"^([a-z0-9-]+)==", (ROOT / "requirements/dev.txt").read_text(), re.MULTILINE))
    assert set(named[1].split("|")) <= pinned


def test_the_last_stage_installs_nothing() -> None:
    assert said(STAGES[-1], "COPY")
    assert all(copy.startswith("--from=build ") for copy in said(STAGES[-1], "COPY"))
    assert not re.search(r"\b(apt-get|apt|pip3?|uv) install\b", " ".join(said(STAGES[-1], "RUN")))


def test_the_user_is_a_number_and_not_root() -> None:
    user, _, group = LAST["USER"].partition(":")
    assert int(user) > 0
    assert int(group) > 0


def test_signals_reach_the_daemon() -> None:
    assert LAST["STOPSIGNAL"] == "SIGTERM"
    assert LAST["ENTRYPOINT"] == '["counterfoil"]'
    assert LAST["CMD"].startswith('["run", ')


def test_the_image_asks_for_its_own_health_with_what_it_has() -> None:
    assert '["python", ' in LAST["HEALTHCHECK"]
    assert "/healthz" in LAST["HEALTHCHECK"]
    assert "9187" in LAST["HEALTHCHECK"]
    assert LAST["EXPOSE"] == "9187"


def test_the_label_tells_the_version_of_the_package() -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"VERSION={version}" in said(STAGES[-1], "ARG")


def ignored(path: str) -> bool:
    """Whether .dockerignore keeps a path out of the build, by the rules that it uses: the last that matches wins."""
    result = False
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        rule = line.strip()
        if not rule or rule.startswith("#"):
            continue
        pattern = rule.removeprefix("!")
        folders = [path, *(str(parent) for parent in Path(path).parents)]
        if any(
            fnmatch(folder, pattern) or fnmatch(Path(folder).name, pattern.removeprefix("**/")) for folder in folders
        ):
            result = not rule.startswith("!")
    return result


@pytest.mark.parametrize(
    "path",
    [
        "secrets/database_password",
        ".env",
        ".git/config",
        "config/docker.yaml",
        "tests/conftest.py",
        "src/a/__pycache__/b.pyc",
    ],
)
def test_secrets_and_local_files_stay_out_of_the_build(path: str) -> None:
    assert ignored(path)


def test_what_the_build_copies_is_let_in() -> None:
    sources = [source for copy in said(STAGES[0], "COPY") for source in copy.split()[:-1]]
    assert sources
    for source in sources:
        assert (ROOT / source).exists()
        assert not ignored(source)


# --- docker-compose.yml -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OURS)
def test_our_containers_may_do_little(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert [mount.partition(":")[0] for mount in service["tmpfs"]] == ["/tmp"]  # noqa: S108 - a path in the container
    assert "privileged" not in service
    assert "user" not in service


@pytest.mark.parametrize("name", OURS)
def test_the_engine_waits_for_a_clean_end(name: str) -> None:
    assert int(SERVICES[name]["stop_grace_period"].removesuffix("s")) > 30


@pytest.mark.parametrize("name", OURS)
def test_our_image_is_never_pulled_under_a_strangers_name(name: str) -> None:
    assert SERVICES[name]["pull_policy"] == "never"
    assert SERVICES[name]["build"] == "."


def test_every_service_belongs_to_one_profile() -> None:
    assert {name: service["profiles"] for name, service in SERVICES.items()} == {
        "db": ["live"], "counterfoil": ["live"],
        "demo-db": ["demo"], "sandbox": ["demo"], "sandbox-ctrader": ["demo"], "demo": ["demo"],
    }  # fmt: skip


def test_the_demonstration_needs_no_file_of_this_machine() -> None:
    for name in ("demo-db", *SANDBOXES, "demo"):
        assert "secrets" not in SERVICES[name]
        assert not [mount for mount in SERVICES[name].get("volumes", ()) if mount.startswith((".", "/", "$"))]


def test_the_demonstration_is_apart_from_the_live_services() -> None:
    for name, service in SERVICES.items():
        assert service.get("networks") == (["demo"] if service["profiles"] == ["demo"] else None), name
    assert not set(SERVICES["db"]["volumes"]) & set(SERVICES["demo-db"]["volumes"])


def test_live_services_have_their_passwords_from_files_alone() -> None:
    assert SERVICES["db"]["environment"] == {"POSTGRES_PASSWORD_FILE": "/run/secrets/database_password"}
    assert "environment" not in SERVICES["counterfoil"]
    for name, secret in COMPOSE["secrets"].items():
        assert secret == {"file": "${COUNTERFOIL_SECRETS:-./secrets}/" + name}


@pytest.mark.parametrize("name", SERVICES)
def test_nothing_listens_beyond_this_machine_unasked(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name].get("ports", ()))


def test_who_waits_for_the_demonstration_waits_until_it_is_ready() -> None:
    assert "/readyz" in SERVICES["demo"]["healthcheck"]["test"][-1]
    assert SERVICES["demo"]["depends_on"] == {
        "demo-db": {"condition": "service_healthy"},
        "sandbox": {"condition": "service_healthy"},
        "sandbox-ctrader": {"condition": "service_healthy"},
    }


def test_a_platform_that_is_down_does_not_make_the_live_daemon_unhealthy() -> None:
    assert "healthcheck" not in SERVICES["counterfoil"]


# --- the settings -----------------------------------------------------------------------------------------------------


def test_the_live_settings_read_the_secrets_that_are_mounted(tmp_path: Path) -> None:
    text = (ROOT / "config/docker.yaml").read_text()
    named = re.findall(r"/run/secrets/(\w+)", text)
    assert sorted(named) == sorted(SERVICES["counterfoil"]["secrets"]) == sorted(COMPOSE["secrets"])
    for name in named:
        (tmp_path / name).write_text("A" * 43 + "=\n")
    (tmp_path / "docker.yaml").write_text(text.replace("/run/secrets", str(tmp_path)))
    loaded = settings.load(tmp_path / "docker.yaml")
    assert psycopg.conninfo.conninfo_to_dict(loaded.database.url)["host"] == "db"
    assert loaded.http.listen == "0.0.0.0:9187"
    assert loaded.log.format == "json"


def test_the_demonstration_finds_its_platforms_and_its_database() -> None:
    loaded = settings.load(ROOT / "config/docker-demo.yaml")
    database = psycopg.conninfo.conninfo_to_dict(loaded.database.url)
    password = loaded.database.password
    assert password
    assert SERVICES["demo-db"]["environment"] == {
        "POSTGRES_USER": database["user"],
        "POSTGRES_PASSWORD": password.get_secret_value(),
    }
    assert database["host"] == "demo-db"
    commands = {name: SERVICES[name]["command"] for name in SANDBOXES}
    assert {platform.base_url: platform.kind for platform in loaded.platforms.values()} == {
        f"http://{name}:{command[command.index('--port') + 1]}": command[command.index("--kind") + 1]
        for name, command in commands.items()
    }
    assert loaded.http.listen == "0.0.0.0:9187"


def test_the_live_database_user_owns_its_database_without_being_a_superuser() -> None:
    script = (ROOT / "config/docker-database.sql").read_text()
    assert "CREATE ROLE counterfoil LOGIN CREATEROLE PASSWORD :'password';" in script
    assert "SUPERUSER" not in re.sub("--.*", "", script)
    assert "ALTER ROLE postgres PASSWORD NULL;" in script
