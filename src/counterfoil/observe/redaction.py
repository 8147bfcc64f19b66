"""The second line of defence: whatever still carries a secret loses it here, before it is written.

The first line is that nobody passes a secret to an event. Masking too much is a nuisance, too little is an incident.
"""

import re
from typing import Final

MASK: Final = "***"
LONGEST: Final = 1000
"""Longest text of one value, in characters; a broken server can send a gigabyte of error."""

_SECRET_NAME: Final = re.compile(r"password|token|secret|authorization|key", re.IGNORECASE)
_NAMED: Final = r"[\w.-]{0,40}(?:password|passwd|token|secret|authorization|key)[\w.-]{0,40}"
_QUOTED: Final = r"""\\*(?:"(?:\\.|[^"\\])*"?|'(?:\\.|[^'\\])*'?)"""
_PATTERNS: Final = (
    # Authorization: Bearer …, Basic …
    (re.compile(r"\b(Bearer|Basic)(?:\s|%20|\+)+[^\s\"',;]+", re.IGNORECASE), rf"\1 {MASK}"),
    # scheme://user:password@host; a password may hold any character but a space
    (re.compile(r"(://)[^\s@/]*(?::\S*)?@"), rf"\1{MASK}@"),
    # ?token=…, libpq's password=…
    (re.compile(rf"({_NAMED}\s?=\s?)(?:{_QUOTED}|[^\s&#,;\"']+)", re.IGNORECASE), rf"\1{MASK}"),
    # "password": "…" of JSON, 'password': '…' of a Python repr
    (re.compile(rf"([\"']{_NAMED}\\*[\"']\s*:\s*)(?:{_QUOTED}|[^\s,}}]+)", re.IGNORECASE), rf"\1{MASK}"),
    # a JSON Web Token without any name in front of it
    (re.compile(r"\beyJ[\w-]{5,}\.[\w-]+(?:\.[\w-]*)?"), MASK),
)


def is_secret_name(name: str) -> bool:
    """Whether a field of this name is masked whatever it holds."""
    return _SECRET_NAME.search(name) is not None


def redact(text: str) -> str:
    """The text without credentials, at most LONGEST characters of it."""
    # Cut before searching, to bound the effort, and well behind the end, so that no credential is cut in half and missed.
    kept = text[: 2 * LONGEST]
    for pattern, replacement in _PATTERNS:
        kept = pattern.sub(replacement, kept)
    return kept if len(kept) <= LONGEST else kept[: LONGEST - 1] + "…"


def one_line(text: str) -> str:
    """The text with every run of white space, line ends among it, as one space."""
    return " ".join(text.split())
