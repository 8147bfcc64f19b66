"""What a settings file means once it is read: values, defaults, precedence, secrets."""

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from pydantic import SecretStr, ValidationError

from counterfoil import settings
from counterfoil.domain.errors import ConfigurationError
from counterfoil.domain.interval import Interval
from counterfoil.settings import Settings

CONFIG = Path(__file__).parents[2] / "config"
FERNET_KEY = "4n2P0PO3e_-XXdUWVJ3hJ1bKXQzA1v8l9b1rxAvY0yA="
VALID = """\
database: {url: embedded}
platforms:
  live:
    kind: omtrader
    base_url: https://api.broker.example
    username: crm-api
    password: hunter2
"""
Loader = Callable[..., Settings]


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("COUNTERFOIL_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def load(tmp_path: Path) -> Loader:
    def write_and_load(text: str = VALID, overrides: dict[str, object] | None = None) -> Settings:
        path = tmp_path / "counterfoil.yaml"
        path.write_text(text, encoding="utf-8")
        return settings.load(path, overrides)

    return write_and_load


def live(text: str) -> str:
    """`VALID` with more keys in the platform."""
    return VALID + "".join(f"    {line}\n" for line in text.splitlines())


def test_a_short_file_gets_the_documented_defaults(load):
    loaded = load()

    platform = loaded.platforms["live"]
    assert loaded.database.migrate is True
    assert loaded.database.password is None
    assert loaded.crm.encryption_key is None
    assert (loaded.http.host, loaded.http.port) == ("127.0.0.1", 9187)
    assert (loaded.log.format, loaded.log.level) == (None, "info")
    assert platform.kind == "omtrader"
    assert platform.timeout == timedelta(seconds=20)
    assert platform.deals_path == "/api/v1/trader/deals"
    assert (platform.rate_limit.per_second, platform.rate_limit.burst, platform.rate_limit.concurrent) == (5, 10, 4)
    assert platform.page_size == 500
    assert platform.ca_file is None
    assert platform.stream is False
    assert platform.stream_address is None


@pytest.mark.parametrize(
    ("base", "further", "address"),
    [
        ("https://api.broker.example", "", "wss://api.broker.example"),
        ("https://api.broker.example:8443/", "", "wss://api.broker.example:8443"),
        ("http://127.0.0.1:8080", "", "ws://127.0.0.1:8080"),
        ("https://api.broker.example", "stream_url: WSS://ws.broker.example/", "wss://ws.broker.example"),
        ("https://api.broker.example", "stream_url: ws://sandbox:8080", "ws://sandbox:8080"),
    ],
)
def test_a_stream_is_at_the_host_of_the_platform_unless_it_is_said_to_be_elsewhere(load, base, further, address):
    text = VALID.replace("https://api.broker.example", base)
    platform = load(f"{text}    stream: true\n    {further}\n").platforms["live"]
    assert platform.stream_address == address


def test_every_resource_has_a_default_interval(load):
    assert {name: int(pull.every.total_seconds()) for name, pull in load().platforms["live"].pull.items()} == {
        "accounts": 60,
        "positions": 15,
        "deals": 30,
        "transactions": 60,
        "orders": 60,
        "clients": 300,
        "groups": 3600,
        "symbols": 3600,
        "commissions": 3600,
        "group_symbols": 3600,
        "sweep": 86400,
    }


@pytest.mark.parametrize("off", ["off", "Off", "'off'", "false"])
def test_a_resource_that_is_off_is_absent(load, off):
    pull = load(live(f"pull: {{orders: {off}}}")).platforms["live"].pull

    assert "orders" not in pull
    assert pull["deals"] == Interval.steady(timedelta(seconds=30))


def test_a_resource_may_be_asked_for_less_often_while_nothing_changes(load):
    pull = load(live("pull: {deals: {every: 30s, idle: 5m}, orders: {every: 60s, idle: 60s}}")).platforms["live"].pull

    assert pull["deals"] == Interval(every=timedelta(seconds=30), idle=timedelta(minutes=5))
    assert pull["orders"] == Interval.steady(timedelta(minutes=1))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("250ms", timedelta(milliseconds=250)),
        ("15s", timedelta(seconds=15)),
        ("5m", timedelta(minutes=5)),
        ("1h", timedelta(hours=1)),
        ("8784h", timedelta(days=366)),
    ],
)
def test_a_duration_is_a_whole_number_and_a_unit(load, written, meant):
    assert load(live(f"pull: {{deals: {{every: {written}}}}}")).platforms["live"].pull["deals"].every == meant


@pytest.mark.parametrize(
    "url",
    [
        "https://api.broker.example",
        "https://api.broker.example:8443",
        "https://93.184.216.34",
        "http://127.0.0.1:8080",
        "http://[::1]:8080",
        "http://localhost:8080",
        "http://omtrader.localhost",
        "http://10.0.0.7",
        "http://[fd00::7]:8080",
        "http://sandbox:8080",
        "http://my_sandbox",
    ],
)
def test_a_base_url_is_kept_without_a_slash_at_its_end(load, url):
    assert load(VALID.replace("https://api.broker.example", f"{url}/")).platforms["live"].base_url == url


@pytest.mark.parametrize(
    "url",
    [
        "embedded",
        "embedded:/var/lib/counterfoil",
        "postgresql://counterfoil@db:5432/counterfoil",
        "postgresql://db",
        "postgresql:///counterfoil?host=/run/postgresql",
        "postgresql://counterfoil:hunter2@db/counterfoil",
        "postgresql://a@one:5432,two:5432/counterfoil?target_session_attrs=read-write",
    ],
)
def test_a_database_is_a_postgresql_url_or_embedded(load, url):
    assert load(VALID.replace("url: embedded", f"url: '{url}'")).database.url == url


@pytest.mark.parametrize(
    ("listen", "host", "port"),
    [("0.0.0.0:0", "0.0.0.0", 0), ("'[::1]:9187'", "::1", 9187), ("localhost:65535", "localhost", 65535)],  # noqa: S104
)
def test_listen_is_split_into_host_and_port(load, listen, host, port):
    http = load(f"{VALID}http: {{listen: {listen}}}").http

    assert (http.host, http.port) == (host, port)


def test_a_section_with_nothing_in_it_keeps_its_defaults(load):
    assert load(f"{VALID}crm:\n  # encryption_key_file: x\nlog:\n").log.level == "info"


def test_log_words_may_be_written_in_capitals(load):
    log = load(f"{VALID}log: {{level: WARNING, format: JSON}}").log

    assert (log.level, log.format) == ("warning", "json")


def test_an_anchor_may_stand_for_a_section(load):
    text = live("rate_limit: &slow {per_second: 1.5}")

    loaded = load(
        text + text[text.index("  live:") :].replace("live:", "test:").replace("&slow {per_second: 1.5}", "*slow")
    )

    assert loaded.platforms["test"].rate_limit == loaded.platforms["live"].rate_limit
    assert loaded.platforms["test"].rate_limit.per_second == 1.5


def test_the_environment_beats_the_file(load, monkeypatch):
    monkeypatch.setenv("COUNTERFOIL_DATABASE__URL", "postgresql://elsewhere")
    monkeypatch.setenv("COUNTERFOIL_DATABASE__MIGRATE", "false")
    monkeypatch.setenv("COUNTERFOIL_PLATFORMS__live__PASSWORD", "12345678")
    monkeypatch.setenv("COUNTERFOIL_PLATFORMS__LIVE__PAGE_SIZE", "100")
    monkeypatch.setenv("COUNTERFOIL_PLATFORMS__live__PULL__DEALS__EVERY", "5s")
    monkeypatch.setenv("COUNTERFOIL_PLATFORMS__live__PULL__ORDERS", "off")

    loaded = load(live("pull: {deals: {every: 1m}, orders: {every: 1m}}"))

    platform = loaded.platforms["live"]
    assert (loaded.database.url, loaded.database.migrate) == ("postgresql://elsewhere", False)
    assert platform.password.get_secret_value() == "12345678"
    assert platform.page_size == 100
    assert platform.pull["deals"].every == timedelta(seconds=5)
    assert "orders" not in platform.pull


def test_the_command_line_beats_the_environment(load, monkeypatch):
    monkeypatch.setenv("COUNTERFOIL_HTTP__LISTEN", "127.0.0.1:1")

    loaded = load(overrides={"http": {"listen": "127.0.0.1:2"}, "log": {"level": None}})

    assert loaded.http.port == 2
    assert loaded.log.level == "info"


def test_variables_of_the_tests_the_demo_and_the_embedded_server_are_no_settings(load, monkeypatch):
    monkeypatch.setenv("COUNTERFOIL_TEST_DATABASE_URL", "x")
    monkeypatch.setenv("COUNTERFOIL_POSTGRES_BIN", "x")
    monkeypatch.setenv("COUNTERFOIL_DEMO_TICK", "x")

    assert load().database.url == "embedded"


@pytest.mark.parametrize(
    ("content", "secret"),
    [("s3cret\n", "s3cret"), ("s3cret\r\n", "s3cret"), ("s3cret\n\n", "s3cret\n"), (" s3cret ", " s3cret ")],
)
def test_a_secret_file_loses_one_newline_and_nothing_else(load, tmp_path, content, secret):
    (tmp_path / "omtrader").write_bytes(content.encode())

    loaded = load(VALID.replace("password: hunter2", "password_file: omtrader"))

    assert loaded.platforms["live"].password == SecretStr(secret)


@pytest.mark.parametrize(
    ("environment", "in_file", "wins"),
    [
        ({}, "password_file: one", "from one"),
        ({"PASSWORD": "plain"}, "password: hunter2", "plain"),
        ({"PASSWORD": "plain"}, "password_file: absent", "plain"),
        ({"PASSWORD_FILE": "two"}, "password: hunter2", "from two"),
        ({"PASSWORD_FILE": "two"}, "password_file: absent", "from two"),
    ],
)
def test_a_secret_comes_from_environment_then_file_then_yaml(load, tmp_path, monkeypatch, environment, in_file, wins):
    for name in ("one", "two"):
        (tmp_path / name).write_text(f"from {name}\n")
    monkeypatch.chdir(tmp_path)
    for name, value in environment.items():
        monkeypatch.setenv(f"COUNTERFOIL_PLATFORMS__LIVE__{name}", value)

    loaded = load(VALID.replace("password: hunter2", in_file))

    assert loaded.platforms["live"].password == SecretStr(wins)


def test_relative_paths_start_from_the_settings_file(load, tmp_path):
    (tmp_path / "ca.pem").touch()

    assert load(live("ca_file: ca.pem")).platforms["live"].ca_file == tmp_path / "ca.pem"


def test_settings_cannot_be_changed(load):
    loaded = load()

    with pytest.raises(ValidationError):
        loaded.database = None
    with pytest.raises(ValidationError):
        loaded.platforms["live"].page_size = 1
    with pytest.raises(TypeError):
        loaded.platforms["live"].pull["deals"] = timedelta(1)
    with pytest.raises(TypeError):
        loaded.platforms["other"] = loaded.platforms["live"]


def test_the_same_file_gives_equal_settings(load):
    assert load() == load()
    assert load() != load(live("page_size: 100"))


def test_a_dump_of_the_settings_holds_plain_mappings(load):
    assert load().model_dump()["platforms"]["live"]["pull"]["deals"] == {"every": "30s"}


def test_no_representation_holds_a_secret(load):
    text = VALID.replace("url: embedded", "url: 'postgresql://a:s3cret@db/x?sslpassword=s3cret'").replace(
        "hunter2", "s3cret"
    )
    loaded = load(f"{text}crm: {{encryption_key: {FERNET_KEY}}}")

    for shown in (repr(loaded), str(loaded), settings.show(loaded)):
        assert "s3cret" not in shown
        assert FERNET_KEY not in shown


def test_show_masks_secrets_and_writes_durations_as_the_file_does(load):
    text = live("timeout: 1500ms\npull: {deals: {every: 90s}, orders: off, positions: {every: 15s, idle: 2m}}")
    shown = yaml.safe_load(settings.show(load(f"{text}crm: {{encryption_key: {FERNET_KEY}}}")))

    platform = shown["platforms"]["live"]
    assert platform["password"] == shown["crm"]["encryption_key"] == "********"
    assert platform["timeout"] == "1500ms"
    assert platform["pull"]["deals"] == {"every": "90s"}
    assert platform["pull"]["sweep"] == {"every": "24h"}
    assert platform["pull"]["positions"] == {"every": "15s", "idle": "2m"}
    assert platform["pull"]["orders"] == "off"
    assert shown["database"] == {"url": "embedded", "migrate": True}


def test_what_show_prints_is_a_settings_file_again(load):
    loaded = load(live(f"timeout: 250ms\npull: {{deals: off}}\nca_file: {__file__}"))

    again = load(settings.show(loaded).replace("'********'", "hunter2"))

    assert settings.changed_keys(loaded, again) == ["platforms.live.push"]  # left to the key before, written out now
    assert yaml.safe_load(settings.show(again)) == yaml.safe_load(settings.show(loaded))


def test_the_commented_example_loads_and_holds_the_defaults(monkeypatch, tmp_path, load):
    for name, content in (
        ("DATABASE__PASSWORD", "one"),
        ("PLATFORMS__LIVE__PASSWORD", "two"),
        ("CRM__ENCRYPTION_KEY", FERNET_KEY),
    ):
        (tmp_path / name).write_text(f"{content}\n")
        monkeypatch.setenv(f"COUNTERFOIL_{name}_FILE", str(tmp_path / name))

    example = settings.load(CONFIG / "counterfoil.yaml")

    unset = {"username", "password"}
    assert example.database.password == SecretStr("one")
    assert example.crm.encryption_key == SecretStr(FERNET_KEY)
    assert example.platforms["live"].password == SecretStr("two")
    monkeypatch.undo()
    assert example.platforms["live"].model_dump(exclude=unset) == load().platforms["live"].model_dump(exclude=unset)
    assert example.crm.model_dump(exclude={"encryption_key"}) == load().crm.model_dump(exclude={"encryption_key"})


def test_the_sandbox_example_loads():
    sandbox = settings.load(CONFIG / "sandbox.yaml")

    assert sandbox.database.url == "embedded"
    assert sandbox.platforms["sandbox"].base_url == "http://127.0.0.1:8080"


def test_the_commented_example_names_every_key():
    text = (CONFIG / "counterfoil.yaml").read_text(encoding="utf-8")
    sections = [settings.schema(), *settings.schema()["$defs"].values()]
    keys = {name for section in sections for name in section.get("properties", {})}

    assert {"database", "password_file", "group_symbols", "every", "ca_file", "encryption_key", "credit_out"} <= keys
    assert {
        key for key in keys if f" {key}:" not in text and f"\n{key}:" not in text and f"{{{key}:" not in text
    } == set()


def test_every_key_that_holds_a_secret_is_listed_as_one():
    described = settings.schema()["$defs"]
    secret = {
        (section, name)
        for section, schema in described.items()
        for name, of in schema["properties"].items()
        if of.get("writeOnly")
    }

    assert secret == {
        ("DatabaseSettings", "password"),
        ("OMTraderSettings", "password"),
        ("CTraderSettings", "password"),
        ("CrmSettings", "encryption_key"),
    }
    assert set(settings.SECRETS) == {
        ("database", "password"),
        ("platforms", "*", "password"),
        ("crm", "encryption_key"),
    }


def test_the_schema_describes_secret_files_durations_and_off():
    described = settings.schema()["$defs"]
    platform = described["OMTraderSettings"]

    assert platform["properties"]["password_file"]["type"] == "string"
    assert platform["oneOf"] == [{"required": ["password"]}, {"required": ["password_file"]}]
    assert described["CrmSettings"]["not"] == {"required": ["encryption_key", "encryption_key_file"]}
    assert platform["properties"]["timeout"]["pattern"] == "^[1-9][0-9]{0,9}(ms|s|m|h)$"
    assert {"enum": ["off", False]} in described["PullSettings"]["properties"]["deals"]["anyOf"]
    assert all(section["additionalProperties"] is False for section in described.values())


def test_a_second_load_is_not_touched_by_a_failed_one(load):
    with pytest.raises(ConfigurationError):
        load("database: {}")

    assert load().platforms["live"].username == "crm-api"
