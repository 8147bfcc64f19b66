"""The CRM of the demo: people register, choose a platform, get an account and a deposit, and take money out again."""

import contextlib
import itertools
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

FIRST = ("Ada", "Blaise", "Carl", "Emmy", "Grace", "Kurt", "Leonhard", "Maria", "Pierre", "Sofia")
FAMILY = ("Agnesi", "Euler", "Fermat", "Gauss", "Germain", "Hopper", "Lovelace", "Noether", "Pascal", "Riemann")
# The most people that arrive; the demo is to be watched, not to fill a disk.
MOST = 500

_AS_CRM = sa.text("SET LOCAL ROLE counterfoil_crm")
_REGISTER = sa.text("""
    SELECT crm.register(:name, jsonb_build_object('first_name', CAST(:first AS text), 'family_name', CAST(:family AS text),
        'email', :name || '@example.com'), account => '{}', deposit => :deposit)
""")
# Whoever had a moment to look at both.
_UNDECIDED = sa.text("""
    SELECT registrant_id FROM crm.registrants WHERE platform IS NULL AND created_at < now() - interval '1 second'
    ORDER BY created_at LIMIT 3
""")
_CHOOSE = sa.text("SELECT crm.choose_platform(:name, :platform)")
# New accounts of cTrader may not trade before the CRM has seen who holds them.
_UNVERIFIED = sa.text("""
    SELECT c.reference FROM crm.accounts c JOIN mirror.accounts m ON m.platform = c.platform AND m.id = c.account_id
    WHERE c.state = 'confirmed' AND m.access_rights = 'NO_TRADING' AND c.reference <> ALL (CAST(:asked AS text[]))
    ORDER BY c.confirmed_at LIMIT 3
""")
_VERIFY = sa.text("""SELECT crm.update_account(:reference, '{"accessRights": "FULL_ACCESS"}')""")
_ACCOUNT = sa.text("""
    SELECT reference FROM crm.accounts WHERE state = 'confirmed' AND platform = :platform ORDER BY random() LIMIT 1
""")
_WITHDRAW = sa.text("SELECT crm.withdraw(:reference, :account, :amount)")
_RELEASABLE = sa.text("SELECT reference FROM crm.payouts WHERE state = 'releasable' LIMIT 10")
_RELEASE = sa.text("SELECT * FROM crm.release_payout(:reference)")
_SETTLE = sa.text("SELECT crm.settle_payout(:reference, 'demo bank')")
_ACHIEVED = sa.text("""
    SELECT coalesce(r.platform, '') AS platform, count(*) AS people,
        (SELECT count(*) FROM crm.accounts a WHERE a.platform = r.platform AND a.state = 'confirmed') AS accounts,
        (SELECT count(*) FROM crm.accounts a JOIN mirror.accounts m ON m.platform = a.platform AND m.id = a.account_id
            WHERE a.platform = r.platform AND m.access_rights = 'FULL_ACCESS') AS verified,
        (SELECT count(*) FROM crm.operations o WHERE o.platform = r.platform AND o.state = 'confirmed' AND o.kind = 'deposit')
            AS deposits,
        (SELECT count(*) FROM crm.operations o WHERE o.platform = r.platform AND o.state = 'confirmed' AND o.kind = 'withdraw')
            AS withdrawals,
        (SELECT count(*) FROM crm.operations o JOIN crm.payouts p ON p.reference = o.reference AND p.state = 'settled'
            WHERE o.platform = r.platform AND o.kind = 'withdraw') AS paid
    FROM crm.registrants r GROUP BY r.platform
""")


@dataclass(frozen=True, slots=True)
class Done:
    """What has travelled from the CRM to a platform; `verified`: accounts that may trade since their holder is known."""

    people: int = 0
    accounts: int = 0
    verified: int = 0
    deposits: int = 0
    withdrawals: int = 0
    paid: int = 0

    def figures(self) -> tuple[int, ...]:
        """In the order of the table."""
        return (self.people, self.accounts, self.verified, self.deposits, self.withdrawals, self.paid)

    @property
    def line(self) -> str:
        """In words."""
        verified = f" ({self.verified} passed KYC)" if self.verified else ""
        return (
            f"{self.people} people came, {self.accounts} accounts opened{verified}, {self.deposits} deposits, "
            f"{self.withdrawals} withdrawals confirmed, {self.paid} payouts paid"
        )


@dataclass(slots=True)
class DemoCrm:
    """Does a little at each `act`, from a seed; people choose among these platforms in turn."""

    platforms: tuple[str, ...]
    dice: random.Random = field(default_factory=lambda: random.Random(7))  # noqa: S311 - a play, not a secret
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _people: int = 0
    _chosen: int = 0
    _verified: list[str] = field(default_factory=list)

    async def act(self, engine: AsyncEngine) -> None:
        """Somebody arrives, chooses, is verified, takes money out; what may be paid is paid. Not before the daemon is ready."""
        for step in (self._register, self._choose, self._verify, self._withdraw, self._pay):
            with contextlib.suppress(SQLAlchemyError, OSError):
                await step(engine)

    async def _register(self, engine: AsyncEngine) -> None:
        if self._people >= MOST:
            return
        person = {"first": self.dice.choice(FIRST), "family": self.dice.choice(FAMILY)}
        async with engine.begin() as connection:
            await connection.execute(_AS_CRM)
            name = f"demo-{self._people + 1}"
            await connection.execute(_REGISTER, {**person, "name": name, "deposit": self.dice.randint(1, 50) * 100})
        self._people += 1

    async def _choose(self, engine: AsyncEngine) -> None:
        async with engine.begin() as connection:
            await connection.execute(_AS_CRM)
            for name in list(await connection.scalars(_UNDECIDED)):
                platform = self.platforms[self._chosen % len(self.platforms)]
                await connection.execute(_CHOOSE, {"name": name, "platform": platform})
                self._chosen += 1

    async def _verify(self, engine: AsyncEngine) -> None:
        async with engine.begin() as connection:
            await connection.execute(_AS_CRM)
            for reference in list(await connection.scalars(_UNVERIFIED, {"asked": self._verified})):
                await connection.execute(_VERIFY, {"reference": reference})
                self._verified.append(reference)

    async def _withdraw(self, engine: AsyncEngine) -> None:
        for platform in self.platforms:
            async with engine.begin() as connection:
                await connection.execute(_AS_CRM)
                account = await connection.scalar(_ACCOUNT, {"platform": platform})
                if account is not None:
                    reference = f"payout-{next(self._numbers)}"
                    given = {"reference": reference, "account": account, "amount": self.dice.randint(1, 20)}
                    await connection.execute(_WITHDRAW, given)

    async def _pay(self, engine: AsyncEngine) -> None:
        async with engine.begin() as connection:
            await connection.execute(_AS_CRM)
            waiting = list(await connection.scalars(_RELEASABLE))
        for reference in waiting:
            # Each release in a transaction of its own; the bank is told after its commit.
            async with engine.begin() as connection:
                await _call(connection, _RELEASE, reference)
            async with engine.begin() as connection:
                await _call(connection, _SETTLE, reference)


async def _call(connection: AsyncConnection, statement: sa.TextClause, reference: str) -> None:
    await connection.execute(_AS_CRM)
    await connection.execute(statement, {"reference": reference})


async def achieved(engine: AsyncEngine) -> Mapping[str, Done]:
    """What has travelled so far, by platform; under an empty name who has not chosen yet."""
    async with engine.begin() as connection:
        return {name: Done(*figures) for name, *figures in await connection.execute(_ACHIEVED)}
