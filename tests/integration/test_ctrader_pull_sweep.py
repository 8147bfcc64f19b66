"""The sweep over closing deals of a cTrader platform: late ones, deleted ones, and what a broken or hostile platform sends."""

import asyncio

import pytest

from counterfoil.pull.puller import Result
from support.ctrader_pulling import READ, Meddled, mirror_bench, polls
from support.ctrader_truth import truth
from support.platform_truth import mirrored
from support.pulling import one_pass, said, until_done

FIRST = ("symbols", "groups", "accounts", "positions", "deals")
FORGET = "DELETE FROM mirror.deals WHERE id = ANY(%s) RETURNING id"
HOUR = 3_600_000


def settled_deals(it):
    """Ids of deals old enough to be missed, oldest first."""
    return [deal.id for deal in it.books.deals if deal.closed_at < it.books.now() - HOUR]


async def pulled(it, **options):
    puller = it.puller(**options)
    assert await one_pass(puller, *FIRST) == {}
    return puller


def wrong_rows(it, *tables):
    """Rows of the mirror that the books do not know, or know otherwise; missing ones are not wrong."""
    wrong = []
    for table in tables:
        true = truth(it.books, table)
        for key, row in mirrored(it.url, table).items():
            if key not in true or any(row[name] != value for name, value in true[key].items()):
                wrong.append((table, key))
    return wrong


# Late and gone


@pytest.mark.parametrize("slice_", [0.0, 1_000.0])
@pytest.mark.parametrize("filter_on", ["close", "open"])
async def test_deals_that_came_late_are_found_and_counted(database_url, slice_, filter_on):
    async with mirror_bench(database_url, days=12, filter_on=filter_on) as it:
        puller = await pulled(it, slice=slice_)
        late = settled_deals(it)[::40]
        it.rows(FORGET, late)
        with said() as lines:
            assert await one_pass(puller, "sweep") == {}
        assert it.differences("deals", "positions") == []
        assert [line["late"] for line in lines("sweep.finished")] == [len(late)]


@pytest.mark.parametrize("filter_on", ["close", "open"])
async def test_a_deal_that_was_deleted_gets_its_tombstone_after_two_sweeps(database_url, filter_on):
    async with mirror_bench(database_url, filter_on=filter_on) as it:
        puller = await pulled(it)
        gone = settled_deals(it)[::30]
        for key in gone:
            it.books.delete("deals", key)
        assert await one_pass(puller, "sweep", "deals", "accounts") == {}
        assert it.differences("deals") == [f"deals {key} is not in the books" for key in sorted(gone)]
        with said() as lines:
            assert await one_pass(puller, "sweep") == {}
        assert (it.differences("deals"), lines("sweep.finished")[0]["deleted"]) == ([], len(gone))
        assert it.rows("SELECT * FROM counterfoil.vanished") == []


async def test_a_deal_that_one_sweep_missed_and_the_next_one_found_stays(database_url):
    async with mirror_bench(database_url) as it:
        puller = await pulled(it)
        it.sandbox.faults.set({"kind": "vanish", "fraction": 0.05, "path": "closedPositions$"})
        assert await one_pass(puller, "sweep") == {}
        missed = it.rows("SELECT id FROM counterfoil.vanished")
        it.sandbox.faults.clear()
        assert await one_pass(puller, "sweep") == {}
        assert (len(missed) > 0, it.rows("SELECT * FROM counterfoil.vanished"), it.differences("deals")) == (
            True,
            [],
            [],
        )


async def test_more_than_a_fifth_is_held_back_until_a_person_agrees(database_url):
    async with mirror_bench(database_url) as it:
        puller = await pulled(it)
        gone = settled_deals(it)[: len(it.books.deals) * 2 // 5]
        for key in gone:
            it.books.delete("deals", key)
        with said() as lines:
            for _ in range(3):
                assert await one_pass(puller, "sweep") == {}
        assert [(line["resource"], line["vanished"]) for line in lines("deletions.held_back")] == [("deals", len(gone))]
        assert len(it.differences("deals")) == 10
        await one_pass(puller, "sweep", full=True, accepted=frozenset({"accounts"}))
        assert len(it.differences("deals")) == 10
        with said() as lines:
            await one_pass(puller, "sweep", full=True, accepted=frozenset({"deals"}))
        assert ([line["deleted"] for line in lines("deletions.accepted")], it.differences("deals")) == ([len(gone)], [])


async def test_the_deals_of_a_trader_that_vanished_go_with_two_sweeps(database_url):
    async with mirror_bench(database_url) as it:
        puller = await pulled(it)
        counts = {login: sum(deal.login == login for deal in it.books.deals) for login in it.books.traders}
        login = min(counts, key=lambda key: (counts[key] == 0, counts[key]))
        for position in it.books.positions_of(login):
            it.books.drop_position(position.id)
        it.books.vanish(login)
        for _ in range(2):
            assert await one_pass(puller, "accounts", "deals", "sweep") == {}
        assert it.differences("accounts", "deals") == []


async def test_a_sweep_that_finds_nothing_writes_nothing_and_sees_no_deal_of_this_minute_as_missing(database_url):
    async with mirror_bench(database_url) as it:
        puller = await pulled(it)
        it.books.trade(3)
        await polls(puller)
        version, written = it.versions(), it.written()
        with said() as lines:
            assert await one_pass(puller, "sweep") == {}
        assert (it.versions(), it.written()) == (version, written)
        assert [(line["late"], line["deleted"]) for line in lines("sweep.finished")] == [(0, 0)]


async def test_a_sweep_goes_on_where_it_stopped_while_polls_go_on(database_url):
    async with mirror_bench(database_url, days=12) as it:
        puller = await pulled(it, slice=0.0)
        gone, healthy, stops = settled_deals(it)[5], puller.reader, 0
        it.books.delete("deals", gone)
        for _ in range(60):

            async def stop(number):
                if number == 2:
                    raise asyncio.CancelledError

            puller.reader = Meddled(healthy, stop)
            try:
                assert await until_done(puller, "sweep") is Result.DONE
                if not it.differences("deals"):
                    break
            except asyncio.CancelledError:
                stops += 1
            puller.reader = healthy
            assert await polls(puller, 1) == {}
        assert (stops > 2, it.differences("deals")) == (True, [])


async def test_a_deal_that_is_listed_but_cannot_be_read_is_not_declared_deleted(database_url):
    async with mirror_bench(database_url) as it:
        puller = await pulled(it)
        it.sandbox.faults.set({"kind": "malformed_record", "field": "pnl", "value": '"much"', "row": 2})
        with said() as lines:
            for _ in range(3):
                assert await one_pass(puller, "sweep") == {}
        assert it.differences("deals") == []
        assert len(lines("record.quarantined")) == len(it.rows("SELECT 1 FROM counterfoil.quarantine")) > 0
        assert it.rows("SELECT * FROM counterfoil.vanished") == []


async def test_deals_without_an_id_prove_no_absence(database_url):
    async with mirror_bench(database_url) as it:
        puller = await pulled(it)
        it.sandbox.faults.set({"kind": "malformed_record", "field": "dealId", "value": '"x"', "row": 2})
        for _ in range(3):
            assert await one_pass(puller, "sweep") == {}
        assert it.differences("deals") == []


# Broken and hostile

BROKEN = [
    {"kind": "html"},
    {"kind": "html", "status": 502},
    {"kind": "wrong_shape", "value": "[1,2,3]"},
    {"kind": "wrong_shape", "value": "{}"},
    {"kind": "wrong_shape", "value": '{"unexpected":1}'},
    {"kind": "wrong_shape", "value": ""},
    {"kind": "wrong_shape", "value": "[" * 5_000 + "]" * 5_000},
    {"kind": "truncated"},
    {"kind": "truncated", "keep": 0},
    {"kind": "truncated", "keep": 20},
    {"kind": "truncated", "announce": True},
    {"kind": "huge", "size": 40_000_000},
    {"kind": "forbid"},
    {"kind": "drop_after"},
    {"kind": "error_before", "status": 404},
]


@pytest.mark.parametrize("fault", BROKEN, ids=lambda fault: "-".join(str(value)[:20] for value in fault.values()))
async def test_an_answer_that_is_none_fails_the_run_with_a_word_and_moves_nothing(database_url, fault):
    async with mirror_bench(database_url, days=2, deals=40) as it:
        puller = await pulled(it)
        it.books.trade(3)
        cursor, before = it.cursor("deals"), it.versions()
        it.forget_requests()
        it.sandbox.faults.set({**fault, "path": "traders/$|Positions$|tradergroups$"})
        with said() as lines:
            for resource in ("accounts", "positions", "deals", "groups", "sweep"):
                assert await until_done(puller, resource) is Result.FAILED, resource
        assert len(lines("pull.failed")) == 5
        assert "invariant" not in {line["kind"] for line in lines("pull.failed")}
        assert (it.cursor("deals"), it.versions(), wrong_rows(it, "deals", "groups")) == (cursor, before, [])
        assert len(it.asked()) < 150
        it.sandbox.faults.clear()
        assert await one_pass(puller, "accounts", "positions", "deals", "positions", wait=True) == {}
        assert it.differences("accounts", "deals") == []


UNREADABLE = [
    ("accounts", "balance", '"12.50"'),
    ("accounts", "balance", "NaN"),
    ("accounts", "moneyDigits", None),
    ("accounts", "description", r'"nul \u0000"'),
    ("accounts", "description", r'"half \ud800"'),
    ("accounts", "contactDetails", "[1]"),
    ("accounts", "leverageInCents", "9" * 30),
    ("positions", "volume", '"1,5"'),
    ("positions", "openTimestamp", '"2026-02-30T00:00:00.000"'),
    ("positions", "direction", '"UP"'),
    ("positions", "spreadBetting", '"maybe"'),
    ("deals", "pnl", '""'),
    ("deals", "pnl", '"12.5.0"'),
    ("deals", "closeTimestamp", '"soon"'),
    ("deals", "positionId", '"-"'),
    ("deals", "swap", "NaN"),
]


@pytest.mark.parametrize(
    ("form", "resource", "field", "value"),
    [("csv", *bad) for bad in UNREADABLE] + [("json", *bad) for bad in UNREADABLE if bad[0] != "accounts"],
)
async def test_a_record_that_cannot_be_read_goes_to_quarantine_and_the_rest_stays(
    database_url, form, resource, field, value
):
    async with mirror_bench(database_url, days=2) as it:
        puller = it.puller()
        path = {"accounts": "traders/$", "positions": "openPositions$", "deals": "closedPositions$"}[resource]
        forms, row = [{"kind": "json_positions"}] if form == "json" else [], 0 if resource == "positions" else 2
        it.sandbox.faults.set(
            [{"kind": "malformed_record", "field": field, "value": value, "row": row, "path": path}, *forms]
        )
        with said() as lines:
            assert await one_pass(puller, *FIRST) == {}
        kept = it.rows("SELECT record_id, reason FROM counterfoil.quarantine WHERE resource = %s", resource)
        assert kept
        assert {line["reason"] for line in lines("record.quarantined")} == {row.reason for row in kept}
        ids = sorted(int(row.record_id) for row in kept)
        assert [
            wrong for wrong in it.differences(resource) if resource != "positions" or int(wrong.split()[1]) in ids
        ] == [f"{resource} {key} is missing" for key in ids]
        assert wrong_rows(it, resource) == []
        it.sandbox.faults.clear()
        assert await one_pass(puller, *FIRST, "sweep", full=True) == {}
        assert it.differences("accounts", "deals", "positions") == []


async def test_a_ragged_row_is_kept_apart_and_its_position_stays(database_url):
    async with mirror_bench(database_url) as it:
        puller = await pulled(it)
        it.sandbox.faults.set(
            {"kind": "malformed_record", "field": "symbol", "value": None, "row": 1, "path": "Positions$"}
        )
        with said() as lines:
            assert await polls(puller, 3) == {}
            assert await one_pass(puller, "sweep", "sweep") == {}
        assert (it.differences("deals"), lines("position.unresolved")) == ([], [])
        assert it.rows("SELECT record_id FROM counterfoil.quarantine WHERE resource = 'positions'") == [(None,)]
        assert lines("listing.incomplete")


@pytest.mark.parametrize("resource", ["accounts", "positions", "groups", "symbols"])
async def test_a_record_that_becomes_unreadable_is_there_all_the_same(database_url, resource):
    async with mirror_bench(database_url) as it:
        puller = await pulled(it)
        path, field = {
            "accounts": ("traders/$", "moneyDigits"),
            "positions": ("openPositions$", "volume"),
            "groups": ("tradergroups$", "name"),
            "symbols": ("symbols$", "name"),
        }[resource]
        it.sandbox.faults.set(
            {"kind": "malformed_record", "field": field, "value": r'"\u0000"', "row": 1, "path": path}
        )
        it.forget_requests()
        with said() as lines:
            for _ in range(4):
                assert await one_pass(puller, resource) == {}
        assert it.differences(resource) == []
        assert (len(lines("record.quarantined")), len(it.asked("traders/3"))) == (1, 0)


async def test_no_password_reaches_the_database_whatever_the_platform_sends(database_url):
    async with mirror_bench(database_url) as it:
        bad = {"kind": "malformed_record", "field": "login", "value": '"x"', "row": 1}
        it.sandbox.faults.set([{"kind": "password_leak"}, bad])
        await one_pass(it.puller(), *READ)
        tables = ("accounts", "positions", "deals", "groups", "symbols", "subaccounts", "deposit_assets")
        held = [str(it.rows(f"SELECT t::text FROM mirror.{table} t")) for table in tables]
        held += [str(it.rows("SELECT q::text FROM counterfoil.quarantine q"))]
        assert [("leaked-secret" in text) for text in held] == [False] * 8
        assert len(it.rows("SELECT 1 FROM counterfoil.quarantine")) > 2
