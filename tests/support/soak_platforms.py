"""The platforms of the soak: their settings, what goes wrong on them, and what their own books say."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar

from counterfoil.domain.references import idempotency_reference
from counterfoil.sandbox import Sandbox, SandboxOptions

SHARED = """
    base_url: {url}
    password: sandbox
    timeout: 1s
    lease: 6s
    unknown: {{settle: 2s, looks: 2, between: 500ms}}
"""
RATE = "per_second: 400, burst: 400, concurrent: 8"


def faults_of(money: str, making: str) -> tuple[dict[str, Any], ...]:
    """What any platform does to whoever writes: to balance operations at one path, to new people and accounts at another."""
    return (
        {"kind": "drop_after", "path": money},
        {"kind": "drop_before", "path": money},
        {"kind": "error_after", "path": money, "status": 502},
        {"kind": "error_before", "path": money, "status": 503},
        {"kind": "drop_after", "method": "POST", "path": making},
        {"kind": "error_after", "method": "POST", "path": making, "status": 500},
        {"kind": "rate_limited", "path": money, "retry_after": 1},
        {"kind": "delay", "path": money, "seconds": 0.4},
        {"kind": "delay", "path": money, "seconds": 1.5},
        {"kind": "expire_tokens", "path": money},
        {"kind": "truncated", "path": money},
    )


@dataclass
class OMTraderSide:
    """One OMTrader platform of the soak."""

    sandbox: Sandbox
    name: ClassVar[str] = "live"
    kind: ClassVar[str] = "omtrader"
    faults: ClassVar[Sequence[dict[str, Any]]] = faults_of("/money$", "/(clients|accounts)$")

    def settings(self) -> str:
        """Its part of the settings."""
        return f"""
  live:
    kind: omtrader
    username: crm-api
    rate_limit: {{{RATE}}}
    account_defaults: {{group_id: 10}}
    pull: {{clients: {{every: 3s}}, accounts: {{every: 3s}}, deals: {{every: 1s}}, transactions: {{every: 2s}},
      groups: {{every: 1h}}, symbols: off, positions: off, orders: off, commissions: off, group_symbols: off, sweep: off}}
{SHARED.strip(chr(10)).format(url=self.sandbox.url)}"""

    def booked(self, reference: str) -> list[tuple[int, Decimal]]:
        """Records and signed amounts under our reference."""
        ours = idempotency_reference(reference)
        rows = [row for row in self.sandbox.books.transactions if row.comment == ours]
        return [(row.id, Decimal(row.amount).scaleb(-row.currency_digits)) for row in rows]

    def wrong(self) -> list[str]:
        """People and accounts that were made more than once, and sums that do not add up."""
        books = self.sandbox.books
        made = Counter(client.fields["external_id"] for client in books.clients)
        named = Counter(account.username for account in books.accounts)
        found = [f"client {name} was made {made[name]} times" for name in made if name and made[name] > 1]
        return [
            *found,
            *(f"account {name} was made {named[name]} times" for name in named if named[name] > 1),
            *books.check(),
        ]


@dataclass
class CTraderSide:
    """One cTrader platform of the soak, on which positions close all the while."""

    sandbox: Sandbox
    name: ClassVar[str] = "ct"
    kind: ClassVar[str] = "ctrader"
    # No operation is as large as what a position brings, so that no sum of them can be taken for one.
    faults: ClassVar[Sequence[dict[str, Any]]] = (
        *faults_of("/changebalance$", "/(traders|create)$"),
        {"kind": "close_meanwhile", "path": "/changebalance$", "pnl": "1000.00"},
        {"kind": "without_history_id", "path": "/changebalance$"},
        {"kind": "late_deals", "path": "/closedPositions$", "rows": 1, "after": 2},
        {"kind": "filter_on_open", "path": "/closedPositions$"},
    )

    def settings(self) -> str:
        """Its part of the settings."""
        return f"""
  ct:
    kind: ctrader
    manager_login: 2309
    broker_name: BESTBROKER
    environment_name: live
    rate_limit: {{{RATE}, writes_per_hour: 1000000}}
    account_defaults: {{groupName: default, depositCurrency: EUR, leverageInCents: 10000}}
    pull: {{accounts: {{every: 3s}}, deals: {{every: 3s}}, positions: off, transactions: off, groups: {{every: 1h}}, symbols: off,
      deposit_assets: off, subaccounts: off, clients: off, sweep: off}}
{SHARED.strip(chr(10)).format(url=self.sandbox.url)}"""

    def booked(self, reference: str) -> list[tuple[int, Decimal]]:
        """Records and signed amounts under our reference."""
        ours = idempotency_reference(reference)
        rows = [row for row in self.sandbox.books.history if ours in (row.comment, row.external_id)]
        return [(row.id, Decimal(row.amount).scaleb(-row.digits)) for row in rows]

    def linked(self, account_id: int, user_id: int) -> int | None:
        """The link of an account to a user; None when there is none to this one."""
        books = self.sandbox.books
        return books.link_ids.get(account_id) if books.links.get(account_id) == user_id else None

    def wrong(self) -> list[str]:
        """Accounts that were made more than once, and sums that do not add up."""
        books = self.sandbox.books
        made = Counter(trader.description for trader in books.traders.values() if trader.description)
        found = [f"account {marker} was made {times} times" for marker, times in made.items() if times > 1]
        return [*found, *books.check()]


Side = OMTraderSide | CTraderSide
SIDES: dict[str, list[type[Side]]] = {
    "omtrader": [OMTraderSide],
    "ctrader": [CTraderSide],
    "both": [OMTraderSide, CTraderSide],
}


def sides_of(platform: str, seed: int) -> list[Side]:
    """The platforms that are asked for, each with a small past."""
    small = {"clients": 5, "accounts": 5, "deals": 50, "seed": seed}
    return [side(Sandbox(SandboxOptions(kind=side.kind, **small))) for side in SIDES[platform]]
