"""The mirror as one run writes it: what is there, what is missed, what is to be asked, and never without the lease."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import nullcontext
from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from counterfoil.domain.errors import LeaseLostError
from counterfoil.domain.page import Page, Rejected
from counterfoil.observe import events
from counterfoil.store import bulk, cursors, engine, leases
from counterfoil.store.engine import transaction
from counterfoil.store.mirror import Mirror
from counterfoil.store.underway import OvertakenError, UnderWay
from support.store import connected, page, query, value, write


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[AsyncEngine]:
    async with connected(database_url) as engine:
        yield engine


async def mirror_of(database: AsyncEngine, resource: str) -> Mirror:
    return Mirror(database, await leases.acquire(database, "live", resource))


@pytest.fixture
async def positions(database: AsyncEngine) -> Mirror:
    return await mirror_of(database, "positions")


@pytest.fixture
async def sweep(database: AsyncEngine) -> Mirror:
    return await mirror_of(database, "sweep")


@pytest.fixture
async def accounts(database: AsyncEngine) -> Mirror:
    mirror = await mirror_of(database, "transactions")
    await mirror.write("accounts", page(*(account(number) for number in (1, 2, 3))))
    return mirror


def account(number: int, balance: str = "5.00", credit: str = "0") -> dict[str, object]:
    return {"id": number, "balance": Decimal(balance), "credit": Decimal(credit), "currency": "EUR"}


def opened(*ids: int, status: int | None = 0) -> Page:
    return page(*({"id": number, "status": status} for number in ids))


# --- rows and cursors -------------------------------------------------------------------------------------------------


async def test_rows_and_cursors_are_written_together_or_not_at_all(database, positions):
    await positions.write("positions", opened(1), states={"positions": {"seen": 1}})
    assert await positions.cursor("positions") == {"seen": 1}
    await query(database, "ALTER TABLE counterfoil.cursors ADD CHECK (state <> '{\"seen\": 2}')")
    with pytest.raises(Exception, match="check constraint"):
        await positions.write("positions", opened(2), states={"positions": {"seen": 2}})
    assert await positions.ids("positions") == {1}
    assert await positions.cursor("positions") == {"seen": 1}


async def test_a_cursor_that_does_not_move_is_not_written(database, positions):
    await positions.write("positions", Page(columns=()), states={"positions": {"seen": 1}})
    before = await query(database, "SELECT xmin::text, updated_at FROM counterfoil.cursors")
    await positions.write("positions", Page(columns=()), states={"positions": {"seen": 1}})
    assert await query(database, "SELECT xmin::text, updated_at FROM counterfoil.cursors") == before


async def test_a_forgotten_cursor_is_as_if_it_had_never_been(positions):
    await positions.write("positions", Page(columns=()), states={"positions": {"seen": 1}})
    await positions.forget("positions")
    assert await positions.cursor("positions") is None


async def test_a_page_without_anything_to_write_costs_no_statement(database, positions):
    await database.dispose()
    written = await positions.write("positions", opened(1).remembered())
    assert not written.anything
    assert database.pool.checkedin() == 0


async def test_renamed_symbols_are_told_once_they_are_committed(database, monkeypatch):
    said = []
    monkeypatch.setattr(events, "emit", lambda event, **fields: said.append((event.name, fields)))
    symbols = await mirror_of(database, "symbols")
    await symbols.write("symbols", page({"id": 1, "symbol": "A"}, {"id": 2, "symbol": "B"}))
    await symbols.write("symbols", page({"id": 1, "symbol": "A", "digits": 5}, {"id": 2, "symbol": "B"}))
    assert said == []
    await symbols.write("symbols", page({"id": 1, "symbol": "A.x"}, {"id": 2, "symbol": "B"}))
    assert said == [("symbols.renamed", {"platform": "live", "count": 1})]


# --- what is there ----------------------------------------------------------------------------------------------------


async def test_ids_are_those_that_are_not_deleted_within_a_span(database, positions):
    await positions.write("positions", opened(1, 2, 3, 4))
    await write(database, "positions", {"id": 9}, platform="demo")
    await positions.tombstone("positions", [2])
    assert await positions.ids("positions") == {1, 3, 4}
    assert await positions.ids("positions", after=1, until=3) == {3}
    assert (await positions.count("positions"), await positions.highest("positions")) == (3, 4)
    await positions.tombstone("positions", [4])
    assert await positions.highest("positions") == 3


async def test_highest_of_nothing_is_nothing(positions):
    assert await positions.highest("positions") is None


@pytest.mark.parametrize(
    ("table", "live", "done"), [("positions", (None, 0, 1), (2,)), ("orders", (None, 0, 1, 2, 7), (3, 4, 5, 6))]
)
async def test_live_rows_are_those_whose_status_says_so(positions, table, live, done):
    await positions.write(
        table, page(*({"id": at, "status": status} for at, status in enumerate((*live, *done, live[-1]))))
    )
    await positions.tombstone(table, [len(live) + len(done)])
    assert await positions.ids(table, live=True) == set(range(len(live)))


async def test_groups_come_in_the_order_of_their_ids(positions):
    await positions.write("groups", page({"id": 30}, {"id": 4}))
    assert await positions.groups() == [4, 30]


# --- what is missed ---------------------------------------------------------------------------------------------------


async def test_every_look_that_misses_a_row_is_counted(positions):
    assert await positions.missed("positions", [1, 2]) == {1: 1, 2: 1}
    assert await positions.missed("positions", [2]) == {2: 2}
    assert await positions.candidates("positions") == {1: "missed", 2: "missed"}
    assert await positions.candidates("orders") == {}


async def test_only_rows_missed_for_long_are_candidates(database, positions):
    await positions.missed("positions", [1, 2])
    await query(database, "UPDATE counterfoil.vanished SET noticed_at = noticed_at - interval '2 h' WHERE id = 1")
    assert await positions.candidates("positions", older_than=timedelta(hours=1)) == {1: "missed"}


async def test_what_is_held_stays_held_until_it_is_found(positions):
    await positions.missed("positions", [1, 2], state="held")
    await positions.missed("positions", [1])
    assert await positions.candidates("positions") == {1: "held", 2: "held"}
    await positions.found("positions", besides=[2])
    assert await positions.candidates("positions") == {2: "held"}


async def test_a_row_looked_for_often_enough_is_settled_and_no_longer_live(positions):
    await positions.write("positions", opened(1, 2))
    await positions.missed("positions", [1, 2])
    await positions.missed("positions", [2])
    await positions.settle("positions", after_looks=2)
    assert await positions.ids("positions", live=True) == {1}
    assert await positions.ids("positions") == {1, 2}
    assert await positions.candidates("positions") == {1: "missed"}


async def test_a_settled_row_stays_settled_unless_it_is_listed_again(positions):
    await positions.write("positions", opened(1, 2))
    await positions.missed("positions", [1, 2])
    await positions.settle("positions", after_looks=1)
    await positions.found("positions", listed=[2])
    assert await positions.ids("positions", live=True) == {2}
    await positions.found("positions")
    assert await positions.ids("positions", live=True) == {1, 2}


async def test_a_row_that_is_present_is_missed_no_longer_by_anybody(positions, sweep):
    await positions.missed("positions", [1, 2])
    await sweep.missed("positions", [1, 2])
    await sweep.present("positions", [1])
    assert await positions.candidates("positions") == {2: "missed"}
    assert await sweep.candidates("positions") == {2: "missed"}


async def test_a_poll_does_not_forget_what_a_sweep_under_way_has_missed(positions, sweep):
    await sweep.missed("positions", [1])
    await positions.missed("positions", [2])
    await positions.found("positions", listed=[])
    await positions.settle("positions", after_looks=1)
    assert await sweep.candidates("positions") == {1: "missed"}
    assert await positions.candidates("positions") == {}


async def test_a_tombstone_ends_all_looking(positions, sweep):
    await positions.write("positions", opened(1, 2))
    await positions.missed("positions", [1])
    await sweep.missed("positions", [1])
    assert await positions.tombstone("positions", [1]) == 1
    assert await positions.tombstone("positions", []) == 0
    assert await positions.candidates("positions") | await sweep.candidates("positions") == {}
    assert await positions.ids("positions") == {2}


# --- accounts to ask --------------------------------------------------------------------------------------------------


async def test_accounts_never_asked_come_first_and_then_those_whose_money_moved(accounts):
    assert [found.id for found in await accounts.accounts_to_ask()] == [1, 2, 3]
    first, second, third = await accounts.accounts_to_ask()
    assert (first.balance, first.credit, first.currency, first.asked_before) == (Decimal(5), Decimal(0), "EUR", False)
    for known in (second, third):
        await accounts.asked([known], Page(columns=()))
    await accounts.write("accounts", page(account(2, "5.01"), account(3, credit="1")))
    assert [(found.id, found.asked_before) for found in await accounts.accounts_to_ask()] == [
        (1, False),
        (2, True),
        (3, True),
    ]


async def test_an_account_whose_money_did_not_move_is_asked_only_with_everyone(accounts):
    for known in await accounts.accounts_to_ask():
        await accounts.asked([known], Page(columns=()))
    await accounts.write("accounts", page(*(account(number, "5.0") for number in (1, 2, 3))))
    assert await accounts.accounts_to_ask() == []
    assert [found.id for found in await accounts.accounts_to_ask(everyone=True)] == [1, 2, 3]


async def test_money_that_moves_while_an_account_is_asked_makes_it_asked_again(accounts):
    (known, *_) = await accounts.accounts_to_ask()
    await accounts.write("accounts", page(account(1, "9")))
    await accounts.asked([known], Page(columns=()))
    assert 1 in [found.id for found in await accounts.accounts_to_ask()]


async def test_deleted_accounts_are_not_asked(accounts):
    await accounts.tombstone("accounts", [1, 3])
    assert [found.id for found in await accounts.accounts_to_ask(everyone=True)] == [2]


async def test_the_slow_round_takes_those_asked_longest_ago(database, accounts):
    for known in await accounts.accounts_to_ask():
        await accounts.asked([known], Page(columns=()))
    await query(
        database, "UPDATE counterfoil.asked SET asked_at = now() - interval '3 h' * (4 - account_id) + interval '1 h'"
    )
    due = await accounts.accounts_due(2, older_than=timedelta(hours=1))
    assert [found.id for found in due] == [1, 2]
    assert [found.id for found in await accounts.accounts_due(9, older_than=timedelta(hours=6))] == [1]


async def test_transactions_and_that_they_were_asked_for_are_kept_together(database, accounts):
    (known, *_) = await accounts.accounts_to_ask()
    movements = page({"id": 5, "account_id": 1, "amount": b"5.00"}, rejected=[Rejected("6", "wrong", "body")])
    written = await accounts.asked([known], movements)
    assert (written.inserted, written.quarantined) == (1, 1)
    await write(database, "transactions", {"id": -1, "account_id": 1, "origin": "inferred"})
    assert await accounts.transaction_ids([1]) == {1: {5}}
    await accounts.tombstone("transactions", [5])
    assert await accounts.transaction_ids([1]) == {}


# --- never without the lease ------------------------------------------------------------------------------------------

WRITING = {
    "write": lambda mirror: mirror.write("positions", opened(7)),
    "many beyond": lambda mirror: mirror.write("accounts", page(*(account(number) for number in range(10, 210)))),
    "one that is refused": lambda mirror: mirror.write("positions", page({"id": 7, "profit": b"1e200000"})),
    "one that was rejected": lambda mirror: mirror.write("positions", page(rejected=[Rejected("7", "?", "{}")])),
    "cursor alone": lambda mirror: mirror.write("positions", Page(columns=()), states={"positions": {"seen": 9}}),
    "forget": lambda mirror: mirror.forget("positions"),
    "missed": lambda mirror: mirror.missed("positions", [8]),
    "found": lambda mirror: mirror.found("positions"),
    "present": lambda mirror: mirror.present("positions", [1]),
    "settle": lambda mirror: mirror.settle("positions", after_looks=1),
    "tombstone": lambda mirror: mirror.tombstone("positions", [1]),
    "asked": lambda mirror: mirror.asked([ACCOUNT], page({"id": 5, "account_id": 1})),
}
ACCOUNT = None
EVERYTHING = """
    SELECT (SELECT json_agg(p ORDER BY id) FROM mirror.positions p)::text, (SELECT count(*) FROM mirror.transactions),
        (SELECT json_agg(c) FROM counterfoil.cursors c)::text, (SELECT json_agg(v) FROM counterfoil.vanished v)::text,
        (SELECT count(*) FROM counterfoil.asked), (SELECT count(*) FROM mirror.accounts),
        (SELECT count(*) FROM counterfoil.quarantine)
"""


@pytest.mark.parametrize("method", WRITING)
async def test_nothing_is_written_once_the_lease_is_lost(database, accounts, positions, monkeypatch, method):
    monkeypatch.setitem(globals(), "ACCOUNT", (await accounts.accounts_to_ask())[0])
    await positions.write("positions", opened(1), states={"positions": {"seen": 1}})
    await positions.missed("positions", [1])
    before = await query(database, EVERYTHING)
    lost = Mirror(database, await leases.acquire(database, "live", "other"))
    lost._lease = leases.Lease("live", "positions", lost.lease.token, None)
    with pytest.raises(LeaseLostError):
        await WRITING[method](lost)
    assert await query(database, EVERYTHING) == before
    await WRITING[method](positions)
    assert await query(database, EVERYTHING) != before


@pytest.mark.parametrize("taken", [False, True])
async def test_a_lease_that_lapses_while_its_row_is_locked_is_lost_only_if_somebody_takes_it(
    database, positions, monkeypatch, taken
):
    merge, token = bulk._merge_staged, "gen_random_uuid()" if taken else "token"

    async def slow(connection, *given):
        told = await merge(connection, *given)
        await connection.exec_driver_sql(f"UPDATE counterfoil.leases SET token = {token}, expires_at = started_at")
        return told

    monkeypatch.setattr(bulk, "_merge_staged", slow)
    both = page({"id": 1}, rejected=[Rejected("7", "?", "{}")])
    with pytest.raises(LeaseLostError) if taken else nullcontext():
        await positions.write("positions", both)
    assert await value(database, "SELECT count(*) FROM mirror.positions") == (0 if taken else 1)
    assert await value(database, "SELECT count(*) FROM counterfoil.quarantine") == (0 if taken else 1)


# --- one behind the other ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("taken", [False, True])
async def test_a_lease_that_lapses_while_a_write_waits_for_the_one_before_it_is_lost_only_if_somebody_takes_it(
    database, positions, taken
):
    before, token = UnderWay(), "gen_random_uuid()" if taken else "token"
    before.start(query(database, f"UPDATE counterfoil.leases SET token = {token}, expires_at = started_at"))
    with pytest.raises(LeaseLostError) if taken else nullcontext():
        await positions.write("positions", opened(1), under_way=UnderWay(before))
    assert await value(database, "SELECT count(*) FROM mirror.positions") == (0 if taken else 1)


async def test_behind_a_write_that_failed_nothing_is_written(database, positions):
    before = UnderWay()
    before.start(query(database, "SELECT 1 / 0"))
    with pytest.raises(OvertakenError):
        await positions.write("positions", opened(1), states={"positions": {"seen": 1}}, under_way=UnderWay(before))
    assert await value(database, "SELECT count(*) FROM mirror.positions") == 0
    assert await positions.cursor("positions") is None


async def test_who_waits_for_another_write_does_not_keep_a_connection_from_it(database_url):
    database = engine.create(database_url, pool_size=1)  # and one more for a while
    try:
        mirrors = [await mirror_of(database, name) for name in ("positions", "sweep")]
        before = [UnderWay() for _ in mirrors]
        places = [UnderWay(earlier) for earlier in before]
        later = [
            asyncio.create_task(mirror.write("positions", opened(1, 2), under_way=place))
            for mirror, place in zip(mirrors, places, strict=True)
        ]
        for mirror, earlier in zip(mirrors, before, strict=True):
            earlier.start(mirror.write("positions", opened(1), under_way=earlier))
        written = await asyncio.gather(*later)
        assert sum(one.inserted for one in written) == 1
    finally:
        await database.dispose()


async def test_freshness_lists_every_resource_that_ever_ran(database):
    async with transaction(database) as connection:
        await cursors.succeeded(connection, "live", "deals", cursors.Success(took=timedelta(seconds=3)))
        await cursors.failed(connection, "live", "accounts", reason="down")
        listed = await cursors.freshness(connection)
        assert 3 <= await cursors.age(connection, "live", "deals") < 60
        assert await cursors.age(connection, "live", "accounts") is None
    assert [(row.resource, row.failures, row.reason) for row in listed] == [("accounts", 1, "down"), ("deals", 0, None)]
    assert await value(database, "SELECT count(*) FROM counterfoil.freshness") == 2
