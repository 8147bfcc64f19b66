"""One WebSocket to a platform: bounded in time and size, its end named. What aiohttp raises becomes TransientError here.

No text of an error repeats an address: the query of ours carries a token.
"""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import aiohttp
from aiohttp import WSMsgType

from counterfoil.domain.errors import TransientError
from counterfoil.platforms.http import tls_context

# No record of ours comes near; a longer frame ends the connection.
FRAME_LIMIT = 256 * 1024
# Seconds for saying good-bye.
_FAREWELL = 1.0


class HandshakeRefusedError(TransientError):
    """The server answered the opening with an HTTP status."""

    def __init__(self, status: int) -> None:
        """`status`: what it answered."""
        super().__init__(f"the stream was refused: HTTP {status}")
        self.status = status


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where to connect: `url` is ws:// or wss:// with a path, `query` may carry secrets; `timeout` in seconds."""

    url: str
    query: Mapping[str, str] = field(repr=False)
    timeout: float
    ca_file: Path | None = None


class Socket:
    """An open WebSocket."""

    def __init__(
        self, session: aiohttp.ClientSession, connection: aiohttp.ClientWebSocketResponse, timeout: float
    ) -> None:
        self._session = session
        self._connection = connection
        self._timeout = timeout

    async def send(self, text: str) -> None:
        """One text frame.

        Raises:
            TransientError: the connection is over, or takes nothing more.
        """
        try:
            async with asyncio.timeout(self._timeout):
                await self._connection.send_str(text)
        except (OSError, aiohttp.ClientError, TimeoutError) as error:
            raise TransientError(f"the stream broke: {type(error).__name__}") from error

    async def receive(self) -> str | bytes:
        """The next frame: text or bytes.

        Raises:
            TransientError: the connection is over.
        """
        message = await self._connection.receive()
        if message.type is WSMsgType.TEXT:
            text: str = message.data
            return text
        if message.type is WSMsgType.BINARY:
            binary: bytes = message.data
            return binary
        if message.type is WSMsgType.ERROR:
            raise TransientError(f"the stream broke: {type(message.data).__name__}")
        raise TransientError(f"the platform closed the stream (code {self._connection.close_code})")

    async def close(self) -> None:
        """Say good-bye, for a second at most, and hang up."""
        try:
            await self._connection.close()
        finally:
            await self._session.close()


async def opened(address: Address) -> Socket:
    """A connection, to be closed by the caller.

    Raises:
        HandshakeRefusedError: the server answered with a status.
        TransientError: there is no connection.
        ConfigurationError: ca_file is not readable.
    """
    tls = tls_context(address.ca_file) if address.url.startswith("wss:") else None
    session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), trust_env=False, trace_configs=[_straight()])
    try:
        return Socket(session, await _open(session, address, tls), address.timeout)
    except BaseException:
        await session.close()
        raise


async def _open(
    session: aiohttp.ClientSession, address: Address, tls: ssl.SSLContext | None
) -> aiohttp.ClientWebSocketResponse:
    try:
        async with asyncio.timeout(address.timeout):
            return await session.ws_connect(
                address.url,
                params=address.query,
                ssl=tls or True,
                max_msg_size=FRAME_LIMIT,
                timeout=aiohttp.ClientWSTimeout(ws_close=_FAREWELL),
                headers={"user-agent": "counterfoil"},
            )
    except aiohttp.WSServerHandshakeError as error:
        raise HandshakeRefusedError(error.status) from None
    except TimeoutError:
        raise TransientError(f"the stream was not opened within {address.timeout:g} s") from None
    except (OSError, aiohttp.ClientError, ValueError) as error:
        raise TransientError(f"cannot open the stream: {type(error).__name__}") from None


def _straight() -> aiohttp.TraceConfig:
    """Redirects are never followed."""

    async def refuse(
        _session: aiohttp.ClientSession, _context: SimpleNamespace, answer: aiohttp.TraceRequestRedirectParams
    ) -> None:
        raise HandshakeRefusedError(answer.response.status)

    trace = aiohttp.TraceConfig()
    trace.on_request_redirect.append(refuse)
    return trace
