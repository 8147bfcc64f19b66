"""The event stream over real sockets: what the platform says is in the mirror, and the polls are the judge."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable

import aiohttp
import pytest
import sqlalchemy as sa

from counterfoil.pull.live import LOOKS
from counterfoil.pull.pacing import STREAMED, slowed
from counterfoil.pull.streamed import Rhythm
from counterfoil.sandbox.feed import Row
from counterfoil.sandbox.rows import Record
from counterfoil.store import bulk, streams
from counterfoil.store.mirrored import MirroredBooks
from support.pulling import EVERY, interval, one_pass, said
from support.streaming import PATIENCE, QUICK, QUOTED, no_polls, streamed
from support.waiting import until

SOCKET = "^/ws/v1"
# An id that the platform never gave.
MADE_UP = 999_999_999
STREAM = "SELECT failures, reason FROM counterfoil.freshness WHERE resource = 'stream'"


async def test_the_mirror_is_what_the_books_say_without_a_single_poll(database_url):
    async with streamed(database_url) as it:
        it.replica(catch_up=no_polls).start()
        await it.listening()
        it.bench.forget_requests()
        it.bench.books.trade(30)
        await it.follows(besides=QUOTED)
        assert it.bench.asked("/api/") == []
        assert it.bench.books.check() == []
        assert it.differences(*STREAMED, besides=QUOTED) == []


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "repeat_events", "copies": 3},
        {"kind": "old_news"},
        {"kind": "garbage_frame"},
        {"kind": "garbage_frame", "text": "[[[", "every": 2},
        {"kind": "garbage_frame", "text": '{"type":7}', "every": 2},
        {"kind": "garbage_frame", "text": '{"type":"deals_create","data":[1]}', "every": 3},
        {"kind": "garbage_frame", "text": "1,1.1,1.2", "binary": True},
        {"kind": "garbage_frame", "text": '{"type":"journal_create","data":{"id":1}}'},
    ],
)
async def test_doubled_outdated_and_garbled_frames_change_nothing(database_url, fault):
    async with streamed(database_url) as it:
        it.replica(catch_up=no_polls).start()
        await it.listening()
        it.bench.sandbox.faults.set(fault)
        it.bench.books.trade(15)
        await it.follows(besides=QUOTED)
        assert it.bench.sandbox.faults.fired(fault["kind"]) > 10
        assert it.bench.rows("SELECT FROM counterfoil.quarantine") == []


async def test_what_cannot_be_understood_is_said_once_a_connection(database_url):
    async with streamed(database_url) as it:
        with said() as lines:
            it.replica(catch_up=no_polls).start()
            await it.listening()
            it.bench.sandbox.faults.set({"kind": "garbage_frame", "text": '{"type":"orders_update","data":{"id":5}}'})
            it.bench.books.trade(10)
            await it.follows(besides=QUOTED)
            (line,) = lines("stream.garbled")
        assert line["reason"] == "orders_update without account_id: not the whole record"


async def test_a_record_that_cannot_be_read_lies_in_quarantine(database_url):
    wrong = '{"id":99999,"account_id":"x","symbol_id":1,"type":0,"status":0,"volume_current":1,"updated_at":null}'
    async with streamed(database_url) as it:
        with said() as lines:
            it.replica(catch_up=no_polls).start()
            await it.listening()
            text = f'{{"type":"orders_place","data":{wrong}}}'
            it.bench.sandbox.faults.set({"kind": "garbage_frame", "text": text})
            it.bench.books.trade(5)
            await it.follows(besides=QUOTED)
            line = await it.hears(lines, "record.quarantined")
            assert len(lines("record.quarantined")) == 1
        (kept,) = it.bench.rows("SELECT resource, record_id, body FROM counterfoil.quarantine")
        assert line["record_id"] == "99999"
        assert (kept.resource, kept.record_id, kept.body) == ("orders", "99999", wrong)


async def test_what_happens_in_a_gap_is_polled_after_it(database_url):
    async with streamed(database_url) as it:
        with said() as lines:
            it.replica().start()
            await it.hears(lines, "stream.caught_up")
            it.bench.sandbox.faults.set(
                [{"kind": "drop_stream", "times": 1}, {"kind": "error_before", "path": SOCKET, "status": 503}]
            )
            it.bench.books.trade(5)
            ended = await it.hears(lines, "stream.ended")
            it.bench.books.trade(5)
            await it.hears(lines, "stream.ended", 3)
            (told,) = it.bench.rows(STREAM)
            assert told.failures > 0
            it.bench.sandbox.faults.clear()
            await it.hears(lines, "stream.caught_up", 2)
            (told,) = it.bench.rows(STREAM)
            assert (told.failures, told.reason) == (0, None)
        assert "the platform closed the stream" in ended["reason"]
        assert lines("stream.ended")[2]["reason"] == "the look before the stream: HTTP 503"
        await it.follows()
        assert it.differences(*STREAMED) == []


async def test_events_that_never_come_are_found_by_the_next_poll(database_url):
    async with streamed(database_url) as it:
        replica = it.replica()
        with said() as lines:
            replica.start()
            await it.hears(lines, "stream.caught_up")
            await it.listening()
            it.bench.sandbox.faults.set({"kind": "lose_event", "every": 2})
            it.bench.books.trade(10)
            await it.hears_all(lines)
        assert it.differences("deals") != []
        assert await one_pass(replica.puller, *STREAMED, wait=True) == {}
        await it.follows()
        assert it.differences(*STREAMED) == []


async def test_a_lie_of_the_stream_does_not_outlive_the_next_poll(database_url):
    """Not even where the poll finds the very page that it remembers."""
    async with streamed(database_url) as it:
        replica = it.replica()
        with said() as lines:
            replica.start()
            await it.hears(lines, "stream.caught_up")
            await it.listening()
            deal = it.bench.books.deals.rows[it.bench.books.deals.ids[-1]]
            sent = deal.render().decode().replace('"profit":', '"profit":666', 1)
            lie = sent.replace('"updated_at":"2', '"updated_at":"3')
            feed = it.bench.sandbox.platform.feed
            for listener in feed._listeners.values():
                listener.send(f'{{"type":"deals_update","data":{lie}}}')
            await it.hears(lines, "stream.written")
        assert it.differences("deals") != []
        assert await one_pass(replica.puller, "deals") == {}
        assert it.differences("deals") == []


async def test_rows_that_the_stream_made_up_do_not_outlive_the_next_sweep(database_url):
    known = " UNION ALL ".join(f"SELECT FROM mirror.{table} WHERE id = {MADE_UP}" for table in STREAMED)
    async with streamed(database_url) as it:
        replica, books = it.replica(), it.bench.books
        with said() as lines:
            replica.start()
            await it.hears(lines, "stream.caught_up")
            await it.listening()
            names = {"positions_open": books.positions, "orders_place": books.orders, "deals_create": books.deals}
            for listener in it.bench.sandbox.platform.feed._listeners.values():
                for name, ledger in names.items():
                    listener.send(f'{{"type":"{name}","data":{invented(ledger.rows[ledger.ids[-1]])}}}')
            await until(lambda: len(it.bench.rows(known)), (3,), PATIENCE)
        await replica.die()
        for _ in range(LOOKS):
            assert await one_pass(replica.puller, "positions", "orders") == {}
        assert await one_pass(replica.puller, "sweep") == {}
        assert it.differences(*STREAMED) == []


def invented(row: Row) -> str:
    """A row under an id that nobody gave; it says that it is live."""
    record = re.sub('"id":[0-9]+', f'"id":{MADE_UP}', row.render().decode(), count=1)
    return re.sub('"status":[0-9]+', '"status":0', record, count=1)


# --- the connection -----------------------------------------------------------------------------------------------------


async def test_a_platform_that_falls_silent_is_left_and_asked_again(database_url):
    async with streamed(database_url) as it:
        with said() as lines:
            it.replica(silence=2.0).start()
            await it.hears(lines, "stream.caught_up")
            it.bench.sandbox.faults.set({"kind": "mute", "times": 1})
            ended = await it.hears(lines, "stream.ended")
            await it.hears(lines, "stream.caught_up", 2)
        assert re.fullmatch("nothing was heard for [0-9]+ s, not even the answer to a heartbeat", ended["reason"])


async def test_a_session_that_the_platform_ends_is_followed_by_one_new_login(database_url):
    async with streamed(database_url) as it:
        with said() as lines:
            it.replica().start()
            await it.hears(lines, "stream.caught_up")
            logins = it.bench.sandbox.requests.logins
            it.bench.sandbox.faults.set({"kind": "session_logout", "times": 1})
            ended = await it.hears(lines, "stream.ended")
            await it.hears(lines, "stream.caught_up", 2)
        assert ended["reason"] == "the platform ended our session (session_logout)"
        assert it.bench.sandbox.requests.logins == logins + 1


async def test_a_token_that_is_worthless_before_the_stream_is_renewed(database_url):
    async with streamed(database_url) as it:
        replica = it.replica()
        await replica.puller.reader.log_in()
        logins = it.bench.sandbox.requests.logins
        it.bench.sandbox.platform.expire_tokens()
        with said() as lines:
            replica.start()
            await it.hears(lines, "stream.caught_up")
            assert lines("stream.ended") == []
        assert it.bench.sandbox.requests.logins == logins + 1


async def test_a_session_that_another_connection_holds_is_given_up_after_some_tries(database_url):
    async with streamed(database_url) as it, aiohttp.ClientSession() as other:
        replica = it.replica()
        session = await replica.puller.reader._sessions.current()
        query = {"session_id": session.session_id, "access_token": session.access_token}
        async with other.ws_connect(f"{it.bench.sandbox.url}/ws/v1", params=query):
            with said() as lines:
                replica.start()
                await it.hears(lines, "stream.caught_up")
                reasons = [line["reason"] for line in lines("stream.ended")]
        assert reasons == ["the platform says that our session is already used by a connection"] * 3


async def test_a_session_that_runs_out_is_renewed_with_its_stream(database_url):
    async with streamed(database_url) as it:
        replica = it.replica()
        with said() as lines:
            replica.start()
            await it.hears(lines, "stream.caught_up")
            replica.puller.reader._sessions._clock = lambda: time.time() + 3600
            await it.hears(lines, "stream.renewed")
            await it.hears(lines, "stream.caught_up", 2)
            assert lines("stream.ended") == []


@pytest.mark.parametrize("missing", [404, 405])
async def test_a_platform_without_the_look_before_the_stream_is_streamed_all_the_same(database_url, missing):
    async with streamed(database_url) as it:
        look = {"kind": "error_before", "path": SOCKET, "method": "POST", "status": missing}
        it.bench.sandbox.faults.set(look)
        with said() as lines:
            it.replica().start()
            await it.hears(lines, "stream.caught_up")
            assert lines("stream.ended") == []


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"kind": "error_before", "method": "GET", "status": 502}, "the stream was refused: HTTP 502"),
        ({"kind": "error_before", "method": "GET", "status": 302}, "the stream was refused: HTTP 302"),
        ({"kind": "drop_before", "method": "GET"}, "cannot open the stream: ServerDisconnectedError"),
        ({"kind": "html", "method": "POST", "status": 500}, "the look before the stream: HTTP 500"),
        ({"kind": "unmark", "method": "POST"}, "a simulator answered in place of the platform, or the other way round"),
    ],
)
async def test_a_stream_that_cannot_be_opened_is_tried_again_and_tells_no_secret(database_url, fault, reason):
    async with streamed(database_url) as it:
        it.bench.sandbox.faults.set({**fault, "path": SOCKET})
        replica = it.replica()
        with said() as lines:
            replica.start()
            await it.hears(lines, "stream.ended", 2)
            it.bench.sandbox.faults.clear()
            await it.hears(lines, "stream.caught_up")
        assert {line["reason"] for line in lines("stream.ended")} == {reason}
        assert replica.puller.reader._budget.told.count(("failed", "HTTP 500")) == 0


async def test_a_platform_that_goes_away_and_comes_back_is_followed_again(database_url):
    async with streamed(database_url) as it:
        with said() as lines:
            it.replica().start()
            await it.hears(lines, "stream.caught_up")
            await it.bench.sandbox.stop()
            await it.hears(lines, "stream.ended", 2)
            await it.bench.sandbox.start()
            await it.hears(lines, "stream.caught_up", 2)
        assert it.differences(*STREAMED) == []


# --- floods and a slow database ----------------------------------------------------------------------------------------


async def test_a_flood_is_written_in_batches(database_url):
    async with streamed(database_url) as it:
        with said() as lines:
            it.replica(catch_up=no_polls, rhythm=Rhythm(beat=0.5, linger=0.3, most=500)).start()
            await it.listening()
            it.bench.sandbox.faults.set({"kind": "repeat_events", "copies": 4})
            it.bench.books.trade(100)
            sent = await it.hears_all(lines, copies=5)
        assert sent > 4_000
        assert len(lines("stream.written")) < sent / 100
        assert it.differences(*STREAMED, besides=QUOTED) == []


async def test_what_waits_is_bounded_and_nothing_of_it_is_lost(database_url, monkeypatch):
    async with streamed(database_url) as it:
        most, write = 0, bulk.write

        async def watched(connection, platform, table, page, telling=None):
            nonlocal most
            most = max(most, page.rows)
            return await write(connection, platform, table, page, telling)

        monkeypatch.setattr(bulk, "write", watched)
        it.replica(catch_up=no_polls, rhythm=Rhythm(beat=0.5, linger=0.01, most=20)).start()
        await it.listening()
        it.bench.books.trade(25)
        await it.follows(besides=QUOTED)
        assert 1 < most <= 20


async def test_a_database_that_goes_away_ends_the_stream_and_is_told(database_url, monkeypatch):
    async with streamed(database_url) as it:
        told, write = [], bulk.write

        async def lost(error: BaseException) -> None:
            told.append(error)
            monkeypatch.setattr(bulk, "write", write)

        async def dying(*_given):
            raise sa.exc.OperationalError("INSERT", {}, Exception("server closed the connection"))

        replica = it.replica()
        replica.streamer.on_database_lost = lost
        with said() as lines:
            replica.start()
            await it.hears(lines, "stream.caught_up")
            await it.listening()
            monkeypatch.setattr(bulk, "write", dying)
            it.bench.books.trade(3)
            ended = await it.hears(lines, "stream.ended")
            await it.hears(lines, "stream.caught_up", 2)
        assert ended["reason"] == "the database cannot be reached"
        assert len(told) == 1
        assert it.differences(*STREAMED, besides=QUOTED) == []


# --- replicas -----------------------------------------------------------------------------------------------------------


async def test_one_replica_streams_and_another_takes_over_when_it_ends(database_url):
    async with streamed(database_url) as it:
        first, second = it.replica(), it.replica()
        with said() as lines:
            first.start()
            await it.hears(lines, "stream.caught_up")
            second.start()
            await until(lambda: second.streamer.source._sessions._session is None, (True,), PATIENCE)
            assert len(lines("stream.connected")) == 1
            await first.die()
            await it.hears(lines, "stream.caught_up", 2)
            await it.listening()
            it.bench.books.trade(5)
            await it.follows(besides=QUOTED)
        assert len(lines("stream.connected")) == 2


async def test_a_replica_that_lost_its_lease_writes_nothing_more(database_url):
    async with streamed(database_url) as it:
        replica = it.replica(rhythm=Rhythm(beat=0.05, linger=0.01, stand_by=60.0))
        with said() as lines:
            replica.start()
            await it.hears(lines, "stream.caught_up")
            await it.listening()
            await it.rob()
            before = it.bench.rows("SELECT count(*) AS rows FROM mirror.deals")
            it.bench.books.trade(3)
            await it.hears(lines, "lease.lost")
            await it.deaf()
        assert it.bench.rows("SELECT count(*) AS rows FROM mirror.deals") == before


async def test_a_replica_that_lost_its_lease_hangs_up_although_nothing_happens(database_url):
    async with streamed(database_url) as it:
        with said() as lines:
            it.replica(rhythm=Rhythm(beat=0.05, linger=0.01, stand_by=60.0)).start()
            await it.hears(lines, "stream.caught_up")
            await it.rob()
            await it.hears(lines, "lease.lost")
            await it.deaf()
            assert lines("stream.ended") == []


async def test_a_group_that_is_new_is_subscribed_to_and_caught_up_with(database_url):
    async with streamed(database_url) as it:
        replica = it.replica()
        with said() as lines:
            replica.start()
            await it.hears(lines, "stream.caught_up")
            groups = it.bench.books.groups
            known = groups.rows[groups.ids[-1]]
            groups.add(Record(9_001, known.created_at, known.updated_at, {**known.fields, "id": 9_001}))
            assert await one_pass(replica.puller, "groups") == {}
            await it.listening()
            await it.hears(lines, "stream.caught_up", 2)
            assert lines("stream.ended") == []


async def test_nobody_streams_before_everything_was_read_once(database_url):
    async with streamed(database_url) as it:
        it.bench.rows("DELETE FROM counterfoil.freshness WHERE resource = 'deals' RETURNING 1")
        replica = it.replica()
        with said() as lines:
            asked = asyncio.Event()
            has_read = replica.streamer.has_read

            async def watched(resource: str) -> bool:
                if resource == "deals":
                    asked.set()
                return await has_read(resource)

            replica.streamer.has_read = watched
            replica.start()
            await asyncio.wait_for(asked.wait(), PATIENCE)
            assert lines("stream.connected") == []
            await one_pass(replica.puller, "deals")
            await it.hears(lines, "stream.connected")


async def until_so(look: Callable[[], Awaitable[object]], wanted: object) -> None:
    """Ask until the answer is the one wanted."""
    async with asyncio.timeout(PATIENCE):
        while await look() != wanted:  # noqa: ASYNC110 - the database has no event
            await asyncio.sleep(0)


# --- pace ---------------------------------------------------------------------------------------------------------------


async def test_polls_slow_down_when_the_stream_has_proven_itself_and_speed_up_when_it_ends(database_url):
    async with streamed(database_url) as it:
        replica, other = it.replica(rhythm=Rhythm(beat=0.05, linger=0.01, first_pause=60.0)), it.replica()

        async def pace() -> set[object]:
            return {await interval(one.puller, name) for one in (replica, other) for name in STREAMED}

        with said() as lines:
            replica.start()
            await it.hears(lines, "stream.caught_up")
            await it.listening()
            assert await pace() == {EVERY}
            it.bench.books.trade(2)
            await it.hears(lines, "stream.written")
            await until_so(pace, {slowed(EVERY)})
            assert await interval(other.puller, "accounts") == EVERY
            it.bench.sandbox.faults.set({"kind": "drop_stream"})
            await it.hears(lines, "stream.ended")
            await until_so(pace, {EVERY})


async def test_a_stream_that_was_not_seen_for_a_while_is_not_relied_on(database_url):
    async with streamed(database_url) as it:
        puller = it.replica().puller
        await streams.alive(puller.runs.engine, "live")
        assert await interval(puller, "deals") == slowed(EVERY)
        it.bench.rows(
            "UPDATE counterfoil.freshness SET as_of = now() - interval '31 s' WHERE resource = 'stream' RETURNING 1"
        )
        assert await interval(puller, "deals") == EVERY


async def test_a_platform_without_a_stream_is_polled_as_ever(database_url):
    async with streamed(database_url) as it:
        puller = it.bench.puller()
        await streams.alive(puller.runs.engine, "live")
        assert await interval(puller, "deals") == EVERY


async def test_positions_that_an_event_opens_while_a_poll_runs_are_not_looked_for(database_url):
    async with streamed(database_url) as it:
        replica = it.replica(catch_up=no_polls, rhythm=QUICK)
        page = replica.puller.reader.page

        async def meddled(resource, query):
            answer = await page(resource, query)
            if resource == "positions_history" and not it.bench.books.positions.ids[-1] > highest:
                while it.bench.books.positions.ids[-1] <= highest:
                    it.bench.books.trade()
                await it.follows("positions", besides=QUOTED)
            return answer

        with said() as lines:
            replica.start()
            await it.listening()
            highest = it.bench.books.positions.ids[-1]
            replica.puller.reader.page = meddled
            assert await one_pass(replica.puller, "positions") == {}
            assert lines("position.unresolved") == []
        assert it.bench.asked("/manager/positions/") != []


# --- the write path -----------------------------------------------------------------------------------------------------


async def test_money_is_looked_for_behind_what_polls_have_seen_whatever_id_an_event_names(database_url):
    async with streamed(database_url) as it:
        replica = it.replica(catch_up=no_polls)
        books = MirroredBooks(replica.puller.runs.engine, "live", "comment")
        seen = await books.highest("deals")
        with said() as lines:
            replica.start()
            await it.listening()
            deal = it.bench.books.deals.rows[it.bench.books.deals.ids[-1]]
            lie = deal.render().decode().replace(f'"id":{deal.id}', '"id":999999999', 1)
            for listener in it.bench.sandbox.platform.feed._listeners.values():
                listener.send(f'{{"type":"deals_create","data":{lie}}}')
            await it.hears(lines, "stream.written")
        assert it.bench.rows("SELECT max(id) AS id FROM mirror.deals")[0].id == 999999999
        assert await books.highest("deals") == seen == deal.id
