"""Looks at OMTrader for the effects of our writes: fresh reads, newest first, each complete or said not to be.

No list of this API can be filtered (reference, section 3), so a look reads from the newest record back to what the mirror holds
already, or to the end.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec

from counterfoil.domain.errors import PermanentError, TransientError
from counterfoil.domain.priority import Priority
from counterfoil.platforms.omtrader import envelope, wire
from counterfoil.platforms.omtrader.calls import Calls
from counterfoil.platforms.omtrader.transfers import Row, integer, number

# Rows may enter with ids that were drawn earlier: so many below the highest known id are read again (as the pulls do).
OVERLAP = 500
# A list that goes on after so many pages has no end that we could rely on.
MOST_PAGES = 100_000

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
        found: dict[int, Row] = {}
        async with aclosing(self._pages(path)) as pages:
            async for page in pages:
                fresh = {key: row for row in page if (key := integer(row.get("id"))) is not None and key not in found}
                if len(fresh) < len({integer(row.get("id")) for row in page if integer(row.get("id")) not in found}):
                    raise TransientError(f"{path}: a record without a readable id proves nothing absent")
                if not fresh:
                    raise TransientError(f"{path}: the list repeats itself and has no end")
                found |= fresh
                if floor is not None and min(fresh) <= floor:
                    break
        return [row for key, row in found.items() if floor is None or key > floor]

    async def _pages(self, path: str) -> AsyncGenerator[list[Row]]:
        """Pages, newest first, until an empty one: a short page may be a server's own limit."""
        for number_ in range(1, MOST_PAGES):
            params: dict[str, str | int] = {"page": number_, "limit": self.page_size, "sort_by": "id", "dir": "DESC"}
            parsed = self.calls.understood(await self.calls.get(path, Priority.PROBE, params))
            rows = _rows_of(path, parsed)
            if not rows:
                return
            yield rows
        raise TransientError(f"{path}: no end after {MOST_PAGES} pages")


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


def net(deals: list[Row], account_id: int) -> Decimal:
    """What some deals did to an account's balance; credits are not part of it."""
    own = (deal for deal in deals if deal.get("account_id") == account_id and deal.get("side") != CREDIT)
    return sum((number(deal.get(name)) or Decimal(0) for deal in own for name in _DEAL_SUMS), Decimal(0))
