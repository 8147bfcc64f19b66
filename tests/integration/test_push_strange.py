"""Values that no platform should tell: what met them ends with a person or goes on, and nobody else's money waits for it."""

import pytest

from support.pushing import push_bench

MONEY = "/money$"
HISTORY = "/transactions/history$"
HUGE_ID = "9300000000000000000"
HUGE_AMOUNT = "1e999999999"


@pytest.fixture
async def it(database_url):
    async with push_bench(database_url) as bench:
        bench.account("a")
        bench.account("b")
        bench.sandbox.requests.clear()
        yield bench


async def another_goes(it, replica):
    """Somebody else's deposit goes on meanwhile."""
    number = it.owner.value("SELECT count(*) FROM counterfoil.intents")
    it.crm.call("deposit", f"n{number}", "b/1", 5)
    await replica.turn()
    return it.state(f"n{number}") == "confirmed"


def malform(it, field, value, path, **more):
    """Rows that hold this; `profit` stands for both columns that tell what a row moved."""
    named = ("profit", "amount") if field == "profit" else (field,)
    it.sandbox.faults.set(
        [{"kind": "malformed_record", "field": n, "value": value, "path": path, **more} for n in named]
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", HUGE_ID),
        ("id", "1e999999999"),
        ("profit", HUGE_AMOUNT),
        ("profit", "-1e-999999999"),
        ("account_id", HUGE_ID),
    ],
)
async def test_money_that_is_answered_with_a_strange_number_is_looked_for_and_found(it, field, value):
    malform(it, field, value, MONEY, method="POST", times=1)
    it.crm.call("deposit", "m", "a/1", "7.25")
    replica = it.replica()
    await replica.turn()
    assert it.state("m") == "unknown"
    assert await another_goes(it, replica)
    await it.until_quiet(replica)
    assert (it.state("m"), len(it.effects("m")), it.paused) == ("confirmed", 1, None)


@pytest.mark.parametrize("value", ["NaN", '"NaN"', HUGE_AMOUNT, "null"])
@pytest.mark.parametrize("field", ["balance", "credit"])
async def test_a_balance_that_is_no_number_proves_nothing_and_is_for_a_person(it, field, value):
    replica = await it.unknown("drop_before")
    malform(it, field, value, f"/accounts/{it.account_id('a/1')}$", method="GET")
    await it.look(replica, 9)
    assert (it.state("m"), len(it.writes("/money"))) == ("parked", 1)
    assert "is not the sum of the account's deals" in it.reason("m")
    assert await another_goes(it, replica)


async def test_our_reference_in_a_row_of_a_strange_amount_is_for_a_person(it):
    replica = await it.unknown("drop_after")
    malform(it, "profit", HUGE_AMOUNT, HISTORY)
    await it.look(replica, 9)
    assert (it.state("m"), len(it.writes("/money"))) == ("parked", 1)
    assert "whose amount or id cannot be read" in it.reason("m")
    assert await another_goes(it, replica)


async def test_a_list_with_a_strange_id_proves_nothing_until_it_can_be_read(it):
    replica = await it.unknown("drop_before")
    malform(it, "id", HUGE_ID, HISTORY)
    await it.look(replica, 9)
    assert it.state("m") == "unknown"
    assert await another_goes(it, replica)
    it.sandbox.faults.clear()
    await it.until_quiet(replica)
    assert (it.state("m"), len(it.effects("m"))) == ("confirmed", 1)


@pytest.mark.parametrize("value", ["1000000000000", "-99999999999999999999"])
async def test_an_account_that_is_made_with_strange_digits_ends_with_a_person(it, value):
    it.crm.call("open_account", "a/2", "a", {})
    malform(it, "currency_digits", value, "/accounts")
    replica = it.replica()
    await replica.turn()
    assert it.state("a/2") == "unknown"
    await it.until_quiet(replica)
    assert it.state("a/2") == "parked"
    assert "something that cannot be kept" in it.reason("a/2")
    assert len(it.accounts(it.username("a/2"))) == 1
    it.sandbox.faults.clear()
    assert await another_goes(it, replica)


@pytest.mark.parametrize("digits", [10**12, -1, 19])
async def test_digits_that_no_currency_has_are_not_believed_and_stop_nobody(it, digits):
    account_id = it.account_id("a/1")
    it.crm.call("deposit", "m", "a/1", "7.25")
    await it.mirror("accounts")
    it.owner.rows("UPDATE counterfoil.accounts SET currency_digits = NULL WHERE reference = 'a/1'")
    it.owner.rows("UPDATE mirror.accounts SET currency_digits = %s WHERE id = %s", digits, account_id)
    it.owner.rows("UPDATE mirror.groups SET currency_digits = %s", digits)
    replica = it.replica()
    assert await another_goes(it, replica)
    assert (it.state("m"), "are not known yet" in it.reason("m")) == ("pending", True)
    assert it.effects("m") == []


async def test_evidence_with_a_nul_character_is_kept_without_it(it):
    replica = await it.unknown("drop_before")
    malform(it, "balance", '"1\\u00002"', f"/accounts/{it.account_id('a/1')}$", method="GET")
    await it.look(replica)
    assert (it.state("m"), it.evidence("m")["balance"]) == ("unknown", "12")
    assert it.reason("m").startswith("the balance 12 is not the sum")


@pytest.mark.parametrize(("kind", "how"), [("rejected", {}), ("unknown", {"code": 500, "after": True})])
async def test_a_reason_with_a_nul_character_is_kept_without_it(it, kind, how):
    it.strike("success_false", **{"code": 422, "message": "no\x00 such thing", **how})
    it.crm.call("deposit", "m", "a/1", "7.25")
    await it.replica().turn()
    assert it.state("m") == kind
    assert "\x00" not in it.reason("m")
    assert "such thing" in it.reason("m")


async def test_a_login_name_with_a_nul_character_does_not_keep_an_account_from_its_end(it):
    it.crm.call("open_account", "a/2", "a", {})
    malform(it, "currency", '"US\\u0000D"', "/accounts")
    replica = it.replica()
    await replica.turn()
    await it.until_quiet(replica)
    assert it.state("a/2") in ("confirmed", "parked")
    assert await another_goes(it, replica)


# --- what is quoted --------------------------------------------------------------------------------------------------


async def test_a_refusal_that_quotes_a_password_is_shown_to_the_crm_without_it(it):
    it.crm.call("open_account", "a/2", "a", {"user_password": "Correct-Horse-1"})
    message = "password Correct-Horse-1 is too weak"
    it.strike("success_false", code=422, message=message, path="/accounts$", method="POST")
    await it.replica().turn()
    assert it.crm.state("accounts", "a/2") == "rejected"
    assert it.crm.reason("accounts", "a/2") == "HTTP 200: password *** is too weak"


@pytest.mark.parametrize(("status", "state"), [(422, "rejected"), (500, "unknown")])
async def test_an_answer_that_quotes_the_profile_is_shown_without_it(it, status, state):
    profile = {"first_name": "Zaphod", "family_name": "Beeblebrox", "email": "zaphod@example.com"}
    it.crm.call("register", "z", profile, "live")
    message = "zaphod@example.com of Zaphod Beeblebrox is banned"
    it.strike("success_false", code=status, message=message, path="/clients$", method="POST")
    await it.replica().turn()
    assert it.crm.state("registrants", "z") == state
    shown = str(it.crm.reason("registrants", "z"))
    assert [value for value in profile.values() if value in shown] == []
    assert "is banned" in shown
