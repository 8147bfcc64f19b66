"""Requests other than reads, so many in any hour: counted over all replicas, the last tenth kept for money."""

import asyncio

import pytest

from counterfoil.domain.errors import PausedError
from counterfoil.domain.priority import Priority
from counterfoil.store import engine as engines
from counterfoil.store.allowance import HourlyAllowance
from support.boundary import Owner
from support.ctrading import ct_bench

LATER = "UPDATE counterfoil.writes SET at = at - CAST(%s AS interval)"


@pytest.fixture
async def engine(database_url):
    made = engines.create(database_url)
    yield made
    await made.dispose()


@pytest.fixture
async def another(database_url):
    made = engines.create(database_url)
    yield made
    await made.dispose()


@pytest.fixture
def owner(database_url):
    made = Owner(database_url)
    with made.connection:
        yield made


async def taken(allowance, times, priority=Priority.MONEY):
    """How many of so many requests are allowed, one after the other."""
    allowed = 0
    for _ in range(times):
        try:
            await allowance.take(priority)
        except PausedError:
            continue
        allowed += 1
    return allowed


async def wait(allowance, priority=Priority.MONEY):
    """Seconds that whoever asks is told to wait."""
    with pytest.raises(PausedError) as caught:
        await allowance.take(priority)
    return caught.value.retry_after


# --- the hour ------------------------------------------------------------------------------------------------------------


async def test_two_replicas_count_together(engine, another):
    first, second = HourlyAllowance(engine, "ct", 5), HourlyAllowance(another, "ct", 5)
    assert [await taken(first, 3), await taken(second, 3), await taken(first, 1)] == [3, 2, 0]
    assert 3590 < await wait(second) <= 3600


async def test_replicas_that_ask_at_once_are_allowed_no_more(engine, another):
    both = [HourlyAllowance(each, "ct", 10) for each in (engine, another)]
    allowed = await asyncio.gather(*(taken(each, 4) for each in both * 3))
    assert sum(allowed) == 10


async def test_each_platform_has_its_own(engine):
    assert await taken(HourlyAllowance(engine, "ct", 2), 3) == 2
    assert await taken(HourlyAllowance(engine, "demo", 2), 3) == 2


async def test_the_hour_slides(engine, owner):
    allowance = HourlyAllowance(engine, "ct", 4)
    assert await taken(allowance, 2) == 2
    owner.rows(LATER, "40 min")
    assert await taken(allowance, 4) == 2
    assert 1190 < await wait(allowance) <= 1200
    owner.rows(LATER, "20 min")
    assert await taken(allowance, 4) == 2
    assert 2390 < await wait(allowance) <= 2400


async def test_what_lies_an_hour_back_is_forgotten(engine, owner):
    allowance = HourlyAllowance(engine, "ct", 4)
    await taken(allowance, 4)
    owner.rows(LATER, "60 min")
    await taken(allowance, 1)
    assert owner.value("SELECT count(*) FROM counterfoil.writes") == 1


async def test_a_smaller_number_counts_from_the_next_request_on(engine, owner):
    await taken(HourlyAllowance(engine, "ct", 10), 3)
    owner.rows(LATER, "30 min")
    await taken(HourlyAllowance(engine, "ct", 10), 3)
    smaller = HourlyAllowance(engine, "ct", 2)
    assert 3590 < await wait(smaller) <= 3600
    assert 1790 < await wait(HourlyAllowance(engine, "ct", 5)) <= 1800


# --- money ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("per_hour", "others"), [(20, 18), (10, 9), (9, 9), (1, 1), (105, 95)])
async def test_the_last_tenth_is_moneys(engine, per_hour, others):
    allowance = HourlyAllowance(engine, "ct", per_hour)
    assert await taken(allowance, per_hour + 1, Priority.OPEN) == others
    assert await taken(allowance, per_hour + 1) == per_hour - others


async def test_what_is_no_money_waits_until_more_than_a_tenth_is_left(engine, owner):
    allowance = HourlyAllowance(engine, "ct", 20)
    await taken(allowance, 5)
    owner.rows(LATER, "50 min")
    await taken(allowance, 14)
    assert 590 < await wait(allowance, Priority.OPEN) <= 600
    assert await taken(allowance, 2) == 1
    assert 590 < await wait(allowance) <= 600


async def test_money_alone_may_use_the_whole_hour(engine):
    assert await taken(HourlyAllowance(engine, "ct", 20), 21) == 20


# --- the platform's own word ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("told", "waited"), [(120.0, 120), (None, 300), (0.0, 300), (99_999.0, 3600)])
async def test_a_pause_that_the_platform_tells_holds_for_all_replicas(engine, another, told, waited):
    await HourlyAllowance(engine, "ct", 1000).exhausted(told)
    for each in (engine, another):
        for priority in (Priority.MONEY, Priority.OPEN):
            assert waited - 10 < await wait(HourlyAllowance(each, "ct", 1000), priority) <= waited
    assert await taken(HourlyAllowance(engine, "demo", 1000), 1) == 1


async def test_after_the_pause_it_goes_on(engine, owner):
    allowance = HourlyAllowance(engine, "ct", 1000)
    await allowance.exhausted(60)
    owner.rows("UPDATE counterfoil.platform_state SET writes_paused_until = clock_timestamp()")
    assert await taken(allowance, 1) == 1


async def test_the_longer_of_pause_and_hour_counts(engine, owner):
    allowance = HourlyAllowance(engine, "ct", 2)
    await taken(allowance, 2)
    owner.rows(LATER, "50 min")
    await allowance.exhausted(60)
    assert 590 < await wait(allowance) <= 600
    await allowance.exhausted(1800)
    assert 1790 < await wait(allowance) <= 1800


async def test_times_that_lie_ahead_were_written_before_the_clock_was_set_back(engine, owner):
    allowance = HourlyAllowance(engine, "ct", 2)
    await taken(allowance, 2)
    await allowance.exhausted(3000)
    owner.rows(LATER, "-3 h")
    owner.rows("UPDATE counterfoil.platform_state SET writes_paused_until = writes_paused_until + interval '3 h'")
    assert await taken(allowance, 3) == 2


async def test_a_refusal_says_what_to_look_at(engine):
    allowance = HourlyAllowance(engine, "ct", 1)
    await taken(allowance, 1)
    with pytest.raises(
        PausedError,
        match=r"platform ct is sent nothing but reads for .* the hour's 1 other requests are used up .*writes_per_hour",
    ):
        await allowance.take(Priority.MONEY)


# --- in the write path ---------------------------------------------------------------------------------------------------


@pytest.fixture
async def it(database_url):
    async with ct_bench(database_url) as bench:
        yield bench


async def hours_later(it, hours, *, per_hour):
    """What is done in the next hours, on our clock and on the platform's."""
    for _ in range(hours):
        it.owner.rows(LATER, "60 min")
        it.owner.rows("UPDATE counterfoil.platform_state SET writes_paused_until = NULL")
        it.sandbox.platform._writes.clear()
        it.hurry()
        replica = it.replica(per_hour=per_hour, places=1)
        for _ in range(9):
            await replica.turn()
            it.payouts_are_covered()


def states(it):
    return [state for (state,) in it.owner.rows("SELECT state FROM crm.operations ORDER BY requested_at, reference")]


async def test_what_is_too_much_for_one_hour_goes_in_the_next_ones_and_nothing_is_refused(it):
    for number in range(7):
        it.account(f"p{number}")
        it.crm.call("deposit", f"p{number}/m", f"p{number}/1", 5)
    replica = it.replica(per_hour=4, places=1)
    for _ in range(9):
        await replica.turn()
    # One of the hour went to the login.
    assert states(it).count("confirmed") == 3
    assert set(states(it)) == {"confirmed", "pending"}
    assert it.owner.value("SELECT max(failures) FROM counterfoil.intents") == 0
    assert len(it.writes()) == 3
    await it.mirror()
    await hours_later(it, 2, per_hour=4)
    assert states(it) == ["confirmed"] * 7
    assert all(len(it.effects(f"p{number}/m")) == 1 for number in range(7))


async def test_what_the_platform_refuses_for_its_hour_is_sent_later(database_url):
    async with ct_bench(database_url, writes_per_hour=4) as it:
        for number in range(6):
            it.account(f"p{number}")
            it.crm.call("withdraw", f"p{number}/m", f"p{number}/1", 5)
        replica = it.replica(per_hour=1000, places=1)
        for _ in range(9):
            await replica.turn()
        # Two of its hour went to logins: the mirror's and ours.
        assert states(it).count("confirmed") == 2
        assert set(states(it)) == {"confirmed", "pending"}
        assert it.owner.value("SELECT writes_paused_until > clock_timestamp() FROM counterfoil.platform_state") is True
        assert len([entry for entry in it.writes() if entry.status == 429]) == 1
        await it.mirror()
        await hours_later(it, 2, per_hour=1000)
        assert states(it) == ["confirmed"] * 6
        assert it.owner.rows("SELECT DISTINCT state FROM crm.payouts") == [("releasable",)]


async def test_money_goes_on_while_everything_else_waits_for_the_hour(it):
    it.account("a")
    for number in range(9):
        it.crm.call("register", f"r{number}", {"email": f"r{number}@example.org"}, "live")
    it.owner.rows("INSERT INTO counterfoil.writes (platform) SELECT 'live' FROM generate_series(1, 18)")
    replica = it.replica(per_hour=20, places=1)
    await replica.turn()
    assert it.crm.state("registrants", "r0") == "pending"
    it.crm.call("deposit", "m", "a/1", 5)
    for _ in range(10):
        await replica.turn()
    assert (it.state("m"), it.reason("m")) == ("confirmed", "None")
    assert {it.crm.state("registrants", f"r{number}") for number in range(9)} == {"pending"}
    assert it.owner.value("SELECT max(failures) FROM counterfoil.intents") == 0
