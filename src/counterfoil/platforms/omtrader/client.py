"""OMTrader as the pulls see it: pages of records, read with one session under one budget."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import msgspec

from counterfoil.domain.errors import PermanentError, TransientError
from counterfoil.domain.login import LoginFacts
from counterfoil.domain.page import ByMark, Page
from counterfoil.domain.priority import Priority
from counterfoil.platforms.base import Binding, Budget, Query, Vault
from counterfoil.platforms.http import Answer, Http
from counterfoil.platforms.omtrader import envelope, wire
from counterfoil.platforms.omtrader.calls import Calls
from counterfoil.platforms.omtrader.session import SessionKeeper
from counterfoil.platforms.rows import RowFormat, is_too_much, opening

if TYPE_CHECKING:
    from counterfoil.platforms.omtrader.pushes import OMTraderWriter
    from counterfoil.platforms.omtrader.stream import OMTraderStream
    from counterfoil.platforms.omtrader.transfers import MoneyForm


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """Where a server is and who we are there; `timeout` in seconds."""

    base_url: str
    username: str
    password: str = field(repr=False)
    timeout: float
    ca_file: Path | None = None
    deals_path: str = "/api/v1/trader/deals"


class OMTrader:
    """See platforms.base.Reader."""

    CHECKED: ClassVar = ("accounts", "deals")
    """Lists that tell whether a manager may read what is mirrored."""

    def __init__(self, connection: Connection, budget: Budget, vault: Vault, binding: Binding | None = None) -> None:
        self._reading = asyncio.Lock()
        self._http = Http(connection.base_url, timeout=connection.timeout, ca_file=connection.ca_file)
        self._connection = connection
        self._budget = budget
        self._sessions = SessionKeeper(
            self._http, budget, vault, credentials=(connection.username, connection.password), binding=binding
        )
        self.calls = Calls(self._http, budget, self._sessions)
        deals = wire.Place(connection.deals_path, connection.deals_path, "deals")
        self._places = wire.PLACES | {"deals": deals}

    def writer(self, form: "MoneyForm", *, page_size: int, merges: bool) -> "OMTraderWriter":
        """The same connection as the write path sees it."""
        from counterfoil.platforms.omtrader.looks import Looks  # noqa: PLC0415 - only loaded by who writes
        from counterfoil.platforms.omtrader.pushes import OMTraderWriter  # noqa: PLC0415

        looks = Looks(self.calls, self._places["deals"].path, page_size)
        return OMTraderWriter(looks, form, merges=merges)

    def stream(self, url: str) -> "OMTraderStream":
        """The same session as the event stream at `url`, ws:// or wss:// and the host."""
        from counterfoil.platforms.omtrader.stream import Line, OMTraderStream  # noqa: PLC0415 - only loaded by who listens

        line = Line(url=url, timeout=self._connection.timeout, ca_file=self._connection.ca_file)
        return OMTraderStream(line, self._http, self._budget, self._sessions)

    async def close(self) -> None:
        """Close every connection."""
        await self._http.close()

    @property
    def trouble(self) -> str | None:
        """Why nobody is logged in; None when somebody is."""
        return self._sessions.trouble

    async def log_in(self) -> LoginFacts:
        """Make sure that there is a session.

        Raises:
            ConfigurationError: the platform refuses us, or is no OMTrader server.
            TransientError: the platform did not answer properly.
        """
        return (await self._sessions.current()).facts

    async def sees(self, resource: str) -> bool:
        """Whether the manager may read a list, and sees anything in it."""
        return (await self.page(resource, Query(limit=1))).rows > 0

    async def page(self, resource: str, query: Query) -> Page:
        """See platforms.base.Reader."""
        place = self._places[resource]
        return await self._list(place.path, wire.FORMATS[place.table], query)

    async def of_group(self, resource: str, group_id: int, query: Query) -> Page:
        """See platforms.base.Reader."""
        rows = wire.group_symbols(group_id) if resource == "group_symbols" else wire.commissions(group_id)
        return await self._list(f"{wire.MANAGER}/groups/{group_id}/{wire.OF_GROUP[resource]}", rows, query)

    async def transactions(self, account_id: int, currency: str | None, query: Query) -> Page:
        """See platforms.base.Reader."""
        path = f"{wire.MANAGER}/accounts/{account_id}/transactions/history"
        return await self._list(path, wire.transactions(account_id, currency), query)

    def can_read_singly(self, resource: str) -> bool:
        """See platforms.base.Reader."""
        place = self._places.get(resource)
        return place is not None and bool(place.single)

    async def single(self, resource: str, record_id: int, priority: Priority) -> Page | None:
        """See platforms.base.Reader."""
        place = self._places[resource]
        try:
            answer = await self.calls.get(f"{place.single}/{record_id}", priority)
            data = self.calls.understood(answer).data
        except PermanentError as error:
            if error.status in (404, 410):
                return None
            raise
        if opening(data) != b"{":
            raise TransientError(f"{resource} {record_id}: the answer holds no record")
        return _page(lambda: wire.FORMATS[place.table].read(b"[" + bytes(data) + b"]", answer.digest))

    async def _list(self, path: str, rows: RowFormat, query: Query) -> Page:
        params: dict[str, str | int] = {
            "page": query.page,
            "limit": query.limit,
            "sort_by": "id",
            "dir": "DESC" if query.descending else "ASC",
        }
        answer = await self.calls.get(path, query.priority, params)
        digest = b"" if query.remembered is None else answer.digest
        remembered = (query.remembered or {}).get(digest)
        if remembered is not None and answer.is_good:
            return remembered
        async with self._reading:
            # Of many answers that came at once none is read before others had their turn: rows wait to be sent to the database.
            await asyncio.sleep(0)
            page = _plain(rows, answer, digest, query.known) if answer.is_good else None
        if page is not None:
            return page
        listed = envelope.records(self.calls.understood(answer).data)
        if listed is None:
            raise TransientError(f"{path}: the answer holds no list")
        return _page(lambda: rows.read(listed, digest))


def _plain(rows: RowFormat, answer: Answer, digest: bytes, known: ByMark | None) -> Page | None:
    """The page that an answer is, when nothing in it is out of the ordinary."""
    if known is None or not rows.has_marks:
        return rows.plain(answer.body, envelope.LISTED, digest)
    texts = None if is_too_much(answer.body) else envelope.LISTED.texts(answer.body)
    return None if texts is None else _page(lambda: rows.sift(texts, digest, known))


def _page(read: Callable[[], Page]) -> Page:
    try:
        return read()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise TransientError(f"the list in the answer is not readable: {type(error).__name__}") from error
