"""Requests to OMTrader within a session: logged in again once when the platform says that it is over, and answers judged."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeGuard

from counterfoil.domain.errors import ConfigurationError, PermanentError, TransientError
from counterfoil.domain.outcome import Body, Verdict, classify
from counterfoil.domain.priority import Priority
from counterfoil.platforms.base import Budget
from counterfoil.platforms.http import DEFAULT_RETRY_AFTER, Answer, Http
from counterfoil.platforms.omtrader import envelope
from counterfoil.platforms.omtrader.session import SessionKeeper
from counterfoil.platforms.sessions import Session

# Longest body, in bytes, that is looked into for a refusal before it is read as a list.
_REFUSAL_LIMIT = 16_384

Params = Mapping[str, str | int]


@dataclass(frozen=True, slots=True)
class Written:
    """The answer to a write: the verdict, the envelope where there is one, and a reason for a person, without bodies."""

    verdict: Verdict
    envelope: envelope.Envelope | None
    reason: str
    retry_after: float | None


class Calls:
    """The requests of one client."""

    def __init__(self, http: Http, budget: Budget, sessions: SessionKeeper) -> None:
        self._http = http
        self._budget = budget
        self._sessions = sessions

    async def get(self, path: str, priority: Priority, params: Params | None = None) -> Answer:
        """One GET, logged in again once when the platform says that the session is over."""
        answer, _ = await self._in_session("GET", path, priority, params=params)
        return answer

    async def write(self, method: str, path: str, body: bytes, *, priority: Priority, deadline: float) -> Written:
        """One attempt to change something. Only an answer 401, which changes nothing, is followed by a second request.

        Raises:
            PausedError, TransientError, ConfigurationError: before anything was sent.
        """
        answer, session = await self._in_session(method, path, priority, body=body, deadline=deadline)
        if answer.silence:
            return Written(classify(answer.silence, writing=True), None, answer.reason, None)
        parsed = envelope.read(answer.body)
        verdict = _verdict(answer, parsed, writing=True)
        # Nothing may be asked from here on: an error of another request would hide what became of this one.
        if answer.is_good and answer.sandbox and not session.sandbox:
            return Written(Verdict.UNKNOWN, parsed, "a simulator answered in place of the platform", None)
        reason = self._reason(answer, parsed)
        if verdict is Verdict.REJECTED and parsed is None:
            # A proxy's page, during a deployment for instance: it cannot speak for the platform.
            return Written(Verdict.UNKNOWN, None, f"{reason}, but not from the platform itself", None)
        return Written(verdict, parsed, reason, answer.retry_after)

    async def _in_session(
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
            return await self._http.exchange(
                method,
                path,
                budget=self._budget,
                priority=priority,
                headers={"authorization": f"Bearer {session.access_token}"},
                params=params,
                body=body,
                deadline=deadline,
            )

        session = await self._sessions.current()
        answer = await ask(session)
        if _refusal(answer) is Verdict.LOG_IN:
            session = await self._sessions.current(rejected=session)
            answer = await ask(session)
        if answer.is_good and _refusal(answer) is Verdict.RATE_LIMITED:
            # The HTTP status did not say so, so nobody has told the budget yet.
            await self._budget.limited(answer.retry_after or DEFAULT_RETRY_AFTER)
        return answer, session

    def understood(self, answer: Answer) -> envelope.Envelope:
        """The envelope of a good answer to a read.

        Raises:
            TransientError, PermanentError, ConfigurationError: as domain.outcome classifies it.
        """
        if answer.silence:
            raise TransientError(answer.reason)
        parsed = envelope.read(answer.body)
        code = parsed.code if parsed else None
        reason = self._reason(answer, parsed)
        match _verdict(answer, parsed):
            case Verdict.DONE if parsed is not None:
                return parsed
            case Verdict.LOG_IN:
                raise ConfigurationError(f"{reason}, right after a fresh login: is the Manager account active?")
            case Verdict.CONFIGURATION_FAULT:
                raise ConfigurationError(f"{reason}: the Manager account may not read this")
            case Verdict.PERMANENT:
                raise PermanentError(reason, status=code if answer.status < HTTPStatus.BAD_REQUEST else answer.status)
            case Verdict.RATE_LIMITED:
                raise TransientError("the platform asks for a pause (429)", retry_after=answer.retry_after)
            case _ if 300 <= answer.status < 400:
                raise TransientError(f"{reason}, a redirect, which is never followed: check base_url")
            case _ if parsed is None and answer.status < HTTPStatus.MULTIPLE_CHOICES:
                raise TransientError(f"HTTP {answer.status}, but the answer is not OMTrader's envelope")
            case _:
                raise TransientError(reason, retry_after=answer.retry_after)

    def _reason(self, answer: Answer, parsed: envelope.Envelope | None) -> str:
        return f"HTTP {answer.status}" + (f": {self._sessions.mask(parsed.reason)}" if _refused(parsed) else "")


def _verdict(answer: Answer, parsed: envelope.Envelope | None, *, writing: bool = False) -> Verdict:
    body = parsed.body if parsed else Body.UNREADABLE
    return classify(answer.status, body, writing=writing, code=parsed.code if parsed else None)


def _refused(parsed: envelope.Envelope | None) -> TypeGuard[envelope.Envelope]:
    return parsed is not None and not parsed.success


def _refusal(answer: Answer) -> Verdict | None:
    """The verdict on an answer that refuses; None when it does not. A refusal under a good status is short."""
    if answer.silence:
        return None
    if not answer.is_good:
        return _verdict(answer, None)
    parsed = envelope.read(answer.body) if len(answer.body) <= _REFUSAL_LIMIT else None
    return _verdict(answer, parsed) if _refused(parsed) else None
