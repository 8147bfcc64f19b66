import asyncio
import gzip
import socket
import ssl
import sys
import tracemalloc
import zlib
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from counterfoil.domain.errors import ConfigurationError, PausedError
from counterfoil.domain.outcome import Silence
from counterfoil.domain.priority import Priority
from counterfoil.platforms import http as module
from counterfoil.platforms.http import Answer, Http
from support.budget import FreeBudget
from support.tls import Authority
from support.tls_server import answer, answers, canned, hang_up, silence

MIB = 1024 * 1024

# Reading and changing go by different libraries; what is true of the one must be true of the other.
WAYS = {"reading": {"method": "GET"}, "login": {"method": "POST", "login": True}, "changing": {"method": "POST"}}
way = WAYS["reading"]


@pytest.fixture(params=WAYS, autouse=True)
def each_way(request, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "way", WAYS[request.param])


@pytest.fixture(scope="session")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def budget():
    return FreeBudget()


@asynccontextmanager
async def opened(url, **options):
    http = Http(url, **{"timeout": 25.0, **options})
    try:
        yield http
    finally:
        await http.close()


async def ask(http, budget, path="/list", **options):
    given = {"headers": {}, "priority": Priority.NORMAL, "path": path, **way, **options}
    return await http.exchange(budget=budget, **given)


async def asked(url, budget, **options):
    async with opened(url, **options) as http:
        return await ask(http, budget)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def test_an_answer_carries_status_body_and_digest(budget):
    async with canned(answer(b"hello", "201 Created")) as server:
        got = await asked(server.url, budget)
    assert (got.status, got.body, got.silence, got.is_good) == (201, b"hello", None, True)
    assert (budget.told, budget.held) == ([("succeeded", None)], 0)


async def test_digests_are_equal_only_for_the_same_content_of_the_same_path(budget):
    async with canned(answers(answer(b"a"), answer(b"b"), answer(b"a"))) as server, opened(server.url) as http:
        paths = ("/1", "/1", "/1", "/2")
        a, b, again, elsewhere = [(await ask(http, budget, path)).digest for path in paths]
    assert (a == again, a == b, a == elsewhere) == (True, False, False)


async def test_the_body_of_an_answer_is_not_in_its_repr():
    assert "secret" not in repr(Answer(200, b'{"access_token":"secret"}'))


@pytest.mark.parametrize("body", [None, b'{"a":1}'])
async def test_each_way_says_the_same_to_the_platform(budget, body):
    async with canned(answer(b"hello")) as server, opened(server.url) as http:
        headers = {"authorization": "Basic secret"}
        await ask(
            http,
            budget,
            headers=headers,
            params={"remember_me": "false"},
            **({} if way["method"] == "GET" else {"body": body}),
        )
        line, *said = server.heard[0].partition(b"\r\n\r\n")[0].decode().split("\r\n")
    told = {name.lower(): value for name, value in (one.split(": ") for one in said)}
    length = {} if way["method"] == "GET" else {"content-length": str(len(body or b""))}
    kind = {"content-type": "application/json"} if body and way["method"] != "GET" else {}
    assert line == f"{way['method']} /list?remember_me=false HTTP/1.1"
    assert told.pop("host") in server.url
    assert told == {
        "accept": "application/json", "accept-encoding": "gzip", "user-agent": "counterfoil", "connection": "keep-alive",
        "authorization": "Basic secret", **length, **kind,
    }  # fmt: skip


async def test_only_what_changes_something_goes_by_httpx_itself(budget):
    async with canned(answer(b"hello")) as server, opened(server.url) as http:
        await ask(http, budget)
        assert (http._transport._changing is not None) == (way is WAYS["changing"])


# TLS


async def test_a_private_authority_is_trusted_through_ca_file(authority, budget):
    async with canned(answer(b"hello"), tls=authority.server()) as server:
        got = await asked(server.url, budget, ca_file=authority.ca_file)
    assert (got.status, got.body) == (200, b"hello")


async def test_without_ca_file_the_reason_names_it(authority, budget):
    async with canned(answer(), tls=authority.server()) as server:
        got = await asked(server.url, budget)
        assert (got.silence, server.heard) == (Silence.NOT_CONNECTED, [])
    assert "for a private authority set ca_file" in got.reason


async def test_an_upper_case_scheme_is_verified_as_well(authority, budget):
    async with canned(answer(), tls=authority.server()) as server:
        got = await asked(server.url.replace("https", "HTTPS"), budget)
        assert (got.silence, server.heard) == (Silence.NOT_CONNECTED, [])


async def test_the_ca_file_of_another_authority_is_said_to_be_wrong(authority, budget, tmp_path):
    other = Authority(tmp_path, "other")
    async with canned(answer(), tls=authority.server()) as server:
        got = await asked(server.url, budget, ca_file=other.ca_file)
    assert got.silence is Silence.NOT_CONNECTED
    assert f"ca_file {other.ca_file} does not hold the authority" in got.reason


async def test_an_expired_certificate_is_called_expired_and_not_a_matter_of_ca_file(authority, budget):
    async with canned(answer(), tls=authority.server(expired=True)) as server:
        got = await asked(server.url, budget, ca_file=authority.ca_file)
    assert (got.silence, "expired" in got.reason, "ca_file" in got.reason) == (Silence.NOT_CONNECTED, True, False)


async def test_a_certificate_of_another_host_is_refused(authority, budget):
    async with canned(answer(), tls=authority.server(address="127.0.0.2")) as server:
        got = await asked(server.url, budget, ca_file=authority.ca_file)
        assert server.heard == []
    assert (got.silence, "not valid for '127.0.0.1'" in got.reason) == (Silence.NOT_CONNECTED, True)


async def test_a_plain_server_behind_an_https_url_is_said_to_be_plain(budget):
    async def babble(writer):
        writer.write(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n")
        writer.close()

    async def greet(_reader, writer):
        await babble(writer)

    listener = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with listener:
        got = await asked(f"https://127.0.0.1:{listener.sockets[0].getsockname()[1]}", budget)
    assert (got.silence, "https server?" in got.reason) == (Silence.NOT_CONNECTED, True)


@pytest.mark.parametrize(
    "content", [None, b"", b"junk", b"-----BEGIN CERTIFICATE-----\njunk\n-----END CERTIFICATE-----\n"]
)
def test_an_unreadable_ca_file_is_a_matter_of_configuration(tmp_path, content):
    ca_file = tmp_path / "ca.pem"
    if content is not None:
        ca_file.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"ca_file .*ca\.pem: not a readable PEM certificate"):
        Http("https://127.0.0.1", timeout=1, ca_file=ca_file)


# No connection


async def test_a_refused_connection_names_the_server_and_why(budget):
    url = f"http://127.0.0.1:{free_port()}"
    got = await asked(url, budget)
    assert (got.silence, got.reason) == (Silence.NOT_CONNECTED, f"cannot connect to {url}: Connection refused")
    assert budget.told == [("failed", got.reason)]


async def test_an_unknown_host_is_named(budget):
    got = await asked("http://nobody.invalid", budget)
    assert (got.silence, "cannot connect to http://nobody.invalid: " in got.reason) == (Silence.NOT_CONNECTED, True)


async def test_a_server_that_never_finishes_the_handshake_never_saw_the_request(budget):
    async with canned(silence) as server:
        got = await asked(server.url.replace("http", "https"), budget, timeout=0.3)
    assert (got.silence, "in time" in got.reason) == (Silence.NOT_CONNECTED, True)


@pytest.mark.parametrize("url", ["ftp://127.0.0.1", "http://xn--zzzzzzz--", "//127.0.0.1"])
async def test_a_url_that_cannot_be_asked_sends_nothing(budget, url):
    got = await asked(url, budget)
    assert (got.silence, "check base_url" in got.reason) == (Silence.NOT_CONNECTED, True)


async def test_a_header_that_cannot_be_sent_is_no_crash(budget):
    async with canned(answer()) as server, opened(server.url) as http:
        got = await ask(http, budget, headers={"authorization": "Bearer tökén"})
        assert (got.silence, server.heard, "kén" in got.reason) == (Silence.NOT_CONNECTED, [], False)


# Slow, huge and broken answers


async def test_a_deaf_server_costs_no_more_than_the_timeout(budget):
    async with canned(silence) as server:
        got = await asked(server.url, budget, timeout=0.2)
    assert (got.silence, got.reason) == (Silence.INTERRUPTED, "no complete answer within 0.2 s")
    assert (budget.told, budget.held) == ([("failed", got.reason)], 0)


async def test_a_body_that_drips_is_bounded_as_a_whole(budget):
    async def drip(writer):
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")
        while True:
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0)

    async with canned(drip) as server:
        got = await asked(server.url, budget, timeout=0.2)
    assert (got.silence, got.reason) == (Silence.INTERRUPTED, "no complete answer within 0.2 s")


async def endless(writer):
    writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")
    while True:
        writer.write(b"x" * MIB)
        await writer.drain()


async def test_an_endless_body_is_cut_off_at_the_limit(budget):
    async with canned(endless) as server:
        tracemalloc.start()
        got = await asked(server.url, budget, timeout=20)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        await server.gone.wait()
    assert (got.silence, got.reason) == (Silence.INTERRUPTED, "the answer is larger than 32 MiB")
    assert peak < 4 * module.BODY_LIMIT
    assert budget.told == [("failed", got.reason)]


async def test_a_body_of_just_the_limit_is_whole(budget, monkeypatch):
    monkeypatch.setattr(module, "BODY_LIMIT", MIB)
    async with canned(answers(answer(b"x" * MIB), answer(b"x" * (MIB + 1)))) as server, opened(server.url) as http:
        whole, cut = await ask(http, budget), await ask(http, budget)
    assert (len(whole.body), cut.silence) == (MIB, Silence.INTERRUPTED)


def bomb(size):
    """So many zeros, compressed."""
    packer = zlib.compressobj(9, wbits=31)
    return b"".join(packer.compress(bytes(MIB)) for _ in range(size // MIB)) + packer.flush()


async def test_a_compressed_body_is_unpacked(budget):
    body = bytes(range(256)) * 4000
    async with canned(answer(gzip.compress(body, mtime=0), content_encoding="gzip")) as server:
        got = await asked(server.url, budget)
        assert b"accept-encoding: gzip\r\n" in server.heard[0].lower()
    assert got.body == body


async def test_a_bomb_of_zeros_is_cut_off_at_the_limit_in_little_memory(budget, monkeypatch):
    monkeypatch.setattr(module, "BODY_LIMIT", MIB)
    packed = bomb(256 * MIB)
    async with canned(answer(packed, content_encoding="gzip")) as server:
        tracemalloc.start()
        got = await asked(server.url, budget)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert (got.silence, got.reason) == (Silence.INTERRUPTED, "the answer is larger than 1 MiB")
    assert peak < 8 * MIB


@pytest.mark.parametrize("encoding", ["gzip, gzip", "br", "deflate", "zstd", "gzip,identity"])
async def test_a_compression_that_was_not_asked_for_is_not_undone(budget, encoding):
    async with canned(answer(bomb(MIB), content_encoding=encoding)) as server:
        got = await asked(server.url, budget)
    assert (got.silence, got.reason) == (Silence.INTERRUPTED, "the answer's compression is broken: unknown compression")


@pytest.mark.parametrize(
    "body", [b"no gzip at all", gzip.compress(b"x" * 10_000, mtime=0)[:-12], gzip.compress(b"", mtime=0)[:5]]
)
async def test_a_broken_compression_is_a_broken_answer(budget, body):
    async with canned(answer(body, content_encoding="gzip")) as server:
        got = await asked(server.url, budget)
    assert (got.silence, "compression is broken" in got.reason) == (Silence.INTERRUPTED, True)


async def test_an_empty_body_needs_no_unpacking(budget):
    async with canned(answer(b"", "204 No Content", content_encoding="gzip")) as server:
        got = await asked(server.url, budget)
    assert (got.status, got.body) == (204, b"")


async def say_junk(writer):
    writer.write(b"this is no HTTP\r\n\r\n")


async def cut_short(writer):
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nshort")
    await writer.drain()
    writer.close()


@pytest.mark.parametrize("say", [hang_up, say_junk, cut_short])
async def test_a_connection_that_breaks_leaves_the_outcome_open(budget, say):
    async with canned(say) as server:
        got = await asked(server.url, budget)
    assert (got.status, got.silence) == (0, Silence.INTERRUPTED)
    assert (got.reason.startswith("the connection broke"), budget.told) == (True, [("failed", got.reason)])


# What is never done


async def test_a_redirect_is_not_followed(budget):
    async with canned(answer(b"", "302 Found", location="/elsewhere")) as server:
        got = await asked(server.url, budget)
        assert (got.status, len(server.heard)) == (302, 1)


async def test_a_failed_request_is_not_tried_again(budget):
    async with canned(hang_up) as server:
        await asked(server.url, budget)
        assert len(server.heard) == 1


async def test_a_connection_that_breaks_when_it_is_used_again_is_not_tried_again(budget):
    async with canned(answers(answer(b"a"), hang_up)) as server, opened(server.url) as http:
        assert (await ask(http, budget)).body == b"a"
        assert (await ask(http, budget)).silence is Silence.INTERRUPTED
        assert (len(server.heard), server.connections) == (2, 1)


async def test_proxies_of_the_environment_are_not_used(budget, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    async with canned(answer(b"hello")) as server:
        assert (await asked(server.url, budget)).body == b"hello"


async def test_cookies_are_neither_kept_nor_sent(budget):
    async with canned(answer(b"", set_cookie="a=b; Path=/")) as server, opened(server.url) as http:
        await ask(http, budget)
        await ask(http, budget)
        assert (len(server.heard), b"cookie" in server.heard[1].lower()) == (2, False)


# The budget


def http_date(seconds):
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("header", "lowest", "highest"),
    [
        ("7", 7, 7), ("0.5", 0.5, 0.5), ("0", 5, 5), ("-3", 5, 5), ("nan", 5, 5), ("soon", 5, 5), ("", 5, 5), ("1, 2", 5, 5),
        ("inf", 3600, 3600), ("9" * 400, 3600, 3600), ("Mon, 01 Jan 99999999999999999999 00:00:00 GMT", 5, 5),
        ("Mon, 01 Jan 2035 00:00:00 +99999999", 5, 3600), ("Thu, 01 Jan 2015 00:00:00 -0000", 5, 5),
    ],
)  # fmt: skip
@pytest.mark.parametrize("status", ["429 Too Many Requests", "425 Too Early"])
async def test_the_budget_learns_how_long_the_platform_asks_to_wait(budget, status, header, lowest, highest):
    async with canned(answer(b"", status, retry_after=header)) as server:
        await asked(server.url, budget)
    ((kind, seconds),) = budget.told
    assert (kind, lowest <= seconds <= highest) == ("limited", True), seconds


@pytest.mark.parametrize(("ahead", "lowest", "highest"), [(60, 50, 60), (-60, 5, 5), (86_400, 3600, 3600)])
async def test_a_date_to_come_back_is_so_many_seconds(budget, ahead, lowest, highest):
    async with canned(answer(b"", "429 Too Many Requests", retry_after=http_date(ahead))) as server:
        await asked(server.url, budget)
    ((kind, seconds),) = budget.told
    assert (kind, lowest <= seconds <= highest) == ("limited", True), seconds


async def test_a_limit_without_a_time_is_a_short_one(budget):
    async with canned(answer(b"", "429 Too Many Requests")) as server:
        got = await asked(server.url, budget)
    assert (got.retry_after, budget.told) == (None, [("limited", 5.0)])


@pytest.mark.parametrize("status", [500, 502, 503, 504, 599])
async def test_a_broken_server_counts_as_failed(budget, status):
    async with canned(answer(b"", f"{status} Broken")) as server:
        await asked(server.url, budget)
    assert budget.told == [("failed", f"HTTP {status}")]


@pytest.mark.parametrize("status", [200, 302, 400, 401, 403, 404, 409, 422])
async def test_a_server_that_answers_counts_as_healthy(budget, status):
    async with canned(answer(b"", f"{status} Answer")) as server:
        await asked(server.url, budget)
    assert budget.told == [("succeeded", None)]


async def test_the_budget_is_asked_with_the_priority_before_anything_is_sent():
    budget = FreeBudget(PausedError("left alone"))
    async with canned(answer()) as server, opened(server.url) as http:
        with pytest.raises(PausedError):
            await ask(http, budget, priority=Priority.SWEEP)
        assert (budget.asked, server.connections, budget.told) == ([Priority.SWEEP], 0, [])


async def test_a_cancelled_request_gives_its_place_back_and_hangs_up(budget):
    async with canned(silence) as server, opened(server.url) as http:
        task = asyncio.create_task(ask(http, budget))
        await server.arrived.wait()
        assert budget.held == 1
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (budget.held, budget.told) == (0, [])


async def test_the_servers_clock_is_told_when_it_can_be_read(budget):
    says = answers(
        answer(date="Wed, 21 Oct 2015 07:28:00 GMT"), answer(date="-"), answer(date="Wed, 21 Oct 2015 07:28:00 -0000")
    )
    async with canned(says) as server, opened(server.url) as http:
        dates = [(await ask(http, budget)).date for _ in range(3)]
    assert dates == [datetime(2015, 10, 21, 7, 28, tzinfo=UTC), None, datetime(2015, 10, 21, 7, 28, tzinfo=UTC)]


def test_the_machines_own_authorities_are_used_without_a_file():
    context = module.tls_context(None)
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
