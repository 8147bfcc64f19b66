"""The kinds of value that settings are made of: durations, secrets, addresses, and what is refused about each.

A refusal is a `PydanticCustomError` of one of two types: `wrong` reads on from the value (`"30" is not a duration`), `stated`
never has the value in front of it.
"""

import difflib
import ipaddress
import re
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, SecretStr
from pydantic_core import PydanticCustomError

from counterfoil.domain.fields import FIELDS
from counterfoil.domain.records import TABLES

MASK = "********"
LONGEST_TIMEOUT = timedelta(seconds=25)
LONGEST_DURATION = timedelta(days=366)
LONGEST_LEASE = timedelta(minutes=10)
SHORTEST_SETTLE, LONGEST_SETTLE = timedelta(seconds=1), timedelta(hours=24)
LONGEST_USERNAME = 40

CLIENT_FIELDS = tuple(dict.fromkeys(f.name for f in FIELDS if f.entity == "client" and f.updatable))
"""The fields of a client that may be changed: neither the platform's own nor those that say what it has approved."""

DURATION_PATTERN = r"^[1-9][0-9]{0,9}(ms|s|m|h)$"
_ENVIRONMENT_PATTERN = r"^[a-z0-9][a-z0-9_-]{0,39}$"
_FIELD_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]*$"
_TEMPLATE_PATTERN = r"^([A-Za-z0-9._@-]|\{(registrant|number|platform)\})*\{number\}([A-Za-z0-9._@-]|\{(registrant|number|platform)\})*$"
_UNITS = {
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
}
_HOST = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?")
_LISTEN = re.compile(r"(?P<host>\[.*\]|[^:]*):(?P<port>[0-9]{1,5})")
_POSTGRESQL = re.compile(
    r"(?P<scheme>postgresql://)(?:(?P<user>[^:@/?\s]*)(?P<password>:[^@/?\s]*)?@)?(?P<rest>[^@?\s]*(?:\?\S*)?)"
)
_QUERY_PASSWORD = re.compile(r"([?&][^=&]*password[^=&]*=)[^&]+", re.IGNORECASE)


def wrong(text: str) -> PydanticCustomError:
    """A refusal that follows the value it is about."""
    return PydanticCustomError("wrong", text)


def stated(text: str, *at: str) -> PydanticCustomError:
    """A refusal that stands without the value: a secret, or about more than one key.

    `at`: the keys that lead from the section that refuses to the one that a person would mend.
    """
    return PydanticCustomError("stated", text, {"at": at} if at else None)


def duration(value: object) -> timedelta:
    """A length of time from text such as `250ms`, `15s`, `5m`, `1h`: above zero, at most 366 days."""
    if isinstance(value, timedelta):
        length = value
    elif isinstance(value, str) and re.fullmatch(DURATION_PATTERN, value):
        digits, unit = re.findall(r"[0-9]+|[a-z]+", value)
        length = int(digits) * _UNITS[unit]
    else:
        raise wrong("is not a duration; write 30s, 5m or 1h")
    if not timedelta() < length <= LONGEST_DURATION:
        raise wrong(f"is out of range; more than nothing and at most {duration_text(LONGEST_DURATION)}")
    return length


def duration_text(length: timedelta) -> str:
    """`length` as settings write it, in the largest unit that needs no fraction: `90s`, `5m`, `24h`."""
    unit, size = next(((unit, size) for unit, size in _UNITS.items() if not length % size), ("ms", _UNITS["ms"]))
    return f"{length // size}{unit}"


def masked_url(url: str) -> str:
    """A database's URL without the passwords in it."""
    match = _POSTGRESQL.fullmatch(url)
    if match is None:
        return url
    user = "" if match["user"] is None else f"{match['user']}{':' + MASK if match['password'] else ''}@"
    rest = _QUERY_PASSWORD.sub(rf"\g<1>{MASK}", match["rest"])
    return f"{match['scheme']}{user}{rest}"


def _given(value: object) -> object:
    if value is None:
        raise stated("has no value; give one, or remove the line")
    return value


def _number(value: object) -> object:
    if isinstance(value, bool):  # Python would count it as 0 or 1
        raise wrong("is not a number")
    return value


def _timeout(value: timedelta) -> timedelta:
    if value > LONGEST_TIMEOUT:
        raise wrong(f"is too long; at most {duration_text(LONGEST_TIMEOUT)}")
    return value


def _lease(value: timedelta) -> timedelta:
    if value > LONGEST_LEASE:
        raise wrong(f"is too long; at most {duration_text(LONGEST_LEASE)}")
    return value


def _settle(value: timedelta) -> timedelta:
    if not SHORTEST_SETTLE <= value <= LONGEST_SETTLE:
        raise wrong(f"is out of range; {duration_text(SHORTEST_SETTLE)} to {duration_text(LONGEST_SETTLE)}")
    return value


def _not_empty(value: SecretStr) -> SecretStr:
    if not value.get_secret_value():
        raise stated("is empty")
    return value


def _fernet_key(value: SecretStr) -> SecretStr:
    if not re.fullmatch(r"[A-Za-z0-9_-]{43}=", value.get_secret_value()):
        raise stated("is not an encryption key; `counterfoil config key` makes one")
    return value


def _username(value: str) -> str:
    if not value:
        raise stated("is empty")
    if ":" in value or not value.isprintable():  # it travels as Basic authentication, where a colon ends it
        raise stated("may hold neither a colon nor control characters")
    return value


def _database_url(value: str) -> str:
    if value.startswith("embedded"):
        if value != "embedded" and not re.fullmatch(r"embedded:/[^\x00-\x1f]*", value):
            raise stated("an embedded database is written embedded, or embedded:/absolute/path")
    elif not _POSTGRESQL.fullmatch(value):
        raise stated("is not a database; write postgresql://user@host:5432/name, embedded or embedded:/absolute/path")
    return value


def _base_url(value: str) -> str:
    """`scheme://host[:port]` of a platform, without a slash at its end."""
    return _server(value, plain="http", secret="password")  # noqa: S106 - a word


def _stream_url(value: str) -> str:
    """The same of a WebSocket, its scheme in small letters."""
    server = _server(value, plain="ws", secret="access token")  # noqa: S106 - two words
    return f"{urlsplit(server).scheme}://{urlsplit(server).netloc}"


def _server(value: str, *, plain: str, secret: str) -> str:
    """`plain`: the scheme without encryption, whose name with an s is the one with; `secret`: what travels."""
    example = f"{plain}s://host or {plain}s://host:port"
    try:
        parts = urlsplit(value)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise stated(f"is not a URL; write {example}") from None
    if parts.scheme not in {plain, f"{plain}s"} or not _is_host(host) or re.search(r"[\s\\]", value) or port == 0:
        raise stated(f"is not a URL; write {example}")
    if "@" in parts.netloc:
        raise stated("may hold no credentials; they have keys of their own")
    if parts.path not in {"", "/"} or "?" in value or "#" in value:
        raise stated(f"may hold no path and no query; write {example}")
    if parts.scheme == plain and not _is_near(host):
        raise stated(f"would send the {secret} in clear text across a network; write {plain}s://")
    return value.rstrip("/")


def _is_host(host: str) -> bool:
    return _address(host) is not None or _HOST.fullmatch(host) is not None


def _is_near(host: str) -> bool:
    """Whether plain HTTP to `host` stays on this machine, in a private network, or among containers (`sandbox`)."""
    address = _address(host)
    if address is not None:
        return address.is_private
    # A name of digits alone is an IPv4 address in disguise: 134744072 is 8.8.8.8.
    return host.endswith(".localhost") or ("." not in host and host[0].isalpha())


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _listen(value: str) -> str:
    match = _LISTEN.fullmatch(value)
    if match is None or int(match["port"]) > 65535 or not _is_host(match["host"].strip("[]")):
        raise wrong("is no address to listen on; write 127.0.0.1:9187, or port 0 for a free one")
    return value


def _readable(value: Path) -> Path:
    try:
        value.open("rb").close()
    except (OSError, ValueError):
        raise wrong("is not a file that can be read") from None
    return value


def _environment(value: str) -> str:
    if not re.fullmatch(_ENVIRONMENT_PATTERN, value):
        raise wrong("is not the name of an environment; write live, demo or another such as live2")
    return value


def _text(value: str) -> str:
    if not value.strip():
        raise stated("is empty")
    if not value.isprintable():
        raise stated("may hold no control characters")
    return value


def _money_field(value: str) -> str:
    if not re.fullmatch(_FIELD_PATTERN, value):
        raise wrong("is not the name of a field; write letters, digits and _, not a digit first")
    if value in {"side", "direction"}:
        raise wrong("is sent anyway, with another meaning; write the name of another field")
    return value


def _username_template(value: str) -> str:
    rest = re.sub(r"\{(?:registrant|number|platform)\}", "", value)
    if "{" in rest or "}" in rest:
        raise wrong("has other braces than {registrant}, {number} and {platform}; remove them")
    if "{number}" not in value:
        raise wrong("lacks {number}, without which two accounts would share a name; write {registrant}-{number}")
    if not re.fullmatch(r"[A-Za-z0-9._@-]*", rest):
        raise wrong("holds a character that a login name may not; write letters, digits and . _ - @")
    if len(value) > LONGEST_USERNAME:
        raise wrong(f"is too long; at most {LONGEST_USERNAME} characters")
    return value


def _names(value: object) -> object:
    """A list; in the environment, which knows no lists, names with commas between them."""
    if isinstance(value, str):
        return [name.strip() for name in value.split(",")]
    if not isinstance(value, list | tuple):
        raise wrong("is not a list; write [email, mobile]")
    return value


def _client_field(value: str) -> str:
    if value in TABLES["clients"].column_names and value not in CLIENT_FIELDS:
        raise wrong("is not the CRM's to write; remove it")
    if value not in CLIENT_FIELDS:
        close = difflib.get_close_matches(value, CLIENT_FIELDS, n=1)
        advice = f"did you mean {close[0]}?" if close else f"there are: {', '.join(CLIENT_FIELDS)}"
        raise wrong(f"is not a field of a client; {advice}")
    return value


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


GIVEN = BeforeValidator(_given)
"""Refuses a key that stands there without a value; a key that is left out keeps its default."""

Duration = Annotated[
    timedelta, PlainValidator(duration, json_schema_input_type=Annotated[str, Field(pattern=DURATION_PATTERN)])
]
Timeout = Annotated[Duration, AfterValidator(_timeout)]
Lease = Annotated[Duration, AfterValidator(_lease)]
Settle = Annotated[Duration, AfterValidator(_settle)]
Whole = Annotated[int, BeforeValidator(_number)]
Natural = Annotated[int, Field(ge=0), BeforeValidator(_number)]
Positive = Annotated[int, Field(ge=1), BeforeValidator(_number)]
Rate = Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False), BeforeValidator(_number)]
Secret = Annotated[SecretStr, AfterValidator(_not_empty)]
EncryptionKey = Annotated[Secret, AfterValidator(_fernet_key)]
Username = Annotated[str, AfterValidator(_username)]
UsernameTemplate = Annotated[
    str,
    AfterValidator(_username_template),
    Field(json_schema_extra={"pattern": _TEMPLATE_PATTERN, "maxLength": LONGEST_USERNAME}),
]
Text = Annotated[str, AfterValidator(_text), Field(json_schema_extra={"pattern": r"\S"})]
EnvironmentName = Annotated[
    str, AfterValidator(_environment), Field(json_schema_extra={"pattern": _ENVIRONMENT_PATTERN})
]
MoneyField = Annotated[
    str,
    AfterValidator(_money_field),
    Field(json_schema_extra={"pattern": _FIELD_PATTERN, "not": {"enum": ["side", "direction"]}}),
]
ClientFields = Annotated[
    tuple[Annotated[str, AfterValidator(_client_field), Field(json_schema_extra={"enum": list(CLIENT_FIELDS)})], ...],
    BeforeValidator(_names),
]
DatabaseUrl = Annotated[str, AfterValidator(_database_url)]
BaseUrl = Annotated[str, AfterValidator(_base_url)]
StreamUrl = Annotated[str, AfterValidator(_stream_url)]
Listen = Annotated[str, AfterValidator(_listen)]
ReadableFile = Annotated[Path, AfterValidator(_readable)]
LogFormat = Annotated[Literal["json", "console"], BeforeValidator(_lower)]
LogLevel = Annotated[Literal["debug", "info", "warning", "error"], BeforeValidator(_lower)]
PlatformName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,39}$")]
ApiPath = Annotated[str, Field(pattern=r"^(/[A-Za-z0-9_-]+)+$")]
