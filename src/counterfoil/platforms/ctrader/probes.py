"""Looks for the effects of attempts on cTrader, which shows no history: by e-mail, by marker, by repeating, by arithmetic.

A user is got or made by e-mail and a password set again is the same password, so both are simply done again; so is a link, whose
answer tells what is there. An account is found by our marker in its `description`. Of money only the account's balance tells,
and whatever it leaves open is for a person.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from counterfoil.domain.arithmetic import Explanation, Movement, explain
from counterfoil.domain.attempt import Absent, Doubtful, Facts, Finding, Found, Repeat, Unclear, Wrong
from counterfoil.domain.errors import ConfigurationError, PermanentError, TransientError
from counterfoil.domain.intent import Kind
from counterfoil.domain.priority import Priority
from counterfoil.domain.references import recognise
from counterfoil.platforms.ctrader import traders
from counterfoil.platforms.ctrader.client import FIRST_DAY, CTrader
from counterfoil.platforms.ctrader.ledger import Ledger, Note, Reading, missing_deals, noted, untouched
from counterfoil.platforms.ctrader.tokens import Texts, whole
from counterfoil.platforms.writing import Books, Wish

OUTWARD = frozenset({Kind.WITHDRAW, Kind.CREDIT_OUT})
CREDITS = frozenset({Kind.CREDIT_IN, Kind.CREDIT_OUT})
# An account made by us is among those registered since this long before its attempt: clocks differ.
EARLIER = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Probes:
    """One look each, at one platform."""

    client: CTrader

    async def probe(self, wish: Wish, fence: Facts, books: Books) -> Finding:
        """See platforms.writing.Writer."""
        del books  # what was made lies beyond the fence, and is read fresh
        looks: dict[Kind, Callable[[Wish, Facts], Awaitable[Finding]]] = {
            Kind.CLIENT: self._again,
            Kind.LINK: self._again,
            Kind.RESET_PASSWORD: self._again,
            Kind.ACCOUNT: self._probe_account,
            Kind.UPDATE_ACCOUNT: self._probe_update,
            Kind.UPDATE_CLIENT: self._nothing,
            Kind.ADOPT: self._nothing,
        }
        try:
            return await looks.get(wish.kind, self._probe_money)(wish, fence)
        except (TransientError, PermanentError, ConfigurationError) as error:
            return Unclear(f"the look failed: {error}", failed=True)

    async def _again(self, wish: Wish, fence: Facts) -> Finding:
        del wish, fence
        return Repeat()

    async def _nothing(self, wish: Wish, fence: Facts) -> Finding:
        del wish, fence
        return Absent({})

    async def _probe_account(self, wish: Wish, fence: Facts) -> Finding:
        since = fence.get("since")
        begin = datetime.fromisoformat(since) if isinstance(since, str) else FIRST_DAY
        fresh = await self.client.registered(begin, Priority.PROBE)
        ours = sorted({login for record in fresh if is_marked(record, wish) and (login := whole(record, "login"))})
        evidence = {"registered_since": begin.isoformat(), "read": len(fresh), "found": ours}
        if len(ours) > 1:
            return Wrong(f"made twice: accounts {ours}", evidence)
        if ours:
            made = next(record for record in fresh if whole(record, "login") == ours[0])
            return Found(ours[0], {**evidence, **account_facts(made)})
        alike = [record.get("login") for record in fresh if _resembles(record, wish)]
        if alike:
            return Unclear(f"a new account resembles ours and carries no marker: account {alike[0]}", evidence)
        return Absent(evidence)

    async def _probe_update(self, wish: Wish, fence: Facts) -> Finding:
        del fence
        login = wish.account_id or 0
        record = await self.client.trader(login, Priority.PROBE)
        if record is None:
            return Unclear(f"account {login} is gone")
        shown = {**record, **traders.contact_of(record)}
        differing = sorted(name for name, value in wish.fields.items() if shown.get(name) != traders.as_text(value))
        return Absent({"differing": differing}) if differing else Found(login)

    # --- money --------------------------------------------------------------------------------------------------------

    async def _probe_money(self, wish: Wish, fence: Facts) -> Finding:
        note, login = noted(fence), wish.account_id or 0
        if note is None:
            return Doubtful("nothing was noted before it was sent, and this platform shows no history", dict(fence))
        ledger = Ledger(self.client)
        first = await ledger.read(login, note)
        second = await ledger.read(login, note)
        if first is None or second is None:
            return Doubtful(f"account {login} does not exist on the platform any more", {"noted": dict(fence)})
        evidence = _shown(wish, note, second)
        if (first.balance, first.credit, first.deals.keys()) != (second.balance, second.credit, second.deals.keys()):
            return Unclear("the account moved while looking", evidence)
        if short := missing_deals(note, second):
            return Unclear(f"position {short[0]} was closed, and its deal is not listed yet", evidence)
        explanation = explain(_movement(wish, note, second))
        if explanation is Explanation.NOT_APPLIED and not untouched(note, second):
            return Unclear(
                "the balance is what it was, but the account was changed meanwhile: booked, and back?", evidence
            )
        return self._concluded(wish, explanation, evidence)

    def _concluded(self, wish: Wish, explanation: Explanation, evidence: dict[str, object]) -> Finding:
        what = "credit" if wish.kind in CREDITS else "balance"
        match explanation:
            case Explanation.NOT_APPLIED:
                return Absent(evidence)
            case Explanation.APPLIED if wish.kind is Kind.WITHDRAW:
                # Arithmetic alone never lets a payout go.
                return Doubtful(f"the {what} moved as if it had been done; a person must see it in the books", evidence)
            case Explanation.APPLIED:
                return Found(None, evidence)
            case Explanation.BOTH_WAYS:
                return Doubtful(f"deals of the same amount: the {what} could have moved either way", evidence)
            case _:
                return Unclear(f"the {what} moved by something that is neither ours nor a closing deal", evidence)


def expected(wish: Wish) -> Decimal:
    """The amount as the balance shows it: money in is positive."""
    amount = wish.amount or Decimal(0)
    return -amount if wish.kind in OUTWARD else amount


def _fresh(note: Note, reading: Reading) -> dict[int, Decimal]:
    return {key: deal.profit for key, deal in reading.deals.items() if key not in note.deals}


def _movement(wish: Wish, note: Note, reading: Reading) -> Movement:
    if wish.kind in CREDITS:
        return Movement(before=note.credit, after=reading.credit, wanted=expected(wish))
    return Movement(
        before=note.balance,
        after=reading.balance,
        wanted=expected(wish),
        deals=[*_fresh(note, reading).values()],
        near=[*note.deals.values()],
    )


def _shown(wish: Wish, note: Note, reading: Reading) -> dict[str, object]:
    """The arithmetic, for a person."""
    movement = _movement(wish, note, reading)
    deals = _fresh(note, reading) if wish.kind not in CREDITS else {}
    rest = movement.after - movement.before - sum(movement.deals, Decimal(0))
    return {
        "noted_at": note.at.isoformat(),
        "before": str(movement.before),
        "after": str(movement.after),
        "moved": str(movement.after - movement.before),
        "deals": {str(key): str(profit) for key, profit in deals.items()},
        "moved_by_deals": str(sum(movement.deals, Decimal(0))),
        "asked_for": str(movement.wanted),
        "not_explained_by_deals": str(rest),
        "read_at": reading.at.isoformat(),
    }


# --- accounts -----------------------------------------------------------------------------------------------------------


def is_marked(record: Texts, wish: Wish) -> bool:
    """Whether a trader carries our marker."""
    return wish.reference is not None and wish.reference in (record.get("description") or "")


def _resembles(record: Texts, wish: Wish) -> bool:
    """Whether an account may be ours although the marker is not there, or cut: same group, same name."""
    carried = recognise(record.get("description") or "")
    if carried is not None and not (wish.reference or "").startswith(carried):
        return False
    names = traders.names_of(wish.fields)
    email, ours = traders.contact_of(record).get("email"), traders.contact_from(wish.fields).get("email")
    if email and isinstance(ours, str) and email.lower() != ours.lower():
        return False
    return all(record.get(name) in (None, value) for name, value in names.items()) and record.get("groupName") in (
        None,
        wish.fields.get("groupName"),
    )


def account_facts(record: Texts) -> Mapping[str, object]:
    """What is kept of an account that was made or recognised."""
    digits = whole(record, "moneyDigits")
    return {"currency": record.get("depositCurrency"), "currency_digits": digits, "username": None}
