"""Logging in, and staying logged in (reference, section 2).

A session lasts `expires_in` seconds; no way to refresh one is documented, so a new login replaces it ahead of its end, and
once when the platform answers 401. However many tasks and replicas need a session, one of them logs in.
"""

import base64
import time
from collections.abc import Callable
from typing import Annotated

import msgspec
from msgspec import Meta

from counterfoil.domain.errors import LoginRefusedError, TransientError
from counterfoil.domain.outcome import Body, Verdict, classify
from counterfoil.domain.priority import Priority
from counterfoil.observe import events
from counterfoil.platforms.base import Binding, Budget, Vault
from counterfoil.platforms.http import Answer, Http
from counterfoil.platforms.omtrader import envelope
from counterfoil.platforms.sessions import Keeper, Session

LOGIN = "/api/v1/oauth2/login"
# Nobody's session lasts longer, whatever a server says.
LONGEST_SESSION = 86_400
MANAGER_SCOPES = ("manager", "admin")


class _Granted(msgspec.Struct):
    # It travels in a header: printable ASCII, and no longer than servers take.
    access_token: Annotated[str, Meta(pattern=r"^[\x21-\x7e]{1,16384}$")]
    expires_in: int
    account_id: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] = 0
    session_id: Annotated[str, Meta(max_length=1024)] = ""
    scope: str = ""

    def __repr__(self) -> str:
        return f"_Granted(account_id={self.account_id})"


class SessionKeeper(Keeper):
    """The one session of an OMTrader server."""

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
        super().__init__(vault, binding=binding, clock=clock)
        self._http = http
        self._budget = budget
        self._credentials = credentials

    def _secrets(self) -> tuple[str, ...]:
        return (self._credentials[1], self._basic())

    def _basic(self) -> str:
        return base64.b64encode(":".join(self._credentials).encode()).decode()

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
            login=True,
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
