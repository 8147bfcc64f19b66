"""How the rows of the simulated cTrader server look outside: keys, order, units and times (reference, sections 1.4 and 4).

Money of the trader object is an integer scaled by moneyDigits; money, volumes and prices of positions are plain decimals
with all their digits, taken from integers and never from a binary fraction.
"""

import datetime as dt
import re
from typing import Any, Final

import msgspec

from counterfoil.sandbox import ctrader_catalogue as catalogue
from counterfoil.sandbox.ctrader_ledger import CtraderLedger
from counterfoil.sandbox.ctrader_rows import SELL, Deal, Movement, Position, Symbol, Trader, User
from counterfoil.sandbox.text import number

OPEN_COLUMNS: Final = (
    *("login", "positionId", "openTimestamp", "entryPrice", "direction", "volume", "symbol", "commission", "swap"),
    *("bookType", "stake", "spreadBetting", "usedMargin"),
)
CLOSED_COLUMNS: Final = (
    *("login", "positionId", "dealId", "openTimestamp", "closeTimestamp", "entryPrice", "closePrice", "direction"),
    *("volume", "symbol", "commission", "swap", "pnl", "depositConversionRate", "usdConversionRate", "bookType"),
    *("stake", "spreadBetting"),
)
SECOND_ORDER: Final = (
    *("login", "positionId", "openTimestamp", "closeTimestamp", "closePrice", "direction", "volume", "symbol"),
    *("commission", "swap", "pnl", "depositConversionRate", "usdConversionRate", "bookType", "stake", "spreadBetting"),
    *("entryPrice", "dealId"),
)
"""The other order in which the same columns were seen (reference, section 4.13)."""

TEXTS: Final = frozenset({"openTimestamp", "closeTimestamp", "direction", "symbol", "bookType"})
"""The columns that are strings when positions come as JSON."""

_RATE_DIGITS: Final = 8
_MOMENT: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\.(\d{3})", re.ASCII)
_DAY: Final = 86_400_000
_dates: dict[int, str] = {}


def fixed(value: int, digits: int) -> str:
    """The decimal of value / 10**digits with all its digits: 7617, 2 -> 76.17; -5, 2 -> -0.05; 700, 2 -> 7.00."""
    if not digits:
        return str(value)
    whole, part = divmod(abs(value), 10**digits)
    return f"{'-' if value < 0 else ''}{whole}.{str(part).zfill(digits)}"


def stamp(at: int) -> str:
    """yyyy-MM-ddTHH:mm:ss.SSS, UTC, no zone (reference, section 1.4)."""
    day, rest = divmod(at, _DAY)
    date = _dates.get(day)
    if date is None:
        date = _dates[day] = (dt.date(1970, 1, 1) + dt.timedelta(days=day)).isoformat()
    second, part = divmod(rest, 1_000)
    minute, second = divmod(second, 60)
    hour, minute = divmod(minute, 60)
    return f"{date}T{hour:02}:{minute:02}:{second:02}.{part:03}"


def moment(text: str) -> int | None:
    """Milliseconds of a timestamp in exactly that form; None when it is none."""
    match = _MOMENT.fullmatch(text)
    try:
        at = dt.datetime.fromisoformat(f"{match[1]}+00:00") if match else None
    except ValueError:
        return None
    return (
        (at - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(seconds=1) * 1_000 + int(match[2])
        if at and match
        else None
    )


# Traders (reference, section 4.1)


def trader_fields(trader: Trader, ledger: CtraderLedger) -> dict[str, Any]:
    """The trader object; what was never set is absent."""
    low, high = ledger.extremes(trader)
    optional = {
        "name": trader.name,
        "lastName": trader.last_name,
        "description": trader.description,
        "maxLeverage": trader.max_leverage,
        "lastConnectionTimestamp": trader.connected_at,
        "brokerName": trader.broker if trader.brand_told else None,
        "subAccountOf": trader.owner,
    }
    return {
        "login": trader.login,
        "groupName": trader.group,
        "depositCurrency": trader.currency,
        **{name: value for name, value in optional.items() if value is not None},
        "accessRights": trader.access_rights,
        "accountType": trader.account_type,
        "totalMarginCalculationType": trader.margin_type,
        "balance": trader.balance,
        "bonus": trader.bonus,
        "nonWithdrawableBonus": trader.credit,
        "equity": trader.equity,
        "usedMargin": trader.margin,
        "freeMargin": trader.free_margin,
        "cashEquity": trader.cash_equity,
        "moneyDigits": trader.digits,
        "minEquityDaily": low,
        "maxEquityDaily": high,
        "leverageInCents": trader.leverage,
        "contactDetails": trader.contact,
        "registrationTimestamp": trader.registered_at,
        "lastUpdateTimestamp": trader.updated_at,
        "swapFree": trader.swap_free,
        "sendOwnStatement": trader.own_statement,
        "sendStatementToBroker": trader.broker_statement,
        "isLimitedRisk": trader.limited_risk,
        "limitedRisk": trader.limited_risk,
        "limitedRiskMarginCalculationStrategy": trader.risk_strategy,
        "accountLifetimeType": trader.lifetime,
        **_LEGACY,
    }


_NOTHING: Final = msgspec.Raw(b"0.0")
_RATES: Final = ("introducingBrokerCommissionRate", "pocketCommissionRate", "pocketMarkupRate")
_DEFAULTS: Final = ("defaultIntroducingBrokerCommissionRate", "defaultPocketCommissionRate", "defaultPocketMarkupRate")
_LEGACY: Final = {
    "introducingBroker": False,
    **dict.fromkeys((*_RATES, *_DEFAULTS, "defaultRebateRate"), _NOTHING),
    **dict.fromkeys(("splitRevenue", "defaultSplitRevenue", "frenchRisk"), False),
    **dict.fromkeys(("ibCommissionsType", "defaultIbCommissionsType"), "USD_PER_MILLION_USD"),
}
"""Fields of real answers that today's documentation does not mention (reference, section 4.1)."""


# Positions (reference, sections 4.12 and 4.13)


def open_cells(position: Position, ledger: CtraderLedger) -> tuple[str, ...]:
    """The cells of an open position in the order of `OPEN_COLUMNS`."""
    symbol, digits = position.symbol, ledger.trader(position.login).digits
    commission = ledger.commission_for(symbol, position.entry, position.left) // 2
    swap = ledger.swap_for(position, position.left, ledger.now())
    return (
        str(position.login),
        str(position.id),
        stamp(position.opened_at),
        fixed(position.entry, symbol.digits),
        _direction(position),
        fixed(position.left, 2),
        symbol.name,
        fixed(commission, 2),
        fixed(swap, 2),
        _book(position),
        "" if not position.betting and position.id % 7 == 0 else _stake(position, position.left, digits),
        "true" if position.betting else "false",
        fixed(position.margin, digits),
    )


def closed_cells(deal: Deal, trader: Trader) -> tuple[str, ...]:
    """The cells of a closing deal in the order of `CLOSED_COLUMNS`."""
    position, digits = deal.position, trader.digits
    symbol = position.symbol
    return (
        str(trader.login),
        str(position.id),
        str(deal.id),
        stamp(position.opened_at),
        stamp(deal.closed_at),
        fixed(position.entry, symbol.digits),
        fixed(deal.price, symbol.digits),
        _direction(position),
        fixed(deal.volume, 2),
        symbol.name,
        fixed(deal.commission, 2),
        fixed(deal.swap, 2),
        fixed(deal.pnl, digits),
        _rate(symbol, deal.price, trader.currency),
        _rate(symbol, deal.price, "USD"),
        _book(position),
        _stake(position, deal.volume, digits),
        "true" if position.betting else "false",
    )


def _direction(position: Position) -> str:
    return "SELL" if position.side == SELL else "BUY"


def _book(position: Position) -> str:
    """Every third position is passed on."""
    return "BOOK_B" if position.id % 3 else "BOOK_A"


def _stake(position: Position, volume: int, digits: int) -> str:
    return fixed(position.stake * volume // position.volume, digits)


def _rate(symbol: Symbol, price: int, currency: str) -> str:
    """What one unit of the base asset is worth in a currency."""
    dollars = catalogue.DOLLARS
    worth = price * dollars[symbol.quote] * 10**_RATE_DIGITS // (dollars[currency] * 10**symbol.digits)
    return number(worth, _RATE_DIGITS)


def as_json(columns: tuple[str, ...], cells: tuple[str, ...]) -> dict[str, msgspec.Raw]:
    """A row of positions as the tokens of a JSON object; an empty cell is null."""
    tokens = (f'"{cell}"' if name in TEXTS else cell or "null" for name, cell in zip(columns, cells, strict=True))
    return {name: msgspec.Raw(token.encode()) for name, token in zip(columns, tokens, strict=True)}


# What only `/_sandbox/books` shows, and the small answers


def user_fields(user: User) -> dict[str, Any]:
    """A user as it is answered when it is new (reference, section 5.1)."""
    return {
        "userId": user.id,
        "nickname": f"ctid{user.id}",
        "email": user.email,
        "preferredLanguage": user.language,
        "utcCreateTimestamp": user.created_at,
        "status": "CTID_NEW",
    }


def symbol_fields(symbol: Symbol) -> dict[str, Any]:
    """A symbol (reference, section 6)."""
    described = {} if symbol.description is None else {"description": symbol.description}
    return {
        "name": symbol.name,
        "id": symbol.id,
        **described,
        "assetClass": symbol.asset_class,
        "category": symbol.category,
        "quotesEnabled": True,
        "showInCtrader": True,
    }


def movement_fields(movement: Movement) -> dict[str, Any]:
    """A line of the balance history, the amount as exact text."""
    return {
        "id": movement.id,
        "login": movement.login,
        "kind": movement.kind,
        "amount": fixed(movement.amount, movement.digits),
        "at": movement.at,
        "comment": movement.comment,
        "externalId": movement.external_id,
        "externalNote": movement.external_note,
        "source": movement.source,
    }
