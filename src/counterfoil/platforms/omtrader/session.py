"""Logging in, and staying logged in (reference, section 2).

A session lasts `expires_in` seconds; no way to refresh one is documented, so a new login replaces it ahead of its end, and
once when the platform answers 401. However many tasks and replicas need a session, one of them logs in.
"""

import asyncio
import base64
import time
from collections.abc import Callable
from typing import Annotated

import msgspec
from msgspec import Meta

from counterfoil.domain.errors import LoginRefusedError, PausedError, TransientError
from counterfoil.domain.login import LoginFacts
from counterfoil.domain.outcome import Body, Verdict, classify
from counterfoil.domain.priority import Priority
from counterfoil.observe import events
from counterfoil.platforms.base import Binding, Budget, Unbound, Vault
from counterfoil.platforms.http import Answer, Http
from counterfoil.platforms.omtrader import envelope

LOGIN = "/api/v1/oauth2/login"
# Renew when this much of the lifetime is left: long enough for a slow login, short enough to be rare.
RENEW_AHEAD = 60.0
# Seconds before a refused login is tried again: the first time, and at most.
FIRST_PAUSE = 30.0
LONGEST_PAUSE = 600.0
# Nobody's session lasts longer, whatever a server says.
LONGEST_SESSION = 86_400
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

    def __repr__(self) -> str:
        # Neither the token nor the id, which opens a WebSocket.
        return f"Session(account_id={self.account_id}, scope={self.scope!r}, expires_at={self.expires_at})"

    @property
    def facts(self) -> LoginFacts:
        """What may be told about it."""
        return LoginFacts(self.account_id, self.scope, self.expires_in, self.sandbox, self.skew)


class _Granted(msgspec.Struct):
    # It travels in a header: printable ASCII, and no longer than servers take.
    access_token: Annotated[str, Meta(pattern=r"^[\x21-\x7e]{1,16384}$")]
    expires_in: int
    account_id: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] = 0
    session_id: Annotated[str, Meta(max_length=1024)] = ""
    scope: str = ""

    def __repr__(self) -> str:
        return f"_Granted(account_id={self.account_id})"


class SessionKeeper:
    """The one session of a platform."""

    def __init__(
        self,
        http: Http,
        budget: Budget,
        vault: Vault,
        *,
        credentials: tuple[str, str],
        binding: Binding | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._http = http
        self._budget = budget
        self._vault = vault
        self._binding = binding or Unbound()
        self._credentials = credentials
        self._clock = clock
        self._lock = asyncio.Lock()
        self._session: Session | None = None
        self._refusals = 0
        self._refusal: str | None = None
        self._retry_at = 0.0

    async def current(self, *, rejected: Session | None = None) -> Session:
        """A session in force, logging in when there is none; `rejected` is one that the platform answered 401 to.

        Raises:
            LoginRefusedError: the platform refuses the credentials, or the scope is not Manager.
            TransientError: the platform did not answer properly.
        """
        if (session := self._usable(self._session, rejected)) is not None:
            return session
        async with self._lock:
            session = self._usable(self._session, rejected)
            if session is None:
                self._session = session = await self._shared_or_new(rejected)
            return session

    def mask(self, text: str) -> str:
        """A text of the platform without our password and token, in case that it repeats what it was sent."""
        token = self._session.access_token if self._session else ""
        for secret in filter(None, (self._credentials[1], token, self._basic())):
            text = text.replace(secret, "***")
        return text

    def _basic(self) -> str:
        return base64.b64encode(":".join(self._credentials).encode()).decode()

    @property
    def trouble(self) -> str | None:
        """Why nobody is logged in; None when somebody is."""
        # A session that ran out while nothing was asked is renewed by the next request.
        return self._refusal or (None if self._session is not None else "not logged in yet")

    def _usable(self, session: Session | None, rejected: Session | None) -> Session | None:
        if session is None or session == rejected:
            return None
        renew_at = session.expires_at - min(RENEW_AHEAD, session.expires_in / 2)
        return session if self._clock() < renew_at else None

    async def _shared_or_new(self, rejected: Session | None) -> Session:
        async with self._vault.exclusive():
            session = self._usable(_stored(await self._vault.load()), rejected)
            if session is not None:
                await self._binding.hold_to(session.facts)
            else:
                session = await self._log_in_unless_refused()
                await self._vault.save(msgspec.json.encode(session), session.expires_at - self._clock())
            return session

    async def _log_in_unless_refused(self) -> Session:
        """A refusal stands for a growing while: asking again with the same password locks accounts."""
        left = self._retry_at - self._clock()
        if self._refusal is not None and left > 0:
            raise LoginRefusedError(self._refusal, retry_in=left)
        try:
            session = await self._log_in()
            await self._binding.hold_to(session.facts)
        except LoginRefusedError as error:
            pause = min(FIRST_PAUSE * 2 ** min(self._refusals, 10), LONGEST_PAUSE)
            self._refusals += 1
            self._refusal = str(error)
            self._retry_at = self._clock() + pause
            events.emit(events.PLATFORM_MISCONFIGURED, reason=self._refusal, retry_in=pause)
            raise LoginRefusedError(self._refusal, retry_in=pause) from error
        except PausedError:
            raise
        except TransientError as error:
            events.emit(events.PLATFORM_LOGIN_FAILED, reason=str(error))
            raise
        self._refusals, self._refusal = 0, None
        return session

    async def _log_in(self) -> Session:
        asked_at = self._clock()
        answer = await self._http.exchange(
            "POST",
            LOGIN,
            budget=self._budget,
            # Whoever needs the session first, money waits for it too.
            priority=Priority.MONEY,
            headers={"authorization": f"Basic {self._basic()}"},
            params={"remember_me": "false"},
        )
        granted = self._granted(answer)
        if granted.scope and granted.scope.lower() not in MANAGER_SCOPES:
            raise LoginRefusedError(
                f"the login works but has scope {granted.scope[:40]!r}: give username a Manager account of the Admin Portal"
            )
        lifetime = min(granted.expires_in, LONGEST_SESSION)
        session = Session(
            access_token=granted.access_token,
            session_id=granted.session_id,
            account_id=granted.account_id,
            scope=granted.scope,
            expires_in=lifetime,
            expires_at=asked_at + lifetime,
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

    def _granted(self, answer: Answer) -> _Granted:
        if answer.silence:
            raise TransientError(f"login: {answer.reason}")
        parsed = envelope.read(answer.body)
        body = parsed.body if parsed else Body.UNREADABLE
        code = parsed.code if parsed else None
        told = self.mask(parsed.reason) if parsed else f"HTTP {answer.status}"
        match classify(answer.status, body, writing=False, code=code):
            case Verdict.DONE if parsed is not None:
                return _tokens(parsed)
            case Verdict.LOG_IN | Verdict.CONFIGURATION_FAULT:
                raise LoginRefusedError(f"the platform refuses the login ({told}): check username and password")
            case Verdict.PERMANENT if parsed is not None:
                raise LoginRefusedError(f"the platform cannot read the login ({told}): check base_url and username")
            case Verdict.PERMANENT:
                raise LoginRefusedError(f"login answered {told}: not an OMTrader Manager API; check base_url")
            case Verdict.RATE_LIMITED:
                raise TransientError("login: the platform asks for a pause", retry_after=answer.retry_after)
            case _:
                raise TransientError(
                    f"login: {_strangeness(answer, understood=parsed is not None)}", retry_after=answer.retry_after
                )


def _stored(stored: bytes | None) -> Session | None:
    """A session out of the vault; None also when another version of the code put it there in another shape."""
    try:
        return msgspec.json.decode(stored, type=Session) if stored else None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _strangeness(answer: Answer, *, understood: bool) -> str:
    if 300 <= answer.status < 400:
        return f"HTTP {answer.status}, a redirect: set base_url to where the API itself is"
    if answer.status >= 500 or understood:
        return f"HTTP {answer.status}"
    return f"HTTP {answer.status}, but the answer is not OMTrader's: check base_url"


def _tokens(parsed: envelope.Envelope) -> _Granted:
    try:
        granted = msgspec.json.decode(parsed.data, type=_Granted)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise TransientError("login: the answer lacks a usable access_token or expires_in: check base_url") from error
    if granted.expires_in <= 0:
        raise TransientError("login: the session given has no lifetime")
    return granted
