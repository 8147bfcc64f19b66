"""A server of a few lines, plain or TLS, that says exactly the bytes that a test wants said."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

# Writes one answer; the request head has been read.
Say = Callable[[asyncio.StreamWriter], Awaitable[None]]


class Canned:
    """What a running server heard. `arrived`: a request came; `gone`: a connection ended."""

    def __init__(self, say: Say) -> None:
        """`say`: how every request is answered."""
        self.say = say
        self.heard: list[bytes] = []
        self.connections = 0
        self.url = ""
        self.arrived, self.gone = asyncio.Event(), asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError, ssl.SSLError):
            while True:
                self.heard.append(await reader.readuntil(b"\r\n\r\n"))
                self.arrived.set()
                await self.say(writer)
                await writer.drain()
        self.gone.set()
        self._tasks.discard(task)
        writer.close()

    async def stop(self) -> None:
        """Hang up on everybody."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def canned(say: Say, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[Canned]:
    """A server for the length of a test."""
    server = Canned(say)
    listener = await asyncio.start_server(server._serve, "127.0.0.1", 0, ssl=tls)
    server.url = f"{'https' if tls else 'http'}://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listener.close()
        await server.stop()
        await listener.wait_closed()


def answer(body: bytes = b"", status: str = "200 OK", **headers: str) -> Say:
    """Always this answer."""

    async def say(writer: asyncio.StreamWriter) -> None:
        lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    return say


def answers(*says: Say) -> Say:
    """These answers in turn, the last one for ever."""
    left = list(says)

    async def say(writer: asyncio.StreamWriter) -> None:
        await (left.pop(0) if len(left) > 1 else left[0])(writer)

    return say


async def silence(_writer: asyncio.StreamWriter) -> None:
    """Never an answer."""
    await asyncio.Event().wait()


async def hang_up(writer: asyncio.StreamWriter) -> None:
    """Not a word, and gone."""
    writer.transport.abort()
