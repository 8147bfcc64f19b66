"""The manager's token (reference, section 1.1): asked for with the MD5 of the password, sent with every request as `token`.

It has no end of its own, yet may be taken back at any time, mainly when the password changes; then the platform refuses it, and
it is asked for again. It is asked for once a day even so, in case that a refusal does not look like one.
"""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from counterfoil.domain.errors import LoginRefusedError, TransientError
from counterfoil.domain.outcome import Verdict
from counterfoil.domain.priority import Priority
from counterfoil.observe import events
from counterfoil.platforms.base import Binding, Budget, Vault, WriteAllowance
from counterfoil.platforms.ctrader import refusals
from counterfoil.platforms.http import Answer, Http
from counterfoil.platforms.sessions import Keeper, Session

TOKEN_PATH: Final = "/v2/webserv/managers/token"  # noqa: S105 - a path
LIFETIME: Final = 86_400
# Asking once more would bring the same token: the endpoint repeats it, and each request counts.
FRESH: Final = 60.0


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who we are on the platform."""

    login: int
    password: str = field(repr=False)

    @property
    def hashed_password(self) -> str:
        """MD5 of the UTF-8 bytes in lower-case hexadecimal, as the vendor wants it."""
        return md5(self.password)


def md5(password: str) -> str:
    """How cTrader takes passwords: no protection, only a format."""
    return hashlib.md5(password.encode(), usedforsecurity=False).hexdigest()


class _Granted(msgspec.Struct):
    # It travels in a query: printable ASCII, and no longer than servers take.
    webservToken: Annotated[str, Meta(pattern=r"^[\x21-\x7e]{1,1024}$")]  # noqa: N815 - the platform's spelling

    def __repr__(self) -> str:
        return "_Granted()"


class TokenKeeper(Keeper):
    """The one token of a platform."""

    def __init__(
        self,
        http: Http,
        budget: Budget,
        vault: Vault,
        *,
        manager: Credentials,
        allowance: WriteAllowance,
        binding: Binding | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(vault, binding=binding, clock=clock)
        self._http = http
        self._budget = budget
        self._manager = manager
        self._allowance = allowance

    def is_fresh(self, session: Session) -> bool:
        """Whether it was given so recently that a refusal cannot be about its age."""
        return self._clock() - (session.expires_at - session.expires_in) < FRESH

    def _secrets(self) -> tuple[str, ...]:
        return (self._manager.password, self._manager.hashed_password)

    def _usable(self, session: Session | None, rejected: Session | None) -> Session | None:
        # One that a replica stored under other settings is somebody else's.
        ours = session is None or session.account_id == self._manager.login
        return super()._usable(session, rejected) if ours else None

    async def _log_in(self) -> Session:
        await self._allowance.take(Priority.MONEY)
        asked_at = self._clock()
        body = {"login": self._manager.login, "hashedPassword": self._manager.hashed_password}
        answer = await self._http.exchange(
            "POST",
            TOKEN_PATH,
            budget=self._budget,
            # Whoever needs the token first, money waits for it too.
            priority=Priority.MONEY,
            headers={},
            body=msgspec.json.encode(body),
            limited_apart=True,
            login=True,
        )
        token = await self._granted(answer)
        session = Session(
            access_token=token,
            session_id="",
            account_id=self._manager.login,
            scope="",
            expires_in=LIFETIME,
            expires_at=asked_at + LIFETIME,
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

    async def _granted(self, answer: Answer) -> str:
        refusal = refusals.read(answer.body)
        told = f"HTTP {answer.status}" + (f": {refusal.code} {self.mask(refusal.description)}" if refusal else "")
        match refusals.judge(answer, refusal, writing=False):
            case Verdict.DONE:
                return _token(answer)
            case Verdict.LOG_IN | Verdict.CONFIGURATION_FAULT:
                raise LoginRefusedError(
                    f"the platform refuses the login ({told}): check manager_login and password, and that the vendor has "
                    "whitelisted this machine's address"
                )
            case Verdict.PERMANENT:
                raise LoginRefusedError(f"login answered {told}: check base_url, manager_login and password")
            case Verdict.RATE_LIMITED:
                await self._allowance.exhausted(answer.retry_after)
                raise TransientError("login: the platform asks for a pause", retry_after=answer.retry_after)
            case _ if answer.silence:
                raise TransientError(f"login: {answer.reason}")
            case _ if 300 <= answer.status < 400:
                raise TransientError(f"login: {told}, a redirect: set base_url to where the API itself is")
            case _:
                raise TransientError(f"login: {told}", retry_after=answer.retry_after)


def _token(answer: Answer) -> str:
    try:
        return msgspec.json.decode(answer.body, type=_Granted).webservToken
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise TransientError("login: the answer lacks a usable webservToken: check base_url") from error
