"""Writes to accounts of the simulated cTrader server: master data, passwords, money (reference, sections 4.1 and 4.5 to 4.10)."""

from collections.abc import Mapping
from decimal import ROUND_UP, Decimal
from typing import Any, Final

from counterfoil.sandbox import ctrader_faults as own
from counterfoil.sandbox import ctrader_wire as wire
from counterfoil.sandbox import faults as f
from counterfoil.sandbox.calls import Reply
from counterfoil.sandbox.ctrader_answers import INVALID, RIGHTS, WebservError, empty, entity
from counterfoil.sandbox.ctrader_books import CtraderBooks
from counterfoil.sandbox.ctrader_catalogue import DIGITS
from counterfoil.sandbox.ctrader_ledger import FOREIGN_BRAND
from counterfoil.sandbox.ctrader_rows import (
    DEPOSIT,
    DEPOSIT_BONUS,
    DEPOSIT_CREDIT,
    LEDGERS,
    OUTWARD,
    WITHDRAW,
    WITHDRAW_BONUS,
    WITHDRAW_CREDIT,
    Trader,
)

Wishes = Mapping[str, Any]

_ENUMS: Final = {
    "accessRights": ("access_rights", {"FULL_ACCESS", "CLOSE_ONLY", "NO_TRADING", "NO_LOGIN"}),
    "accountType": ("account_type", {"HEDGED", "NETTED", "SPREAD_BETTING"}),
    "totalMarginCalculationType": ("margin_type", {"MAX", "SUM", "NET"}),
    "limitedRiskMarginCalculationStrategy": (
        "risk_strategy",
        {"ACCORDING_TO_LEVERAGE", "ACCORDING_TO_GSL", "ACCORDING_TO_GSL_AND_LEVERAGE"},
    ),
    "accountLifetimeType": ("lifetime", {"UNLIMITED", "LIMITED_CREATION_FREE"}),
}
_PLAIN: Final[dict[str, tuple[str, type]]] = {
    "name": ("name", str),
    "lastName": ("last_name", str),
    "description": ("description", str),
    "leverageInCents": ("leverage", int),
    "maxLeverage": ("max_leverage", int),
    "isLimitedRisk": ("limited_risk", bool),
    "swapFree": ("swap_free", bool),
    "sendOwnStatement": ("own_statement", bool),
    "sendStatementToBroker": ("broker_statement", bool),
}
_RESET: Final[dict[str, Any]] = {
    **dict.fromkeys(("name", "last_name", "description", "max_leverage")),
    **dict.fromkeys(("limited_risk", "swap_free", "own_statement", "broker_statement"), False),
    "access_rights": "FULL_ACCESS",
    "margin_type": "MAX",
    "risk_strategy": "ACCORDING_TO_LEVERAGE",
    "lifetime": "UNLIMITED",
}
"""What a PUT makes of a key that it does not mention (reference, section 4.5.1); `contact` becomes empty."""

_CONTACT: Final = (
    *("address", "city", "state", "zipCode", "phone", "email", "documentId"),
    *("introducingBroker1", "introducingBroker2", "status"),
)
_REQUIRED: Final = (
    *("accessRights", "accountType", "balance", "depositCurrency", "groupName", "hashedPassword", "leverageInCents"),
)
_LARGEST: Final = Decimal(10**15)

_MONEY: Final = {
    "changebalance": {kind: kind for kind in (DEPOSIT, WITHDRAW, DEPOSIT_CREDIT, WITHDRAW_CREDIT)},
    "changebonus": {DEPOSIT: DEPOSIT_BONUS, WITHDRAW: WITHDRAW_BONUS},
}
"""The types that each call understands, and what they book."""


# Reading what was sent


def given(wishes: Wishes) -> dict[str, Any]:
    """What a body says; null counts as not said (a public client sends it for all that it leaves alone)."""
    return {name: value for name, value in wishes.items() if value is not None}


def text(wishes: Wishes, name: str, *, required: bool = False) -> str:
    """A string, blank when it is left out."""
    value = wishes.get(name)
    if value is None and not required:
        return ""
    if not isinstance(value, str) or (required and not value):
        raise WebservError(INVALID, f"{name} must be a text")
    return value


def whole(wishes: Wishes, name: str) -> int:
    """An integer that must be there."""
    value = wishes.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise WebservError(INVALID, f"{name} must be an integer of at least 0")
    return value


def password_hash(wishes: Wishes, name: str = "hashedPassword") -> str:
    """An MD5 in lower-case hexadecimal digits."""
    value = text(wishes, name, required=True)
    if len(value) != 32 or set(value) - set("0123456789abcdef"):
        raise WebservError(INVALID, f"{name} must be an MD5 in lower case")
    return value


def brand(books: CtraderBooks, wishes: Wishes, *, required: bool = False) -> str | None:
    """A white label that the manager may use; None when it is left out."""
    name = text(wishes, "brokerName", required=required)
    if name and name not in books.brands:
        raise WebservError("CH_PLANT_INVALID", f"no broker {name} on this plant")
    if name == FOREIGN_BRAND:
        raise WebservError(RIGHTS, f"no access to {name}", 403)
    return name or None


# Master data


def create(books: CtraderBooks, wishes: Wishes, struck: f.Struck) -> Reply:
    """A new account, its opening balance a deposit; the same request twice makes two (reference, section 4.1)."""
    wishes = given(wishes)
    for name in _REQUIRED:
        if name not in wishes:
            raise WebservError(INVALID, f"{name} is required")
    currency, named = text(wishes, "depositCurrency"), brand(books, wishes)
    if currency not in DIGITS:
        raise WebservError("UNKNOWN_DEPOSIT_CURRENCY", f"no deposits in {currency}")
    balance = _opening(wishes["balance"])
    fields = _master(books, wishes, struck)
    trader = books.add_trader(
        **{**fields, "contact": _contact(wishes)},
        currency=currency,
        broker=named or books.broker,
        brand_told=named is not None,
        password_hash=password_hash(wishes),
    )
    if balance:
        books.move_money(trader.login, balance, DEPOSIT, "opening balance")
    return entity(wire.trader_fields(trader, books), struck)


def _opening(value: object) -> int:
    """The opening balance; samples send it as a text of digits too (reference, section 4.1)."""
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _LARGEST:
        raise WebservError(INVALID, "balance must be an integer of at least 0")
    return value


def change(books: CtraderBooks, trader: Trader, wishes: Wishes, *, replace: bool, struck: f.Struck) -> Reply:
    """PUT (`replace`) and PATCH: never the balance, the currency, the password or the white label."""
    wishes = given(wishes)
    if replace and not {"groupName", "leverageInCents"} <= wishes.keys():
        raise WebservError(INVALID, "groupName and leverageInCents are required")
    if wishes.get("depositCurrency", trader.currency) != trader.currency:
        raise WebservError(INVALID, "depositCurrency cannot be changed")
    fields = _master(books, wishes, struck)
    contact = _contact(wishes)
    if replace:
        fields = {**_RESET, **fields, "contact": contact}
    else:
        fields["contact"] = {**trader.contact, **contact}
    for name, value in fields.items():
        setattr(trader, name, value)
    trader.updated_at = books.now()
    return empty()


def _master(books: CtraderBooks, wishes: Wishes, struck: f.Struck) -> dict[str, Any]:
    """The fields of a trader that these wishes set, all of them checked."""
    fields: dict[str, Any] = {}
    for name, (field, kind) in _PLAIN.items():
        if name in wishes:
            fields[field] = _typed(wishes[name], kind, name)
    for name, (field, values) in _ENUMS.items():
        if name in wishes:
            if wishes[name] not in values:
                raise WebservError(INVALID, f"{name} must be one of {', '.join(sorted(values))}")
            fields[field] = wishes[name]
    if "groupName" in wishes:
        if wishes["groupName"] not in {group.name for group in books.groups}:
            raise WebservError("TRADER_GROUP_NOT_FOUND", "no such group")
        fields["group"] = wishes["groupName"]
    cut = struck.get(own.DescriptionCut)
    if cut is not None and "description" in fields:
        fields["description"] = fields["description"][: cut.length] or None
    return fields


def _typed(value: object, kind: type, name: str) -> object:
    if not isinstance(value, kind) or (kind is int and (isinstance(value, bool) or value < 0)):  # type: ignore[operator]
        raise WebservError(INVALID, f"{name} must be {kind.__name__}")
    return value


def _contact(wishes: Wishes) -> dict[str, Any]:
    """The contact details that are given; a phone password is dropped where it arrives."""
    sent = wishes.get("contactDetails", {})
    if not isinstance(sent, dict):
        raise WebservError(INVALID, "contactDetails must be an object")
    sent = given(sent)
    contact: dict[str, Any] = {name: text(sent, name) for name in _CONTACT if name in sent}
    if "countryId" in sent:
        contact["countryId"] = whole(sent, "countryId")
    return contact


def delete(books: CtraderBooks, trader: Trader) -> Reply:
    """Remove an account that holds nothing open."""
    if books.positions_of(trader.login):
        raise WebservError("TRADER_HAS_POSITIONS", "close its positions first")
    books.vanish(trader.login)
    return empty()


def change_password(trader: Trader, wishes: Wishes) -> Reply:
    """Set the password."""
    _require_login(trader, wishes)
    trader.password_hash = password_hash(wishes)
    return empty()


def check_password(trader: Trader, wishes: Wishes) -> Reply:
    """Say whether it is the password."""
    _require_login(trader, wishes)
    if password_hash(wishes) != trader.password_hash:
        raise WebservError("WRONG_PASSWORD", "that is not the password")
    return empty()


def _require_login(trader: Trader, wishes: Wishes) -> None:
    if whole(wishes, "login") != trader.login:
        raise WebservError(INVALID, "login is not that of the path")


# Money


def move(books: CtraderBooks, trader: Trader, call: str, wishes: Wishes, struck: f.Struck) -> Reply:
    """`changebalance` and `changebonus`; an external id that was used before is no hindrance (reference, section 4.7)."""
    wishes = given(wishes)
    _require_login(trader, wishes)
    bad = "CHANGE_BALANCE_BAD_AMOUNT" if call == "changebalance" else "CHANGE_BONUS_BAD_AMOUNT"
    kind = _MONEY[call].get(text(wishes, "type", required=True))
    if kind is None:
        raise WebservError(INVALID, f"type must be one of {', '.join(_MONEY[call])}")
    notes = {name: text(wishes, name) for name in ("comment", "externalId", "externalNote", "source")}
    amount = _amount(wishes.get("preciseAmount"), trader.digits, bad)
    if wrong := struck.get(f.WrongAmount):
        amount = max(1, amount + units(wrong.by, trader.digits))
    _require_cover(books, trader, kind, amount, struck)
    signed = -amount if kind in OUTWARD else amount
    booked = books.move_money(trader.login, signed, kind, notes["comment"], notes["externalId"])
    booked.external_note, booked.source = notes["externalNote"], notes["source"]
    if struck.has(f.BooksTwice):
        books.move_money(trader.login, signed, kind, notes["comment"], notes["externalId"])
    name = "balanceHistoryId" if call == "changebalance" else "bonusHistoryId"
    return entity({} if struck.has(own.WithoutHistoryId) else {name: booked.id}, struck)


def _require_cover(books: CtraderBooks, trader: Trader, kind: str, amount: int, struck: f.Struck) -> None:
    if kind not in OUTWARD:
        return
    held = trader.cash_equity if kind == WITHDRAW else getattr(trader, LEDGERS[kind])
    if amount > held:
        raise WebservError("NOT_ENOUGH_MONEY", "not enough money")
    if kind == WITHDRAW and struck.has(own.RefuseWhileOpen) and books.positions_of(trader.login):
        raise WebservError("NOT_ENOUGH_MONEY", "positions are open")


def _amount(wish: object, digits: int, bad: str) -> int:
    """The amount in the smallest unit of the account's currency."""
    if isinstance(wish, bool) or not isinstance(wish, int | Decimal):
        raise WebservError(INVALID, "preciseAmount must be a number")
    exact = Decimal(wish)
    if not exact.is_finite() or not 0 < exact < _LARGEST:
        raise WebservError(bad, "preciseAmount must be positive")
    scaled = exact.scaleb(digits)
    if scaled != scaled.to_integral_value():
        raise WebservError(bad, "preciseAmount has more digits than the currency")
    return int(scaled)


def units(amount: str, digits: int) -> int:
    """A fault's amount in the smallest unit, rounded away from nothing."""
    return int(Decimal(amount).scaleb(digits).to_integral_value(ROUND_UP))
