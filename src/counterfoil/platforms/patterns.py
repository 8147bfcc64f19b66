r"""Records that all hold the same ordinary fields, read by one regular expression.

Most pages are such: the names of the fields stand in the same order in every record, and no value needs a second look. Then a
record is a line of COPY already, but for the names. A pattern made of them says what each value must look like; what it captured
of a record, it writes as a line. So all is checked that is written, and of most values no object is ever made.

What a pattern does not match is none the less right: it is read in another way (platforms.rows).
"""

from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from operator import add
from typing import NamedTuple

import pcre2

from counterfoil.domain.line import NULL, SEPARATOR
from counterfoil.domain.records import TABLES, Kind
from counterfoil.platforms.products import PRODUCTS, product

# Of the 29th of February and of a second that leaps others judge.
_MONTH_AND_DAY = (
    "(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])"
    "|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    "|02-(?:0[1-9]|1[0-9]|2[0-8]))"
)
_DAY = f"(?!0000)[0-9]{{4}}-{_MONTH_AND_DAY}"
_CLOCK = "(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
# Within 64 bits whatever its other digits are.
_WHOLE = "-?(?:[1-9][0-9]{0,17}+(?![0-9])|[1-8][0-9]{18}+)|0"
# What a value looks like, with one group for what is written of it; of JSON nothing but null can be taken as it stands.
_VALUES: Mapping[Kind, str] = {
    Kind.INTEGER: f"({_WHOLE}|null)",
    # Together not longer than lines.NUMBER_LIMIT.
    Kind.NUMBER: r"(-?(?:[1-9][0-9]{0,44}+|0)(?:\.[0-9]{1,45}+)?+|null)",
    # Nor can the text null.
    Kind.TEXT: r'(?|"(?!null")([^"\\\x00-\x1f]*+)"|(null))',
    Kind.BOOLEAN: "(true|false|null)",
    # Cut to microseconds; PostgreSQL would round.
    Kind.TIMESTAMP: rf'(?:"({_DAY}T{_CLOCK}(?:\.[0-9]{{1,6}}+)?+)(?:(?<=\.[0-9]{{6}})[0-9]{{1,3}}+)?+Z"|null)',
    # The day counts; the empty text is how some servers say that there is none.
    Kind.DATE: f'(?:"(?:({_DAY})(?:T{_CLOCK}Z)?+)?+"|null)',
    Kind.JSON: "(null)",
}
# How a group is written; # is its number.
_AS_IT_STANDS = "$#"
_BETWEEN = SEPARATOR.decode()
_FORMS: Mapping[Kind, str] = {Kind.TIMESTAMP: "${#:+${#}Z:null}", Kind.DATE: "${#:-null}"}
_MOMENT = "${#:+${#}Z:}"
# Stands behind each part of what is written of a record. No value that matches holds one.
_END = b"\0"

# Which fields a platform's records hold hardly ever changes.
_MOST_PATTERNS = 50


class Rows(NamedTuple):
    """What the records of a page are, see domain.page.Page."""

    ids: list[int]
    lines: list[bytes]
    times: list[str | None]
    symbol_ids: list[int | None]


class Pattern:
    """Of the records of a table that hold just these fields, in this order."""

    def __init__(self, table: str, names: Sequence[str]) -> None:
        kinds = {column.wire: column.kind for column in TABLES[table].columns if column.wire}
        values = {"id": f"({_WHOLE})"} | {name: _VALUES[kind] for name, kind in kinds.items()}
        # A field that no column is filled with must be null, and nothing is written of it.
        record = ",".join(f'"{name}":{values.get(name, "null")}' for name in names)
        # The first one comes behind all that stands before a list; each other begins where the one before it ended.
        self._pattern = _compiled(rf"\G(?:\A[^\[]*+\[)?+\{{{record}\}}(?:,|(?=\]))".encode())
        numbers = {name: str(number) for number, name in enumerate((name for name in names if name in values), 1)}
        self._parts = _parts(table, kinds, numbers)
        self._template = b"".join(form.encode() + _END for form in self._parts.values())

    def read(self, text: bytes, end: int) -> Rows | None:
        """The rows of the one list in a text, whose last record ends there; None when one of them is not just so."""
        try:
            written, _ = self._pattern.subn(self._template, text)
            # From the first on that does not match all is left as it stands, and before the end of records stands a brace.
            return self._rows(written.split(_END)) if written.endswith(_END + text[end:]) else None
        except pcre2.LibraryError:
            return None

    def _rows(self, written: list[bytes]) -> Rows:
        parts = {name: written[at : -1 : len(self._parts)] for at, name in enumerate(self._parts)}
        ids = list(map(int, parts["id"]))
        return Rows(
            ids=ids,
            lines=list(map(add, parts["line"], map(_tail, parts["factors"]))) if "factors" in parts else parts["line"],
            times=[text.decode() or None for text in parts["time"]] if "time" in parts else [None] * len(ids),
            symbol_ids=[None if text == b"null" else int(text) for text in parts.get("symbol", ())],
        )


def pattern_of(table: str, names: tuple[str, ...]) -> Pattern | None:
    """The pattern of records with these fields; None where one of them is unknown to the table, or there is no id."""
    # Looked at before it is remembered: whoever sends names without end is not to fill our memory with them.
    return known_pattern(table, names) if "id" in names and _known(table).issuperset(names) else None


@lru_cache(maxsize=_MOST_PATTERNS)
def known_pattern(table: str, names: tuple[str, ...]) -> Pattern:
    """The pattern of records with these fields, all of them known."""
    return Pattern(table, names)


@cache
def _known(table: str) -> frozenset[str]:
    return frozenset({"id", *(column.wire or column.name for column in TABLES[table].columns)})


def _compiled(pattern: bytes) -> pcre2.Pattern:
    try:
        return pcre2.compile(pattern)
    except pcre2.LibraryError:
        # Where no memory may be both written and executed it is interpreted, which takes a few times as long.
        return pcre2.compile(pattern, jit=False)


def _parts(table: str, kinds: Mapping[str, Kind], numbers: Mapping[str, str]) -> dict[str, str]:
    """What is written of a record: its line, or the beginning of it where its end is computed, and what else is wanted of it."""

    def form(name: str, how: str) -> str:
        return how.replace("#", numbers[name]) if name in numbers else "null"

    line = _BETWEEN.join(
        form(name, _FORMS.get(kind, _AS_IT_STANDS)) for name, kind in {"id": Kind.INTEGER, **kinds}.items()
    )
    parts = {"line": f"{line}{_BETWEEN}null", "id": form("id", _AS_IT_STANDS)}
    if "created_at" in numbers:
        parts["time"] = form("created_at", _MOMENT)
    if table in PRODUCTS:
        parts["line"] = f"{line}{_BETWEEN}"
        parts["factors"] = "*".join(form(factor, _AS_IT_STANDS) for factor in PRODUCTS[table][1:])
        parts["symbol"] = form("symbol_id", _AS_IT_STANDS)
    return parts


@lru_cache(maxsize=10_000)
def _tail(factors: bytes) -> bytes:
    """The end of a line: what is computed, and that there were no other fields."""
    return SEPARATOR.join((product(factors), NULL))
