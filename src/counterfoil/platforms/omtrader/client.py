"""OMTrader as the pulls see it: pages of records, read with one session under one budget."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import TypeGuard

import msgspec
from msgspec import Raw

from counterfoil.domain.errors import ConfigurationError, PermanentError, TransientError
from counterfoil.domain.outcome import Body, Verdict, classify
from counterfoil.domain.page import Page
from counterfoil.domain.priority import Priority
from counterfoil.platforms.base import Budget, LoginFacts, Query, Vault
from counterfoil.platforms.http import DEFAULT_RETRY_AFTER, Answer, Http
from counterfoil.platforms.omtrader import envelope, wire
from counterfoil.platforms.omtrader.session import Session, SessionKeeper
from counterfoil.platforms.rows import RowFormat, opening

# Longest body, in bytes, that is looked into for a refusal before it is read as a list.
_REFUSAL_LIMIT = 16_384


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """Where a server is and who we are there; `timeout` in seconds."""

    base_url: str
    username: str
    password: str = field(repr=False)
    timeout: float
    ca_file: Path | None = None
    deals_path: str = "/api/v1/trader/deals"


class OMTrader:
    """See platforms.base.Reader."""

    def __init__(self, connection: Connection, budget: Budget, vault: Vault) -> None:
        self._http = Http(connection.base_url, timeout=connection.timeout, ca_file=connection.ca_file)
        self._budget = budget
        self._sessions = SessionKeeper(
            self._http, budget, vault, credentials=(connection.username, connection.password)
        )
        deals = wire.Place(connection.deals_path, connection.deals_path, "deals")
        self._places = wire.PLACES | {"deals": deals}

    async def close(self) -> None:
        """Close every connection."""
        await self._http.close()

    @property
    def trouble(self) -> str | None:
        """Why nobody is logged in; None when somebody is."""
        return self._sessions.trouble

    async def log_in(self) -> LoginFacts:
        """Make sure that there is a session.

        Raises:
            ConfigurationError: the platform refuses us, or is no OMTrader server.
            TransientError: the platform did not answer properly.
        """
        return (await self._sessions.current()).facts

    async def page(self, resource: str, query: Query) -> Page:
        """See platforms.base.Reader."""
        place = self._places[resource]
        return await self._list(place.path, wire.FORMATS[place.table], query)

    async def of_group(self, resource: str, group_id: int, query: Query) -> Page:
        """See platforms.base.Reader."""
        rows = wire.group_symbols(group_id) if resource == "group_symbols" else wire.commissions(group_id)
        return await self._list(f"{wire.MANAGER}/groups/{group_id}/{wire.OF_GROUP[resource]}", rows, query)

    async def transactions(self, account_id: int, currency: str | None, query: Query) -> Page:
        """See platforms.base.Reader."""
        path = f"{wire.MANAGER}/accounts/{account_id}/transactions/history"
        return await self._list(path, wire.transactions(account_id, currency), query)

    def can_read_singly(self, resource: str) -> bool:
        """See platforms.base.Reader."""
        place = self._places.get(resource)
        return place is not None and bool(place.single)

    async def single(self, resource: str, record_id: int, priority: Priority) -> Page | None:
        """See platforms.base.Reader."""
        place = self._places[resource]
        try:
            answer = await self._get(f"{place.single}/{record_id}", priority)
            data = self._understood(answer).data
        except PermanentError as error:
            if error.status in (404, 410):
                return None
            raise
        if opening(data) != b"{":
            raise TransientError(f"{resource} {record_id}: the answer holds no record")
        return _page(wire.FORMATS[place.table], b"[" + bytes(data) + b"]", answer.digest)

    async def _list(self, path: str, rows: RowFormat, query: Query) -> Page:
        params: dict[str, str | int] = {
            "page": query.page,
            "limit": query.limit,
            "sort_by": "id",
            "dir": "DESC" if query.descending else "ASC",
        }
        answer = await self._get(path, query.priority, params)
        remembered = query.remembered.get(answer.digest)
        if remembered is not None and answer.is_good:
            return remembered
        listed = envelope.records(self._understood(answer).data)
        if listed is None:
            raise TransientError(f"{path}: the answer holds no list")
        return _page(rows, listed, answer.digest)

    async def _get(self, path: str, priority: Priority, params: Mapping[str, str | int] | None = None) -> Answer:
        """One GET, logged in again once when the platform says that the session is over."""
        session = await self._sessions.current()
        answer = await self._ask(path, priority, params, session)
        if _refusal(answer) is Verdict.LOG_IN:
            session = await self._sessions.current(rejected=session)
            answer = await self._ask(path, priority, params, session)
        if answer.is_good and _refusal(answer) is Verdict.RATE_LIMITED:
            # The HTTP status did not say so, so nobody has told the budget yet.
            await self._budget.limited(answer.retry_after or DEFAULT_RETRY_AFTER)
        return answer

    async def _ask(
        self, path: str, priority: Priority, params: Mapping[str, str | int] | None, session: Session
    ) -> Answer:
        headers = {"authorization": f"Bearer {session.access_token}"}
        return await self._http.exchange(
            "GET", path, budget=self._budget, priority=priority, headers=headers, params=params
        )

    def _understood(self, answer: Answer) -> envelope.Envelope:
        """The envelope of a good answer.

        Raises:
            TransientError, PermanentError, ConfigurationError: as domain.outcome classifies it.
        """
        if answer.silence:
            raise TransientError(answer.reason)
        parsed = envelope.read(answer.body)
        code = parsed.code if parsed else None
        reason = f"HTTP {answer.status}" + (f": {self._sessions.mask(parsed.reason)}" if _refused(parsed) else "")
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


def _verdict(answer: Answer, parsed: envelope.Envelope | None) -> Verdict:
    body = parsed.body if parsed else Body.UNREADABLE
    return classify(answer.status, body, writing=False, code=parsed.code if parsed else None)


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


def _page(rows: RowFormat, listed: bytes | Raw, digest: bytes) -> Page:
    try:
        return rows.read(listed, digest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise TransientError(f"the list in the answer is not readable: {type(error).__name__}") from error
