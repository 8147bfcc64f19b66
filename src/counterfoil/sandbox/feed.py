"""The simulated WebSocket of OMTrader (reference, section 8): sessions, subscriptions, events as the books change.

ASSUMED, because nothing public says it; everything else follows the reference:

* `data` of subscribe_group is a bare number or an object with `group_id`; a group's stream holds the events of the accounts
  in it, not of the groups below; an unknown group is answered with an `error`
* events carry the whole record as the lists show it; quotes change profits without an event of the position: a binary frame
  tells them
* the session's token must be in force when the connection is opened, and may run out later
* a session that is ended hears `session_logout` before the connection is closed
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final

import msgspec
from aiohttp import WSMsgType, web

from counterfoil.sandbox import faults as f
from counterfoil.sandbox import feed_faults as own
from counterfoil.sandbox.books import Books
from counterfoil.sandbox.desk import FaultDesk
from counterfoil.sandbox.rows import Deal, Order, Position
from counterfoil.sandbox.text import number

PATH: Final = "/ws/v1"
_FAREWELL: Final = 0.5

Row = Order | Position | Deal


class _Message(msgspec.Struct):
    type: str
    data: Any = None


class Listener:
    """One connection. `send` puts a frame in its line; the frames leave in their order."""

    def __init__(self, session_id: str) -> None:
        self.session_id = session_id
        self.groups: set[int] = set()
        self.muted = False
        self.frames: asyncio.Queue[str | bytes | None] = asyncio.Queue()

    def send(self, frame: str | bytes | None) -> None:
        """None: nothing more, the connection is cut."""
        self.frames.put_nowait(frame)


class Feed:
    """Everybody who listens. `knows` tells whether a session and its token are in force."""

    def __init__(self, books: Books, knows: Callable[[str, str], bool]) -> None:
        self._books = books
        self._knows = knows
        self._desk: FaultDesk | None = None
        self._listeners: dict[str, Listener] = {}
        self._first: dict[tuple[str, int], str] = {}
        self.sent = 0
        """Events sent since the start, to each listener."""
        books.told = self._told

    def obey(self, desk: FaultDesk) -> None:
        """Take faults from this desk."""
        self._desk = desk

    def is_used(self, session_id: str) -> bool:
        """Whether a connection holds the session: a second one is refused."""
        return session_id in self._listeners

    # What happens

    def _told(self, event: str, row: Row) -> None:
        if not self._listeners:
            return
        account_id = row.account_id if isinstance(row, Deal) else row.account.id
        account = self._books.accounts.get(account_id)
        group = account.group.id if account else None
        hearers = [one for one in self._listeners.values() if group in one.groups]
        if not hearers:
            return
        if event == "profit":
            frame: str | bytes = _profit(row) if isinstance(row, Position) else b""
        else:
            frame = f'{{"type":"{event}","data":{row.render().decode()}}}'
        for listener in hearers:
            self._emit(listener, frame, (type(row).__name__, row.id))

    def _emit(self, listener: Listener, frame: str | bytes, about: tuple[str, int] | None = None) -> None:
        """A frame as the faults leave it."""
        struck = self._desk.pick("GET", PATH, f.FRAME) if self._desk else f.Struck()
        if struck.has(own.Mute):
            listener.muted = True
        if listener.muted or struck.has(own.LoseEvent):
            return
        if struck.has(own.DropStream):
            listener.send(None)
            return
        if struck.has(own.SessionLogout):
            self.log_out(listener)
            return
        if garbage := struck.get(own.GarbageFrame):
            listener.send(garbage.text.encode() if garbage.binary else garbage.text)
        copies = repeat.copies if (repeat := struck.get(own.RepeatEvents)) else 0
        for _ in range(1 + copies):
            listener.send(frame)
        self.sent += isinstance(frame, str) and about is not None
        if isinstance(frame, str) and about is not None:
            first = self._first.setdefault(about, frame)
            if struck.has(own.OldNews):
                listener.send(first)

    def log_out(self, listener: Listener) -> None:
        """End a session that is listened with."""
        listener.send(f'{{"type":"session_logout","data":{{"session_id":"{listener.session_id}"}}}}')
        listener.send(None)

    def close(self) -> None:
        """Cut every connection."""
        for listener in self._listeners.values():
            listener.send(None)

    def log_out_all(self) -> None:
        """Every session is over."""
        for listener in [*self._listeners.values()]:
            self.log_out(listener)

    # One connection

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """A connection from its opening to its end."""
        session_id, token = request.query.get("session_id", ""), request.query.get("access_token", "")
        if not self._knows(session_id, token):
            return web.Response(status=401, text="unknown session")
        if self.is_used(session_id):
            return web.Response(status=400, text="session is already used")
        socket = web.WebSocketResponse(timeout=_FAREWELL)
        listener = self._listeners[session_id] = Listener(session_id)
        try:
            await socket.prepare(request)
            listener.send(f"Connected to {request.host}{PATH}")
            await _first_to_end(self._hear(socket, listener), _speak(socket, listener))
        finally:
            del self._listeners[session_id]
            if request.transport is not None and not socket.closed:
                request.transport.abort()
        return socket

    async def _hear(self, socket: web.WebSocketResponse, listener: Listener) -> None:
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                self._answer(listener, message.data)

    def _answer(self, listener: Listener, text: str) -> None:
        if text == "9":
            self._emit(listener, "10")
            return
        try:
            message = msgspec.json.decode(text, type=_Message)
        except msgspec.DecodeError:
            self._emit(listener, _error("not a message"))
            return
        group = message.data.get("group_id") if isinstance(message.data, dict) else message.data
        if message.type not in ("subscribe_group", "unsubscribe_group"):
            self._emit(listener, _error(f"unknown event {message.type[:40]}"))
        elif not isinstance(group, int) or group not in self._books.groups.rows:
            self._emit(listener, _error("no such group"))
        elif message.type == "subscribe_group":
            listener.groups.add(group)
        else:
            listener.groups.discard(group)


async def _speak(socket: web.WebSocketResponse, listener: Listener) -> None:
    while (frame := await listener.frames.get()) is not None:
        if isinstance(frame, str):
            await socket.send_str(frame)
        else:
            await socket.send_bytes(frame)


async def _first_to_end(*works: Any) -> None:
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _profit(position: Position) -> bytes:
    """s, the position's id, its profit, and what it comes to with swaps and commission."""
    cents = position.account.group.digits
    total = position.profit + position.swaps + position.storage + position.commission
    return f"s,{position.id},{number(position.profit, cents)},{number(total, cents)}".encode()


def _error(message: str) -> str:
    return msgspec.json.encode({"type": "error", "data": {"message": message}}).decode()
