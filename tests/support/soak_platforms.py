"""The platforms of a soak: how each is set up, how it misbehaves, what its own books say, and the person at its desk."""

import random
from abc import ABC, abstractmethod
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from counterfoil.domain.errors import ConfigurationError
from counterfoil.domain.references import idempotency_reference
from counterfoil.sandbox import Sandbox, SandboxOptions
from counterfoil.sandbox.ledger import RefusedError
from counterfoil.store import decisions
from counterfoil.store import engine as engines
from counterfoil.store.decisions import Because

COMMON = """
    timeout: 1s
    lease: 6s
    unknown: {{settle: 2s, looks: 2, between: 500ms}}
"""
OMTRADER = """
  {name}:
    kind: omtrader
    base_url: {url}
    username: crm-api
    password: sandbox
    rate_limit: {{per_second: 400, burst: 400, concurrent: 8}}
    account_defaults: {{group_id: 10}}
    pull: {{clients: {{every: 3s}}, accounts: {{every: 3s}}, deals: {{every: 1s}}, transactions: {{every: 2s}}, groups: {{every: 1h}},
      symbols: off, positions: off, orders: off, commissions: off, group_symbols: off, sweep: off}}"""
CTRADER = """
  {name}:
    kind: ctrader
    base_url: {url}
    manager_login: 2309
    password: sandbox
    broker_name: BESTBROKER
    environment_name: live
    rate_limit: {{per_second: 400, burst: 400, concurrent: 8, writes_per_hour: 1000000}}
    account_defaults: {{groupName: default, depositCurrency: EUR, leverageInCents: 10000}}
    pull: {{accounts: {{every: 3s}}, positions: {{every: 3s}}, deals: {{every: 3s}}, transactions: {{every: 3s}}, clients: {{every: 3s}},
      groups: {{every: 1h}}, symbols: {{every: 1h}}, deposit_assets: off, subaccounts: off, sweep: off}}"""
Fault = dict[str, Any]


def _faults(money: str, making: str) -> tuple[Fault, ...]:
    return (
        {"kind": "drop_after", "path": money},
        {"kind": "drop_before", "path": money},
        {"kind": "error_after", "path": money, "status": 502},
        {"kind": "error_before", "path": money, "status": 503},
        {"kind": "drop_after", "method": "POST", "path": making},
        {"kind": "error_after", "method": "POST", "path": making, "status": 500},
        {"kind": "delay", "path": money, "seconds": 0.4},
        {"kind": "delay", "path": money, "seconds": 1.5},
        {"kind": "expire_tokens", "path": money},
        {"kind": "truncated", "path": money},
    )


@dataclass
class Booked:
    """One line of a platform's own books under our reference; money in is positive."""

    record_id: int
    amount: Decimal


@dataclass
class Soaked(ABC):
    """One platform of a soak."""

    name: str
    seed: int
    counts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.sandbox = Sandbox(SandboxOptions(kind=self.kind, clients=5, accounts=5, deals=50, seed=self.seed))

    @property
    @abstractmethod
    def kind(self) -> str:
        """The kind of its API."""

    @property
    @abstractmethod
    def settings(self) -> str:
        """Its part of the settings."""

    @property
    @abstractmethod
    def faults(self) -> tuple[Fault, ...]:
        """How it misbehaves, one at a time."""

    @abstractmethod
    def booked(self, reference: str) -> list[Booked]:
        """What its own books hold under our reference."""

    @abstractmethod
    def doubled(self) -> list[str]:
        """People and accounts that were made more than once."""

    def disturb(self, dice: random.Random) -> None:
        """What goes on beside us; nothing, where nothing would be learnt from it."""
        del dice

    async def decide(self, url: str, row: Any) -> str | None:
        """What a person does about a request that is parked; None: it should not be."""
        del url, row
        return None


class SoakedOMTrader(Soaked):
    """OMTrader: everything can be found again, so nothing may be left to a person."""

    kind = "omtrader"

    @property
    def settings(self) -> str:
        """See Soaked."""
        return (OMTRADER + COMMON).format(name=self.name, url=self.sandbox.url)

    @property
    def faults(self) -> tuple[Fault, ...]:
        """See Soaked."""
        limited = {"kind": "rate_limited", "path": "/money$", "retry_after": 1}
        return (*_faults("/money$", "/(clients|accounts)$"), limited)

    def booked(self, reference: str) -> list[Booked]:
        """See Soaked."""
        ours = idempotency_reference(reference)
        rows = [row for row in self.sandbox.books.transactions if row.comment == ours]
        return [Booked(row.id, Decimal(row.amount).scaleb(-row.currency_digits)) for row in rows]

    def doubled(self) -> list[str]:
        """See Soaked."""
        made = Counter(client.fields["external_id"] for client in self.sandbox.books.clients)
        named = Counter(account.username for account in self.sandbox.books.accounts)
        return [f"client {name} was made {made[name]} times" for name in made if name and made[name] > 1] + [
            f"account {name} was made {named[name]} times" for name in named if named[name] > 1
        ]


class SoakedCTrader(Soaked):
    """cTrader: positions open and close meanwhile, and what arithmetic leaves open is decided by a person who reads the books."""

    kind = "ctrader"
    WHO = Because(reason="compared with the books of the platform", person="soak")

    @property
    def settings(self) -> str:
        """See Soaked."""
        return (CTRADER + COMMON).format(name=self.name, url=self.sandbox.url)

    @property
    def faults(self) -> tuple[Fault, ...]:
        """See Soaked."""
        closing = {"kind": "close_meanwhile", "path": "/changebalance$", "count": 1}
        return (*_faults("/changebalance$", "/traders$|/ctid/(create|link)$"), closing)

    def booked(self, reference: str) -> list[Booked]:
        """See Soaked."""
        ours = idempotency_reference(reference)
        rows = [row for row in self.sandbox.books.history if ours in (row.comment, row.external_id)]
        return [Booked(row.id, Decimal(row.amount).scaleb(-row.digits)) for row in rows]

    def doubled(self) -> list[str]:
        """See Soaked."""
        marked = Counter(trader.description for trader in self.sandbox.books.traders.values())
        return [f"account {name} was made {marked[name]} times" for name in marked if name and marked[name] > 1]

    def disturb(self, dice: random.Random) -> None:
        """One of our accounts opens a position, or closes one."""
        books = self.sandbox.books
        if not books.links:
            return
        login = dice.choice(list(books.links))
        held = books.positions_of(login)
        if held and dice.random() < 0.5:
            books.close_position(dice.choice(held).id)
            self.counts["closed"] += 1
        else:
            symbol = dice.choice(list(books.symbols.values()))
            try:
                books.open_position(login, symbol.name, dice.randrange(2), dice.randint(1, 50) * 1_000)
            except RefusedError:
                return
            self.counts["opened"] += 1

    async def decide(self, url: str, row: Any) -> str | None:
        """See Soaked: what stands in the books is confirmed, what does not is sent again."""
        if row.kind == "link":
            login = row.account_id
            verdict = "confirm" if login in self.sandbox.books.links else "retry"
            return await self._say(url, row, verdict, None)
        if row.amount is None or (row.evidence or {}).get("finding") not in ("doubtful", "unclear"):
            return None
        found = self.booked(row.reference)
        return await self._say(url, row, "confirm" if found else "retry", found[0].record_id if found else None)

    async def _say(self, url: str, row: Any, verdict: str, record_id: int | None) -> str:
        database = engines.create(url, pool_size=1)
        try:
            if verdict == "confirm":
                await decisions.confirm(database, row.reference, record_id, self.WHO)
            else:
                await decisions.retry(database, row.reference, self.WHO, even_though_unproven=True)
        except ConfigurationError as error:
            return f"refused: {error}"
        finally:
            await database.dispose()
        return f"{verdict} {row.kind}"


KINDS: dict[str, type[Soaked]] = {"omtrader": SoakedOMTrader, "ctrader": SoakedCTrader}
