import asyncio
import io
import json
import logging
import math
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from counterfoil.domain.errors import ConfigurationError, LoginRefusedError, PausedError, PermanentError, TransientError
from counterfoil.domain.outcome import Verdict
from counterfoil.domain.priority import Priority
from counterfoil.observe import logs
from counterfoil.platforms import http, sessions
from counterfoil.platforms.ctrader import client as module
from counterfoil.platforms.ctrader import wire
from counterfoil.platforms.ctrader.client import Connection, CTrader
from counterfoil.platforms.ctrader.session import LIFETIME, Credentials, md5
from counterfoil.platforms.sessions import PrivateVault
from counterfoil.sandbox import Sandbox, SandboxOptions
from counterfoil.store.bindings import NameBinding
from support.budget import FreeBudget
from support.ctrading import FreeAllowance
from support.lines import rows_of
from support.logging_kept import logging_as_it_was
from support.store import connected
from support.tls_server import answer, answers, canned, hang_up, silence

SMALL = SandboxOptions(kind="ctrader", clients=3, accounts=8, deals=40, seed=3)
TOKEN = "00000000-1111-2222-3333-444444444444"
GRANTED = answer(json.dumps({"webservToken": TOKEN}).encode())
BODY = b'{"login":1}'
NOW = datetime.now(UTC)
HEADER = b"login,positionId,dealId,openTimestamp,closeTimestamp,pnl\n"


class SharedVault(PrivateVault):
    """Keeps the session for whoever asks next."""

    kept: bytes | None = None

    async def load(self):
        return self.kept

    async def save(self, session, lifetime):
        assert 0 < lifetime <= LIFETIME
        self.kept = session


@asynccontextmanager
async def client_of(url, *, login=2309, secret=SMALL.password, patience=25.0, **parts):
    made = CTrader(
        Connection(base_url=url, manager=Credentials(login, secret), timeout=patience),
        parts.get("budget") or FreeBudget(),
        parts.get("vault") or PrivateVault(),
        parts.get("allowance") or FreeAllowance(),
        parts.get("binding"),
    )
    try:
        yield made
    finally:
        await made.close()


@pytest.fixture
async def sandbox():
    async with Sandbox(SMALL) as running:
        yield running


@pytest.fixture
def budget():
    return FreeBudget()


@pytest.fixture
def allowance():
    return FreeAllowance()


@pytest.fixture
async def client(sandbox, budget, allowance):
    async with client_of(sandbox.url, budget=budget, allowance=allowance) as client:
        await client.log_in()
        sandbox.requests.clear()
        budget.told.clear()
        budget.asked.clear()
        allowance.taken = 0
        yield client


def token_of(client):
    return client._tokens._session.access_token


async def only(client, resource, remembered=None):
    (page,) = [page async for page in client.snapshot(resource, remembered or {}, Priority.NORMAL)]
    return page


async def groups(client):
    return await only(client, "groups")


async def written(client, path="/v2/webserv/traders/1/changebalance", body=BODY, **options):
    given = {"priority": Priority.MONEY, "deadline": math.inf, **options}
    return await client.calls.write("POST", path, body, **given)


def age(client, seconds):
    """As if the token had been given so many seconds ago."""
    session = client._tokens._session
    client._tokens._session = type(session)(
        **{name: getattr(session, name) for name in session.__struct_fields__ if name != "expires_at"},
        expires_at=session.expires_at - seconds,
    )


# The token


async def test_the_token_travels_in_the_query_alone_and_every_request_asks_for_json():
    says = answers(GRANTED, answer(b'{"traderGroup":[]}'), answer(b'{"error":{"errorCode":"X_Y"}}', "400 Bad Request"))
    async with canned(says) as server, client_of(server.url) as client:
        await groups(client)
        await written(client)
    login, *others = [head.decode().lower() for head in server.heard]
    assert login.startswith("post /v2/webserv/managers/token http/1.1")
    assert TOKEN not in login
    for head in others:
        first, _, rest = head.partition("\r\n")
        assert (f"token={TOKEN}" in first, TOKEN in rest, "authorization" in rest) == (True, False, False)
    assert all("\r\naccept: application/json\r\n" in head for head in (login, *others))


@pytest.mark.parametrize(
    "says",
    [
        answer(
            f'{{"error":{{"errorCode":"INVALID_REQUEST","description":"token {TOKEN} is odd"}}}}'.encode(), "400 Bad"
        ),
        answer(f"INVALID_REQUEST: {TOKEN} {md5('sandbox')} sandbox".encode(), "400 Bad Request"),
        answer(f"<html>/v2?token={TOKEN}</html>".encode(), "502 Bad Gateway"),
        answer(b"", "302 Found", location=f"https://elsewhere/?token={TOKEN}"),
        answer(TOKEN.encode(), "200 OK", content_encoding="br"),
        answer(f'{{"traderGroup":["{TOKEN}"'.encode()),
        hang_up,
        silence,
    ],
)
async def test_the_token_is_in_no_log_line_no_event_and_no_error_even_where_libraries_say_all_they_know(says):
    """As a daemon at level debug writes, and whatever httpx and its connections would say below warnings."""
    stream = io.StringIO()
    with logging_as_it_was():
        logs.configure("json", "debug", stream)
        for name in ("httpx", "httpcore", "asyncio", "counterfoil"):
            logging.getLogger(name).setLevel(logging.DEBUG)
        try:
            async with canned(answers(GRANTED, says)) as server, client_of(server.url, patience=0.3) as client:
                with pytest.raises((TransientError, PermanentError, ConfigurationError)) as caught:
                    await groups(client)
                outcome = await written(client)
                shown = [
                    str(caught.value),
                    repr(caught.value),
                    repr(client),
                    repr(client._tokens._session),
                    outcome.reason,
                ]
                shown += [repr(client._tokens._manager), repr(client._http), str(client._tokens.trouble)]
        finally:
            for name in ("httpx", "httpcore", "asyncio", "counterfoil"):
                logging.getLogger(name).setLevel(logging.NOTSET)
    said = stream.getvalue()
    assert "platform.logged_in" in said
    for secret in (TOKEN, md5("sandbox")):
        assert (secret in said, [text for text in shown if secret in text]) == (False, [])


async def test_logging_in_tells_the_facts_and_happens_once_for_many(sandbox, budget, allowance):
    async with client_of(sandbox.url, budget=budget, allowance=allowance) as client:
        assert client.trouble == "not logged in yet"
        await asyncio.gather(*(groups(client) for _ in range(10)))
        facts = await client.log_in()
    assert (facts.account_id, facts.sandbox, facts.expires_in, abs(facts.skew) < 5) == (2309, True, LIFETIME, True)
    assert (sandbox.requests.logins, allowance.taken, client.trouble) == (1, 1, None)
    assert budget.asked[0] is Priority.MONEY


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_token_is_renewed_once_and_the_request_repeated(sandbox, client, status):
    age(client, 3600)
    sandbox.faults.set({"kind": "error_before", "status": status, "times": 1})
    assert (await groups(client)).rows > 0
    assert [entry.status for entry in sandbox.requests] == [status, 200, 200]


async def test_a_token_that_the_platform_forgot_is_renewed_once_for_all_who_hold_it(sandbox, client):
    age(client, 3600)
    sandbox.platform.expire_tokens()
    pages = await asyncio.gather(*(groups(client) for _ in range(12)))
    assert (sandbox.requests.logins, all(page.rows for page in pages)) == (1, True)


async def test_a_token_that_is_refused_even_when_it_is_new_is_a_matter_of_configuration(sandbox, client):
    age(client, 3600)
    sandbox.faults.set({"kind": "error_before", "status": 401})
    with pytest.raises(ConfigurationError, match="token is refused even when it is new"):
        await groups(client)
    assert [entry.status for entry in sandbox.requests] == [401, 200, 401]


async def test_a_token_that_was_just_given_is_not_asked_for_again(sandbox, client, allowance):
    sandbox.faults.set({"kind": "error_before", "status": 403})
    for _ in range(3):
        with pytest.raises(ConfigurationError):
            await groups(client)
    assert (sandbox.requests.logins, len(sandbox.requests), allowance.taken) == (0, 3, 0)


async def test_a_refused_token_stops_a_write_without_effect_and_the_second_try_is_the_last(sandbox, client, allowance):
    age(client, 3600)
    login = next(iter(sandbox.books.traders))
    before, sent = sandbox.books.trader(login).balance, {"login": login, "preciseAmount": 1, "type": "DEPOSIT"}
    sandbox.faults.set({"kind": "expire_tokens", "times": 1})
    told = await written(client, f"/v2/webserv/traders/{login}/changebalance", json.dumps(sent).encode())
    assert (told.verdict, sandbox.books.trader(login).balance - before) == (Verdict.ACCEPTED, 100)
    assert (allowance.taken, [entry.status for entry in sandbox.requests]) == (3, [401, 200, 200])


async def test_two_clients_share_one_token_and_one_renewal(sandbox):
    vault = SharedVault()
    async with client_of(sandbox.url, vault=vault) as one, client_of(sandbox.url, vault=vault) as other:
        await one.log_in()
        await other.log_in()
        assert (sandbox.requests.logins, token_of(one)) == (1, token_of(other))
        sandbox.platform.expire_tokens()
        age(one, 3600)
        age(other, 3600)
        vault.kept = None
        await groups(one)
        await groups(other)
        assert (sandbox.requests.logins, token_of(one)) == (2, token_of(other))


async def test_a_token_that_another_manager_left_in_the_vault_is_not_used(sandbox):
    vault = SharedVault()
    async with client_of(sandbox.url, vault=vault) as before:
        await before.log_in()
    async with client_of(sandbox.url, vault=vault, login=7) as after:
        with pytest.raises(LoginRefusedError):
            await after.log_in()
    assert sandbox.requests.logins == 2


@pytest.mark.parametrize("junk", [b"", b"junk", b"{}", b"\xff", b"[]"])
async def test_what_is_no_session_in_the_vault_is_replaced(sandbox, junk):
    vault = SharedVault()
    vault.kept = junk
    async with client_of(sandbox.url, vault=vault) as client:
        await client.log_in()
    assert (sandbox.requests.logins, vault.kept != junk) == (1, True)


# Refused logins


async def test_a_refused_login_is_not_asked_again_within_a_growing_pause(sandbox, allowance):
    async with client_of(sandbox.url, secret="wrong", allowance=allowance) as client:
        for seconds in (sessions.FIRST_PAUSE, 2 * sessions.FIRST_PAUSE):
            for _ in range(3):
                with pytest.raises(
                    LoginRefusedError, match=r"HTTP 401: NOT_ENOUGH_RIGHTS .*manager_login and password"
                ) as caught:
                    await groups(client)
                assert 0 < caught.value.retry_in <= seconds
            client._tokens._retry_at = 0.0
    assert (sandbox.requests.logins, allowance.taken) == (2, 2)


@pytest.mark.parametrize(
    ("says", "error", "words"),
    [
        (answer(b"", "404 Not Found"), LoginRefusedError, "check base_url"),
        (answer(b'{"error":{"errorCode":"INVALID_REQUEST"}}', "400 Bad Request"), LoginRefusedError, "INVALID_REQUEST"),
        (answer(b"NOT_ENOUGH_RIGHTS: no", "400 Bad Request"), LoginRefusedError, "whitelisted"),
        (answer(b"<html>", "404 Not Found"), TransientError, "HTTP 404"),
        (answer(b"", "503 Service Unavailable", retry_after="7"), TransientError, "HTTP 503"),
        (answer(b"<html>", "502 Bad Gateway"), TransientError, "HTTP 502"),
        (answer(b"", "301 Moved Permanently", location="https://x"), TransientError, "a redirect"),
        (answer(b"<html>"), TransientError, "lacks a usable webservToken"),
        (answer(b"{}"), TransientError, "lacks a usable webservToken"),
        (answer(b'{"webservToken":""}'), TransientError, "lacks a usable webservToken"),
        (answer(b'{"webservToken":"a b"}'), TransientError, "lacks a usable webservToken"),
        (answer(b'{"webservToken":"a\\nb"}'), TransientError, "lacks a usable webservToken"),
        (answer(b'{"webservToken":"t\xc3\xb6ken"}'), TransientError, "lacks a usable webservToken"),
        (answer(b'{"webservToken":"' + b"x" * 1025 + b'"}'), TransientError, "lacks a usable webservToken"),
        (answer(b"<response><webservToken>x</webservToken></response>"), TransientError, "lacks a usable"),
        (hang_up, TransientError, "the connection broke"),
    ],
)
async def test_a_login_that_fails_says_what_to_do(says, error, words):
    async with canned(says) as server, client_of(server.url) as client:
        with pytest.raises(error, match=words) as caught:
            await client.log_in()
    assert type(caught.value) is error
    assert len(server.heard) == 1


async def test_too_many_logins_pause_the_writes_and_not_the_reads(budget, allowance):
    says = answer(b'{"error":{"errorCode":"REQUEST_FREQUENCY_EXCEEDED"}}', "429 Too Many Requests", retry_after="9")
    async with canned(says) as server, client_of(server.url, budget=budget, allowance=allowance) as client:
        with pytest.raises(TransientError, match="asks for a pause") as caught:
            await client.log_in()
    assert (caught.value.retry_after, allowance.told, [told for told, _ in budget.told]) == (9, [9], [])


async def test_a_login_that_the_allowance_does_not_allow_is_not_sent(sandbox, allowance):
    allowance.refusal = PausedError("used up")
    async with client_of(sandbox.url, allowance=allowance) as client:
        with pytest.raises(PausedError):
            await groups(client)
    assert len(sandbox.requests) == 0


# What a name is bound to


async def test_a_name_is_bound_to_host_environment_and_white_label(sandbox, database_url):
    async with connected(database_url) as engine:
        for place, agrees in (
            ("h:1 live A", True),
            ("h:1 demo A", False),
            ("h:1 live B", False),
            ("h:2 live A", False),
        ):
            binding = NameBinding(engine, "live", "ctrader", place)
            async with client_of(sandbox.url, binding=binding) as client:
                if agrees:
                    assert (await client.log_in()).account_id == 2309
                    continue
                with pytest.raises(LoginRefusedError, match=r"means another server than before.*host was h:1 live A"):
                    await client.log_in()


# Writes


async def test_every_request_but_a_read_is_counted(sandbox, client, allowance):
    await groups(client)
    assert allowance.taken == 0
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        await client.calls.write(method, "/v2/webserv/traders/1", BODY, priority=Priority.NORMAL, deadline=math.inf)
    assert (allowance.taken, len(sandbox.requests)) == (4, 5)


async def test_a_write_that_the_allowance_does_not_allow_is_not_sent(sandbox, client, allowance):
    allowance.refusal = PausedError("used up")
    with pytest.raises(PausedError):
        await written(client)
    assert ((await groups(client)).rows > 0, len(sandbox.requests)) == (True, 1)


@pytest.mark.parametrize(
    ("says", "told"),
    [
        (answer(b"", "429 Too Many Requests", retry_after="7"), 7.0),
        (answer(b"", "429 Too Many Requests"), None),
        (answer(b'{"error":{"errorCode":"REQUEST_FREQUENCY_EXCEEDED"}}', "400 Bad Request"), None),
        (answer(b"REQUEST_FREQUENCY_EXCEEDED: slow down", "429 Too Many Requests", retry_after="7"), 7.0),
    ],
)
async def test_a_limit_on_writes_pauses_only_the_writes_and_was_not_sent(says, told, budget, allowance):
    reads = answer(b'{"traderGroup":[]}')
    async with (
        canned(answers(GRANTED, says, reads)) as server,
        client_of(server.url, budget=budget, allowance=allowance) as client,
    ):
        outcome = await written(client)
        assert (await groups(client)).rows == 0
    assert (outcome.verdict, allowance.told) == (Verdict.NOT_SENT, [told])
    assert {said for said, _ in budget.told} == {"succeeded"}


@pytest.mark.parametrize("status", ["200 OK", "201 Created", "204 No Content"])
async def test_any_good_status_accepts_a_write_with_a_body_or_without(status):
    async with canned(answers(GRANTED, answer(b"", status))) as server, client_of(server.url) as client:
        outcome = await written(client)
    assert (outcome.verdict, outcome.body) == (Verdict.ACCEPTED, b"")


async def test_a_write_is_sent_once_and_what_came_of_it_is_never_guessed(sandbox, client):
    login = next(iter(sandbox.books.traders))
    path, sent = f"/v2/webserv/traders/{login}/changebalance", {"login": login, "preciseAmount": 5, "type": "DEPOSIT"}
    for fault in ({"kind": "drop_after"}, {"kind": "error_after", "status": 500}, {"kind": "html", "status": 502}):
        before = sandbox.books.trader(login).balance
        sandbox.requests.clear()
        sandbox.faults.set({**fault, "times": 1, "path": "changebalance"})
        outcome = await written(client, path, json.dumps(sent).encode())
        assert (outcome.verdict, len(sandbox.requests)) == (Verdict.UNKNOWN, 1)
        assert sandbox.books.trader(login).balance - before == 500


async def test_a_word_that_nobody_knows_under_a_good_status_does_not_reject_a_write():
    async with canned(answers(GRANTED, answer(b"SUCCESS"))) as server, client_of(server.url) as client:
        assert (await written(client)).verdict is Verdict.UNKNOWN


async def test_a_write_whose_time_is_over_does_not_leave(sandbox, client):
    outcome = await written(client, deadline=0.0)
    assert (outcome.verdict, len(sandbox.requests)) == (Verdict.NOT_SENT, 0)


async def test_a_simulator_in_place_of_the_platform_accepts_nothing():
    says = answers(GRANTED, answer(b"{}", x_sandbox="1"))
    async with canned(says) as server, client_of(server.url) as client:
        outcome = await written(client)
    assert (outcome.verdict, outcome.reason) == (Verdict.UNKNOWN, "a simulator answered in place of the platform")


# Trouble of reads


@pytest.mark.parametrize(
    ("says", "error", "words"),
    [
        (answer(b"", "302 Found", location="https://elsewhere"), TransientError, "a redirect, which is never followed"),
        (answer(b"<html>", "404 Not Found"), TransientError, "HTTP 404"),
        (answer(b"", "404 Not Found"), PermanentError, "HTTP 404"),
        (answer(b"INVALID_REQUEST: no", "400 Bad Request"), PermanentError, "HTTP 400: INVALID_REQUEST no"),
        (answer(b"NOT_ENOUGH_RIGHTS: no", "400 Bad Request"), ConfigurationError, "may not read this"),
        (answer(b"UNKNOWN_ERROR: no", "400 Bad Request"), TransientError, "UNKNOWN_ERROR"),
        (answer(b"", "500 Internal Server Error"), TransientError, "HTTP 500"),
        (answer(b"", "503 Service Unavailable", retry_after="9"), TransientError, "HTTP 503"),
        (answer(b"<html>"), TransientError, "not readable"),
        (answer(b""), TransientError, "not readable"),
        (answer(b"{}"), TransientError, "lacks traderGroup"),
        (hang_up, TransientError, "the connection broke"),
        (silence, TransientError, r"no complete answer within 0\.3 s"),
    ],
)
async def test_trouble_is_an_error_that_says_what_happens_next(says, error, words):
    async with canned(answers(GRANTED, says)) as server, client_of(server.url, patience=0.3) as client:
        with pytest.raises(error, match=words) as caught:
            await groups(client)
    assert (type(caught.value), len(server.heard)) == (error, 2)


@pytest.mark.parametrize(("retry_after", "told"), [(7, 7.0), (None, 5.0)])
async def test_a_limit_on_reads_is_told_to_the_budget(sandbox, client, budget, allowance, retry_after, told):
    sandbox.faults.set({"kind": "rate_limited", "retry_after": retry_after})
    with pytest.raises(TransientError, match="pause") as caught:
        await groups(client)
    assert (caught.value.retry_after, budget.told, allowance.told) == (retry_after, [("limited", told)], [])


async def test_every_form_of_an_error_is_understood(sandbox, client):
    for form in ([], [{"kind": "plain_error"}]):
        sandbox.faults.set([{"kind": "business_error", "code": "TRADER_GROUP_NOT_FOUND"}, *form])
        with pytest.raises(PermanentError, match="HTTP 400: TRADER_GROUP_NOT_FOUND"):
            await groups(client)


# One trader


async def test_a_trader_that_does_not_exist_is_none_and_a_page_about_it_is_not_believed(sandbox, client):
    login = next(iter(sandbox.books.traders))
    assert await client.single("accounts", 5, Priority.NORMAL) is None
    assert (await client.single("accounts", login, Priority.NORMAL)).ids == [login]
    for fault in ({"kind": "html", "status": 404}, {"kind": "wrong_shape", "value": "[]"}, {"kind": "truncated"}):
        sandbox.faults.set({**fault, "path": f"/{login}$"})
        with pytest.raises(TransientError):
            await client.single("accounts", login, Priority.NORMAL)


# Tables


def closing(count, day=NOW - timedelta(hours=2)):
    at = wire.query_time(day)
    rows = b"".join(b"1,%d,%d,%b,%b,1.50\n" % (n, n, at.encode(), at.encode()) for n in range(1, count + 1))
    return HEADER + rows


async def read_closings(client, since=NOW - timedelta(days=1), until=NOW):
    return await client.closings(since, until, Priority.NORMAL)


NAMES = (answer(b'{"traderGroup":[]}'), answer(b'{"symbol":[]}'))


async def test_an_answer_that_is_too_large_is_asked_for_in_halves(monkeypatch):
    monkeypatch.setattr(http, "BODY_LIMIT", 400)
    asked = []

    async def say(writer):
        query = server.heard[-1].decode().split(" ")[1]
        if "token?" not in query and "closed" in query:
            asked.append(query)
            big = len(asked) in (1, 2)
            await answer(closing(40) if big else HEADER)(writer)
            return
        await GRANTED(writer)

    async with canned(say) as server, client_of(server.url) as client:
        read = await read_closings(client)
    spans = [dict(part.split("=") for part in query.partition("?")[2].split("&")) for query in asked]
    halves = [(span["from"], span["to"]) for span in spans[2:]]
    assert (len(asked), read.page.rows) == (5, 0)
    assert (halves[0][0], halves[-1][1]) == (spans[0]["from"], spans[0]["to"])
    assert all(one[1] == other[0] for one, other in pairwise(halves))


async def test_a_second_that_is_too_large_ends_the_reading(monkeypatch):
    monkeypatch.setattr(http, "BODY_LIMIT", 400)
    async with canned(answers(GRANTED, answer(closing(40)))) as server, client_of(server.url) as client:
        with pytest.raises(TransientError, match="larger than"):
            await read_closings(client)
    assert len(server.heard) < 30


async def test_a_table_whose_last_line_has_no_end_is_asked_for_again_and_believed_when_it_comes_alike():
    cut = closing(3)[:-1]
    async with canned(answers(GRANTED, answer(cut))) as server, client_of(server.url) as client:
        assert (await read_closings(client)).page.line_ids == [1, 2, 3]
    assert len(server.heard) == 3


async def test_a_table_that_differs_when_it_is_asked_for_again_is_not_believed():
    says = answers(GRANTED, answer(closing(3)[:-1]), answer(closing(4)[:-1]))
    async with canned(says) as server, client_of(server.url) as client:
        with pytest.raises(TransientError, match="may be cut off"):
            await read_closings(client)


@pytest.mark.parametrize("cut", [closing(3)[:-1], closing(3)[:-3], b"", HEADER[:-1]])
async def test_a_platform_that_ends_its_tables_is_not_believed_without_an_end(cut):
    says = answers(GRANTED, answer(closing(3)), answer(cut))
    async with canned(says) as server, client_of(server.url) as client:
        await read_closings(client)
        with pytest.raises(TransientError, match="may be cut off"):
            await read_closings(client)


@pytest.mark.parametrize("announce", [True, False])
async def test_a_table_that_is_cut_in_the_middle_is_never_believed(sandbox, client, announce):
    whole = await read_open(client)
    for keep in (0, 1, 300, 500, None):
        sandbox.faults.set({"kind": "truncated", "keep": keep, "announce": announce})
        with pytest.raises(TransientError, match=r"cut off|the connection broke"):
            await read_open(client)
    sandbox.faults.clear()
    assert (await read_open(client)).ids == whole.ids != []


async def read_open(client):
    return await only(client, "positions")


@pytest.mark.parametrize(
    "body", [b"<html>Bad gateway</html>", b"<html>\n<p>1,2,3</p>\n</html>\n", b"OK\n", b"{}", b"null"]
)
async def test_a_page_under_a_good_status_is_no_empty_table(body):
    async with canned(answers(GRANTED, answer(body))) as server, client_of(server.url) as client:
        for read in (read_open, read_closings):
            with pytest.raises(TransientError):
                await read(client)


@pytest.mark.parametrize("fault", [{"kind": "column_order"}, {"kind": "json_positions"}, {"kind": "shuffle_fields"}])
async def test_the_same_deals_come_in_every_order_and_form(sandbox, client, fault):
    sandbox.books.close_some(next(iter(sandbox.books.traders)), 1)
    until = NOW + timedelta(hours=1)
    plain = await read_closings(client, until=until)
    sandbox.faults.set(fault)
    assert sorted((await read_closings(client, until=until)).page.lines) == sorted(plain.page.lines) != []


async def test_a_column_that_nobody_knows_is_kept_beside_and_no_password_is(sandbox, client):
    sandbox.faults.set([{"kind": "extra_field", "name": "novelty", "value": '"x, y"'}, {"kind": "password_leak"}])
    page = await read_open(client)
    assert {row["extra"] for row in rows_of(page)} == {'{"novelty":"x, y"}'}
    assert ("leaked-secret" in repr(page), page.rejected, len(page.lines) > 0) == (False, [], True)
    accounts = [page async for page in client.snapshot("accounts", {}, Priority.NORMAL)]
    assert "leaked-secret" not in repr(accounts)


# Traders in chunks


async def accounts(client):
    return [page async for page in client.snapshot("accounts", {}, Priority.NORMAL)]


async def test_chunks_are_read_to_the_end_and_nobody_is_lost(sandbox, client):
    sandbox.faults.set({"kind": "chunk", "size": 3})
    pages = await accounts(client)
    assert {key for page in pages for key in page.ids} == set(sandbox.books.traders)
    assert len(pages) > 2


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"kind": "chunk", "size": 1}, "within one millisecond"),
        ({"kind": "endless_pages"}, "within one millisecond|holds nothing"),
        ([{"kind": "chunk", "size": 2}, {"kind": "same_page"}], "not sorted|within one millisecond"),
        (
            [{"kind": "chunk", "size": 2}, {"kind": "malformed_record", "field": "registrationTimestamp"}],
            "does not say when",
        ),
    ],
)
async def test_a_list_that_cannot_be_read_on_says_why_and_ends(sandbox, client, fault, words):
    first, *others = sandbox.books.traders.values()
    for other in others[:2]:
        other.registered_at = first.registered_at
    sandbox.faults.set(fault)
    with pytest.raises(TransientError, match=words):
        await accounts(client)
    assert len(sandbox.requests) < 30


async def test_a_list_that_is_not_sorted_newest_first_is_not_read_on():
    traders = [{"login": n, "moneyDigits": 2, "registrationTimestamp": 10**12 + n} for n in (1, 3, 2)]
    body = json.dumps({"trader": traders, "hasMore": True}).encode()
    async with canned(answers(GRANTED, answer(body))) as server, client_of(server.url) as client:
        with pytest.raises(TransientError, match="not sorted newest first"):
            await accounts(client)
    assert len(server.heard) == 2


async def test_a_list_of_traders_that_is_too_large_is_read_in_halves(client, monkeypatch):
    whole = {key for page in await accounts(client) for key in page.ids}
    monkeypatch.setattr(http, "BODY_LIMIT", 5_000)
    pages = await accounts(client)
    assert ({key for page in pages for key in page.ids}, len(pages) > 1) == (whole, True)


async def test_more_in_a_moment_than_any_answer_holds_ends_the_reading(sandbox, client, monkeypatch):
    for trader in sandbox.books.traders.values():
        trader.registered_at = 1_700_000_000_000
    monkeypatch.setattr(http, "BODY_LIMIT", 3_000)
    with pytest.raises(TransientError, match="do not fit into one answer"):
        await accounts(client)
    assert len(sandbox.requests) < 120


async def test_an_unchanged_answer_is_not_read_again(client):
    for resource in ("accounts", "positions", "groups", "symbols", "deposit_assets"):
        first = await only(client, resource)
        remembered = {first.digest: first.remembered()}
        again = await only(client, resource, remembered)
        assert (again is remembered[first.digest], again.rows) == (True, first.rows), resource


async def test_names_are_read_once_and_again_only_after_a_while(sandbox, client, monkeypatch):
    await accounts(client)
    assert [entry.path.rpartition("/")[2] for entry in sandbox.requests] == ["", "tradergroups", "symbols"]
    next(iter(sandbox.books.traders.values())).group = "of tomorrow"
    sandbox.requests.clear()
    await accounts(client)
    assert len(sandbox.requests) == 1
    monkeypatch.setattr(module, "NAMES_AGE", 0.0)
    await accounts(client)
    assert len(sandbox.requests) == 4


async def test_what_may_be_read_is_seen(sandbox, client):
    assert [await client.sees(resource) for resource in CTrader.CHECKED] == [True, True]
    sandbox.faults.set({"kind": "short_page", "rows": 0})
    assert [await client.sees(resource) for resource in CTrader.CHECKED] == [False, False]
    sandbox.faults.set({"kind": "error_before", "status": 403})
    with pytest.raises(ConfigurationError):
        await client.sees("groups")
