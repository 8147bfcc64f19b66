"""The CRM's side of a cTrader platform: user, account, link, money, in that order and held by the database."""

from dataclasses import replace
from hashlib import md5

import psycopg
import pytest

from support.boundary import LIVE, boundary
from support.ctrading import PUBLISHED

CT = replace(PUBLISHED, platform="ct")
PERSON = {"email": "ada@example.org", "first_name": "Ada", "family_name": "Byron"}
STEPS = """
    SELECT i.kind, i.state, p.kind FROM counterfoil.intents i LEFT JOIN counterfoil.intents p ON p.id = i.predecessor_id
    WHERE i.registrant_id = %s ORDER BY i.id
"""
PASSWORDS = """
    SELECT i.kind, w.name, convert_from(w.secret, 'UTF8') FROM counterfoil.passwords w
    JOIN counterfoil.intents i ON i.id = w.intent_id ORDER BY i.id, w.name
"""


@pytest.fixture
def it(database_url):
    with boundary(database_url, [LIVE, CT]) as sides:
        yield sides


def steps(it, registrant="7"):
    """Kind, state and the kind of the step before of all that a registrant asked for."""
    return sorted(it.owner.rows(STEPS, registrant))


def hashed(password):
    return md5(password.encode(), usedforsecurity=False).hexdigest()


def link(it, *states, reference="7/1"):
    return it.owner.advance(reference, *states, kind="link")


def ready(it, registrant="7"):
    """A registrant with a linked account."""
    it.crm.call("register", registrant, {**PERSON, "email": f"{registrant}@example.org"}, "ct", {})
    it.owner.confirm(registrant, f"{registrant}/1")
    link(it, "sent", "confirmed", reference=f"{registrant}/1")
    return f"{registrant}/1"


# --- the order -----------------------------------------------------------------------------------------------------------


def test_who_registers_for_it_gets_a_link_between_account_and_money(it):
    told = it.crm.call("register", "7", PERSON, "ct", {}, 250)
    assert set(told["credentials"]) == {"user_password"}
    assert steps(it) == [
        ("account", "waiting", "client"),
        ("client", "pending", None),
        ("deposit", "waiting", "link"),
        ("link", "waiting", "account"),
    ]
    password = told["credentials"]["user_password"]
    assert it.owner.rows(PASSWORDS) == [
        ("account", "user_password", password),
        ("link", "password_hash", hashed(password)),
    ]
    assert it.owner.rows("SELECT username, platform FROM counterfoil.accounts") == [(None, "ct")]


def test_whoever_chooses_it_later_gets_the_link_then(it):
    told = it.crm.call("register", "7", PERSON, None, {}, 250)["credentials"]
    assert set(told) == {"username", "user_password", "investor_password"}
    more = it.crm.call("open_account", "second", "7", {})["credentials"]
    it.crm.call("withdraw", "w", "second", 5)
    it.crm.call("choose_platform", "7", "ct")
    assert steps(it) == [
        ("account", "waiting", "client"),
        ("account", "waiting", "client"),
        ("client", "pending", None),
        ("deposit", "waiting", "link"),
        ("link", "waiting", "account"),
        ("link", "waiting", "account"),
        ("withdraw", "waiting", "link"),
    ]
    assert sorted(it.owner.rows(PASSWORDS)) == sorted([
        ("account", "user_password", told["user_password"]),
        ("account", "user_password", more["user_password"]),
        ("link", "password_hash", hashed(told["user_password"])),
        ("link", "password_hash", hashed(more["user_password"])),
    ])  # fmt: skip
    assert it.owner.rows("SELECT DISTINCT username, platform FROM counterfoil.accounts") == [(None, "ct")]
    assert it.owner.rows("SELECT DISTINCT platform FROM counterfoil.intents") == [("ct",)]
    for reference, before in (("7/1/deposit", "7/1"), ("w", "second")):
        assert it.owner.value(
            "SELECT l.reference FROM counterfoil.intents i JOIN counterfoil.intents l ON l.id = i.predecessor_id "
            "WHERE i.reference = %s", reference) == before  # fmt: skip


def test_whoever_chooses_the_other_kind_gets_no_link(it):
    it.crm.call("register", "7", PERSON, None, {}, 250)
    it.crm.call("choose_platform", "7", "live")
    assert [kind for kind, _, _ in steps(it)] == ["account", "client", "deposit"]
    assert [name for _, name, _ in it.owner.rows(PASSWORDS)] == ["investor_password", "user_password"]
    assert it.owner.value("SELECT username FROM counterfoil.accounts") == "7-1"


def test_an_account_that_was_cancelled_before_the_choice_is_not_linked(it):
    it.crm.call("register", "7", PERSON, None, {}, 250)
    it.crm.call("cancel", "7/1")
    it.crm.call("choose_platform", "7", "ct")
    assert steps(it) == [
        ("account", "cancelled", "client"),
        ("client", "pending", None),
        ("deposit", "cancelled", "account"),
    ]


def test_each_step_lets_the_next_one_go_and_erases_its_password(it):
    told = it.crm.call("register", "7", PERSON, "ct", {}, 250)["credentials"]
    left = [
        ("account", "user_password", told["user_password"]),
        ("link", "password_hash", hashed(told["user_password"])),
    ]
    it.owner.confirm("7")
    assert (it.owner.rows(PASSWORDS), it.crm.state("accounts", "7/1")) == (left, "pending")
    it.owner.confirm("7/1")
    assert it.owner.rows(PASSWORDS) == left[1:]
    assert [state for _, state, _ in steps(it)] == ["confirmed", "confirmed", "waiting", "pending"]
    assert it.crm.state("operations", "7/1/deposit") == "waiting"
    link(it, "sent", "confirmed")
    assert it.owner.rows(PASSWORDS) == []
    assert it.crm.state("operations", "7/1/deposit") == "pending"
    it.owner.confirm("7/1/deposit")
    assert it.crm.state("operations", "7/1/deposit") == "confirmed"


def test_an_account_is_confirmed_for_the_crm_when_it_is_linked(it):
    it.crm.call("register", "7", PERSON, "ct", {})
    it.owner.confirm("7", "7/1")
    seen = "SELECT state, account_id IS NOT NULL, confirmed_at IS NOT NULL FROM crm.accounts"
    assert it.crm.rows(seen) == [("pending", True, False)]
    for state, expected in (("sent", "sent"), ("unknown", "unknown"), ("parked", "parked")):
        link(it, state)
        assert it.crm.rows(seen) == [(expected, True, False)]
    link(it, "confirmed")
    assert it.crm.rows(seen) == [("confirmed", True, True)]


# --- money waits ---------------------------------------------------------------------------------------------------------

SEND = """
    UPDATE counterfoil.intents SET state = 'sent', lease_token = gen_random_uuid(), attempts = attempts + 1,
        lease_until = clock_timestamp() + interval '1 min' WHERE reference = %s AND amount IS NOT NULL
"""
FREE = "UPDATE counterfoil.intents SET state = 'pending' WHERE reference = %s AND amount IS NOT NULL"


def together(it, statements):
    with it.owner.connection.transaction():
        for statement in statements:
            it.owner.rows(statement, "7/1/deposit")


@pytest.mark.parametrize(
    "reached", [(), ("sent",), ("sent", "unknown"), ("sent", "unknown", "parked"), ("sent", "rejected")]
)
@pytest.mark.parametrize("attempt", [(SEND,), (FREE, SEND)], ids=["send", "free and send"])
def test_no_money_is_sent_before_the_link_is_confirmed_whoever_asks(it, reached, attempt):
    it.crm.call("register", "7", PERSON, "ct", {}, 250)
    it.owner.confirm("7", "7/1")
    if reached:
        link(it, *reached)
    with pytest.raises(psycopg.errors.IntegrityError):
        together(it, attempt)
    assert it.crm.state("operations", "7/1/deposit") in ("waiting", "cancelled")


SMUGGLE = """
    INSERT INTO counterfoil.intents (kind, reference, registrant_id, account_reference, platform, predecessor_id,
        previous_state, state, wish, amount, idempotency_reference)
    SELECT 'deposit', 'smuggled', registrant_id, account_reference, platform, id, 'new', 'pending', '{}', 5, 'cf-smuggled'
    FROM counterfoil.intents WHERE kind = 'account'
"""


def test_money_that_was_planned_behind_the_opening_alone_is_not_sent_before_the_link(it):
    it.crm.call("register", "7", PERSON, "ct", {})
    it.owner.confirm("7", "7/1")
    it.owner.rows(SMUGGLE)
    with pytest.raises(psycopg.errors.IntegrityError, match="is not linked to its client"):
        it.owner.rows(SEND, "smuggled")
    link(it, "sent", "confirmed")
    it.owner.confirm("smuggled")
    assert it.crm.state("operations", "smuggled") == "confirmed"


def test_the_step_before_money_cannot_be_changed_afterwards(it):
    it.crm.call("register", "7", PERSON, "ct", {}, 250)
    it.owner.confirm("7", "7/1")
    opening = it.owner.intent("7/1")
    with pytest.raises(psycopg.errors.IntegrityError):
        it.owner.rows("UPDATE counterfoil.intents SET predecessor_id = %s WHERE kind = 'deposit'", opening)


@pytest.mark.parametrize("kind", [("deposit",), ("withdraw",), ("credit", "in"), ("credit", "out")])
def test_all_money_waits_for_the_link(it, kind):
    it.crm.call("register", "7", PERSON, "ct", {})
    it.owner.confirm("7", "7/1")
    it.crm.call(kind[0], "m", "7/1", 5, *kind[1:])
    assert it.crm.state("operations", "m") == "waiting"
    assert it.crm.reason("operations", "m") == "behind link 7/1"
    link(it, "sent", "confirmed")
    assert it.crm.state("operations", "m") == "pending"
    it.owner.confirm("m")


def test_a_payout_waits_too(it):
    it.crm.call("register", "7", PERSON, "ct", {})
    it.owner.confirm("7", "7/1")
    it.crm.call("withdraw", "w", "7/1", 5)
    with it.crm.expect_refused("CF001"):
        it.crm.call("release_payout", "w")
    link(it, "sent", "rejected")
    assert (it.crm.state("operations", "w"), it.crm.state("payouts", "w")) == ("cancelled", "declined")


def test_an_adopted_account_needs_no_link(it):
    it.crm.call("register", "7", PERSON, "ct")
    it.owner.confirm("7")
    it.crm.call("adopt_account", "old", "7", "ct", 3_000_001)
    it.crm.call("deposit", "m", "old", 5)
    assert it.crm.state("operations", "m") == "waiting"
    it.owner.confirm("old")
    assert (it.crm.state("accounts", "old"), it.crm.state("operations", "m")) == ("confirmed", "pending")
    it.owner.confirm("m")
    assert [kind for kind, _, _ in steps(it)] == ["adopt", "client", "deposit"]


def test_a_new_account_of_a_known_person_is_linked_as_well(it):
    ready(it)
    it.crm.call("open_account", "second", "7", {"leverageInCents": 10_000})
    it.crm.call("deposit", "m", "second", 5)
    it.owner.confirm("second")
    assert it.crm.state("operations", "m") == "waiting"
    link(it, "sent", "confirmed", reference="second")
    it.owner.confirm("m")
    assert it.crm.state("accounts", "second") == "confirmed"


# --- fields --------------------------------------------------------------------------------------------------------------

WRONG = [
    ("swapFree", "yes"),
    ("swapFree", 1),
    ("isLimitedRisk", "true"),
    ("accessRights", "ALL"),
    ("accessRights", "full_access"),
    ("accessRights", ""),
    ("accountType", "NETTING"),
    ("leverageInCents", "10000"),
    ("leverageInCents", 1.5),
    ("leverageInCents", 0),
    ("countryId", 1000),
    ("email", "nobody"),
    # of the other kind of platform
    ("group_id", 79),
    ("leverage", 100),
    ("username", "ada"),
    ("company", "Byron"),
    ("investor_password", "Secret-123456"),
    # ours
    ("description", "mine"),
    ("balance", 5),
]


@pytest.mark.parametrize(("field", "value"), WRONG)
def test_a_field_that_an_account_cannot_have_is_refused_by_its_name(it, field, value):
    it.crm.call("register", "7", PERSON, "ct")
    with it.unchanged(), it.crm.expect_refused("CF006", field):
        it.crm.call("open_account", "a", "7", {field: value})
    with it.unchanged(), it.crm.expect_refused("CF006", field):
        it.crm.call("register", "8", {"email": "b@example.org"}, "ct", {field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("swapFree", True),
        ("swapFree", False),
        ("accessRights", "CLOSE_ONLY"),
        ("leverageInCents", 50_000),
        ("countryId", 826),
    ],
)
def test_a_field_that_an_account_can_have_is_kept(it, field, value):
    it.crm.call("register", "7", PERSON, "ct", {field: value})
    assert it.owner.value("SELECT wish FROM counterfoil.intents WHERE kind = 'account'") == {field: value}


@pytest.mark.parametrize("field", ["swapFree", "accessRights", "leverageInCents"])
def test_fields_of_this_kind_are_refused_on_the_other(it, field):
    it.crm.call("register", "7", PERSON, "live")
    with it.unchanged(), it.crm.expect_refused("CF006", field):
        it.crm.call("open_account", "a", "7", {field: 1})


@pytest.mark.parametrize("field", ["depositCurrency", "accountType", "totalMarginCalculationType"])
def test_what_cannot_be_changed_later_is_refused_by_its_name(it, field):
    value = {"accountType": "NETTED", "totalMarginCalculationType": "SUM"}.get(field, "USD")
    account = ready(it)
    with it.unchanged(), it.crm.expect_refused("CF006", field):
        it.crm.call("update_account", account, {field: value})


def test_an_update_waits_for_the_opening(it):
    account = ready(it)
    it.crm.call("update_account", account, {"accessRights": "FULL_ACCESS", "swapFree": True})
    assert it.owner.value("SELECT state FROM counterfoil.intents WHERE kind = 'update_account'") == "pending"


@pytest.mark.parametrize("profile", [{}, {"first_name": "Ada"}, {"email": ""}])
def test_a_user_is_an_e_mail_address(it, profile):
    with it.unchanged(), it.crm.expect_refused("CF006", "email"):
        it.crm.call("register", "7", profile, "ct")
    it.crm.call("register", "7", {"first_name": "Ada"}, None)
    with it.unchanged(), it.crm.expect_refused("CF006", "email"):
        it.crm.call("choose_platform", "7", "ct")


@pytest.mark.parametrize("wish", [{"group_id": 79}, {"company": "Byron"}])
def test_a_wish_of_the_other_kind_hinders_the_choice(it, wish):
    it.crm.call("register", "7", PERSON, None, wish)
    with it.unchanged(), it.crm.expect_refused("CF006", next(iter(wish))):
        it.crm.call("choose_platform", "7", "ct")


@pytest.mark.parametrize("changes", [{"email": "b@example.org"}, {"first_name": "Augusta"}, {"city": "Rome"}])
def test_a_profile_cannot_be_changed_once_the_user_is_made(it, changes):
    it.crm.call("register", "7", PERSON, "ct")
    it.crm.call("update_profile", "7", {"mobile": "+44123"})
    it.owner.confirm("7")
    (field,) = changes
    with it.unchanged(), it.crm.expect_refused("CF006", field):
        it.crm.call("update_profile", "7", changes)
    assert [kind for kind, _, _ in steps(it)] == ["client"]


# --- passwords -----------------------------------------------------------------------------------------------------------


def test_a_new_password_waits_for_the_link_which_needs_the_old_one(it):
    told = it.crm.call("register", "7", PERSON, "ct", {})["credentials"]
    it.owner.confirm("7", "7/1")
    fresh = it.crm.call("reset_password", "7/1")["credentials"]
    assert set(fresh) == {"user_password"}
    assert ("reset_password", "waiting", "link") in steps(it)
    assert ("link", "password_hash", hashed(told["user_password"])) in it.owner.rows(PASSWORDS)
    link(it, "sent", "confirmed")
    assert ("reset_password", "pending", "link") in steps(it)
    assert it.owner.rows(PASSWORDS) == [("reset_password", "user_password", fresh["user_password"])]


def test_a_password_that_was_asked_for_before_the_choice_waits_for_the_link_too(it):
    it.crm.call("register", "7", PERSON, None, {})
    fresh = it.crm.call("reset_password", "7/1")["credentials"]
    it.crm.call("choose_platform", "7", "ct")
    assert ("reset_password", "waiting", "link") in steps(it)
    it.owner.confirm("7", "7/1")
    assert ("reset_password", "waiting", "link") in steps(it)
    link(it, "sent", "confirmed")
    assert it.owner.rows(PASSWORDS) == [("reset_password", "user_password", fresh["user_password"])]


def test_an_adopted_account_gets_its_password_at_once(it):
    it.crm.call("register", "7", PERSON, "ct")
    it.owner.confirm("7")
    it.crm.call("adopt_account", "old", "7", "ct", 3_000_001)
    it.owner.confirm("old")
    it.crm.call("reset_password", "old")
    assert ("reset_password", "pending", "adopt") in steps(it)


# --- what is given up ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reference", ["7", "7/1"])
def test_what_is_cancelled_takes_with_it_all_that_waits_behind(it, reference):
    it.crm.call("register", "7", PERSON, "ct", {}, 250)
    it.crm.call("cancel", reference)
    expected = {"client": "cancelled" if reference == "7" else "pending"}
    assert {kind: state for kind, state, _ in steps(it)} == {
        **expected,
        **dict.fromkeys(("account", "link", "deposit"), "cancelled"),
    }
    assert it.owner.rows(PASSWORDS) == []


@pytest.mark.parametrize("step", ["account", "link"])
def test_what_the_platform_refuses_takes_with_it_all_that_waits_behind(it, step):
    it.crm.call("register", "7", PERSON, "ct", {}, 250)
    it.crm.call("withdraw", "w", "7/1", 5)
    it.owner.confirm("7")
    if step == "link":
        it.owner.confirm("7/1")
    it.owner.advance("7/1", "sent", "rejected", kind=step)
    states = {kind: state for kind, state, _ in steps(it)}
    assert (states[step], states["deposit"], states["withdraw"]) == ("rejected", "cancelled", "cancelled")
    assert it.crm.state("accounts", "7/1") != "confirmed"
    assert it.crm.state("payouts", "w") == "declined"
    assert it.owner.rows(PASSWORDS) == []
    with it.crm.expect_refused("CF003"):
        it.crm.call("deposit", "late", "7/1", 5)
    with it.crm.expect_refused("CF003"):
        it.crm.call("reset_password", "7/1")


def test_a_link_is_nothing_that_the_crm_could_name(it):
    it.crm.call("register", "7", PERSON, "ct", {}, 250)
    it.owner.confirm("7", "7/1")
    with it.crm.expect_refused("CF003"):
        it.crm.call("cancel", "7/1")
    assert ("link", "pending", "account") in steps(it)
    assert it.crm.rows("SELECT reference, kind FROM crm.operations") == [("7/1/deposit", "deposit")]


# --- two connections at once ---------------------------------------------------------------------------------------------


def choose(session):
    return session.call("choose_platform", "7", "ct")


def deposit(session):
    return session.call("deposit", "m", "7/1", 5)


@pytest.mark.parametrize(("first", "second"), [(choose, deposit), (deposit, choose)])
def test_a_deposit_that_is_asked_for_while_the_platform_is_chosen_waits_for_the_link(it, first, second):
    it.crm.call("register", "7", PERSON, None, {})
    assert it.overtake(first, second) is None
    assert ("deposit", "waiting", "link") in steps(it)
    assert it.owner.value("SELECT platform FROM counterfoil.intents WHERE kind = 'deposit'") == "ct"


def open_second(session):
    return session.call("open_account", "second", "7", {})


@pytest.mark.parametrize(("first", "second"), [(choose, open_second), (open_second, choose)])
def test_an_account_that_is_asked_for_while_the_platform_is_chosen_is_linked(it, first, second):
    it.crm.call("register", "7", PERSON, None, {})
    it.overtake(first, second)
    assert [(kind, state) for kind, state, _ in steps(it)].count(("link", "waiting")) == 2
    assert {name for _, name, _ in it.owner.rows(PASSWORDS)} == {"user_password", "password_hash"}


def test_a_new_password_that_is_asked_for_while_the_platform_is_chosen_waits_for_the_link(it):
    it.crm.call("register", "7", PERSON, None, {})
    it.overtake(lambda s: s.call("reset_password", "7/1"), choose)
    assert ("reset_password", "waiting", "link") in steps(it)


def test_two_who_choose_at_once_choose_once(it):
    it.crm.call("register", "7", PERSON, None, {}, 5)
    assert it.overtake(choose, choose) is None
    assert [kind for kind, _, _ in steps(it)] == ["account", "client", "deposit", "link"]
