"""Users, accounts, links and updates on cTrader whose answer was lost, and accounts that are taken over."""

from decimal import Decimal

import pytest
import pytest_asyncio

from counterfoil.domain.references import idempotency_reference
from counterfoil.platforms.ctrader.session import md5
from counterfoil.store import decisions
from counterfoil.store.decisions import Because
from support.ctrading import PLATFORM, ct_bench

pytestmark = pytest.mark.asyncio(loop_scope="module")

PROFILE = {
    "email": "Grace@example.org",
    "first_name": "Grace",
    "family_name": "Hopper",
    "mobile": "+1",
    "city": "Arlington",
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench(postgres_server, template_database):
    with postgres_server.database(template_database) as url:
        async with ct_bench(url) as it:
            yield it, it.replica(places=1)


@pytest.fixture
def it(bench):
    bench[0].sandbox.faults.clear()
    bench[0].sandbox.requests.clear()
    return bench[0]


@pytest.fixture
def replica(bench):
    return bench[1]


async def lost_opening(it, replica, name, *faults):
    """An account that is opened, and nobody is told."""
    it.registrant(name, {**PROFILE, "email": f"{name}@example.org"})
    it.crm.call("open_account", f"{name}/1", name, {})
    before = set(it.books.traders)
    path = {"path": "/traders$", "method": "POST", "times": 1}
    it.sandbox.faults.set([{**fault, **path} for fault in (*faults, {"kind": "drop_after"})])
    await replica.turn()
    assert it.state(f"{name}/1", "account") == "unknown"
    it.sandbox.faults.clear()
    return set(it.books.traders) - before


# --- accounts ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, 3, 6, 7, 20, 30])
async def test_an_account_whose_marker_was_cut_off_is_never_opened_again(it, replica, length):
    name = f"cut{length}"
    made = await lost_opening(it, replica, name, {"kind": "description_cut", "length": length})
    opened = len(it.writes("/traders"))
    await it.look(replica, 8)
    assert it.state(f"{name}/1", "account") == "parked"
    assert f"carries no marker: account {made.pop()}" in it.reason(f"{name}/1", "account")
    assert len(it.writes("/traders")) == opened


async def test_an_account_whose_marker_fits_exactly_is_found(it, replica):
    (login,) = await lost_opening(it, replica, "fits", {"kind": "description_cut", "length": 31})
    await it.until_quiet(replica)
    assert (it.state("fits/1", "account"), it.account_id("fits/1")) == ("confirmed", login)


async def test_a_new_account_of_somebody_else_is_not_taken_for_ours(it, replica):
    it.registrant("other", {**PROFILE, "email": "other@example.org"})
    it.crm.call("open_account", "other/1", "other", {})
    it.sandbox.faults.set({"kind": "drop_before", "path": "/traders$", "method": "POST", "times": 1})
    await replica.turn()
    it.books.add_trader(group="default", name="Grace", last_name="Hopper", contact={"email": "else@example.org"})
    it.books.add_trader(group="default", description=idempotency_reference("another"))
    await it.until_quiet(replica)
    assert it.state("other/1", "account") == "confirmed"
    assert len(it.opened_for("other/1")) == 1


async def test_an_account_that_was_made_twice_is_left_to_a_person_who_lets_the_platform_go_on(it, replica):
    await lost_opening(it, replica, "twice")
    it.books.add_trader(description=idempotency_reference("twice/1"))
    await it.look(replica)
    assert it.state("twice/1", "account") == "parked"
    assert it.paused.startswith("twice/1: made twice: accounts")
    it.owner.rows("UPDATE counterfoil.platform_state SET paused = NULL")


# --- accounts that are there already -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("contact", "state"),
    [
        ({"email": "GRACE@example.org"}, "confirmed"),
        ({"email": "grace@example.com"}, "parked"),
        ({"email": ""}, "parked"),
        ({}, "parked"),
    ],
)
async def test_only_the_e_mail_address_tells_whose_an_account_is(it, replica, contact, state):
    name = f"adopt{len(it.books.traders)}"
    it.crm.call("register", name, {**PROFILE, "email": "grace@example.org"}, PLATFORM)
    trader = it.books.add_trader(contact=contact)
    it._confirm(
        name, trader.login + 1_000_000, "UPDATE counterfoil.registrants SET client_id = %s WHERE registrant_id = %s"
    )
    it.crm.call("adopt_account", f"{name}/old", name, PLATFORM, trader.login)
    await it.until_quiet(replica)
    assert it.state(f"{name}/old") == state
    assert it.writes() == []
    # What was confirmed here would stand in the way of the next one.
    it.owner.rows("UPDATE counterfoil.registrants SET profile = profile - 'email' WHERE registrant_id = %s", name)


async def test_an_account_that_does_not_exist_cannot_be_taken_over(it, replica):
    it.registrant("nobody")
    it.crm.call("adopt_account", "nobody/old", "nobody", PLATFORM, 1)
    await it.until_quiet(replica)
    assert it.state("nobody/old") == "rejected"


# --- what a person decides -----------------------------------------------------------------------------------------------

SEEN = Because(reason="seen on the platform", person="ada")


async def test_an_account_that_a_person_recognised_goes_on(it, replica):
    (login,) = await lost_opening(it, replica, "seen", {"kind": "description_cut", "length": 20})
    await it.until_quiet(replica)
    assert it.state("seen/1", "account") == "parked"
    await it.mirror()
    await decisions.confirm(replica.engine, "seen/1", login, SEEN)
    await it.until_quiet(replica)
    assert (it.crm.state("accounts", "seen/1"), it.account_id("seen/1")) == ("confirmed", login)
    assert login in it.books.links


async def test_a_link_that_a_person_saw_lets_money_go(it, replica):
    login = it.opened("tied")
    it.books.link(login, it.owner.value("SELECT client_id FROM counterfoil.registrants WHERE registrant_id = 'tied'"))
    it.crm.call("deposit", "tied/m", "tied/1", 5)
    await it.until_quiet(replica)
    assert (it.state("tied/1", "link"), it.state("tied/m")) == ("parked", "waiting")
    await decisions.confirm(replica.engine, "tied/1", None, SEEN)
    await it.until_quiet(replica)
    assert (it.state("tied/m"), it.crm.state("accounts", "tied/1")) == ("confirmed", "confirmed")


# --- links ---------------------------------------------------------------------------------------------------------------


async def test_a_link_that_was_not_made_is_made_again(it, replica):
    login = it.opened("link")
    it.sandbox.faults.set({"kind": "drop_before", "path": "/link$", "times": 1})
    await replica.turn()
    assert it.state("link/1", "link") == "unknown"
    await it.until_quiet(replica)
    assert (it.state("link/1", "link"), login in it.books.links) == ("confirmed", True)


async def test_a_link_that_is_refused_is_left_to_a_person_and_money_waits(it, replica):
    login = it.opened("held")
    it.books.link(login, it.books.add_user("somebody@example.org").id)
    it.crm.call("deposit", "held/m", "held/1", 5)
    await it.until_quiet(replica)
    assert (it.state("held/1", "link"), it.state("held/m")) == ("parked", "waiting")
    assert it.crm.state("accounts", "held/1") == "parked"
    assert it.evidence("held/1", "link")["code"] == "CH_TRADER_ACCOUNT_ALREADY_LINKED"
    assert it.paused is None


# --- updates -------------------------------------------------------------------------------------------------------------

CHANGES = {
    "groupName": "bitcoin",
    "leverageInCents": 20_000,
    "maxLeverage": 40_000,
    "accessRights": "CLOSE_ONLY",
    "name": "Amazing",
    "lastName": "Grace",
    "swapFree": True,
    "isLimitedRisk": True,
    "sendOwnStatement": True,
    "sendStatementToBroker": True,
    "address": "1 Main St",
    "city": "Rome",
    "state": "VA",
    "zipCode": "0123",
    "phone": "+39",
    "email": "amazing@example.org",
    "documentId": "007",
    "countryId": 380,
    "introducingBroker1": "one",
    "introducingBroker2": "two",
}


@pytest.mark.parametrize("field", CHANGES)
async def test_every_field_is_recognised_when_it_was_changed_and_nobody_was_told(it, replica, field):
    name = f"up-{field}"
    login = it.account(name)
    it.books.trader(login).contact = {"phone": "+1", "status": "kept"}
    it.crm.call("update_account", f"{name}/1", {field: CHANGES[field]})
    it.sandbox.requests.clear()
    it.strike("drop_after", method="PATCH")
    await replica.turn()
    assert it.state(f"{name}/1", "update_account") == "unknown"
    await it.look(replica)
    assert it.state(f"{name}/1", "update_account") == "confirmed", it.evidence(f"{name}/1", "update_account")
    assert len(it.writes()) == 1
    assert it.books.trader(login).contact["status"] == "kept"


async def test_a_change_that_was_not_made_is_made_again(it, replica):
    login = it.account("patch")
    it.crm.call("update_account", "patch/1", CHANGES)
    it.strike("drop_before", method="PATCH")
    await it.until_quiet(replica)
    assert it.state("patch/1", "update_account") == "confirmed"
    assert it.books.trader(login).contact["countryId"] == 380
    assert len(it.writes()) == 2


async def test_the_newest_password_is_the_one_that_counts(it, replica):
    login = it.account("pass")
    it.crm.call("reset_password", "pass/1")
    it.strike("drop_after", method="POST")
    await replica.turn()
    assert it.state("pass/1", "reset_password") == "unknown"
    told = it.crm.call("reset_password", "pass/1")["credentials"]
    await it.until_quiet(replica)
    assert it.books.trader(login).password_hash == md5(told["user_password"])


# --- money that is plainly answered --------------------------------------------------------------------------------------


async def test_money_that_the_platform_refuses_is_refused_and_no_payout_goes(it, replica):
    it.account("poor", balance=5)
    it.crm.call("withdraw", "poor/m", "poor/1", Decimal("5.01"))
    await it.until_quiet(replica)
    assert (it.state("poor/m"), it.crm.state("payouts", "poor/m")) == ("rejected", "declined")
    assert "NOT_ENOUGH_MONEY" in it.reason("poor/m")


@pytest.mark.parametrize("fault", ["books_twice", "wrong_amount"])
async def test_money_that_was_booked_otherwise_and_not_answered_is_left_to_a_person(it, replica, fault):
    it.account(f"odd-{fault}")
    reference = f"odd-{fault}/m"
    it.crm.call("deposit", reference, f"odd-{fault}/1", 5)
    it.sandbox.faults.set([{"kind": kind, "path": it.money_path, "times": 1} for kind in (fault, "drop_after")])
    await replica.turn()
    it.sandbox.faults.clear()
    await it.until_quiet(replica)
    assert it.state(reference) == "parked"
    assert len(it.writes("changebalance")) == 1


@pytest.mark.parametrize("code", ["UNKNOWN_ERROR", "TIMEOUT_ERROR", "CONCURRENT_MODIFICATION"])
@pytest.mark.parametrize("after", [True, False])
async def test_an_error_that_says_nothing_of_the_effect_is_looked_into(it, replica, code, after):
    name = f"{code}-{after}"
    it.account(name)
    it.crm.call("deposit", f"{name}/m", f"{name}/1", 5)
    it.sandbox.faults.set({"kind": "business_error", "code": code, "after": after, "path": it.money_path, "times": 1})
    await replica.turn()
    assert it.state(f"{name}/m") == "unknown"
    await it.until_quiet(replica)
    assert (it.state(f"{name}/m"), len(it.effects(f"{name}/m"))) == ("confirmed", 1)
    assert len(it.writes("changebalance")) == (1 if after else 2)
