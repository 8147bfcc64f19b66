"""OMTrader's WebSocket: opened with our session, kept alive, subscribed group by group (reference, section 8).

One connection a session. The session is the one of all requests: a login of its own might end theirs.

Assumed: the look whether a session is free may be missing (404, 405); a group is subscribed by its bare number, and every
group is, because nothing says whether a group's stream holds that of the groups below it.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import msgspec

from counterfoil.domain.errors import TransientError
from counterfoil.domain.page import Page
from counterfoil.domain.priority import Priority
from counterfoil.observe import events
from counterfoil.platforms.base import Budget
from counterfoil.platforms.http import Answer, Http
from counterfoil.platforms.omtrader import frames, wire
from counterfoil.platforms.omtrader.session import SessionKeeper
from counterfoil.platforms.sessions import Session
from counterfoil.platforms.streaming import RenewedError, RowEvent
from counterfoil.platforms.websocket import Address, HandshakeRefusedError, Socket, opened

PATH = "/ws/v1"
# Seconds between two heartbeats: the vendor's newer client beats every 10, its guide every 30.
BEAT = 10.0
# Seconds without any frame, the answers to two heartbeats among them, after which nobody is there any more.
SILENCE = 25.0
# A session that is said to be in use so often is left to whoever uses it: our own earlier connection, gone without a farewell.
IN_USE = 3
# A server that does not answer heartbeats is taken to have read what we sent after so many seconds.
LONGEST_ANSWER = 5.0
# Different complaints of one connection that are said.
MOST_COMPLAINTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Where the stream is; `timeout`, `silence` in seconds."""

    url: str
    timeout: float
    ca_file: Path | None = None
    silence: float = SILENCE


class OMTraderStream:
    """See platforms.streaming.EventSource."""

    def __init__(self, line: Line, http: Http, budget: Budget, sessions: SessionKeeper) -> None:
        self._line = line
        self._http = http
        self._budget = _Apart(budget)
        self._sessions = sessions
        self._rejected: Session | None = None
        self._in_use = 0

    def page(self, table: str, records: Sequence[bytes]) -> Page:
        """See platforms.streaming.EventSource."""
        try:
            return wire.FORMATS[table].read(b"[" + b",".join(records) + b"]")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise TransientError(f"events of {table} are not readable: {type(error).__name__}") from error

    @asynccontextmanager
    async def connect(self) -> AsyncIterator["OMTraderFeed"]:
        """See platforms.streaming.EventSource."""
        session = await self._free_session()
        query = {"session_id": session.session_id, "access_token": session.access_token}
        address = Address(
            url=f"{self._line.url}{PATH}", query=query, timeout=self._line.timeout, ca_file=self._line.ca_file
        )
        try:
            async with self._opened(address) as socket:
                yield OMTraderFeed(socket, self._sessions, session, self._line.silence)
        except HandshakeRefusedError as error:
            self._blame(session, error.status)
            raise
        except SessionEndedError:
            self._rejected = session
            raise

    @asynccontextmanager
    async def _opened(self, address: Address) -> AsyncIterator[Socket]:
        async with self._budget.request(Priority.NORMAL):
            socket = await opened(address)
        try:
            yield socket
        finally:
            await socket.close()

    async def _free_session(self) -> Session:
        """A session that the platform says may be connected; a new one where it does not know ours any more."""
        session = await self._sessions.current(rejected=self._rejected)
        answer = await self._look(session)
        if answer.status == 401:
            session = await self._sessions.current(rejected=session)
            answer = await self._look(session)
        if answer.silence:
            raise TransientError(f"the look before the stream: {answer.reason}")
        if answer.is_good or answer.status in (404, 405):
            if answer.is_good and answer.sandbox != session.sandbox:
                raise TransientError("a simulator answered in place of the platform, or the other way round")
            self._in_use = 0
            return session
        if answer.status == 400:
            self._blame(session, answer.status)
            raise TransientError("the platform says that our session is already used by a connection")
        raise TransientError(f"the look before the stream: HTTP {answer.status}", retry_after=answer.retry_after)

    async def _look(self, session: Session) -> Answer:
        if not session.session_id:
            raise TransientError("the login gave no session_id, which a stream needs")
        return await self._http.exchange(
            "POST",
            f"{PATH}/{quote(session.session_id, safe='')}",
            budget=self._budget,
            priority=Priority.NORMAL,
            headers={"authorization": f"Bearer {session.access_token}"},
        )

    def _blame(self, session: Session, status: int) -> None:
        """Take another session next time, where this one is the reason."""
        self._in_use = self._in_use + 1 if status == 400 else 0
        if status == 401 or self._in_use >= IN_USE:
            self._rejected, self._in_use = session, 0


class SessionEndedError(TransientError):
    """The platform ended our session."""


class OMTraderFeed:
    """See platforms.streaming.Feed."""

    def __init__(self, socket: Socket, sessions: SessionKeeper, session: Session, silence: float) -> None:
        self._socket = socket
        self._sessions = sessions
        self._session = session
        self._silence = silence
        self._heard = time.monotonic()
        self._answered = asyncio.Event()
        self._subscribed: set[int] = set()
        self._complaints: set[str] = set()

    async def events(self) -> AsyncIterator[RowEvent]:
        """See platforms.streaming.Feed."""
        while True:
            received = await self._socket.receive()
            self._heard = time.monotonic()
            match frames.read(received, self._heard):
                case RowEvent() as event:
                    yield event
                case frames.LoggedOut(session_id) if session_id in ("", self._session.session_id):
                    raise SessionEndedError("the platform ended our session (session_logout)")
                case frames.Refusal(message):
                    self._complain(f"the platform says: {self._mask(message)}")
                case frames.Garbled(reason):
                    self._complain(reason)
                case frames.Aside(answers=True):
                    self._answered.set()

    async def subscribe(self, groups: Iterable[int]) -> int:
        """See platforms.streaming.Feed."""
        fresh = sorted(set(groups) - self._subscribed)
        for group in fresh:
            await self._socket.send(frames.command("subscribe_group", group))
            self._subscribed.add(group)
        return len(fresh)

    async def settled(self) -> bool:
        """See platforms.streaming.Feed. Frames are read in their order, so a heartbeat that is answered came after them."""
        self._answered.clear()
        await self._socket.send(frames.HEARTBEAT)
        with suppress(TimeoutError):
            async with asyncio.timeout(LONGEST_ANSWER):
                await self._answered.wait()
        return self._answered.is_set()

    async def beat(self) -> None:
        """See platforms.streaming.Feed."""
        quiet = time.monotonic() - self._heard
        if quiet > self._silence:
            raise TransientError(f"nothing was heard for {quiet:.0f} s, not even the answer to a heartbeat")
        if await self._sessions.current() != self._session:
            raise RenewedError
        await self._socket.send(frames.HEARTBEAT)

    def _complain(self, reason: str) -> None:
        if reason not in self._complaints and len(self._complaints) < MOST_COMPLAINTS:
            self._complaints.add(reason)
            events.emit(events.STREAM_GARBLED, reason=reason)

    def _mask(self, message: str) -> str:
        return self._sessions.mask(message).replace(self._session.session_id, "***")


class _Apart:
    """The budget as the stream sees it: its requests count, but a stream that is dead does not pause the polls."""

    def __init__(self, budget: Budget) -> None:
        self._budget = budget

    def request(self, priority: Priority) -> AbstractAsyncContextManager[None]:
        """See platforms.base.Budget."""
        return self._budget.request(priority)

    async def succeeded(self) -> None:
        """Says nothing about the API."""

    async def failed(self, reason: str) -> None:
        """Says nothing about the API."""

    async def limited(self, seconds: float) -> None:
        """See platforms.base.Budget."""
        await self._budget.limited(seconds)
