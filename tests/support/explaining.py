"""A platform that tells neither transactions nor clients: its truth, what polls see of it, and our own looks at the mirror."""

import asyncio
import itertools
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar

from cryptography.fernet import Fernet

from counterfoil.pull import explained, registered
from counterfoil.pull.run import Memory, Pace, Run
from counterfoil.store import engine
from counterfoil.store.cursors import Success
from counterfoil.store.mirror import Mirror
from counterfoil.store.publishing import PublishedPlatform
from counterfoil.store.runs import Runs
from support.boundary import LIVE, PROFILE, Boundary, boundary
from support.desk import NOWHERE, Desk
from support.process import platform, write_settings
from support.store import write

T = TypeVar("T")
NAME = "ct-live"
CT = PublishedPlatform(
    platform=NAME,
    kind="ctrader",
    pushes=True,
    updates_accounts=True,
    account_defaults={"groupName": "retail", "depositCurrency": "USD", "leverageInCents": 10000},
    reference_field="externalId",
)
PULLS = {"transactions": explained.pull, "clients": registered.pull}
INWARD = ("deposit", "refund", "credit_in")


@dataclass
class Account:
    """One account as the platform has it."""

    id: int
    balance: Decimal = Decimal(0)
    credit: Decimal = Decimal(0)

    def move(self, amount: Decimal, *, credit: bool = False) -> None:
        if credit:
            self.credit += amount
        else:
            self.balance += amount


@dataclass
class Deal:
    """A closing deal; `late`: the history does not show it yet."""

    id: int
    account: int
    profit: Decimal
    closed_at: datetime
    late: bool = False


@dataclass
class Ledger:
    """The platform's truth, the two sides of its boundary, and a loop in which polls and looks run."""

    it: Boundary
    runner: asyncio.Runner
    database: Any
    accounts: dict[int, Account] = field(default_factory=dict)
    deals: list[Deal] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    # --- the platform ---

    def account(self, balance: object = 0, credit: object = 0, number: int | None = None) -> Account:
        made = Account(number or 500 + next(self._numbers), Decimal(str(balance)), Decimal(str(credit)))
        self.accounts[made.id] = made
        return made

    def trade(self, account: Account, profit: object, *, late: bool = False) -> Deal:
        """A position is closed; `late`: its deal enters the history later."""
        made = Deal(next(self._numbers), account.id, Decimal(str(profit)), datetime.now(UTC), late)
        account.move(made.profit)
        self.deals.append(made)
        return made

    # --- the polls ---

    def read_accounts(self) -> None:
        self.run(self._read("accounts", [self._account_row(account) for account in self.accounts.values()]))

    def read_deals(self) -> None:
        self.run(self._read("deals", [_deal_row(deal) for deal in self.deals if not deal.late]))

    def _account_row(self, account: Account) -> dict[str, object]:
        digits = {"currency": "USD", "currency_digits": 2}
        return {"id": account.id, "balance": account.balance, "credit": account.credit, **digits}

    async def _read(self, resource: str, rows: Sequence[dict[str, object]]) -> None:
        """A complete run of a listing; what it sees is what there was after it began."""
        runs = Runs(self.database)
        lease = await runs.acquire(NAME, resource, not_within=timedelta(0))
        assert lease is not None
        async with runs.held(lease):
            if rows:
                await write(self.database, resource, *rows, platform=NAME)
            await runs.succeeded(NAME, resource, Success(took=timedelta(0)))

    # --- our own looks ---

    def look(self, resource: str = "transactions", *, full: bool = False) -> Run:
        """One run of a pull that asks nobody."""
        return self.run(self.looking(resource, full=full))

    async def looking(self, resource: str = "transactions", *, full: bool = False) -> Run:
        runs = Runs(self.database)
        lease = await runs.acquire(NAME, resource, not_within=timedelta(0))
        assert lease is not None
        async with runs.held(lease):
            run = Run(
                mirror=Mirror(self.database, lease),
                reader=None,
                resource=resource,
                memory=Memory(since=0),
                pace=Pace(page_size=100, ahead=1),
                full=full,
            )
            await PULLS[resource](run)
            await runs.succeeded(NAME, resource, Success(took=timedelta(0)))
        return run

    def round(self) -> None:
        """Everything once."""
        self.read_accounts()
        self.read_deals()
        self.look()

    def settle(self) -> None:
        """Until everything that is not under way has been explained: noticed, and noticed again after fresh readings."""
        for _ in range(3):
            self.round()

    # --- the write path ---

    def member(self, registrant: str = "7") -> Account:
        """A registrant with a linked account; the platform has it too."""
        name = f"{registrant}/1"
        self.it.crm.call("register", registrant, {**PROFILE, "email": f"{registrant}@example.com"}, NAME, {})
        for reference, kind in ((registrant, "client"), (name, "account"), (name, "link")):
            self.it.owner.advance(reference, "sent", "confirmed", kind=kind)
        number = self.it.owner.value("SELECT account_id FROM counterfoil.accounts WHERE reference = %s", name)
        assert isinstance(number, int)
        return self.account(number=number)

    def ask(self, kind: str, reference: str, amount: object, account: str = "7/1") -> None:
        word, _, direction = kind.partition("_")
        more = (direction,) if direction else ()
        self.it.crm.call(word, reference, account, Decimal(str(amount)), *more)

    def book(self, reference: str) -> None:
        """What was asked for has its effect on the platform."""
        number, kind, amount = self._operation(reference)
        signed = amount if kind in INWARD else -amount
        self.accounts[number].move(signed, credit=kind.startswith("credit"))

    def _operation(self, reference: str) -> tuple[int, str, Decimal]:
        ((number, kind, amount),) = self.it.owner.rows(
            "SELECT a.account_id, i.kind, i.amount FROM counterfoil.intents i"
            " JOIN counterfoil.accounts a ON a.reference = i.account_reference WHERE i.reference = %s AND i.amount IS NOT NULL",
            reference,
        )
        assert isinstance(number, int)
        assert isinstance(amount, Decimal)
        return number, str(kind), amount

    def done(self, kind: str, reference: str, amount: object, account: str = "7/1") -> None:
        """An operation from the wish to its confirmation."""
        self.ask(kind, reference, amount, account)
        self.it.owner.advance(reference, "sent")
        self.book(reference)
        self.it.owner.advance(reference, "confirmed")

    # --- what the mirror says ---

    def rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        return self.it.owner.rows(statement, *values)

    def transactions(self, origin: str = "inferred") -> list[tuple[int, int, Decimal]]:
        """Account, side and amount of those that are not deleted, in the order of their ids from ours."""
        return self.rows(
            "SELECT account_id, side, amount FROM mirror.transactions WHERE platform = %s AND origin = %s AND deleted_at IS NULL"
            " ORDER BY version",
            NAME,
            origin,
        )

    def unexplained(self) -> list[tuple[int, int, Decimal]]:
        return self.rows("SELECT account_id, side, amount FROM counterfoil.unexplained ORDER BY 1, 2")

    def version(self) -> int:
        """It does not move when nothing is written into the mirror."""
        ((last,),) = self.rows("SELECT last_value FROM mirror.version")
        return int(last)

    def disagreeing(self) -> list[tuple[Any, ...]]:
        """Accounts whose deals and transactions do not make what the platform says they hold."""
        booked = dict.fromkeys(((number, side) for number in self.accounts for side in (2, 3)), Decimal(0))
        for number, side, amount in self.rows(
            "SELECT account_id, side, amount FROM mirror.transactions WHERE deleted_at IS NULL"
            " UNION ALL SELECT account_id, 2, profit FROM mirror.deals WHERE deleted_at IS NULL"
        ):
            booked[number, side] += amount
        held = {(a.id, side): a.balance if side == 2 else a.credit for a in self.accounts.values() for side in (2, 3)}
        return [(*key, held[key], booked[key]) for key in held if held[key] != booked[key]]


def _deal_row(deal: Deal) -> dict[str, object]:
    closed = deal.closed_at.isoformat()
    return {"id": deal.id, "account_id": deal.account, "profit": deal.profit, "side": 0, "created_at": closed}


@contextmanager
def ledger(url: str) -> Iterator[Ledger]:
    """A database in which a platform of this kind is published, next to one that tells everything."""
    with boundary(url, (CT, LIVE)) as it, asyncio.Runner() as runner:
        database = engine.create(url, pool_size=2)
        it.owner.rows("UPDATE counterfoil.platform_state SET sandbox = false")
        try:
            yield Ledger(it, runner, database)
        finally:
            runner.run(database.dispose())


SETTINGS = {
    "kind": "ctrader",
    "base_url": NOWHERE,
    "manager_login": 30041,
    "password": "sandbox",
    "broker_name": "Broker",
    "environment_name": "live",
    "push": True,
}


@contextmanager
def ledger_and_desk(url: str, folder: Path, capsys: Any) -> Iterator[tuple[Ledger, Desk]]:
    """The same with the commands of an operator, whose settings name both platforms."""
    own = {NAME: SETTINGS, "live": platform(NOWHERE, push=True)}
    settings = write_settings(folder / "c.yaml", url, own, crm={"encryption_key": Fernet.generate_key().decode()})
    with ledger(url) as books:
        yield books, Desk(books.it, settings, capsys)
