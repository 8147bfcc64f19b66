"""Changes of an account over the boundary."""

from dataclasses import replace

import pytest

from support.boundary import LIVE, PROFILE, boundary, publish

PLANNED = "SELECT kind, state, wish FROM counterfoil.intents WHERE kind = 'update_account' ORDER BY id"


@pytest.fixture
def it(database_url):
    with boundary(database_url) as it:
        yield it


def test_what_is_not_opened_yet_is_opened_as_changed(it):
    it.crm.call("register", "7", PROFILE, "live", {"leverage": 100})
    it.crm.call("update_account", "7/1", {"leverage": 200})
    assert it.owner.rows(PLANNED) == []
    assert it.owner.value("SELECT wish FROM counterfoil.accounts") == {"leverage": 200}


def test_only_what_differs_travels_and_a_repetition_does_nothing(it):
    account = it.ready()
    it.crm.call("update_account", account, {"leverage": 100, "city": "London"})
    it.crm.call("update_account", account, {"leverage": 100, "city": "Paris"})
    assert [wish for _, _, wish in it.owner.rows(PLANNED)] == [{"leverage": 100, "city": "London"}, {"city": "Paris"}]
    with it.unchanged():
        it.crm.call("update_account", account, {"city": "Paris"})
        it.crm.call("update_account", account, {})


def test_a_change_asked_while_the_account_is_being_opened_follows_it(it):
    it.crm.call("register", "7", PROFILE, "live", {})
    it.owner.confirm("7")
    it.owner.advance("7/1", "sent")
    it.crm.call("update_account", "7/1", {"leverage": 100})
    assert it.owner.rows(PLANNED) == [("update_account", "waiting", {"leverage": 100})]
    it.owner.advance("7/1", "confirmed")
    assert it.owner.rows(PLANNED) == [("update_account", "pending", {"leverage": 100})]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"leverage": 5001}, "leverage"),
        ({"leverage": "100"}, "leverage"),
        ({"username": "other"}, "username"),
        ({"balance": 5}, "balance"),
        ({"user_password": "sesame-open-1"}, "user_password"),
        ([], "changes"),
        (None, "changes"),
    ],
)
def test_a_bad_change_is_refused_with_its_field(it, changes, field):
    account = it.ready()
    with it.unchanged(), it.crm.expect_refused("CF006", field):
        it.crm.call("update_account", account, changes)


def test_nothing_changes_an_account_that_is_not_there_or_never_will_be(it):
    it.crm.call("register", "7", PROFILE, "live", {})
    it.crm.call("cancel", "7/1")
    with it.unchanged():
        with it.crm.expect_refused("CF005", "reference"):
            it.crm.call("update_account", "8/1", {"leverage": 5})
        with it.crm.expect_refused("CF003"):
            it.crm.call("update_account", "7/1", {"leverage": 5})


def test_accounts_are_changed_only_on_a_platform_that_keeps_what_is_not_named(it):
    account = it.ready()
    publish(it.url, [replace(LIVE, updates_accounts=False)])
    with it.unchanged(), it.crm.expect_refused("CF003"):
        it.crm.call("update_account", account, {"leverage": 5})


def test_a_platform_that_the_settings_forgot_takes_nobody_new(it):
    it.ready()
    publish(it.url, [replace(LIVE, platform="demo")])
    with it.crm.expect_refused("CF006", "platform"):
        it.crm.call("register", "8", PROFILE, "live")
    it.crm.call("deposit", "m", "7/1", 5)
