"""Full listings: what vanishes, what comes back, and what is never believed."""

import pytest

from counterfoil.pull import vanished
from counterfoil.pull.puller import Result
from support.pulling import Bench, bench, one_pass, said, until_done


async def pulled(it: Bench, *resources: str, **options):
    """A replica that has read these once."""
    puller = it.puller(**options)
    assert await one_pass(puller, *resources) == {}
    return puller


def tombstones(it: Bench, table: str) -> list[int]:
    """Ids of the rows that the mirror says are deleted."""
    return [row.id for row in it.rows(f"SELECT id FROM mirror.{table} WHERE deleted_at IS NOT NULL ORDER BY id")]


def held(it: Bench) -> int:
    """Rows that wait for a person."""
    return it.rows("SELECT count(*) AS n FROM counterfoil.vanished WHERE state = 'held'")[0].n


@pytest.mark.parametrize("table", ["clients", "groups"])
async def test_a_row_that_is_gone_gets_a_tombstone_once_the_platform_says_so_by_its_id(database_url, table):
    async with bench(database_url) as it:
        puller = await pulled(it, table)
        gone = it.books.table(table).ids[3]
        it.books.delete(table, gone)
        it.forget_requests()
        await one_pass(puller, table)
        assert tombstones(it, table) == [gone]
        assert it.differences(table) == []
        assert sum(path.endswith(f"/{gone}?") for path in it.asked()) == 1


async def test_a_row_that_cannot_be_asked_for_gets_its_tombstone_at_the_second_look(database_url):
    async with bench(database_url) as it:
        puller = await pulled(it, "groups", "symbols", "commissions")
        gone = it.books.commissions.ids[3]
        it.books.delete("commissions", gone)
        await one_pass(puller, "commissions")
        assert tombstones(it, "commissions") == []
        await one_pass(puller, "commissions")
        assert tombstones(it, "commissions") == [gone]
        assert it.differences("commissions") == []


async def test_a_row_that_is_back_before_the_second_look_begins_anew(database_url):
    async with bench(database_url) as it:
        puller = await pulled(it, "groups", "commissions")
        table = it.books.commissions
        row = table.remove(table.ids[3])
        await one_pass(puller, "commissions")
        table.add(row)
        await one_pass(puller, "commissions")
        table.remove(row.id)
        await one_pass(puller, "commissions")
        assert tombstones(it, "commissions") == []


async def test_a_row_that_reappears_after_its_tombstone_is_there_again(database_url):
    async with bench(database_url) as it:
        puller = await pulled(it, "clients")
        row = it.books.clients.remove(it.books.clients.ids[3])
        await one_pass(puller, "clients")
        it.books.clients.add(row)
        await one_pass(puller, "clients")
        assert tombstones(it, "clients") == []
        assert it.differences("clients") == []


async def test_a_group_that_is_gone_takes_along_what_it_held_and_stops_nobody_else(database_url):
    async with bench(database_url) as it:
        puller = await pulled(it, "groups", "commissions")
        gone = next(row.id for row in it.books.groups if it.books.trading_groups.get(row.id))
        for row in [row.id for row in it.books.commissions if row.fields["group_id"] == gone]:
            it.books.commissions.remove(row)
        it.books.groups.remove(gone)
        assert await one_pass(puller, "commissions", "commissions") == {}
        assert await one_pass(puller, "commissions") == {}
        assert it.differences("commissions") == []


# --- too much at once -----------------------------------------------------------------------------------------------


async def test_more_than_a_fifth_and_more_than_ten_rows_at_once_are_held_back_and_said_once(database_url):
    async with bench(database_url, clients=40) as it:
        puller = await pulled(it, "clients")
        it.sandbox.faults.set({"kind": "vanish", "fraction": 0.5, "path": "/clients"})
        with said() as lines:
            for _ in range(3):
                assert await one_pass(puller, "clients") == {}
        assert len(lines("deletions.held_back")) == 1
        assert tombstones(it, "clients") == []
        assert held(it) == lines("deletions.held_back")[0]["vanished"] > 10
        it.sandbox.faults.clear()
        await one_pass(puller, "clients")
        assert held(it) == 0
        assert it.differences("clients") == []


@pytest.mark.parametrize(
    ("clients", "gone", "kept"), [(40, 11, True), (40, 10, False), (60, 12, False), (60, 13, True)]
)
async def test_the_bound_is_more_than_a_fifth_and_more_than_ten(database_url, clients, gone, kept):
    async with bench(database_url, clients=clients, accounts=0, deals=0) as it:
        puller = await pulled(it, "clients")
        for key in it.books.clients.ids[:gone]:
            it.books.clients.remove(key)
        await one_pass(puller, "clients")
        assert (tombstones(it, "clients") == []) is kept


async def test_what_is_held_back_is_released_by_a_person_for_the_table_that_was_named(database_url):
    async with bench(database_url, clients=40, accounts=40, deals=0) as it:
        puller = await pulled(it, "clients", "accounts")
        for table in (it.books.clients, it.books.accounts):
            for key in table.ids[:20]:
                table.remove(key)
        await one_pass(puller, "clients", "accounts")
        assert held(it) == 40
        with said() as lines:
            await one_pass(puller, "clients", "accounts", full=True, accepted=frozenset({"clients"}))
        assert (len(tombstones(it, "clients")), len(tombstones(it, "accounts"))) == (20, 0)
        assert [(line["resource"], line["deleted"]) for line in lines("deletions.accepted")] == [("clients", 20)]
        assert held(it) == 20
        assert it.differences("clients") == []


async def test_not_all_that_is_missing_is_asked_for_in_one_run_and_the_rest_not_forgotten(database_url, monkeypatch):
    monkeypatch.setattr(vanished, "MOST_QUESTIONS", 2)
    async with bench(database_url) as it:
        puller = await pulled(it, "clients")
        for key in it.books.clients.ids[:5]:
            it.books.clients.remove(key)
        for done in (2, 4, 5):
            await one_pass(puller, "clients")
            assert len(tombstones(it, "clients")) == done


# --- incomplete listings --------------------------------------------------------------------------------------------


INCOMPLETE = [
    {"kind": "short_page", "rows": 1},
    {"kind": "short_page", "rows": 5},
    {"kind": "short_page", "rows": 20, "every": 2},
    {"kind": "vanish", "fraction": 0.3},
    {"kind": "cap", "rows": 30},
    {"kind": "cap", "rows": 31},
    {"kind": "error_before", "status": 500, "every": 2},
    {"kind": "truncated", "every": 2},
    {"kind": "same_page"},
]


@pytest.mark.parametrize(
    ("table", "fault"),
    [
        *(("clients", fault) for fault in INCOMPLETE),
        *(("group_symbols", fault) for fault in (INCOMPLETE[0], INCOMPLETE[6])),
    ],
)
async def test_nothing_is_declared_deleted_by_an_incomplete_listing(database_url, table, fault):
    async with bench(database_url, clients=40, accounts=0, deals=0) as it:
        puller = await pulled(it, "groups", "symbols", table, page_size=25)
        it.sandbox.faults.set({**fault, "path": "/clients$|/symbols$"})
        for _ in range(3):
            await until_done(puller, table, wait=True)
        assert tombstones(it, table) == []
        it.sandbox.faults.clear()
        assert await one_pass(puller, table, wait=True) == {}
        assert it.differences(table) == []


async def test_a_few_rows_that_one_short_page_leaves_out_are_not_believed_to_be_gone_however_often(database_url):
    async with bench(database_url, accounts=0, deals=0) as it:
        puller = await pulled(it, "groups", "symbols", "group_symbols")
        it.sandbox.faults.set({"kind": "short_page", "rows": 5, "path": "/groups/10/symbols$"})
        for _ in range(3):
            await until_done(puller, "group_symbols", wait=True)
        assert tombstones(it, "group_symbols") == []


async def test_a_listing_cut_off_at_a_number_of_rows_fails_and_says_so(database_url):
    async with bench(database_url, clients=40, accounts=0, deals=0) as it:
        it.sandbox.faults.set({"kind": "cap", "rows": 30, "path": "/clients$"})
        puller = it.puller()
        with said() as lines:
            assert await until_done(puller, "clients") is Result.FAILED
        assert [line["rows"] for line in lines("listing.capped")] == [30]
        assert "only up to 30 rows" in lines("pull.failed")[0]["reason"].args[0]


async def test_a_round_number_of_rows_alone_is_no_cut_off(database_url):
    async with bench(database_url, clients=40, accounts=0, deals=0) as it:
        puller = it.puller()
        with said() as lines:
            assert await one_pass(puller, "clients") == {}
        assert lines("listing.capped") == []
        # The page, whether another follows, and whether the newest client is among them.
        assert len(it.asked()) == 3
        it.forget_requests()
        await one_pass(puller, "clients")
        assert len(it.asked()) == 2


@pytest.mark.parametrize(("action", "ahead"), [("delete", 4), ("insert", 1)])
async def test_clients_are_not_skipped_when_the_listing_shifts_while_being_read(database_url, action, ahead):
    async with bench(database_url, clients=100, accounts=0, deals=0) as it:
        puller = it.puller(page_size=15, ahead=ahead)
        it.sandbox.faults.set({"kind": "shift", "action": action, "path": "/clients$", "times": 5})
        assert await one_pass(puller, "clients") == {}
        it.sandbox.faults.clear()
        assert await one_pass(puller, "clients") == {}
        assert it.differences("clients") == []


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "ignore_sort"},
        {"kind": "bare_list"},
        {"kind": "null_empty"},
        {"kind": "shuffle_fields"},
        {"kind": "password_leak"},
        {"kind": "overlap_page", "rows": 3},
        {"kind": "duplicate_rows", "rows": 3},
        {"kind": "ignore_limit", "limit": 11},
    ],
)
async def test_habits_of_a_server_change_nothing_in_the_mirror(database_url, fault):
    read = ("symbols", "clients", "accounts", "deals", "transactions")
    async with bench(database_url, clients=40, deals=60) as it:
        puller = it.puller(page_size=25)
        it.sandbox.faults.set(fault)
        for _ in range(2):
            assert await one_pass(puller, *read) == {}
            assert it.differences(*read) == []
            it.books.trade()


async def test_groups_that_come_inside_their_parents_are_rows_all_the_same(database_url):
    async with bench(database_url) as it:
        it.sandbox.faults.set({"kind": "nested_groups"})
        puller = it.puller()
        for _ in range(2):
            assert await one_pass(puller, "groups") == {}
            assert [row.id for row in it.rows("SELECT id FROM mirror.groups ORDER BY id")] == it.books.groups.ids
