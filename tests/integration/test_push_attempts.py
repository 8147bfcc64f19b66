"""One attempt, row by row of the table of outcomes: the state afterwards, the effect in the books, and who must act."""

from decimal import Decimal

import msgspec
import pytest

from counterfoil.domain.errors import PausedError
from support.pushing import push_bench

MONEY = "/money"


@pytest.fixture
async def it(database_url):
    async with push_bench(database_url) as bench:
        bench.account("a")
        bench.sandbox.requests.clear()
        yield bench


async def attempt(it, reference="m", amount: object = "7.25", **how):
    """Ask for a deposit, and make one attempt at it."""
    it.crm.call("deposit", reference, "a/1", amount)
    replica = it.replica(**how)
    await replica.turn()
    return replica


def sent_bodies(it, part=MONEY):
    return [request.body for request in it.writes(part)]


# --- what was surely done --------------------------------------------------------------------------------------------


async def test_an_accepted_deposit_is_confirmed_with_the_platforms_id(it):
    await attempt(it)
    (booked,) = it.effects("m")
    assert it.state("m") == "confirmed"
    assert it.intent("m")["record_id"] == booked.id
    assert it.crm.rows("SELECT state, platform_reference FROM crm.operations") == [("confirmed", str(booked.id))]


@pytest.mark.parametrize("amount", ["0.01", "7.1", "7.10", "1234567.89", "100", "999999999999999.99"])
async def test_an_amount_travels_with_exactly_its_digits(it, amount):
    await attempt(it, amount=amount)
    (body,) = sent_bodies(it)
    told = bytes(msgspec.json.decode(body, type=dict[str, msgspec.Raw])["amount"]).decode()
    assert told == f"{Decimal(amount).normalize():f}"
    assert [row.amount for row in it.effects("m")] == [int(Decimal(amount) * 100)]


@pytest.mark.parametrize(
    ("call", "side", "direction", "cents"),
    [
        (("deposit",), 2, 0, 725),
        (("withdraw",), 2, 1, -725),
        (("credit", "in"), 3, 0, 725),
        (("credit", "out"), 3, 1, -725),
    ],
)
async def test_each_kind_of_money_is_asked_for_and_booked_on_its_side(it, call, side, direction, cents):
    it.crm.call(call[0], "m", "a/1", "7.25", *call[1:])
    await it.replica().turn()
    (body,) = sent_bodies(it)
    told = msgspec.json.decode(body)
    assert (told["side"], told["direction"], told["amount"]) == (side, direction, 7.25)
    assert told["comment"] == it.intent("m")["idempotency_reference"]
    assert [(row.side, row.amount) for row in it.effects("m")] == [(side, cents)]
    assert it.state("m") == "confirmed"


async def test_a_registration_goes_from_client_to_account_to_deposit(it):
    it.crm.call("register", "b", {"first_name": "B", "family_name": "C"}, "live", {"city": "Rome"}, 12)
    replica = it.replica()
    for reference in ("b", "b/1", "b/1/deposit"):
        assert it.state(reference) != "confirmed"
        await replica.turn()
        assert it.state(reference) == "confirmed"
    (client,), (account,) = it.clients("b"), it.accounts("b-1")
    assert account.client_id == client.id
    assert (account.balance, account.profile["city"]) == (1200, "Rome")
    assert it.owner.value("SELECT count(*) FROM counterfoil.passwords") == 0


# --- what was surely not done ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 404, 405, 410, 422])
async def test_a_refusal_rejects_with_the_platforms_reason(it, status):
    it.strike("error_before", status=status)
    await attempt(it)
    assert it.state("m") == "rejected"
    assert it.reason("m") == f"HTTP {status}: simulated fault"
    assert it.effects("m") == []
    assert it.paused is None


@pytest.mark.parametrize("code", [400, 404, 405, 410, 422])
async def test_a_refusal_under_status_200_rejects_by_its_code(it, code):
    it.strike("success_false", code=code)
    await attempt(it)
    assert it.state("m") == "rejected"
    assert it.effects("m") == []


@pytest.mark.parametrize("status", [400, 404, 405, 410, 422])
async def test_a_proxys_page_rejects_nothing_whatever_its_status(it, status):
    it.strike("html", status=status)
    replica = await attempt(it)
    assert it.state("m") == "unknown"
    assert it.reason("m") == f"HTTP {status}, but not from the platform itself"
    assert len(it.effects("m")) == 1
    await it.until_quiet(replica)
    assert (it.state("m"), len(it.effects("m")), len(it.writes(MONEY))) == ("confirmed", 1, 1)


async def test_a_withdrawal_whose_answer_is_a_proxys_page_declines_no_payout(it):
    it.strike("html", status=404)
    it.crm.call("withdraw", "m", "a/1", 5)
    replica = it.replica()
    await replica.turn()
    assert (it.state("m"), it.crm.state("payouts", "m")) == ("unknown", "blocked")
    await it.until_quiet(replica)
    assert it.crm.state("payouts", "m") == "releasable"


async def test_a_withdrawal_that_is_not_covered_is_rejected_and_its_payout_declined(it):
    it.crm.call("withdraw", "m", "a/1", 5000)
    await it.replica().turn()
    assert it.state("m") == "rejected"
    assert it.reason("m") == "HTTP 400: insufficient free margin"
    assert it.crm.state("payouts", "m") == "declined"


async def test_a_session_that_is_over_is_renewed_once_and_the_money_moved_once(it):
    it.strike("expire_tokens")
    await attempt(it)
    assert it.state("m") == "confirmed"
    assert len(it.effects("m")) == 1
    assert [request.status for request in it.writes(MONEY)] == [401, 201]


@pytest.mark.parametrize("status", [401, 403])
async def test_a_right_that_is_missing_spends_no_try_and_waits(it, status):
    it.strike("error_before", status=status, times=None)
    await attempt(it)
    intent = it.intent("m")
    assert (intent["state"], intent["failures"]) == ("pending", 0)
    assert "may not do this" in intent["reason"]
    assert it.effects("m") == []
    assert len(it.writes(MONEY)) == (2 if status == 401 else 1)


@pytest.mark.parametrize("status", [425, 429])
async def test_a_platform_that_asks_for_a_pause_gets_it(it, status):
    it.strike("rate_limited", retry_after=77) if status == 429 else it.strike("error_before", status=status)
    replica = await attempt(it)
    assert it.state("m") == "pending"
    assert it.effects("m") == []
    wait = it.owner.value(
        "SELECT extract(epoch FROM due_at - clock_timestamp()) FROM counterfoil.intents WHERE reference = 'm'"
    )
    assert (wait > 70) is (status == 429)
    assert ("limited", 77.0 if status == 429 else 5.0) in replica.budget.told
    await it.until_quiet(replica)
    assert (it.state("m"), len(it.effects("m"))) == ("confirmed", 1)


async def test_without_a_connection_nothing_is_sent_and_it_is_tried_again(it):
    healthy = it.replica()
    await attempt(it, base_url="http://127.0.0.1:9")
    intent = it.intent("m")
    assert (intent["state"], intent["failures"]) == ("pending", 1)
    assert intent["reason"].startswith("not sent: ")
    await it.until_quiet(healthy)
    assert (it.state("m"), len(it.effects("m"))) == ("confirmed", 1)


async def test_after_55_tries_that_sent_nothing_a_person_is_asked(it):
    it.crm.call("deposit", "m", "a/1", 5)
    it.owner.rows("UPDATE counterfoil.intents SET failures = 54 WHERE reference = 'm'")
    it.strike("rate_limited", times=None)
    await it.replica().turn()
    assert it.state("m") == "parked"
    assert it.reason("m").startswith("tried 55 times, nothing was sent: HTTP 429")
    assert it.paused is None


async def test_a_pause_of_the_platform_spends_no_try(it):
    await attempt(it, refusal=PausedError("left alone", retry_after=30))
    intent = it.intent("m")
    assert (intent["state"], intent["failures"], intent["reason"]) == ("pending", 0, "not sent: left alone")
    assert it.writes() == []


@pytest.mark.parametrize("lease", [0.2, 1.3])
async def test_nothing_leaves_when_the_deadline_is_over_before_the_first_byte(it, lease):
    # The lease is shorter than one request and the margin behind it.
    await attempt(it, lease=lease)
    assert it.writes() == []
    assert it.effects("m") == []
    assert it.state("m") in ("pending", "sent")


async def test_a_cancelled_request_never_leaves(it):
    it.crm.call("deposit", "m", "a/1", 5)
    it.crm.call("cancel", "m")
    replica = it.replica()
    await replica.turn()
    await it.until_quiet(replica)
    assert it.state("m") == "cancelled"
    assert it.writes() == []


# --- what may have been done -----------------------------------------------------------------------------------------

UNKNOWN = [
    ({"kind": "drop_before"}, 0),
    ({"kind": "drop_after"}, 1),
    *(({"kind": "error_before", "status": status}, 0) for status in (408, 409, 418, 500, 502, 503, 504)),
    *(({"kind": "error_after", "status": status}, 1) for status in (408, 409, 418, 500, 502, 503, 504)),
    *(({"kind": "error_after", "status": status}, 1) for status in (301, 302, 307, 308)),
    ({"kind": "deaf"}, 0),
    ({"kind": "slow_body", "bytes_per_second": 10}, 1),
    ({"kind": "truncated"}, 1),
    ({"kind": "truncated", "announce": True}, 1),
    ({"kind": "truncated", "keep": 0}, 1),
    ({"kind": "html"}, 1),
    ({"kind": "html", "status": 201}, 1),
    ({"kind": "wrong_shape"}, 1),
    ({"kind": "wrong_shape", "value": "null"}, 1),
    ({"kind": "wrong_shape", "value": "[]"}, 1),
    ({"kind": "wrong_shape", "value": '{"id":0}'}, 1),
    *(({"kind": "success_false", "code": code, "after": True}, 1) for code in (0, 408, 409, 500, 503)),
    ({"kind": "success_false", "code": 500}, 0),
    ({"kind": "answer_account"}, 1),
    ({"kind": "answer_without_id"}, 1),
    ({"kind": "answer_text"}, 1),
]


@pytest.mark.parametrize(("fault", "effects"), UNKNOWN, ids=str)
async def test_an_answer_that_proves_nothing_leaves_it_unknown_until_it_is_found(it, fault, effects):
    it.sandbox.faults.set({"path": MONEY, "times": 1, **fault})
    replica = await attempt(it)
    assert it.state("m") == "unknown"
    assert len(it.effects("m")) == effects
    assert len(it.writes(MONEY)) == 1
    assert it.paused is None
    await replica.turn()
    assert len(it.writes(MONEY)) == 1, "unknown is never sent again before it was looked for"
    assert it.state("m") == ("confirmed" if effects else "unknown")
    await it.until_quiet(replica)
    assert (it.state("m"), len(it.effects("m"))) == ("confirmed", 1)


async def test_a_request_that_arrives_after_we_gave_up_is_found_and_not_repeated(it):
    it.strike("delay", seconds=1.8)
    replica = await attempt(it)
    assert it.state("m") == "unknown"
    assert it.effects("m") == []
    await replica.turn()
    assert it.state("m") == "unknown"
    while not it.effects("m"):
        it.hurry()
        await replica.turn()
    await it.until_quiet(replica)
    assert (it.state("m"), len(it.effects("m")), len(it.writes(MONEY))) == ("confirmed", 1, 1)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"kind": "wrong_amount"}, "asked for 7.25, the answer says 7.26"),
        ({"kind": "answer_amount"}, "asked for 7.25, the answer says 7.26"),
        ({"kind": "wrong_amount", "by": "-7.24"}, "asked for 7.25, the answer says 0.01"),
    ],
)
async def test_another_amount_parks_and_pauses_the_platform(it, fault, said):
    it.sandbox.faults.set({"path": MONEY, "times": 1, **fault})
    replica = await attempt(it)
    it.account("b")
    it.crm.call("deposit", "n", "b/1", 5)
    await replica.turn()
    assert (it.state("m"), it.reason("m")) == ("parked", said)
    assert it.paused == f"m: {said}"
    assert it.evidence("m") == {"answered_record": it.effects("m")[0].id}
    assert it.state("n") == "pending"
    assert len(it.writes(MONEY)) == 1


async def test_money_booked_twice_behind_one_answer_is_not_booked_a_third_time(it):
    it.strike("books_twice")
    replica = await attempt(it)
    await it.until_quiet(replica)
    assert it.state("m") == "confirmed"
    assert len(it.effects("m")) == 2
    assert len(it.writes(MONEY)) == 1


async def test_money_booked_twice_behind_no_answer_parks_and_pauses(it):
    it.sandbox.faults.set([{"kind": kind, "path": MONEY, "times": 1} for kind in ("books_twice", "drop_after")])
    replica = await attempt(it)
    await it.until_quiet(replica)
    assert it.state("m") == "parked"
    assert it.paused == "m: our reference stands 2 times in the books"


async def test_an_answer_of_a_simulator_in_place_of_a_platform_proves_nothing(it):
    replica = it.replica()
    it.sandbox.faults.set({"kind": "unmark", "times": 1})
    await replica.client.log_in()
    it.sandbox.faults.clear()
    it.crm.call("deposit", "m", "a/1", 5)
    await replica.turn()
    assert it.state("m") == "unknown"
    assert it.reason("m") == "a simulator answered in place of the platform"


async def test_a_session_that_ends_while_the_answer_is_on_its_way_does_not_hide_the_answer(database_url):
    async with push_bench(database_url, token_lifetime=1) as it:
        it.account("a")
        replica = it.replica(lease=10, timeout=3)
        await replica.client.log_in()
        it.sandbox.faults.set(
            [
                {"kind": "delay", "seconds": 0.7, "path": MONEY},
                {"kind": "error_before", "path": "login"},
            ]
        )
        it.crm.call("deposit", "m", "a/1", 5)
        await replica.turn()
        assert it.state("m") in ("confirmed", "unknown")
        assert len(it.effects("m")) == 1
