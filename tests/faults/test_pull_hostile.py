"""A broken or hostile platform: a bounded effort, a word about it, and never a wrong row."""

import json

import pytest

from counterfoil.pull import reading
from counterfoil.pull.puller import Result
from support.platform_truth import mirrored, truth
from support.pulling import DEALS, Bench, bench, one_pass, said, until_done

PATHS = {"clients": "/clients", "deals": DEALS, "transactions": "/transactions"}


def wrong_rows(it: Bench, *tables: str) -> list[int]:
    """Rows of the mirror that the books do not know, or know otherwise; missing ones are not wrong."""
    wrong = []
    for table in tables:
        true = truth(it.books, table)
        for key, row in mirrored(it.url, table).items():
            if key not in true or any(row[name] != value for name, value in true[key].items()):
                wrong.append(key)
    return wrong


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "html"},
        {"kind": "wrong_shape", "value": "[1,2,3,4,5,6,7,8,9,10,11,12]"},
        {
            "kind": "wrong_shape",
            "value": json.dumps([{"id": key, "status": "x", "entry": "x"} for key in range(1, 13)]),
        },
        {"kind": "wrong_shape", "value": "[" * 5_000 + "]" * 5_000},
        {"kind": "truncated"},
        {"kind": "truncated", "announce": True},
        {"kind": "huge", "size": 40_000_000},
        {"kind": "success_false", "code": 500},
        {"kind": "forbid"},
        {"kind": "drop_after"},
        {"kind": "same_page"},
    ],
    ids=lambda fault: "-".join(str(value)[:20] for value in fault.values()),
)
async def test_an_answer_that_is_none_fails_the_run_with_a_word_and_moves_nothing(database_url, fault):
    async with bench(database_url, clients=40, deals=60) as it:
        puller = it.puller(page_size=25)
        assert await one_pass(puller, "symbols", "clients", "deals") == {}
        it.books.trade()
        cursor = it.cursor("deals")
        # Not the two rows that tell where a history ends, which are too few to be wrong in most of these ways.
        it.sandbox.faults.set([{**fault, "path": path + "$"} for path in ("/clients", DEALS)])
        with said() as lines:
            for resource in ("clients", "deals"):
                result = await until_done(puller, resource)
                assert result is Result.FAILED or (resource, fault["kind"]) == ("deals", "same_page")
        assert len(lines("pull.failed")) >= 1
        if fault["kind"] != "same_page":
            assert it.cursor("deals") == cursor
        assert wrong_rows(it, "deals") == []
        assert len(it.asked()) < 60
        it.sandbox.faults.clear()
        assert await one_pass(puller, "clients", "deals", wait=True) == {}
        assert it.differences("clients", "deals") == []


@pytest.mark.parametrize(
    ("table", "field", "value"),
    [
        ("clients", "status", '"seven"'),
        ("clients", "birth_date", '"2025-02-30"'),
        ("clients", "net_worth", "NaN"),
        ("clients", "net_worth", "9" * 140),
        ("clients", "first_name", r'"nul \u0000"'),
        ("deals", "profit", '"12.50"'),
        ("transactions", "amount", '"much"'),
    ],
)
async def test_a_record_that_cannot_be_read_goes_to_quarantine_and_the_rest_stays(database_url, table, field, value):
    async with bench(database_url) as it:
        puller = it.puller(page_size=50)
        bad = it.books.table(table).ids[2] if table != "transactions" else None
        path = PATHS[table] + ("" if table == "transactions" else "$")
        it.sandbox.faults.set(
            {"kind": "malformed_record", "field": field, "value": value, "row": 0 if bad is None else 2, "path": path}
        )
        if table == "deals":
            it.sandbox.faults.set([])
            await one_pass(puller, "symbols")
            row = it.books.deals.rows[bad]
            row.json = row.render().replace(f'"{field}":'.encode(), f'"{field}":{value},"was":'.encode())
        with said() as lines:
            assert await one_pass(puller, "accounts", table) == {}
        kept = it.rows("SELECT record_id, reason FROM counterfoil.quarantine WHERE resource = %s", table)
        assert kept
        assert lines("record.quarantined")[0]["reason"] == kept[0].reason
        if bad is not None:
            assert it.differences(table) == [f"{table} {bad} is missing"]
            assert [row.record_id for row in kept] == [str(bad)]
        assert wrong_rows(it, table) == []


async def test_a_record_that_becomes_unreadable_is_there_all_the_same_and_not_deleted(database_url):
    async with bench(database_url) as it:
        puller = it.puller()
        await one_pass(puller, "clients")
        it.sandbox.faults.set(
            {"kind": "malformed_record", "field": "status", "value": '"x"', "row": 2, "path": "/clients"}
        )
        it.forget_requests()
        with said() as lines:
            for _ in range(3):
                assert await one_pass(puller, "clients") == {}
        assert it.differences("clients") == []
        assert len(lines("record.quarantined")) == 1
        assert all("?page" in path for path in it.asked())


@pytest.mark.parametrize("value", [None, '"12"', "12345678901234567890123"])
async def test_a_record_without_an_id_proves_no_absence(database_url, value):
    async with bench(database_url) as it:
        puller = it.puller()
        await one_pass(puller, "groups", "commissions")
        it.sandbox.faults.set(
            {"kind": "malformed_record", "field": "id", "value": value, "row": 1, "path": "/commissions"}
        )
        for _ in range(3):
            await one_pass(puller, "commissions")
        missing = it.differences("commissions")
        assert missing == [] or value == "12345678901234567890123"
        it.sandbox.faults.clear()
        assert await one_pass(puller, "commissions") == {}
        assert it.differences("commissions") == []


async def test_pages_without_end_are_a_bounded_effort(database_url, monkeypatch):
    monkeypatch.setattr(reading, "MOST_PAGES", 20)
    async with bench(database_url) as it:
        puller = it.puller(page_size=50)
        it.sandbox.faults.set({"kind": "endless_pages", "path": "/clients$"})
        assert await until_done(puller, "clients") is Result.FAILED
        assert len(it.asked()) < 30
        it.sandbox.faults.clear()
        it.forget_requests()
        assert await one_pass(puller, "clients", wait=True, accepted=frozenset({"clients"})) == {}
        assert it.differences("clients") == []


async def test_a_history_without_end_is_read_to_the_row_that_is_the_newest(database_url):
    async with bench(database_url, deals=170) as it:
        it.sandbox.faults.set({"kind": "endless_pages", "path": DEALS})
        puller = it.puller(page_size=50)
        await one_pass(puller, "symbols", "deals")
        assert {row.id for row in it.rows("SELECT id FROM mirror.deals")} >= set(it.books.deals.ids)
        assert len(it.asked()) < 40


@pytest.mark.parametrize("status", [500, 429, 401])
async def test_one_resource_that_fails_keeps_no_other_waiting_and_is_left_alone_for_a_while(database_url, status):
    async with bench(database_url) as it:
        puller = it.puller()
        it.sandbox.faults.set({"kind": "error_before", "status": status, "path": "/clients$"})
        assert await puller.run("clients") is Result.FAILED
        assert await puller.run("clients") is Result.BUSY
        assert await puller.run("symbols") is Result.DONE
        assert it.rows("SELECT failures FROM counterfoil.freshness WHERE resource = 'clients'")[0].failures == 1
        it.sandbox.faults.clear()
        assert await until_done(puller, "clients", wait=True) is Result.DONE
        assert it.rows("SELECT failures FROM counterfoil.freshness WHERE resource = 'clients'")[0].failures == 0


async def test_a_bug_of_ours_in_one_pull_is_said_and_stops_nothing_else(database_url, monkeypatch):
    async with bench(database_url) as it:
        puller = it.puller()
        monkeypatch.setattr(puller.reader, "page", None)
        with said() as lines:
            assert await puller.run("clients") is Result.FAILED
        assert [line["kind"] for line in lines("pull.failed")] == ["invariant"]
        monkeypatch.undo()
        assert await puller.run("symbols") is Result.DONE
