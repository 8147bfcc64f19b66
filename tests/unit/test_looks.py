"""Reading a list newest first for a look: complete and without a gap, or an error that says why not."""

import msgspec
import pytest

from counterfoil.domain.errors import TransientError
from counterfoil.platforms.omtrader import looks
from counterfoil.platforms.omtrader.envelope import Envelope
from counterfoil.platforms.omtrader.looks import Looks

NEWEST_FIRST = list(range(60, 0, -1))


class Server:
    """A list behind pages; `cap`: the most rows of a page, which are also how it counts pages; `bend`: what it makes of a page."""

    def __init__(self, ids, *, cap=1_000, bend=lambda rows, _page, _limit: rows):
        self.ids, self.cap, self.bend = ids, cap, bend
        self.asked = 0

    async def get(self, _path, _priority, params):
        self.asked += 1
        limit = min(params["limit"], self.cap)
        start = (params["page"] - 1) * limit
        return self.bend(self.ids[start : start + limit], params["page"], limit)

    def understood(self, rows):
        return Envelope(success=True, data=msgspec.Raw(msgspec.json.encode([{"id": key} for key in rows])))


async def read(server, floor=None, size=20):
    found = await Looks(server, "/deals", size)._above("/deals", floor)
    return [row["id"] for row in found]


@pytest.mark.parametrize("size", [2, 7, 20, 59, 60, 61, 500])
@pytest.mark.parametrize("cap", [10, 20, 59, 60, 61, 1_000])
async def test_a_list_is_read_whole_whatever_the_server_makes_of_the_page_size(size, cap):
    assert await read(Server(NEWEST_FIRST, cap=cap), size=size) == NEWEST_FIRST


@pytest.mark.parametrize("floor", [1, 30, 40, 41, 59, 60])
async def test_nothing_below_the_floor_is_given_and_nothing_above_it_left_out(floor):
    assert await read(Server(NEWEST_FIRST), floor) == list(range(60, floor, -1))


async def test_reading_stops_where_what_is_known_begins():
    server = Server(NEWEST_FIRST)
    await read(server, 45)
    assert server.asked == 1


@pytest.mark.parametrize("floor", [None, 0])
async def test_an_empty_list_is_empty_where_nothing_was_known_to_be_in_it(floor):
    assert await read(Server([]), floor) == []


@pytest.mark.parametrize("ids", [[], [60, 59]])
async def test_a_list_that_ends_before_what_was_known_to_be_there_proves_nothing(ids):
    with pytest.raises(TransientError, match="ends before it comes to what was known"):
        await read(Server(ids), 50)


@pytest.mark.parametrize("ids", [NEWEST_FIRST[::-1], [5, 6], [60, 58, 59, 57]])
async def test_a_list_in_another_order_proves_nothing(ids):
    with pytest.raises(TransientError, match="not sorted newest first"):
        await read(Server(ids), 3)


# Pages count as if they were whole: what lies behind the cut is on no page of that size.
async def test_behind_a_page_that_is_cut_short_the_reading_goes_on():
    server = Server(NEWEST_FIRST, bend=lambda rows, _page, _limit: rows[:15])
    assert await read(server) == NEWEST_FIRST


@pytest.mark.parametrize("rows", [1, 3])
async def test_pages_that_are_cut_too_short_to_read_on_prove_nothing(rows):
    server = Server(NEWEST_FIRST, bend=lambda found, _page, _limit: found[:rows])
    with pytest.raises(TransientError):
        await read(server)


async def test_rows_that_vanish_while_the_list_is_read_are_noticed():
    server = Server(list(NEWEST_FIRST))

    def bend(rows, _page, _limit):
        # The three newest leave after each page: the rest moves up over the border of the next.
        del server.ids[:3]
        return rows

    server.bend = bend
    with pytest.raises(TransientError, match="changed while it was read"):
        await read(server)


async def test_rows_that_enter_while_the_list_is_read_leave_no_gap():
    server = Server(list(NEWEST_FIRST))

    def bend(rows, _page, _limit):
        if len(server.ids) < 63:
            server.ids.insert(0, server.ids[0] + 1)
        return rows

    server.bend = bend
    assert set(await read(server)) >= set(NEWEST_FIRST)


async def test_a_server_that_gives_the_same_page_for_ever_proves_nothing():
    server = Server(NEWEST_FIRST, bend=lambda _rows, _page, limit: NEWEST_FIRST[:limit])
    with pytest.raises(TransientError):
        await read(server)


async def test_a_list_without_an_end_is_a_bounded_effort(monkeypatch):
    monkeypatch.setattr(looks, "MOST_PAGES", 10)
    server = Server(range(10_000, 0, -1), bend=lambda rows, _page, _limit: list(rows))
    with pytest.raises(TransientError, match="no end after 10 pages"):
        await read(server)
    assert server.asked == 10


@pytest.mark.parametrize("wrong", [None, "12", 0, -1, True])
async def test_a_record_without_a_readable_id_proves_nothing(wrong):
    with pytest.raises(TransientError, match="without a readable id"):
        await read(Server([60, wrong, 58]))
