import asyncio
import base64
import json
import traceback
from contextlib import asynccontextmanager

import pytest
from structlog.testing import capture_logs

from counterfoil.domain.errors import ConfigurationError, LoginRefusedError, PausedError, TransientError
from counterfoil.domain.priority import Priority
from counterfoil.platforms import sessions
from counterfoil.platforms.http import Http
from counterfoil.platforms.omtrader import session as module
from counterfoil.platforms.omtrader.session import SessionKeeper
from counterfoil.platforms.sessions import Session
from counterfoil.sandbox import Sandbox, SandboxOptions
from support.budget import FreeBudget
from support.tls_server import answer, canned, hang_up

SMALL = SandboxOptions(clients=2, accounts=2, deals=5)
NOW = 1_750_000_000.0
GOOD = (SMALL.username, SMALL.password)
TOKEN = "token-that-nobody-may-see"


class Clock:
    def __init__(self):
        self.now = NOW

    def __call__(self):
        return self.now


class SharedVault:
    """What several replicas share, in memory. `inside`: how many are logging in now; `entered`: how many ever did."""

    def __init__(self):
        self.kept, self.lifetimes, self.inside, self.most, self.entered = None, [], 0, 0, 0
        self._lock = asyncio.Lock()

    async def load(self):
        return self.kept

    async def save(self, session, lifetime):
        self.kept = session
        self.lifetimes.append(lifetime)

    @asynccontextmanager
    async def exclusive(self):
        async with self._lock:
            self.inside += 1
            self.entered += 1
            self.most = max(self.most, self.inside)
            yield
            self.inside -= 1


class Replicas:
    """Keepers of one platform's session; what they share is at hand."""

    def __init__(self, url, credentials=GOOD, budget=None):
        self.clock, self.vault, self.budget = Clock(), SharedVault(), budget or FreeBudget()
        self._https = []
        self._made = (url, credentials)

    def one(self, credentials=None):
        url, usual = self._made
        self._https.append(Http(url, timeout=25.0))
        return SessionKeeper(
            self._https[-1], self.budget, self.vault, credentials=credentials or usual, clock=self.clock
        )

    async def close(self):
        for http in self._https:
            await http.close()


@asynccontextmanager
async def replicas(url, credentials=GOOD, budget=None):
    made = Replicas(url, credentials, budget)
    try:
        yield made
    finally:
        await made.close()


@pytest.fixture
async def sandbox():
    async with Sandbox(SMALL) as running:
        yield running


@pytest.fixture
async def many(sandbox):
    async with replicas(sandbox.url) as made:
        yield made


def granted(**changes):
    data = {
        "account_id": 2,
        "access_token": TOKEN,
        "refresh_token": "r",
        "session_id": "session-secret",
        "expires_in": 3600,
    }
    data = {**data, "ip_address": "127.0.0.1", "scope": "Manager", **changes}
    return answer(json.dumps({"success": True, "code": 200, "data": data, "error": "", "message": ""}).encode())


def refusal(code, message="no", status="200 OK", **headers):
    told = {"success": False, "code": code, "data": None, "error": "Error", "message": message}
    return answer(json.dumps(told).encode(), status, **headers)


async def failure(say, **options):
    """The error of a login at a server that answers so, and what was heard."""
    async with canned(say) as server, replicas(server.url, **options) as made:
        with pytest.raises((ConfigurationError, TransientError)) as caught:
            await made.one().current()
        return caught.value, server


# One login


async def test_fifty_tasks_at_once_cost_one_login_and_one_turn_among_the_replicas(sandbox, many):
    keeper = many.one()
    sessions = await asyncio.gather(*(keeper.current() for _ in range(50)))
    assert (sandbox.requests.logins, many.vault.entered, len(set(sessions))) == (1, 1, 1)


async def test_a_login_tells_who_and_for_how_long(many):
    facts = (await many.one().current()).facts
    assert (facts.account_id, facts.scope, facts.expires_in, facts.sandbox) == (2, "Manager", 3600, True)
    assert many.vault.lifetimes == [3600]


async def test_a_login_says_so_in_an_event_without_the_token(many):
    with capture_logs() as logs:
        session = await many.one().current()
    (event,) = [entry for entry in logs if entry["event"] == "platform.logged_in"]
    assert (event["account_id"], event["scope"], session.access_token in str(logs)) == (2, "Manager", False)


async def test_a_session_is_kept_until_shortly_before_its_end_and_then_renewed(sandbox, many):
    keeper = many.one()
    first = await keeper.current()
    many.clock.now = NOW + 3600 - sessions.RENEW_AHEAD - 1
    assert (await keeper.current(), sandbox.requests.logins) == (first, 1)
    many.clock.now += 1
    assert ((await keeper.current()) != first, sandbox.requests.logins) == (True, 2)


async def test_a_short_session_is_renewed_halfway():
    async with canned(granted(expires_in=10)) as server, replicas(server.url) as many:
        keeper = many.one()
        for ahead, logins in ((0, 1), (4.9, 1), (5, 2)):
            many.clock.now = NOW + ahead
            await keeper.current()
            assert len(server.heard) == logins


async def test_a_rejected_session_is_replaced_once_for_all_who_hold_it(sandbox, many):
    keeper = many.one()
    old = await keeper.current()
    fresh = await asyncio.gather(*(keeper.current(rejected=old) for _ in range(20)))
    assert (sandbox.requests.logins, {session == old for session in fresh}, len(set(fresh))) == (2, {False}, 1)


async def test_whoever_is_late_with_an_older_rejection_gets_the_session_in_force(sandbox, many):
    keeper = many.one()
    old = await keeper.current()
    new = await keeper.current(rejected=old)
    assert (await keeper.current(rejected=old), sandbox.requests.logins) == (new, 2)


async def test_a_login_goes_ahead_of_all_other_requests(many):
    await many.one().current()
    assert many.budget.asked == [Priority.MONEY]


async def test_the_next_waiter_logs_in_when_the_first_is_cancelled(sandbox, many):
    sandbox.faults.set({"kind": "deaf", "path": "login", "times": 1})
    keeper = many.one()
    first, second = asyncio.create_task(keeper.current()), asyncio.create_task(keeper.current())
    await sandbox.requests.reached(1)
    first.cancel()
    assert (await second).scope == "Manager"
    with pytest.raises(asyncio.CancelledError):
        await first


# Replicas


async def test_replicas_share_one_login(sandbox, many):
    keepers = [many.one() for _ in range(5)]
    sessions = await asyncio.gather(*(keeper.current() for keeper in keepers for _ in range(4)))
    assert (sandbox.requests.logins, len(set(sessions)), many.vault.most) == (1, 1, 1)


async def test_a_session_that_another_replica_renewed_is_used(sandbox, many):
    one, other = many.one(), many.one()
    old = await one.current()
    assert await other.current() == old
    new = await one.current(rejected=old)
    assert (await other.current(rejected=old), sandbox.requests.logins) == (new, 2)


async def test_a_session_in_the_vault_that_was_rejected_is_not_used(sandbox, many):
    old = await many.one().current()
    assert ((await many.one().current(rejected=old)) != old, sandbox.requests.logins) == (True, 2)


async def test_a_session_in_the_vault_that_is_about_to_end_is_not_used(sandbox, many):
    await many.one().current()
    many.clock.now = NOW + 3590
    await many.one().current()
    assert sandbox.requests.logins == 2


@pytest.mark.parametrize("junk", [b"", b"junk", b"{}", b"\xff", b'{"access_token":"old shape"}', b"[]"])
async def test_a_session_in_the_vault_that_cannot_be_read_is_replaced(sandbox, many, junk):
    many.vault.kept = junk
    await many.one().current()
    assert (sandbox.requests.logins, b"Manager" in many.vault.kept) == (1, True)


# Refused


async def test_wrong_credentials_are_refused_in_words(sandbox):
    async with replicas(sandbox.url, ("crm-api", "hunter2")) as many:
        with capture_logs() as logs, pytest.raises(LoginRefusedError, match="check username and password") as caught:
            await many.one().current()
    assert caught.value.retry_in == sessions.FIRST_PAUSE
    (event,) = [entry for entry in logs if entry["event"] == "platform.misconfigured"]
    assert (event["retry_in"], event["reason"]) == (sessions.FIRST_PAUSE, str(caught.value))


async def test_a_refused_login_is_not_asked_again_within_a_pause_that_grows_to_a_limit(sandbox):
    async with replicas(sandbox.url, ("crm-api", "hunter2")) as many:
        keeper = many.one()
        pause = sessions.FIRST_PAUSE
        for logins in range(1, 9):
            for within in (0, pause / 2, pause - 0.5):
                many.clock.now += within
                with capture_logs() as logs, pytest.raises(LoginRefusedError) as caught:
                    await keeper.current()
                assert (caught.value.retry_in, sandbox.requests.logins) == (pause - within, logins)
                assert len(logs) == (within == 0)
                many.clock.now -= within
            many.clock.now += pause
            pause = min(2 * pause, sessions.LONGEST_PAUSE)
        assert pause == sessions.LONGEST_PAUSE


async def test_a_password_that_stays_wrong_for_a_month_is_still_only_refused(sandbox):
    async with replicas(sandbox.url, ("crm-api", "hunter2")) as many:
        keeper = many.one()
        keeper._refusals = 5000
        with pytest.raises(LoginRefusedError) as caught:
            await keeper.current()
    assert caught.value.retry_in == sessions.LONGEST_PAUSE


async def test_refusals_heap_up_no_traceback(sandbox):
    async with replicas(sandbox.url, ("crm-api", "hunter2")) as many:
        keeper = many.one()
        depths = []
        for _ in range(20):
            with pytest.raises(LoginRefusedError) as caught:
                await keeper.current()
            depths.append(len(traceback.extract_tb(caught.value.__traceback__)))
    assert len(set(depths[1:])) == 1


async def test_a_mended_password_ends_the_refusals(sandbox):
    async with replicas(sandbox.url, ("crm-api", "hunter2")) as many:
        keeper = many.one()
        for _ in range(2):
            with pytest.raises(LoginRefusedError):
                await keeper.current()
            many.clock.now += sessions.FIRST_PAUSE
        assert "check username and password" in keeper.trouble
        keeper._credentials = GOOD
        many.clock.now += sessions.LONGEST_PAUSE
        assert ((await keeper.current()).scope, keeper.trouble, keeper._refusals) == ("Manager", None, 0)


async def test_trouble_is_told_until_there_is_a_session_and_not_for_one_that_ran_out_unused(many):
    keeper = many.one()
    assert keeper.trouble == "not logged in yet"
    await keeper.current()
    assert keeper.trouble is None
    many.clock.now += 3600
    assert keeper.trouble is None


async def test_a_trader_is_told_to_bring_a_manager_account(sandbox):
    async with replicas(sandbox.url, ("trader", "trader")) as many:
        with pytest.raises(LoginRefusedError, match="scope 'Trader': give username a Manager account"):
            await many.one().current()
        assert many.vault.kept is None


@pytest.mark.parametrize("scope", ["Manager", "manager", "admin", ""])
async def test_these_scopes_will_do(scope):
    async with canned(granted(scope=scope)) as server, replicas(server.url) as many:
        assert (await many.one().current()).scope == scope


@pytest.mark.parametrize(
    "say", [refusal(401), refusal(403), refusal(401, status="401 Unauthorized"), answer(b"", "403 Forbidden")]
)
async def test_a_refusal_is_a_refusal_in_every_form(say):
    error, _ = await failure(say)
    assert isinstance(error, LoginRefusedError)
    assert "check username and password" in str(error)


# Not OMTrader


@pytest.mark.parametrize(
    "say",
    [
        answer(b"<html>Welcome</html>", content_type="text/html"),
        answer(b""),
        answer(b'{"hello":"world"}'),
        answer(b'{"access_token":"x","expires_in":3600,"token_type":"bearer"}'),
        answer(b'{"success":true,"data":{"hello":"world"}}'),
        answer(b'{"success":true,"data":"success"}'),
        answer(b'{"success":true,"data":null}'),
        answer(b"[1,2,3]"),
        answer(b"<html>404</html>", "404 Not Found"),
        answer(b'{"detail":"Not Found"}', "404 Not Found"),
        answer(b"", "405 Method Not Allowed"),
        answer(b"", "301 Moved Permanently", location="https://elsewhere.example/"),
        refusal(400, "Invalid Input"),
        refusal(404, "Not Found", "404 Not Found"),
    ],
)
async def test_another_kind_of_server_is_said_to_be_one_by_naming_base_url(say):
    error, server = await failure(say)
    assert ("base_url" in str(error), len(server.heard)) == (True, 1), error


@pytest.mark.parametrize(
    "changes",
    [
        {"access_token": ""}, {"access_token": None}, {"access_token": "tökén"}, {"access_token": "a\nb"}, {"access_token": 5},
        {"access_token": "x" * 100_000}, {"expires_in": "3600"}, {"expires_in": None}, {"expires_in": 0}, {"expires_in": -1},
        {"session_id": "x" * 100_000}, {"account_id": 2**70},
    ],
)  # fmt: skip
async def test_a_session_that_cannot_be_used_is_no_login(changes):
    error, _ = await failure(granted(**changes))
    assert (type(error), str(error).startswith("login: ")) == (TransientError, True)


@pytest.mark.parametrize("expires_in", [10**9, 10**30, 10**400])
async def test_a_session_without_end_is_renewed_every_day(expires_in):
    async with canned(granted(expires_in=expires_in)) as server, replicas(server.url) as many:
        session = await many.one().current()
        assert (session.expires_in, many.vault.lifetimes) == (module.LONGEST_SESSION, [module.LONGEST_SESSION])


# Trouble that passes


@pytest.mark.parametrize(
    ("say", "words"),
    [
        (answer(b"", "503 Service Unavailable", retry_after="7"), "HTTP 503"),
        (answer(b"<html>Bad gateway</html>", "502 Bad Gateway"), "HTTP 502"),
        (refusal(500), "HTTP 200"),
        (hang_up, "the connection broke"),
        (answer(b"", "429 Too Many Requests", retry_after="7"), "asks for a pause"),
    ],
)
async def test_trouble_that_passes_is_transient_and_told(say, words):
    with capture_logs() as logs:
        error, _ = await failure(say)
    assert (type(error), words in str(error)) == (TransientError, True)
    assert [entry["reason"] for entry in logs if entry["event"] == "platform.login_failed"] == [str(error)]


@pytest.mark.parametrize("status", ["429 Too Many Requests", "503 Service Unavailable"])
async def test_the_time_that_the_platform_asks_for_is_passed_on(status):
    error, _ = await failure(answer(b"", status, retry_after="7"))
    assert error.retry_after == 7


async def test_a_platform_in_a_known_pause_is_no_failed_login():
    with capture_logs() as logs:
        error, server = await failure(granted(), budget=FreeBudget(PausedError("left alone")))
    assert (type(error), server.heard, logs) == (PausedError, [], [])


# Secrets


async def test_no_repr_shows_a_secret():
    async with canned(granted()) as server, replicas(server.url, ("crm-api", "hunter2")) as many:
        keeper = many.one()
        session = await keeper.current()
    shown = repr([session, keeper, session.facts, str(session), f"{session}", module._Granted(TOKEN, 5)])
    assert [secret for secret in (TOKEN, "hunter2", "session-secret") if secret in shown] == []


async def test_what_the_platform_repeats_of_our_secrets_is_masked():
    pair = base64.b64encode(b"crm-api:hunter2").decode()
    error, server = await failure(refusal(401, f"wrong: hunter2 of {pair}"), credentials=("crm-api", "hunter2"))
    assert pair.encode() in server.heard[0]
    assert ("hunter2" in str(error), pair in str(error), "wrong: ***" in str(error)) == (False, False, True)


async def test_a_session_survives_the_vault_whole():
    session = Session(TOKEN, "s", 2, "Manager", 3600, NOW, sandbox=True, skew=0.5)
    assert sessions._stored(module.msgspec.json.encode(session)) == session
