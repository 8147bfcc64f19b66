"""cTrader as the pulls see it: whole lists and spans of closing deals, read with one token under one budget."""

import math
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import ClassVar, Final

from counterfoil.domain.errors import PermanentError, TransientError
from counterfoil.domain.login import LoginFacts
from counterfoil.domain.page import Page
from counterfoil.domain.priority import Priority
from counterfoil.platforms.base import Binding, Budget, Closings, Vault, WriteAllowance
from counterfoil.platforms.ctrader import columns, wire
from counterfoil.platforms.ctrader.calls import Calls, Params
from counterfoil.platforms.ctrader.columns import Names
from counterfoil.platforms.ctrader.session import Credentials, TokenKeeper
from counterfoil.platforms.ctrader.tokens import Texts
from counterfoil.platforms.http import Answer, Http

# Seconds after which the names of groups and symbols are read again when an unknown one turns up.
NAMES_AGE: Final = 300.0
# No trader was registered before; the span of the whole list begins here.
FIRST_DAY: Final = datetime(2000, 1, 1, tzinfo=UTC)
_DAY: Final = timedelta(days=1)
_MILLISECOND: Final = timedelta(milliseconds=1)
# A span of registrations this short whose answer is too large cannot be halved any more.
_SHORTEST: Final = timedelta(seconds=1)


class _TooLargeError(TransientError):
    """The answer is longer than any may be; a shorter span is asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """Where a server is and who we are there; `timeout` in seconds."""

    base_url: str
    manager: Credentials
    timeout: float
    ca_file: Path | None = None


@dataclass(slots=True)
class _Known:
    """The names as last read; `at`: when, on the monotonic clock."""

    names: Names = field(default_factory=lambda: Names({}, {}))
    at: float = -math.inf


class CTrader:
    """See platforms.base.SnapshotReader."""

    CHECKED: ClassVar = ("groups", "accounts")
    """Lists that tell whether a manager may read what is mirrored."""

    def __init__(
        self,
        connection: Connection,
        budget: Budget,
        vault: Vault,
        allowance: WriteAllowance,
        binding: Binding | None = None,
    ) -> None:
        self._http = Http(connection.base_url, timeout=connection.timeout, ca_file=connection.ca_file)
        self._tokens = TokenKeeper(
            self._http, budget, vault, manager=connection.manager, allowance=allowance, binding=binding
        )
        self.calls = Calls(self._http, budget, self._tokens, allowance)
        self._known = _Known()
        self._ends_tables = False

    async def close(self) -> None:
        """Close every connection."""
        await self._http.close()

    @property
    def trouble(self) -> str | None:
        """Why nobody is logged in; None when somebody is."""
        return self._tokens.trouble

    async def log_in(self) -> LoginFacts:
        """Make sure that there is a token.

        Raises:
            ConfigurationError: the platform refuses us.
            TransientError: the platform did not answer properly.
        """
        return (await self._tokens.current()).facts

    async def sees(self, resource: str) -> bool:
        """Whether the manager may read a list, and sees anything in it."""
        if resource == "accounts":
            until = wire.query_time(self.now() + _DAY)
            params = {"from": wire.query_time(FIRST_DAY), "to": until, "fields": "login,registrationTimestamp"}
            answer = await self.calls.get(wire.TRADERS, Priority.NORMAL, params)
            return answer.oversized or bool(wire.traders(self.calls.understood(answer))[0])
        return (await self._listed(resource, {}, Priority.NORMAL)).rows > 0

    def now(self) -> datetime:
        """See platforms.base.SnapshotReader."""
        return datetime.now(UTC) + timedelta(seconds=self._tokens.skew)

    # --- lists ------------------------------------------------------------------------------------------------------

    async def snapshot(
        self, resource: str, remembered: Mapping[bytes, Page], priority: Priority
    ) -> AsyncGenerator[Page, None]:
        """See platforms.base.SnapshotReader: groups, symbols, deposit_assets, accounts, positions."""
        match resource:
            case "accounts":
                async with aclosing(self._accounts(remembered, priority)) as pages:
                    async for page in pages:
                        yield page
            case "positions":
                body, digest = await self._grid(wire.OPEN_POSITIONS, priority, {})
                yield remembered.get(digest) or await self._positions(body, digest, priority)
            case _:
                yield await self._listed(resource, remembered, priority)

    async def _listed(self, resource: str, remembered: Mapping[bytes, Page], priority: Priority) -> Page:
        path, key, lines, reading = {
            "groups": (wire.GROUPS, "traderGroup", columns.GROUP_LINES, columns.group),
            "symbols": (wire.SYMBOLS, "symbol", columns.SYMBOL_LINES, columns.symbol),
            "deposit_assets": (wire.DEPOSIT_ASSETS, "depositAsset", columns.ASSET_LINES, columns.deposit_asset),
        }[resource]
        answer = await self.calls.get(path, priority)
        body = self.calls.understood(answer)
        return remembered.get(answer.digest) or lines.page(wire.listed(body, key), reading, answer.digest)

    async def _positions(self, body: bytes, digest: bytes, priority: Priority) -> Page:
        records = wire.grid(body, wire.OPEN_NEEDS)
        names = await self._names(priority, symbols={record.get("symbol") for record in records})
        return columns.POSITION_LINES.page(records, columns.position(names), digest)

    async def _grid(self, path: str, priority: Priority, params: Params) -> tuple[bytes, bytes]:
        """A table of positions and its digest.

        One that may be cut off is only believed when it comes twice alike, and never from a platform that ends its tables.
        """
        answer = await self.calls.get(path, priority, params)
        if answer.oversized:
            raise _TooLargeError(f"{path}: {answer.reason}")
        body = self.calls.understood(answer)
        if wire.is_whole(body):
            self._ends_tables = True
        elif self._ends_tables or self.calls.understood(await self.calls.get(path, priority, params)) != body:
            raise TransientError(f"{path}: the table may be cut off: its last line has no end")
        return body, answer.digest

    # --- traders ----------------------------------------------------------------------------------------------------

    async def _accounts(self, remembered: Mapping[bytes, Page], priority: Priority) -> AsyncGenerator[Page, None]:
        """All traders, newest first, from a little ahead of now down to the first day."""
        spans = [(FIRST_DAY, self.now() + _DAY)]
        while spans:
            since, until = spans.pop()
            answer = await self._ask_traders(since, until, priority)
            if answer.oversized:
                middle = since + (until - since) / 2
                if until - since < _SHORTEST:
                    raise TransientError(f"the traders registered at {since.isoformat()} do not fit into one answer")
                spans += [(since, middle), (middle, until)]
                continue
            page, rest = await self._traders_page(answer, (since, until), remembered, priority)
            yield page
            if rest is not None:
                spans.append(rest)

    async def _ask_traders(self, since: datetime, until: datetime, priority: Priority) -> Answer:
        params = {"from": wire.query_time(since), "to": wire.query_time(until)}
        return await self.calls.get(wire.TRADERS, priority, params)

    async def _traders_page(
        self, answer: Answer, span: tuple[datetime, datetime], remembered: Mapping[bytes, Page], priority: Priority
    ) -> tuple[Page, tuple[datetime, datetime] | None]:
        """A chunk, and the span where the next one lies; None at the end."""
        records, more = wire.traders(self.calls.understood(answer))
        rest = _next_span(records, *span) if more else None
        page = remembered.get(answer.digest)
        if page is None:
            names = await self._names(priority, groups={record.get("groupName") for record in records})
            page = columns.ACCOUNTS.page(records, columns.account(names), answer.digest)
        return page, rest

    async def registered(self, since: datetime, priority: Priority) -> list[Texts]:
        """Traders registered from a moment on, as sent.

        Raises:
            TransientError: they could not be read to the end.
        """
        found: list[Texts] = []
        span: tuple[datetime, datetime] | None = (since, self.now() + _DAY)
        while span is not None:
            records, more = wire.traders(self.calls.understood(await self._ask_traders(*span, priority)))
            found += wire.readable(records)
            span = _next_span(records, *span) if more else None
        return found

    async def trader(self, login: int, priority: Priority) -> Texts | None:
        """One trader as sent; None when the platform says that it does not exist."""
        try:
            body = self.calls.understood(await self.calls.get(wire.trader(login), priority))
        except PermanentError as error:
            if error.status in (404, 410):
                return None
            raise
        return wire.one(body)

    def can_read_singly(self, resource: str) -> bool:
        """See platforms.base.SnapshotReader."""
        return resource == "accounts"

    async def single(self, resource: str, record_id: int, priority: Priority) -> Page | None:
        """See platforms.base.SnapshotReader."""
        del resource  # traders are all that can be read singly
        record = await self.trader(record_id, priority)
        if record is None:
            return None
        names = await self._names(priority, groups={record.get("groupName")})
        return columns.ACCOUNTS.page([record], columns.account(names))

    async def subaccounts(self, account_id: int, digits: int | None, priority: Priority) -> Page:
        """See platforms.base.SnapshotReader."""
        answer = await self.calls.get(wire.trader(account_id, "subaccounts"), priority)
        reading = columns.subaccounts(account_id, digits)
        return columns.SUBACCOUNT_LINES.page([wire.one(self.calls.understood(answer))], reading, answer.digest)

    # --- closing deals ----------------------------------------------------------------------------------------------

    async def closings(
        self, since: datetime, until: datetime, priority: Priority, account_id: int | None = None
    ) -> Closings:
        """See platforms.base.SnapshotReader."""
        records = await self._closed(since, until, priority, account_id)
        names = await self._names(priority, symbols={record.get("symbol") for record in records})
        page = columns.DEAL_LINES.page(records, columns.deal(names))
        return Closings(page, wire.closings_proof(records, since, until))

    async def closed(
        self, since: datetime, until: datetime, priority: Priority, account_id: int | None = None
    ) -> list[dict[str, str | None]]:
        """Closing deals of a span of at most two days, as sent.

        Raises:
            TransientError: they could not be read, all of them.
        """
        return wire.readable(await self._closed(since, until, priority, account_id))

    async def _closed(
        self, since: datetime, until: datetime, priority: Priority, account_id: int | None
    ) -> list[dict[str, str | None]]:
        params: dict[str, str | int] = {"from": wire.query_time(since), "to": wire.query_time(until)}
        if account_id is not None:
            params["login"] = account_id
        try:
            body, _ = await self._grid(wire.CLOSED_POSITIONS, priority, params)
        except _TooLargeError:
            if until - since < _SHORTEST:
                raise
        else:
            return wire.grid(body, wire.CLOSED_NEEDS)
        middle = since + (until - since) / 2
        return [
            *await self._closed(since, middle, priority, account_id),
            *await self._closed(middle, until, priority, account_id),
        ]

    async def open(self, account_id: int, priority: Priority) -> list[dict[str, str | None]]:
        """Open positions of an account, as sent."""
        body, _ = await self._grid(wire.OPEN_POSITIONS, priority, {"login": account_id})
        return wire.readable(wire.grid(body, wire.OPEN_NEEDS))

    # --- names ------------------------------------------------------------------------------------------------------

    async def _names(
        self,
        priority: Priority,
        *,
        groups: set[str | None] = frozenset(),  # type: ignore[assignment]
        symbols: set[str | None] = frozenset(),  # type: ignore[assignment]
    ) -> Names:
        """Ids by name; read anew when one is unknown and the last reading is a while ago."""
        known = self._known.names
        unknown = {*filter(None, groups)} - known.groups.keys() or {*filter(None, symbols)} - known.symbols.keys()
        if unknown and time.monotonic() - self._known.at > NAMES_AGE:
            by_name = {
                key: {
                    name: int(record["id"] or 0)
                    for record in await self._named(path, key, priority)
                    if (name := record.get("name"))
                }
                for path, key in ((wire.GROUPS, "traderGroup"), (wire.SYMBOLS, "symbol"))
            }
            self._known = _Known(Names(by_name["traderGroup"], by_name["symbol"]), time.monotonic())
        return self._known.names

    async def _named(self, path: str, key: str, priority: Priority) -> list[Texts]:
        records = wire.listed(self.calls.understood(await self.calls.get(path, priority)), key)
        return [record for record in records if (record.get("id") or "").isdecimal()]


def _next_span(records: list[dict[str, str | None]], since: datetime, until: datetime) -> tuple[datetime, datetime]:
    """Where the traders lie that a chunk left out.

    Chunks come newest first (inferred). The filter's end is exclusive and as fine as a millisecond, and a chunk may end among
    traders of one millisecond: the next one ends a millisecond later, and brings those again.

    Raises:
        TransientError: the list cannot be read on.
    """
    try:
        times = [wire.registered_at(record) for record in records]
    except ValueError as error:
        raise TransientError("a trader does not say when it was registered: the list cannot be read on") from error
    if not times:
        raise TransientError("the list of traders says that there is more, and holds nothing")
    if any(first < second for first, second in pairwise(times)):
        raise TransientError("the list of traders is not sorted newest first: nobody knows where it goes on")
    reached = datetime.fromtimestamp(0, UTC) + (times[-1] + 1) * _MILLISECOND
    if not since < reached < until:
        raise TransientError(
            f"more traders were registered within one millisecond than the platform lists at once: before {reached.isoformat()}"
        )
    return since, reached
