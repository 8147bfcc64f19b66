"""The operator's desk: what waits is shown, a person's decision is one transaction with its reason, and nothing else is let through."""

import getpass
import json
import threading

import psycopg
import pytest

from counterfoil.cli import intents_text
from counterfoil.cli.options import DONE, NEEDS_A_PERSON, WRONG_USAGE
from counterfoil.domain.references import idempotency_reference
from support.boundary import PROFILE
from support.desk import REASON, desk

ABSENT = {"finding": "absent", "reason": "not found, but no reference of ours was ever read back"}
UNCLEAR = {"finding": "unclear", "reason": "a movement of this amount without a reference of ours: transaction 812"}
DOUBLED = {"finding": "wrong", "reason": "our reference stands 2 times in the books", "in_history": [81, 82]}
PAUSE = "UPDATE counterfoil.platform_state SET paused = 'd: asked for 50, the answer says 60' WHERE platform = 'live'"


@pytest.fixture
def it(database_url, tmp_path, capsys):
    with desk(database_url, tmp_path, capsys) as it:
        it.ready()
        yield it


def refused(it, *words: str) -> str:
    """The complaint of a command that must change nothing."""
    with it.unchanged():
        said = it.run("intents", *words)
    assert said.code == WRONG_USAGE, said
    assert (said.out, said.events, it.decisions()) == ("", [], [])
    return said.complaint


# --- decisions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "state", "decision"),
    [
        (("confirm", "d"), "confirmed", "confirm"),
        (("retry", "d", "--even-though-unproven"), "pending", "retry"),
        (("cancel", "d"), "cancelled", "cancel"),
    ],
)
def test_a_decision_is_made_kept_and_said(it, words, state, decision):
    number = it.park(it.deposit(), UNCLEAR)
    said = it.run("intents", *words, *REASON)
    assert (said.code, said.out) == (DONE, f"deposit d: parked -> {state}\n")
    assert it.state("d") == state
    ((subject, kept, reason, person),) = it.decisions()
    assert (subject, kept, reason) == ("d", decision, "seen on the platform")
    ((role,),) = it.rows("SELECT session_user::text")
    assert person == f"{role} ({getpass.getuser()})"
    (event,) = said.events
    wanted = {
        "event": "intent.decided",
        "reference": "d",
        "decision": decision,
        "intent_id": number,
        "platform": "live",
    }
    assert wanted.items() <= event.items()
    assert "seen on the platform" not in json.dumps(event)


@pytest.mark.parametrize(
    ("steps", "says"),
    [
        ((), "is pending and cannot be"),
        (("sent",), "wait until it is confirmed"),
        (("sent", "unknown"), "wait until it is confirmed"),
        (("sent", "confirmed"), "final"),
        (("sent", "rejected"), "final"),
    ],
)
@pytest.mark.parametrize("word", ["confirm", "retry"])
def test_only_what_is_parked_is_decided(it, steps, says, word):
    it.owner.advance(it.deposit(), *steps)
    assert says in refused(it, word, "d", *REASON)


@pytest.mark.parametrize("steps", [("sent",), ("sent", "unknown"), ("sent", "confirmed"), ("sent", "rejected")])
def test_what_was_sent_is_not_cancelled(it, steps):
    it.owner.advance(it.deposit(), *steps)
    assert "cannot be cancelled" in refused(it, "cancel", "d", *REASON)


def test_what_was_not_sent_is_cancelled_with_all_that_waits_behind_it(it):
    it.crm.call("register", "8", PROFILE, "live", {}, 5)
    assert it.run("intents", "cancel", "8", *REASON).out == "client 8: pending -> cancelled\n"
    assert [it.state(name) for name in ("8", "8/1", "8/1/deposit")] == ["cancelled"] * 3
    it.crm.call("register", "9", PROFILE)
    assert it.run("intents", "cancel", "9", *REASON).out == "client 9: waiting -> cancelled\n"


def test_what_a_restored_database_may_have_sent_is_cancelled_only_when_it_was_found_absent(it):
    it.deposit()
    it.rows("UPDATE counterfoil.intents SET probe_first = true WHERE reference = 'd'")
    assert "let the daemon look for it first" in refused(it, "cancel", "d", *REASON)
    looked = "UPDATE counterfoil.intents SET probed_at = now(), evidence = %s WHERE reference = 'd'"
    it.rows(looked, psycopg.types.json.Jsonb({"finding": "found"}))
    assert "not found absent" in refused(it, "cancel", "d", *REASON)
    it.rows(looked, psycopg.types.json.Jsonb({"finding": "absent"}))
    assert it.run("intents", "cancel", "d", *REASON).code == DONE


def test_a_refund_is_never_cancelled(it):
    it.withdrawn()
    it.crm.call("fail_payout", "w", "no such account")
    assert "is a refund" in refused(it, "cancel", "w/refund", *REASON)
    it.park("w/refund", UNCLEAR)
    assert "is a refund" in refused(it, "cancel", "w/refund", *REASON)


def test_what_nobody_knows_is_said_so(it):
    for word in ("confirm", "retry", "cancel", "show"):
        words = (word, "nobody") if word == "show" else (word, "nobody", *REASON)
        assert "nobody is not known" in refused(it, *words)


def test_a_decision_that_cannot_be_noted_is_not_made(it):
    it.park(it.deposit(), UNCLEAR)
    it.rows("ALTER TABLE counterfoil.decisions ADD CONSTRAINT closed CHECK (false) NOT VALID")
    assert "by closed" in refused(it, "confirm", "d", *REASON)


def test_two_people_do_not_decide_at_once(it):
    it.park(it.deposit(), UNCLEAR)
    with psycopg.connect(it.url) as other:
        other.execute("SELECT FROM counterfoil.intents WHERE reference = 'd' FOR UPDATE")
        second: list[str] = []
        thread = threading.Thread(target=lambda: second.append(it.run("intents", "cancel", "d", *REASON).complaint))
        thread.start()
        waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        while not it.owner.value(waits):
            assert thread.is_alive()
        other.execute("UPDATE counterfoil.intents SET state = 'confirmed' WHERE reference = 'd'")
        other.commit()
        thread.join()
    assert "it is confirmed, and that is final" in second[0]
    assert it.decisions() == []


# --- retry of money ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("evidence", [ABSENT, UNCLEAR, None])
def test_money_that_is_not_proven_absent_is_sent_again_only_by_who_says_so(it, evidence):
    it.park(it.deposit(), evidence)
    assert "--even-though-unproven" in refused(it, "retry", "d", *REASON)
    assert it.run("intents", "retry", "d", "--even-though-unproven", *REASON).code == DONE


@pytest.mark.parametrize(
    "evidence",
    [DOUBLED, {"finding": "found"}, {"answered_record": 77}, {"in_history": [81]}, {"record": 5}],
    ids=["doubled", "found", "answered", "in the history", "another's record"],
)
def test_money_that_was_moved_is_never_sent_again(it, evidence):
    it.park(it.deposit(), evidence, after="sent" if "answered_record" in evidence else "unknown")
    assert "executed twice" in refused(it, "retry", "d", "--even-though-unproven", *REASON)


def test_money_that_the_mirror_holds_is_never_sent_again(it):
    it.park(it.deposit(), ABSENT)
    it.booked(812, "d", 50)
    assert "transaction 812" in refused(it, "retry", "d", "--even-though-unproven", *REASON)


def test_money_that_the_mirror_holds_in_another_field_is_never_sent_again(it):
    it.park(it.deposit(), ABSENT)
    it.rows("UPDATE counterfoil.platform_state SET reference_field = 'memo'")
    it.booked(812, None, 50, extra={"memo": f"by {idempotency_reference('d')}"})
    assert "transaction 812" in refused(it, "retry", "d", "--even-though-unproven", *REASON)


def test_money_of_which_nothing_left_is_sent_again_without_more(it):
    it.park(it.deposit(), after="sent", reason="tried 55 times, nothing was sent: the platform is away")
    assert it.run("intents", "retry", "d", *REASON).code == DONE


@pytest.mark.parametrize(("evidence", "first"), [(ABSENT, True), (UNCLEAR, False)])
def test_what_a_look_can_still_find_is_looked_for_before_it_is_sent_again(it, evidence, first):
    it.park(it.deposit(), evidence)
    it.run("intents", "retry", "d", "--even-though-unproven", *REASON)
    columns = "probe_first, failures, looks, due_at <= clock_timestamp()"
    assert it.rows(f"SELECT {columns} FROM counterfoil.intents WHERE reference = 'd'") == [(first, 0, 0, True)]


def test_what_moves_no_money_is_tried_again_without_proof(it):
    it.crm.call("register", "8", PROFILE, "live")
    it.park("8", UNCLEAR)
    assert it.run("intents", "retry", "8", *REASON).out == "client 8: parked -> pending\n"


# --- confirm ----------------------------------------------------------------------------------------------------------


def test_a_confirmed_withdrawal_lets_its_payout_go(it):
    it.park(it.withdrawal(), UNCLEAR)
    assert it.crm.state("payouts", "w") == "blocked"
    it.run("intents", "confirm", "w", "--record", "812", *REASON)
    assert it.crm.state("payouts", "w") == "releasable"
    assert it.crm.value("SELECT platform_reference FROM crm.operations WHERE reference = 'w'") == "812"


def test_a_client_is_confirmed_with_its_record_and_what_waits_behind_it_goes_on(it):
    it.crm.call("register", "8", PROFILE, "live", {})
    it.park("8", UNCLEAR)
    assert "--record ID" in refused(it, "confirm", "8", *REASON)
    it.mirror("clients", 55, external_id="9")
    it.mirror("clients", 56, external_id="8")
    assert "another external_id" in refused(it, "confirm", "8", "--record", "55", *REASON)
    assert it.run("intents", "confirm", "8", "--record", "56", *REASON).code == DONE
    assert it.crm.rows("SELECT client_id FROM crm.registrants WHERE registrant_id = '8'") == [(56,)]
    assert it.state("8/1") == "pending"


def test_a_client_is_not_confirmed_as_the_record_of_another_registrant(it):
    taken = it.owner.value("SELECT client_id FROM counterfoil.registrants WHERE registrant_id = '7'")
    it.crm.call("register", "8", PROFILE, "live")
    it.park("8", UNCLEAR)
    assert "the database refuses it" in refused(it, "confirm", "8", "--record", str(taken), *REASON)


def test_an_account_is_confirmed_with_what_the_mirror_knows_of_it(it):
    it.crm.call("open_account", "b", "7", {})
    it.park("b", UNCLEAR)
    owner = it.owner.value("SELECT client_id FROM counterfoil.registrants WHERE registrant_id = '7'")
    assert "--record ID" in refused(it, "confirm", "b", *REASON)
    assert "not in the mirror" in refused(it, "confirm", "b", "--record", "600", *REASON)
    it.mirror("groups", 79, currency="JPY", currency_digits=0)
    it.mirror("accounts", 600, client_id=owner, group_id=79)
    it.mirror("accounts", 601, client_id=owner + 1, currency="EUR", currency_digits=2)
    assert f"belongs to client {owner + 1}" in refused(it, "confirm", "b", "--record", "601", *REASON)
    assert it.run("intents", "confirm", "b", "--record", "600", *REASON).code == DONE
    facts = "account_id, currency, currency_digits"
    assert it.rows(f"SELECT {facts} FROM counterfoil.accounts WHERE reference = 'b'") == [(600, "JPY", 0)]


def test_an_adoption_is_confirmed_as_the_account_that_was_asked_for(it):
    it.crm.call("adopt_account", "a", "7", "live", 600)
    it.park("a", UNCLEAR)
    assert "asks for account 600" in refused(it, "confirm", "a", "--record", "601", *REASON)


@pytest.mark.parametrize(
    ("booked", "says"),
    [
        ({"reference": "d", "amount": 60}, "is 60 on account"),
        ({"reference": "d", "amount": -50}, "is -50 on account"),
        ({"reference": "d", "amount": 50, "account": 4}, "on account 4"),
        ({"reference": "other", "amount": 50}, "another reference"),
    ],
)
def test_money_is_not_confirmed_as_a_record_that_the_mirror_knows_to_be_something_else(it, booked, says):
    it.park(it.deposit(), UNCLEAR)
    it.booked(812, **booked)
    assert says in refused(it, "confirm", "d", "--record", "812", *REASON)


def test_money_is_not_confirmed_as_the_record_of_another_request(it):
    it.owner.confirm(it.deposit("e"))
    it.park(it.deposit(), UNCLEAR)
    taken = it.owner.value("SELECT record_id FROM counterfoil.intents WHERE reference = 'e'")
    assert "belongs to e already" in refused(it, "confirm", "d", "--record", str(taken), *REASON)


def test_a_record_without_our_reference_is_ours_when_a_person_says_so(it):
    it.park(it.withdrawal(), UNCLEAR)
    it.booked(812, None, -50)
    assert it.run("intents", "confirm", "w", "--record", "812", *REASON).code == DONE


# --- which request a reference means ----------------------------------------------------------------------------------


def test_a_parked_update_is_what_its_reference_means(it):
    it.crm.call("update_profile", "7", {"country": "Italy"})
    it.park("7", UNCLEAR, kind="update_client")
    assert it.run("intents", "confirm", "7", *REASON).out == "update client 7: parked -> confirmed\n"


def test_accounts_and_operations_come_before_a_registrant_of_the_same_name(it):
    it.crm.call("register", "d", PROFILE, "live")
    it.park("d", UNCLEAR, kind="client")
    it.park(it.deposit("d"), UNCLEAR)
    assert it.run("intents", "confirm", "d", *REASON).out == "deposit d: parked -> confirmed\n"
    assert it.run("intents", "retry", "d", *REASON).out == "client d: parked -> pending\n"


def test_a_registrant_is_not_cancelled_in_place_of_an_operation_of_its_name(it):
    it.crm.call("register", "d", PROFILE, "live")
    it.owner.confirm(it.deposit("d"))
    assert "deposit d cannot be cancelled" in refused(it, "cancel", "d", *REASON)


# --- pauses, bindings, restored databases -----------------------------------------------------------------------------


def test_a_paused_platform_is_resumed_with_a_reason(it):
    assert "live is not paused" in refused(it, "confirm", "--resume", "live", *REASON)
    it.rows(PAUSE)
    said = it.run("intents", "confirm", "--resume", "live", *REASON)
    assert (said.code, said.out) == (DONE, "agreed: platform live is written to again\n")
    assert it.rows("SELECT paused FROM counterfoil.platform_state") == [(None,)]
    assert it.decisions()[0][:3] == ("live", "resume", "seen on the platform")
    assert {"event": "intent.decided", "platform": "live", "decision": "resume"}.items() <= said.events[0].items()


def test_a_name_is_bound_anew_with_a_reason(it):
    assert "is not bound" in refused(it, "confirm", "--rebind", "live", *REASON)
    it.rows("UPDATE counterfoil.platform_state SET host = 'old', kind = 'omtrader', manager_id = 1, bound_at = now()")
    assert it.run("intents", "confirm", "--rebind", "live", *REASON).code == DONE
    assert it.rows("SELECT host, bound_at FROM counterfoil.platform_state") == [(None, None)]
    assert it.decisions()[0][:2] == ("live", "rebind")


def test_a_restored_database_is_agreed_to_when_everything_was_looked_for(it):
    assert "is not held" in refused(it, "confirm", "--restored", *REASON)
    it.rows("INSERT INTO counterfoil.database_identity (identity, held_since) VALUES ('another', now())")
    it.deposit()
    it.rows("UPDATE counterfoil.intents SET probe_first = true WHERE reference = 'd'")
    assert "1 requests have not been looked for" in refused(it, "confirm", "--restored", *REASON)
    it.rows("UPDATE counterfoil.intents SET probed_at = now() WHERE reference = 'd'")
    said = it.run("intents", "confirm", "--restored", *REASON)
    assert (said.code, said.events[0]["decision"]) == (DONE, "accept-restore")
    assert it.owner.value("SELECT counterfoil.is_held()") is False
    assert it.decisions()[0][:2] == ("database", "accept-restore")


@pytest.mark.parametrize(
    "words",
    [
        ("confirm", "d", "--reason", ""),
        ("retry", "d", "--reason", "  \n "),
        ("cancel", "d"),
        ("confirm", *REASON),
        ("confirm", "d", "--resume", "live", *REASON),
        ("confirm", "--resume", "live", "--restored", *REASON),
        ("confirm", "--resume", "live", "--record", "5", *REASON),
        ("confirm", "d", "--record", "0", *REASON),
        ("list", "--state", "lost"),
    ],
)
def test_wrong_usage_changes_nothing_and_is_one_line(it, words):
    it.park(it.deposit(), UNCLEAR)
    it.rows(PAUSE)
    assert refused(it, *words)


# --- list and show ----------------------------------------------------------------------------------------------------


def test_the_list_shows_what_is_not_finished_or_one_state(it):
    it.park(it.deposit("a"), UNCLEAR, reason="nobody\x1b[31m knows")
    it.deposit("b", 7)
    unfinished = it.run("intents", "list").lines
    assert [line.split()[0] for line in unfinished] == ["parked", "pending"]
    assert unfinished[0].endswith("50 USD  nobody?[31m knows")
    assert unfinished[1].endswith("behind a")
    assert "7/1" in it.run("intents", "list", "--state", "confirmed").out
    assert it.run("intents", "list", "--platform", "other").out == "nothing\n"
    assert len(it.run("intents", "list", "--limit", "1").lines) == 2
    listed = json.loads(it.run("intents", "list", "--json", "--state", "parked").out)
    assert [(row["reference"], row["amount"]) for row in listed] == [("a", "50")]


def test_show_tells_everything_that_a_decision_needs(it):
    it.park(
        it.withdrawal(), UNCLEAR | {"balance": "10.00", "sum_of_deals": "60.00"}, reason="a movement of this amount"
    )
    it.read()
    it.run("intents", "retry", "w", *REASON)
    out = it.run("intents", "show", "w").out
    for part in (
        "withdraw w: parked",
        "a movement of this amount",
        "registrant 7, client",
        f"7/1, {it.account_id()} on the platform",
        "50 USD",
        "1, the newest",
        idempotency_reference("w"),
        "not in the mirror",
        "the look proves nothing (unclear)",
        "the account's balance was 10.00",
        "the sum of its deals was 60.00",
        "money leaves for the bank",
        "retry --even-though-unproven",
        "payout is declined",
        "operation.parked",
    ):
        assert part in out, part
    shown = json.loads(it.run("intents", "show", "w", "--json").out)
    assert shown["intents"][0]["evidence"]["balance"] == "10.00"


def test_show_tells_the_decisions_and_the_updates_and_no_personal_data(it):
    it.crm.call("register", "8", {**PROFILE, "email": "ada@example.org"}, "live", {"user_password": "Secret-9-word"})
    it.owner.confirm("8")
    it.crm.call("update_profile", "8", {"email": "new@example.org"})
    it.park("8", UNCLEAR, kind="update_client")
    it.run("intents", "retry", "8", *REASON)
    for words in (("show", "8"), ("show", "8", "--json"), ("show", "8/1"), ("list", "--json")):
        out = it.run("intents", *words).out
        for secret in ("example.org", "Lovelace", "Ada", "Secret-9-word"):
            assert secret not in out
    out = it.run("intents", "show", "8").out
    assert "update client 8: pending" in out
    assert "changes        email" in out
    assert "retry by" in out
    assert "seen on the platform" in out


def test_show_says_where_the_mirror_holds_our_reference(it):
    it.park(it.deposit(), ABSENT)
    it.booked(812, "d", 50)
    out = it.run("intents", "show", "d").out
    assert f"transaction 812, 50 on account {it.account_id()}" in out
    assert "retry: refused" in out


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        (None, []),
        ({"finding": "found"}, ["it is there (found)"]),
        (
            {"balance": "1", "reason": "why", "finding": "absent"},
            ["it was not found, and the books add up without it (absent)", "why", "the account's balance was 1"],
        ),
        ({"answered_record": 77}, ["the platform's answer named record 77"]),
        ({"in_deals": [], "in_history": [1, 2]}, ["our reference stands in the account's transactions: 1, 2"]),
        ({"new_word": "x\ty"}, ["new_word: x y"]),
    ],
)
def test_evidence_is_told_in_words(facts, says):
    assert intents_text.explained(facts, intents_text._PARTS) == says


# --- status -----------------------------------------------------------------------------------------------------------


def test_status_begins_with_whether_money_moves(it):
    said = it.run("status")
    assert (said.code, said.lines[0]) == (DONE, "money moves: nothing is under way, nothing waits for a person")
    it.deposit()
    said = it.run("status")
    assert (said.code, said.lines[0]) == (DONE, "money moves: 1 request under way, nothing waits for a person")


def test_status_names_the_operations_that_are_stuck_and_counts_what_stands_behind_them(it):
    it.park(it.withdrawal(), UNCLEAR)
    it.deposit("d-4")
    it.crm.call("open_account", "b", "7", {})
    it.park("b", UNCLEAR)
    it.deposit("d-5", account="b")
    said = it.run("status")
    assert said.code == NEEDS_A_PERSON
    assert said.lines[0] == (
        "money is stuck: 1 operation waits for a person (w), 2 operations more stand behind what is parked"
    )
    assert "live: withdraw w is parked: nobody knows: counterfoil intents show w -c FILE" in said.lines
    counts = next(line for line in said.lines if line.startswith("live ")).split()
    assert counts[:6] == ["live", "1", "1", "0", "0", "2"]
    plain = json.loads(it.run("status", "--json").out)
    assert plain["headline"] == said.lines[0]
    assert [(row["reference"], row["person"]) for row in plain["waiting"]] == [("w", True), ("b", True)]
    assert plain["queues"][0]["parked"] == 2
    assert plain["queues"][0]["oldest_seconds"] > 0


def test_status_counts_what_it_does_not_name(it):
    for number in range(7):
        it.crm.call("open_account", f"a{number}", "7", {})
        it.owner.confirm(f"a{number}")
        it.park(it.deposit(f"d{number}", account=f"a{number}"), UNCLEAR)
    assert "7 operations wait for a person (d0, d1, d2, d3, d4 and 2 more)" in it.run("status").lines[0]


def test_what_is_looked_for_does_not_need_a_person(it):
    it.owner.advance(it.deposit(), "sent", "unknown")
    assert it.run("status").code == DONE
    it.owner.advance(it.withdrawal("w"))
    waiting = json.loads(it.run("status", "--json").out)["waiting"]
    assert [(row["why"], row["person"]) for row in waiting] == [("unknown", False)]


def test_an_attempt_that_nobody_rescues_needs_a_person(it):
    it.owner.advance(it.deposit(), "sent")
    assert it.run("status").code == DONE
    lapsed = "UPDATE counterfoil.intents SET lease_until = clock_timestamp() - make_interval(secs => %s) WHERE reference = 'd'"
    it.rows(lapsed, 5)
    assert it.run("status").code == DONE
    it.rows(lapsed, 60)
    said = it.run("status")
    assert (said.code, "(d)" in said.lines[0]) == (NEEDS_A_PERSON, True)
    assert "is counterfoil run at work?" in said.lines[1]


@pytest.mark.parametrize("how", ["rejected", "none"])
def test_a_refund_that_does_not_come_needs_a_person(it, how):
    it.withdrawn()
    it.crm.call("fail_payout", "w", "no such account")
    assert it.run("status").code == DONE
    if how == "rejected":
        it.owner.advance("w/refund", "sent", "rejected")
    else:
        with it.owner.connection.transaction():
            it.rows("SET LOCAL session_replication_role = replica")
            it.rows("ALTER TABLE counterfoil.intents DISABLE TRIGGER kept")
            it.rows("DELETE FROM counterfoil.intents WHERE reference = 'w/refund'")
    said = it.run("status")
    assert (said.code, "(w/refund)" in said.lines[0]) == (NEEDS_A_PERSON, True)
    assert ("the refund was rejected" if how == "rejected" else "no refund was ever planned") in said.lines[1]


def test_a_paused_platform_needs_a_person(it):
    it.rows(PAUSE)
    said = it.run("status")
    assert said.code == NEEDS_A_PERSON
    assert said.lines[0] == "money moves: nothing is under way; 1 thing of another kind waits for a person"
    assert "--resume live" in said.lines[1]
    it.deposit()
    assert it.run("status").lines[0] == "money is stuck: 1 operation waits because live is paused"


def test_a_restored_database_is_the_first_thing_that_is_said(it):
    it.park(it.deposit(), UNCLEAR)
    it.rows("INSERT INTO counterfoil.database_identity (identity) VALUES ('another')")
    said = it.run("status")
    assert said.code == NEEDS_A_PERSON
    assert said.lines[0].startswith("push is held: the database was restored or failed over")


def test_requests_that_no_process_may_send_need_a_person(database_url, tmp_path, capsys):
    with desk(database_url, tmp_path, capsys, push=False) as it:
        it.ready()
        assert it.run("status").lines[0].startswith("money moves: these settings only mirror")
        it.deposit()
        said = it.run("status")
    assert (said.code, said.lines[0]) == (NEEDS_A_PERSON, "money is stuck: 1 operation waits for a person (d)")
    assert said.lines[1] == "live: 1 request is pending and push is off for it: nobody sends what stands there"


# --- what a decision would do -----------------------------------------------------------------------------------------


def offered(it, reference: str) -> list[str]:
    """What `show` says that may be decided."""
    lines = it.run("intents", "show", reference).lines
    at = lines.index("  what you may decide")
    return [line.removeprefix("    - ") for line in lines[at + 1 :] if line.startswith("    - ")]


@pytest.mark.parametrize(
    ("evidence", "after", "offer"),
    [
        (DOUBLED, "unknown", "retry: refused"),
        ({"answered_record": 77}, "sent", "retry: refused"),
        (ABSENT, "unknown", "retry --even-though-unproven: looked for once more, then sent again"),
        (UNCLEAR, "unknown", "retry --even-though-unproven: sent again"),
        (None, "sent", "retry: sent again; nothing left before"),
    ],
)
def test_show_offers_the_retry_that_is_let_through(it, evidence, after, offer):
    it.park(it.deposit(), evidence, after=after)
    assert offered(it, "d")[1].startswith(offer)
    plainly, fully = (
        it.run("intents", "retry", "d", *more, *REASON).code for more in ((), ("--even-though-unproven",))
    )
    if "refused" in offer:
        assert (plainly, fully) == (WRONG_USAGE, WRONG_USAGE)
    elif "unproven" in offer:
        assert (plainly, fully) == (WRONG_USAGE, DONE)
    else:
        assert plainly == DONE


def test_show_offers_no_retry_of_what_is_not_parked(it):
    it.deposit()
    assert offered(it, "d")[0] == "it goes on by itself"
    it.owner.advance("d", "sent")
    assert offered(it, "d") == ["nothing now: the daemon finds out what became of it"]
    it.owner.advance("d", "confirmed")
    assert "what you may decide" not in it.run("intents", "show", "d").out
