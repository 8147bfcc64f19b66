"""Where cTrader's lists are, and how their records become rows of the mirror (reference, sections 4 and 6).

Assumptions about what is not documented stand here and nowhere else:

- positions and closing deals come as CSV or, on some servers, as JSON with the same names; the first character tells;
- `pnl` of a closing deal is net, in the account's currency, and is all that the deal does to the balance;
- commission and swap are US dollars in both lists, and never booked apart;
- the filter of the closed positions may be about the time of opening or of closing: `closings_proof` tells which when a row
  shows it, and whoever reads spans must be right either way until then (see pull.spans);
- a trader whose `moneyDigits` is missing cannot be read, for its money would be anybody's guess;
- a deposit asset has no number: its id is made from its name.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

import msgspec
from msgspec import Raw

from counterfoil.domain.errors import TransientError
from counterfoil.platforms.ctrader.tokens import (
    UNREADABLE,
    Record,
    Texts,
    moment,
    of_grid,
    of_json,
    required,
    stamp,
)
from counterfoil.platforms.mending import mended

T = TypeVar("T")

WEBSERV: Final = "/v2/webserv"
TRADERS: Final = f"{WEBSERV}/traders/"
CREATE_TRADER: Final = f"{WEBSERV}/traders"
GROUPS: Final = f"{WEBSERV}/tradergroups"
SYMBOLS: Final = f"{WEBSERV}/symbols"
DEPOSIT_ASSETS: Final = f"{WEBSERV}/depositAssets"
OPEN_POSITIONS: Final = f"{WEBSERV}/openPositions"
CLOSED_POSITIONS: Final = f"{WEBSERV}/closedPositions"
CREATE_USER: Final = "/cid/ctid/create"
LINK: Final = "/cid/ctid/link"

OPEN_NEEDS: Final = frozenset({"login", "positionId"})
CLOSED_NEEDS: Final = frozenset({*OPEN_NEEDS, "dealId", "closeTimestamp", "pnl"})
"""Columns without which a table is none, whatever it looks like: a gateway's page, for instance."""
LONGEST_SPAN: Final = timedelta(days=2)
"""What one request for closed positions may cover (reference, section 4.13)."""


def trader(login: int, call: str = "") -> str:
    """The path of a trader, or of a call about one."""
    return f"{WEBSERV}/traders/{login}{call and '/'}{call}"


def query_time(at: datetime) -> str:
    """A time as queries want it: UTC to the millisecond, without a zone."""
    return at.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="milliseconds")


def as_asked(at: datetime) -> datetime:
    """The moment that `query_time` asks for: what is finer than a millisecond is cut."""
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


def registered_at(record: Texts) -> int:
    """When a trader was registered, in milliseconds since 1970.

    Raises:
        ValueError: it is not told, so that nobody knows where the list goes on.
    """
    return required(record, "registrationTimestamp")


def closings_proof(records: Sequence[Texts], since: datetime, until: datetime) -> bool | None:
    """What the rows of a span prove of its filter: that it is about closing (True), about opening (False), or nothing.

    A row without either time proves nothing. A row at the very end of the span is taken for inside, in case that a platform
    counts it in.

    Raises:
        TransientError: a row lies outside by both times.
    """
    since, until = as_asked(since), as_asked(until)
    proof: bool | None = None
    for record in records:
        try:
            opened, closed = moment(stamp(record, "openTimestamp")), moment(stamp(record, "closeTimestamp"))
        except ValueError:
            continue
        if opened is None or closed is None:
            continue
        opens, closes = since <= opened <= until, since <= closed <= until
        if opens and closes:
            continue
        if not opens and not closes:
            raise TransientError("closed positions came that were neither opened nor closed in the span asked for")
        proof = closes
    return proof


def _decoded(body: bytes, shape: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=shape)
    except msgspec.ValidationError:
        raise
    except msgspec.DecodeError:
        return msgspec.json.decode(mended(body), type=shape)


class _Traders(msgspec.Struct):
    trader: list[Record] = []
    hasMore: bool = False  # noqa: N815 - the platform's spelling


def traders(body: bytes) -> tuple[list[dict[str, str | None]], bool]:
    """The traders in an answer, and whether there are more.

    Raises:
        TransientError: the answer holds no list of them, or does not say whether there are more.
    """
    try:
        keys = _decoded(body, dict[str, Raw])
        decoded = _decoded(body, _Traders)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise TransientError("the list of traders in the answer is not readable") from error
    if not {"trader", "hasMore"} <= keys.keys():
        raise TransientError("the list of traders is not whole: it does not say whether there are more")
    return [of_json(record) for record in decoded.trader], decoded.hasMore


def one(body: bytes) -> dict[str, str | None]:
    """The one record that an answer is.

    Raises:
        TransientError: it is none.
    """
    try:
        record = of_json(_decoded(body, Record))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise TransientError("the answer holds no record") from error
    return readable([record])[0]


def readable(records: list[dict[str, str | None]]) -> list[dict[str, str | None]]:
    """These records, for whoever cannot leave one aside.

    Raises:
        TransientError: a part of one cannot be read.
    """
    for record in records:
        if UNREADABLE in record:
            raise TransientError(f"a record of the answer is {record[UNREADABLE]}")
    return records


def listed(body: bytes, key: str) -> list[dict[str, str | None]]:
    """The records of a list in an object, under `key`; bare texts become records with a `name`."""
    try:
        items = msgspec.json.decode(_decoded(body, dict[str, Raw])[key], type=list[Raw])
        return [_record(item) for item in items]
    except KeyError as error:
        raise TransientError(f"the answer lacks {key}") from error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise TransientError(f"the list {key} in the answer is not readable") from error


def _record(item: Raw) -> dict[str, str | None]:
    if bytes(item)[:1] == b'"':
        return {"name": msgspec.json.decode(item)}
    return of_json(msgspec.json.decode(item, type=Record))


def is_whole(body: bytes) -> bool:
    """Whether a table says of itself that it is not cut off: its last line ends, or its JSON closes."""
    text = body.rstrip(b" \t")
    return text.endswith((b"\n", b"\r", b"]", b"}"))


def grid(body: bytes, needed: AbstractSet[str]) -> list[dict[str, str | None]]:
    """The rows of a list of positions: CSV by its header, which has the `needed` columns, or JSON; an empty body is an empty list.

    Raises:
        TransientError: it is neither, or a row is cut off.
    """
    text = body.lstrip(b"\xef\xbb\xbf \t\r\n")
    try:
        if text[:1] == b"[":
            return [of_json(record) for record in _decoded(text, list[Record])]
        if text[:1] == b"{":
            (found,) = _decoded(text, dict[str, list[Record]]).values()
            return [of_json(record) for record in found]
        # A byte that is no UTF-8 spoils its own row alone.
        return of_grid(text.decode(errors="surrogateescape"), needed) if text else []
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise TransientError(f"the table of positions in the answer is not readable: {type(error).__name__}") from error
