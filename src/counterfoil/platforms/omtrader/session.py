"""Logging in, and staying logged in (reference, section 2).

A session lasts `expires_in` seconds; no way to refresh one is documented, so a new login replaces it ahead of its end, and
once when the platform answers 401. However many tasks and replicas need a session, one of them logs in.
"""

import asyncio
import base64
import time
from collections.abc import Callable

import msgspec

from counterfoil.domain.errors import LoginRefusedError, TransientError
from counterfoil.domain.outcome import Body, Verdict, classify
from counterfoil.domain.priority import Priority
from counterfoil.observe import events
from counterfoil.platforms.base import Budget, LoginFacts, Vault
from counterfoil.platforms.http import Answer, Http
from counterfoil.platforms.omtrader import envelope

LOGIN = "/api/v1/oauth2/login"
# Renew when this much of the lifetime is left: long enough for a slow login, short enough to be rare.
RENEW_AHEAD = 60.0
# Seconds before a refused login is tried again: the first time, and at most.
FIRST_PAUSE = 30.0
LONGEST_PAUSE = 600.0
MANAGER_SCOPES = ("manager", "admin")


class Session(msgspec.Struct, frozen=True):
    """A session in force; `expires_at` on the clock of time.time(), because replicas share it."""

    access_token: str
    session_id: str
    account_id: int
    scope: str
    expires_in: int
    expires_at: float
    sandbox: bool = False
    skew: float | None = None

    @property
    def facts(self) -> LoginFacts:
        """What may be told about it."""
        return LoginFacts(self.account_id, self.scope, self.expires_in, self.sandbox, self.skew)


class _Granted(msgspec.Struct):
    access_token: str
    expires_in: int
    account_id: int = 0
    session_id: str = ""
    scope: str = ""


class SessionKeeper:
    """The one session of a platform."""

    def __init__(
        self,
        http: Http,
        budget: Budget,
        vault: Vault,
        *,
        credentials: tuple[str, str],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._http = http
        self._budget = budget
        self._vault = vault
        self._credentials = credentials
        self._clock = clock
        self._lock = asyncio.Lock()
        self._session: Session | None = None
        self._refusals = 0
        self._refused: LoginRefusedError | None = None
        self._retry_at = 0.0

    async def current(self, priority: Priority, *, rejected: Session | None = None) -> Session:
        """A session in force, logging in when there is none; `rejected` is one that the platform answered 401 to.

        Raises:
            LoginRefusedError: the platform refuses the credentials, or the scope is not Manager.
            TransientError: the platform did not answer properly.
        """
        if self._usable(self._session, rejected):
            return self._known()
        async with self._lock:
            if not self._usable(self._session, rejected):
                self._session = await self._shared_or_new(priority, rejected)
            return self._known()

    @property
    def trouble(self) -> str | None:
        """Why there is no session in force; None when there is one."""
        if self._session is not None and self._clock() < self._session.expires_at:
            return None
        return str(self._refused) if self._refused else "not logged in yet"

    def _known(self) -> Session:
        if self._session is None:
            raise TransientError("the session is gone")
        return self._session

    def _usable(self, session: Session | None, rejected: Session | None) -> bool:
        if session is None or session == rejected:
            return False
        return self._clock() < session.expires_at - min(RENEW_AHEAD, session.expires_in / 2)

    async def _shared_or_new(self, priority: Priority, rejected: Session | None) -> Session:
        async with self._vault.exclusive():
            stored = await self._vault.load()
            if stored is not None:
                session = msgspec.json.decode(stored, type=Session)
                if self._usable(session, rejected):
                    return session
            session = await self._log_in_unless_refused(priority)
            await self._vault.save(msgspec.json.encode(session), session.expires_at - self._clock())
            return session

    async def _log_in_unless_refused(self, priority: Priority) -> Session:
        """A refusal stands for a growing while: asking again with the same password locks accounts."""
        if self._refused is not None and self._clock() < self._retry_at:
            raise self._refused
        try:
            session = await self._log_in(priority)
        except LoginRefusedError as error:
            pause = min(FIRST_PAUSE * 2**self._refusals, LONGEST_PAUSE)
            self._refusals += 1
            self._refused = LoginRefusedError(str(error), retry_in=pause)
            self._retry_at = self._clock() + pause
            events.emit(events.PLATFORM_MISCONFIGURED, reason=str(error), retry_in=pause)
            raise self._refused from error
        except TransientError as error:
            events.emit(events.PLATFORM_LOGIN_FAILED, reason=str(error))
            raise
        self._refusals, self._refused = 0, None
        return session

    async def _log_in(self, priority: Priority) -> Session:
        asked_at = self._clock()
        pair = base64.b64encode(":".join(self._credentials).encode()).decode()
        answer = await self._http.exchange(
            "POST",
            LOGIN,
            budget=self._budget,
            priority=priority,
            headers={"authorization": f"Basic {pair}"},
            params={"remember_me": "false"},
        )
        granted = _granted(answer)
        if granted.scope and granted.scope.lower() not in MANAGER_SCOPES:
            raise LoginRefusedError(
                f"the login works but has scope {granted.scope[:40]!r}: give username a Manager account of the Admin Portal"
            )
        session = Session(
            access_token=granted.access_token,
            session_id=granted.session_id,
            account_id=granted.account_id,
            scope=granted.scope,
            expires_in=granted.expires_in,
            expires_at=asked_at + granted.expires_in,
            sandbox=answer.sandbox,
            skew=answer.date.timestamp() - self._clock() if answer.date else None,
        )
        events.emit(
            events.PLATFORM_LOGGED_IN,
            account_id=session.account_id,
            scope=session.scope,
            expires_in=session.expires_in,
            sandbox=session.sandbox,
        )
        return session


def _granted(answer: Answer) -> _Granted:
    if answer.silence:
        raise TransientError(f"login: {answer.reason}")
    parsed = envelope.read(answer.body)
    body = parsed.body if parsed else Body.UNREADABLE
    code = parsed.code if parsed else None
    match classify(answer.status, body, writing=False, code=code):
        case Verdict.DONE if parsed is not None:
            return _tokens(parsed)
        case Verdict.LOG_IN | Verdict.CONFIGURATION_FAULT:
            reason = parsed.reason if parsed else f"HTTP {answer.status}"
            raise LoginRefusedError(f"the platform refuses the login ({reason}): check username and password")
        case Verdict.PERMANENT:
            raise LoginRefusedError(f"login answered HTTP {answer.status}: not an OMTrader Manager API; check base_url")
        case Verdict.RATE_LIMITED:
            raise TransientError("login: the platform asks for a pause", retry_after=answer.retry_after)
        case _:
            raise TransientError(f"login: {_strangeness(answer, understood=parsed is not None)}")


def _strangeness(answer: Answer, *, understood: bool) -> str:
    if 300 <= answer.status < 400:
        return f"HTTP {answer.status}, a redirect: set base_url to where the API itself is"
    if answer.status >= 500 or understood:
        return f"HTTP {answer.status}"
    return f"HTTP {answer.status}, but the answer is not OMTrader's: check base_url"


def _tokens(parsed: envelope.Envelope) -> _Granted:
    try:
        granted = msgspec.json.decode(parsed.data, type=_Granted)
    except msgspec.DecodeError as error:
        raise TransientError("login: the answer lacks access_token or expires_in: check base_url") from error
    if granted.expires_in <= 0 or not granted.access_token:
        raise TransientError("login: the session given has no lifetime")
    return granted
