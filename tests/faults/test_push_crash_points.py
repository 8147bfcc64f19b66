"""A worker that ends at any point of an attempt, in any way: what was asked for happens once, and is known to have."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

import pytest
import pytest_asyncio

from counterfoil.domain.intent import MONEY, Kind
from support.crashing import Point, Way, crash, points
from support.pushing import PushBench, push_bench

AMOUNT = Decimal("7.25")
PERSON = {"first_name": "Grace", "family_name": "Hopper"}
# An account that is opened belongs to its client: no step links it.
KINDS = [kind for kind in Kind if kind is not Kind.LINK]


def points_of(kind: Kind) -> list[Point]:
    """The points that an attempt of this kind passes."""
    return points(launches=kind in {Kind.CLIENT, Kind.ACCOUNT}, sends=kind is not Kind.ADOPT)


CASES = [(kind, point, way) for kind in KINDS for point in points_of(kind) for way in Way]


def test_no_point_of_any_kind_is_left_out():
    assert len(CASES) == 4 * (2 * 9 + 1 * 4 + 8 * 7)
    assert {kind for kind, _, _ in CASES} == set(Kind) - {Kind.LINK}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench(postgres_server, template_database):
    with postgres_server.database(template_database) as url:
        async with push_bench(url) as it:
            yield it, it.replica()


@dataclass
class Subject:
    """What is asked for, and how often it was done."""

    reference: str
    kind: Kind
    done: Callable[[], int]


def subject(it: PushBench, kind: Kind, name: str) -> Subject:
    """One intent of this kind, about people and accounts of its own."""
    crm = it.crm
    if kind is Kind.CLIENT:
        crm.call("register", name, PERSON, "live")
        return Subject(name, kind, lambda: len(it.clients(name)))
    if kind is Kind.UPDATE_CLIENT:
        client = it.books.clients.get(it.registrant(name))
        crm.call("update_profile", name, {"first_name": "Amazing"})
        return Subject(name, kind, lambda: int(client.fields["first_name"] == "Amazing"))
    if kind is Kind.ACCOUNT:
        it.registrant(name)
        crm.call("open_account", f"{name}/1", name, {})
        username = it.username(f"{name}/1")
        return Subject(f"{name}/1", kind, lambda: len(it.accounts(username)))
    if kind is Kind.ADOPT:
        account = it.books.add_account(it.registrant(name), it.books.trading_groups[79], f"old-{name}", {})
        crm.call("adopt_account", f"{name}/1", name, "live", account.id)
        return Subject(f"{name}/1", kind, lambda: len(it.accounts(f"old-{name}")))
    return of_account(it, kind, name)


def of_account(it: PushBench, kind: Kind, name: str) -> Subject:
    crm, account = it.crm, f"{name}/1"
    row = it.books.accounts.get(it.account(name))
    if kind is Kind.UPDATE_ACCOUNT:
        crm.call("update_account", account, {"city": "Arlington"})
        return Subject(account, kind, lambda: int(row.profile["city"] == "Arlington"))
    if kind is Kind.RESET_PASSWORD:
        crm.call("reset_password", account)
        path = f"/accounts/{row.id}"
        return Subject(account, kind, lambda: int(any(e.status == 200 for e in it.writes(path))))
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


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize(("kind", "point", "way"), CASES, ids=str)
async def test_an_attempt_that_ends_anywhere_is_done_once_and_known_to_be(bench, kind, point, way):
    it, healthy = bench
    wanted = subject(it, kind, f"r{CASES.index((kind, point, way))}")
    it.sandbox.requests.clear()
    await crash(it, healthy, point, way)
    assert wanted.done() <= 1
    it.payouts_are_covered()

    def check() -> None:
        assert wanted.done() <= 1
        it.payouts_are_covered()

    await it.until_quiet(healthy, check)
    assert it.state(wanted.reference, kind) == "confirmed"
    assert wanted.done() == 1
    assert it.paused is None
    assert it.books.check() == []
    if kind in MONEY:
        told = {"withdraw": -AMOUNT, "credit_out": -AMOUNT}.get(kind, AMOUNT)
        assert [Decimal(row.amount) / 100 for row in it.effects(wanted.reference)] == [told]
