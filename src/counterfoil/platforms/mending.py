"""Nearly JSON made JSON: some servers write NaN, line ends in strings, half a pair of surrogates.

It is mended where the meaning is plain, and else marked with a character that no text of the mirror may hold, so that only the
records that hold it fail.
"""

import re

# Strings, cut ones too, and the words of numbers that JSON does not know; nothing else of a body is looked at.
_LOOSE = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|(?<!\w)-?(?:NaN|Infinity)\b', re.DOTALL)
# In a string: a pair of surrogates, any other escape, or a character that needs one.
_ESCAPE = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\.|[\x00-\x1f]", re.DOTALL
)
_NEEDS_MENDING = re.compile(rb"[\\\x00-\x1f]")
_WRONG_ESCAPE = re.compile(rb'\\u[dD][89a-fA-F]..|\\[^"\\/bfnrtu]|\\u', re.DOTALL)
_UNREADABLE = b"\\u0000"


def mended(body: bytes) -> bytes:
    """A body that may be JSON now."""
    return _LOOSE.sub(_token, body)


def _token(found: re.Match[bytes]) -> bytes:
    token = found[0]
    if token[:1] != b'"':
        return b'"' + token + _UNREADABLE + b'"'
    return _ESCAPE.sub(_escape, token) if _NEEDS_MENDING.search(token) else token


def _escape(found: re.Match[bytes]) -> bytes:
    token = found[0]
    if token[:1] != b"\\":
        return b"\\u%04x" % token[0]
    return _UNREADABLE if _WRONG_ESCAPE.fullmatch(token) else token
