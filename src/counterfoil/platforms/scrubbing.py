"""Secrets out of what platforms send, before anything is stored: by the names of fields, whatever the nesting.

Dropping a harmless field that is named like a secret is a nuisance; storing a password is an incident.
"""

import re
from typing import Any

import msgspec
from msgspec import Raw

# Longest text of a record that is kept for a person to read, in characters.
BODY_LIMIT = 65_536
SECRET_NAME = re.compile(
    r"passw|passphrase|passcode|(?:(?<![a-z])pass|(?-i:Pass))(?![a-z])|pwd|secret|token|credential|authorization"
    r"|(?:api|private|encryption)[-_ ]?key|(?<![a-z])(?:pin|otp|cvv|cvc)(?:code)?(?![a-z])",
    re.IGNORECASE,
)
_ESCAPED = re.compile(r"\\u([0-9a-fA-F]{4})")
_REMOVED = "… the rest is removed, it may hold a secret"

# Numbers stay the text that they were: a binary float would change their digits.
exact = msgspec.json.Decoder(float_hook=lambda text: Raw(text.encode())).decode


def without_secrets(value: Any) -> Any:
    """A decoded JSON value less every field that is named like a secret.

    Raises:
        RecursionError: it is nested too deep.
    """
    if isinstance(value, dict):
        return {name: without_secrets(part) for name, part in value.items() if not SECRET_NAME.search(name)}
    if isinstance(value, list):
        return [without_secrets(part) for part in value]
    return value


def scrub_text(body: bytes) -> str:
    """A record's text for a person to read: secrets removed, NULs made visible, cut to BODY_LIMIT characters."""
    text = body.decode(errors="backslashreplace").replace("\0", "\\0")
    if SECRET_NAME.search(_unescaped(text)):
        text = _scrubbed(body, text)
    return text[:BODY_LIMIT]


def _scrubbed(body: bytes, text: str) -> str:
    try:
        return msgspec.json.encode(without_secrets(exact(body))).decode()
    except (msgspec.MsgspecError, ValueError, RecursionError):
        plain = _unescaped(text)
        secret = SECRET_NAME.search(plain)
        return plain[: secret.start()] + _REMOVED if secret else text


def _unescaped(text: str) -> str:
    """A name may hide behind escapes; those of surrogates stay, for no text may hold half a pair."""
    return _ESCAPED.sub(lambda found: chr(int(found[1], 16)) if found[1][0] not in "dD" else found[0], text)
