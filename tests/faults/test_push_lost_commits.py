"""A commit whose acknowledgement never arrives, on the wire between daemon and PostgreSQL: each one of a turn, one at a time."""

import pytest

from support.boundary import PROFILE
from support.ctrading import ct_bench
from support.losing import behind_proxy, lose_each_commit


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


@pytest.mark.parametrize("kind", ["deposit", "withdraw"])
async def test_whichever_commit_loses_its_answer_money_moves_once_on_ctrader(database_url, kind):
    async with behind_proxy(database_url, ct_bench) as (it, proxy):
        it.account("p1")

        def ask(number: int) -> str:
            it.crm.call(kind, f"o{number}", "p1/1", 1)
            return f"o{number}"

        asked = await lose_each_commit(it, proxy, database_url, ask)
        assert len(asked) > 4
        assert [(it.state(name), len(it.effects(name))) for name in asked] == [("confirmed", 1)] * len(asked)


async def test_whichever_commit_loses_its_answer_people_are_made_and_linked_once_on_ctrader(database_url):
    async with behind_proxy(database_url, ct_bench) as (it, proxy):

        def ask(number: int) -> str:
            it.crm.call("register", f"r{number}", {"email": f"r{number}@example.org"}, "live", {})
            return f"r{number}"

        asked = await lose_each_commit(it, proxy, database_url, ask)
        assert len(asked) > 6
        assert [(it.state(name), len(it.users(f"{name}@example.org"))) for name in asked] == [("confirmed", 1)] * len(
            asked
        )
        made = [(it.state(f"{name}/1", "link"), len(it.opened_for(f"{name}/1"))) for name in asked]
        assert made == [("confirmed", 1)] * len(asked)
