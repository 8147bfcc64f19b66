"""Requests to cTrader with the manager's token, renewed once when it is refused, and answers judged.

The token goes into the query and nowhere else (reference, section 1); httpx's own log, which would show it, is below any level
that we write. `Accept: application/json` is sent with everything, for without it the platform answers XML.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from counterfoil.domain.errors import ConfigurationError, PermanentError, TransientError
from counterfoil.domain.outcome import Verdict
from counterfoil.domain.priority import Priority
from counterfoil.platforms.base import Budget, WriteAllowance
from counterfoil.platforms.ctrader import refusals
from counterfoil.platforms.ctrader.session import TokenKeeper
from counterfoil.platforms.http import Answer, Http
from counterfoil.platforms.sessions import Session

Params = Mapping[str, str | int]


@dataclass(frozen=True, slots=True)
class Written:
    """The answer to a write: the verdict, the code of a refusal, the body, and a reason for a person, without bodies."""

    verdict: Verdict
    code: str | None
    body: bytes
    reason: str
    retry_after: float | None


class Calls:
    """The requests of one client."""

    def __init__(self, http: Http, budget: Budget, tokens: TokenKeeper, allowance: WriteAllowance) -> None:
        self._http = http
        self._budget = budget
        self._tokens = tokens
        self._allowance = allowance

    async def get(self, path: str, priority: Priority, params: Params | None = None) -> Answer:
        """One GET; the answer may be a refusal."""
        answer, _ = await self._with_token("GET", path, priority, params=params)
        return answer

    async def write(
        self, method: str, path: str, body: bytes | None, *, priority: Priority, deadline: float
    ) -> Written:
        """One attempt to change something. Only a refused token, which changes nothing, is followed by a second request.

        Raises:
            PausedError, TransientError, ConfigurationError: before anything was sent.
        """
        answer, session = await self._with_token(method, path, priority, body=body, deadline=deadline)
        refusal = refusals.read(answer.body) if not answer.silence else None
        verdict = refusals.judge(answer, refusal, writing=True)
        code = refusal.code if refusal else None
        if answer.silence:
            return Written(verdict, None, b"", answer.reason, None)
        if answer.is_good and answer.sandbox and not session.sandbox:
            return Written(Verdict.UNKNOWN, None, b"", "a simulator answered in place of the platform", None)
        if answer.status == HTTPStatus.TOO_MANY_REQUESTS or code == refusals.RATE_LIMITED:
            await self._allowance.exhausted(answer.retry_after)
        return Written(verdict, code, answer.body, self._reason(answer, refusal), answer.retry_after)

    async def _with_token(
        self,
        method: str,
        path: str,
        priority: Priority,
        *,
        params: Params | None = None,
        body: bytes | None = None,
        deadline: float = math.inf,
    ) -> tuple[Answer, Session]:
        async def ask(session: Session) -> Answer:
            if method != "GET":
                await self._allowance.take(priority)
            return await self._http.exchange(
                method,
                path,
                budget=self._budget,
                priority=priority,
                headers={},
                params={**(params or {}), "token": session.access_token},
                body=body,
                deadline=deadline,
                limited_apart=method != "GET",
            )

        session = await self._tokens.current()
        answer = await ask(session)
        if _is_of_token(answer) and not self._tokens.is_fresh(session):
            session = await self._tokens.current(rejected=session)
            answer = await ask(session)
        return answer, session

    def understood(self, answer: Answer) -> bytes:
        """The body of a good answer to a read.

        Raises:
            TransientError, PermanentError, ConfigurationError: as the answer is judged.
        """
        if answer.silence:
            raise TransientError(answer.reason)
        refusal = refusals.read(answer.body)
        reason = self._reason(answer, refusal)
        match refusals.judge(answer, refusal, writing=False):
            case Verdict.DONE:
                return answer.body
            case Verdict.LOG_IN:
                raise ConfigurationError(f"{reason}: the manager's token is refused even when it is new")
            case Verdict.CONFIGURATION_FAULT:
                raise ConfigurationError(f"{reason}: the manager may not read this")
            case Verdict.PERMANENT:
                # No status alone proves that something is not there: a gateway gives it too.
                gone = refusal is not None and refusal.code == refusals.NO_TRADER
                raise PermanentError(reason, status=HTTPStatus.NOT_FOUND if gone else HTTPStatus.BAD_REQUEST)
            case Verdict.RATE_LIMITED:
                raise TransientError(f"{reason}: the platform asks for a pause", retry_after=answer.retry_after)
            case _ if 300 <= answer.status < 400:
                raise TransientError(f"{reason}, a redirect, which is never followed: check base_url")
            case _:
                raise TransientError(reason, retry_after=answer.retry_after)

    def _reason(self, answer: Answer, refusal: refusals.Refusal | None) -> str:
        told = f"HTTP {answer.status}"
        return told if refusal is None else self._tokens.mask(f"{told}: {refusal.code} {refusal.description}".rstrip())


def _is_of_token(answer: Answer) -> bool:
    if answer.silence:
        return False
    return refusals.judge(answer, refusals.read(answer.body), writing=False) is Verdict.LOG_IN
