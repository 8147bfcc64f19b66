"""Books at random: what a look concludes from an account's balance and its deals is never wrong, and is concluded where it can be."""

import asyncio
import random
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from counterfoil.domain.attempt import Absent, Fence, Found
from counterfoil.domain.intent import Kind
from counterfoil.platforms.ctrader.pushes import CTraderWriter
from counterfoil.platforms.writing import Wish
from counterfoil.sandbox import Sandbox, SandboxOptions
from support.ctrading import HOUSE, client

RUNS = settings(
    max_examples=400, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
)
DAY = 86_400_000
EMPTY = SandboxOptions(kind="ctrader", clients=0, accounts=0, deals=0)
# Few amounts, so that deals often are what the operation is, or add up to it.
EUROS = (-5, -3, -2, -1, 1, 2, 3, 5)
AGES = (0, 1, 400)


@dataclass
class Account:
    """One account, what happens in it, and what the platform's lists do not show yet."""

    sandbox: Sandbox
    open_at_note: set[int] = field(default_factory=set)
    closed_before: list[Any] = field(default_factory=list)
    hidden: set[int] = field(default_factory=set)
    behind: int = 0

    def __post_init__(self) -> None:
        self.login = self.books.add_trader().login
        self.books.move_money(self.login, 100_000, "DEPOSIT")

    @property
    def books(self) -> Any:
        return self.sandbox.books

    def happen(self, dice: random.Random) -> list[Any]:
        """Up to three things; the deals that they make."""
        return [deal for _ in range(dice.randrange(4)) if (deal := self._one_thing(dice))]

    def _one_thing(self, dice: random.Random) -> Any:
        luck, positions = dice.random(), self.books.positions_of(self.login)
        if luck < 0.03:
            self.books.move_money(self.login, 37, "DEPOSIT", "by hand")
        elif luck < 0.25 or not positions:
            self.books.open_position(self.login)
        else:
            position = dice.choice(positions)
            volume = position.left // 2 if luck < 0.4 else position.left
            return self.books.close_position(position.id, volume, pnl=dice.choice(EUROS) * 100)
        return None

    def platform(self) -> Any:
        """A client whose lists lag behind."""
        reached = client(self.sandbox.url)
        closed, trader = reached.closed, reached.trader

        async def lagging_deals(*given: Any) -> Any:
            return [deal for deal in await closed(*given) if int(deal["dealId"]) not in self.hidden]

        async def lagging_balance(*given: Any) -> Any:
            record = await trader(*given)
            return {**record, "balance": str(int(record["balance"]) - self.behind)}

        reached.closed, reached.trader = lagging_deals, lagging_balance
        return reached


@pytest.fixture(scope="module")
def runner():
    with asyncio.Runner() as made:
        yield made


@pytest.fixture(scope="module")
def sandbox(runner):
    made = Sandbox(EMPTY)
    runner.run(made.start())
    yield made
    runner.run(made.stop())


async def note(account: Account, writer: CTraderWriter, wish: Wish) -> Any:
    prepared = await writer.prepare(wish, None)
    assert isinstance(prepared, Fence)
    account.open_at_note = {position.id for position in account.books.positions_of(account.login)}
    return msgspec.json.decode(msgspec.json.encode(prepared.marks))


@given(seed=st.integers(0, 2**64))
@RUNS
def test_no_book_makes_a_look_conclude_what_is_not_so(runner, sandbox, seed):
    runner.run(expect_no_wrong_conclusion(sandbox, random.Random(seed)))  # noqa: S311 - repeatable dice


async def expect_no_wrong_conclusion(sandbox: Sandbox, dice: random.Random) -> None:
    account = Account(sandbox)
    by_opening = dice.random() < 0.3
    sandbox.faults.set([{"kind": "filter_on_open"}] if by_opening else [])
    for _ in range(dice.randrange(4)):
        account.books.open_position(account.login, at=account.books.now() - dice.choice(AGES) * DAY)
    before = account.happen(dice)
    # At the note the list of deals may lag behind the balance, or, for deals that it shows, the balance behind the list.
    account.hidden = {deal.id for deal in before if dice.random() < 0.5}
    shown = [] if by_opening else [deal.pnl for deal in before if deal.id not in account.hidden]
    account.behind = sum(pnl for pnl in shown if dice.random() < 0.3)
    platform = account.platform()
    wish = Wish(
        kind=dice.choice([Kind.DEPOSIT, Kind.WITHDRAW]),
        external_id="x",
        account_id=account.login,
        amount=Decimal(dice.choice([1, 2, 3, 5, 7])),
        reference="cf-0123456789",
    )
    try:
        await look(account, CTraderWriter(platform, HOUSE), wish, dice)
    finally:
        await platform.close()


async def look(account: Account, writer: CTraderWriter, wish: Wish, dice: random.Random) -> None:
    marks = await note(account, writer, wish)
    account.hidden, account.behind = set(), 0
    there, deals = dice.random() < 0.5, account.happen(dice)
    if there:
        sign = 1 if wish.kind is Kind.DEPOSIT else -1
        account.books.move_money(account.login, sign * int(wish.amount or 0) * 100, wish.kind.upper())
    deals += account.happen(dice)
    # Deals of positions that the note knows are missed when they are not listed; of others only time tells.
    account.hidden = {d.id for d in deals if d.position.id in account.open_at_note and dice.random() < 0.2}
    finding = await writer.probe(wish, marks, None)
    assert not (isinstance(finding, Found) and not there), finding
    assert not (isinstance(finding, Absent) and there), finding
    assert not (isinstance(finding, Found) and wish.kind is Kind.WITHDRAW), finding


@given(pnls=st.lists(st.integers(800, 100_000), max_size=6), there=st.booleans(), by_opening=st.booleans())
@settings(RUNS, max_examples=60)
def test_where_nothing_imitates_it_one_look_tells(runner, sandbox, pnls, there, by_opening):
    """Every deal moves more than the operation, and all in one direction."""
    runner.run(told(sandbox, pnls, there=there, by_opening=by_opening))


async def told(sandbox: Sandbox, pnls: list[int], *, there: bool, by_opening: bool) -> None:
    sandbox.faults.set([{"kind": "filter_on_open"}] if by_opening else [])
    account, wish = Account(sandbox), None
    positions = [
        account.books.open_position(account.login, at=account.books.now() - i * DAY) for i, _ in enumerate(pnls)
    ]
    platform = account.platform()
    try:
        writer = CTraderWriter(platform, HOUSE)
        wish = Wish(
            kind=Kind.DEPOSIT, external_id="x", account_id=account.login, amount=Decimal(7), reference="cf-0123456789"
        )
        marks = await note(account, writer, wish)
        if there:
            account.books.move_money(account.login, 700, "DEPOSIT")
        for position, pnl in zip(positions, pnls, strict=True):
            account.books.close_position(position.id, pnl=pnl)
        assert isinstance(await writer.probe(wish, marks, None), Found if there else Absent)
    finally:
        await platform.close()
