"""Transactions that no platform tells: ours are known, a stranger's are inferred, each once, and never one for the other."""

import asyncio
import random
from collections import Counter
from decimal import Decimal

import psycopg
import pytest

from counterfoil.domain.references import idempotency_reference
from support.explaining import NAME, ledger
from support.pulling import said
from support.store import VERSION_LOCK, until_blocked


@pytest.fixture
def it(database_url):
    with ledger(database_url) as it:
        yield it


# --- operations of ours -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "side", "direction", "amount"),
    [("deposit", 2, 0, 50), ("credit_in", 3, 0, 50), ("withdraw", 2, 1, -50), ("credit_out", 3, 1, -50)],
)
def test_a_confirmed_operation_of_ours_becomes_a_transaction(it, kind, side, direction, amount):
    account = it.member()
    it.done(kind, "x", "50.00")
    it.look()
    columns = "id, account_id, side, direction, amount, currency, comment, reference, origin, updated_at"
    record = it.it.owner.value("SELECT record_id FROM counterfoil.intents WHERE reference = 'x'")
    assert it.rows(f"SELECT {columns} FROM mirror.transactions") == [
        (record, account.id, side, direction, amount, "USD", None, idempotency_reference("x"), "counterfoil", None)
    ]
    when = (
        "SELECT t.created_at = i.confirmed_at FROM mirror.transactions t, counterfoil.intents i WHERE i.reference = 'x'"
    )
    assert it.rows(when) == [(True,)]


def test_a_refund_of_ours_comes_in(it):
    it.member()
    it.done("deposit", "d", 80)
    it.done("withdraw", "w", 50)
    it.it.crm.call("fail_payout", "w", "no such account")
    it.it.owner.advance("w/refund", "sent")
    it.book("w/refund")
    it.it.owner.advance("w/refund", "confirmed")
    it.settle()
    assert [amount for _, _, amount in it.transactions("counterfoil")] == [80, -50, 50]
    assert (it.disagreeing(), it.transactions()) == ([], [])


@pytest.mark.parametrize("record", [None, 0])
def test_an_operation_without_a_record_gets_one_id_of_our_own(it, record):
    it.member()
    it.done("deposit", "d", 50)
    it.rows("UPDATE counterfoil.intents SET record_id = %s WHERE reference = 'd'", record)
    it.look()
    it.look(full=True)
    ((number,),) = it.rows("SELECT id FROM mirror.transactions")
    assert number < 0


def test_a_record_that_is_another_transactions_is_not_overwritten_and_said_once(it):
    account = it.member()
    it.done("deposit", "d", 50)
    ((record,),) = it.rows("SELECT record_id FROM counterfoil.intents WHERE reference = 'd'")
    own = "first_seen_at, changed_at, version"
    it.rows(
        f"INSERT INTO mirror.transactions (platform, id, account_id, side, amount, reference, {own}) VALUES"
        " (%s, %s, 1, 2, 7, 'cf-of-another-life', now(), now(), 1)",
        NAME,
        record,
    )
    with said() as events:
        it.settle()
    (event,) = events("operation.record_taken")
    assert (event["record_id"], event["reference"]) == (record, "d")
    assert it.rows("SELECT amount FROM mirror.transactions WHERE id = %s", record) == [(7,)]
    assert (it.transactions("counterfoil"), it.transactions()) == ([(account.id, 2, 50)], [])


def test_only_what_is_confirmed_becomes_a_transaction(it):
    it.member()
    for name, states in (("r", ("sent", "rejected")), ("s", ("sent",))):
        it.ask("deposit", name, 50)
        it.it.owner.advance(name, *states)
    it.settle()
    assert it.rows("SELECT id FROM mirror.transactions") == []


def test_operations_are_known_before_anything_was_read(it):
    it.member()
    it.done("deposit", "d", 50)
    it.look()
    assert (len(it.transactions("counterfoil")), it.unexplained()) == (1, [])
    it.settle()
    assert (it.transactions(), it.disagreeing()) == ([], [])


# --- what nobody told -------------------------------------------------------------------------------------------------


def test_nothing_is_judged_before_accounts_and_deals_were_read(it):
    it.account(100)
    it.read_accounts()
    it.look()
    it.look()
    assert (it.unexplained(), it.transactions()) == ([], [])


def test_what_an_account_held_before_becomes_one_opening_row_a_side(it):
    account = it.account("100.25", "7.50")
    it.round()
    assert it.unexplained() == [(account.id, 2, Decimal("100.25")), (account.id, 3, Decimal("7.50"))]
    assert it.transactions() == []
    it.settle()
    assert it.unexplained() == []
    columns = (
        "id < 0, side, direction, amount, currency, comment, reference, origin, created_at > now() - interval '1 min'"
    )
    comment = "inferred: held before anything that is known of the account, or moved by somebody else"
    assert it.rows(f"SELECT {columns} FROM mirror.transactions ORDER BY side") == [
        (True, side, 0, amount, "USD", comment, None, "inferred", True)
        for side, amount in ((2, Decimal("100.25")), (3, Decimal("7.50")))
    ]


def test_a_strangers_movement_is_inferred_once_when_both_lists_were_read_again(it):
    account = it.account()
    it.settle()
    account.move(Decimal("-12.34"))
    it.round()
    it.look()
    assert it.transactions() == []
    it.read_accounts()
    it.look()
    assert it.transactions() == []
    it.read_deals()
    with said() as events:
        it.look()
    assert it.transactions() == [(account.id, 2, Decimal("-12.34"))]
    assert [(event["inferred"], event["withdrawn"]) for event in events("transactions.inferred")] == [(1, 0)]
    it.settle()
    assert (len(it.transactions()), it.disagreeing()) == (1, [])


def test_an_amount_that_changes_is_noticed_anew(it):
    account = it.account()
    it.settle()
    account.move(Decimal(10))
    it.round()
    account.move(Decimal(5))
    it.round()
    assert (it.transactions(), it.unexplained()) == ([], [(account.id, 2, 15)])
    it.round()
    assert it.transactions() == [(account.id, 2, 15)]


def test_what_explains_itself_is_forgotten(it):
    account = it.account()
    it.settle()
    it.trade(account, 30)
    it.read_accounts()
    it.look()
    assert it.unexplained() == [(account.id, 2, 30)]
    it.read_deals()
    it.look()
    assert (it.unexplained(), it.transactions()) == ([], [])


def test_equal_profits_that_are_always_read_too_late_are_no_strangers_movement(it):
    account = it.account()
    it.settle()
    for _ in range(4):
        it.trade(account, 10)
        it.read_accounts()
        it.look()
        it.read_deals()
    assert (it.unexplained(), it.transactions()) == ([(account.id, 2, 10)], [])
    it.settle()
    assert (it.unexplained(), it.transactions(), it.disagreeing()) == ([], [], [])


def test_equal_operations_that_the_balance_always_lacks_are_no_strangers_movement(it):
    it.member()
    it.settle()
    for turn in range(4):
        it.read_accounts()
        it.read_deals()
        it.done("deposit", f"d{turn}", 10)
        it.look()
    assert it.transactions() == []
    it.settle()
    assert (it.unexplained(), it.transactions(), it.disagreeing()) == ([], [], [])


def test_parts_of_a_cent_are_no_movement(it):
    account = it.account()
    for _ in range(3):
        it.trade(account, "0.004")
    account.balance = Decimal("0.01")
    it.settle()
    assert (it.unexplained(), it.transactions()) == ([], [])


def test_money_in_and_out_again_is_two_movements(it):
    account = it.account()
    it.settle()
    for amount in (100, -100):
        account.move(Decimal(amount))
        it.settle()
    assert it.transactions() == [(account.id, 2, 100), (account.id, 2, -100)]


def test_an_account_that_is_gone_is_not_judged(it):
    it.account(100)
    it.round()
    it.rows("UPDATE mirror.accounts SET deleted_at = now(), version = nextval('mirror.version')")
    it.accounts.clear()
    it.round()
    assert (it.unexplained(), it.transactions()) == ([], [])


# --- late ---------------------------------------------------------------------------------------------------------------


def test_a_late_deal_withdraws_the_row_that_was_inferred_for_it(it):
    account = it.account(100)
    it.settle()
    deal = it.trade(account, "33.30", late=True)
    it.settle()
    assert it.transactions() == [(account.id, 2, 100), (account.id, 2, Decimal("33.30"))]
    deal.late = False
    it.round()
    assert len(it.transactions()) == 2
    it.settle()
    assert (it.transactions(), it.disagreeing()) == ([(account.id, 2, 100)], [])
    assert it.rows("SELECT count(*) FROM mirror.transactions WHERE deleted_at IS NOT NULL") == [(1,)]


def test_several_late_deals_that_were_inferred_as_one_withdraw_it_together(it):
    account = it.account()
    it.settle()
    deals = [it.trade(account, profit, late=True) for profit in (10, "-3.5", 4)]
    it.settle()
    assert it.transactions() == [(account.id, 2, Decimal("10.5"))]
    for deal in deals:
        deal.late = False
    it.settle()
    assert (it.transactions(), it.disagreeing()) == ([], [])


def test_a_late_deal_does_not_withdraw_a_strangers_movement_of_another_amount(it):
    account = it.account()
    it.settle()
    account.move(Decimal(20))
    deal = it.trade(account, 5, late=True)
    it.settle()
    deal.late = False
    it.settle()
    it.settle()
    assert it.transactions() == [(account.id, 2, 25), (account.id, 2, -5)]
    assert it.disagreeing() == []


def test_an_operation_that_is_confirmed_late_withdraws_the_row_that_was_inferred_for_it(it):
    """Only a database that forgot an attempt can have inferred it: as long as one is unsettled nothing is."""
    account = it.member()
    it.settle()
    it.ask("deposit", "d", 50)
    account.move(Decimal(50))
    it.settle()
    assert it.transactions() == [(account.id, 2, 50)]
    it.it.owner.advance("d", "sent", "confirmed")
    it.settle()
    assert (it.transactions(), it.transactions("counterfoil")) == ([], [(account.id, 2, 50)])
    assert it.disagreeing() == []


# --- operations that nobody knows the end of --------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [("sent",), ("sent", "unknown"), ("sent", "unknown", "parked"), ("sent", "pending")])
def test_nothing_is_inferred_while_an_operation_of_ours_is_unsettled(it, steps):
    account = it.member()
    other = it.account()
    it.settle()
    it.ask("deposit", "d", 50)
    it.it.owner.advance("d", "sent")
    it.book("d")
    it.it.owner.advance("d", *steps[1:])
    account.move(Decimal(1))
    other.move(Decimal(2))
    it.settle()
    assert (it.transactions(), it.unexplained()) == ([(other.id, 2, 2)], [(account.id, 2, 51)])
    it.it.owner.advance("d", *(("sent", "confirmed") if steps[-1] == "pending" else ("confirmed",)))
    it.settle()
    assert it.transactions() == [(other.id, 2, 2), (account.id, 2, 1)]
    assert (it.disagreeing(), it.unexplained()) == ([], [])


def test_what_a_person_cancelled_and_the_platform_holds_is_inferred(it):
    account = it.member()
    it.settle()
    it.ask("deposit", "d", 50)
    it.it.owner.advance("d", "sent", "unknown", "parked")
    it.book("d")
    it.it.owner.advance("d", "cancelled")
    it.settle()
    assert it.transactions() == [(account.id, 2, 50)]


def test_nothing_is_inferred_while_the_database_is_not_trusted(it):
    account = it.account()
    it.settle()
    it.rows("INSERT INTO counterfoil.database_identity (identity, held_since) VALUES ('another', now())")
    account.move(Decimal(5))
    it.settle()
    assert (it.transactions(), len(it.unexplained())) == ([], 1)


def test_a_confirmation_that_is_being_committed_is_never_a_strangers_movement(it):
    """Everything has been read twice with the money in it; only the commit of the confirmation is still open."""
    account = it.member()
    it.settle()
    it.ask("deposit", "d", 50)
    it.it.owner.advance("d", "sent")
    it.book("d")
    it.round()
    assert it.unexplained() == [(account.id, 2, 50)]
    with psycopg.connect(it.it.url) as other:
        other.execute("UPDATE counterfoil.intents SET state = 'confirmed', record_id = 812 WHERE reference = 'd'")
        it.round()
        assert it.transactions() == []
    it.look()
    assert (it.unexplained(), it.transactions(), it.transactions("counterfoil")) == ([], [], [(account.id, 2, 50)])


def test_a_confirmation_that_comes_while_a_look_waits_is_counted(it):
    """The look has found the account to be looked at, and waits for its turn to write."""
    account = it.member()
    it.settle()
    it.ask("deposit", "d", 50)
    it.it.owner.advance("d", "sent")
    it.book("d")
    it.round()
    it.read_accounts()
    it.read_deals()

    async def overtaken() -> None:
        look = asyncio.create_task(it.looking())
        await until_blocked(it.database)
        other.execute("UPDATE counterfoil.intents SET state = 'confirmed', record_id = 812 WHERE reference = 'd'")
        other.commit()
        await look

    with psycopg.connect(it.it.url) as other:
        other.execute("SELECT pg_advisory_xact_lock(%s)", [VERSION_LOCK])
        it.run(overtaken())
    assert (it.unexplained(), it.transactions(), it.transactions("counterfoil")) == ([], [], [(account.id, 2, 50)])


def test_a_reading_that_began_before_the_notice_proves_nothing_however_late_it_is_noted(it):
    account = it.account()
    it.settle()
    account.move(Decimal(5))
    it.round()
    it.rows("UPDATE counterfoil.unexplained SET noticed_at = clock_timestamp()")
    it.rows("UPDATE counterfoil.freshness SET as_of = clock_timestamp() - interval '1 min' WHERE resource = 'deals'")
    it.read_accounts()
    it.look()
    assert it.transactions() == []


@pytest.mark.parametrize(
    ("positions", "proven", "inferred"),
    [("10 min", False, False), ("10 min", True, True), ("2 days", False, True), ("0", False, True)],
    ids=["read before", "not needed", "not read any more", "read since"],
)
def test_deals_that_come_with_the_open_positions_are_waited_for(it, positions, proven, inferred):
    account = it.account()
    it.settle()
    account.move(Decimal(5))
    it.round()
    it.rows(
        "INSERT INTO counterfoil.freshness (platform, resource, as_of, failures)"
        " VALUES (%s, 'positions', clock_timestamp() - %s::interval, 0)",
        NAME,
        positions,
    )
    state = '{"by_closing": true}' if proven else '{"by_closing": null}'
    it.rows("INSERT INTO counterfoil.cursors (platform, resource, state) VALUES (%s, 'deals', %s)", NAME, state)
    it.round()
    assert bool(it.transactions()) is inferred


# --- cost and order -----------------------------------------------------------------------------------------------------


def test_a_look_that_finds_nothing_new_writes_nothing(it):
    account = it.account(10)
    it.trade(account, 5)
    it.settle()
    it.round()
    before = it.version(), it.rows("SELECT state, updated_at FROM counterfoil.cursors")
    it.round()
    assert it.look().seen == 0
    assert (it.version(), it.rows("SELECT state, updated_at FROM counterfoil.cursors")) == before


def test_only_accounts_of_which_something_is_new_are_looked_at(it):
    some = [it.account(10) for _ in range(5)]
    it.settle()
    it.round()
    it.trade(some[0], 1)
    some[1].move(Decimal(1))
    it.read_accounts()
    it.read_deals()
    assert it.look().seen == 2
    it.read_accounts()
    it.read_deals()
    assert it.look().seen == 1
    assert it.look(full=True).seen == 5


def test_rows_get_versions_above_all_that_was_there(it):
    account = it.account(10)
    it.settle()
    (before,) = it.rows("SELECT max(version) FROM mirror.transactions")[0]
    account.move(Decimal(5))
    it.settle()
    assert [row[0] > before for row in it.rows("SELECT version FROM mirror.transactions WHERE amount = 5")] == [True]


def test_another_platforms_money_is_none_of_ours(it):
    own = "first_seen_at, changed_at, version"
    it.rows(
        f"INSERT INTO mirror.accounts (platform, id, balance, credit, {own}) VALUES ('live', 3, 9, 9, now(), now(), 5)"
    )
    it.settle()
    assert (it.unexplained(), it.transactions()) == ([], [])


# --- whatever comes ------------------------------------------------------------------------------------------------------


class Chance:
    """Moves and polls at random, and how much strangers moved, by account and side."""

    def __init__(self, it, seed):
        self.it, self.dice = it, random.Random(seed)  # noqa: S311 - dice
        self.members = {name: it.member(name) for name in ("7", "8")}
        self.moved: Counter[tuple[int, int]] = Counter()
        self.own: list[Decimal] = []
        self.open: dict[str, str] = {}
        self.late: list = []

    def amount(self) -> Decimal:
        # Few different ones, so that they are often equal or opposite.
        return self.dice.choice([Decimal(10), Decimal(20), Decimal("0.01")])

    def step(self) -> None:
        acts = [self.trade, self.arrive, self.stranger, self.ask, self.go_on, self.go_on]
        polls = [self.it.read_accounts, self.it.read_deals, self.it.look]
        self.dice.choice([*acts, *polls, *polls])()

    def _one(self):
        name = self.dice.choice(list(self.members))
        return name, self.members[name]

    def trade(self) -> None:
        sign = self.dice.choice([1, -1])
        deal = self.it.trade(self._one()[1], sign * self.amount(), late=self.dice.random() < 0.3)
        if deal.late:
            self.late.append(deal)

    def arrive(self) -> None:
        if self.late:
            self.late.pop().late = False

    def stranger(self) -> None:
        amount, credit = self.dice.choice([1, -1]) * self.amount(), self.dice.random() < 0.3
        account = self._one()[1]
        account.move(amount, credit=credit)
        self.moved[account.id, 3 if credit else 2] += amount

    def ask(self) -> None:
        name, _ = self._one()
        reference = f"op{len(self.own)}"
        amount = self.amount()
        self.it.ask(
            self.dice.choice(["deposit", "withdraw", "credit_in", "credit_out"]), reference, amount, f"{name}/1"
        )
        self.own.append(amount)
        self.open[reference] = "asked"

    def go_on(self) -> None:
        """The oldest operation of some account goes one step."""
        name = self.dice.choice(list(self.members))
        ours = [r for r in self.open if self._account(r) == f"{name}/1"]
        if not ours:
            return
        reference = ours[0]
        match self.open[reference]:
            case "asked":
                self.it.it.owner.advance(reference, "sent")
                self.open[reference] = "sent"
            case "sent" if self.dice.random() < 0.2:
                # It had no effect, was looked for, and is sent again.
                self.it.it.owner.advance(reference, "unknown", "pending")
                self.open[reference] = "asked"
            case "sent":
                self.it.book(reference)
                self.open[reference] = "booked"
                if self.dice.random() < 0.5:
                    self.it.it.owner.advance(reference, "unknown")
            case _:
                self.it.it.owner.advance(reference, "confirmed")
                del self.open[reference]

    def _account(self, reference: str) -> object:
        return self.it.it.owner.value(
            "SELECT account_reference FROM counterfoil.intents WHERE reference = %s AND amount IS NOT NULL", reference
        )

    def finish(self) -> None:
        while self.open:
            self.go_on()
        while self.late:
            self.arrive()
        for _ in range(2):
            self.it.settle()


@pytest.mark.parametrize("seed", range(10))
def test_whatever_comes_the_books_agree_in_the_end(it, seed):
    chance = Chance(it, seed)
    for _ in range(90):
        chance.step()
    chance.finish()
    assert (it.disagreeing(), it.unexplained()) == ([], [])
    inferred: Counter[tuple[int, int]] = Counter()
    for account, side, amount in it.transactions():
        inferred[account, side] += amount
    assert {k: v for k, v in inferred.items() if v} == {k: v for k, v in chance.moved.items() if v}
    assert sorted(abs(amount) for _, _, amount in it.transactions("counterfoil")) == sorted(chance.own)
    before = it.version()
    it.settle()
    assert it.version() == before


@pytest.mark.parametrize("seed", range(6))
def test_each_movement_that_is_read_twice_before_the_next_is_inferred_once(it, seed):
    chance = Chance(it, seed)
    told = Counter()
    it.settle()
    for _ in range(12):
        before = dict(chance.moved)
        chance.stranger()
        ((key, amount),) = [(k, v - before.get(k, 0)) for k, v in chance.moved.items() if v != before.get(k, 0)]
        told[(*key, amount)] += 1
        for _ in range(chance.dice.randrange(6)):
            chance.dice.choice([chance.trade, chance.ask, chance.go_on, it.look])()
            while chance.late:
                chance.arrive()
        while chance.open:
            chance.go_on()
        it.settle()
    assert Counter(it.transactions()) == told
    assert it.disagreeing() == []
