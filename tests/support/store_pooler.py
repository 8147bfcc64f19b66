"""A small pooler in front of a real PostgreSQL, as pgbouncer is one: many clients, few connections to the server.

It logs in to the server through libpq and then passes messages on byte by byte. A client gets a connection for each
transaction, or, in session mode, for as long as it stays.
"""

import asyncio
import os
import socket
import struct
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import psycopg
import sqlalchemy as sa

PARAMETERS = (("server_version", "15.0"), ("client_encoding", "UTF8"), ("server_encoding", "UTF8"))
CANCEL = 80877102


@dataclass
class Pooler:
    """`session`: a connection for each client's whole stay; `limit`: connections to the server, no more."""

    target: str
    session: bool = False
    round_robin: bool = False
    limit: int = 10
    url: str = ""
    _idle: deque[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = field(default_factory=deque)
    _open: list[asyncio.StreamWriter] = field(default_factory=list)
    _tasks: set[asyncio.Task[None] | None] = field(default_factory=set)
    _free: asyncio.Condition = field(default_factory=asyncio.Condition)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[str]:
        """The URL to connect to."""
        async with AsyncExitStack() as stack:
            server = await asyncio.start_server(self._client, "127.0.0.1", 0)
            port = server.sockets[0].getsockname()[1]
            here = sa.make_url(self.target).set(host="127.0.0.1", port=port, query={"sslmode": "disable"})
            stack.callback(server.close)
            yield here.render_as_string(hide_password=False)
        for writer in self._open:
            writer.transport.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open.append(writer)
        self._tasks.add(asyncio.current_task())
        try:
            (length,) = struct.unpack("!i", await reader.readexactly(4))
            (code,) = struct.unpack("!i", (await reader.readexactly(length - 4))[:4])
            if code == CANCEL:  # whoever asks for that will not wait for an answer of ours
                for waiting in self._open:
                    waiting.transport.abort()
                return
            writer.write(b"R" + struct.pack("!ii", 8, 0))
            for name, value in PARAMETERS:
                pair = f"{name}\0{value}\0".encode()
                writer.write(b"S" + struct.pack("!i", 4 + len(pair)) + pair)
            writer.write(b"K" + struct.pack("!iii", 12, 1, 1) + b"Z" + struct.pack("!i", 5) + b"I")
            while True:
                first = await _message(reader)
                far = await self._connection()
                try:
                    await self._serve(first, (reader, writer), far)
                finally:
                    async with self._free:
                        self._idle.append(far)
                        self._free.notify()
        except (asyncio.IncompleteReadError, OSError):
            writer.close()

    async def _serve(self, first: bytes, near, far) -> None:
        """One transaction, or everything until the client leaves."""
        far[1].write(first)
        while True:
            answer = await _message(far[0])
            near[1].write(answer)
            if answer[:1] != b"Z":
                continue
            if answer[5:] == b"I" and not self.session:
                return
            message = await _message(near[0])
            if message[:1] == b"X":
                raise asyncio.IncompleteReadError(b"", None)
            far[1].write(message)

    async def _connection(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        async with self._free:
            await self._free.wait_for(lambda: self._idle or self.limit > 0)
            if self._idle:
                return self._idle.popleft() if self.round_robin else self._idle.pop()
            self.limit -= 1
        async with await psycopg.AsyncConnection.connect(self.target, sslmode="disable", autocommit=True) as connection:
            copy = socket.socket(fileno=os.dup(connection.pgconn.socket))
            streams = await asyncio.open_connection(sock=copy)
            self._open.append(streams[1])
            # What libpq says at the end is not for the server.
            nowhere = os.open(os.devnull, os.O_RDWR)
            os.dup2(nowhere, connection.pgconn.socket)
            os.close(nowhere)
        return streams


async def _message(reader: asyncio.StreamReader) -> bytes:
    head = await reader.readexactly(5)
    return head + await reader.readexactly(struct.unpack("!i", head[1:])[0] - 4)
