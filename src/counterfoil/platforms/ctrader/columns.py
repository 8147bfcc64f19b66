"""cTrader's records as rows of the mirror (reference, sections 4.1, 4.4, 4.11 to 4.13, 6); what is assumed stands in `wire`."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from counterfoil.platforms.ctrader.tokens import (
    Lines,
    Row,
    Texts,
    from_milliseconds,
    nested,
    required,
    scaled,
    stamp,
    whole,
)

IN, OUT, BUY, SELL, OPEN, CLOSED = 0, 1, 0, 1, 0, 2
_DIRECTIONS: Final = {"BUY": str(BUY), "SELL": str(SELL)}


@dataclass(frozen=True, slots=True)
class Names:
    """Ids of the platform's groups and symbols by name."""

    groups: Mapping[str, int]
    symbols: Mapping[str, int]

    def group(self, name: str | None) -> str | None:
        """The id of a group, as text; None when nobody knows it."""
        found = self.groups.get(name or "")
        return None if found is None else str(found)

    def symbol(self, name: str | None) -> str | None:
        """The id of a symbol, as text; None when nobody knows it."""
        found = self.symbols.get(name or "")
        return None if found is None else str(found)


# --- traders ------------------------------------------------------------------------------------------------------------

# column, the platform's name, how it is read: text as it stands, money scaled, time in milliseconds.
_ACCOUNT_TEXTS: Final = {
    "group_name": "groupName",
    "currency": "depositCurrency",
    "currency_digits": "moneyDigits",
    "first_name": "name",
    "family_name": "lastName",
    "description": "description",
    "access_rights": "accessRights",
    "account_type": "accountType",
    "margin_calculation": "totalMarginCalculationType",
    "broker_name": "brokerName",
    "leverage_in_cents": "leverageInCents",
    "max_leverage_in_cents": "maxLeverage",
    "swap_free": "swapFree",
    "limited_risk_strategy": "limitedRiskMarginCalculationStrategy",
    "send_own_statement": "sendOwnStatement",
    "send_statement_to_broker": "sendStatementToBroker",
}
CONTACT_NAMES: Final = {
    "email": "email",
    "phone": "phone",
    "address": "address",
    "city": "city",
    "state": "state",
    "zip_code": "zipCode",
    "document_id": "documentId",
    "country_id": "countryId",
    "introducing_broker_1": "introducingBroker1",
    "introducing_broker_2": "introducingBroker2",
}
_ACCOUNT_MONEY: Final = {
    "balance": "balance",
    "bonus": "bonus",
    "credit": "nonWithdrawableBonus",
    "equity": "equity",
    "margin": "usedMargin",
    "margin_free": "freeMargin",
    "cash_equity": "cashEquity",
    "min_equity_daily": "minEquityDaily",
    "max_equity_daily": "maxEquityDaily",
}
_ACCOUNT_TIMES: Final = {
    "created_at": "registrationTimestamp",
    "updated_at": "lastUpdateTimestamp",
    "last_connection_at": "lastConnectionTimestamp",
}
_ACCOUNT_KNOWN: Final = frozenset(
    {
        *_ACCOUNT_TEXTS.values(),
        *_ACCOUNT_MONEY.values(),
        *_ACCOUNT_TIMES.values(),
        *("login", "contactDetails", "isLimitedRisk", "limitedRisk", "lastUpdateTimeStamp"),
    }
)
ACCOUNTS: Final = Lines.of(
    "accounts",
    ("group_id", "leverage", "limited_risk", *_ACCOUNT_TEXTS, *CONTACT_NAMES, *_ACCOUNT_MONEY, *_ACCOUNT_TIMES),
)


def account(names: Names) -> Callable[[Texts], Row]:
    """Reads traders."""

    def read(record: Texts) -> Row:
        digits = whole(record, "moneyDigits")
        contact = nested(record, "contactDetails")
        cents = whole(record, "leverageInCents")
        values: dict[str, str | None] = {column: record.get(name) for column, name in _ACCOUNT_TEXTS.items()}
        values |= {column: contact.get(name) for column, name in CONTACT_NAMES.items()}
        values |= {column: scaled(record, name, digits) for column, name in _ACCOUNT_MONEY.items()}
        values |= {column: from_milliseconds(record, name) for column, name in _ACCOUNT_TIMES.items()}
        values |= {
            "group_id": names.group(record.get("groupName")),
            "leverage": None if cents is None else str(cents // 100),
            "limited_risk": record.get("isLimitedRisk") or record.get("limitedRisk"),
            # The vendor's own pages spell it both ways.
            "updated_at": values["updated_at"] or from_milliseconds(record, "lastUpdateTimeStamp"),
            # Zero stands for never.
            "last_connection_at": values["last_connection_at"] if whole(record, "lastConnectionTimestamp") else None,
        }
        rest = {name: value for name, value in record.items() if name not in _ACCOUNT_KNOWN}
        rest |= {
            f"contactDetails.{name}": value
            for name, value in contact.items()
            if name not in CONTACT_NAMES.values() and value is not None
        }
        return required(record, "login"), values, rest

    return read


# --- groups, symbols, assets --------------------------------------------------------------------------------------------

_GROUPS: Final = {"name": "name", "desc": "description"}
GROUP_LINES: Final = Lines.of("groups", _GROUPS)
_SYMBOLS: Final = {
    "symbol": "name",
    "desc": "description",
    "asset_class": "assetClass",
    "category": "category",
    "quotes_enabled": "quotesEnabled",
    "show_in_ctrader": "showInCtrader",
}
SYMBOL_LINES: Final = Lines.of("symbols", _SYMBOLS)
ASSET_LINES: Final = Lines.of("deposit_assets", ("name",))


def group(record: Texts) -> Row:
    """Reads a group of traders."""
    return _plain(record, _GROUPS)


def symbol(record: Texts) -> Row:
    """Reads a symbol."""
    return _plain(record, _SYMBOLS)


def _plain(record: Texts, columns: Mapping[str, str]) -> Row:
    known = {"id", *columns.values()}
    values = {column: record.get(name) for column, name in columns.items()}
    return required(record, "id"), values, {name: value for name, value in record.items() if name not in known}


def deposit_asset(record: Texts) -> Row:
    """Reads the name of a currency."""
    name = record.get("name")
    if not name:
        raise ValueError("missing - at `name`")
    made = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 2
    return made, {"name": name}, {}


# --- positions ----------------------------------------------------------------------------------------------------------

_POSITIONS: Final = {
    "account_id": "login",
    "symbol": "symbol",
    "volume_base": "volume",
    "price_open": "entryPrice",
    "commission_usd": "commission",
    "swaps_usd": "swap",
    "margin_used": "usedMargin",
    "book_type": "bookType",
    "stake": "stake",
    "spread_betting": "spreadBetting",
}
POSITION_LINES: Final = Lines.of("positions", (*_POSITIONS, "symbol_id", "side", "status", "created_at"))
_DEALS: Final = {
    "account_id": "login",
    "position_id": "positionId",
    "symbol": "symbol",
    "volume_base": "volume",
    "price": "closePrice",
    "price_position": "entryPrice",
    "profit": "pnl",
    "commission_usd": "commission",
    "swap_usd": "swap",
    "deposit_conversion_rate": "depositConversionRate",
    "usd_conversion_rate": "usdConversionRate",
    "book_type": "bookType",
    "stake": "stake",
    "spread_betting": "spreadBetting",
}
DEAL_LINES: Final = Lines.of("deals", (*_DEALS, "symbol_id", "side", "direction", "opened_at", "created_at"))
_GRID_KNOWN: Final = frozenset(
    {*_POSITIONS.values(), *_DEALS.values(), "dealId", "direction", "openTimestamp", "closeTimestamp"}
)


def position(names: Names) -> Callable[[Texts], Row]:
    """Reads open positions."""

    def read(record: Texts) -> Row:
        values = {column: record.get(name) for column, name in _POSITIONS.items()}
        values |= {
            "symbol_id": names.symbol(record.get("symbol")),
            "side": _side(record),
            "status": str(OPEN),
            "created_at": stamp(record, "openTimestamp"),
        }
        return required(record, "positionId"), values, _rest(record)

    return read


def deal(names: Names) -> Callable[[Texts], Row]:
    """Reads rows of the closed positions: each is a closing deal."""

    def read(record: Texts) -> Row:
        values = {column: record.get(name) for column, name in _DEALS.items()}
        values |= {
            "symbol_id": names.symbol(record.get("symbol")),
            "side": _side(record),
            "direction": str(OUT),
            "opened_at": stamp(record, "openTimestamp"),
            "created_at": stamp(record, "closeTimestamp"),
        }
        # Without these no balance can be explained by it.
        for name in ("login", "positionId"):
            required(record, name)
        for name in ("pnl", "closeTimestamp"):
            if record.get(name) is None:
                raise ValueError(f"missing - at `{name}`")
        return required(record, "dealId"), values, _rest(record)

    return read


def _side(record: Texts) -> str | None:
    direction = record.get("direction")
    if direction is not None and direction.upper() not in _DIRECTIONS:
        raise ValueError("neither BUY nor SELL - at `direction`")
    return None if direction is None else _DIRECTIONS[direction.upper()]


def _rest(record: Texts) -> Texts:
    return {name: value for name, value in record.items() if name not in _GRID_KNOWN}


# --- sub-accounts ----------------------------------------------------------------------------------------------------

SUBACCOUNT_LINES: Final = Lines.of("subaccounts", ("account_id", "logins", "balance", "equity"))


def subaccounts(account_id: int, digits: int | None) -> Callable[[Texts], Row]:
    """Reads the copy sub-accounts of an account; `digits`: of the owner's money."""

    def read(texts: Texts) -> Row:
        logins = nested(texts, "subAccountLogins").get("login")
        values = {
            "account_id": str(account_id),
            "logins": logins or "[]",
            "balance": scaled(texts, "totalSubAccountsBalance", digits),
            "equity": scaled(texts, "totalSubAccountsEquity", digits),
        }
        known = {"subAccountLogins", "totalSubAccountsBalance", "totalSubAccountsEquity"}
        return account_id, values, {name: value for name, value in texts.items() if name not in known}

    return read
