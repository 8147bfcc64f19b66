"""Two connections of the CRM, and the daemon, at the same time: the second comes before the first has committed."""

import pytest
from psycopg import errors

from support.boundary import PROFILE, Owner, boundary

OTHER = {**PROFILE, "first_name": "Eve"}


@pytest.fixture
def it(database_url):
    with boundary(database_url) as it:
        yield it


def asking(*call):
    return lambda crm: crm.call(*call)


@pytest.mark.parametrize(
    ("same", "other"),
    [
        (["deposit", "m", "7/1", 5], ["deposit", "m", "7/1", 6]),
        (["withdraw", "m", "7/1", 5], ["deposit", "m", "7/1", 5]),
        (["credit", "m", "7/1", 5, "in"], ["credit", "m", "7/1", 5, "out"]),
        (["open_account", "m", "7", {}], ["open_account", "m", "7", {"leverage": 5}]),
        (["adopt_account", "m", "7", "live", 5], ["adopt_account", "m", "7", "live", 6]),
        (["open_account", "m", "7", {}], ["deposit", "m", "7/1", 5]),
        (["deposit", "m", "7/1", 5], ["open_account", "m", "7", {}]),
        (["deposit", "m", "7/1", 5], ["adopt_account", "m", "7", "live", 6]),
        (["register", "8", PROFILE, "live", {}, 5], ["register", "8", OTHER, "live", {}, 5]),
    ],
)
def test_the_second_with_a_reference_repeats_the_first_or_is_refused(it, same, other):
    it.ready()
    assert it.overtake(asking(*same), asking(*other)) == "CF004"
    with it.unchanged():
        asking(*same)(it.crm)


@pytest.mark.parametrize(
    "call",
    [
        ["deposit", "m", "7/1", 5],
        ["withdraw", "m", "7/1", 5],
        ["adopt_account", "m", "7", "live", 5],
        ["cancel", "7/1/old"],
        ["update_profile", "7", {"country": "GB"}],
        ["update_account", "7/1", {"leverage": 5}],
    ],
)
def test_the_same_call_twice_at_once_does_its_work_once(it, call):
    it.ready()
    it.crm.call("deposit", "7/1/old", "7/1", 1)
    asked = it.owner.value("SELECT count(*) FROM counterfoil.intents")
    assert it.overtake(asking(*call), asking(*call)) is None
    made = it.owner.value("SELECT count(*) FROM counterfoil.intents") - asked
    assert made == (0 if call[0] == "cancel" else 1)


@pytest.mark.parametrize("call", [["register", "8", PROFILE, "live", {}], ["open_account", "m", "7", {}]])
def test_the_second_of_two_at_once_is_told_no_passwords(it, call):
    it.ready()
    told = it.overtake(asking(*call), asking(*call))
    assert told["account"]
    assert "credentials" not in told


def test_the_second_does_the_work_when_the_first_takes_it_back(it):
    it.ready()
    assert it.overtake(asking("deposit", "m", "7/1", 5), asking("deposit", "m", "7/1", 6), undone=True) is None
    assert it.crm.value("SELECT amount FROM crm.operations") == 6


def test_two_accounts_at_once_get_two_login_names(it):
    it.ready()
    told = it.overtake(asking("open_account", "a", "7", {}), asking("open_account", "b", "7", {}))
    assert told["credentials"]["username"] == "7-3"


@pytest.mark.parametrize("first", [["choose_platform", "7", "live"], ["open_account", "a", "7", {}]])
def test_an_account_and_a_choice_of_platform_at_once_lose_nothing(it, first):
    it.crm.call("register", "7", PROFILE)
    calls = [["choose_platform", "7", "live"], ["open_account", "a", "7", {}]]
    calls.remove(first)
    it.overtake(asking(*first), asking(*calls[0]))
    it.owner.confirm("7", "a")
    assert it.crm.rows("SELECT platform, state FROM crm.accounts") == [("live", "confirmed")]


@pytest.mark.parametrize("first", [["choose_platform", "7", "live"], ["deposit", "a", "7/1", 5]])
def test_money_and_a_choice_of_platform_at_once_find_one_another(it, first):
    it.crm.call("register", "7", PROFILE, account={})
    calls = [["choose_platform", "7", "live"], ["deposit", "a", "7/1", 5]]
    calls.remove(first)
    it.overtake(asking(*first), asking(*calls[0]))
    assert it.crm.rows("SELECT platform FROM crm.operations") == [("live",)]
    it.owner.confirm("7", "7/1", "a")


@pytest.mark.parametrize(
    ("reference", "call"),
    [
        ("7", ["open_account", "a", "7", {}]),
        ("7", ["update_profile", "7", {"country": "GB"}]),
        ("7/1", ["deposit", "a", "7/1", 5]),
        ("7/1", ["update_account", "7/1", {"leverage": 5}]),
        ("7/1", ["reset_password", "7/1"]),
    ],
)
def test_what_is_asked_while_its_step_is_being_confirmed_is_not_left_waiting(it, reference, call):
    it.crm.call("register", "7", PROFILE, "live", {})
    it.owner.confirm(*(["7"] if reference == "7/1" else []))
    it.owner.advance(reference, "sent")
    it.overtake(lambda owner: owner.advance(reference, "confirmed"), asking(*call), ahead=it.owner)
    assert it.owner.value("SELECT count(*) FROM counterfoil.intents WHERE state = 'waiting' AND kind <> 'account'") == 0


@pytest.mark.parametrize("call", [["update_profile", "7", {"country": "GB"}], ["open_account", "a", "7", {}]])
def test_a_confirmation_waits_for_the_crm_and_neither_blocks_the_other_for_good(it, call):
    it.crm.call("register", "7", PROFILE, "live")
    it.owner.advance("7", "sent")
    daemon = Owner(it.url)
    with daemon.connection:
        it.overtake(asking(*call), lambda owner: owner.advance("7", "confirmed"), behind=daemon)
    assert it.crm.state("registrants", "7") == "confirmed"
    assert it.owner.value("SELECT count(*) FROM counterfoil.intents WHERE state = 'waiting'") == 0


def test_an_operation_is_cancelled_or_sent_but_not_both(it):
    it.ready()
    it.crm.call("deposit", "m", "7/1", 5)
    with it.crm.connection.transaction():
        it.crm.call("cancel", "m")
        claim = "SELECT id FROM counterfoil.intents WHERE state = 'pending' FOR UPDATE SKIP LOCKED"
        assert it.owner.rows(claim) == []
    with pytest.raises(errors.IntegrityError):
        it.owner.advance("m", "sent")
