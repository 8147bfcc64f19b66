"""A TCP proxy that a test can stop, start and make deaf: how a dead or silent database looks from outside."""

import asyncio
from urllib.parse import urlsplit, urlunsplit


class Proxy:
    """Forwards a port of its own to another one. The port stays the same when it is stopped and started again."""

    def __init__(self, target: str) -> None:
        parts = urlsplit(target)
        self._target = (parts.hostname or "127.0.0.1", parts.port or 5432)
        self._parts = parts
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._hearing = asyncio.Event()
        self._hearing.set()
        self._words = b""
        self._left = 0
        self.lost = 0
        self.port = 0

    @property
    def url(self) -> str:
        """The target's URL through this proxy."""
        user = f"{self._parts.username}:{self._parts.password}@" if self._parts.password else f"{self._parts.username}@"
        return urlunsplit(self._parts._replace(netloc=f"{user}127.0.0.1:{self.port}"))

    @property
    def is_open(self) -> bool:
        """Whether it takes connections."""
        return self._server is not None

    def retarget(self, target: str) -> None:
        """Forward to another port from the next connection on."""
        parts = urlsplit(target)
        self._target = (parts.hostname or "127.0.0.1", parts.port or 5432)

    async def reserve(self) -> None:
        """Know the port without listening on it yet."""
        await self.start()
        await self.stop()

    async def start(self) -> None:
        """Take connections."""
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Refuse connections and cut those that there are."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()

    def go_deaf(self) -> None:
        """Take what is sent and pass nothing on."""
        self._hearing.clear()

    def hear(self) -> None:
        """Pass on again, with what was held back."""
        self._hearing.set()

    def lose_answer_to(self, words: bytes, number: int) -> None:
        """Of the requests with these words, the one with this number (from 1) is passed on; its connection ends with the answer."""
        self._words, self._left = words, number

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, far_writer}
        cut = asyncio.Event()
        await asyncio.gather(self._pass(reader, far_writer, asks=cut), self._pass(far_reader, writer, answers=cut))

    async def _pass(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        asks: asyncio.Event | None = None,
        answers: asyncio.Event | None = None,
    ) -> None:
        try:
            while data := await reader.read(65536):
                await self._hearing.wait()
                if answers is not None and answers.is_set():
                    self.lost += 1
                    return
                if asks is not None and self._left and self._words in data:
                    self._left -= 1
                    if not self._left:
                        asks.set()
                writer.write(data)
                await writer.drain()
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            writer.transport.abort()
            self._writers.discard(writer)
