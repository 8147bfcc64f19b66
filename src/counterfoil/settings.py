"""The settings: one YAML file, checked as a whole before anything starts.

`load` reads and checks, `schema` describes the file for editors, `show` prints what is in effect. A value comes from the
first of these that gives it: command line, environment, secret files, YAML, default.
"""

import copy
import functools
import os
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, TypeAlias

import yaml
from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    PlainSerializer,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from counterfoil import configfile, setting_problems
from counterfoil import setting_values as values
from counterfoil.configfile import KeyPath, Layer
from counterfoil.ctrader_settings import CTraderAccountDefaults, CTraderSettings
from counterfoil.platform_settings import OMTraderSettings
from counterfoil.setting_sections import Section, explained, nothing_is_empty, shown

SECRETS: tuple[KeyPath, ...] = (("database", "password"), ("platforms", "*", "password"), ("crm", "encryption_key"))
"""Every secret; `*` stands for any platform. Each can be given as `x_file` too."""

_FILES: tuple[KeyPath, ...] = (("platforms", "*", "ca_file"),)
# The names of a vendor, which the environment cannot spell.
_CAPITALS: tuple[KeyPath, ...] = tuple(
    ("platforms", "*", "account_defaults", name) for name in CTraderAccountDefaults.model_fields
)
_LAYERS: ContextVar[tuple[Layer, ...]] = ContextVar("_LAYERS", default=())


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


class PasswordSettings(Section):
    """Passwords that are made for a new account because the CRM gave none."""

    length: values.Whole = Field(default=16, ge=8, le=64)
    """Characters."""
    symbols: bool = True
    """Whether there are others than letters and digits among them."""


class CrmSettings(Section):
    """The boundary to the CRM."""

    encryption_key: Annotated[values.EncryptionKey | None, values.GIVEN] = None
    """Fernet key that seals what must not lie readable in the database; `counterfoil config key` makes one."""
    platform_choice: str = "required"
    """`required`: a registrant waits until a platform is chosen; a platform's name: everybody goes there at once."""
    allow_sandbox_payouts: bool = False
    """Let payouts go that rest on a withdrawal from a simulated platform; for demonstrations only."""
    username: values.UsernameTemplate = "{registrant}-{number}"
    """The login name of a new account: `{number}` is the account's, `{registrant}` and `{platform}` may be used."""
    passwords: PasswordSettings = Field(default_factory=PasswordSettings)
    """How passwords are made where the CRM gives none."""
    owned_fields: values.ClientFields = (
        *("title", "first_name", "middle_name", "family_name", "gender", "birth_date", "language", "mobile", "email"),
        *("country", "state", "city", "zip_code", "address", "national", "tax_id"),
    )
    """The fields of a client that the CRM owns: their value is the CRM's to decide, not the platform's."""


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


AnyPlatform: TypeAlias = Annotated[
    OMTraderSettings | CTraderSettings, Field(discriminator="kind"), BeforeValidator(nothing_is_empty)
]
"""One platform, of the kind that its key `kind` names."""


class Settings(BaseSettings):
    """Everything that one settings file says."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    database: DatabaseSettings
    platforms: Annotated[
        Mapping[values.PlatformName, AnyPlatform],
        Field(min_length=1),
        AfterValidator(MappingProxyType),
        PlainSerializer(dict),
    ]
    """The platforms by name; the name is the value of every `platform` column."""
    crm: CrmSettings = Field(default_factory=CrmSettings)
    http: HttpSettings = Field(default_factory=HttpSettings)
    log: LogSettings = Field(default_factory=LogSettings)

    def pushes(self, name: str) -> bool:
        """Whether platform `name` is written to: as its `push` says, else where a key can seal passwords."""
        push = self.platforms[name].push
        return self.crm.encryption_key is not None if push is None else push

    @model_validator(mode="after")
    def _who_pushes_can_seal_passwords(self) -> "Settings":
        for name, platform in self.platforms.items():
            if platform.push and self.crm.encryption_key is None:
                text = (
                    "passwords are sealed with crm.encryption_key, which is missing;"
                    " `counterfoil config key` makes one, or write push: false"
                )
                raise values.stated(text, "platforms", name, "push")
        return self

    @model_validator(mode="after")
    def _the_platform_that_is_chosen_exists(self) -> "Settings":
        if self.crm.platform_choice not in {"required", *self.platforms}:
            names = ", ".join(self.platforms)
            raise values.stated(
                f"names no platform of this file; write required, or one of: {names}", "crm", "platform_choice"
            )
        return self

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
    environment = configfile.read_environment(os.environ, _CAPITALS)
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
    tree: dict[str, Any] = {name: shown(value) for name, value in settings}
    for name, platform in tree["platforms"].items():
        platform["push"] = settings.pushes(name)
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)


@functools.cache
def _schema() -> dict[str, Any]:
    result = Settings.model_json_schema(mode="validation")
    models = {model.__name__: model for model in _models(Section)}
    for name, section in (("Settings", result), *result["$defs"].items()):
        explanations = explained(models.get(name, Settings))
        for key in explanations.keys() & section["properties"].keys():
            section["properties"][key]["description"] = explanations[key]
        _describe_secrets(section)
        for described in section.get("properties", {}).values():
            _drop_null(described)
    result["properties"]["platforms"]["additionalProperties"] = False  # names that do not match the pattern
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **result, "title": "Counterfoil settings"}


def _models(model: type[Section]) -> Iterator[type[Section]]:
    yield model
    for below in model.__subclasses__():
        yield from _models(below)


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
