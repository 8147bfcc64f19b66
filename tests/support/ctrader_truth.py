"""What a complete mirror of a simulated cTrader platform must hold, worked out from its books without a line of the client."""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from counterfoil.domain.records import TABLES
from counterfoil.sandbox.ctrader_books import CtraderBooks
from support.platform_truth import mirrored

Row = dict[str, Any]

TABLES_OF_CTRADER = ("groups", "symbols", "deposit_assets", "accounts", "positions", "deals", "subaccounts")
MONEY = {
    "balance": "balance", "bonus": "bonus", "credit": "nonWithdrawableBonus", "equity": "equity", "margin": "usedMargin",
    "margin_free": "freeMargin", "cash_equity": "cashEquity", "min_equity_daily": "minEquityDaily",
    "max_equity_daily": "maxEquityDaily",
}  # fmt: skip
PLAIN = {
    "group_name": "groupName", "currency": "depositCurrency", "currency_digits": "moneyDigits", "first_name": "name",
    "family_name": "lastName", "description": "description", "access_rights": "accessRights", "account_type": "accountType",
    "margin_calculation": "totalMarginCalculationType", "broker_name": "brokerName", "leverage_in_cents": "leverageInCents",
    "max_leverage_in_cents": "maxLeverage", "swap_free": "swapFree", "limited_risk": "isLimitedRisk",
    "limited_risk_strategy": "limitedRiskMarginCalculationStrategy", "send_own_statement": "sendOwnStatement",
    "send_statement_to_broker": "sendStatementToBroker",
}  # fmt: skip
CONTACT = {"email": "email", "phone": "phone", "city": "city", "country_id": "countryId"}
TIMES = {
    "created_at": "registrationTimestamp",
    "updated_at": "lastUpdateTimestamp",
    "last_connection_at": "lastConnectionTimestamp",
}
# What a position that is over must show, whoever saw it open; the rest of it is what was last seen.
OVER = ("account_id", "symbol_id", "symbol", "side", "price_open", "status", "volume_base", "created_at", "updated_at")


def truth(books: CtraderBooks, table: str) -> dict[int, Row]:
    """The rows that a table must hold, by id, without bookkeeping; of a position that is over the columns of OVER alone."""
    rows: dict[int, Row] = _BUILD[table](books)
    blank = dict.fromkeys((*TABLES[table].column_names, "extra"))
    return {
        key: row if row.get("status") == 2 and table == "positions" else {**blank, **row} for key, row in rows.items()
    }


def differences(url: str, books: CtraderBooks, *tables: str) -> list[str]:
    """Where the mirror is not what the books say, in words; empty when it is exact. No tables named: all."""
    wrong = []
    for table in tables or TABLES_OF_CTRADER:
        true, held = truth(books, table), mirrored(url, table)
        wrong += [f"{table} {key} is missing" for key in sorted(true.keys() - held.keys())]
        wrong += [f"{table} {key} is not in the books" for key in sorted(held.keys() - true.keys())]
        for key in sorted(true.keys() & held.keys()):
            wrong += [
                f"{table} {key}.{name} is {held[key][name]!r}, not {value!r}"
                for name, value in true[key].items()
                if held[key][name] != value
            ]
    return wrong


def _sent(books: CtraderBooks, resource: str) -> list[Row]:
    return [json.loads(row, parse_float=Decimal) for row in books.rows(resource)]


def _groups(books: CtraderBooks) -> dict[int, Row]:
    return {row["id"]: {"name": row["name"], "desc": row.get("description")} for row in _sent(books, "groups")}


def _symbols(books: CtraderBooks) -> dict[int, Row]:
    names = {"symbol": "name", "desc": "description", "asset_class": "assetClass", "category": "category"}
    names |= {"quotes_enabled": "quotesEnabled", "show_in_ctrader": "showInCtrader"}
    return {row["id"]: {column: row.get(name) for column, name in names.items()} for row in _sent(books, "symbols")}


def _assets(books: CtraderBooks) -> dict[int, Row]:
    made = {name: int(hashlib.sha256(name.encode()).hexdigest()[:16], 16) // 4 for name in _sent(books, "assets")}
    return {key: {"name": name} for name, key in made.items()}


def _accounts(books: CtraderBooks) -> dict[int, Row]:
    groups = {row["name"]: row["id"] for row in _sent(books, "groups")}
    return {row["login"]: _account(row, groups) for row in _sent(books, "traders")}


def _account(sent: Row, groups: dict[str, int]) -> Row:
    contact = sent["contactDetails"]
    known = {*MONEY.values(), *PLAIN.values(), *TIMES.values(), "login", "contactDetails", "limitedRisk"}
    return {
        **{column: sent.get(name) for column, name in PLAIN.items()},
        **{column: contact.get(name) for column, name in CONTACT.items()},
        **{column: Decimal(sent[name]).scaleb(-sent["moneyDigits"]) for column, name in MONEY.items()},
        **{column: _moment(sent.get(name)) for column, name in TIMES.items()},
        "group_id": groups[sent["groupName"]],
        "leverage": sent["leverageInCents"] // 100,
        "extra": {name: _text(value) for name, value in sent.items() if name not in known} or None,
    }


def _text(value: object) -> str:
    return json.dumps(value) if isinstance(value, bool) else str(value)


def _moment(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=milliseconds)


def _stamp(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def _trade(books: CtraderBooks, sent: Row) -> Row:
    """What open positions and closing deals have in common."""
    return {
        "account_id": sent["login"],
        "symbol": sent["symbol"],
        "symbol_id": {row["name"]: row["id"] for row in _sent(books, "symbols")}[sent["symbol"]],
        "side": ("BUY", "SELL").index(sent["direction"]),
        "volume_base": Decimal(sent["volume"]),
        "commission_usd": Decimal(sent["commission"]),
        "book_type": sent["bookType"],
        "stake": None if sent["stake"] is None else Decimal(sent["stake"]),
        "spread_betting": sent["spreadBetting"],
    }


def _positions(books: CtraderBooks) -> dict[int, Row]:
    deals = sorted(_sent(books, "deals"), key=lambda deal: str(deal["closeTimestamp"]))
    over = {deal["positionId"]: _over(_trade(books, deal), deal) for deal in deals}
    return over | {row["positionId"]: _open(_trade(books, row), row) for row in _sent(books, "positions")}


def _open(common: Row, sent: Row) -> Row:
    return {
        **common,
        "price_open": Decimal(sent["entryPrice"]),
        "swaps_usd": Decimal(sent["swap"]),
        "margin_used": Decimal(sent["usedMargin"]),
        "status": 0,
        "created_at": _stamp(sent["openTimestamp"]),
    }


def _over(common: Row, deal: Row) -> Row:
    shown = {"price_open": Decimal(deal["entryPrice"]), "status": 2, "volume_base": Decimal(0)}
    times = {"created_at": _stamp(deal["openTimestamp"]), "updated_at": _stamp(deal["closeTimestamp"])}
    return {name: value for name, value in {**common, **shown, **times}.items() if name in OVER}


def _deals(books: CtraderBooks) -> dict[int, Row]:
    return {deal["dealId"]: _deal(_trade(books, deal), deal) for deal in _sent(books, "deals")}


def _deal(common: Row, sent: Row) -> Row:
    numbers = {"price": "closePrice", "price_position": "entryPrice", "profit": "pnl", "swap_usd": "swap"}
    numbers |= {"deposit_conversion_rate": "depositConversionRate", "usd_conversion_rate": "usdConversionRate"}
    return {
        **common,
        **{column: Decimal(sent[name]) for column, name in numbers.items()},
        "position_id": sent["positionId"],
        "direction": 1,
        "opened_at": _stamp(sent["openTimestamp"]),
        "created_at": _stamp(sent["closeTimestamp"]),
    }


def _subaccounts(books: CtraderBooks) -> dict[int, Row]:
    found: dict[int, Row] = {}
    for trader in books.traders.values():
        copies = [copy for copy in books.traders.values() if copy.owner == trader.login]
        found[trader.login] = {
            "account_id": trader.login,
            "logins": [copy.login for copy in copies],
            "balance": Decimal(sum(copy.balance for copy in copies)).scaleb(-trader.digits),
            "equity": Decimal(sum(copy.equity for copy in copies)).scaleb(-trader.digits),
        }
    return found


_BUILD = {
    "groups": _groups,
    "symbols": _symbols,
    "deposit_assets": _assets,
    "accounts": _accounts,
    "positions": _positions,
    "deals": _deals,
    "subaccounts": _subaccounts,
}
