"""The mirror of a cTrader platform is what its books are, field by field; and what has not changed costs nothing."""

import asyncio

import pytest

from counterfoil.pull import puller as pulls
from counterfoil.pull import spans
from counterfoil.pull.puller import Result, Wish
from support.ctrader_pulling import READ, mirror_bench, polls
from support.pulling import one_pass, said, until_done


@pytest.fixture(autouse=True)
def positions_are_known_at_once(monkeypatch):
    """What was opened and closed between two polls appears with the next poll, not a minute later."""
    monkeypatch.setattr(spans, "_KNOWN_AFTER", spans.timedelta(0))


@pytest.mark.parametrize("filter_on", ["close", "open"])
@pytest.mark.parametrize("seed", [7, 8])
async def test_the_mirror_equals_the_books_after_a_first_pass_and_after_every_round(database_url, filter_on, seed):
    async with mirror_bench(database_url, accounts=26, filter_on=filter_on, seed=seed) as it:
        puller = it.puller()
        assert await one_pass(puller, *READ) == {}
        assert it.differences() == []
        currencies = {trader.currency for trader in it.books.traders.values()}
        assert ({"BTC", "EUR", "USD"} <= currencies, len(it.books.positions) > 5) == (True, True)
        assert any(trader.owner for trader in it.books.traders.values())
        for _ in range(3):
            it.books.trade(4)
            assert await polls(puller) == {}
            assert await one_pass(puller, "subaccounts", full=True) == {}
            assert it.differences() == []
        assert it.books.check() == []


async def test_a_past_of_400_days_arrives_whole(database_url):
    async with mirror_bench(database_url, days=400, deals=320) as it:
        assert await one_pass(it.puller(), *READ) == {}
        assert it.differences() == []
        assert len(it.asked("closedPositions")) in range(199, 203)


async def test_what_has_not_changed_is_not_written_and_costs_one_request_a_list_and_one_for_deals(database_url):
    async with mirror_bench(database_url) as it:
        puller = it.puller()
        assert await one_pass(puller, *READ) == {}
        assert await polls(puller) == {}
        for other in (puller, it.puller()):
            await one_pass(other, *READ)
            version, written, cursors = it.versions(), it.written(), it.rows("SELECT * FROM counterfoil.cursors")
            it.forget_requests()
            assert await one_pass(other, *READ) == {}
            assert sorted(path.partition("?")[0].rpartition("webserv/")[2] for path in it.asked()) == [
                "closedPositions", "depositAssets", "openPositions", "symbols", "tradergroups", "traders/",
            ]  # fmt: skip
            assert (it.versions(), it.rows("SELECT * FROM counterfoil.cursors")) == (version, cursors)
            assert it.written() == written


async def test_new_changed_and_vanished_traders(database_url):
    async with mirror_bench(database_url) as it:
        puller = it.puller()
        await one_pass(puller, *READ)
        gone, changed, *_ = it.books.traders
        new = it.books.add_trader(
            currency="BTC", name="O'\"Neill,\n\\.\nnull", contact={"city": "Łódź", "countryId": 616}
        )
        it.books.move_money(new.login, 150_000_001, "DEPOSIT")
        it.books.touch("traders", changed)
        it.books.vanish(gone)
        with said() as lines:
            assert await one_pass(puller, "accounts") == {}
        assert it.differences("accounts") == []
        assert it.rows("SELECT deleted_at IS NULL AS there FROM mirror.accounts WHERE id = %s", gone)[0].there is False
        assert [line["deleted"] for line in lines("pull.finished")] == [1]
        row = it.rows("SELECT balance::text AS balance, first_name FROM mirror.accounts WHERE id = %s", new.login)[0]
        assert (row.balance, row.first_name) == ("1.50000001", "O'\"Neill,\n\\.\nnull")


async def test_an_account_that_is_gone_takes_its_open_positions_with_it(database_url):
    async with mirror_bench(database_url) as it:
        puller = it.puller()
        login = next(iter(it.books.traders))
        held = it.books.open_position(login, "EURUSD", 0, 100_000).id
        await one_pass(puller, *READ)
        it.books.vanish(login)
        await one_pass(puller, "accounts", "positions")
        state = "SELECT status, deleted_at IS NULL AS there FROM mirror.positions WHERE id = %s"
        assert it.rows(state, held) == [(0, False)]
        others = "SELECT count(*) AS n FROM mirror.positions WHERE deleted_at IS NOT NULL AND account_id <> %s"
        assert it.rows(others, login)[0].n == 0


async def test_a_trader_that_comes_back_loses_its_tombstone(database_url):
    async with mirror_bench(database_url) as it:
        puller = it.puller()
        login = next(iter(it.books.traders))
        await one_pass(puller, "groups", "accounts")
        trader = it.books.traders.pop(login)
        await one_pass(puller, "accounts")
        assert it.differences("accounts") == []
        it.books.traders[login] = trader
        await one_pass(puller, "accounts")
        assert it.differences("accounts") == []


async def test_many_traders_that_vanish_at_once_are_held_until_a_person_agrees(database_url):
    async with mirror_bench(database_url, accounts=30) as it:
        puller = it.puller()
        await one_pass(puller, "accounts")
        it.sandbox.faults.set({"kind": "vanish", "fraction": 0.6, "path": "/traders/$"})
        with said() as lines:
            await one_pass(puller, "accounts")
            await one_pass(puller, "accounts")
        assert ([line["resource"] for line in lines("deletions.held_back")], it.differences("accounts")) == (
            ["accounts"],
            [],
        )


async def test_a_page_of_a_gateway_does_not_bury_a_trader(database_url):
    async with mirror_bench(database_url) as it:
        puller = it.puller()
        await one_pass(puller, "accounts")
        login = next(iter(it.books.traders))
        it.sandbox.faults.set(
            [
                {"kind": "vanish", "fraction": 0.1, "path": "/traders/$"},
                {"kind": "html", "status": 404, "path": f"/{login}$"},
            ]
        )
        it.sandbox.faults.set(
            [{"kind": "short_page", "rows": len(it.books.traders) - 1, "path": "/traders/$"},
             {"kind": "html", "status": 404, "path": "/traders/[0-9]+$"}]
        )  # fmt: skip
        assert await puller.run("accounts") is Result.FAILED
        it.sandbox.faults.clear()
        assert it.differences("accounts") == []


@pytest.mark.parametrize("chunk", [2, 5, 7])
async def test_chunks_lose_nobody_and_double_nobody_though_several_came_in_one_millisecond(database_url, chunk):
    async with mirror_bench(database_url, accounts=40, chunk=chunk, deals=0) as it:
        puller = it.puller()
        moments = [trader.registered_at for trader in it.books.traders.values()]
        assert len(set(moments)) < len(moments)
        for at in range(0, len(moments) - 1, 5):
            list(it.books.traders.values())[at].registered_at = moments[at + 1]
        with said() as lines:
            result = await one_pass(puller, "groups", "accounts")
        if chunk == 2:
            # Two in one millisecond fill the chunk: nobody can tell whether there is a third.
            assert result == {"accounts": Result.FAILED}
            assert "within one millisecond" in str(lines("pull.failed")[0]["reason"])
            return
        assert (result, it.differences("accounts")) == ({}, [])
        assert lines("pull.finished")[1]["inserted"] == len(moments)
        version = it.versions()
        assert (await one_pass(puller, "accounts"), it.versions()) == ({}, version)


async def test_more_than_a_chunk_in_one_millisecond_is_said_and_deletes_nobody(database_url):
    async with mirror_bench(database_url, accounts=12, deals=0, chunk=4) as it:
        puller = it.puller()
        assert await one_pass(puller, "groups", "accounts") == {}
        for trader in list(it.books.traders.values())[3:9]:
            trader.registered_at = 1_700_000_000_123
        with said() as lines:
            assert await puller.run("accounts") is Result.FAILED
        assert "more traders were registered within one millisecond" in str(lines("pull.failed")[0]["reason"])
        assert it.rows("SELECT count(*) AS held FROM mirror.accounts WHERE deleted_at IS NULL")[0].held == len(
            it.books.traders
        )


@pytest.mark.parametrize("fault", [{"kind": "column_order"}, {"kind": "json_positions"}, {"kind": "shuffle_fields"}])
async def test_every_order_and_form_of_the_tables_gives_the_same_mirror(database_url, fault):
    async with mirror_bench(database_url) as it:
        puller = it.puller()
        it.sandbox.faults.set({**fault, "path": "Positions$"})
        assert await one_pass(puller, *READ) == {}
        assert it.differences() == []
        version = it.versions()
        it.sandbox.faults.clear()
        assert await one_pass(it.puller(), *READ) == {}
        assert it.versions() == version


async def test_a_symbol_that_came_later_is_named_when_it_is_known(database_url, monkeypatch):
    monkeypatch.setattr("counterfoil.platforms.ctrader.client.NAMES_AGE", 0.0)
    async with mirror_bench(database_url) as it:
        puller = it.puller()
        it.sandbox.faults.set({"kind": "short_page", "rows": 2, "path": "/symbols$"})
        assert await one_pass(puller, *READ) == {}
        assert any("symbol_id is None" in wrong for wrong in it.differences("deals"))
        it.sandbox.faults.clear()
        assert await one_pass(puller, "symbols", "positions", "deals", "sweep", full=True) == {}
        assert it.differences("deals") == []


# Sub-accounts


async def test_sub_accounts_that_cannot_be_read_stop_no_others(database_url):
    async with mirror_bench(database_url) as it:
        puller = it.puller()
        await one_pass(puller, "groups", "accounts")
        poisoned = min(it.books.traders)
        it.sandbox.faults.set({"kind": "error_before", "status": 422, "path": f"/{poisoned}/subaccounts$"})
        with said() as lines:
            assert await puller.run("subaccounts") is Result.FAILED
        assert ("HTTP 422" in str(lines("pull.failed")[0]["reason"]), len(lines("pull.failed"))) == (True, 1)
        assert it.differences("subaccounts") == [f"subaccounts {poisoned} is missing"]
        it.sandbox.faults.clear()
        assert await until_done(puller, "subaccounts", wait=True) is Result.DONE
        assert it.differences("subaccounts") == []


async def test_a_platform_that_answers_for_nobody_is_left_alone_after_a_few(database_url):
    async with mirror_bench(database_url, accounts=40) as it:
        puller = it.puller()
        await one_pass(puller, "groups", "accounts")
        it.forget_requests()
        it.sandbox.faults.set({"kind": "error_before", "status": 500, "path": "/subaccounts$"})
        assert await puller.run("subaccounts") is Result.FAILED
        assert len(it.asked("subaccounts")) < 15


async def test_asking_all_for_their_sub_accounts_ends_however_long_it_takes(database_url):
    async with mirror_bench(database_url) as it:
        puller = it.puller(slice=0.0)
        await one_pass(puller, "groups", "accounts", "subaccounts")
        it.forget_requests()
        assert await puller.run("subaccounts", Wish(full=True)) is Result.DONE
        assert len(it.asked("subaccounts")) == len(it.books.traders)


# Replicas


async def test_two_replicas_at_once_share_the_work_and_write_one_mirror(database_url, monkeypatch):
    monkeypatch.setattr(pulls, "TAKE_OVER_POLL", 0.01)
    async with mirror_bench(database_url) as it:
        both = [it.puller(slice=0.0) for _ in range(2)]
        assert await one_pass(both[0], "symbols", "groups", "accounts") == {}
        for _ in range(4):
            runs = [puller.run(name, Wish(wait=True)) for name in READ for puller in both]
            results = set(await asyncio.gather(*runs))
            assert results <= {Result.DONE, Result.MORE, Result.BUSY}
            it.books.trade(2)
        for puller in both:
            assert await polls(puller) == {}
            assert await one_pass(puller, *READ, full=True) == {}
        assert it.differences() == []


async def test_positions_that_were_over_come_too_where_the_open_ones_were_read_last(database_url):
    async with mirror_bench(database_url) as it:
        puller = it.puller(slice=0.0)
        assert await one_pass(puller, "symbols", "groups", "accounts", "deals") == {}
        assert it.rows("SELECT count(*) AS held FROM mirror.positions")[0].held == 0
        assert await one_pass(puller, "positions", "deals") == {}
        assert it.differences("positions", "deals") == []
        version = it.versions()
        assert (await one_pass(puller, "positions", "deals"), it.versions()) == ({}, version)
