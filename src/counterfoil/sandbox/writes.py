"""What a CRM writes: clients, accounts, money. Bodies are read to exact numbers; unknown fields are ignored.

Which fields may be written: reference, sections 5.1, 5.2 and 5.9. What is ASSUMED about their meaning stands in `omtrader`.
"""

from decimal import ROUND_UP, Decimal
from typing import Any, Final

import msgspec

from counterfoil.sandbox import catalogue
from counterfoil.sandbox import faults as f
from counterfoil.sandbox.books import Books
from counterfoil.sandbox.ledger import RefusedError
from counterfoil.sandbox.rows import BALANCE, CREDIT, IN, OUT, Account, Group, Record, Transaction
from counterfoil.sandbox.text import raw

_BODY = msgspec.json.Decoder(dict[str, msgspec.Raw])
_FRACTIONAL: Final = frozenset({"net_worth", "annual_income", "annual_deposit"})
_FRACTION_DIGITS: Final = 8
_LARGEST: Final = Decimal(10**15)
_LARGEST_INTEGER: Final = 2**63 - 1

Fields = dict[str, Any]


class ConflictError(Exception):
    """Something that may exist once exists already: 409."""


def read_body(body: bytes) -> Fields:
    """A JSON object; numbers become int or Decimal, never float."""
    try:
        raw = _BODY.decode(body)
        return {name: _exact(bytes(value)) for name, value in raw.items()}
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RefusedError(f"body is not a JSON object: {error}") from error


def _exact(text: bytes) -> Any:
    if text[:1] in b"-0123456789":
        number = Decimal(text.decode())
        if b"." in text or b"e" in text.lower():
            return number
        if abs(number) > _LARGEST_INTEGER:
            raise RefusedError("a number is too large")
        return int(number)
    return msgspec.json.decode(text)


# Clients


def create_client(books: Books, wishes: Fields, struck: f.Struck) -> Record:
    """A client needs a name, nothing else."""
    given = _client_fields(wishes)
    for name in ("first_name", "family_name"):
        if not given.get(name):
            raise RefusedError(f"{name} is required")
    if struck.has(f.Unique):
        _require_new_external_id(books, given.get("external_id", ""))
    return books.add_client(given)


def update_client(books: Books, client: Record, wishes: Fields, struck: f.Struck) -> Record:
    """Fields that are given are replaced."""
    given = _client_fields(wishes)
    if struck.has(f.PutReplaces):
        given = {**catalogue.CLIENT_FIELDS, **given}
    client.fields.update(given)
    client.updated_at = books.now()
    books.clients.changed(client)
    return client


def _client_fields(wishes: Fields) -> Fields:
    given = {name: value for name, value in wishes.items() if name in catalogue.CLIENT_FIELDS}
    for name, value in given.items():
        if not _fits(name, value, catalogue.CLIENT_FIELDS[name]):
            raise RefusedError(f"{name} has the wrong type")
        if isinstance(value, Decimal):
            given[name] = _plain(name, value)
    return given


def _plain(name: str, value: Decimal) -> msgspec.Raw:
    """A number without an exponent, as short as any other of this platform."""
    scaled = value.scaleb(_FRACTION_DIGITS) if abs(value) < _LARGEST else Decimal("0.5")
    if scaled != scaled.to_integral_value():
        raise RefusedError(f"{name} has too many digits")
    return raw(int(scaled), _FRACTION_DIGITS)


def _fits(name: str, value: object, blank: object) -> bool:
    """Whether a value has the type of the field's blank."""
    if blank is None:
        return value is None or isinstance(value, str)
    if isinstance(blank, str):
        return isinstance(value, str)
    if isinstance(value, Decimal):
        return name in _FRACTIONAL
    return isinstance(value, int) and not isinstance(value, bool)


def _require_new_external_id(books: Books, external_id: str) -> None:
    if external_id and any(client.fields["external_id"] == external_id for client in books.clients):
        raise ConflictError("external_id exists")


# Accounts


def create_account(books: Books, wishes: Fields, struck: f.Struck) -> Account:
    """An account needs a group, a client, a login name and a password; the passwords are dropped here."""
    client = wishes.get("client_id")
    if not isinstance(client, int) or books.clients.get(client) is None:
        raise RefusedError("client_id does not exist")
    group = _group(books, wishes.get("group_id"))
    username = _text(wishes, "username")
    if not username or not _text(wishes, "user_password"):
        raise RefusedError("username and user_password are required")
    if struck.has(f.Unique) and any(account.username == username for account in books.accounts):
        raise ConflictError("username exists")
    profile, leverage = _profile(wishes), _leverage(wishes, 0)
    account = books.add_account(client, group, username, profile)
    account.leverage = leverage
    return account


def update_account(books: Books, account: Account, wishes: Fields, struck: f.Struck) -> Account:
    """Fields that are given are replaced; money, ids and limits are not writable."""
    profile = _profile(wishes)
    blank = dict.fromkeys(catalogue.PROFILE_FIELDS, "") if struck.has(f.PutReplaces) else {}
    group = _group(books, wishes["group_id"]) if "group_id" in wishes else account.group
    if (group.currency, group.digits) != (account.group.currency, account.group.digits):
        raise RefusedError("group_id has another currency")
    username, leverage = _text(wishes, "username") or account.username, _leverage(wishes, account.leverage)
    account.group, account.username, account.leverage = group, username, leverage
    account.profile.update({**blank, **profile})
    account.updated_at = books.now()
    books.accounts.changed(account)
    return account


def _group(books: Books, key: object) -> Group:
    group = books.trading_groups.get(key) if isinstance(key, int) else None
    if group is None:
        raise RefusedError("group_id does not exist or holds no accounts")
    return group


def _leverage(wishes: Fields, default: int) -> int:
    leverage = wishes.get("leverage", default)
    if not isinstance(leverage, int) or leverage < 0:
        raise RefusedError("leverage must be an integer of at least 0")
    return leverage


def _profile(wishes: Fields) -> dict[str, str]:
    return {name: _text(wishes, name) for name in catalogue.PROFILE_FIELDS if name in wishes}


def _text(wishes: Fields, name: str) -> str:
    value = wishes.get(name, "")
    if not isinstance(value, str):
        raise RefusedError(f"{name} must be a text")
    return value


# Money


def transfer(books: Books, account: Account, wishes: Fields, struck: f.Struck) -> Transaction:
    """Money in or out: {amount, side (or type) 2 or 3, direction 0 or 1, comment}; what is told of it, true or not."""
    amount, comment = _amount(wishes.get("amount"), account), _text(wishes, "comment")
    side = wishes.get("side", wishes.get("type", BALANCE))
    direction = wishes.get("direction", IN)
    if side not in (BALANCE, CREDIT) or isinstance(side, bool):
        raise RefusedError("side must be 2 or 3")
    if direction not in (IN, OUT) or isinstance(direction, bool):
        raise RefusedError("direction must be 0 or 1")
    if cut := struck.get(f.CommentCut):
        comment = comment[: cut.length]
    if wrong := struck.get(f.WrongAmount):
        amount = max(1, amount + _units(wrong.by, account.group.digits))
    signed = -amount if direction == OUT else amount
    booked = books.move_money(account, signed, int(side), comment)
    if struck.has(f.BooksTwice):
        # With a key of its own it is booked without asking for cover: this platform has lost count.
        books.move_money(account, signed, int(side), comment, key=books.deal_ids.draw())
    return _told(booked, struck)


def _told(booked: Transaction, struck: f.Struck) -> Transaction:
    """The transaction as the answer describes it; the books keep the true one."""
    if other := struck.get(f.AnswerAmount):
        more = _units(other.by, booked.currency_digits)
        booked = msgspec.structs.replace(booked, amount=booked.amount + (more if booked.amount > 0 else -more))
    if struck.has(f.AnswerAccount):
        booked = msgspec.structs.replace(booked, account_id=booked.account_id + 1)
    return booked


def _units(amount: str, digits: int) -> int:
    """A fault's amount in the smallest unit, rounded up: a hundredth of a yen is a yen."""
    return int(Decimal(amount).scaleb(digits).to_integral_value(ROUND_UP))


def _amount(wish: object, account: Account) -> int:
    """The amount in the smallest unit of the account's currency."""
    if isinstance(wish, bool) or not isinstance(wish, int | Decimal):
        raise RefusedError("amount must be a number")
    exact = Decimal(wish)
    if not exact.is_finite() or not 0 < exact < _LARGEST:
        raise RefusedError("amount must be positive and below 10**15")
    cents = exact.scaleb(account.group.digits)
    if cents != cents.to_integral_value():
        raise RefusedError("amount has more digits than the currency")
    return int(cents)
