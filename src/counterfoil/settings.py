"""The settings: one YAML file, checked as a whole before anything starts.

`load` reads and checks, `schema` describes the file for editors, `show` prints what is in effect. A value comes from the
first of these that gives it: command line, environment, secret files, YAML, default.
"""

import copy
import functools
import os
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeAlias

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    PlainValidator,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from counterfoil import configfile, setting_problems
from counterfoil import setting_values as values
from counterfoil.configfile import KeyPath, Layer

SECRETS: tuple[KeyPath, ...] = (("database", "password"), ("platforms", "*", "password"), ("crm", "encryption_key"))
"""Every secret; `*` stands for any platform. Each can be given as `x_file` too."""

_FILES: tuple[KeyPath, ...] = (("platforms", "*", "ca_file"),)
_LAYERS: ContextVar[tuple[Layer, ...]] = ContextVar("_LAYERS", default=())


class Section(BaseModel):
    """A part of the settings that has keys of its own."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _nothing_is_an_empty_section(cls, section: object) -> object:
        """`crm:` with every line below it commented out says as little as no `crm:` at all."""
        return {} if section is None else section

    def shown(self) -> dict[str, object]:
        """The effective values as the file would write them, secrets masked."""
        return {name: _shown(value) for name, value in self if value is not None}


class DatabaseSettings(Section):
    """The PostgreSQL server that holds the mirror."""

    url: values.DatabaseUrl = Field(repr=False)
    """`postgresql://user@host:5432/name`, `embedded` (a server of our own) or `embedded:/absolute/path` (its folder)."""
    password: Annotated[values.Secret | None, values.GIVEN] = None
    """The password of the user in `url`."""
    migrate: bool = True
    """Bring the schema up to date before `run` and `sync` start work."""

    @model_validator(mode="after")
    def _one_password_at_most(self) -> "DatabaseSettings":
        if self.password and self.url.startswith("embedded"):
            raise values.stated("an embedded database takes no password; remove it")
        if self.password and values.masked_url(self.url) != self.url:
            raise values.stated("url holds a password and password is given too; keep one")
        return self

    def shown(self) -> dict[str, object]:
        """As in `Section`; a password inside the URL is masked too."""
        return {**super().shown(), "url": values.masked_url(self.url)}


class RateLimitSettings(Section):
    """What may be asked of a platform, over all replicas together."""

    per_second: values.Rate = 5.0
    """Requests a second in the long run."""
    burst: values.Whole = Field(default=10, ge=1, le=10_000)
    """Requests that may go out at once after a quiet time."""
    concurrent: values.Whole = Field(default=4, ge=1, le=64)
    """Requests under way at the same time."""


class Every(Section):
    """How often a resource is pulled."""

    every: values.Duration
    """The time between two pulls."""


def _interval(value: object) -> timedelta | None:
    """The time between two pulls, None for `off` (which YAML reads as false)."""
    if value is False or value == "off":
        return None
    if not isinstance(value, Mapping):
        raise values.wrong("is not an interval; write {every: 30s}, or off")
    return Every.model_validate(value).every


_Interval: TypeAlias = Annotated[
    timedelta | None, PlainValidator(_interval, json_schema_input_type=Every | Literal["off", False])
]


def _every(text: str) -> Any:
    return Field(default={"every": text}, validate_default=True)


class PullSettings(Section):
    """How often each resource is pulled; one that is left out keeps its default, `off`: it is not pulled."""

    accounts: _Interval = _every("60s")
    positions: _Interval = _every("15s")
    deals: _Interval = _every("30s")
    transactions: _Interval = _every("60s")
    orders: _Interval = _every("60s")
    clients: _Interval = _every("5m")
    groups: _Interval = _every("1h")
    symbols: _Interval = _every("1h")
    commissions: _Interval = _every("1h")
    group_symbols: _Interval = _every("1h")
    sweep: _Interval = _every("24h")
    """The full comparison that finds late rows and deletions."""


def _pull(value: object) -> Mapping[str, timedelta]:
    intervals = {name: every for name, every in PullSettings.model_validate(value) if every is not None}
    return MappingProxyType(intervals)


class OMTraderSettings(Section):
    """One OMTrader server, read through its Manager API."""

    kind: values.Kind
    """The platform's API; this version knows `omtrader`."""
    base_url: values.BaseUrl
    """`https://host[:port]`; plain `http://` only to this machine, a private address or a container's name."""
    username: values.Username
    """The login of a Manager account that sees every group to be mirrored."""
    password: values.Secret
    """The password of `username`."""
    ca_file: Annotated[values.ReadableFile | None, values.GIVEN] = None
    """PEM file with the authority that signed the server's certificate; without it, the system's authorities."""
    timeout: values.Timeout = Field(default="20s", validate_default=True)
    """How long one request may take, at most 25s."""
    deals_path: values.ApiPath = "/api/v1/trader/deals"
    """Where deals are listed, as published; some servers may want `/api/v1/manager/deals`."""
    rate_limit: RateLimitSettings = Field(default_factory=RateLimitSettings)
    page_size: values.Whole = Field(default=500, ge=2, le=10_000)
    """Rows a page; at least 2, because each page after the first overlaps the one before."""
    pull: Annotated[
        Mapping[str, timedelta], PlainValidator(_pull, json_schema_input_type=PullSettings), PlainSerializer(dict)
    ] = Field(default_factory=lambda: _pull({}))
    """The interval of each resource that is pulled, and of the sweep; what is `off` is absent."""
    push: values.OnlyMirrors = False
    """Writing to the platform; this version only mirrors."""
    stream: values.OnlyPolls = False
    """WebSocket events on top of polling; this version only polls."""

    @model_validator(mode="after")
    def _ca_file_serves_https(self) -> "OMTraderSettings":
        if self.ca_file and self.base_url.startswith("http://"):
            raise values.stated("ca_file does nothing with http://; remove it, or write https://")
        return self

    def shown(self) -> dict[str, object]:
        """As in `Section`; resources that are not pulled read `off`."""
        intervals = {name: self.pull.get(name) for name in PullSettings.model_fields}
        pull = {name: {"every": _shown(every)} if every else "off" for name, every in intervals.items()}
        return {**super().shown(), "pull": pull}


class CrmSettings(Section):
    """The boundary to the CRM."""

    encryption_key: Annotated[values.EncryptionKey | None, values.GIVEN] = None
    """Fernet key that seals what must not lie readable in the database; `counterfoil config key` makes one."""


class HttpSettings(Section):
    """The daemon's own HTTP server: `/healthz`, `/readyz`, `/metrics`."""

    listen: values.Listen = "127.0.0.1:9187"
    """`host:port`; port 0 picks a free one and logs it."""

    @property
    def host(self) -> str:
        """The address to listen on; an IPv6 address without its brackets."""
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The port to listen on, 0 for any free one."""
        return int(self.listen.rpartition(":")[2])


class LogSettings(Section):
    """What the daemon writes to standard error."""

    format: Annotated[values.LogFormat | None, values.GIVEN] = None
    """`json` or `console`; left out: console on a terminal, else json."""
    level: values.LogLevel = "info"
    """The least important level that is written."""


class Settings(BaseSettings):
    """Everything that one settings file says."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", hide_input_in_errors=True, use_attribute_docstrings=True
    )

    database: DatabaseSettings
    platforms: Annotated[
        Mapping[values.PlatformName, OMTraderSettings],
        Field(min_length=1),
        AfterValidator(MappingProxyType),
        PlainSerializer(dict),
    ]
    """The platforms by name; the name is the value of every `platform` column."""
    crm: CrmSettings = Field(default_factory=CrmSettings)
    http: HttpSettings = Field(default_factory=HttpSettings)
    log: LogSettings = Field(default_factory=LogSettings)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What is passed in, then the layers that `load` has read; never pydantic's own reading of the environment."""
        del env_settings, dotenv_settings, file_secret_settings
        return (init_settings, *(_LayerSource(settings_cls, layer) for layer in _LAYERS.get()))


class _LayerSource(PydanticBaseSettingsSource):
    """Hands one layer to pydantic-settings, which merges the layers key by key."""

    def __init__(self, settings_cls: type[BaseSettings], layer: Layer) -> None:
        super().__init__(settings_cls)
        self._layer = layer

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        del field
        return self._layer.tree.get(field_name), field_name, False

    def __call__(self) -> dict[str, Any]:
        return self._layer.tree


def load(path: Path, overrides: Mapping[str, object] | None = None) -> Settings:
    """The settings of the file at `path`, checked as a whole.

    Args:
        path: The YAML file.
        overrides: Nested values from the command line, such as `{"http": {"listen": "127.0.0.1:0"}}`; None among them
            means that an option was not given.

    Raises:
        ConfigurationError: Something is wrong; one line with place, key and remedy, and never a secret.
    """
    given = configfile.read_overrides(overrides or {})
    document = configfile.read_file(path)
    environment = configfile.read_environment(os.environ)
    configfile.anchor_paths(document, _FILES)
    secrets = configfile.read_secret_files((given, environment, document), SECRETS)
    layers = (given, environment, secrets, document)
    token = _LAYERS.set(layers)
    try:
        return Settings.model_validate({})
    except ValidationError as error:
        problems = [setting_problems.problem(details, layers, _schema) for details in error.errors(include_url=False)]
    finally:
        _LAYERS.reset(token)
    raise configfile.refusal(problems)  # out of the handler: pydantic's error holds values and must not be chained


def changed_keys(before: Settings, after: Settings) -> list[str]:
    """The key paths whose values differ, sorted; never the values."""
    return sorted(_differing(before.model_dump(), after.model_dump(), ""))


def _differing(before: object, after: object, path: str) -> Iterator[str]:
    if isinstance(before, dict) and isinstance(after, dict):
        for name in before.keys() | after.keys():
            yield from _differing(before.get(name), after.get(name), f"{path}.{name}".lstrip("."))
    elif before != after:
        yield path


def schema() -> dict[str, Any]:
    """JSON Schema of the settings file, with the `x_file` that can stand for each secret `x`."""
    return copy.deepcopy(_schema())


def show(settings: Settings) -> str:
    """The effective settings as YAML, defaults included; every secret reads `********`."""
    tree = {name: _shown(value) for name, value in settings}
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)


def _shown(value: object) -> object:
    match value:
        case Section():
            return value.shown()
        case Mapping():
            return {name: _shown(inner) for name, inner in value.items()}
        case SecretStr():
            return values.MASK
        case timedelta():
            return values.duration_text(value)
        case Path():
            return str(value)
    return value


@functools.cache
def _schema() -> dict[str, Any]:
    result = Settings.model_json_schema(mode="validation")
    for section in (result, *result["$defs"].values()):
        _describe_secrets(section)
        for described in section.get("properties", {}).values():
            _drop_null(described)
    result["properties"]["platforms"]["additionalProperties"] = False  # names that do not match the pattern
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **result, "title": "Counterfoil settings"}


def _describe_secrets(section: dict[str, Any]) -> None:
    """Add `x_file` next to each secret `x` of an object's schema, with the rule that only one may be given."""
    properties = section.get("properties", {})
    for name in [name for name, described in properties.items() if "password" in _formats(described)]:
        properties[f"{name}_file"] = {"type": "string", "description": f"Path of a file that holds `{name}`."}
        if name in section.get("required", ()):
            section["required"].remove(name)
            section["oneOf"] = [{"required": [name]}, {"required": [f"{name}_file"]}]
        else:
            section["not"] = {"required": [name, f"{name}_file"]}


def _formats(described: dict[str, Any]) -> set[str]:
    return {option.get("format", "") for option in (described, *described.get("anyOf", ()))}


def _drop_null(described: dict[str, Any]) -> None:
    """An optional key is left out, not set to null."""
    options = [option for option in described.get("anyOf", ()) if option.get("type") != "null"]
    if len(options) == 1:
        described.update(options[0])
        del described["anyOf"], described["default"]
