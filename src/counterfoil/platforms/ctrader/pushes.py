"""cTrader as the write path sees it: one request a wish (reference, sections 4.1, 4.5.2, 4.7, 4.8, 5.1, 5.2 and 10).

Assumptions about what is not documented stand here, in `wire` and in `refusals`, and nowhere else:

- the same externalId books twice: it is sent for people, and never relied upon;
- a link that is refused with any code but a missing right may be one that is there already, and nothing tells whose: a person
  decides;
- contact details given in a PATCH may replace the others, so they are read, merged and sent whole;
- only an answer with a balanceHistoryId proves a balance operation; the two bonus types may be answered without, and are then
  decided by the account's books.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import msgspec
from msgspec import Raw

from counterfoil.domain.attempt import (
    Accepted,
    Doubtful,
    Facts,
    Fence,
    Finding,
    Found,
    NotSent,
    Outcome,
    Rejected,
    Unknown,
    Wrong,
    misconfigured,
)
from counterfoil.domain.errors import ConfigurationError, PausedError, PermanentError, TransientError
from counterfoil.domain.intent import MONEY, Kind
from counterfoil.domain.money import fits, plain
from counterfoil.domain.outcome import Verdict
from counterfoil.domain.priority import Priority
from counterfoil.platforms.ctrader import traders, wire
from counterfoil.platforms.ctrader.calls import Written
from counterfoil.platforms.ctrader.client import FIRST_DAY, CTrader
from counterfoil.platforms.ctrader.ledger import Ledger
from counterfoil.platforms.ctrader.probes import EARLIER, Probes, account_facts, is_marked
from counterfoil.platforms.ctrader.refusals import MEANINGS
from counterfoil.platforms.ctrader.session import md5
from counterfoil.platforms.ctrader.tokens import Texts, of_json, whole
from counterfoil.platforms.outcomes import discreet, unaccepted
from counterfoil.platforms.writing import Books, Prepared, Wish

# The platform takes up to so many digits after the point, whatever the currency (reference, section 4.7).
MOST_DIGITS: Final = 8
_TYPES: Final = {
    Kind.DEPOSIT: "DEPOSIT",
    Kind.REFUND: "DEPOSIT",
    Kind.WITHDRAW: "WITHDRAW",
    Kind.CREDIT_IN: "DEPOSIT_NONWITHDRAWABLE_BONUS",
    Kind.CREDIT_OUT: "WITHDRAW_NONWITHDRAWABLE_BONUS",
}
_DEFAULTS: Final = {
    # Nobody trades before the CRM has seen who it is (reference, section 10).
    "accessRights": "NO_TRADING",
    "accountType": "HEDGED",
    "totalMarginCalculationType": "MAX",
}
_NEEDED: Final = ("groupName", "depositCurrency", "leverageInCents")


@dataclass(frozen=True, slots=True)
class House:
    """Which white label and environment of the platform is ours."""

    broker_name: str
    environment_name: str


class CTraderWriter:
    """See platforms.writing.Writer."""

    def __init__(self, client: CTrader, house: House) -> None:
        self._client = client
        self._house = house
        self._probes = Probes(client)

    @property
    def shows_references(self) -> bool:
        """See platforms.writing.Writer: no list of balance operations exists."""
        return False

    def prepares(self, kind: Kind) -> bool:
        """See platforms.writing.Writer."""
        return kind in (Kind.ACCOUNT, Kind.ADOPT) or kind in MONEY

    # --- before -----------------------------------------------------------------------------------------------------

    async def prepare(self, wish: Wish, books: Books) -> Prepared:
        """See platforms.writing.Writer."""
        if wish.kind is Kind.ACCOUNT:
            return await self._prepare_account(wish, books)
        if wish.kind is Kind.ADOPT:
            return await self._adopt(wish)
        if wish.kind in MONEY:
            return await self._note(wish)
        # Anything else can be done again.
        return Fence()

    async def _prepare_account(self, wish: Wish, books: Books) -> Prepared:
        newest = await books.newest_account_at()
        since = FIRST_DAY if newest is None else newest - EARLIER
        listed = await self._client.registered(since, Priority.PROBE)
        fresh = {whole(record, "login") or 0: record for record in listed if is_marked(record, wish)}
        mirrored = [key for key in await books.accounts_marked(wish.reference or "") if key not in fresh]
        for login in mirrored:
            record = await self._client.trader(login, Priority.PROBE)
            if record is not None:
                fresh[login] = record
        if len(fresh) > 1:
            return Wrong(f"accounts {sorted(fresh)} carry the marker of this one: settle which is meant")
        for login, record in fresh.items():
            return Found(login, account_facts(record))
        return Fence({"since": (self._client.now() - EARLIER).isoformat()})

    async def _adopt(self, wish: Wish) -> Prepared:
        login = wish.account_id or 0
        record = await self._client.trader(login, Priority.PROBE)
        if record is None:
            return Rejected(f"account {login} does not exist on the platform")
        email, ours = traders.contact_of(record).get("email"), wish.fields.get("email")
        if not email or not isinstance(ours, str) or email.lower() != ours.lower():
            return Doubtful(
                f"account {login} does not show the registrant's e-mail address, and nothing else tells whose it is",
                {"account": login},
            )
        return Found(login, account_facts(record))

    async def _note(self, wish: Wish) -> Prepared:
        reading = await Ledger(self._client).read(wish.account_id or 0)
        if reading is None:
            return Rejected(f"account {wish.account_id} does not exist on the platform any more")
        if wish.amount is None or not fits(wish.amount, min(reading.digits, MOST_DIGITS)):
            return Rejected(f"amount: has more than {min(reading.digits, MOST_DIGITS)} digits after the point")
        return Fence(reading.marks())

    # --- the attempt ------------------------------------------------------------------------------------------------

    async def send(self, wish: Wish, *, deadline: float) -> Outcome:
        """See platforms.writing.Writer."""
        try:
            return discreet(await self._send(wish, deadline), wish)
        except PausedError as error:
            # The last of an hour's requests are money's: who may not have them does not stop it.
            return NotSent(str(error), error.retry_after, held=True, rests=wish.kind in MONEY)
        except ConfigurationError as error:
            return misconfigured(error)
        except (TransientError, PermanentError) as error:
            # Reads alone raise: of the record that is to be changed. What a write is answered is an outcome.
            return NotSent(str(error), getattr(error, "retry_after", None))

    async def _send(self, wish: Wish, deadline: float) -> Outcome:
        if wish.kind in (Kind.ADOPT, Kind.UPDATE_CLIENT):
            return Rejected("this platform has no call for it")
        ways: dict[Kind, Callable[[Wish, float], Awaitable[Outcome]]] = {
            Kind.CLIENT: self._make_user,
            Kind.ACCOUNT: self._make_account,
            Kind.LINK: self._link,
            Kind.UPDATE_ACCOUNT: self._update,
            Kind.RESET_PASSWORD: self._set_password,
        }
        return await ways.get(wish.kind, self._move_money)(wish, deadline)

    async def _make_user(self, wish: Wish, deadline: float) -> Outcome:
        body = {"email": wish.fields.get("email"), "brokerName": self._house.broker_name}
        language = wish.fields.get("language")
        if isinstance(language, str) and len(language) == 2:
            body["preferredLanguage"] = language
        written = await self._write("POST", wire.CREATE_USER, body, deadline)
        return unaccepted(written) or _named(written, "userId")

    async def _make_account(self, wish: Wish, deadline: float) -> Outcome:
        fields = {**_DEFAULTS, **traders.names_of(wish.fields), **traders.writable(wish.fields)}
        missing = [name for name in _NEEDED if fields.get(name) in (None, "")]
        if missing:
            return Rejected(f"{missing[0]}: is required, in the account or in account_defaults of the settings")
        body = {
            **fields,
            "balance": 0,
            "brokerName": self._house.broker_name,
            "hashedPassword": md5(wish.passwords["user_password"]),
            "description": wish.reference,
        }
        contact = traders.contact_from(wish.fields)
        written = await self._write(
            "POST", wire.CREATE_TRADER, body | ({"contactDetails": contact} if contact else {}), deadline
        )
        outcome = unaccepted(written)
        if outcome is not None:
            return outcome
        record = _record(written)
        login = whole(record, "login") if record else None
        if record is None or not login or login <= 0:
            return Unknown("the answer names no account")
        return Accepted(login, account_facts(record))

    async def _link(self, wish: Wish, deadline: float) -> Outcome:
        body = {
            "traderLogin": wish.account_id,
            "traderPasswordHash": wish.passwords.get("password_hash"),
            "userId": wish.client_id,
            "brokerName": self._house.broker_name,
            "environmentName": self._house.environment_name,
            "returnAccountDetails": True,
        }
        written = await self._write("POST", wire.LINK, body, deadline)
        if written.verdict is Verdict.REJECTED:
            return Doubtful(
                f"{written.reason}: it may be linked already, and nothing tells to whom",
                {"account": wish.account_id, "user": wish.client_id, "code": written.code},
            )
        return unaccepted(written) or _named(written, "ctidTraderAccountId")

    async def _update(self, wish: Wish, deadline: float) -> Outcome:
        body: dict[str, object] = traders.writable(wish.fields)
        contact = traders.contact_from(wish.fields)
        if contact:
            record = await self._client.trader(wish.account_id or 0, Priority.OPEN)
            if record is None:
                return Rejected(f"account {wish.account_id} does not exist on the platform any more")
            body["contactDetails"] = {**traders.raw_contact_of(record), **contact}
        written = await self._write("PATCH", wire.trader(wish.account_id or 0), body, deadline)
        return unaccepted(written) or Accepted(wish.account_id or 0)

    async def _set_password(self, wish: Wish, deadline: float) -> Outcome:
        body = {"login": wish.account_id, "hashedPassword": md5(wish.passwords["user_password"])}
        written = await self._write("POST", wire.trader(wish.account_id or 0, "changepassword"), body, deadline)
        return unaccepted(written) or Accepted(wish.account_id or 0)

    async def _move_money(self, wish: Wish, deadline: float) -> Outcome:
        body = {
            "login": wish.account_id,
            "preciseAmount": Raw(plain(wish.amount or Decimal(0)).encode()),
            "type": _TYPES[wish.kind],
            "comment": wish.reference,
            "externalId": wish.reference,
        }
        path = wire.trader(wish.account_id or 0, "changebalance")
        written = await self._client.calls.write(
            "POST", path, msgspec.json.encode(body), priority=Priority.MONEY, deadline=deadline
        )
        if written.verdict is Verdict.REJECTED and written.code not in MEANINGS:
            # Nobody has described it, so nobody knows that it means "not done"; the books tell.
            return Unknown(f"{written.reason}: a code that is not documented")
        return unaccepted(written) or _named(written, "balanceHistoryId")

    async def _write(self, method: str, path: str, body: Mapping[str, object], deadline: float) -> Written:
        encoded = msgspec.json.encode(body)
        return await self._client.calls.write(method, path, encoded, priority=Priority.OPEN, deadline=deadline)

    # --- afterwards -------------------------------------------------------------------------------------------------

    async def probe(self, wish: Wish, fence: Facts, books: Books) -> Finding:
        """See platforms.writing.Writer."""
        return await self._probes.probe(wish, fence, books)


def _named(written: Written, key: str) -> Outcome:
    """Accepted, where the answer names the record."""
    record = _record(written)
    try:
        record_id = whole(record, key) if record else None
    except ValueError:
        record_id = None
    return Accepted(record_id) if record_id and record_id > 0 else Unknown(f"the answer names no {key}")


def _record(written: Written) -> Texts | None:
    try:
        decoded: dict[str, Any] = msgspec.json.decode(written.body, type=dict[str, Raw])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return of_json(decoded)
