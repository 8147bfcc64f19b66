"""A commit whose acknowledgement never arrives, on the wire between daemon and PostgreSQL: each one of a turn, one at a time."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from counterfoil.store import Unreachable
from support.boundary import PROFILE
from support.proxy import Proxy
from support.pushing import PushBench, push_bench

# More than the commits of one turn with its attempt.
MOST_COMMITS = 14


@asynccontextmanager
async def behind_proxy(url: str) -> AsyncIterator[tuple[PushBench, Proxy]]:
    async with push_bench(url) as it:
        proxy = Proxy(url)
        await proxy.start()
        try:
            yield it, proxy
        finally:
            await proxy.stop()


async def lose_each_commit(it: PushBench, proxy: Proxy, url: str, ask) -> list[str]:
    """Ask for something new once per commit of a turn, lose that commit's answer, and let another replica go on."""
    asked = []
    for number in range(1, MOST_COMMITS + 1):
        asked.append(ask(number))
        proxy.lost = 0
        proxy.lose_answer_to(b"COMMIT", number)
        it.pull.url = proxy.url
        victim = it.replica()
        it.pull.url = url
        for _ in range(2):
            with suppress(*Unreachable):
                await victim.pusher.turn()
            await victim.rest()
        await victim.abandon()
        proxy.lose_answer_to(b"COMMIT", 0)
        await it.until_quiet(it.replica(), it.payouts_are_covered)
        if not proxy.lost:
            return asked
    return asked


@pytest.mark.parametrize("kind", ["deposit", "withdraw"])
async def test_whichever_commit_loses_its_answer_money_moves_once(database_url, kind):
    async with behind_proxy(database_url) as (it, proxy):
        it.account("p1")

        def ask(number: int) -> str:
            it.crm.call(kind, f"o{number}", "p1/1", 1)
            return f"o{number}"

        asked = await lose_each_commit(it, proxy, database_url, ask)
        assert len(asked) > 4
        assert [(it.state(name), len(it.effects(name))) for name in asked] == [("confirmed", 1)] * len(asked)


async def test_whichever_commit_loses_its_answer_people_and_accounts_are_made_once(database_url):
    async with behind_proxy(database_url) as (it, proxy):

        def ask(number: int) -> str:
            it.crm.call("register", f"r{number}", PROFILE, "live", {})
            return f"r{number}"

        asked = await lose_each_commit(it, proxy, database_url, ask)
        assert len(asked) > 6
        assert [(it.state(name), len(it.clients(name))) for name in asked] == [("confirmed", 1)] * len(asked)
        made = [(it.state(f"{name}/1"), len(it.accounts(it.username(f"{name}/1")))) for name in asked]
        assert made == [("confirmed", 1)] * len(asked)
