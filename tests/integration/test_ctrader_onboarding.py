"""A registrant of a cTrader platform: user, account, link, money, in that order and once each."""

import pytest_asyncio

from counterfoil.platforms.ctrader.session import md5
from support.ctrading import ct_bench

PROFILE = {
    "email": "ada@example.org",
    "first_name": "Ada",
    "family_name": "Byron",
    "mobile": "+44123",
    "city": "London",
}


@pytest_asyncio.fixture
async def it(database_url):
    async with ct_bench(database_url) as bench:
        yield bench


async def test_a_registrant_becomes_a_user_with_a_linked_account_and_money_on_it(it):
    told = it.crm.call("register", "ada", PROFILE, "live", {}, 250)
    assert set(told["credentials"]) == {"user_password"}
    replica = it.replica()
    await it.until_quiet(replica)
    assert [it.crm.state(view, name) for view, name in (
        ("registrants", "ada"), ("accounts", "ada/1"), ("operations", "ada/1/deposit"))] == ["confirmed"] * 3  # fmt: skip
    (user,), (trader,) = it.users(PROFILE["email"]), it.opened_for("ada/1")
    assert it.books.links == {**it.books.links, trader.login: user.id}
    assert (trader.balance, trader.access_rights, trader.name, trader.last_name) == (
        25_000,
        "NO_TRADING",
        "Ada",
        "Byron",
    )
    assert trader.password_hash == md5(told["credentials"]["user_password"])
    assert trader.contact["email"] == PROFILE["email"]
    assert [e.path.rpartition("/")[2] for e in it.writes()] == ["create", "traders", "link", "changebalance"]
    (movement,) = it.effects("ada/1/deposit")
    assert (movement.comment, movement.amount) == (movement.external_id, 25_000)
    assert it.owner.rows("SELECT count(*) FROM counterfoil.passwords") == [(0,)]
    assert it.books.check() == []
