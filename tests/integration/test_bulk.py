"""Rows into the mirror: what is touched, what is kept exactly, what is refused."""

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal

import psycopg
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from counterfoil.domain.page import Page, Rejected
from counterfoil.store import Unreachable, bulk
from counterfoil.store.engine import transaction
from support.store import connected, page, query, until_blocked, value, write


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[AsyncEngine]:
    async with connected(database_url) as engine:
        yield engine


def deal(number: int, **fields: object) -> dict[str, object]:
    return {"id": number, "account_id": 7, "profit": Decimal("1.50"), "comment": "a"} | fields


async def quarantined(database: AsyncEngine) -> list[tuple[object, ...]]:
    return await query(database, "SELECT record_id, reason, body FROM counterfoil.quarantine ORDER BY id")


# --- what is touched --------------------------------------------------------------------------------------------------


async def test_new_rows_are_inserted_and_counted(database):
    written = await write(database, "deals", deal(1), deal(2))
    assert (written.inserted, written.changed, written.quarantined) == (2, 0, 0)
    assert await query(database, "SELECT platform, id, account_id, deleted_at FROM mirror.deals ORDER BY id") == [
        ("live", 1, 7, None),
        ("live", 2, 7, None),
    ]


async def test_only_rows_that_differ_are_touched(database):
    await write(database, "deals", deal(1), deal(2), deal(3))
    state = "SELECT id, version, changed_at, first_seen_at, xmin::text, ctid::text FROM mirror.deals ORDER BY id"
    before = await query(database, state)
    written = await write(database, "deals", deal(1), deal(2, comment="b"), deal(3))
    after = await query(database, state)
    assert (written.inserted, written.changed) == (0, 1)
    assert (after[0], after[2]) == (before[0], before[2])
    assert after[1][1] > before[2][1]
    assert after[1][2] > before[1][2]
    assert after[1][3] == before[1][3]


async def test_rows_that_do_not_differ_cost_no_write_ahead_log(database):
    rows = [deal(number, comment="x" * 200) for number in range(500)]
    await write(database, "deals", *rows)
    changes = (
        "SELECT n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_xact_user_tables WHERE relid = 'mirror.deals'::regclass"
    )
    async with transaction(database) as connection:
        begin = await connection.scalar(sa.text("SELECT pg_current_wal_insert_lsn()"))
        reported = await connection.scalar(sa.text(changes))
        await bulk.write(connection, "live", "deals", page(*rows))
        touched = await connection.scalar(sa.text(changes)) - reported
        locked = await connection.scalar(sa.text("SELECT count(*) FROM mirror.deals WHERE xmax <> 0"))
        size = await connection.scalar(
            sa.text("SELECT pg_current_wal_insert_lsn() - CAST(:at AS pg_lsn)"), {"at": begin}
        )
    assert (touched, locked) == (0, 0)
    assert size < 60_000  # of other processes; one byte a row of ours would be 100,000


@pytest.mark.parametrize(
    ("column", "before", "after"),
    [
        ("profit", b"1.5", b"1.50"),
        ("profit", b"0", b"null"),
        ("comment", "null", None),
        ("comment", "", None),
        ("account", {"a": 1}, {"a": 2}),
        ("extra", None, {"new": b"1.0".decode()}),
        ("created_at", "2025-01-01T00:00:00.000001Z", "2025-01-01T00:00:00.000002Z"),
    ],
)
async def test_a_row_differs_by_its_digits_and_by_what_is_null(database, column, before, after):
    await write(database, "deals", deal(1, **{column: before}))
    written = await write(database, "deals", deal(1, **{column: after}))
    assert (written.inserted, written.changed) == (0, 1)


async def test_a_deleted_row_that_comes_back_unchanged_is_there_again(database):
    await write(database, "deals", deal(1))
    async with transaction(database) as connection:
        assert await bulk.tombstone(connection, "live", "deals", [1, 2]) == 1
        assert await bulk.tombstone(connection, "live", "deals", [1]) == 0
    gone = await query(database, "SELECT version, first_seen_at FROM mirror.deals WHERE deleted_at IS NOT NULL")
    written = await write(database, "deals", deal(1))
    back = await query(database, "SELECT version, first_seen_at FROM mirror.deals WHERE deleted_at IS NULL")
    assert written.changed == 1
    assert back[0][0] > gone[0][0]
    assert back[0][1] == gone[0][1]


async def test_platforms_do_not_see_each_other(database):
    await write(database, "deals", deal(1))
    written = await write(database, "deals", deal(1, comment="other"), platform="demo")
    assert written.inserted == 1
    assert await query(database, "SELECT platform, comment FROM mirror.deals ORDER BY 1") == [
        ("demo", "other"),
        ("live", "a"),
    ]


async def test_the_last_of_a_record_that_comes_twice_in_a_page_counts(database):
    written = await write(database, "deals", deal(1, comment="first"), deal(2), deal(1, comment="last"))
    assert written.inserted == 2
    assert await value(database, "SELECT comment FROM mirror.deals WHERE id = 1") == "last"


async def test_a_page_that_is_remembered_as_written_writes_nothing(database):
    async with transaction(database) as connection:
        written = await bulk.write(connection, "live", "deals", page(deal(1)).remembered())
    assert written == bulk.Written()
    assert await value(database, "SELECT count(*) FROM mirror.deals") == 0


# --- what is kept exactly ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "digits", ["0.1", "1.10", "-0.00000001", "123456789012345678901234567890.123456789012345678901234567890", "1e-7"]
)
async def test_numbers_keep_their_digits(database, digits):
    await write(database, "deals", deal(1, profit=digits.encode()))
    assert await value(database, "SELECT profit FROM mirror.deals") == Decimal(digits)
    assert await value(database, "SELECT profit::text FROM mirror.deals") == format(Decimal(digits), "f")


@pytest.mark.parametrize(
    "text",
    ["null", "\\N", "\\.", "a,b", 'say "hi"', "line\nbreak", "\\.\n\\.", "tab\t", " ", "", "Zoë 漢字 🙂", "a\r\nb"],
)
async def test_any_text_arrives_as_it_was_sent(database, text):
    await write(database, "deals", deal(1, comment=text), deal(2))
    assert await query(database, "SELECT comment FROM mirror.deals ORDER BY id") == [(text,), ("a",)]


async def test_json_arrives_as_json_and_its_absence_as_null(database):
    nested = {"a": [1, {"b": None}], "c": 'x"y'}
    await write(database, "deals", deal(1, account=nested, extra={"new": True}), deal(2, account=None, extra=None))
    assert await query(database, "SELECT account, extra FROM mirror.deals ORDER BY id") == [
        (nested, {"new": True}),
        (None, None),
    ]


# --- computed columns -------------------------------------------------------------------------------------------------

EURUSD = {"id": 3, "symbol": "EURUSD"}
NAMED = "SELECT id, symbol FROM mirror.{} ORDER BY id"


@pytest.mark.parametrize("table", ["orders", "positions", "deals"])
async def test_a_row_carries_the_name_of_its_symbol(database, table):
    await write(database, "symbols", EURUSD)
    await write(database, "symbols", {"id": 3, "symbol": "other"}, platform="demo")
    await write(database, table, {"id": 1, "symbol_id": 3}, {"id": 2, "symbol_id": 0}, {"id": 4})
    assert await query(database, NAMED.format(table)) == [(1, "EURUSD"), (2, None), (4, None)]


@pytest.mark.parametrize("table", ["orders", "positions", "deals"])
async def test_a_row_that_came_before_its_symbol_gets_the_name_and_a_version(database, table):
    await write(database, table, {"id": 1, "symbol_id": 3}, {"id": 2, "symbol_id": 4})
    before = await query(database, f"SELECT version FROM mirror.{table} ORDER BY id")
    written = await write(database, "symbols", EURUSD)
    after = await query(database, f"SELECT version FROM mirror.{table} ORDER BY id")
    assert await query(database, NAMED.format(table)) == [(1, "EURUSD"), (2, None)]
    assert after[0] > max(before)
    assert after[1] == before[1]
    assert written.renamed == 0


async def test_rows_follow_a_symbol_that_is_renamed_and_no_others(database):
    await write(database, "symbols", EURUSD, {"id": 4, "symbol": "XAUUSD"})
    await write(database, "deals", {"id": 1, "symbol_id": 3}, {"id": 2, "symbol_id": 4})
    before = await query(database, "SELECT version FROM mirror.deals ORDER BY id")
    written = await write(database, "symbols", {"id": 3, "symbol": "EURUSD.x"}, {"id": 4, "symbol": "XAUUSD"})
    after = await query(database, "SELECT version FROM mirror.deals ORDER BY id")
    assert (written.changed, written.renamed) == (1, 1)
    assert await query(database, NAMED.format("deals")) == [(1, "EURUSD.x"), (2, "XAUUSD")]
    assert (after[0] > max(before), after[1] == before[1]) == (True, True)


async def test_rows_without_a_name_are_found_by_an_index(database):
    async with transaction(database) as connection:
        await connection.execute(sa.text("SET LOCAL enable_seqscan = off"))
        plan = await connection.execute(
            sa.text(f"""
                EXPLAIN SELECT FROM mirror.deals t, mirror.symbols y WHERE t.platform = 'live' AND y.platform = 'live'
                AND t.symbol_id = y.id AND y.id = ANY('{{3}}'::bigint[]) AND {bulk._UNNAMED}
            """)
        )
        assert "deals_unnamed_idx" in "\n".join(row[0] for row in plan)


async def test_base_volume_is_lots_times_contract_size_in_all_digits(database):
    await write(
        database, "deals", {"id": 1, "volume": b"0.03", "contract_size": b"100000.0"}, {"id": 2, "volume": b"1"}
    )
    await write(database, "positions", {"id": 1, "volume_current": b"0.10", "contract_size": b"100"})
    assert await query(database, "SELECT volume_base::text FROM mirror.deals ORDER BY id") == [("3000.000",), (None,)]
    assert await value(database, "SELECT volume_base::text FROM mirror.positions") == "10.00"


# --- what is refused --------------------------------------------------------------------------------------------------

REFUSED = {
    "a number without end": ("deals", {"profit": b"1e200000"}, "profit"),
    "a product without end": ("deals", {"volume": b"1e131000", "contract_size": b"1e131000"}, None),
    "an id beyond 64 bits": ("deals", {"account_id": b"9223372036854775808"}, "account_id"),
    "a day that is none": ("clients", {"birth_date": "2025-02-31"}, "birth_date"),
    "a time that is none": ("deals", {"created_at": "2025-01-01T25:00:00Z"}, "created_at"),
    "a NUL in JSON": ("deals", {"extra": r'{"a": "\u0000"}'}, "extra"),
    "a byte that is no UTF-8": ("deals", {"comment": b"\xff"}, None),
    "a key too long for its index": (
        "clients",
        {"external_id": "".join(chr(0x4E00 + n * 7) for n in range(2700))},
        None,
    ),
}


@pytest.mark.parametrize("why", REFUSED)
async def test_only_the_record_that_postgresql_refuses_is_quarantined(database, why):
    table, fields, column = REFUSED[why]
    good = [{"id": number} for number in range(40)]
    written = await write(database, table, *good[:25], {"id": 99, **fields}, *good[25:])
    assert (written.inserted, written.quarantined) == (40, 1)
    assert await value(database, f"SELECT count(*) FROM mirror.{table} WHERE id <> 99") == 40
    ((record_id, reason, body),) = await quarantined(database)
    assert (record_id, body[:3]) == ("99", "99\t")
    assert column is None or reason.endswith(f" - at `{column}`")
    assert written.rejected[0].record_id == "99"


async def test_the_reason_of_a_refusal_does_not_repeat_the_value(database):
    written = await write(database, "clients", {"id": 1, "birth_date": "1985-02-31"})
    assert written.rejected[0].reason == "date/time field value out of range - at `birth_date`"


async def test_looking_for_the_refused_row_takes_few_tries(database):
    tries = []
    sa.event.listen(database.sync_engine, "savepoint", lambda _connection, name: tries.append(name))
    rows = [deal(number) for number in range(256)]
    written = await write(database, "deals", *rows[:100], deal(999, profit=b"1e200000"), *rows[101:])
    assert (written.inserted, written.quarantined) == (255, 1)
    assert len(tries) <= 2 * 8 + 1


async def test_a_page_of_nothing_but_refused_records_ends(database):
    written = await write(database, "deals", *(deal(number, profit=b"1e200000") for number in range(60)))
    assert (written.inserted, written.quarantined) == (0, 60)


async def test_an_error_that_is_not_the_row_s_is_raised(database):
    async with transaction(database) as connection:
        with pytest.raises(psycopg.ProgrammingError, match="nonsense"):
            await bulk.write(connection, "live", "deals", Page(("id", "nonsense"), lines=[b"1\t2"], line_ids=[1]))


async def test_a_bad_record_is_kept_once_however_often_it_comes(database):
    bad = Rejected("5", "wrong", '{"id": 5}')
    kept = []
    for records in ([bad, bad], [bad], [bad, Rejected("6", "wrong", '{"id": 6}')]):
        async with transaction(database) as connection:
            kept.append(await bulk.write(connection, "live", "deals", page(rejected=records)))
    assert [written.quarantined for written in kept] == [1, 0, 1]
    assert [[record.record_id for record in written.rejected] for written in kept] == [["5"], [], ["6"]]
    assert len(await quarantined(database)) == 2


async def test_a_bad_record_that_is_kept_already_draws_no_number(database):
    async with transaction(database) as connection:
        await bulk.quarantine(connection, "live", "deals", [Rejected("5", "wrong", "body")])
        await bulk.quarantine(connection, "live", "deals", [Rejected("5", "wrong", "body")])
    assert await value(database, "SELECT last_value FROM counterfoil.quarantine_id_seq") == 1


async def test_the_text_of_a_record_is_made_storable_and_bounded(database):
    rejected = Rejected("\0", "odd \0 \ud800", "é\0" * 40_000)
    async with transaction(database) as connection:
        assert await bulk.quarantine(connection, "live", "deals", [rejected, Rejected(None, "none", "")]) != ()
    (first, second) = await quarantined(database)
    assert first[:2] == ("\\0", "odd \\0 \\ud800")
    assert 65_500 < len(str(first[2]).encode()) <= 65_536
    assert second == (None, "none", "")


# --- transactions -----------------------------------------------------------------------------------------------------


async def test_a_transaction_that_is_rolled_back_leaves_nothing(database):
    async with database.connect() as connection:
        await connection.begin()
        await bulk.write(connection, "live", "deals", page(deal(1), rejected=[Rejected("2", "wrong", "body")]))
        await connection.rollback()
        left = await connection.scalar(sa.text("SELECT count(*) FROM pg_class WHERE relname LIKE 'staged%'"))
    assert left == 0
    assert await value(database, "SELECT count(*) FROM mirror.deals") == 0
    assert await quarantined(database) == []


async def test_nothing_stays_in_the_staging_table_after_a_commit(database):
    async with database.connect() as connection:
        async with connection.begin():
            await bulk.write(connection, "live", "deals", page(deal(1)))
        assert await connection.scalar(sa.text("SELECT count(*) FROM pg_temp.staged_deals")) == 0


async def test_several_pages_of_several_tables_go_in_one_transaction(database):
    async with transaction(database) as connection:
        await bulk.write(connection, "live", "deals", page(deal(1)))
        await bulk.write(connection, "live", "accounts", page({"id": 7, "balance": b"5.00"}))
        written = await bulk.write(connection, "live", "deals", page(deal(2), deal(1)))
    assert written.inserted == 1
    assert await value(database, "SELECT count(*) FROM mirror.deals") == 2
    assert await value(database, "SELECT count(*) FROM mirror.accounts") == 1


async def test_a_refused_row_does_not_undo_what_the_transaction_wrote_before(database):
    async with transaction(database) as connection:
        await bulk.write(connection, "live", "deals", page(deal(1)))
        await bulk.write(connection, "live", "deals", page(deal(2), deal(3, profit=b"1e200000")))
    assert await query(database, "SELECT id FROM mirror.deals ORDER BY id") == [(1,), (2,)]


async def test_writers_of_the_same_rows_in_another_order_do_not_block_each_other(database):
    rows = [deal(number) for number in range(200)]
    bad = [Rejected(str(number), "wrong", f"body {number}") for number in range(50)]

    async def writer(mark: int) -> None:
        some = [row | {"comment": f"{mark}"} for row in rows]
        for _ in range(5):
            async with transaction(database) as connection:
                turned = page(*some[:: 1 if mark % 2 else -1], rejected=bad[:: 1 if mark % 2 else -1])
                await bulk.write(connection, "live", "deals", turned)

    await asyncio.gather(*(writer(mark) for mark in range(6)))
    assert await query(database, "SELECT count(*), count(DISTINCT comment) FROM mirror.deals") == [(200, 1)]
    assert len(await quarantined(database)) == 50


async def test_two_who_quarantine_the_same_records_wait_in_one_order(database):
    records = [Rejected(str(number), "wrong", f"body {number}") for number in range(2000)]
    async with transaction(database) as first:
        await bulk.quarantine(first, "live", "deals", records)
        async with asyncio.TaskGroup() as tasks:

            async def second() -> None:
                async with transaction(database) as connection:
                    await bulk.quarantine(connection, "live", "deals", records[::-1])

            tasks.create_task(second())
            await until_blocked(database)
            await first.commit()
    assert len(await quarantined(database)) == 2000


async def test_a_writer_reads_after_its_lock_whatever_the_database_s_default_isolation(database_url, database):
    name = await value(database, "SELECT current_database()")
    await query(database, f"ALTER DATABASE \"{name}\" SET default_transaction_isolation = 'repeatable read'")
    async with connected(database_url) as fresh, transaction(fresh) as first:
        await bulk.write(first, "live", "deals", page(deal(1)))
        second = asyncio.create_task(write(fresh, "deals", deal(1, comment="b")))
        await until_blocked(fresh)
        await first.commit()
        assert (await second).changed == 1


async def test_a_connection_that_breaks_in_the_middle_says_that_the_database_is_gone(database):
    async def broken() -> None:
        async with transaction(database) as connection:
            pid = await connection.scalar(sa.text("SELECT pg_backend_pid()"))
            await query(database, "SELECT pg_terminate_backend(:pid, 5000)", pid=pid)
            await bulk.write(connection, "live", "deals", page(deal(1)))

    with pytest.raises(Unreachable):
        await broken()
    assert (await write(database, "deals", deal(1))).inserted == 1
