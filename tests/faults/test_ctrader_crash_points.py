"""A worker that ends at any point of an attempt on cTrader: done once, and confirmed, or before a person where nothing can tell."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

import pytest
import pytest_asyncio

from counterfoil.domain.intent import MONEY, Kind
from counterfoil.platforms.ctrader.session import md5
from support.crashing import Point, Way, crash, is_lost, points
from support.ctrading import PLATFORM, CTraderBench, ct_bench

AMOUNT = Decimal("7.25")
# No call changes a user.
KINDS = [kind for kind in Kind if kind is not Kind.UPDATE_CLIENT]


def points_of(kind: Kind) -> list[Point]:
    """The points that an attempt of this kind passes: what cannot be done twice is noted before it is sent."""
    return points(launches=kind is Kind.ACCOUNT or kind in MONEY, sends=kind is not Kind.ADOPT)


CASES = [(kind, point, way) for kind in KINDS for point in points_of(kind) for way in Way]


def end(kind: Kind, point: Point, way: Way) -> str:
    """How it must end: arithmetic alone lets no payout go, and a link that is refused may be there already."""
    return "parked" if kind in (Kind.WITHDRAW, Kind.LINK) and is_lost(point, way) else "confirmed"


def test_no_point_of_any_kind_is_left_out():
    assert len(CASES) == 4 * (6 * 9 + 1 * 4 + 4 * 7)
    assert {kind for kind, _, _ in CASES} == set(Kind) - {Kind.UPDATE_CLIENT}
    assert sum(end(*case) == "parked" for case in CASES) == 2 * 9


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench(postgres_server, template_database):
    with postgres_server.database(template_database) as url:
        async with ct_bench(url) as it:
            yield it, it.replica()


@dataclass
class Subject:
    """What is asked for, and how often it was done."""

    reference: str
    kind: Kind
    done: Callable[[], int]


def subject(it: CTraderBench, kind: Kind, name: str) -> Subject:
    """One intent of this kind, about people and accounts of its own."""
    crm, email = it.crm, f"{name}@example.org"
    if kind is Kind.CLIENT:
        crm.call("register", name, {"email": email, "first_name": "Grace"}, PLATFORM)
        return Subject(name, kind, lambda: len(it.users(email)))
    if kind is Kind.ACCOUNT:
        it.registrant(name)
        crm.call("open_account", f"{name}/1", name, {})
        return Subject(f"{name}/1", kind, lambda: len(it.opened_for(f"{name}/1")))
    if kind is Kind.LINK:
        login = it.opened(name)
        return Subject(f"{name}/1", kind, lambda: int(login in it.books.links))
    if kind is Kind.ADOPT:
        it.registrant(name)
        trader = it.books.add_trader(contact={"email": email.upper()})
        crm.call("adopt_account", f"{name}/1", name, PLATFORM, trader.login)
        return Subject(f"{name}/1", kind, lambda: int(trader.login in it.books.traders))
    return of_account(it, kind, name)


def of_account(it: CTraderBench, kind: Kind, name: str) -> Subject:
    crm, account = it.crm, f"{name}/1"
    trader = it.books.trader(it.account(name))
    if kind is Kind.UPDATE_ACCOUNT:
        trader.access_rights = "NO_TRADING"
        crm.call("update_account", account, {"accessRights": "FULL_ACCESS"})
        return Subject(account, kind, lambda: int(trader.access_rights == "FULL_ACCESS"))
    if kind is Kind.RESET_PASSWORD:
        fresh = md5(crm.call("reset_password", account)["credentials"]["user_password"])
        return Subject(account, kind, lambda: int(trader.password_hash == fresh))
    reference = f"{name}/m"
    if kind is Kind.REFUND:
        it.payout(reference, account, AMOUNT)
        crm.call("fail_payout", reference, "the bank refused")
        reference = f"{reference}/refund"
    elif kind in (Kind.CREDIT_IN, Kind.CREDIT_OUT):
        crm.call("credit", reference, account, AMOUNT, kind.removeprefix("credit_"))
    else:
        crm.call(str(kind), reference, account, AMOUNT)
    return Subject(reference, kind, lambda: len(it.effects(reference)))


def signed(kind: Kind) -> Decimal:
    return {Kind.WITHDRAW: -AMOUNT, Kind.CREDIT_OUT: -AMOUNT}.get(kind, AMOUNT)


def shows_its_arithmetic(it: CTraderBench, wanted: Subject) -> None:
    """What a person needs to see, and a payout that nobody may release."""
    evidence = it.evidence(wanted.reference, wanted.kind)
    assert evidence["finding"] == "doubtful"
    if wanted.kind is Kind.LINK:
        assert (evidence["account"], evidence["code"]) == (
            it.account_id(wanted.reference),
            "CH_TRADER_ACCOUNT_ALREADY_LINKED",
        )
        return
    told = ("before", "after", "moved", "asked_for", "deals", "moved_by_deals", "not_explained_by_deals")
    shown = [evidence[name] for name in told]
    assert shown == ["1000.00", "992.75", "-7.25", "-7.25", {}, "0", "-7.25"]
    assert it.crm.state("payouts", wanted.reference) == "blocked"
    with it.crm.expect_refused("CF001"):
        it.crm.call("release_payout", wanted.reference)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("kind", "point", "way"), CASES, ids=str)
async def test_an_attempt_that_ends_anywhere_is_done_once_and_known_to_be(bench, kind, point, way):
    it, healthy = bench
    wanted = subject(it, kind, f"r{CASES.index((kind, point, way))}")
    it.sandbox.requests.clear()
    await crash(it, healthy, point, way)

    def check() -> None:
        assert wanted.done() <= 1
        it.payouts_are_covered()

    check()
    await it.until_quiet(healthy, check)
    assert it.state(wanted.reference, kind) == end(kind, point, way), it.reason(wanted.reference, kind)
    assert wanted.done() == 1
    assert it.paused is None
    assert it.books.check() == []
    if end(kind, point, way) == "parked":
        shows_its_arithmetic(it, wanted)
    elif kind is Kind.WITHDRAW:
        assert it.crm.state("payouts", wanted.reference) == "releasable"
    if kind in MONEY:
        assert [Decimal(row.amount) / 100 for row in it.effects(wanted.reference)] == [signed(kind)]
