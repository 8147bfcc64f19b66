"""Looks at OMTrader for the effects of our writes: fresh reads, newest first, each complete or said not to be.

No list of this API can be filtered (reference, section 3), so a look reads from the newest record back to what the mirror holds
already, or to the end.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from decimal import Decimal
from itertools import pairwise
from typing import Any

import msgspec

from counterfoil.domain.attempt import Facts
from counterfoil.domain.errors import PermanentError, TransientError
from counterfoil.domain.paging import window
from counterfoil.domain.priority import Priority
from counterfoil.platforms.omtrader import envelope, wire
from counterfoil.platforms.omtrader.calls import Calls
from counterfoil.platforms.omtrader.transfers import Row, integer, number

# Rows may enter with ids that were drawn earlier: so many below the highest known id are read again (as the pulls do).
OVERLAP = 500
# A list that goes on after so many pages has no end that we could rely on.
MOST_PAGES = 5_000

_ROWS = msgspec.json.Decoder(list[dict[str, Any]], float_hook=Decimal)
_ROW = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)
_DEAL_SUMS = ("profit", "commission", "swap", "storage", "fee")
CREDIT = 3


@dataclass(frozen=True, slots=True)
class Looks:
    """The reads of one platform. `deals_path`: where its deals are listed; `page_size`: rows asked for at once."""

    calls: Calls
    deals_path: str
    page_size: int

    async def clients(self, above: int | None) -> list[Row]:
        """Clients with ids above a floor; all of them for None."""
        return await self._above(wire.PLACES["clients"].path, above)

    async def accounts(self, above: int | None) -> list[Row]:
        """Accounts with ids above a floor; all of them for None."""
        return await self._above(wire.PLACES["accounts"].path, above)

    async def deals(self, above: int) -> list[Row]:
        """Deals of all accounts with ids above a floor."""
        return await self._above(self.deals_path, above)

    async def transactions(self, account_id: int) -> list[Row]:
        """The whole transactions history of an account, newest first.

        Raises:
            TransientError: it could not be read to its end.
        """
        return await self._above(f"{wire.MANAGER}/accounts/{account_id}/transactions/history", None)

    async def account(self, account_id: int) -> Row | None:
        """One account; None when the platform says that it does not exist."""
        return await self._single(f"{wire.PLACES['accounts'].single}/{account_id}")

    async def client(self, client_id: int) -> Row | None:
        """One client; None when the platform says that it does not exist."""
        return await self._single(f"{wire.PLACES['clients'].single}/{client_id}")

    async def _single(self, path: str) -> Row | None:
        try:
            parsed = self.calls.understood(await self.calls.get(path, Priority.PROBE))
        except PermanentError as error:
            if error.status in (404, 410):
                return None
            raise
        return row_of(parsed)

    async def _above(self, path: str, floor: int | None) -> list[Row]:
        """What a list holds above a floor, newest first, with no gap in it.

        Raises:
            TransientError: it is not sorted, has a gap, never ends, or ends before it comes to what was known to be there.
        """
        found: dict[int, Row] = {}
        async with aclosing(self._pages(path)) as pages:
            async for page in pages:
                found |= page
                if floor and min(found) <= floor:
                    return [row for key, row in found.items() if key > floor]
        if floor:
            raise TransientError(f"{path}: the list ends before it comes to what was known to be there")
        return list(found.values())

    async def _pages(self, path: str) -> AsyncGenerator[dict[int, Row]]:
        """Pages by id, each but the first beginning at or before the last row read, to an end behind which nothing is."""
        read, size, seam = 0, self.page_size, None
        for _ in range(MOST_PAGES):
            wanted = window(read - 1, size)
            page = _by_id(path, await self._rows(path, wanted.page, wanted.limit))
            ids = list(page)
            if any(first <= second for first, second in pairwise(ids)):
                raise TransientError(f"{path}: the list is not sorted newest first")
            if read and (not ids or ids[0] < (seam or 0)):
                raise TransientError(f"{path}: the list changed while it was read")
            before, read = read, wanted.start + len(ids)
            if ids:
                yield page
                seam = ids[-1]
            if len(ids) >= wanted.limit:
                continue
            # The last page, or one that the server cut short: a single row tells.
            if not await self._rows(path, read + 1, 1):
                return
            if len(ids) < 2 or read <= before:
                raise TransientError(f"{path}: the list goes on behind its last page, but no page shows how")
            size = len(ids)
        raise TransientError(f"{path}: no end after {MOST_PAGES} pages")

    async def _rows(self, path: str, page: int, limit: int) -> list[Row]:
        params: dict[str, str | int] = {"page": page, "limit": limit, "sort_by": "id", "dir": "DESC"}
        return _rows_of(path, self.calls.understood(await self.calls.get(path, Priority.PROBE, params)))


def _by_id(path: str, rows: list[Row]) -> dict[int, Row]:
    by_id = {key: row for row in rows if (key := integer(row.get("id"))) is not None}
    if any(integer(row.get("id")) is None for row in rows):
        raise TransientError(f"{path}: a record without a readable id proves nothing absent")
    return by_id


def row_of(parsed: envelope.Envelope) -> Row:
    """The one record in an answer; numbers are exact.

    Raises:
        TransientError: there is none.
    """
    try:
        return _ROW.decode(parsed.data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise TransientError("the answer holds no record") from error


def _rows_of(path: str, parsed: envelope.Envelope) -> list[Row]:
    listed = envelope.records(parsed.data)
    if listed is None:
        raise TransientError(f"{path}: the answer holds no list")
    try:
        return list(_ROWS.decode(listed))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise TransientError(f"{path}: the list in the answer is not readable") from error


def username_of(account: Row) -> str:
    """An account's login name: in its `user` object or, on some servers, beside it."""
    user = account.get("user")
    name = user.get("username") if isinstance(user, dict) else None
    return str(name or account.get("username") or "")


def net(deals: list[Row], account_id: int, *, credit: bool) -> Decimal:
    """What some deals did to an account's credit, or to its balance, of which credits are no part."""
    own = (deal for deal in deals if deal.get("account_id") == account_id and (deal.get("side") == CREDIT) is credit)
    return sum((number(deal.get(name)) or Decimal(0) for deal in own for name in _DEAL_SUMS), Decimal(0))


def with_external_id(clients: list[Row], external_id: str) -> list[int]:
    """Ids of those that carry this external_id."""
    return [key for row in clients if row.get("external_id") == external_id and (key := integer(row.get("id")))]


def accounts_named(accounts: list[Row], username: str) -> list[tuple[int, int | None]]:
    """Id and owner of those of this login name, in any case of letters."""
    return [
        (key, integer(row.get("client_id")))
        for row in accounts
        if username_of(row).lower() == username.lower() and (key := integer(row.get("id")))
    ]


def nameless(accounts: list[Row], client_id: int | None) -> bool:
    """Whether one of these may be our client's and shows no login name: nobody can say that it is not ours."""
    return any(not username_of(row) and integer(row.get("client_id")) in (None, client_id) for row in accounts)


def account_facts(row: Row) -> Facts:
    """What is kept of an account that was made or recognised."""
    currency, digits = row.get("currency"), row.get("currency_digits")
    return {
        "currency": currency if isinstance(currency, str) and currency else None,
        "currency_digits": digits if isinstance(digits, int) else None,
        "username": username_of(row) or None,
    }
