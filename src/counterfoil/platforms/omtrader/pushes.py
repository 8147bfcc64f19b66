"""OMTrader as the write path sees it: one request a wish, and the looks that find its effect (reference, sections 4, 5, 9).

Assumptions about what is not documented stand here and in `transfers`, and nowhere else:

- neither external_id nor a login name is unique or searchable, so both are looked for before anything is made;
- a PUT may clear what it does not name: with `put: merge` the record is read, changed and sent whole, without passwords and
  without kyc_status; with `put: partial` only what changes is sent;
- what is refused with 400, 404, 405, 410, 422 was surely not done; after 401, 403, 429 neither.
"""

from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from typing import Any, assert_never

import msgspec

from counterfoil.domain.attempt import (
    REFUSED,
    Absent,
    Accepted,
    Facts,
    Fence,
    Finding,
    Found,
    NotSent,
    Outcome,
    Rejected,
    Unclear,
    Unknown,
    Wrong,
    misconfigured,
)
from counterfoil.domain.errors import ConfigurationError, PausedError, PermanentError, TransientError
from counterfoil.domain.fields import FIELDS, OMTRADER
from counterfoil.domain.intent import Kind
from counterfoil.domain.money import fits, plain
from counterfoil.domain.outcome import Verdict
from counterfoil.domain.priority import Priority
from counterfoil.platforms.omtrader import wire
from counterfoil.platforms.omtrader.calls import Written
from counterfoil.platforms.omtrader.looks import OVERLAP, Looks, net, row_of, username_of
from counterfoil.platforms.omtrader.transfers import MoneyForm, Row, expected, integer, number
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
        ours = sorted({*await books.clients_with(wish.external_id), *_with_external_id(fresh, wish.external_id)})
        if len(ours) > 1:
            return Wrong(f"clients {ours} carry this external_id: settle on the platform which one is meant")
        if ours:
            return Found(ours[0])
        return Fence({"above": max([highest or 0, *(key for row in fresh if (key := integer(row.get("id"))))])})

    async def _prepare_account(self, wish: Wish, books: Books) -> Prepared:
        highest = await books.highest("accounts")
        fresh = await self._looks.accounts(highest)
        known = [*await books.accounts_named(wish.username or ""), *_accounts_named(fresh, wish.username or "")]
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
        return Found(account_id, _account_facts(account))

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
            case other:
                assert_never(other)

    # --- the attempt ----------------------------------------------------------------------------------------------

    async def send(self, wish: Wish, *, deadline: float) -> Outcome:
        """See platforms.writing.Writer."""
        try:
            return await self._send(wish, deadline)
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
                return self._made(await self._write("POST", CLIENTS, body, deadline), _client_facts)
            case Kind.ACCOUNT:
                body = {**wish.fields, **wish.passwords, "client_id": wish.client_id, "username": wish.username}
                return self._made(await self._write("POST", ACCOUNTS, body, deadline), _account_facts)
            case Kind.UPDATE_CLIENT:
                return await self._update(f"{CLIENTS}/{wish.client_id}", wish, deadline)
            case Kind.UPDATE_ACCOUNT | Kind.RESET_PASSWORD:
                return await self._update(f"{ACCOUNTS}/{wish.account_id}", wish, deadline)
            case Kind.ADOPT:
                return NotSent("an adoption writes nothing")
            case _:
                return await self._transfer(wish, deadline)

    async def _transfer(self, wish: Wish, deadline: float) -> Outcome:
        if wish.amount is None or (wish.digits is not None and not fits(wish.amount, wish.digits)):
            return Rejected(f"amount: has more than {wish.digits} digits after the point")
        path = f"{ACCOUNTS}/{wish.account_id}/money"
        written = await self._calls.write(
            "POST", path, self._form.body(wish), priority=Priority.MONEY, deadline=deadline
        )
        outcome = _unaccepted(written)
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
        return _unaccepted(written) or Accepted(record_id or 0)

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

    def _made(self, written: Written, facts: Callable[[Row], Facts]) -> Outcome:
        outcome = _unaccepted(written)
        if outcome is not None:
            return outcome
        row = _row(written)
        record_id = integer(row.get("id")) if row else None
        if row is None or record_id is None:
            return Unknown("the answer names no record")
        return Accepted(record_id, facts(row))

    # --- after ----------------------------------------------------------------------------------------------------

    async def probe(self, wish: Wish, fence: Facts, books: Books) -> Finding:
        """See platforms.writing.Writer."""
        looks: dict[Kind, Callable[[Wish, Facts, Books], Awaitable[Finding]]] = {
            Kind.CLIENT: self._probe_client,
            Kind.ACCOUNT: self._probe_account,
            Kind.UPDATE_CLIENT: self._probe_update,
            Kind.UPDATE_ACCOUNT: self._probe_update,
            # It cannot be read back, and setting the same password again changes nothing.
            Kind.RESET_PASSWORD: self._never_there,
            Kind.ADOPT: self._never_there,
        }
        try:
            return await looks.get(wish.kind, self._probe_transfer)(wish, fence, books)
        except (TransientError, PermanentError, ConfigurationError) as error:
            return Unclear(f"the look failed: {error}", failed=True)

    async def _probe_client(self, wish: Wish, fence: Facts, books: Books) -> Finding:
        above = _above(fence)
        fresh = await self._looks.clients(above)
        ours = sorted({*_with_external_id(fresh, wish.external_id), *await books.clients_with(wish.external_id)})
        evidence = {"clients_above": above, "read": len(fresh), "found": ours}
        if len(ours) > 1:
            return Wrong(f"made twice: clients {ours}", evidence)
        return Found(ours[0], evidence) if ours else Absent(evidence)

    async def _probe_account(self, wish: Wish, fence: Facts, books: Books) -> Finding:
        del books  # what was made lies beyond the fence, and is read fresh
        above = _above(fence)
        fresh = await self._looks.accounts(above)
        named = _accounts_named(fresh, wish.username or "")
        ours = sorted({key for key, client_id in named if client_id == wish.client_id})
        evidence = {"accounts_above": above, "read": len(fresh), "found": ours}
        if len(ours) > 1:
            return Wrong(f"made twice: accounts {ours}", evidence)
        if ours:
            return Found(ours[0], {**evidence, **await self._account_facts(ours[0])})
        if named:
            return Unclear(f"an account named {wish.username} of another client appeared", evidence)
        return Absent(evidence)

    async def _probe_update(self, wish: Wish, fence: Facts, books: Books) -> Finding:
        del fence, books
        of_client = wish.kind is Kind.UPDATE_CLIENT
        record_id = (wish.client_id if of_client else wish.account_id) or 0
        record = await (self._looks.client(record_id) if of_client else self._looks.account(record_id))
        if record is None:
            return Unclear(f"record {record_id} is gone")
        user = record.get("user")
        shown = {**record, **(user if isinstance(user, dict) and not of_client else {})}
        differing = sorted(name for name, value in wish.fields.items() if not _same(shown.get(name), value))
        return Absent({"differing": differing}) if differing else Found(record_id)

    async def _never_there(self, wish: Wish, fence: Facts, books: Books) -> Finding:
        del wish, fence, books
        return Absent({})

    async def _probe_transfer(self, wish: Wish, fence: Facts, books: Books) -> Finding:
        account_id = wish.account_id or 0
        highest = await books.highest("deals")
        if highest is None:
            return Unclear("the deals have not been mirrored completely yet")
        floor = max(min(highest, _deal(fence, highest)) - OVERLAP, 0)
        before = await self._looks.account(account_id)
        history = await self._looks.transactions(account_id)
        deals = await self._looks.deals(floor)
        after = await self._looks.account(account_id)
        if before is None or after is None:
            return Unclear(f"account {account_id} does not exist on the platform")
        evidence: dict[str, object] = {"transactions_read": len(history), "deals_above": floor}
        ours = [[row for row in rows if self._form.carries(row, wish)] for rows in (history, deals)]
        if any(ours):
            return self._found(wish, ours, evidence)
        booked = [
            await books.booked(account_id, until=floor, credit=credit) + net(deals, account_id, credit=credit)
            for credit in (False, True)
        ]
        return self._absent(wish, history, floor, (before, booked, after), evidence)

    def _found(self, wish: Wish, ours: list[list[Row]], evidence: dict[str, object]) -> Finding:
        ids = [sorted({key for row in rows if (key := integer(row.get("id")))}) for rows in ours]
        evidence |= {"in_history": ids[0], "in_deals": ids[1]}
        rows = ours[0] or ours[1]
        told = {plain(amount) if (amount := self._form.signed(row)) is not None else "none" for row in rows}
        if max(map(len, ids)) > 1:
            return Wrong(f"our reference stands {max(map(len, ids))} times in the books", evidence)
        if told != {plain(expected(wish))}:
            return Wrong(f"asked for {plain(expected(wish))}, the books say {', '.join(sorted(told))}", evidence)
        account_id = rows[0].get("account_id", wish.account_id)
        if account_id != wish.account_id or not (ids[0] or ids[1]):
            return Wrong(f"our reference stands in the books of account {account_id}", evidence)
        return Found((ids[0] or ids[1])[0], evidence)

    def _absent(
        self,
        wish: Wish,
        history: list[Row],
        floor: int,
        sums: tuple[Row, list[Decimal], Row],
        evidence: dict[str, object],
    ) -> Finding:
        before, booked, after = sums
        evidence |= {"balance": str(after.get("balance")), "sum_of_deals": str(booked[0])}
        evidence |= {"credit": str(after.get("credit")), "sum_of_credits": str(booked[1])}
        alike = [
            row.get("id")
            for row in history
            if (integer(row.get("id")) or 0) > floor
            and self._form.signed(row) == expected(wish)
            and not self._form.carries_another(row, wish)
        ]
        if alike:
            return Unclear(f"a movement of this amount without a reference of ours: transaction {alike[0]}", evidence)
        for name, total in zip(("balance", "credit"), booked, strict=True):
            told = after.get(name)
            if str(before.get(name)) != str(told):
                return Unclear(f"the {name} moved while looking", evidence)
            if (name in after or name == "balance") and _cut(number(told), after) != _cut(total, after):
                return Unclear(f"the {name} {told} is not the sum of the account's deals, {total}", evidence)
        return Absent(evidence)

    async def _account_facts(self, account_id: int) -> Facts:
        account = await self._looks.account(account_id)
        return _account_facts(account) if account else {}


def _unaccepted(written: Written) -> Outcome | None:
    """The outcome of an attempt that was not plainly accepted; None when it was."""
    match written.verdict:
        case Verdict.ACCEPTED:
            return None
        case Verdict.REJECTED:
            return Rejected(written.reason)
        case Verdict.NOT_SENT:
            return NotSent(written.reason, written.retry_after)
        case Verdict.LOG_IN | Verdict.CONFIGURATION_FAULT:
            return NotSent(f"{written.reason}: the Manager account may not do this", REFUSED, held=True)
        case Verdict.CONFLICT:
            return Unknown(f"{written.reason}: something of the same name exists")
        case _:
            return Unknown(written.reason or "the answer could not be read")


def _row(written: Written) -> Row | None:
    try:
        return row_of(written.envelope) if written.envelope else None
    except TransientError:
        return None


def _above(fence: Facts) -> int | None:
    above = fence.get("above")
    return above if isinstance(above, int) else None


def _deal(fence: Facts, default: int) -> int:
    deal = fence.get("deal")
    return deal if isinstance(deal, int) else default


def _with_external_id(clients: list[Row], external_id: str) -> list[int]:
    return [key for row in clients if row.get("external_id") == external_id and (key := integer(row.get("id")))]


def _accounts_named(accounts: list[Row], username: str) -> list[tuple[int, int | None]]:
    return [
        (key, integer(row.get("client_id")))
        for row in accounts
        if username_of(row).lower() == username.lower() and (key := integer(row.get("id")))
    ]


def _client_facts(row: Row) -> Facts:
    del row  # the id is all that the books need; the rest is personal
    return {}


def _account_facts(row: Row) -> Facts:
    currency, digits = row.get("currency"), row.get("currency_digits")
    return {
        "currency": currency if isinstance(currency, str) and currency else None,
        "currency_digits": digits if isinstance(digits, int) else None,
        "username": username_of(row) or None,
    }


def _cut(amount: Decimal | None, account: Row) -> Decimal | None:
    """An amount at the digits of the account's currency: some servers write what binary floats made of it."""
    digits = account.get("currency_digits")
    return amount if amount is None or not isinstance(digits, int) else round(amount, digits)


def _writable(record: Row | None, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: record[name] for name in names if record and record.get(name) is not None}


def _same(shown: object, wanted: object) -> bool:
    return shown == wanted or (shown in (None, "") and wanted in (None, ""))
