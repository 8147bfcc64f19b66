"""Payouts whose currency, platform or past is not known: nothing leaves on a guess; and what the CRM may still take back."""

import pytest

from counterfoil.domain.login import LoginFacts
from counterfoil.store import decisions
from counterfoil.store import engine as engines
from counterfoil.store.bindings import NameBinding, unbind
from counterfoil.store.decisions import Because
from support.boundary import boundary
from support.pushing import push_bench

MONEY = "/money"
BECAUSE = Because(reason="seen on the platform", person="ada")


@pytest.fixture
async def it(database_url):
    async with push_bench(database_url) as bench:
        bench.account("a")
        bench.sandbox.requests.clear()
        yield bench


# --- the currency ----------------------------------------------------------------------------------------------------


def forget_currency(it):
    """Neither the account nor anything mirrored tells the currency."""
    it.owner.rows("UPDATE counterfoil.accounts SET currency = NULL, currency_digits = NULL")
    it.owner.rows("UPDATE mirror.accounts SET currency = NULL, currency_digits = NULL")
    it.owner.rows("UPDATE mirror.groups SET currency = NULL, currency_digits = NULL")


@pytest.mark.parametrize("kind", [("deposit",), ("withdraw",), ("credit", "in"), ("credit", "out")])
async def test_money_is_not_sent_while_nobody_knows_how_many_digits_its_currency_has(it, kind):
    forget_currency(it)
    it.crm.call(kind[0], "m", "a/1", "7.25", *kind[1:])
    replica = it.replica()
    await replica.turn()
    assert (it.state("m"), it.writes()) == ("pending", [])
    assert "digits of the account's currency are not known yet" in it.reason("m")


async def test_money_goes_as_soon_as_the_mirror_tells_the_digits(it):
    forget_currency(it)
    it.crm.call("deposit", "m", "a/1", "7.25")
    replica = it.replica()
    await replica.turn()
    await it.mirror("groups", "accounts")
    it.owner.rows("UPDATE mirror.accounts SET currency_digits = 2 WHERE id = %s", it.account_id("a/1"))
    await it.until_quiet(replica)
    assert (it.state("m"), len(it.effects("m"))) == ("confirmed", 1)


async def test_an_amount_finer_than_the_digits_that_were_learnt_is_rejected(it):
    forget_currency(it)
    it.crm.call("deposit", "m", "a/1", "7.251")
    it.owner.rows("UPDATE counterfoil.accounts SET currency_digits = 2")
    await it.replica().turn()
    assert (it.state("m"), it.writes()) == ("rejected", [])


async def test_a_payout_is_not_released_while_its_currency_is_unknown(it):
    it.payout("w", "a/1", 5)
    forget_currency(it)
    with it.crm.expect_refused("CF003"):
        it.crm.call("release_payout", "w")
    assert it.crm.state("payouts", "w") == "releasable"


async def test_a_payout_is_released_in_the_currency_that_the_mirror_tells(it):
    it.payout("w", "a/1", 5)
    await it.mirror("accounts")
    it.owner.rows("UPDATE counterfoil.accounts SET currency = NULL")
    it.owner.rows("UPDATE mirror.accounts SET currency = 'EUR' WHERE id = %s", it.account_id("a/1"))
    assert it.crm.call("release_payout", "w")[:3] == (5, "EUR", "a/1")


# --- the name of the platform ----------------------------------------------------------------------------------------

FACTS = LoginFacts(account_id=2, scope="Manager", expires_in=3600, sandbox=False)


async def log_in(url, **changes):
    """What a login notes."""
    database = engines.create(url)
    told = LoginFacts(
        **{name: getattr(FACTS, name) for name in ("account_id", "scope", "expires_in")},
        **{"sandbox": False, **changes},
    )
    try:
        await NameBinding(database, "live", "omtrader", "host:1").hold_to(told)
    finally:
        await database.dispose()


@pytest.fixture
def unbound(database_url):
    with boundary(database_url) as it:
        it.ready()
        it.owner.rows("UPDATE counterfoil.platform_state SET sandbox = NULL, bound_at = NULL")
        it.withdrawn()
        assert it.crm.state("payouts", "w") == "blocked"
        yield it


async def test_a_payout_that_was_confirmed_before_the_first_login_is_releasable_after_it(unbound):
    await log_in(unbound.url)
    assert unbound.crm.state("payouts", "w") == "releasable"


async def test_a_payout_that_a_simulator_confirmed_stays_blocked(unbound):
    await log_in(unbound.url, sandbox=True)
    assert unbound.crm.state("payouts", "w") == "blocked"


async def test_a_withdrawal_that_is_not_confirmed_is_not_released_by_a_login(unbound):
    unbound.crm.call("withdraw", "w2", "7/1", 5)
    unbound.owner.advance("w2", "sent", "unknown")
    await log_in(unbound.url)
    assert unbound.crm.state("payouts", "w2") == "blocked"


async def test_a_payout_that_was_confirmed_while_a_name_was_bound_anew_is_releasable_after_the_login(unbound):
    await log_in(unbound.url)
    database = engines.create(unbound.url)
    await unbind(database, "live")
    await database.dispose()
    unbound.withdrawn("w2")
    assert unbound.crm.state("payouts", "w2") == "blocked"
    await log_in(unbound.url)
    assert unbound.crm.state("payouts", "w2") == "releasable"


# --- what was sent once and proven absent ------------------------------------------------------------------------------


@pytest.fixture
async def absent(it):
    """A withdrawal that was sent once, proven absent, and is pending again."""
    replica = await it.unknown("drop_before", ("withdraw",))
    await it.look(replica)
    it.age()
    it.hurry()
    await replica.pusher.turn()
    await replica.rest()
    assert (it.state("m"), it.reason("m")) == ("pending", "proven absent by 2 looks")
    return it


async def test_the_crm_does_not_take_back_what_was_sent_once(absent):
    with absent.crm.expect_refused("CF003"):
        absent.crm.call("cancel", "m")
    assert (absent.state("m"), absent.crm.state("payouts", "m")) == ("pending", "blocked")


async def test_a_person_may_take_back_what_was_sent_once_and_proven_absent(absent):
    decided = await decisions.cancel(absent.replicas[0].engine, "m", BECAUSE)
    assert (decided.before, decided.after, absent.state("m")) == ("pending", "cancelled", "cancelled")
    assert absent.crm.state("payouts", "m") == "declined"


async def test_the_crm_may_take_back_what_was_never_sent(it):
    it.crm.call("withdraw", "m", "a/1", 5)
    await it.replica(base_url="http://127.0.0.1:9").turn()
    assert it.state("m") == "pending"
    it.crm.call("cancel", "m")
    assert it.state("m") == "cancelled"
