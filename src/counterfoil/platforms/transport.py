"""The way of requests that change nothing: aiohttp beneath httpx, at a third of its CPU for long answers.

What changes something never goes this way. What became of it is told by httpx's own transport, and a library that sends a request
again by itself, as aiohttp may, has no place there. Here it is told not to.
"""

import ssl
from collections.abc import AsyncIterator

import aiohttp
import httpx
from yarl import URL

# Bytes that wait for us before the sender is held up; a page of a thousand rows comes in a few pieces.
_WAITING = 1 << 20

# A request that may be sent twice without harm: it reads, or opens a session of ours.
CHANGES_NOTHING = "counterfoil.changes_nothing"
# All that can fail before a byte of the request has left.
_NEVER_SENT = (aiohttp.ClientConnectorError, aiohttp.ClientSSLError)


class ByPurpose(httpx.AsyncBaseTransport):
    """What has the extension CHANGES_NOTHING goes by aiohttp, everything else by httpx."""

    def __init__(self, verify: ssl.SSLContext | bool, limits: httpx.Limits) -> None:  # noqa: FBT001 - httpx's word
        self._verify = verify
        self._limits = limits
        self._reading = _Aiohttp(verify, limits)
        self._changing: httpx.AsyncHTTPTransport | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """See httpx.AsyncBaseTransport."""
        if CHANGES_NOTHING in request.extensions and request.url.scheme in ("http", "https") and request.url.host:
            return await self._reading.handle_async_request(request)
        if self._changing is None:
            # Loads much, which a process that only reads does without.
            self._changing = httpx.AsyncHTTPTransport(verify=self._verify, limits=self._limits, trust_env=False)
        return await self._changing.handle_async_request(request)

    async def aclose(self) -> None:
        """Close every connection."""
        await self._reading.aclose()
        if self._changing is not None:
            await self._changing.aclose()


class _Aiohttp(httpx.AsyncBaseTransport):
    def __init__(self, verify: ssl.SSLContext | bool, limits: httpx.Limits) -> None:  # noqa: FBT001
        self._verify = verify
        self._limits = limits
        self._opened: aiohttp.ClientSession | None = None

    def _session(self) -> aiohttp.ClientSession:
        """Made with the first request: it belongs to the loop that runs then."""
        if self._opened is None:
            connector = aiohttp.TCPConnector(
                limit=self._limits.max_connections or 0,
                keepalive_timeout=self._limits.keepalive_expiry,
                ssl=self._verify,
            )
            self._opened = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                read_bufsize=_WAITING,
                # A login without a body would be sent with a type for it, which a server may refuse.
                skip_auto_headers=("Content-Type",),
            )
            # One request is one request of the budget. There is no public word for it; a test watches this one.
            self._opened._retry_connection = False  # noqa: SLF001
        return self._opened

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        wait = request.extensions.get("timeout", {}).get("connect")
        try:
            answer = await self._session().request(
                request.method,
                URL(str(request.url), encoded=True),
                headers=request.headers,
                data=request.content or None,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=None, connect=wait),
            )
        except (aiohttp.ClientError, OSError) as error:
            raise _told(error) from _cause(error)
        return httpx.Response(answer.status, headers=answer.raw_headers, stream=_Body(answer), request=request)

    async def aclose(self) -> None:
        if self._opened is not None:
            await self._opened.close()


class _Body(httpx.AsyncByteStream):
    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for piece in self._answer.content.iter_any():
                yield piece
        except (aiohttp.ClientError, OSError) as error:
            raise _told(error) from error

    async def aclose(self) -> None:
        # What is not read to its end ends the connection; the rest goes back to wait for the next request.
        self._answer.release() if self._answer.content.at_eof() else self._answer.close()


def _told(error: Exception) -> httpx.TransportError:
    """The word of httpx for an error of aiohttp."""
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return httpx.ConnectTimeout("")
    if isinstance(error, _NEVER_SENT):
        return httpx.ConnectError(str(error))
    if isinstance(error, (aiohttp.ClientPayloadError, aiohttp.ClientResponseError, aiohttp.ServerDisconnectedError)):
        return httpx.RemoteProtocolError(str(error))
    return httpx.ReadError(str(error))


def _cause(error: Exception) -> BaseException:
    """What lies beneath an error of aiohttp, where it says so."""
    beneath = getattr(error, "certificate_error", None) or getattr(error, "os_error", None)
    return beneath if isinstance(beneath, BaseException) else error
