"""The order on an account: one operation after the other, and nobody else is held up."""

import pytest

from support.pushing import push_bench


@pytest.fixture
async def it(database_url):
    async with push_bench(database_url) as bench:
        bench.account("a")
        bench.sandbox.requests.clear()
        yield bench


async def test_one_accounts_operations_go_in_order_and_others_are_not_held_up(it):
    it.account("b")
    it.sandbox.requests.clear()
    for name, account in (("m1", "a/1"), ("m2", "a/1"), ("m3", "a/1"), ("n1", "b/1")):
        it.crm.call("deposit", name, account, 5)
    it.sandbox.faults.set({"kind": "error_before", "status": 500, "path": f"/{it.account_id('a/1')}/money", "times": 1})
    replica = it.replica()
    await replica.turn()
    assert [it.state(name) for name in ("m1", "m2", "m3", "n1")] == ["unknown", "pending", "pending", "confirmed"]
    assert it.crm.reason("operations", "m2") == "behind m1"
    assert it.crm.reason("operations", "m3") == "behind m1"
    await it.until_quiet(replica)
    assert [it.state(name) for name in ("m1", "m2", "m3")] == ["confirmed"] * 3
    order = [
        row.comment
        for row in it.books.transactions
        if row.comment.startswith("cf-") and row.account_id == it.account_id("a/1")
    ]
    assert order == [it.intent(name)["idempotency_reference"] for name in ("m1", "m2", "m3")]


async def test_a_rejected_operation_lets_the_next_one_go(it):
    it.crm.call("withdraw", "m1", "a/1", 5000)
    it.crm.call("withdraw", "m2", "a/1", 5)
    await it.until_quiet(it.replica())
    assert [it.state(name) for name in ("m1", "m2")] == ["rejected", "confirmed"]


async def test_a_parked_operation_holds_its_account_and_no_other(it):
    it.account("b")
    it.crm.call("deposit", "m1", "a/1", 5)
    it.owner.advance("m1", "sent", "parked")
    it.crm.call("deposit", "m2", "a/1", 5)
    it.crm.call("deposit", "n1", "b/1", 5)
    replica = it.replica()
    await replica.turn()
    await replica.turn()
    assert [it.state(name) for name in ("m1", "m2", "n1")] == ["parked", "pending", "confirmed"]
    assert it.effects("m2") == []


@pytest.mark.parametrize("state", ["sent", "unknown", "parked"])
async def test_an_account_is_not_changed_while_its_money_is_unsettled(it, state):
    it.crm.call("deposit", "m", "a/1", 5)
    it.owner.advance("m", *(["sent"] if state == "sent" else ["sent", state]))
    it.owner.rows("UPDATE counterfoil.intents SET due_at = clock_timestamp() + interval '1 day' WHERE reference = 'm'")
    it.crm.call("update_account", "a/1", {"city": "Rome"})
    it.crm.call("reset_password", "a/1")
    await it.replica().turn()
    assert (it.state("a/1", "update_account"), it.state("a/1", "reset_password")) == ("pending", "pending")
    assert it.writes() == []


async def test_a_paused_platform_is_not_written_to(it):
    it.owner.rows("UPDATE counterfoil.platform_state SET paused = 'look at it'")
    it.crm.call("deposit", "m", "a/1", 5)
    await it.replica().turn()
    assert it.state("m") == "pending"
    assert it.writes() == []
