"""People and accounts over the boundary: what is accepted, what is refused, and what follows."""

from dataclasses import replace

import pytest

from support.boundary import LIVE, PROFILE, boundary

BAD_NAMES = [None, "", " 7", "7 ", "a\nb", "a\x01", "a\x7f", "é" * 101, "x" * 10_240]
ODD_NAMES = [
    "'; DROP TABLE counterfoil.intents; --",
    'a"b',
    "a\\b",
    "%s {} $1 $$",
    "žluťoučký 漢字 🐎",
    "x" * 180,
    "a/b",
]
BAD_PROFILES = [
    ({**PROFILE, "first_name": 5}, "first_name"),
    ({**PROFILE, "first_name": None}, "first_name"),
    ({**PROFILE, "first_name": ["Ada"]}, "first_name"),
    ({**PROFILE, "first_name": {}}, "first_name"),
    ({**PROFILE, "first_name": "x" * 1001}, "first_name"),
    ({**PROFILE, "first_name": "a\x01b"}, "first_name"),
    ({**PROFILE, "email": "nobody"}, "email"),
    ({**PROFILE, "email": "two words@example.org"}, "email"),
    ({**PROFILE, "status": 14}, "status"),
    ({**PROFILE, "status": -1}, "status"),
    ({**PROFILE, "status": 1.5}, "status"),
    ({**PROFILE, "status": "1"}, "status"),
    ({**PROFILE, "status": True}, "status"),
    ({**PROFILE, "net_worth": 10**400}, "net_worth"),
    ({**PROFILE, "birth_date": "2001-02-30"}, "birth_date"),
    ({**PROFILE, "birth_date": "01.02.2001"}, "birth_date"),
    ({**PROFILE, "birth_date": "yesterday"}, "birth_date"),
    ({**PROFILE, "shoe_size": 43}, "shoe_size"),
    ({**PROFILE, "first_name'; --": "x"}, "first_name'; --"),
    ({"family_name": "Lovelace"}, "first_name"),
    ({"first_name": " ", "family_name": "Lovelace"}, "first_name"),
    ([], "profile"),
    ([PROFILE], "profile"),
    (None, "profile"),
]
BAD_ACCOUNTS = [
    ({"group_id": "79"}, "group_id"),
    ({"group_id": 0}, "group_id"),
    ({"leverage": 5001}, "leverage"),
    ({"username": "two words"}, "username"),
    ({"username": ""}, "username"),
    ({"username": "x" * 65}, "username"),
    ({"username": None}, "username"),
    ({"user_password": "short"}, "user_password"),
    ({"user_password": 12345678}, "user_password"),
    ({"user_password": None}, "user_password"),
    ({"investor_password": "x" * 65}, "investor_password"),
    ({"investor_password": "tab\tinside"}, "investor_password"),
    ({"balance": 5}, "balance"),
    ([], "account"),
    ([{"group_id": 79}], "account"),
]


@pytest.fixture
def it(database_url):
    with boundary(database_url) as it:
        yield it


def test_a_registration_returns_its_references_and_credentials_once(it):
    told = it.crm.call("register", "7", PROFILE, "live", {"group_id": 79}, 100)
    assert (told["registrant"], told["account"], told["deposit"]) == ("7", "7/1", "7/1/deposit")
    assert set(told["credentials"]) == {"username", "user_password", "investor_password"}
    again = it.crm.call("register", "7", PROFILE, "live", {"group_id": 79}, 100)
    assert again == {"registrant": "7", "account": "7/1", "deposit": "7/1/deposit"}


def test_the_steps_of_a_registration_wait_for_one_another(it):
    it.crm.call("register", "7", PROFILE, "live", {}, 100)
    assert it.crm.state("registrants", "7") == "pending"
    assert it.crm.state("accounts", "7/1") == "waiting"
    assert it.crm.reason("accounts", "7/1") == "behind registrant 7"
    assert it.crm.reason("operations", "7/1/deposit") == "behind account 7/1"
    it.owner.confirm("7")
    assert (it.crm.state("accounts", "7/1"), it.crm.state("operations", "7/1/deposit")) == ("pending", "waiting")
    it.owner.confirm("7/1")
    assert it.crm.state("operations", "7/1/deposit") == "pending"


def test_without_a_choice_a_registrant_waits_for_a_platform(it):
    it.crm.call("register", "7", PROFILE, account={}, deposit=5)
    assert it.crm.reason("registrants", "7") == "a platform has to be chosen"
    it.crm.call("choose_platform", "7", "live")
    assert it.crm.state("registrants", "7") == "pending"
    assert it.owner.rows("SELECT DISTINCT platform FROM counterfoil.intents") == [("live",)]
    with it.unchanged():
        it.crm.call("choose_platform", "7", "live")


@pytest.mark.parametrize("name", ODD_NAMES)
def test_a_name_is_kept_verbatim_whatever_it_holds(it, name):
    it.crm.call("register", name, {**PROFILE, "first_name": name}, "live", {}, 5)
    it.owner.confirm(name, f"{name}/1", f"{name}/1/deposit")
    assert it.crm.state("operations", f"{name}/1/deposit") == "confirmed"
    assert it.owner.value("SELECT profile ->> 'first_name' FROM counterfoil.registrants") == name


def test_a_registrant_s_name_must_leave_room_for_the_names_made_from_it(it):
    with it.unchanged(), it.crm.expect_refused("CF006", "registrant_id"):
        it.crm.call("register", "x" * 200, PROFILE, "live", {}, 5)
    it.crm.call("register", "x" * 200, PROFILE, "live")


def test_a_bad_name_is_refused_everywhere(it):
    it.ready()
    with it.unchanged():
        for name in BAD_NAMES:
            with it.crm.expect_refused("CF006", "registrant_id"):
                it.crm.call("register", name, PROFILE, "live")
            with it.crm.expect_refused("CF006", "reference"):
                it.crm.call("open_account", name, "7", {})
            with it.crm.expect_refused("CF006", "reference"):
                it.crm.call("adopt_account", name, "7", "live", 5)


def test_a_bad_profile_is_refused_with_its_field(it):
    with it.unchanged():
        for profile, field in BAD_PROFILES:
            with it.crm.expect_refused("CF006", field):
                it.crm.call("register", "7", profile, "live")


def test_a_bad_account_is_refused_with_its_field(it):
    it.crm.call("register", "8", PROFILE, "live")
    with it.unchanged():
        for account, field in BAD_ACCOUNTS:
            with it.crm.expect_refused("CF006", field):
                it.crm.call("register", "7", PROFILE, "live", account)
            with it.crm.expect_refused("CF006", field):
                it.crm.call("open_account", "a", "8", account)


@pytest.mark.parametrize("scalar", ["5", "null", "true", '"text"'])
def test_json_that_is_no_object_is_refused_as_a_bad_value(it, scalar):
    it.ready()
    with it.unchanged():
        with it.crm.expect_refused("CF006", "profile"):
            it.crm.call("register", "8", scalar, "live")
        with it.crm.expect_refused("CF006", "account"):
            it.crm.call("register", "8", PROFILE, "live", scalar)
        with it.crm.expect_refused("CF006", "account"):
            it.crm.call("open_account", "a", "7", scalar)
        with it.crm.expect_refused("CF006", "changes"):
            it.crm.call("update_account", "7/1", scalar)
        with it.crm.expect_refused("CF006", "profile"):
            it.crm.call("update_profile", "7", scalar)


def test_an_unknown_or_forgotten_platform_is_refused(it):
    it.crm.call("register", "7", PROFILE)
    with it.unchanged():
        with it.crm.expect_refused("CF006", "platform"):
            it.crm.call("register", "8", PROFILE, "moon")
        for platform in ("moon", None, "", "live'; --"):
            with it.crm.expect_refused("CF006", "platform"):
                it.crm.call("choose_platform", "7", platform)


def test_a_rule_of_one_platform_chooses_it_and_refuses_another(database_url):
    demo = replace(LIVE, platform="demo")
    with boundary(database_url, [LIVE, demo], platform_choice="demo") as it:
        it.crm.call("register", "7", PROFILE)
        assert it.owner.value("SELECT platform FROM crm.registrants") == "demo"
        with it.crm.expect_refused("CF006", "platform"):
            it.crm.call("register", "8", PROFILE, "live")


def test_another_choice_of_platform_is_refused(database_url):
    with boundary(database_url, [LIVE, replace(LIVE, platform="demo")]) as it:
        it.crm.call("register", "7", PROFILE, "live")
        with it.unchanged(), it.crm.expect_refused("CF004", "platform"):
            it.crm.call("choose_platform", "7", "demo")


def test_a_choice_needs_a_complete_profile_and_leaves_nothing_half_done(it):
    it.crm.call("register", "7", {"first_name": "Ada"}, account={})
    with it.unchanged(), it.crm.expect_refused("CF006", "family_name"):
        it.crm.call("choose_platform", "7", "live")
    it.crm.call("update_profile", "7", {"family_name": "Lovelace"})
    it.crm.call("choose_platform", "7", "live")
    assert it.crm.state("registrants", "7") == "pending"


OTHERS = [
    ({**PROFILE, "first_name": "Eve"}, "live", {}, 5),
    (PROFILE, None, {}, 5),
    (PROFILE, "live", {"leverage": 100}, 5),
    (PROFILE, "live", None, 5),
    (PROFILE, "live", [], 5),
    (PROFILE, "live", {}, 6),
    (PROFILE, "live", {}, None),
    (PROFILE, "live", {}, "NaN"),
]


def test_a_registration_with_other_content_is_refused(it):
    it.crm.call("register", "7", PROFILE, "live", {}, 5)
    with it.unchanged():
        for content in OTHERS:
            with it.crm.expect_refused("CF004", "registrant_id"):
                it.crm.call("register", "7", *content)


def test_what_is_no_value_is_not_the_same_as_none(it):
    it.crm.call("register", "7", PROFILE, "live")
    with it.unchanged():
        for account, deposit in (([], None), ("5", None), (None, "NaN"), (None, "Infinity")):
            with it.crm.expect_refused("CF004", "registrant_id"):
                it.crm.call("register", "7", PROFILE, "live", account, deposit)


def test_the_same_content_written_otherwise_is_the_same(it):
    it.crm.call("register", "7", PROFILE, "live", {"leverage": 100}, "5.00")
    with it.unchanged():
        again = it.crm.call("register", "7", dict(reversed(PROFILE.items())), "live", {"leverage": 100.0}, 5)
    assert again == {"registrant": "7", "account": "7/1", "deposit": "7/1/deposit"}


def test_a_deposit_needs_an_account(it):
    with it.unchanged(), it.crm.expect_refused("CF006", "deposit"):
        it.crm.call("register", "7", PROFILE, "live", None, 5)


@pytest.mark.parametrize("amount", ["NaN", "Infinity", "-Infinity", 0, -1, "1" + "0" * 29])
def test_a_bad_first_deposit_leaves_nothing_half_done(it, amount):
    with it.unchanged(), it.crm.expect_refused("CF006", "deposit"):
        it.crm.call("register", "7", PROFILE, "live", {}, amount)


def test_a_reference_in_use_stops_the_whole_registration(it):
    it.ready("8")
    it.crm.call("deposit", "7/1", "8/1", 5)
    with it.unchanged(), it.crm.expect_refused("CF004", "reference"):
        it.crm.call("register", "7", PROFILE, "live", {})
    it.crm.call("deposit", "9/1/deposit", "8/1", 5)
    with it.unchanged(), it.crm.expect_refused("CF004", "reference"):
        it.crm.call("register", "9", PROFILE, "live", {}, 5)


def test_an_account_is_opened_once_and_credentials_are_told_once(it):
    it.crm.call("register", "7", PROFILE, "live")
    told = it.crm.call("open_account", "a", "7", {"leverage": 100})
    assert told["credentials"]["username"] == "7-1"
    with it.unchanged():
        assert it.crm.call("open_account", "a", "7", {"leverage": 100}) == {"registrant": "7", "account": "a"}


def test_an_account_s_reference_cannot_name_anything_else(it):
    it.ready("7")
    it.ready("8")
    it.crm.call("open_account", "a", "7", {})
    it.crm.call("deposit", "d", "7/1", 5)
    with it.unchanged():
        for owner, account in (("7", {"leverage": 1}), ("8", {})):
            with it.crm.expect_refused("CF004", "reference"):
                it.crm.call("open_account", "a", owner, account)
        with it.crm.expect_refused("CF004", "reference"):
            it.crm.call("open_account", "d", "7", {})
        with it.crm.expect_refused("CF004", "reference"):
            it.crm.call("adopt_account", "a", "7", "live", 5)


def test_a_login_name_belongs_to_one_account_in_any_case(it):
    it.crm.call("register", "7", PROFILE, "live", {"username": "Ada"})
    with it.unchanged(), it.crm.expect_refused("CF006", "username"):
        it.crm.call("open_account", "a", "7", {"username": "aDA"})


def test_a_derived_login_name_avoids_those_of_the_mirror(it):
    it.owner.rows(
        "INSERT INTO mirror.accounts (platform, id, username, first_seen_at, changed_at, version) "
        "VALUES ('live', 1, '7-1', now(), now(), 1)"
    )
    told = it.crm.call("register", "7", PROFILE, "live", {})
    assert told["credentials"]["username"] == "7-2"


@pytest.mark.parametrize("registrant", ["'; SELECT 1; --", "žluť kůň", "x" * 150, "a b"])
def test_a_derived_login_name_is_a_plain_word(it, registrant):
    name = it.crm.call("register", registrant, PROFILE, "live", {})["credentials"]["username"]
    assert name.isascii()
    assert len(name) <= 32
    assert not set(name) & set(" '\";")


def test_nothing_is_opened_for_a_registrant_that_is_not_there_or_was_cancelled(it):
    with it.crm.expect_refused("CF005", "registrant_id"):
        it.crm.call("open_account", "a", "7", {})
    it.crm.call("register", "7", PROFILE, "live")
    it.crm.call("cancel", "7")
    with it.unchanged(), it.crm.expect_refused("CF003"):
        it.crm.call("open_account", "a", "7", {})


def test_an_adopted_account_is_named_once(it):
    it.ready()
    it.crm.call("adopt_account", "old", "7", "live", 4711)
    assert it.crm.state("accounts", "old") == "pending"
    with it.unchanged():
        it.crm.call("adopt_account", "old", "7", "live", 4711)
        with it.crm.expect_refused("CF004", "reference"):
            it.crm.call("adopt_account", "old", "7", "live", 4712)


def test_a_wrong_adoption_is_refused(it):
    it.ready()
    it.crm.call("register", "8", PROFILE)
    taken = it.owner.value("SELECT account_id FROM crm.accounts")
    wrong = [
        (("7", "live", None), "CF006", "account_id"),
        (("7", "live", 0), "CF006", "account_id"),
        (("7", "live", taken), "CF006", "account_id"),
        (("7", "moon", 5), "CF006", "platform"),
        (("8", "live", 5), "CF006", "platform"),
        (("9", "live", 5), "CF005", "registrant_id"),
    ]
    with it.unchanged():
        for content, code, field in wrong:
            with it.crm.expect_refused(code, field):
                it.crm.call("adopt_account", "old", *content)


def test_a_changed_profile_travels_once_the_client_is_there(it):
    it.crm.call("register", "7", PROFILE, "live")
    it.crm.call("update_profile", "7", {"email": "ada@example.org"})
    assert it.owner.value("SELECT count(*) FROM counterfoil.intents") == 1
    it.owner.confirm("7")
    it.crm.call("update_profile", "7", {"country": "GB", "first_name": "Ada"})
    wish = "SELECT state, wish FROM counterfoil.intents WHERE kind = 'update_client'"
    assert it.owner.rows(wish) == [("pending", {"country": "GB"})]
    with it.unchanged():
        it.crm.call("update_profile", "7", {"country": "GB"})


def test_a_profile_is_changed_only_where_the_crm_owns_it_and_it_stays_complete(it):
    it.crm.call("register", "7", PROFILE, "live")
    it.crm.call("register", "8", PROFILE, "live")
    it.owner.confirm("7")
    with it.unchanged():
        for change in ({"city": "London"}, {"status": 3}, {"kyc_status": 1}, {"first_name": ""}, {"shoe_size": 1}):
            with it.crm.expect_refused("CF006", next(iter(change))):
                it.crm.call("update_profile", "7", change)
        with it.crm.expect_refused("CF005", "registrant_id"):
            it.crm.call("update_profile", "9", {})
    it.crm.call("cancel", "8")
    with it.unchanged(), it.crm.expect_refused("CF003"):
        it.crm.call("update_profile", "8", {"first_name": "Eve"})


def test_a_mended_profile_sends_a_rejected_registrant_again(it):
    it.crm.call("register", "7", PROFILE, "live")
    it.owner.advance("7", "sent", "rejected")
    it.crm.call("update_profile", "7", {"first_name": "Augusta"})
    assert it.crm.state("registrants", "7") == "pending"
    it.owner.confirm("7")
    it.crm.call("open_account", "a", "7", {})
    assert it.crm.state("accounts", "a") == "pending"
