"""Lists read to their end, whatever the server does with pages and whatever happens to the rows meanwhile."""

import asyncio
from contextlib import aclosing

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from counterfoil.domain.errors import TransientError
from counterfoil.domain.page import Page, Rejected
from counterfoil.domain.paging import Order
from counterfoil.pull import reading
from counterfoil.pull.reading import ListReader, Position
from support.platform_lists import ScriptedList

UP = list(range(1, 301))
DOWN = UP[::-1]
MIXED = [row * 7_919 % 10_007 for row in UP]


async def read(reader: ListReader, *, prove: bool = False) -> list[int]:
    ids = []
    async with aclosing(reader.pages(prove=prove)) as pages:
        async for page in pages:
            ids += page.ids
    return ids


def reader_of(server: ScriptedList, size: int = 50, **more) -> ListReader:
    return ListReader(server.fetch, size=size, **more)


# --- calm lists -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ahead", [1, 5])
@pytest.mark.parametrize("rows", [UP, DOWN, MIXED])
@pytest.mark.parametrize("size", [2, 7, 50, 299, 300, 500])
@pytest.mark.parametrize("cap", [None, 100, 137])
async def test_a_calm_list_is_read_whole(rows, size, cap, ahead):
    server = ScriptedList(list(rows), cap=cap)
    reader = reader_of(server, size, ahead=ahead)
    assert set(await read(reader, prove=True)) == set(rows)
    assert reader.proven


@pytest.mark.parametrize("count", [0, 1, 9])
async def test_a_list_shorter_than_any_cap_costs_one_request(count):
    server = ScriptedList(UP[:count])
    assert await read(reader_of(server)) == UP[:count]
    assert server.asked == [(1, 50)]


async def test_a_short_page_that_may_be_capped_is_checked_once_and_then_known():
    server = ScriptedList(UP[:47])
    first = reader_of(server)
    await read(first)
    assert server.asked == [(1, 50), (2, 46)]
    server.asked.clear()
    await read(reader_of(server, capacity=first.capacity, end=first.end))
    assert server.asked == [(1, 50)]


@pytest.mark.parametrize(("before", "now", "requests"), [(47, 46, 1), (47, 48, 2), (40, 40, 2)])
async def test_it_is_checked_again_when_more_came_or_the_number_is_round(before, now, requests):
    server = ScriptedList(UP[:now])
    await read(reader_of(server, capacity=before, end=before))
    assert len(server.asked) == requests


async def test_a_list_that_fills_its_pages_costs_its_pages_and_nothing_behind_them():
    server = ScriptedList(UP)
    await read(reader_of(server, 100))
    assert len(server.asked) == 4
    assert max(page * limit for page, limit in server.asked) <= 400


async def test_pages_beyond_the_expected_end_are_not_asked_for_ahead():
    server = ScriptedList(UP)
    await read(reader_of(server, 40, ahead=6, expected=300))
    alone = ScriptedList(UP)
    await read(reader_of(alone, 40))
    assert sorted(server.asked) == sorted(alone.asked)


async def test_without_an_expectation_no_more_is_asked_ahead_than_was_read():
    server = ScriptedList(UP[:60])
    await read(reader_of(server, 50, ahead=6))
    assert len(server.asked) <= 3


async def test_nothing_is_asked_any_more_after_the_reader_was_closed():
    started, release = [], asyncio.Event()

    async def fetch(page: int, limit: int) -> Page:
        started.append(page)
        if page > 2:
            await release.wait()
        first = (page - 1) * limit + 1
        return Page(("id",), rows=limit, ids=list(range(first, first + limit)))

    reader = ListReader(fetch, size=50, ahead=4)
    async with aclosing(reader.pages()) as pages:
        async for _ in pages:
            if len(started) >= 3:
                break
    flights = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    await asyncio.wait(flights)
    assert all(task.cancelled() for task in flights)


# --- servers with habits --------------------------------------------------------------------------------------------


async def test_a_server_that_knows_no_pages_is_understood():
    server = ScriptedList(UP[:120], whole=True)
    for size in (50, 500):
        reader = reader_of(server, size)
        assert set(await read(reader)) == set(UP[:120])
        assert reader.proven


@pytest.mark.parametrize("fixed", [20, 100, 200])
async def test_a_server_with_one_page_size_is_refused_rather_than_half_read(fixed):
    with pytest.raises(TransientError):
        await read(reader_of(ScriptedList(UP, fixed=fixed), 50), prove=True)


@pytest.mark.parametrize("cap", [None, 20])
async def test_a_server_that_always_gives_the_first_page_is_refused_within_a_few_requests(cap):
    server = ScriptedList(UP, cap=cap, same=True)
    with pytest.raises(TransientError):
        await read(reader_of(server, 50))
    assert len(server.asked) < 15


async def test_a_list_without_end_is_given_up(monkeypatch):
    monkeypatch.setattr(reading, "MOST_PAGES", 30)

    async def fetch(page: int, limit: int) -> Page:
        first = (page - 1) * limit + 1
        return Page(("id",), rows=limit, ids=list(range(first, first + limit)))

    with pytest.raises(TransientError, match="did not end within 30 pages"):
        await read(ListReader(fetch, size=50))


@pytest.mark.parametrize("lies", [1, 3, 12])
async def test_pages_that_leave_rows_out_are_noticed_when_the_end_is_to_be_proven(lies):
    server = ScriptedList(UP[:40], lies=lies)
    reader = reader_of(server)
    try:
        ids = await read(reader, prove=True)
    except TransientError:
        ids = UP[:40]
    assert set(ids) == set(UP[:40])


async def test_a_proof_can_be_asked_for_later_and_goes_on_where_the_reading_stopped():
    server = ScriptedList(UP[:5])
    reader = reader_of(server)
    assert await read(reader) == UP[:5]
    assert not reader.proven
    assert await read(reader, prove=True) == []
    assert reader.proven
    assert server.asked == [(1, 50), (2, 5)]


async def test_rows_that_come_twice_in_a_page_end_nothing_early_and_skip_nothing():
    server = ScriptedList(list(UP), twice=3)
    assert set(await read(reader_of(server))) == set(UP)


async def test_a_record_without_an_id_leaves_no_gap_and_no_proof():
    server = ScriptedList(list(UP), nameless=frozenset({50, 99, 300}))
    reader = reader_of(server)
    assert set(await read(reader, prove=True)) == set(UP) - {50, 99, 300}
    assert not reader.proven


async def test_a_page_of_which_no_record_can_be_read_fails_the_reading():
    async def fetch(_page: int, _limit: int) -> Page:
        rejected = [Rejected(str(row), "wrong", "{}") for row in UP[:20]]
        return Page(("id",), rows=20, ids=UP[:20], rejected=rejected)

    with pytest.raises(TransientError, match="not one record"):
        await read(ListReader(fetch, size=50))


async def test_a_page_without_any_id_fails_the_reading():
    with pytest.raises(TransientError, match="not one record"):
        await read(reader_of(ScriptedList([1, 2], nameless=frozenset({1, 2}))))


@pytest.mark.parametrize("cap", [None, 20])
@pytest.mark.parametrize("rows", [UP, DOWN])
async def test_a_reading_is_resumed_where_it_stopped(rows, cap):
    server = ScriptedList(list(rows), cap=cap)
    reader = reader_of(server, 50, position=Position(150, rows[149]))
    ids = await read(reader)
    assert set(rows[150:]) <= set(ids)
    assert len(set(ids)) <= 150 + 60


# --- lists that move ------------------------------------------------------------------------------------------------


def without_front(_number: int, rows: list[int]) -> None:
    del rows[:1]


def with_front(number: int, rows: list[int]) -> None:
    rows.insert(0, -number if rows[0] < rows[-1] else 1_000 + number)


@pytest.mark.parametrize("rows", [UP, DOWN])
@pytest.mark.parametrize("change", [without_front, with_front])
@pytest.mark.parametrize("ahead", [1, 4])
async def test_a_list_that_moves_at_every_request_is_read_without_a_gap(rows, change, ahead):
    server = ScriptedList(list(rows), after=change)
    ids = await read(reader_of(server, 20, ahead=ahead))
    assert set(rows) & set(server.rows) <= set(ids)


async def test_a_shift_is_said():
    def once(number: int, rows: list[int]) -> None:
        if number == 2:
            del rows[:10]

    with structlog.testing.capture_logs() as said:
        assert set(UP) <= set(await read(reader_of(ScriptedList(list(UP), after=once)))) | set(UP[:10])
    assert [line["event"] for line in said] == ["page.shifted"]


@pytest.mark.parametrize("gone", [slice(10, 140), slice(0, 200), slice(0, 250)])
async def test_a_list_cut_below_what_was_read_is_read_again_from_further_down(gone):
    def cut(number: int, rows: list[int]) -> None:
        if number == 3:
            del rows[gone]

    server = ScriptedList(list(UP), after=cut)
    assert set(await read(reader_of(server))) >= set(server.rows)


async def test_a_list_that_is_emptied_ends():
    def empty(number: int, rows: list[int]) -> None:
        if number == 2:
            rows.clear()

    server = ScriptedList(list(UP), after=empty)
    assert len(await read(reader_of(server))) < 300


async def test_the_last_row_alone_on_its_page_is_no_proof_of_order_in_a_descending_list():
    """Rows 10 … 2 were read; 10 goes, and the last page holds row 1 alone: it must not be taken for one read before."""

    def go(number: int, rows: list[int]) -> None:
        if number == 1:
            del rows[0]

    server = ScriptedList(list(range(12, 0, -1)), after=go)
    assert 1 in await read(reader_of(server, 11, order=Order.ASCENDING))


CHANGES = st.dictionaries(
    st.integers(1, 40),
    st.lists(st.tuples(st.sampled_from(["insert", "delete"]), st.floats(0, 1, exclude_max=True)), max_size=8),
    max_size=25,
)


def scripted(changes, wanted: str):
    """Insertions and deletions between the requests, at places given as shares of the list."""
    fresh = iter(range(100_001, 10**9, 2))

    def after(number: int, rows: list[int]) -> None:
        for kind, share in changes.get(number, ()):
            at = int(share * (len(rows) + (kind == "insert")))
            if kind == "delete" and rows:
                del rows[at]
            elif kind == "insert":
                rows.insert(at, _between(rows, at, wanted, fresh))

    return after


def _between(rows, at, wanted, fresh):
    """An id that fits its place in a sorted list and that none of the first rows has; any new one elsewhere."""
    step = {"up": 2_000, "down": -2_000}.get(wanted)
    if step is None or not rows:
        return next(fresh)
    below = rows[at - 1] if at else rows[0] - step
    above = rows[at] if at < len(rows) else below + step
    middle = (below + above) // 2
    return middle + (middle % 1_000 == 0) if abs(above - below) > 3 else next(fresh)


@pytest.mark.parametrize("wanted", ["up", "down", "mixed"])
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    changes=CHANGES,
    count=st.integers(0, 250),
    size=st.integers(2, 60),
    cap=st.sampled_from([None, None, 25, 40]),
    ahead=st.integers(1, 4),
)
def test_every_row_that_was_there_all_the_time_is_read_or_the_reading_fails(wanted, changes, count, size, cap, ahead):
    rows = [row * 1_000 for row in range(1, count + 1)]
    rows = {"up": rows, "down": rows[::-1], "mixed": [row * 7_919 % 1_000_003 for row in rows]}[wanted]
    server = ScriptedList(list(rows), cap=cap, after=scripted(changes, wanted))
    order = Order.DESCENDING if wanted == "down" else Order.ASCENDING
    with structlog.testing.capture_logs():
        try:
            ids = asyncio.run(read(reader_of(server, size, ahead=ahead, order=order), prove=True))
        except TransientError:
            return
    assert set(rows) & set(server.rows) <= set(ids)
