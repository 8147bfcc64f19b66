"""The order on an account: one operation after the other, and nobody else is held up."""

import asyncio

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


# --- the money of an account and its changes ---------------------------------------------------------------------------

CHANGES = {"update_account": ({"city": "Rome"},), "reset_password": ()}
TOGETHER = """
    SELECT count(*) FILTER (WHERE amount IS NOT NULL), count(*) FILTER (WHERE kind IN ('update_account', 'reset_password'))
    FROM counterfoil.intents WHERE account_reference = 'a/1' AND state IN ('sent', 'unknown')
"""


def ask(it, change, order):
    """A deposit `m` and a change of the same account, in this order."""
    steps = {
        "money": lambda: it.crm.call("deposit", "m", "a/1", 5),
        "change": lambda: it.crm.call(change, "a/1", *CHANGES[change]),
    }
    for step in order:
        steps[step]()


def expect_never_together(it):
    ((money, changes),) = it.owner.rows(TOGETHER)
    assert not (money and changes)


async def watch(it, *turns):
    """Run these at once, and look into the database all the while."""
    running = [asyncio.ensure_future(turn) for turn in turns]
    while not all(task.done() for task in running):
        expect_never_together(it)
        await asyncio.sleep(0)
    await asyncio.gather(*running)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("order", [("money", "change"), ("change", "money")])
async def test_of_money_and_a_change_only_the_first_that_was_asked_is_taken_up(it, change, order):
    ask(it, change, order)
    replica = it.replica()
    held = [one.kind for _ in range(3) for one in await replica.queue.claim(8, [])]
    assert held == (["deposit"] if order[0] == "money" else [change])


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("order", [("money", "change"), ("change", "money")])
async def test_two_replicas_never_have_money_and_a_change_of_one_account_under_way(it, change, order):
    replicas = [it.replica(), it.replica()]
    it.sandbox.faults.set({"kind": "delay", "seconds": 0.15, "path": f"/accounts/{it.account_id('a/1')}"})
    ask(it, change, order)
    for _ in range(4):
        await watch(it, *(replica.turn() for replica in replicas))
    assert (it.state("m"), it.state("a/1", change)) == ("confirmed", "confirmed")
    journal = [entry.path.rpartition("/")[2] == "money" for entry in it.writes(f"/accounts/{it.account_id('a/1')}")]
    assert journal == [step == "money" for step in order]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("fault", ["drop_before", "drop_after"])
async def test_money_waits_while_nobody_knows_what_became_of_a_change(it, change, fault):
    it.sandbox.faults.set({"kind": fault, "method": "PUT", "times": 1})
    ask(it, change, ("change", "money"))
    replica = it.replica()
    await replica.turn()
    assert (it.state("a/1", change), it.state("m")) == ("unknown", "pending")
    await it.until_quiet(replica, lambda: expect_never_together(it))
    assert (it.state("a/1", change), it.state("m")) == ("confirmed", "confirmed")


async def test_a_change_that_waits_for_its_time_holds_up_no_money(it):
    it.sandbox.faults.set({"kind": "rate_limited", "method": "PUT", "retry_after": 60})
    ask(it, "update_account", ("change", "money"))
    replica = it.replica()
    await replica.turn()
    assert (it.state("a/1", "update_account"), it.state("m")) == ("pending", "pending")
    await replica.turn()
    assert (it.state("a/1", "update_account"), it.state("m")) == ("pending", "confirmed")


async def test_a_parked_change_holds_up_no_money(it):
    it.crm.call("update_account", "a/1", {"city": "Rome"})
    it.owner.advance("a/1", "sent", "parked", kind="update_account")
    it.crm.call("deposit", "m", "a/1", 5)
    await it.replica().turn()
    assert it.state("m") == "confirmed"


async def test_a_change_whose_time_was_written_before_the_clock_was_set_back_is_not_under_way_with_money(it):
    ask(it, "update_account", ("change", "money"))
    it.owner.rows(
        "UPDATE counterfoil.intents SET due_at = clock_timestamp() + interval '3 days' WHERE kind = 'update_account'"
    )
    await it.replica().queue.claim(8, [])
    expect_never_together(it)
