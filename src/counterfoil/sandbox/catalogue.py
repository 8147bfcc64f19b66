"""What a broker sets up before anybody trades: symbols, groups, group symbols, commissions, and people's names.

Fields: reference, sections 5.1 to 5.5. Group 79 is the one of the seed's sample. Conversion rates between currencies are
fixed, so that the books can be recomputed by hand.
"""

import random
from typing import Any, Final, NamedTuple

from counterfoil.sandbox.rows import Group, Instrument
from counterfoil.sandbox.text import raw, stamp

_MARGINS: Final = ("initial", "maintenance", "buy", "sell")
_ORDER_KINDS: Final = ("buy_limit", "sell_limit", "buy_stop", "sell_stop", "buy_stop_limit", "sell_stop_limit")
_CLASSES: Final = {1: "Forex", 2: "Metals", 3: "Crypto"}
_CRYPTO: Final = 3

_DOLLARS: Final = {"USD": 100_000_000, "EUR": 108_500_000, "GBP": 127_250_000, "JPY": 666_667, "CHF": 111_850_000}
"""What one unit is worth in US dollars, times 10**8."""

_PER_LOT: Final = {1: 350, 2: 500, 3: 120}
"""Commission in US cents per lot and side, by symbol class."""


class GroupPlan(NamedTuple):
    """One line of the group tree."""

    id: int
    parent: int
    title: str
    currency: str
    digits: int
    leverage: int
    kind: int = 0
    demo: int = 0


PLANS: Final = (
    GroupPlan(1, 0, "Clients", "USD", 2, 100),
    GroupPlan(2, 0, "Staff", "USD", 2, 100, kind=1),
    GroupPlan(10, 1, "Standard USD", "USD", 2, 100),
    GroupPlan(11, 1, "Standard EUR", "EUR", 2, 100),
    GroupPlan(12, 1, "Standard JPY", "JPY", 0, 200),
    GroupPlan(13, 1, "Pro", "USD", 2, 500),
    GroupPlan(20, 13, "Pro, höhere Limits", "EUR", 2, 500),
    GroupPlan(79, 1, "Registered by the CRM", "USD", 2, 100),
    GroupPlan(90, 1, "Demo", "USD", 2, 100, demo=1),
)

_HOLDING: Final = 10
"""Accounts are opened in groups from this id on; the ones below only hold other groups."""


def instruments() -> list[Instrument]:
    """Twelve instruments at their first prices."""
    listed = [
        Instrument(1, "EURUSD", "Euro vs US Dollar", "EUR", "USD", 5, 100_000, 1, 108_500, 12, -620, 210),
        Instrument(2, "GBPUSD", "Pound Sterling vs US Dollar", "GBP", "USD", 5, 100_000, 1, 127_250, 15, -480, 90),
        Instrument(4, "USDCHF", "US Dollar vs Swiss Franc", "USD", "CHF", 5, 100_000, 1, 89_400, 16, 310, -780),
        Instrument(5, "AUDUSD", "Australian Dollar vs US Dollar", "AUD", "USD", 5, 100_000, 1, 65_800, 14, -250, 40),
        Instrument(6, "USDJPY", "US Dollar vs Yen", "USD", "JPY", 3, 100_000, 1, 150_000, 13, 900, -1_700),
        Instrument(7, "EURJPY", "Euro vs Yen", "EUR", "JPY", 3, 100_000, 1, 162_750, 17, 640, -1_300),
        Instrument(8, "EURGBP", "Euro vs Pound Sterling", "EUR", "GBP", 5, 100_000, 1, 85_260, 14, -520, 150),
        Instrument(9, "GBPJPY", "Pound Sterling vs Yen", "GBP", "JPY", 3, 100_000, 1, 190_875, 22, 1_100, -2_050),
        Instrument(20, "XAUUSD", "Gold vs US Dollar", "XAU", "USD", 2, 100, 2, 238_050, 25, -3_100, 1_200),
        Instrument(21, "XAGUSD", "Silver vs US Dollar", "XAG", "USD", 3, 5_000, 2, 28_410, 30, -900, 300),
        Instrument(30, "BTCUSD", "Bitcoin vs US Dollar", "BTC", "USD", 2, 1, 3, 6_420_000, 1_500, -2_400, -2_400),
        Instrument(31, "ETHUSD", "Ether vs US Dollar", "ETH", "USD", 2, 10, 3, 318_000, 220, -1_300, -1_300),
    ]
    for instrument in listed:
        instrument.bid = instrument.start
    return listed


def exchange_rate(source: str, target: str) -> int:
    """How many units of `target` one unit of `source` buys, times 10**8."""
    return _DOLLARS[source] * 10**8 // _DOLLARS[target]


def in_currency(us_cents: int, group: Group) -> int:
    """An amount of US cents in the smallest unit of a group's currency, rounded down to nothing less than one unit."""
    cents = us_cents * exchange_rate("USD", group.currency) * 10**group.digits // 10**10
    return cents or (1 if us_cents > 0 else -1)


def trading_groups() -> list[Group]:
    """The groups that hold accounts."""
    groups = []
    for plan in PLANS:
        if plan.id >= _HOLDING:
            group = Group(plan.id, plan.currency, plan.digits, plan.leverage, plan.demo, {})
            group.commission = {kind: in_currency(cents, group) for kind, cents in _PER_LOT.items()}
            groups.append(group)
    return groups


def group_fields(plan: GroupPlan, at: int) -> dict[str, Any]:
    """A group's record (reference, section 5.3)."""
    return {
        "id": plan.id,
        "root": plan.parent == 0,
        "parent_id": plan.parent,
        "group_type": plan.kind,
        "desc": plan.title,
        "status": "",
        "currency": plan.currency,
        "currency_digits": plan.digits,
        "default_leverage": plan.leverage,
        "limit_history": None,
        "limit_orders": 0,
        "limit_positions": 0,
        "limit_positions_volume": 0,
        "limit_symbols": None,
        "margin_mode": 0,
        "margin_call": 100,
        "margin_stop_out": 50,
        "full_stop_out": False,
        "compensate_negative_balance": False,
        "groups": [],
        "trade_accounts": None,
        "created_at": stamp(at),
        "updated_at": stamp(at),
        "created_by": 1,
    }


def symbol_fields(instrument: Instrument, at: int) -> dict[str, Any]:
    """A symbol's record: the seed's list, then what the vendor's model adds (reference, section 5.5)."""
    rate = raw(1, 1) if instrument.class_id == _CRYPTO else raw(1, 0)
    return {
        "id": instrument.id,
        "symbol": instrument.name,
        "isin": str(instrument.id),
        "desc": instrument.title,
        "base_currency": instrument.base,
        "quote_currency": instrument.quote,
        "symbol_scale": 0,
        "quote_scale": 0,
        "broker_fee": 0,
        "maker_fee": 0,
        "symbol_class": _symbol_class(instrument.class_id),
        "margin_flags": 0,
        **{f"margin_{name}": rate for name in _MARGINS},
        **dict.fromkeys(_ORDER_KINDS, 0),
        "maintenance_margin_buy": rate,
        "maintenance_margin_sell": rate,
        **{f"maintenance_{kind}": 0 for kind in _ORDER_KINDS},
        **_trading_terms(instrument),
        "created_at": stamp(at),
        "updated_at": stamp(at),
    }


def _symbol_class(class_id: int) -> dict[str, Any]:
    return {"id": class_id, "parent_id": 0, "desc": _CLASSES[class_id], "symbol_classes": None, "symbols": None}


def _trading_terms(instrument: Instrument) -> dict[str, Any]:
    return {
        "enabled": True,
        "trade_level": 0,
        "execution": 2,
        "gtc": 0,
        "filling": 0,
        "expiration": "0,1,2,3",
        "orders": "0,1,2,3,4,5",
        "min_value": raw(1, 2),
        "max_value": 100,
        "step": raw(1, 2),
        "swaps_enabled": True,
        "swap_type": 1,
        "swap_long": raw(instrument.swap_long, 2),
        "swap_short": raw(instrument.swap_short, 2),
        "digits": instrument.digits,
        "contract_size": instrument.contract,
        "calculation": 0 if instrument.class_id == 1 else 2,
        "spread": instrument.spread,
        "stop_level": 0,
        "status": 0,
        "tick_size": raw(1, instrument.digits),
        "tick_value": 0,
        "symbol_class_id": instrument.class_id,
    }


def group_symbol_fields(key: int, group: Group, instrument: Instrument, at: int) -> dict[str, Any]:
    """The terms of one symbol in one group, under an id of its own (ASSUMED: the symbol's settings plus both ids)."""
    fields = symbol_fields(instrument, at)
    return {**fields, "id": key, "group_id": group.id, "symbol_id": instrument.id}


def commission_fields(key: int, group: Group, class_id: int, at: int) -> dict[str, Any]:
    """A commission per lot and side with two tiers (reference, section 5.4)."""
    value = raw(group.commission[class_id], group.digits)
    tier = {"mode": 0, "type": 0, "value": value, "range_from": 0, "range_to": 10_000, "min": 0, "max": 0}
    wide = {**tier, "range_from": 10_000, "range_to": 1_000_000}
    return {
        "id": key,
        "group_id": group.id,
        "symbol_class_id": class_id,
        "name": f"{_CLASSES[class_id]} per lot",
        "desc": f"charged on entry and on exit, {_CLASSES[class_id]}",
        **dict.fromkeys(("mode", "mode_range", "mode_charge", "mode_entry", "mode_action", "mode_profit"), 0),
        "mode_reason": 1,
        "commission_tiers": [{**row, "currency": group.currency} for row in (tier, wide)],
        "created_at": stamp(at),
        "updated_at": stamp(at),
    }


CLIENT_FIELDS: Final[dict[str, Any]] = {
    **dict.fromkeys(("type", "status", "kyc_status", "manager_id", "preferred_group", "approved_by"), 0),
    **dict.fromkeys(("approval_date", "close_date", "last_contact_date")),
    **dict.fromkeys(("lead_source", "lead_campaign", "introducer", "title"), ""),
    **dict.fromkeys(("first_name", "middle_name", "family_name", "gender"), ""),
    "birth_date": None,
    "language": "",
    "preferred_method": 0,
    **dict.fromkeys(("mobile", "messengers", "social_networks", "external_id"), ""),
    "document_type": 0,
    "document_number": "",
    **dict.fromkeys(("issue_date", "expiry_date")),
    **dict.fromkeys(("comment", "country", "state", "city", "zip_code", "address", "national", "tax_id"), ""),
    **dict.fromkeys(("employment_status", "employment_industry", "education_level", "source_of_wealth"), 0),
    **dict.fromkeys(("net_worth", "annual_income", "annual_deposit"), 0),
    **dict.fromkeys(("forex_experience", "stocks_experience", "cfd_experience"), 0),
    **dict.fromkeys(("email", "local_number"), ""),
    "futures_experience": 0,
}
"""A client's writable fields with what they hold when nobody said: the seed's list, then the vendor's (section 5.1)."""

PROFILE_FIELDS: Final = (
    *("first_name", "middle_name", "family_name", "company", "email", "phone"),
    *("country", "zip_code", "state", "city", "address"),
)
"""An account's own fields besides ids, login name and passwords (reference, section 5.2)."""

_FIRST: Final = ("Anna", "Omar", "Zoë", "Jürgen", "Mei", "Lucía", "Noah", "Aïcha", "Kenji", "Priya", "Ivan", "Łukasz")
_FAMILY: Final = ("Berg", "Haddad", "O'Neill", "Nakamura", "García", "Müller", "Chen", "Diallo", "Novák", "Rossi")
_PLACES: Final = (("Germany", "Köln"), ("UAE", "Dubai"), ("Japan", "Osaka"), ("USA", "Austin"), ("Spain", "Cádiz"))


def invented_client(dice: random.Random, serial: int) -> dict[str, Any]:
    """A made-up person. About one in three carries an external id already."""
    first, family = dice.choice(_FIRST), dice.choice(_FAMILY)
    country, city = dice.choice(_PLACES)
    return {
        "status": 9,
        "first_name": first,
        "family_name": family,
        "email": f"person{serial}@example.com",
        "mobile": f"+4930{serial:07}",
        "country": country,
        "city": city,
        "language": "en",
        "external_id": "" if serial % 3 else f"crm-{serial}",
        "birth_date": f"{1950 + serial % 50}-0{1 + serial % 9}-15",
        "annual_income": raw(dice.randrange(1_000_000, 20_000_000), 2),
        "comment": 'says "hello, world"; tab\there' if serial % 7 == 0 else "",
    }
