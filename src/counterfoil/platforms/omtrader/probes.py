"""Looks for the effects of attempts on OMTrader: what counts as found, as absent, as wrong (reference, sections 5.9 and 9)."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal

from counterfoil.domain.attempt import Absent, Facts, Finding, Found, Unclear, Wrong
from counterfoil.domain.errors import ConfigurationError, PermanentError, TransientError
from counterfoil.domain.intent import Kind
from counterfoil.domain.money import plain
from counterfoil.platforms.omtrader.looks import (
    OVERLAP,
    Looks,
    account_facts,
    accounts_named,
    nameless,
    net,
    with_external_id,
)
from counterfoil.platforms.omtrader.transfers import MoneyForm, Row, expected, integer, number
from counterfoil.platforms.writing import Books, Wish


@dataclass(frozen=True, slots=True)
class Probes:
    """One look each, at one platform."""

    _looks: Looks
    _form: MoneyForm

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
        ours = sorted({*with_external_id(fresh, wish.external_id), *await books.clients_with(wish.external_id)})
        evidence = {"clients_above": above, "read": len(fresh), "found": ours}
        if len(ours) > 1:
            return Wrong(f"made twice: clients {ours}", evidence)
        if ours:
            return Found(ours[0], evidence)
        alike = [row.get("id") for row in fresh if _resembles(row, wish)]
        return Unclear(f"a new client resembles ours: client {alike[0]}", evidence) if alike else Absent(evidence)

    async def _probe_account(self, wish: Wish, fence: Facts, books: Books) -> Finding:
        del books  # what was made lies beyond the fence, and is read fresh
        above = _above(fence)
        fresh = await self._looks.accounts(above)
        named = accounts_named(fresh, wish.username or "")
        ours = sorted({key for key, client_id in named if client_id == wish.client_id})
        evidence = {"accounts_above": above, "read": len(fresh), "found": ours}
        if len(ours) > 1:
            return Wrong(f"made twice: accounts {ours}", evidence)
        if ours:
            return Found(ours[0], {**evidence, **await self._facts(ours[0])})
        if nameless(fresh, wish.client_id):
            return Unclear(
                "a new account of this client shows no login name: it may be the one that is wanted", evidence
            )
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
        if _deal(fence, highest) == 0 and highest > OVERLAP:
            return Unclear("no deals were mirrored when it was sent, so that nobody knows behind which one to look")
        floor = max(min(highest, _deal(fence, highest)) - OVERLAP, 0)
        before = await self._looks.account(account_id)
        if before is None:
            return Unclear(f"account {account_id} does not exist on the platform")
        history = await self._looks.transactions(account_id)
        deals = await self._looks.deals(floor)
        after = await self._looks.account(account_id)
        if after is None:
            return Unclear(f"account {account_id} does not exist on the platform")
        evidence: dict[str, object] = {"transactions_read": len(history), "deals_above": floor}
        ours = [[row for row in rows if self._form.carries(row, wish)] for rows in (history, deals)]
        if any(ours):
            return self._found(wish, ours, evidence)
        booked = [
            await books.booked(account_id, until=floor, credit=credit) + net(deals, account_id, credit=credit)
            for credit in (False, True)
        ]
        # Where nothing was noted before an attempt its effect may lie anywhere.
        since = floor if isinstance(fence.get("deal"), int) else 0
        return self._absent(wish, history, since, (before, booked, after), evidence)

    def _found(self, wish: Wish, ours: list[list[Row]], evidence: dict[str, object]) -> Finding:
        ids = [sorted({key for row in rows if (key := integer(row.get("id")))}) for rows in ours]
        evidence |= {"in_history": ids[0], "in_deals": ids[1]}
        rows = ours[0] or ours[1]
        told = {plain(amount) if (amount := self._form.signed(row)) is not None else "none" for row in rows}
        if "none" in told or not all(ids[n] or not rows_ for n, rows_ in enumerate(ours)):
            return Unclear("our reference stands in the books, in a row whose amount or id cannot be read", evidence)
        if max(map(len, ids)) > 1:
            return Wrong(f"our reference stands {max(map(len, ids))} times in the books", evidence)
        if told != {plain(expected(wish))}:
            return Wrong(f"asked for {plain(expected(wish))}, the books say {', '.join(sorted(told))}", evidence)
        account_id = rows[0].get("account_id", wish.account_id)
        if account_id != wish.account_id:
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
            shown = name in after or name == "balance" or wish.kind in (Kind.CREDIT_IN, Kind.CREDIT_OUT)
            if shown and _cut(number(told), after) != _cut(total, after):
                return Unclear(f"the {name} {told} is not the sum of the account's deals, {total}", evidence)
        return Absent(evidence)

    async def _facts(self, account_id: int) -> Facts:
        account = await self._looks.account(account_id)
        return account_facts(account) if account else {}


def _resembles(client: Row, wish: Wish) -> bool:
    """Whether a client may be ours although its external_id is not: cut, changed in case, made a number; or the same e-mail."""
    shown = str(client.get("external_id") or "").strip().lower()
    email, ours = client.get("email"), wish.fields.get("email")
    same_email = isinstance(email, str) and isinstance(ours, str) and bool(ours) and email.lower() == ours.lower()
    return same_email or (len(shown) > 2 and wish.external_id.strip().lower().startswith(shown))


def _above(fence: Facts) -> int | None:
    above = fence.get("above")
    return above if isinstance(above, int) else None


def _deal(fence: Facts, default: int) -> int:
    deal = fence.get("deal")
    return deal if isinstance(deal, int) else default


def _cut(amount: Decimal | None, account: Row) -> Decimal | None:
    """An amount at the digits of the account's currency: some servers write what binary floats made of it."""
    digits = account.get("currency_digits")
    return amount if amount is None or not isinstance(digits, int) else round(amount, digits)


def _same(shown: object, wanted: object) -> bool:
    return shown == wanted or (shown in (None, "") and wanted in (None, ""))
