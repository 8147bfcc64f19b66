"""Events and polls of the same rows: which of two tellings stays in the mirror."""

import time
from collections.abc import AsyncIterator
from datetime import datetime

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from counterfoil.store import bulk, engine
from counterfoil.store.newer import Asked, Heard, Telling
from support.store import connected, page, query, value

OPEN, CLOSED = 0, 2
EARLY, LATE = "2026-03-01T10:00:00.000001Z", "2026-03-01T10:00:00.000002Z"
HOUR = 3600.0


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[AsyncEngine]:
    async with connected(database_url) as made:
        yield made


async def tell(
    database: AsyncEngine, telling: Telling | None, comment: str, updated_at: str | None, status: int = OPEN
) -> tuple[bulk.Written, datetime]:
    """One position as somebody tells it; what was written, and the moment that the row then carries."""
    row = {"id": 1, "comment": comment, "status": status, "updated_at": updated_at}
    async with engine.transaction(database) as connection:
        written = await bulk.write(connection, "live", "positions", page(row), telling=telling)
        return written, await connection.scalar(sa.text("SELECT now()"))


async def held(database: AsyncEngine) -> object:
    return await value(database, "SELECT comment FROM mirror.positions")


def now() -> float:
    return time.monotonic()


def later() -> float:
    """Surely behind whatever was written so far, however busy the machine is."""
    return now() + 60.0


async def test_an_event_of_a_row_that_nobody_knew_is_written(database):
    written, _ = await tell(database, Heard(now()), "event", EARLY)
    assert (written.inserted, await held(database)) == (1, "event")


async def test_an_event_that_the_platform_says_is_newer_is_written(database):
    await tell(database, None, "poll", EARLY)
    written, _ = await tell(database, Heard(now()), "event", LATE)
    assert (written.changed, await held(database)) == (1, "event")


async def test_an_event_that_the_platform_says_is_older_is_not(database):
    await tell(database, None, "poll", LATE)
    written, _ = await tell(database, Heard(now()), "event", EARLY)
    assert (written.anything, await held(database)) == (False, "poll")


async def test_events_out_of_order_leave_the_newest(database):
    _, ours = await tell(database, Heard(now()), "second", LATE)
    written, _ = await tell(database, Heard(now(), ours), "first", EARLY)
    assert (written.anything, await held(database)) == (False, "second")


@pytest.mark.parametrize("updated_at", [EARLY, None])
async def test_an_event_that_comes_twice_changes_nothing(database, updated_at):
    _, ours = await tell(database, Heard(now()), "event", updated_at)
    version = await value(database, "SELECT version FROM mirror.positions")
    written, _ = await tell(database, Heard(now(), ours), "event", updated_at)
    assert not written.anything
    assert await value(database, "SELECT version FROM mirror.positions") == version


@pytest.mark.parametrize("updated_at", [EARLY, None])
async def test_a_poll_that_began_after_an_event_was_heard_wins_where_no_time_decides(database, updated_at):
    heard = now()
    await tell(database, Asked(now()), "poll", updated_at)
    written, _ = await tell(database, Heard(heard), "event", updated_at)
    assert (written.anything, await held(database)) == (False, "poll")


@pytest.mark.parametrize("updated_at", [EARLY, None])
async def test_an_event_that_was_heard_after_a_poll_had_written_wins_where_no_time_decides(database, updated_at):
    await tell(database, Asked(now()), "poll", updated_at)
    written, _ = await tell(database, Heard(later()), "event", updated_at)
    assert (written.changed, await held(database)) == (1, "event")


@pytest.mark.parametrize("updated_at", [EARLY, None])
async def test_the_stream_follows_itself_where_no_time_decides_however_slow_the_database_is(database, updated_at):
    heard = now()
    _, ours = await tell(database, Heard(now()), "first", updated_at)
    written, _ = await tell(database, Heard(heard, ours), "second", updated_at)
    assert (written.changed, await held(database)) == (1, "second")


async def test_what_another_wrote_since_the_stream_wrote_is_not_its_own(database):
    heard = now()
    _, ours = await tell(database, Heard(now()), "first", EARLY)
    await tell(database, Asked(now()), "poll", EARLY)
    await tell(database, Heard(heard, ours), "second", EARLY)
    assert await held(database) == "poll"


@pytest.mark.parametrize("updated_at", [EARLY, None])
async def test_what_is_over_is_not_brought_back_where_no_time_decides(database, updated_at):
    _, ours = await tell(database, Heard(now()), "closed", updated_at, CLOSED)
    await tell(database, Heard(now(), ours), "open", updated_at, OPEN)
    assert await held(database) == "closed"


async def test_what_is_over_is_brought_back_by_something_newer(database):
    await tell(database, Heard(now()), "closed", EARLY, CLOSED)
    await tell(database, Heard(now()), "open", LATE, OPEN)
    assert await held(database) == "open"


async def test_an_event_is_not_undone_by_a_poll_that_had_begun_before_it(database):
    began = now()
    await tell(database, Heard(now()), "event", LATE, CLOSED)
    written, _ = await tell(database, Asked(began), "poll", EARLY)
    assert (written.anything, await held(database)) == (False, "event")


async def test_the_next_poll_is_the_judge_even_over_something_newer(database):
    await tell(database, Heard(now()), "event", LATE)
    written, _ = await tell(database, Asked(later()), "poll", EARLY)
    assert (written.changed, await held(database)) == (1, "poll")


@pytest.mark.parametrize("updated_at", [EARLY, None])
async def test_a_poll_wins_where_no_time_decides(database, updated_at):
    began = now() - HOUR
    await tell(database, Heard(now()), "event", updated_at)
    await tell(database, Asked(began), "poll", updated_at)
    assert await held(database) == "poll"


async def tombstone(database: AsyncEngine) -> None:
    async with engine.transaction(database) as connection:
        assert await bulk.tombstone(connection, "live", "positions", [1]) == 1


@pytest.mark.parametrize(
    ("heard_before", "updated_at", "back"), [(True, LATE, False), (False, EARLY, False), (False, LATE, True)]
)
async def test_a_deleted_row_comes_back_only_by_what_is_newer_and_was_heard_later(
    database, heard_before, updated_at, back
):
    await tell(database, None, "poll", EARLY)
    before = now()
    await tombstone(database)
    await tell(database, Heard(before if heard_before else later()), "event", updated_at)
    assert await value(database, "SELECT deleted_at IS NULL FROM mirror.positions") is back


async def test_orders_and_deals_are_told_the_same_way(database):
    async with engine.transaction(database) as connection:
        for table in ("orders", "deals"):
            for comment, at in (("second", LATE), ("first", EARLY)):
                row = {"id": 1, "comment": comment, "updated_at": at}
                await bulk.write(connection, "live", table, page(row), telling=Heard(now()))
    told = "SELECT comment FROM mirror.orders UNION ALL SELECT comment FROM mirror.deals"
    assert await query(database, told) == [("second",), ("second",)]


async def test_many_new_rows_beside_one_that_is_older(database):
    await tell(database, None, "poll", LATE)
    rows = [{"id": n, "comment": "event", "status": OPEN, "updated_at": EARLY} for n in range(1, 301)]
    async with engine.transaction(database) as connection:
        written = await bulk.write(connection, "live", "positions", page(*rows), telling=Heard(now()))
    assert written.inserted == 299
    assert await value(database, "SELECT comment FROM mirror.positions WHERE id = 1") == "poll"
