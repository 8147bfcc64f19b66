"""Clients and accounts: made once, taken where they are ours already, and never taken from anybody."""

import msgspec
import pytest

from support.pushing import push_bench

# How the making of a record goes unanswered, and how many are there then.
UNANSWERED = [
    ({"kind": "drop_before"}, 0),
    ({"kind": "drop_after"}, 1),
    *(({"kind": "error_before", "status": status}, 0) for status in (408, 409, 500, 503)),
    *(({"kind": "error_after", "status": status}, 1) for status in (302, 408, 409, 500, 503)),
    ({"kind": "deaf"}, 0),
    ({"kind": "slow_body", "bytes_per_second": 10}, 1),
    ({"kind": "truncated"}, 1),
    ({"kind": "html"}, 1),
    ({"kind": "wrong_shape"}, 1),
    ({"kind": "success_false", "code": 500, "after": True}, 1),
    ({"kind": "answer_without_id"}, 1),
    ({"kind": "answer_text"}, 1),
]


@pytest.fixture
async def it(database_url):
    async with push_bench(database_url) as bench:
        bench.account("a")
        bench.sandbox.requests.clear()
        yield bench


def register(it, name="b", account=None):
    it.crm.call("register", name, {"first_name": "B", "family_name": "C"}, "live", account)


@pytest.mark.parametrize(("fault", "made"), UNANSWERED, ids=str)
async def test_a_client_whose_making_was_not_answered_is_found_or_made_once(it, fault, made):
    register(it)
    it.sandbox.faults.set({"path": "/clients$", "method": "POST", "times": 1, **fault})
    replica = it.replica()
    await replica.turn()
    assert it.state("b") == "unknown"
    assert len(it.clients("b")) == made
    await it.until_quiet(replica)
    assert (it.state("b"), len(it.clients("b"))) == ("confirmed", 1)
    assert (
        it.owner.value("SELECT client_id FROM counterfoil.registrants WHERE registrant_id = 'b'")
        == it.clients("b")[0].id
    )


async def test_an_account_whose_making_was_not_answered_is_found_with_its_currency(it):
    register(it, account={})
    replica = it.replica()
    await replica.turn()
    it.sandbox.faults.set({"kind": "drop_after", "path": "/accounts$", "method": "POST", "times": 1})
    await replica.turn()
    assert it.state("b/1") == "unknown"
    await it.until_quiet(replica)
    (account,) = it.accounts("b-1")
    found = it.owner.rows(
        "SELECT account_id, currency, currency_digits FROM counterfoil.accounts WHERE reference = 'b/1'"
    )
    assert found == [(account.id, "USD", 2)]
    assert it.owner.value("SELECT count(*) FROM counterfoil.passwords") == 0


async def test_a_client_that_is_there_already_is_taken_and_none_made(it):
    client = it.books.add_client({"first_name": "B", "family_name": "C", "external_id": "b"})
    register(it)
    await it.replica().turn()
    assert (it.state("b"), it.intent("b")["record_id"]) == ("confirmed", client.id)
    assert it.writes() == []


@pytest.mark.parametrize("mirrored", [False, True])
async def test_two_clients_with_this_external_id_are_left_to_a_person(it, mirrored):
    for _ in range(2):
        it.books.add_client({"first_name": "B", "family_name": "C", "external_id": "b"})
    if mirrored:
        await it.mirror("clients")
    it.sandbox.requests.clear()
    register(it)
    await it.replica().turn()
    assert it.state("b") == "parked"
    assert "carry this external_id" in it.reason("b")
    assert it.writes() == []


async def test_a_login_name_that_exists_is_rejected_whoever_has_it_and_however_it_is_written(it):
    it.registrant("b")
    it.books.add_account(it.books.clients.ids[0], it.books.trading_groups[79], "TAKEN", {})
    it.crm.call("open_account", "b/1", "b", {"username": "taken"})
    await it.replica().turn()
    assert it.state("b/1") == "rejected"
    assert "username taken exists" in it.reason("b/1")
    assert it.writes() == []


async def test_a_conflict_over_a_client_that_is_ours_confirms_it(it):
    register(it)
    it.sandbox.faults.set(
        [{"kind": "unique", "path": "/clients$"}, {"kind": "vanish", "fraction": 1.0, "path": "/clients$", "times": 2}]
    )
    client = it.books.add_client({"first_name": "B", "family_name": "C", "external_id": "b"})
    it.owner.rows("DELETE FROM mirror.clients")
    replica = it.replica()
    await replica.turn()
    assert it.state("b") == "unknown"
    assert "409" in it.reason("b")
    await it.until_quiet(replica)
    assert (it.state("b"), it.intent("b")["record_id"]) == ("confirmed", client.id)
    assert len(it.clients("b")) == 1


async def test_a_record_that_belongs_to_another_registrant_parks(it):
    other = it.registrant("b")
    register(it, "c")
    it.sandbox.faults.set(
        {"kind": "wrong_shape", "value": f'{{"id":{other}}}', "path": "/clients$", "method": "POST", "times": 1}
    )
    await it.replica().turn()
    assert it.state("c") == "parked"
    assert it.reason("c") == f"the platform's record {other} belongs to another reference of ours"
    assert it.evidence("c") == {"record": other}


async def test_an_e_mail_address_of_another_registrant_parks_and_sends_nothing(it):
    it.registrant("b", {"first_name": "B", "family_name": "C", "email": "One@x.org"})
    it.crm.call("register", "c", {"first_name": "D", "family_name": "E", "email": "one@X.org"}, "live")
    await it.replica().turn()
    assert it.state("c") == "parked"
    assert it.reason("c") == "the e-mail address belongs to registrant b already"
    assert it.writes() == []


async def test_passwords_without_the_key_stay_where_they_are_and_nothing_is_sent(it):
    it.registrant("b")
    it.crm.call("open_account", "b/1", "b", {})
    await it.replica(key=None).turn()
    assert it.state("b/1") == "pending"
    assert "crm.encryption_key" in it.reason("b/1")
    assert it.writes() == []


@pytest.mark.parametrize("merges", [False, True])
async def test_an_update_changes_what_was_asked_and_nothing_else(it, merges):
    client = it.books.clients.get(it.registrant("b", {"first_name": "B", "family_name": "C", "country": "Chad"}))
    client.fields |= {"desc": "vip", "kyc_status": 3}
    before = dict(client.fields)
    it.crm.call("update_profile", "b", {"country": "Peru"})
    if merges:
        it.strike("put_replaces", method="PUT")
    await it.replica(merges=merges).turn()
    assert it.state("b", "update_client") == "confirmed"
    left_out = {"updated_at", "kyc_status"}
    assert {k: v for k, v in client.fields.items() if k not in left_out} == {
        k: v for k, v in (before | {"country": "Peru"}).items() if k not in left_out
    }
    (body,) = [request.body for request in it.writes("/clients/")]
    assert "kyc_status" not in msgspec.json.decode(body)


async def test_an_adoption_writes_nothing_and_learns_the_account(it):
    client = it.registrant("b")
    account = it.books.add_account(client, it.books.trading_groups[79], "old", {})
    it.crm.call("adopt_account", "b/9", "b", "live", account.id)
    await it.replica().turn()
    assert it.state("b/9") == "confirmed"
    assert it.username("b/9") == "old"
    assert it.writes() == []


@pytest.mark.parametrize(("owner", "said"), [("a", "belongs to client"), (None, "does not exist")])
async def test_an_adoption_of_what_is_not_his_is_rejected(it, owner, said):
    it.registrant("b")
    account_id = it.books.accounts.ids[-1] if owner else 999_999
    if owner:
        it.owner.rows("UPDATE counterfoil.accounts SET account_id = 1 WHERE account_id = %s", account_id)
    it.crm.call("adopt_account", "b/9", "b", "live", account_id)
    await it.replica().turn()
    assert it.state("b/9") == "rejected"
    assert said in it.reason("b/9")
