"""A row on its way to PostgreSQL: a line of the text form of COPY, values separated by tabs, the bare word null for none.

A JSON number is such a value as it stands, and a JSON string without escapes less its quotes, but for the text null.
"""

SEPARATOR = b"\t"
NULL = b"null"
# A letter that no escape has stands for itself behind a backslash.
_NULL_AS_TEXT = rb"n\ull"
_ESCAPES = ((b"\\", rb"\\"), (b"\n", rb"\n"), (b"\r", rb"\r"), (b"\t", rb"\t"))


def escaped(text: bytes) -> bytes:
    """A text, whatever it holds, as a value of a line."""
    if text == NULL:
        return _NULL_AS_TEXT
    for character, escape in _ESCAPES:
        text = text.replace(character, escape)
    return text
