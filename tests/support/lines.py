"""Lines for COPY, read as PostgreSQL reads its text form."""

import re

from counterfoil.domain.page import Page

_ESCAPE = re.compile(rb"\\(x[0-9A-Fa-f]{1,2}|[0-7]{1,3}|.)", re.DOTALL)
_CHARACTERS = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}


def cells(line: bytes) -> list[str | None]:
    """The values of a line; None for NULL."""
    assert b"\n" not in line
    assert b"\r" not in line
    return [None if cell == b"null" else _ESCAPE.sub(_meant, cell).decode() for cell in line.split(b"\t")]


def _meant(found: re.Match[bytes]) -> bytes:
    escape = found[1]
    if escape[:1] == b"x" and len(escape) > 1:
        return bytes([int(escape[1:], 16)])
    return bytes([int(escape, 8) & 0xFF]) if escape.isdigit() else _CHARACTERS.get(escape, escape)


def rows_of(page: Page) -> list[dict[str, str | None]]:
    """The good records of a page, by column."""
    return [dict(zip(page.columns, cells(line), strict=True)) for line in page.lines]
