"""Money on cTrader whose answer was lost: decided by the account's balance and its closing deals, or by a person, and never wrongly."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import count

import pytest
import pytest_asyncio

from counterfoil.store import decisions
from counterfoil.store.decisions import Because
from support.ctrading import ct_bench

AMOUNT = Decimal("7.25")
KINDS = [("deposit",), ("withdraw",), ("credit", "in"), ("credit", "out")]
THERE = pytest.mark.parametrize("there", [True, False], ids=["there", "not there"])
MONEY = pytest.mark.parametrize("kind", KINDS, ids="_".join)
CASH = pytest.mark.parametrize("kind", KINDS[:2], ids="_".join)
CLOSED = "/closedPositions$"
LISTINGS = {
    "by closing": [],
    "by opening": [{"kind": "filter_on_open", "path": CLOSED}],
    "other columns": [{"kind": "column_order", "path": CLOSED}],
    "json": [{"kind": "json_positions"}],
}
YEAR = 365 * 86_400_000
_NOTED_AT = "UPDATE counterfoil.intents SET fence = fence || jsonb_build_object('at', %s::text) WHERE reference = %s"
NAMES = (f"r{number}" for number in count())

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Lost:
    """One account with 1000 and 100 of credit on it, and one operation `<name>/m` whose answer is lost."""

    def __init__(self, it, replica, **account):
        self.it, self.replica, self.name = it, replica, next(NAMES)
        self.login = it.account(self.name, **account)
        self.reference = f"{self.name}/m"
        self.standing = []

    def position(self, *, age=0):
        """Opened so many milliseconds ago."""
        return self.it.books.open_position(self.login, at=self.it.books.now() - age).id

    def close(self, position, pnl, **how):
        """With this net result in euro cents."""
        return self.it.books.close_position(position, pnl=pnl, **how)

    async def send(self, kind=("deposit",), *, there=True, amount=AMOUNT, more=()):
        """An attempt that happens, or not, and is not answered. `more`: faults of the same request."""
        self.it.crm.call(kind[0], self.reference, f"{self.name}/1", amount, *kind[1:])
        faults = [{"kind": "drop_after" if there else "drop_before"}, *more]
        self.it.sandbox.faults.set([*({"path": self.it.money_path, "times": 1, **f} for f in faults), *self.standing])
        await self.replica.turn()
        assert self.state == "unknown"
        assert self.effects == int(there)
        self.it.sandbox.faults.set(self.standing)

    async def look(self, times=1, *, settled=True):
        await self.it.look(self.replica, times, settled=settled)

    async def rest(self):
        """Until it is decided; what is there is never done again on the way."""

        def check():
            assert self.effects <= 1

        await self.it.until_quiet(self.replica, check)

    @property
    def state(self):
        return self.it.state(self.reference)

    @property
    def reason(self):
        return self.it.reason(self.reference)

    @property
    def evidence(self):
        return self.it.evidence(self.reference)

    @property
    def effects(self):
        return len(self.it.effects(self.reference))

    def is_decided(self, kind, *, there):
        """Done once and known to be; a withdrawal that was done is seen by a person first."""
        assert self.effects == 1
        if there and kind == ("withdraw",):
            assert self.state == "parked"
            assert "a person must see it in the books" in self.reason
            assert Decimal(self.evidence["not_explained_by_deals"]) == -AMOUNT
            assert self.it.crm.state("payouts", self.reference) == "blocked"
        else:
            assert self.state == "confirmed"
        assert self.it.books.check() == []

    def is_parked(self, reason, *, effects):
        """Before a person, nothing sent again, no payout released."""
        assert (self.state, self.effects) == ("parked", effects)
        assert reason in self.reason
        assert self.it.crm.state("payouts", self.reference) in (None, "blocked")
        assert self.it.paused is None


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench(postgres_server, template_database):
    with postgres_server.database(template_database) as url:
        async with ct_bench(url) as it:
            # One place: no look follows an attempt within the same turn.
            yield it, it.replica(places=1)


@pytest.fixture
def lost(bench):
    it, replica = bench
    it.sandbox.faults.clear()
    return Lost(it, replica)


# --- positions that close meanwhile --------------------------------------------------------------------------------------


@MONEY
@THERE
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("listing", LISTINGS)
async def test_positions_that_close_meanwhile_are_told_from_the_operation(lost, kind, there, before, listing):
    lost.standing = LISTINGS[listing]
    for age in (YEAR, 3 * 86_400_000, 60_000):
        lost.position(age=age)
    closing = {"kind": "close_meanwhile", "count": 2, "pnl": "3.10", "before": True}
    await lost.send(kind, there=there, more=[closing] if before else [])
    if not before:
        lost.it.books.close_some(lost.login, 3, -210)
    await lost.rest()
    lost.is_decided(kind, there=there)


@CASH
@THERE
@pytest.mark.parametrize("listing", ["by closing", "by opening"])
async def test_a_position_that_closes_in_parts_before_and_after_is_told_from_the_operation(lost, kind, there, listing):
    lost.standing = LISTINGS[listing]
    old, new = lost.position(age=YEAR), lost.position()
    await lost.send(kind, there=there)
    lost.close(old, 111, volume=40_000)
    lost.close(old, -222, volume=10_000)
    lost.close(new, 333, volume=30_000)
    await lost.rest()
    lost.is_decided(kind, there=there)


@THERE
async def test_what_closed_before_the_note_was_taken_moves_nothing(lost, there):
    lost.close(lost.position(age=YEAR), 500)
    await lost.send(there=there)
    await lost.rest()
    lost.is_decided(("deposit",), there=there)


@THERE
async def test_positions_that_were_opened_after_the_note_and_closed_are_told_from_the_operation(lost, there):
    await lost.send(there=there)
    for pnl in (150, -275, 980):
        lost.close(lost.position(), pnl)
    await lost.rest()
    lost.is_decided(("deposit",), there=there)


@THERE
@CASH
@pytest.mark.parametrize("pnls", [[725], [-725], [300, 425], [1000, -275], [-300, -425], [100, 725, -40]], ids=str)
async def test_deals_that_could_imitate_the_operation_leave_it_to_a_person(lost, kind, there, pnls):
    positions = [lost.position(age=YEAR) for _ in pnls]
    await lost.send(kind, there=there)
    for position, pnl in zip(positions, pnls, strict=True):
        lost.close(position, pnl)
    await lost.look()
    lost.is_parked("deals of the same amount", effects=int(there))
    assert lost.evidence["moved_by_deals"] == f"{Decimal(sum(pnls)) / 100}"


@THERE
async def test_a_deal_of_the_same_amount_just_before_the_note_leaves_it_to_a_person(lost, there):
    lost.close(lost.position(), 725)
    await lost.send(there=there)
    await lost.look()
    lost.is_parked("deals of the same amount", effects=int(there))


@THERE
async def test_an_account_with_so_many_deals_that_they_could_be_anything_is_left_to_a_person(lost, there):
    await lost.send(there=there)
    for number in range(17):
        lost.close(lost.position(), 10_000 + number)
    await lost.look()
    lost.is_parked("deals of the same amount", effects=int(there))


@THERE
async def test_deals_never_touch_what_is_concluded_from_the_credit(lost, there):
    kind = ("credit", "in")
    await lost.send(kind, there=there)
    lost.close(lost.position(), 725)
    await lost.rest()
    lost.is_decided(kind, there=there)


# --- deals that are listed late ------------------------------------------------------------------------------------------


@THERE
@CASH
async def test_a_deal_that_is_listed_late_is_waited_for(lost, kind, there):
    position = lost.position(age=YEAR)
    await lost.send(kind, there=there)
    lost.close(position, 333)
    lost.it.sandbox.faults.set({"kind": "late_deals", "path": CLOSED, "rows": 1, "after": 5})
    await lost.look()
    assert lost.state == "unknown"
    assert lost.reason == f"position {position} was closed, and its deal is not listed yet"
    await lost.rest()
    lost.is_decided(kind, there=there)


@THERE
@CASH
@pytest.mark.parametrize("pnl", [333, 725, -725])
async def test_a_deal_that_is_never_listed_leaves_it_to_a_person(lost, kind, there, pnl):
    position = lost.position(age=YEAR)
    await lost.send(kind, there=there)
    lost.close(position, pnl)
    lost.it.sandbox.faults.set({"kind": "late_deals", "path": CLOSED, "rows": 1, "after": 1_000})
    await lost.rest()
    lost.is_parked("its deal is not listed yet", effects=int(there))


@THERE
async def test_part_of_a_position_whose_deal_is_not_listed_is_missed(lost, there):
    position = lost.position(age=YEAR)
    await lost.send(there=there)
    lost.close(position, 100, volume=30_000)
    lost.close(position, 725, volume=20_000)
    lost.it.sandbox.faults.set({"kind": "late_deals", "path": CLOSED, "rows": 1, "after": 1_000})
    await lost.rest()
    lost.is_parked("its deal is not listed yet", effects=int(there))


@pytest.mark.parametrize("pnl", [725, -725])
async def test_what_a_deal_moved_that_is_listed_late_is_not_taken_for_the_operation_while_it_may_be_listed(lost, pnl):
    """Opened after the note and closed before the look, so that nothing but time tells that a deal is missing."""
    there = pnl < 0
    await lost.send(there=there)
    lost.it.sandbox.faults.set({"kind": "late_deals", "path": CLOSED, "rows": 1, "after": 11})
    lost.close(lost.position(), pnl)
    await lost.look(6, settled=False)
    assert (lost.state, lost.effects) == ("unknown", int(there)), lost.reason
    await lost.rest()
    lost.is_parked("deals of the same amount", effects=int(there))


async def test_a_deposit_that_looks_done_is_believed_when_the_settle_time_is_over(lost):
    await lost.send()
    await lost.look(3, settled=False)
    assert (lost.state, lost.it.intent(lost.reference)["looks"]) == ("unknown", 0)
    assert lost.reason == "the balance moved as if it had been done; a deal may still be listed that explains it"
    await lost.look()
    assert (lost.state, lost.it.intent(lost.reference)["record_id"]) == ("confirmed", None)
    assert lost.evidence["finding"] == "found"
    assert lost.evidence["not_explained_by_deals"] == "7.25"


@pytest.mark.parametrize("direction", ["in", "out"])
async def test_a_credit_that_looks_done_is_believed_at_once(lost, direction):
    await lost.send(("credit", direction))
    await lost.look(settled=False)
    assert lost.state == "confirmed"


# --- what others move ----------------------------------------------------------------------------------------------------


@THERE
@MONEY
@pytest.mark.parametrize("amount", ["7.26", "7.24", "-0.01", "14.50", "-14.50"])
async def test_what_somebody_else_moved_leaves_it_to_a_person(lost, kind, there, amount):
    await lost.send(kind, there=there)
    lost.it.fund(lost.login, amount, "CREDIT" if kind[0] == "credit" else "BALANCE")
    await lost.rest()
    lost.is_parked("moved by something that is neither ours nor a closing deal", effects=int(there))


async def test_what_was_done_next_to_somebody_elses_movement_of_the_same_amount_is_left_to_a_person(lost):
    await lost.send()
    lost.it.fund(lost.login, AMOUNT)
    await lost.rest()
    lost.is_parked("neither ours nor a closing deal", effects=1)


async def test_somebody_elses_withdrawal_of_the_same_amount_lets_no_payout_go(lost):
    await lost.send(("withdraw",), there=False)
    lost.it.fund(lost.login, -AMOUNT)
    await lost.rest()
    lost.is_parked("a person must see it in the books", effects=0)


async def test_the_limit_a_movement_of_the_same_amount_that_no_deal_explains_is_taken_for_ours(lost):
    """Nothing that this platform shows could tell the two apart; what is concluded says so, and shows the arithmetic."""
    await lost.send(there=False)
    lost.it.fund(lost.login, AMOUNT)
    await lost.rest()
    assert (lost.state, lost.effects) == ("confirmed", 0)
    assert lost.it.intent(lost.reference)["record_id"] is None
    assert lost.evidence["moved"] == lost.evidence["asked_for"] == "7.25"


# --- readings ------------------------------------------------------------------------------------------------------------


def restless(lost, monkeypatch, times):
    """Money moves in the account behind each of the next readings of it."""
    read, left = lost.replica.client.trader, iter(range(times))

    async def trader(login, priority):
        record = await read(login, priority)
        if next(left, None) is not None:
            lost.close(lost.position(), 100)
        return record

    monkeypatch.setattr(lost.replica.client, "trader", trader)


@THERE
@pytest.mark.parametrize("times", [1, 2, 3, 4])
async def test_a_balance_that_moves_while_it_is_read_is_read_again(lost, there, times, monkeypatch):
    await lost.send(there=there)
    restless(lost, monkeypatch, times)
    await lost.look()
    assert lost.state in ("unknown", "confirmed")
    await lost.rest()
    lost.is_decided(("deposit",), there=there)


async def test_nothing_is_sent_while_the_balance_moves_faster_than_it_can_be_noted(lost, monkeypatch):
    lost.it.crm.call("deposit", lost.reference, f"{lost.name}/1", AMOUNT)
    restless(lost, monkeypatch, 4)
    await lost.replica.turn()
    assert (lost.state, lost.effects) == ("pending", 0)
    assert "moves faster than it can be read" in lost.reason
    await lost.rest()
    lost.is_decided(("deposit",), there=True)


@THERE
async def test_a_balance_that_never_stands_still_decides_nothing_and_parks_nothing(lost, there, monkeypatch):
    await lost.send(there=there)
    restless(lost, monkeypatch, 4 * 9)
    await lost.look(9)
    assert (lost.state, lost.effects) == ("unknown", int(there)), lost.reason
    assert "moves faster than it can be read" in lost.reason
    # So many deals that they could be anything.
    await lost.rest()
    lost.is_parked("deals of the same amount", effects=int(there))


@THERE
async def test_an_account_that_moves_between_the_two_readings_of_a_look_is_looked_at_again(lost, there, monkeypatch):
    await lost.send(there=there)
    read, calls = lost.replica.client.trader, count()

    async def trader(login, priority):
        record = await read(login, priority)
        if next(calls) == 1:
            lost.close(lost.position(), 100)
        return record

    monkeypatch.setattr(lost.replica.client, "trader", trader)
    await lost.look()
    assert (lost.state, lost.reason) == ("unknown", "the account moved while looking")
    await lost.rest()
    lost.is_decided(("deposit",), there=there)


@THERE
async def test_an_account_that_is_gone_is_left_to_a_person(lost, there):
    await lost.send(there=there)
    lost.it.books.vanish(lost.login)
    await lost.look()
    lost.is_parked("does not exist on the platform any more", effects=int(there))


LIES = [
    *({"kind": "short_page", "rows": rows} for rows in (0, 1)),
    *({"kind": "malformed_record", "field": field, "value": value}
      for field in ("pnl", "volume", "positionId", "closeTimestamp") for value in (None, "x")),
    *({"kind": "error_before", "status": status} for status in (404, 429, 500)),
    {"kind": "vanish", "fraction": 1.0},
    {"kind": "wrong_shape", "value": "{}"},
    {"kind": "truncated"},
    {"kind": "html"},
    {"kind": "duplicate_rows", "rows": 3},
]  # fmt: skip


@THERE
@pytest.mark.parametrize("path", [CLOSED, "/openPositions$", "/traders/[0-9]+$"])
@pytest.mark.parametrize("fault", LIES, ids=lambda fault: "-".join(map(str, fault.values())))
async def test_what_is_there_is_never_done_again_however_the_lists_lie(lost, there, path, fault):
    positions = [lost.position(age=YEAR), lost.position()]
    await lost.send(there=there)
    for position, pnl in zip(positions, (725, -333), strict=True):
        lost.close(position, pnl)
    still_open = lost.position()
    lost.it.sandbox.faults.set({"path": path, **fault})
    for _ in range(7):
        await lost.look()
        assert (lost.state in ("unknown", "parked"), lost.effects) == (True, int(there))
    lost.it.sandbox.faults.clear()
    lost.close(still_open, 1)
    await lost.rest()
    assert (lost.state, lost.effects) == ("parked", int(there))


# --- other accounts, other answers ---------------------------------------------------------------------------------------


@THERE
@pytest.mark.parametrize("amount", ["0.00000001", "0.12345678", "1"])
async def test_eight_digits_are_counted_to_the_last(bench, there, amount):
    it, replica = bench
    lost = Lost(it, replica, balance="2.5", credit=0, currency="BTC")
    position = lost.position(age=YEAR)
    await lost.send(there=there, amount=Decimal(amount))
    lost.close(position, 3)
    await lost.rest()
    assert (lost.state, lost.effects) == ("confirmed", 1)
    assert it.books.trader(lost.login).balance == 250_000_003 + int(Decimal(amount).scaleb(8))


@MONEY
async def test_an_answer_that_names_no_record_proves_nothing(lost, kind):
    lost.it.crm.call(kind[0], lost.reference, f"{lost.name}/1", AMOUNT, *kind[1:])
    lost.it.sandbox.faults.set({"kind": "without_history_id", "path": lost.it.money_path})
    await lost.replica.turn()
    assert (lost.state, lost.reason) == ("unknown", "the answer names no balanceHistoryId")
    await lost.rest()
    lost.is_decided(kind, there=True)


@THERE
@pytest.mark.parametrize("listing", ["by closing", "by opening"])
async def test_what_is_unknown_for_days_is_looked_for_in_all_of_them(lost, there, listing):
    lost.standing = LISTINGS[listing]
    day = 86_400_000
    positions = [lost.position(age=age) for age in (YEAR, 30 * day, 9 * day)]
    await lost.send(there=there)
    noted_at = datetime.now(UTC) - timedelta(days=6)
    lost.it.owner.rows(_NOTED_AT, noted_at.isoformat(), lost.reference)
    now = lost.it.books.now()
    for position, closed, pnl in zip(positions, (5, 3, 1), (150, -275, 980), strict=True):
        lost.close(position, pnl, at=now - closed * day)
    lost.it.sandbox.requests.clear()
    await lost.look()
    asked = [entry for entry in lost.it.sandbox.requests if entry.path.endswith("closedPositions")]
    assert len(asked) >= 2 * 4
    await lost.rest()
    lost.is_decided(("deposit",), there=there)


# --- a person, and another database --------------------------------------------------------------------------------------

LOOKED = Because(reason="not in the books", person="ada")


@pytest.mark.parametrize("kind", KINDS[:3], ids="_".join)
async def test_what_a_person_saw_not_to_be_there_is_sent_again_with_a_note_of_its_own(lost, kind):
    await lost.send(kind, there=False)
    lost.it.fund(lost.login, 3, "CREDIT" if kind[0] == "credit" else "BALANCE")
    await lost.rest()
    lost.is_parked("neither ours nor a closing deal", effects=0)
    await decisions.retry(lost.replica.engine, lost.reference, LOOKED, even_though_unproven=True)
    await lost.rest()
    assert (lost.state, lost.effects) == ("confirmed", 1)


async def test_a_withdrawal_that_a_person_saw_in_the_books_lets_its_payout_go(lost):
    await lost.send(("withdraw",))
    await lost.rest()
    (booked,) = lost.it.effects(lost.reference)
    await decisions.confirm(lost.replica.engine, lost.reference, booked.id, LOOKED)
    assert (lost.state, lost.effects) == ("confirmed", 1)
    assert lost.it.crm.state("payouts", lost.reference) == "releasable"


async def test_a_withdrawal_that_looked_done_and_was_not_is_sent_when_a_person_says_so(lost):
    """Somebody else took the same amount out."""
    await lost.send(("withdraw",), there=False)
    lost.it.fund(lost.login, -AMOUNT)
    await lost.rest()
    lost.is_parked("a person must see it in the books", effects=0)
    await decisions.retry(lost.replica.engine, lost.reference, LOOKED, even_though_unproven=True)
    await lost.rest()
    assert (lost.state, lost.effects) == ("confirmed", 1)
    assert lost.it.crm.state("payouts", lost.reference) == "releasable"


async def test_what_a_person_gave_up_lets_the_next_one_of_the_account_go(lost):
    await lost.send(("withdraw",), there=False)
    lost.it.fund(lost.login, -AMOUNT)
    await lost.rest()
    lost.it.crm.call("deposit", f"{lost.name}/next", f"{lost.name}/1", 3)
    await lost.replica.turn()
    assert lost.it.state(f"{lost.name}/next") == "pending"
    await decisions.cancel(lost.replica.engine, lost.reference, LOOKED)
    await lost.it.until_quiet(lost.replica)
    assert lost.it.state(f"{lost.name}/next") == "confirmed"
    assert lost.it.crm.state("payouts", lost.reference) == "declined"


async def test_what_a_person_let_go_without_a_note_and_is_lost_again_is_left_to_the_person(lost):
    await lost.send(there=False)
    lost.it.fund(lost.login, 3)
    await lost.rest()
    await decisions.retry(lost.replica.engine, lost.reference, LOOKED, even_though_unproven=True)
    unread = {"kind": "error_before", "status": 500, "path": "/openPositions$"}
    lost.it.sandbox.faults.set([{"kind": "drop_after", "path": lost.it.money_path, "times": 1}, unread])
    await lost.replica.turn()
    assert (lost.state, lost.effects) == ("unknown", 1)
    lost.it.sandbox.faults.clear()
    await lost.look()
    lost.is_parked("nothing was noted before it was sent", effects=1)


@MONEY
async def test_what_a_restored_database_holds_as_never_sent_is_left_to_a_person(lost, kind):
    lost.it.crm.call(kind[0], lost.reference, f"{lost.name}/1", AMOUNT, *kind[1:])
    lost.it.owner.rows("UPDATE counterfoil.intents SET probe_first = true WHERE reference = %s", lost.reference)
    await lost.rest()
    lost.is_parked("it may have been sent before", effects=0)


@pytest.mark.parametrize("kind", KINDS[:2], ids="_".join)
async def test_what_a_restored_database_holds_as_unknown_is_not_sent_again(lost, kind):
    await lost.send(kind, there=False)
    lost.it.owner.rows("UPDATE counterfoil.intents SET probe_first = true WHERE reference = %s", lost.reference)
    await lost.rest()
    lost.is_parked("it may have been sent before", effects=0)


@pytest.mark.parametrize("kind", ["deposit", "withdraw"])
async def test_what_somebody_booked_back_is_not_taken_for_never_done(lost, kind):
    """The balance is what it was; that the platform changed the account is all that tells."""
    await lost.send((kind,))
    lost.it.fund(lost.login, "-7.25" if kind == "deposit" else "7.25")
    await lost.rest()
    lost.is_parked("booked, and back", effects=1)
