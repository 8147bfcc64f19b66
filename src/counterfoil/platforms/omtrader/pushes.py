"""OMTrader as the write path sees it: one request a wish, and the looks that find its effect (reference, sections 4, 5, 9).

Assumptions about what is not documented stand here and in `transfers`, and nowhere else:

- neither external_id nor a login name is unique or searchable, so both are looked for before anything is made;
- a PUT may clear what it does not name: with `put: merge` the record is read, changed and sent whole, without passwords and
  without kyc_status; with `put: partial` only what changes is sent;
- what is refused with 400, 404, 405, 410, 422 was surely not done; after 401, 403, 429 neither.
"""

from collections.abc import Mapping
from typing import Any, assert_never

import msgspec

from counterfoil.domain.attempt import (
    Absent,
    Accepted,
    Doubtful,
    Facts,
    Fence,
    Finding,
    Found,
    Mismatch,
    NotSent,
    Outcome,
    Rejected,
    Repeat,
    Unclear,
    Unknown,
    Wrong,
    misconfigured,
)
from counterfoil.domain.errors import ConfigurationError, PausedError, PermanentError, TransientError
from counterfoil.domain.fields import FIELDS, OMTRADER
from counterfoil.domain.intent import Kind
from counterfoil.domain.money import fits
from counterfoil.domain.priority import Priority
from counterfoil.platforms.omtrader import wire
from counterfoil.platforms.omtrader.calls import Written
from counterfoil.platforms.omtrader.looks import (
    Looks,
    account_facts,
    accounts_named,
    nameless,
    row_of,
    with_external_id,
)
from counterfoil.platforms.omtrader.probes import Probes
from counterfoil.platforms.omtrader.transfers import MoneyForm, Row, integer
from counterfoil.platforms.outcomes import discreet, unaccepted
from counterfoil.platforms.writing import Books, Prepared, Wish

CLIENTS, ACCOUNTS = wire.PLACES["clients"].path, wire.PLACES["accounts"].path
_PREPARED = frozenset({Kind.CLIENT, Kind.ACCOUNT, Kind.ADOPT})
# What a whole record is sent with when it is changed; ids and money are the platform's own.
_WHOLE_CLIENT = tuple(f.name for f in FIELDS if (f.kind, f.entity) == (OMTRADER, "client") and f.name != "kyc_status")
_WHOLE_ACCOUNT = tuple(f.name for f in FIELDS if (f.kind, f.entity) == (OMTRADER, "account"))


class OMTraderWriter:
    """See platforms.writing.Writer."""

    def __init__(self, looks: Looks, form: MoneyForm, *, merges: bool) -> None:
        """`merges`: whether a change is sent as a whole record; see `put` of the settings."""
        self._looks = looks
        self._form = form
        self._merges = merges
        self._calls = looks.calls
        self._probes = Probes(looks, form)

    @property
    def shows_references(self) -> bool:
        """See platforms.writing.Writer."""
        return True

    def prepares(self, kind: Kind) -> bool:
        """See platforms.writing.Writer."""
        return kind in _PREPARED

    # --- before ---------------------------------------------------------------------------------------------------

    async def prepare(self, wish: Wish, books: Books) -> Prepared:
        """See platforms.writing.Writer."""
        match wish.kind:
            case Kind.CLIENT:
                return await self._prepare_client(wish, books)
            case Kind.ACCOUNT:
                return await self._prepare_account(wish, books)
            case Kind.ADOPT:
                return await self._adopt(wish)
            case _:
                return await self._look_first(wish, books)

    async def _prepare_client(self, wish: Wish, books: Books) -> Prepared:
        highest = await books.highest("clients")
        fresh = await self._looks.clients(highest)
        mirrored = [
            key for key in await books.clients_with(wish.external_id) if await self._looks.client(key) is not None
        ]
        ours = sorted({*mirrored, *with_external_id(fresh, wish.external_id)})
        if len(ours) > 1:
            return Wrong(f"clients {ours} carry this external_id: settle on the platform which one is meant")
        if ours:
            return Found(ours[0])
        return Fence({"above": max([highest or 0, *(key for row in fresh if (key := integer(row.get("id"))))])})

    async def _prepare_account(self, wish: Wish, books: Books) -> Prepared:
        highest = await books.highest("accounts")
        fresh = await self._looks.accounts(highest)
        if nameless(fresh, wish.client_id):
            raise TransientError("a new account of this client shows no login name: it may be the one that is wanted")
        known = [*await books.accounts_named(wish.username or ""), *accounts_named(fresh, wish.username or "")]
        ours = sorted({key for key, client_id in known if client_id == wish.client_id})
        if ours and wish.again:
            return Found(ours[0], await self._account_facts(ours[0]))
        if known:
            return Rejected(f"username {wish.username} exists on the platform; see crm.adopt_account")
        return Fence({"above": max([highest or 0, *(key for row in fresh if (key := integer(row.get("id"))))])})

    async def _adopt(self, wish: Wish) -> Found | Rejected:
        account_id = wish.account_id or 0
        account = await self._looks.account(account_id)
        if account is None:
            return Rejected(f"account {account_id} does not exist on the platform")
        if account.get("client_id") != wish.client_id:
            return Rejected(
                f"account {account_id} belongs to client {account.get('client_id')}, not to {wish.client_id}"
            )
        return Found(account_id, account_facts(account))

    async def _look_first(self, wish: Wish, books: Books) -> Prepared:
        """Before the next attempt at what may have been done in a life that the database forgot."""
        match await self.probe(wish, {}, books):
            case Found() as found:
                return found
            case Absent(evidence=evidence):
                return Fence(evidence)
            case Wrong() as wrong:
                return wrong
            case Unclear(reason=reason):
                raise TransientError(reason)
            case Doubtful() as doubtful:
                return doubtful
            case Repeat():
                return Fence()
            case other:
                assert_never(other)

    # --- the attempt ----------------------------------------------------------------------------------------------

    async def send(self, wish: Wish, *, deadline: float) -> Outcome:
        """See platforms.writing.Writer."""
        try:
            return discreet(await self._send(wish, deadline), wish)
        except PausedError as error:
            return NotSent(str(error), error.retry_after, held=True)
        except ConfigurationError as error:
            return misconfigured(error)
        except (TransientError, PermanentError) as error:
            # Reads alone raise: of the record that is to be changed. What a write is answered is an outcome.
            return NotSent(str(error), getattr(error, "retry_after", None))

    async def _send(self, wish: Wish, deadline: float) -> Outcome:
        match wish.kind:
            case Kind.CLIENT:
                body = {**wish.fields, "external_id": wish.external_id}
                return _made(wish, await self._write("POST", CLIENTS, body, deadline))
            case Kind.ACCOUNT:
                body = {**wish.fields, **wish.passwords, "client_id": wish.client_id, "username": wish.username}
                return _made(wish, await self._write("POST", ACCOUNTS, body, deadline))
            case Kind.UPDATE_CLIENT:
                return await self._update(f"{CLIENTS}/{wish.client_id}", wish, deadline)
            case Kind.UPDATE_ACCOUNT | Kind.RESET_PASSWORD:
                return await self._update(f"{ACCOUNTS}/{wish.account_id}", wish, deadline)
            case Kind.ADOPT | Kind.LINK:
                return NotSent("nothing is written for this")
            case _:
                return await self._transfer(wish, deadline)

    async def _transfer(self, wish: Wish, deadline: float) -> Outcome:
        if wish.digits is None:
            return NotSent(
                "the digits of the account's currency are not known yet: neither its group nor the account tells them"
            )
        if wish.amount is None or not fits(wish.amount, wish.digits):
            return Rejected(f"amount: has more than {wish.digits} digits after the point")
        path = f"{ACCOUNTS}/{wish.account_id}/money"
        written = await self._calls.write(
            "POST", path, self._form.body(wish), priority=Priority.MONEY, deadline=deadline
        )
        outcome = unaccepted(written)
        if outcome is not None:
            return outcome
        row = _row(written)
        return Unknown("the answer holds no record") if row is None else self._form.judge(wish, row)

    async def _update(self, path: str, wish: Wish, deadline: float) -> Outcome:
        changes = {**wish.fields, **wish.passwords}
        if self._merges:
            changes = {**await self._whole(wish), **changes}
        written = await self._write("PUT", path, changes, deadline)
        record_id = wish.client_id if wish.kind is Kind.UPDATE_CLIENT else wish.account_id
        return unaccepted(written) or Accepted(record_id or 0)

    async def _whole(self, wish: Wish) -> dict[str, Any]:
        if wish.kind is Kind.UPDATE_CLIENT:
            client = await self._looks.client(wish.client_id or 0)
            return _writable(client, (*_WHOLE_CLIENT, "external_id"))
        account = await self._looks.account(wish.account_id or 0)
        user = account.get("user") if account else None
        return {**_writable(account, (*_WHOLE_ACCOUNT, "client_id")), **_writable(user, _WHOLE_ACCOUNT)}

    async def _write(self, method: str, path: str, body: Mapping[str, object], deadline: float) -> Written:
        encoded = msgspec.json.encode(body)
        return await self._calls.write(method, path, encoded, priority=Priority.OPEN, deadline=deadline)

    async def probe(self, wish: Wish, fence: Facts, books: Books) -> Finding:
        """See platforms.writing.Writer."""
        return await self._probes.probe(wish, fence, books)

    async def _account_facts(self, account_id: int) -> Facts:
        account = await self._looks.account(account_id)
        return account_facts(account) if account else {}


def _made(wish: Wish, written: Written) -> Outcome:
    """What the answer to a creation proves: an id, and of a client that it is ours."""
    outcome = unaccepted(written)
    if outcome is not None:
        return outcome
    row = _row(written)
    record_id = integer(row.get("id")) if row else None
    if row is None or record_id is None:
        return Unknown("the answer names no record")
    if wish.kind is Kind.CLIENT:
        if row.get("external_id", wish.external_id) != wish.external_id:
            return Mismatch("the client was made with another external_id than asked for", record_id)
        return Accepted(record_id)
    return Accepted(record_id, account_facts(row))


def _row(written: Written) -> Row | None:
    try:
        return row_of(written.envelope) if written.envelope else None
    except TransientError:
        return None


def _writable(record: Row | None, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: record[name] for name in names if record and record.get(name) is not None}
