"""The rows of the simulated cTrader server.

Units inside: money in the smallest unit of the account's currency (10**-moneyDigits), US dollars in cents, prices in points
of the symbol, volumes in hundredths of a base unit, times in milliseconds since 1970, UTC. How they look outside is said in
`ctrader_wire`.
"""

from typing import Any, Final

import msgspec

BUY: Final = 0
SELL: Final = 1

DEPOSIT: Final = "DEPOSIT"
WITHDRAW: Final = "WITHDRAW"
DEPOSIT_CREDIT: Final = "DEPOSIT_NONWITHDRAWABLE_BONUS"
WITHDRAW_CREDIT: Final = "WITHDRAW_NONWITHDRAWABLE_BONUS"
DEPOSIT_BONUS: Final = "DEPOSIT_BONUS"
WITHDRAW_BONUS: Final = "WITHDRAW_BONUS"

LEDGERS: Final = {
    DEPOSIT: "balance",
    WITHDRAW: "balance",
    DEPOSIT_CREDIT: "credit",
    WITHDRAW_CREDIT: "credit",
    DEPOSIT_BONUS: "bonus",
    WITHDRAW_BONUS: "bonus",
}
"""Which of a trader's sums a kind of movement changes (reference, sections 4.7 and 4.10). The last two are ours."""

OUTWARD: Final = frozenset({WITHDRAW, WITHDRAW_CREDIT, WITHDRAW_BONUS})


class Group(msgspec.Struct, frozen=True):
    """A group of traders (reference, section 4.11)."""

    id: int
    name: str
    description: str | None


class Symbol(msgspec.Struct, gc=False):
    """A symbol as the market trades it. `lot`: base units; swaps: US cents per lot and night."""

    id: int
    name: str
    description: str | None
    asset_class: str
    category: str
    base: str
    quote: str
    digits: int
    start: int
    spread: int
    lot: int
    swap_long: int
    swap_short: int
    bid: int = 0

    @property
    def ask(self) -> int:
        """What a buyer pays."""
        return self.bid + self.spread


class User(msgspec.Struct, kw_only=True):
    """A cTID (reference, section 5.1)."""

    id: int
    email: str
    language: str
    created_at: int


class Trader(msgspec.Struct, kw_only=True):
    """A trading account (reference, section 4.1). `credit`: nonWithdrawableBonus; `group`: the group's name.

    The sums are kept up with every booking; `check` of the books adds them up anew. `brand_told`: whether the broker's name
    is shown (it is sometimes absent). `low` and `high`: the equity's extremes of `day`, counted from 1970.
    """

    login: int
    group: str
    currency: str
    digits: int
    broker: str
    registered_at: int
    updated_at: int
    password_hash: str
    name: str | None = None
    last_name: str | None = None
    description: str | None = None
    contact: dict[str, Any]
    access_rights: str = "FULL_ACCESS"
    account_type: str = "HEDGED"
    margin_type: str = "MAX"
    leverage: int = 10_000
    max_leverage: int | None = None
    limited_risk: bool = False
    risk_strategy: str = "ACCORDING_TO_LEVERAGE"
    own_statement: bool = False
    broker_statement: bool = False
    swap_free: bool = False
    lifetime: str = "UNLIMITED"
    brand_told: bool = True
    connected_at: int | None = None
    owner: int | None = None
    balance: int = 0
    bonus: int = 0
    credit: int = 0
    floating: int = 0
    margin: int = 0
    day: int = 0
    low: int = 0
    high: int = 0

    @property
    def equity(self) -> int:
        """Balance and what the open positions would bring."""
        return self.balance + self.floating

    @property
    def cash_equity(self) -> int:
        """What can be withdrawn: nobody here charges fees for a Copy strategy."""
        return self.equity

    @property
    def free_margin(self) -> int:
        """Equity that is not in use."""
        return self.equity - self.margin


class Movement(msgspec.Struct, gc=False, kw_only=True):
    """A line of the balance history, which this API never shows. `amount` is signed, money in is positive."""

    id: int
    login: int
    kind: str
    amount: int
    digits: int
    at: int
    comment: str = ""
    external_id: str = ""
    external_note: str = ""
    source: str = ""


class Position(msgspec.Struct, gc=False, kw_only=True):
    """A position, open until `left` is 0."""

    id: int
    login: int
    symbol: Symbol
    side: int
    entry: int
    volume: int
    left: int
    margin: int
    opened_at: int
    stake: int = 0
    betting: bool = False
    floating: int = 0


class Deal(msgspec.Struct, gc=False, kw_only=True):
    """A closing deal. `pnl` is net of commission and swap; those two are US cents, `commission` as a positive charge."""

    id: int
    position: Position
    price: int
    volume: int
    commission: int
    swap: int
    pnl: int
    closed_at: int

    @property
    def login(self) -> int:
        """Whose deal it is."""
        return self.position.login
