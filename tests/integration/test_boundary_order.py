"""The owner of the tables tries to break the order: the database refuses, whoever asks."""

import uuid
from itertools import product

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterfoil.domain.intent import NEW, TRANSITIONS, Kind, State
from counterfoil.domain.payout import PAYOUT, PAYOUT_TRANSITIONS, PayoutState
from counterfoil.domain.references import idempotency_reference
from support.boundary import PROFILE, boundary

# A way through legal states to each state, from pending.
WAYS = {
    State.PENDING: [],
    State.SENT: ["sent"],
    State.UNKNOWN: ["sent", "unknown"],
    State.PARKED: ["sent", "parked"],
    State.CONFIRMED: ["sent", "confirmed"],
    State.REJECTED: ["sent", "rejected"],
    State.CANCELLED: ["cancelled"],
}
PAYOUT_WAYS = {
    PayoutState.BLOCKED: [],
    PayoutState.DECLINED: [],
    PayoutState.RELEASABLE: [],
    PayoutState.RELEASED: ["released"],
    PayoutState.SETTLED: ["released", "settled"],
    PayoutState.REFUNDING: ["released", "refunding"],
    PayoutState.REFUNDED: ["released", "refunding", "refunded"],
}
TABLES = ("transition_rule", "intents", "payouts", "accounts", "registrants", "events", "decisions")
SET_INTENT = """
    UPDATE counterfoil.intents SET state = %s, lease_token = coalesce(lease_token, gen_random_uuid()),
        lease_until = clock_timestamp(), record_id = 1, confirmed_at = CASE WHEN %s = 'confirmed' THEN now() END
    WHERE reference = %s
"""
SET_PAYOUT = """
    UPDATE counterfoil.payouts SET state = %s,
        released_at = CASE WHEN %s IN ('released', 'settled', 'refunding', 'refunded') THEN coalesce(released_at, now()) END,
        settled_at = CASE WHEN %s = 'settled' THEN now() END, bank_reference = CASE WHEN %s = 'settled' THEN 'b' END
    WHERE reference = %s
"""


@pytest.fixture
def it(database_url):
    with boundary(database_url) as it:
        yield it


def refused(it, statement, *values):
    """Whether the owner's statement was refused as a breach of integrity, and changed nothing."""
    with it.unchanged():
        try:
            with it.owner.connection.transaction():
                it.owner.rows(statement, *values)
        except psycopg.errors.IntegrityError:
            return True
        except psycopg.errors.GeneratedAlways:
            return True
    return False


def accepted(it, statement, *values):
    """Whether a statement is accepted; it is taken back."""
    try:
        with it.owner.connection.transaction(force_rollback=True):
            it.owner.rows(statement, *values)
            it.owner.rows("SET CONSTRAINTS ALL IMMEDIATE")
    except psycopg.errors.IntegrityError:
        return False
    return True


def test_the_rules_of_the_database_are_those_of_the_domain(it):
    rules = set(it.owner.rows("SELECT kind, previous_state, state FROM counterfoil.transition_rule"))
    intents = {(kind, *way) for kind in Kind for way in TRANSITIONS}
    assert rules == intents | {(PAYOUT, *way) for way in PAYOUT_TRANSITIONS}


def test_references_of_ours_are_computed_alike_on_both_sides(it):
    texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=200)

    @settings(max_examples=150, derandomize=True, database=None, deadline=None)
    @given(texts)
    def agree(reference):
        assert it.owner.value("SELECT counterfoil.idempotency_reference(%s)", reference) == idempotency_reference(
            reference
        )

    agree()


def test_an_intent_takes_no_way_but_those_of_the_domain(it):
    it.ready()
    for number, (before, ways) in enumerate(WAYS.items()):
        account = it.crm.call("open_account", f"a{number}", "7", {})["account"]
        it.owner.confirm(account)
        it.crm.call("deposit", f"m{number}", account, 5)
        it.owner.advance(f"m{number}", *ways)
        for after in State:
            known = (before, after) in TRANSITIONS or before == after
            assert accepted(it, SET_INTENT, after, after, f"m{number}") is known, (before, after)


def test_a_waiting_intent_takes_no_way_but_those_of_the_domain(it):
    it.crm.call("register", "7", PROFILE)
    for after in State:
        known = after in (State.WAITING, State.PENDING, State.CANCELLED)
        platform = "UPDATE counterfoil.intents SET platform = 'live'; "
        statement = platform + SET_INTENT.replace("%s", "'{}'").format(after, after, "7")
        assert accepted(it, statement) is known, after


def test_an_intent_is_born_waiting_or_pending(it):
    it.ready()
    statement = """
        INSERT INTO counterfoil.intents (kind, reference, registrant_id, account_reference, platform, predecessor_id,
            previous_state, state, wish, amount, idempotency_reference, lease_token, lease_until, sent_at, confirmed_at)
        SELECT 'deposit', 'm', '7', '7/1', 'live', %s, %s, %s, '{}', 5, 'cf-x', gen_random_uuid(), now(), now(),
            CASE WHEN %s = 'confirmed' THEN now() END
    """
    opening = it.owner.intent("7/1")
    for claimed, state in product((NEW, *State), State):
        born = (NEW, state) in TRANSITIONS
        assert accepted(it, statement, opening, claimed, state, state) is born, (claimed, state)


def test_a_payout_takes_no_way_but_those_of_the_domain(it):
    it.ready()
    ends = {PayoutState.BLOCKED: [], PayoutState.DECLINED: ["sent", "rejected"]}
    for number, (before, ways) in enumerate(PAYOUT_WAYS.items()):
        it.crm.call("withdraw", f"w{number}", "7/1", 5)
        it.owner.advance(f"w{number}", *ends.get(before, ["sent", "confirmed"]))
        for state in ways:
            it.owner.rows(SET_PAYOUT, state, state, state, state, f"w{number}")
        for after in PayoutState:
            known = (before, after) in PAYOUT_TRANSITIONS
            # Before the confirmation nothing may follow that needs it.
            known = known and (before, after) != (PayoutState.BLOCKED, PayoutState.RELEASABLE)
            assert accepted(it, SET_PAYOUT, *[after] * 4, f"w{number}") is known, (before, after)
        if before is PayoutState.BLOCKED:
            it.crm.call("cancel", f"w{number}")


def test_a_blocked_payout_becomes_releasable_behind_a_confirmed_withdrawal_only(it):
    it.ready()
    it.owner.bind(sandbox=True)
    it.withdrawn()
    assert accepted(it, SET_PAYOUT, *["releasable"] * 4, "w")
    assert not accepted(it, SET_PAYOUT, *["released"] * 4, "w")


def test_a_payout_is_born_blocked_behind_its_own_withdrawal(it):
    it.ready()
    it.crm.call("deposit", "d", "7/1", 5)
    it.withdrawn()
    statement = """
        INSERT INTO counterfoil.payouts (reference, intent_id, previous_state, state, released_at)
        VALUES (%s, %s, %s, %s, CASE WHEN %s = 'released' THEN now() END)
    """
    deposit, withdrawal = it.owner.intent("d"), it.owner.intent("w")
    for reference, number in (("d", deposit), ("x", withdrawal), ("w", withdrawal), ("x", 10**9), ("w", deposit)):
        for state in ("blocked", "releasable", "released"):
            assert refused(it, statement, reference, number, "new", state, state)


@pytest.mark.parametrize("state", list(WAYS))
def test_what_was_asked_for_never_changes(it, state):
    it.ready()
    it.crm.call("open_account", "b", "7", {})
    it.crm.call("deposit", "m", "7/1", 5)
    it.owner.advance("m", *WAYS[state])
    changes = [
        *("kind = 'withdraw'", "reference = 'n'", "account_reference = 'b'", "amount = 6", "amount = NULL"),
        *("platform = 'demo'", "platform = NULL", "wish = '{}'", "idempotency_reference = 'cf-0'", "id = DEFAULT"),
        *(
            "created_at = now()",
            f"predecessor_id = {it.owner.intent('b')}",
            "predecessor_id = NULL",
            "registrant_id = 'x'",
        ),
    ]
    for change in changes:
        assert refused(it, f"UPDATE counterfoil.intents SET {change} WHERE reference = 'm'"), change


def test_times_and_states_before_are_not_forged(it):
    it.ready()
    it.withdrawn()
    seen = "SELECT previous_state, changed_at, confirmed_at FROM counterfoil.intents WHERE reference = 'w'"
    before = it.owner.rows(seen)
    it.owner.rows("UPDATE counterfoil.intents SET previous_state = 'pending', changed_at = now(), confirmed_at = now()")
    assert it.owner.rows(seen) == before


def test_an_attempt_belongs_to_its_worker(it):
    it.ready()
    it.crm.call("deposit", "m", "7/1", 5)
    it.owner.advance("m", "sent")
    it.owner.rows("UPDATE counterfoil.intents SET launched_at = now() WHERE reference = 'm'")
    changes = [f"lease_token = '{uuid.uuid4()}'", "lease_token = NULL", "attempts = 0", "launched_at = NULL"]
    for change in [*changes, "launched_at = now() + interval '1 s'", "lease_until = NULL"]:
        assert refused(it, f"UPDATE counterfoil.intents SET {change} WHERE reference = 'm'"), change


@pytest.mark.parametrize("first", ["sent", "unknown", "parked"])
def test_one_account_has_one_unsettled_operation(it, first):
    it.ready()
    for name in "ab":
        it.crm.call("withdraw", name, "7/1", 5)
    it.owner.advance("a", *WAYS[State(first)])
    assert refused(it, SET_INTENT, "sent", "sent", "b")
    it.owner.advance("a", *(["unknown"] if first == "sent" else []), "pending")
    it.owner.advance("b", "sent")


def test_nothing_is_pending_behind_a_step_that_is_not_confirmed(it):
    it.crm.call("register", "7", PROFILE, "live", {}, 5)
    for reference in ("7/1", "7/1/deposit"):
        assert refused(it, SET_INTENT, "pending", "pending", reference)
    it.owner.advance("7", "sent")
    assert refused(it, SET_INTENT, "pending", "pending", "7/1")


def test_a_confirmed_step_stays_confirmed_under_what_stands_on_it(it):
    it.ready()
    it.withdrawn()
    for reference, state in product(("7", "7/1", "w"), State):
        if state != State.CONFIRMED:
            assert refused(it, SET_INTENT, state, state, reference), (reference, state)


@pytest.mark.parametrize("change", ["released_at = now()", "released_at = NULL", "reference = 'x'", "intent_id = 1"])
def test_what_was_released_and_when_never_changes(it, change):
    it.ready()
    it.withdrawn()
    it.crm.call("release_payout", "w")
    settled = ", state = 'settled', settled_at = now(), bank_reference = 'b'"
    for more in ("", settled, ", state = 'released'", ", state = 'refunding'"):
        assert refused(it, f"UPDATE counterfoil.payouts SET {change}{more}"), more


def test_nobody_writes_new_rules(it):
    it.ready()
    for statement in (
        "INSERT INTO counterfoil.transition_rule VALUES ('deposit', 'unknown', 'sent')",
        "INSERT INTO counterfoil.transition_rule VALUES ('deposit', 'new', 'new') ON CONFLICT DO NOTHING",
        "UPDATE counterfoil.transition_rule SET state = 'confirmed'",
        "DELETE FROM counterfoil.transition_rule",
    ):
        assert refused(it, statement), statement


def test_nothing_is_deleted(it):
    it.ready()
    it.withdrawn()
    it.owner.rows(
        "INSERT INTO counterfoil.decisions (subject, decision, reason, person) VALUES ('w', 'confirm', 'seen', 'ada')"
    )
    for table in TABLES:
        assert refused(it, f"DELETE FROM counterfoil.{table}"), table
        for tail in ("", " CASCADE"):
            with it.unchanged(), pytest.raises((psycopg.IntegrityError, psycopg.NotSupportedError)):
                it.owner.rows(f"TRUNCATE counterfoil.{table}{tail}")
    assert refused(it, "UPDATE counterfoil.decisions SET reason = 'other'")


def test_what_was_told_stays_told(it):
    it.ready()
    it.owner.rows("UPDATE counterfoil.events SET id = 1 WHERE entry = (SELECT min(entry) FROM counterfoil.events)")
    for change in ("id = 2", "id = NULL", "state = 'x'", "reference = 'x'", "event = 'x'", "at = now()"):
        assert refused(it, f"UPDATE counterfoil.events SET {change} WHERE id = 1"), change
    assert refused(it, "UPDATE counterfoil.events SET state = 'x' WHERE id IS NULL")


def test_one_registrant_has_one_client_that_can_become_real(it):
    it.crm.call("register", "7", PROFILE, "live")
    statement = """
        INSERT INTO counterfoil.intents (kind, reference, registrant_id, platform, previous_state, state, wish)
        VALUES ('client', '7', '7', 'live', 'new', 'pending', '{}')
    """
    assert refused(it, statement)


def test_the_order_holds_where_triggers_are_switched_by_replication_role(it):
    it.ready()
    it.crm.call("deposit", "m", "7/1", 5)
    it.owner.rows("SET session_replication_role = replica")
    assert refused(it, "UPDATE counterfoil.intents SET amount = 6 WHERE reference = 'm'")
    assert refused(it, "DELETE FROM counterfoil.intents WHERE reference = 'm'")
