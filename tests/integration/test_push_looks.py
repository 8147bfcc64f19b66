"""What became of an attempt that nobody can vouch for: found, proven absent, or put before a person with the evidence."""

import json

import pytest

from counterfoil.domain.references import idempotency_reference
from counterfoil.platforms.omtrader.transfers import MoneyForm
from counterfoil.store import decisions
from counterfoil.store.decisions import Because
from counterfoil.store.mirrored import MirroredBooks
from support.pushing import push_bench

MONEY = "/money"
HISTORY = "/transactions/history"


@pytest.fixture
async def it(database_url):
    async with push_bench(database_url) as bench:
        bench.account("a")
        bench.sandbox.requests.clear()
        yield bench


# --- found -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [("deposit",), ("withdraw",), ("credit", "in"), ("credit", "out")])
async def test_what_stands_in_the_books_is_confirmed_at_the_first_look(it, kind):
    replica = await it.unknown("drop_after", kind)
    await it.look(replica, settled=False)
    (booked,) = it.effects("m")
    intent = it.intent("m")
    assert (intent["state"], intent["record_id"]) == ("confirmed", booked.id)
    assert intent["evidence"]["finding"] == "found"
    assert intent["evidence"]["in_history"] == [booked.id]
    assert intent["probed_at"] is not None


async def test_a_payout_may_leave_as_soon_as_its_withdrawal_is_found_and_not_before(it):
    replica = await it.unknown("drop_after", ("withdraw",))
    assert it.crm.state("payouts", "m") == "blocked"
    with it.crm.expect_refused("CF001"):
        it.crm.call("release_payout", "m")
    await it.look(replica)
    assert it.crm.state("payouts", "m") == "releasable"


async def test_a_look_that_finds_one_of_ours_proves_that_references_are_readable(it):
    it.owner.rows("UPDATE counterfoil.platform_state SET reference_proven_at = NULL")
    replica = await it.unknown("drop_after")
    await it.look(replica)
    assert it.owner.value("SELECT reference_proven_at IS NOT NULL FROM counterfoil.platform_state") is True


async def test_a_reference_in_the_middle_of_a_longer_comment_is_found(it):
    replica = await it.unknown("drop_after")
    (booked,) = it.effects("m")
    for row in (booked, it.books.deals.rows[booked.id]):
        row.comment = f"[Deposit:{row.comment}];"
        row.json = None
    await it.look(replica, 4)
    assert (it.state("m"), len(it.effects("m"))) == ("confirmed", 1)


# --- proven absent ---------------------------------------------------------------------------------------------------


async def test_absent_needs_the_settle_time_and_two_looks_and_is_then_sent_again(it):
    replica = await it.unknown()
    await it.look(replica, 6, settled=False)
    assert (it.state("m"), it.intent("m")["looks"]) == ("unknown", 0)
    assert it.reason("m") == "not there yet; it may still arrive"
    await it.look(replica)
    assert (it.state("m"), it.reason("m")) == ("unknown", "absent in 1 of 2 looks")
    assert len(it.writes(MONEY)) == 1
    it.hurry()
    await replica.pusher.turn()
    await replica.rest()
    assert (it.state("m"), it.reason("m")) == ("pending", "proven absent by 2 looks")
    assert it.evidence("m")["balance"] == it.evidence("m")["sum_of_deals"]
    await it.until_quiet(replica)
    assert (it.state("m"), len(it.effects("m")), len(it.writes(MONEY))) == ("confirmed", 1, 2)


@pytest.mark.parametrize("looks", [1, 2, 3, 5])
async def test_as_many_looks_must_agree_as_the_settings_say(it, looks):
    replica = await it.unknown(looks=looks)
    await it.look(replica, looks - 1)
    assert it.state("m") == "unknown"
    await it.look(replica)
    assert it.state("m") == "pending"


def correct(it, amount):
    """The account's balance is changed by hand, and no deal says so."""
    account = it.books.accounts.get(it.account_id("a/1"))
    account.balance += amount
    account.json = None


async def test_a_look_that_proves_nothing_starts_the_count_again(it):
    replica = await it.unknown(looks=2)
    await it.look(replica)
    assert it.intent("m")["looks"] == 1
    correct(it, 5)
    await it.look(replica)
    assert it.intent("m")["looks"] == -1
    correct(it, -5)
    await it.look(replica)
    assert (it.state("m"), it.intent("m")["looks"]) == ("unknown", 1)


async def test_a_look_that_failed_counts_neither_for_nor_against(it):
    replica = await it.unknown(looks=2)
    await it.look(replica)
    it.sandbox.faults.set({"kind": "error_before", "path": HISTORY})
    await it.look(replica, 9)
    assert (it.state("m"), it.intent("m")["looks"]) == ("unknown", 1)
    assert it.reason("m").startswith("the look failed: ")
    it.sandbox.faults.clear()
    await it.look(replica)
    assert it.state("m") == "pending"


async def test_without_a_reference_ever_read_back_absent_is_left_to_a_person(it):
    it.owner.rows("UPDATE counterfoil.platform_state SET reference_proven_at = NULL")
    replica = await it.unknown()
    await it.look(replica, 3)
    assert it.state("m") == "parked"
    assert "no reference of ours was ever read back" in it.reason("m")
    assert it.evidence("m")["finding"] == "absent"
    assert len(it.writes(MONEY)) == 1


async def test_a_reference_that_the_pulls_have_read_back_counts(it):
    it.owner.rows("UPDATE counterfoil.platform_state SET reference_proven_at = NULL")
    it.crm.call("deposit", "before", "a/1", 3)
    await it.replica().turn()
    await it.mirror("accounts", "deals", "transactions")
    replica = await it.unknown()
    await it.look(replica, 2)
    assert it.state("m") == "pending"


@pytest.mark.parametrize("moved", ["5", "-5"])
async def test_a_balance_that_is_not_the_sum_of_the_deals_proves_nothing(it, moved):
    replica = await it.unknown()
    account = it.books.accounts.get(it.account_id("a/1"))
    account.balance += int(moved)
    account.json = None
    await it.look(replica, 8)
    assert it.state("m") == "parked"
    assert "is not the sum of the account's deals" in it.reason("m")
    assert it.evidence("m")["balance"] != it.evidence("m")["sum_of_deals"]
    assert len(it.writes(MONEY)) == 1


@pytest.mark.parametrize("kind", [("credit", "in"), ("credit", "out")])
async def test_a_credit_that_no_list_shows_is_seen_in_the_accounts_own_credit(it, kind, monkeypatch):
    monkeypatch.setattr("counterfoil.platforms.omtrader.probes.OVERLAP", 0)
    await it.mirror("deals")
    replica = await it.unknown("drop_after", kind)
    hidden = (it.effects("m")[0].id,)
    it.books.transactions_of[it.account_id("a/1")].remove(hidden[0])
    deal = it.books.deals.rows[hidden[0]]
    deal.account_id, deal.comment, deal.json = it.books.accounts.ids[0], "", None
    await it.look(replica, 8)
    assert it.state("m") == "parked"
    assert "the credit" in it.reason("m")
    assert len(it.writes(MONEY)) == 1


@pytest.mark.parametrize("comment", ["by hand", "", "cf-", "cf-0123456789"])
async def test_a_movement_of_this_amount_that_is_nobodys_may_be_ours(it, comment):
    replica = await it.unknown()
    it.fund(it.account_id("a/1"), "7.25", comment=comment)
    await it.look(replica, 8)
    assert it.state("m") == "parked"
    assert "a movement of this amount without a reference of ours" in it.reason("m")
    assert len(it.writes(MONEY)) == 1


@pytest.mark.parametrize(
    ("amount", "comment"), [("7.26", "by hand"), ("-7.25", "by hand"), ("7.25", idempotency_reference("other"))]
)
async def test_a_movement_that_is_explained_or_of_another_amount_is_not_ours(it, amount, comment):
    replica = await it.unknown()
    it.fund(it.account_id("a/1"), amount, comment=comment)
    await it.look(replica, 2)
    assert it.state("m") == "pending"


@pytest.mark.parametrize("length", [0, 3, 7, 20, 30])
async def test_money_whose_reference_was_cut_off_is_never_moved_again(it, length):
    replica = await it.unknown([{"kind": "comment_cut", "length": length}, {"kind": "drop_after"}])
    await it.look(replica, 8)
    assert it.state("m") == "parked"
    assert len(it.writes(MONEY)) == 1


async def test_a_reference_that_fits_exactly_is_found(it):
    replica = await it.unknown([{"kind": "comment_cut", "length": 31}, {"kind": "drop_after"}])
    await it.look(replica)
    assert it.state("m") == "confirmed"


async def test_before_the_deals_were_ever_mirrored_nothing_is_proven_absent(database_url):
    async with push_bench(database_url, mirror=()) as it:
        it.account("a")
        replica = await it.unknown()
        await it.look(replica, 2)
        assert it.state("m") == "unknown"
        assert "the deals have not been mirrored completely yet" in it.reason("m")
        await it.look(replica, 6)
        assert it.state("m") == "parked"
        assert len(it.writes(MONEY)) == 1


async def test_an_account_that_is_gone_proves_nothing(it):
    replica = await it.unknown()
    it.books.accounts.remove(it.account_id("a/1"))
    await it.look(replica, 8)
    assert it.state("m") == "parked"
    assert len(it.writes(MONEY)) == 1


async def test_pauses_that_the_platform_asked_for_are_not_taken_for_attempts_that_were_absent(it):
    it.crm.call("deposit", "m", "a/1", "7.25")
    replica = it.replica()
    for fault, times in (("rate_limited", 5), ("drop_before", 1)):
        it.sandbox.faults.set({"kind": fault, "path": MONEY})
        for _ in range(times):
            it.hurry()
            await replica.turn()
    assert (it.state("m"), it.intent("m")["attempts"]) == ("unknown", 6)
    it.sandbox.faults.clear()
    await it.look(replica, 2)
    assert (it.state("m"), it.intent("m")["resends"]) == ("pending", 1)
    await it.until_quiet(replica)
    assert (it.state("m"), len(it.effects("m"))) == ("confirmed", 1)


async def test_what_is_noted_before_an_attempt_is_never_above_what_polls_have_seen(it):
    """An event may name any id; a look that began above the effect would not find it."""
    seen = it.owner.value("SELECT (state ->> 'seen')::bigint FROM counterfoil.cursors WHERE resource = 'deals'")
    it.owner.rows("UPDATE mirror.deals SET id = 999999999 WHERE id = (SELECT min(id) FROM mirror.deals)")
    await it.unknown()
    assert it.owner.value("SELECT (fence ->> 'deal')::bigint FROM counterfoil.intents WHERE reference = 'm'") == seen


async def test_what_was_sent_before_any_deal_was_mirrored_is_not_looked_for_in_a_long_list(it):
    replica = await it.unknown()
    it.owner.rows("UPDATE counterfoil.intents SET fence = '{\"deal\": 0}' WHERE reference = 'm'")
    it.owner.rows("UPDATE mirror.deals SET id = id + 10000")
    it.owner.rows("UPDATE counterfoil.cursors SET state = state || '{\"seen\": 10000}' WHERE resource = 'deals'")
    it.sandbox.requests.clear()
    await it.look(replica)
    assert it.state("m") == "unknown"
    assert it.reason("m").startswith("no deals were mirrored when it was sent")
    assert [entry.path for entry in it.sandbox.requests] == []
    await it.look(replica, 6)
    assert (it.state("m"), len(it.writes(MONEY))) == ("parked", 0)


@pytest.mark.parametrize("state", ["pending", "unknown"])
async def test_a_time_that_lies_days_ahead_was_written_before_the_clock_was_set_back(it, state):
    replica = it.replica()
    if state == "unknown":
        replica = await it.unknown("drop_after")
    else:
        it.crm.call("deposit", "m", "a/1", "7.25")
    it.owner.rows("UPDATE counterfoil.intents SET due_at = clock_timestamp() + interval '3 days' WHERE reference = 'm'")
    await replica.turn()
    assert (it.state("m"), len(it.effects("m"))) == ("confirmed", 1)


async def test_a_time_that_lies_an_hour_ahead_is_waited_for(it):
    it.crm.call("deposit", "m", "a/1", "7.25")
    it.owner.rows("UPDATE counterfoil.intents SET due_at = clock_timestamp() + interval '1 h' WHERE reference = 'm'")
    await it.replica().turn()
    assert (it.state("m"), it.writes()) == ("pending", [])


async def test_what_was_absent_five_times_is_left_to_a_person(it):
    replica = await it.unknown()
    it.sandbox.faults.set({"kind": "drop_before", "path": MONEY})
    for _ in range(30):
        if it.state("m") != "parked":
            await it.look(replica)
    it.sandbox.faults.clear()
    assert it.state("m") == "parked"
    assert it.reason("m").startswith("sent 5 times, and proven absent by 2 looks each time")
    assert len(it.writes(MONEY)) == 5


async def test_what_arrived_before_a_person_let_it_be_tried_again_is_found_and_not_sent_again(it):
    replica = await it.unknown()
    it.owner.rows("UPDATE counterfoil.intents SET resends = 4 WHERE reference = 'm'")
    await it.look(replica, 2)
    assert it.state("m") == "parked"
    it.fund(it.account_id("a/1"), "7.25", comment=idempotency_reference("m"))
    because = Because(reason="not in the books", person="ada")
    await decisions.retry(replica.engine, "m", because, even_though_unproven=True)
    await it.until_quiet(replica)
    assert (it.state("m"), len(it.effects("m"))) == ("confirmed", 1)


# --- wrong -----------------------------------------------------------------------------------------------------------


async def test_a_reference_that_stands_twice_parks_and_pauses_the_platform(it):
    replica = await it.unknown([{"kind": "books_twice"}, {"kind": "drop_after"}])
    await it.look(replica)
    assert it.state("m") == "parked"
    assert it.paused == "m: our reference stands 2 times in the books"
    assert it.evidence("m")["in_history"] == sorted(row.id for row in it.effects("m"))


async def test_a_reference_with_another_amount_parks_and_pauses_the_platform(it):
    replica = await it.unknown([{"kind": "wrong_amount"}, {"kind": "drop_after"}])
    await it.look(replica)
    assert it.state("m") == "parked"
    assert it.paused == "m: asked for 7.25, the books say 7.26"


async def test_a_reference_on_another_account_parks_and_pauses_the_platform(it):
    other = it.account("b")
    replica = await it.unknown()
    it.fund(other, "7.25", comment=idempotency_reference("m"))
    await it.look(replica)
    assert it.state("m") == "parked"
    assert it.paused == f"m: our reference stands in the books of account {other}"


async def test_a_client_made_twice_parks_and_pauses_the_platform(it):
    it.crm.call("register", "b", {"first_name": "B", "family_name": "C"}, "live")
    it.strike("drop_after", method="POST")
    replica = it.replica()
    await replica.turn()
    it.books.add_client({"first_name": "B", "family_name": "C", "external_id": "b"})
    await it.look(replica)
    assert it.state("b") == "parked"
    assert it.paused.startswith("b: made twice: clients")


async def test_a_login_name_that_another_client_took_meanwhile_is_left_to_a_person(it):
    it.registrant("b")
    it.crm.call("open_account", "b/1", "b", {})
    it.strike("drop_before", method="POST")
    replica = it.replica()
    await replica.turn()
    it.books.add_account(it.books.clients.ids[0], it.books.trading_groups[79], it.username("b/1"), {})
    await it.look(replica, 8)
    assert it.state("b/1") == "parked"
    assert "of another client appeared" in it.reason("b/1")
    assert it.paused is None


# --- updates ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fault", "writes"), [("drop_after", 1), ("drop_before", 2)])
async def test_an_update_is_read_back_and_sent_again_only_when_it_is_not_there(it, fault, writes):
    client = it.books.clients.get(it.registrant("b"))
    it.crm.call("update_profile", "b", {"country": "Peru"})
    it.strike(fault, method="PUT")
    replica = it.replica()
    await replica.turn()
    assert it.state("b", "update_client") == "unknown"
    await it.until_quiet(replica)
    assert it.state("b", "update_client") == "confirmed"
    assert client.fields["country"] == "Peru"
    assert len(it.writes("/clients/")) == writes


async def test_an_answer_that_speaks_of_another_of_our_operations_confirms_nothing(it):
    replica = it.replica()
    it.crm.call("withdraw", "first", "a/1", "7.25")
    await replica.turn()
    (first,) = it.effects("first")
    it.crm.call("withdraw", "m", "a/1", "7.25")
    answer = first.render().decode()
    it.strike("wrong_shape", value=answer)
    await replica.turn()
    assert it.state("m") == "unknown"
    assert it.reason("m") == "the answer speaks of another reference of ours"
    assert it.crm.state("payouts", "m") == "blocked"


async def test_an_answer_that_names_the_record_of_another_operation_confirms_nothing(it):
    replica = it.replica()
    it.crm.call("withdraw", "first", "a/1", "7.25")
    await replica.turn()
    (first,) = it.effects("first")
    it.crm.call("withdraw", "m", "a/1", "7.25")
    row = {"id": first.id, "account_id": first.account_id, "profit": -7.25, "comment": ""}
    it.strike("wrong_shape", value=json.dumps(row))
    await replica.turn()
    assert it.state("m") == "parked"
    assert it.reason("m") == f"the platform's record {first.id} belongs to another reference of ours"
    assert it.evidence("m") == {"record": first.id}
    assert it.crm.state("payouts", "m") == "blocked"


async def test_a_proof_for_another_field_says_nothing_about_this_one(it):
    replica = await it.unknown(form=MoneyForm(reference_field="memo"))
    assert it.owner.value("SELECT reference_field FROM counterfoil.platform_state") == "comment"
    await it.look(replica, 3)
    assert (it.state("m"), len(it.writes(MONEY))) == ("parked", 1)
    assert "no reference of ours was ever read back" in it.reason("m")


async def test_a_reference_read_back_from_another_field_proves_nothing_of_ours(it):
    it.owner.rows("UPDATE counterfoil.platform_state SET reference_proven_at = NULL")
    books = MirroredBooks(it.replica().engine, "live", "memo")
    await books.note_readable()
    assert await books.references_are_readable() is False
    assert it.owner.value("SELECT reference_proven_at FROM counterfoil.platform_state") is None


async def test_a_reference_in_another_field_is_looked_for_there(it):
    form = MoneyForm(reference_field="memo")
    replica = await it.unknown("drop_after", form=form)
    # The sandbox keeps no memo: what is booked carries nothing of ours.
    await it.look(replica, 8)
    assert it.state("m") == "parked"
    assert len(it.writes(MONEY)) == 1
