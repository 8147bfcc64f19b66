"""The CRM of the demo: people register, get an account and a deposit, and some take money out again."""

import contextlib
import itertools
import random
from collections.abc import Iterator
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
    SELECT crm.register(:name, jsonb_build_object('first_name', CAST(:first AS text), 'family_name', CAST(:family AS text)),
        account => '{}', deposit => :deposit)
""")
_ACCOUNT = sa.text("SELECT reference FROM crm.accounts WHERE state = 'confirmed' ORDER BY random() LIMIT 1")
_WITHDRAW = sa.text("SELECT crm.withdraw(:reference, :account, :amount)")
_RELEASABLE = sa.text("SELECT reference FROM crm.payouts WHERE state = 'releasable' LIMIT 10")
_RELEASE = sa.text("SELECT * FROM crm.release_payout(:reference)")
_SETTLE = sa.text("SELECT crm.settle_payout(:reference, 'demo bank')")
_COUNTS = sa.text("""
    SELECT (SELECT count(*) FROM crm.registrants) AS people,
        (SELECT count(*) FROM crm.accounts WHERE state = 'confirmed') AS accounts,
        (SELECT count(*) FROM crm.operations WHERE state = 'confirmed' AND kind = 'deposit') AS deposits,
        (SELECT count(*) FROM crm.operations WHERE state = 'confirmed' AND kind = 'withdraw') AS withdrawals,
        (SELECT count(*) FROM crm.payouts WHERE state = 'settled') AS paid
""")


@dataclass(slots=True)
class DemoCrm:
    """Does one thing at each `act`, from a seed."""

    dice: random.Random = field(default_factory=lambda: random.Random(7))  # noqa: S311 - a play, not a secret
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    _people: int = 0

    async def act(self, engine: AsyncEngine) -> None:
        """Somebody arrives, somebody takes money out, whatever may be paid is paid; not before the daemon is ready."""
        with contextlib.suppress(SQLAlchemyError, OSError):
            await self._register(engine)
        with contextlib.suppress(SQLAlchemyError, OSError):
            await self._withdraw(engine)
        with contextlib.suppress(SQLAlchemyError, OSError):
            await self._pay(engine)

    async def _register(self, engine: AsyncEngine) -> None:
        if self._people >= MOST:
            return
        person = {"first": self.dice.choice(FIRST), "family": self.dice.choice(FAMILY)}
        async with engine.begin() as connection:
            await connection.execute(_AS_CRM)
            name = f"demo-{self._people + 1}"
            await connection.execute(_REGISTER, {**person, "name": name, "deposit": self.dice.randint(1, 50) * 100})
        self._people += 1

    async def _withdraw(self, engine: AsyncEngine) -> None:
        async with engine.begin() as connection:
            await connection.execute(_AS_CRM)
            account = await connection.scalar(_ACCOUNT)
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


async def summary(engine: AsyncEngine) -> str:
    """What has travelled from the CRM to the platform so far, in a line."""
    async with engine.begin() as connection:
        row = (await connection.execute(_COUNTS)).one()
    return (
        f"CRM → platform: {row.people} registrants, {row.accounts} accounts opened, {row.deposits} deposits, "
        f"{row.withdrawals} withdrawals confirmed, {row.paid} payouts paid"
    )
