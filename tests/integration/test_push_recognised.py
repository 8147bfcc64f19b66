"""People and accounts that look like ours, or like nobody's: never made a second time, and never taken from a stranger."""

import json

import pytest

from counterfoil.domain.intent import Kind
from support.boundary import PROFILE
from support.pushing import GROUP, push_bench

CLIENTS = "/clients$"
ACCOUNTS = "/accounts$"


@pytest.fixture
async def it(database_url):
    async with push_bench(database_url) as bench:
        bench.account("a")
        bench.sandbox.requests.clear()
        yield bench


async def unanswered(it, reference, path):
    """The making of a record that is done and not answered; the replica that asked."""
    it.strike("drop_after", path=path, method="POST")
    replica = it.replica()
    await replica.turn()
    assert it.state(reference) == "unknown"
    it.sandbox.faults.clear()
    return replica


def made_by_hand(it, client_id, username):
    return it.books.add_account(client_id, it.books.trading_groups[GROUP], username, {})


# --- accounts that show no login name ----------------------------------------------------------------------------------


def hide_name(account):
    account.username = ""
    account.json = None


async def test_an_account_that_was_made_and_shows_no_login_name_is_not_made_again(it):
    it.crm.call("open_account", "a/2", "a", {})
    replica = await unanswered(it, "a/2", ACCOUNTS)
    (made,) = it.accounts(it.username("a/2"))
    hide_name(made)
    number = len(it.books.accounts.ids)
    await it.look(replica, 2)
    assert "shows no login name" in it.reason("a/2")
    await it.until_quiet(replica)
    assert (it.state("a/2"), it.paused) == ("parked", None)
    assert (len(it.writes(ACCOUNTS.strip("$"))), len(it.books.accounts.ids)) == (1, number)


async def test_an_account_whose_name_shows_up_later_is_found(it):
    it.crm.call("open_account", "a/2", "a", {})
    replica = await unanswered(it, "a/2", ACCOUNTS)
    (made,) = it.accounts(it.username("a/2"))
    hide_name(made)
    await it.look(replica, 2)
    made.username, made.json = it.username("a/2"), None
    await it.until_quiet(replica)
    assert (it.state("a/2"), it.intent("a/2")["record_id"]) == ("confirmed", made.id)
    assert len(it.writes()) == 1


async def test_before_the_first_attempt_a_new_account_without_a_name_keeps_us_from_making_one(it):
    client = it.owner.value("SELECT client_id FROM counterfoil.registrants WHERE registrant_id = 'a'")
    hide_name(made_by_hand(it, client, "x"))
    it.crm.call("open_account", "a/2", "a", {})
    replica = it.replica()
    for _ in range(3):
        it.hurry()
        await replica.turn()
    assert (it.state("a/2"), it.writes()) == ("pending", [])
    assert "shows no login name" in it.reason("a/2")
    await it.mirror("accounts")
    it.hurry()
    await replica.turn()
    assert it.state("a/2") == "confirmed"


async def test_a_nameless_account_of_another_client_is_in_nobodys_way(it):
    hide_name(made_by_hand(it, it.books.clients.ids[0], "x"))
    it.crm.call("open_account", "a/2", "a", {})
    await it.replica().turn()
    assert it.state("a/2") == "confirmed"


# --- accounts that somebody made by hand -------------------------------------------------------------------------------


async def test_an_account_made_by_hand_after_a_look_that_failed_is_not_taken_for_ours(it):
    client = it.owner.value("SELECT client_id FROM counterfoil.registrants WHERE registrant_id = 'a'")
    it.crm.call("open_account", "a/2", "a", {})
    it.sandbox.faults.set({"kind": "error_before", "method": "GET", "path": ACCOUNTS})
    replica = it.replica()
    await replica.turn()
    assert (it.state("a/2"), it.intent("a/2")["attempts"]) == ("pending", 1)
    it.sandbox.faults.clear()
    made_by_hand(it, client, it.username("a/2"))
    it.hurry()
    await replica.turn()
    assert (it.state("a/2"), it.intent("a/2")["record_id"], it.writes()) == ("rejected", None, [])
    assert "see crm.adopt_account" in it.reason("a/2")


async def test_an_account_of_our_name_after_an_attempt_that_was_launched_is_ours(it):
    client = it.owner.value("SELECT client_id FROM counterfoil.registrants WHERE registrant_id = 'a'")
    it.crm.call("open_account", "a/2", "a", {})
    it.strike("rate_limited", path=ACCOUNTS, method="POST")
    replica = it.replica()
    await replica.turn()
    assert it.state("a/2") == "pending"
    late = made_by_hand(it, client, it.username("a/2"))
    it.hurry()
    await replica.turn()
    assert (it.state("a/2"), it.intent("a/2")["record_id"]) == ("confirmed", late.id)
    assert len(it.writes()) == 1


# --- clients whose external_id does not come back --------------------------------------------------------------------

REGISTRANT = "Reg-12345"


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        *((REGISTRANT, "Reg-12"), (REGISTRANT, "reg-12345"), (REGISTRANT, "REG-123"), (REGISTRANT, " Reg-12345 ")),
        *(("12345", 12345), ("12345", 1234)),
    ],
)
async def test_a_client_whose_external_id_comes_back_changed_is_not_made_twice(it, name, shown):
    it.crm.call("register", name, PROFILE, "live")
    replica = await unanswered(it, name, CLIENTS)
    (made,) = it.clients(name)
    made.fields["external_id"] = shown
    it.books.touch("clients", made.id)
    number = len(it.books.clients.ids)
    await it.until_quiet(replica)
    assert it.state(name) == "parked"
    assert it.reason(name) == f"a new client resembles ours: client {made.id}"
    assert (len(it.books.clients.ids), len(it.writes("/clients"))) == (number, 1)


@pytest.mark.parametrize("shown", ["ada@x.org", "ADA@X.ORG"])
async def test_a_client_whose_external_id_is_lost_is_known_by_the_e_mail_and_not_made_twice(it, shown):
    it.crm.call("register", REGISTRANT, {**PROFILE, "email": "ada@x.org"}, "live")
    replica = await unanswered(it, REGISTRANT, CLIENTS)
    (made,) = it.clients(REGISTRANT)
    made.fields |= {"external_id": "", "email": shown}
    it.books.touch("clients", made.id)
    await it.until_quiet(replica)
    assert (it.state(REGISTRANT), len(it.writes("/clients"))) == ("parked", 1)


async def test_a_stranger_who_registered_meanwhile_is_not_taken_for_ours(it):
    it.crm.call("register", REGISTRANT, {**PROFILE, "email": "ada@x.org"}, "live")
    it.strike("drop_before", path=CLIENTS, method="POST")
    replica = it.replica()
    await replica.turn()
    it.books.add_client({**PROFILE, "external_id": "Another", "email": "bob@x.org"})
    await it.until_quiet(replica)
    assert (it.state(REGISTRANT), len(it.clients(REGISTRANT))) == ("confirmed", 1)


@pytest.mark.parametrize("told", ["Another", REGISTRANT[:5], REGISTRANT.upper(), None, 12345])
async def test_a_creation_that_is_answered_with_another_external_id_parks_and_pauses(it, told):
    it.crm.call("register", REGISTRANT, PROFILE, "live", {})
    fault = {"kind": "malformed_record", "field": "external_id", "value": json.dumps(told)}
    it.sandbox.faults.set({"path": CLIENTS, "method": "POST", **fault})
    replica = it.replica()
    await replica.turn()
    (made,) = it.clients(REGISTRANT)
    assert (it.state(REGISTRANT), it.evidence(REGISTRANT)) == ("parked", {"answered_record": made.id})
    assert it.paused == f"{REGISTRANT}: the client was made with another external_id than asked for"
    await it.until_quiet(replica)
    assert len(it.writes()) == 1


# --- two who come with one e-mail address ------------------------------------------------------------------------------


@pytest.mark.parametrize("replicas", [1, 2])
async def test_of_two_who_are_taken_up_together_with_one_address_the_first_goes(it, replicas):
    for name in ("c1", "c2"):
        it.crm.call("register", name, {**PROFILE, "email": "One@x.org" if name == "c1" else "one@x.org"}, "live")
    first = it.replica(places=2 if replicas == 1 else 1)
    if replicas == 1:
        await first.turn()
    else:
        second = it.replica(places=1)
        held = [await each.queue.claim(1, [Kind.CLIENT]) for each in (first, second)]
        assert [[one.reference for one in each] for each in held] == [["c1"], ["c2"]]
        it.lapse()
    await it.until_quiet(first)
    assert (it.state("c1"), it.state("c2")) == ("confirmed", "parked")
    assert it.reason("c2") == "the e-mail address belongs to registrant c1 already"
    assert len(it.writes("/clients")) == 1
