"""What the simulated cTrader broker sets up before anybody trades: assets, groups, symbols and people's names.

Rates between currencies are fixed, so that the books can be recomputed by hand. Symbol names come in both styles that were
seen, `EURUSD` and `AUD/USD` (reference, section 4.12).
"""

import random
from typing import Any, Final, NamedTuple

from counterfoil.sandbox.ctrader_rows import Group, Symbol

DIGITS: Final[dict[str, int]] = {"EUR": 2, "USD": 2, "BTC": 8}
"""The deposit currencies and their moneyDigits (reference, section 1.4)."""

DOLLARS: Final[dict[str, int]] = {
    "USD": 100_000_000,
    "EUR": 108_500_000,
    "GBP": 127_250_000,
    "JPY": 666_667,
    "AUD": 65_800_000,
    "CHF": 111_850_000,
    "XAU": 238_050_000_000,
    "BTC": 6_420_000_000_000,
}
"""What one unit is worth in US dollars, times 10**8."""

DEFAULT_GROUP: Final = "default"

GROUPS: Final = (
    Group(1, DEFAULT_GROUP, "Accounts registered by the CRM"),
    Group(2, "enabled_accounts", None),
    Group(5, "Pro, höhere Limits", "Professional clients"),
    Group(11, "bitcoin", "Deposits in BTC"),
)


def symbols() -> list[Symbol]:
    """Eight symbols at their first prices."""
    listed = [
        Symbol(1, "EURUSD", "Euro vs US Dollar", "Forex", "Majors", "EUR", "USD", 5, 108_500, 12, 100_000, -62, 21),
        Symbol(2, "GBPUSD", "Pound vs US Dollar", "Forex", "Majors", "GBP", "USD", 5, 127_250, 15, 100_000, -48, 9),
        Symbol(4, "USDJPY", "US Dollar vs Yen", "Forex", "Majors", "USD", "JPY", 3, 150_000, 13, 100_000, 90, -170),
        Symbol(5, "AUD/USD", None, "Forex", "Minors", "AUD", "USD", 5, 65_800, 14, 100_000, -25, 4),
        Symbol(9, "EURGBP", "Euro vs Pound", "Forex", "Minors", "EUR", "GBP", 5, 85_260, 14, 100_000, -52, 15),
        Symbol(12, "USDCHF", "US Dollar vs Franc", "Forex", "Majors", "USD", "CHF", 5, 89_400, 16, 100_000, 31, -78),
        Symbol(41, "XAUUSD", "Gold vs US Dollar", "Metals", "Spot", "XAU", "USD", 2, 238_050, 25, 100, -3_100, 1_200),
        Symbol(101, "BTCUSD", "Bitcoin", "Crypto", "Coins", "BTC", "USD", 2, 6_420_000, 1_500, 1, -2_400, -2_400),
    ]
    for symbol in listed:
        symbol.bid = symbol.start
    return listed


class Factors(NamedTuple):
    """From points times hundredths of a base unit to the smallest unit of a currency: `up` / `down`."""

    up: int
    down: int


def factors(symbol: Symbol, currency: str) -> Factors:
    """How a symbol's moves are worth in a currency; volume is in hundredths of a base unit."""
    return Factors(DOLLARS[symbol.quote] * 10 ** DIGITS[currency], DOLLARS[currency] * 10**symbol.digits * 100)


def from_cents(us_cents: int, currency: str) -> int:
    """US cents in the smallest unit of a currency, rounded towards minus infinity."""
    scaled: int = us_cents * 10**8 * 10 ** DIGITS[currency]
    return scaled // (DOLLARS[currency] * 100)


_FIRST: Final = ("Anna", "Omar", "Zoë", "Jürgen", "Mei", "Lucía", "Noah", "Aïcha", "Kenji", "Priya", "Ivan", "Łukasz")
_FAMILY: Final = ("Berg", "Haddad", "O'Neill", "Nakamura", "García", "Müller", "Chen", "Diallo", "Novák", "Rossi")
_PLACES: Final = ((276, "Köln"), (784, "Dubai"), (392, "Osaka"), (840, "Austin"), (724, "Cádiz"), (8, "Tirana"))
"""ISO 3166-1 numbers (reference, section 8) and cities."""


def invented_person(dice: random.Random, serial: int) -> dict[str, Any]:
    """Master data of a made-up trader: every fifth has no name, every third no contact details."""
    country, city = dice.choice(_PLACES)
    named = {"name": dice.choice(_FIRST), "last_name": dice.choice(_FAMILY)} if serial % 5 else {}
    contact = {"city": city, "countryId": country, "phone": f"+4930{serial:07}", "email": f"trader{serial}@example.com"}
    return {
        **named,
        "contact": contact if serial % 3 else {},
        "description": 'says "hello, world"' if serial % 7 == 0 else None,
    }
