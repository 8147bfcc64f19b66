"""One HTTP exchange with a platform: bounded in time and size, counted by the budget, its outcome named.

What httpx raises is turned into domain.outcome.Silence here and nowhere else.
"""

import asyncio
import math
import os
import ssl
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import cast
from urllib.parse import urlencode, urlsplit

import httpx
import xxhash

from counterfoil.domain.errors import ConfigurationError
from counterfoil.domain.outcome import Silence
from counterfoil.domain.priority import Priority
from counterfoil.platforms.base import Budget
from counterfoil.platforms.transport import CHANGES_NOTHING, ByPurpose

# No page of ours comes near; a body without an end is cut off here.
BODY_LIMIT = 32 * 1024 * 1024
# A compressed body is unpacked so many bytes at a time: a short one can stand for gigabytes.
_PIECE = 256 * 1024
# A platform that says "later" without a time, and the longest time that we believe.
DEFAULT_RETRY_AFTER = 5.0
LONGEST_RETRY_AFTER = 3600.0
# Seconds for each step of connecting; three of them (place, TCP, TLS) end before the whole exchange does.
LONGEST_CONNECT = 10.0

# OpenSSL's codes for "nobody that we know has signed this".
_UNKNOWN_AUTHORITY = frozenset({2, 18, 19, 20, 21})


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `status` 0: nothing did, and `silence` says how; `reason` is for a person, without bodies.

    `path`: what was asked for. `oversized`: the answer was cut off because it is longer than any should be.
    """

    status: int
    body: bytes = field(default=b"", repr=False)
    path: str = ""
    retry_after: float | None = None
    silence: Silence | None = None
    reason: str = ""
    sandbox: bool = False
    date: datetime | None = None
    oversized: bool = False

    @property
    def is_good(self) -> bool:
        """Whether the status says that all is well; the body may say otherwise."""
        return 200 <= self.status < 300

    @property
    def digest(self) -> bytes:
        """Of path and body, so that equal digests mean the same list with the same content; computed at every call."""
        digest = xxhash.xxh3_128(self.path.encode() + b"\n")
        digest.update(self.body)
        return digest.digest()


@dataclass(frozen=True, slots=True)
class Request:
    """What goes out. `body`: JSON, None for none."""

    method: str
    path: str
    given_headers: Mapping[str, str] = field(repr=False)
    params: Mapping[str, str | int] | None = None
    body: bytes | None = field(default=None, repr=False)
    login: bool = False

    def url(self, server: str) -> str:
        """Where it goes, in one piece: joined by httpx it would be parsed three times."""
        return f"{server}{self.path}" + (f"?{urlencode(self.params)}" if self.params else "")

    @property
    def extensions(self) -> dict[str, object]:
        """Which way it goes."""
        return {CHANGES_NOTHING: True} if self.method == "GET" or self.login else {}

    @property
    def headers(self) -> dict[str, str]:
        """The headers, with the type of the body where there is one."""
        return {**self.given_headers, **({} if self.body is None else {"content-type": "application/json"})}


def tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """The machine's trusted authorities, or those of a private one.

    Raises:
        ConfigurationError: the file is missing or is no certificate.
    """
    try:
        return ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(f"ca_file {ca_file}: not a readable PEM certificate ({error})") from error


class Http:
    """The connections to one server. Never follows a redirect and never tries again by itself."""

    def __init__(self, base_url: str, *, timeout: float, ca_file: Path | None = None) -> None:
        """`timeout`: seconds for a whole exchange, connecting and reading included."""
        self._timeout = timeout
        self._base_url = base_url
        self._ca_file = ca_file
        step = min(timeout / 3, LONGEST_CONNECT)
        # Whatever is not plainly http is verified; httpx itself takes HTTPS:// for https.
        verify = urlsplit(base_url).scheme != "http" and tls_context(ca_file)
        limits = httpx.Limits(max_connections=64, max_keepalive_connections=16, keepalive_expiry=30)
        self._transport = ByPurpose(verify, limits)
        self._client = httpx.AsyncClient(
            transport=self._transport,
            # The whole exchange is bounded by `timeout`; only connecting has bounds of its own, to be told apart.
            timeout=httpx.Timeout(None, connect=step, pool=step),
            headers={"accept": "application/json", "accept-encoding": "gzip", "user-agent": "counterfoil"},
            # A session is a Bearer token and nothing else.
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
            follow_redirects=False,
            trust_env=False,
        )

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()

    async def exchange(
        self,
        method: str,
        path: str,
        *,
        budget: Budget,
        priority: Priority,
        headers: Mapping[str, str],
        params: Mapping[str, str | int] | None = None,
        body: bytes | None = None,
        deadline: float = math.inf,
        limited_apart: bool = False,
        login: bool = False,
    ) -> Answer:
        """Send one request when the budget allows, and tell the budget how it went.

        `body`: JSON. `deadline`: on the clock of time.monotonic(); after it no byte leaves, and NOT_CONNECTED says so.
        `limited_apart`: an answer 429 concerns requests of this sort alone, and the caller minds it. `login`: it opens a session and
        changes nothing else.

        Raises:
            PausedError: the budget does not allow it for longer than a request may wait.
        """
        async with budget.request(priority):
            if time.monotonic() >= deadline:
                return Answer(
                    0, silence=Silence.NOT_CONNECTED, reason="no turn came before the attempt's time was over"
                )
            answer = await self._send(Request(method, path, headers, params, body, login=login))
        if answer.status in (425, 429) and limited_apart:
            pass
        elif answer.status in (425, 429):
            await budget.limited(answer.retry_after or DEFAULT_RETRY_AFTER)
        elif answer.silence or answer.status >= 500:
            await budget.failed(answer.reason or f"HTTP {answer.status}")
        else:
            await budget.succeeded()
        return answer

    async def _send(self, request: Request) -> Answer:
        try:
            async with asyncio.timeout(self._timeout):
                return await self._receive(request)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            return Answer(0, silence=Silence.NOT_CONNECTED, reason=self._connection_reason(error))
        except TimeoutError:
            return Answer(0, silence=Silence.INTERRUPTED, reason=f"no complete answer within {self._timeout:g} s")
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError):
            reason = f"{self._base_url}: the request cannot be written; check base_url"
            return Answer(0, silence=Silence.NOT_CONNECTED, reason=reason)
        except (httpx.TransportError, httpx.DecodingError) as error:
            return Answer(0, silence=Silence.INTERRUPTED, reason=_transport_reason(error))

    async def _receive(self, request: Request) -> Answer:
        pieces: list[bytes] = []
        length = 0
        wanted = self._client.build_request(
            request.method,
            request.url(self._base_url),
            headers=request.headers,
            content=request.body,
            extensions=request.extensions,
        )
        # The client's own way from here on is about redirects, cookies and credentials, of which there are none.
        response = await self._transport.handle_async_request(wanted)
        async with aclosing(response):
            unpacking = _Unpacking(response.headers.get("content-encoding"))
            async for chunk in cast("httpx.AsyncByteStream", response.stream):
                for piece in unpacking.pieces(chunk):
                    pieces.append(piece)
                    length += len(piece)
                    if length > BODY_LIMIT:
                        reason = f"the answer is larger than {BODY_LIMIT // 1024 // 1024} MiB"
                        return Answer(0, silence=Silence.INTERRUPTED, reason=reason, oversized=True)
            unpacking.finish()
            return Answer(
                response.status_code,
                b"".join(pieces),
                request.path,
                retry_after=_retry_after(response.headers.get("retry-after")),
                sandbox="x-sandbox" in response.headers,
                date=_date(response.headers.get("date")),
            )

    def _connection_reason(self, error: Exception) -> str:
        if isinstance(error, httpx.PoolTimeout):
            return "no connection was free in time"
        if isinstance(error, httpx.ConnectTimeout):
            return f"{self._base_url} did not take the connection in time"
        causes = list(_causes(error))
        for cause in causes:
            if isinstance(cause, ssl.SSLCertVerificationError):
                return self._certificate_reason(cause)
            if isinstance(cause, ssl.SSLError):
                return f"TLS: {cause.reason or cause}; is {self._base_url} an https server?"
        told = [_errno_text(cause) for cause in causes if isinstance(cause, OSError) and cause.errno]
        return f"cannot connect to {self._base_url}: {told[-1] if told else error}"

    def _certificate_reason(self, error: ssl.SSLCertVerificationError) -> str:
        told = f"TLS: the certificate of {self._base_url} is not trusted ({error.verify_message})"
        if error.verify_code not in _UNKNOWN_AUTHORITY:
            return told
        if self._ca_file is None:
            return f"{told}; for a private authority set ca_file"
        return f"{told}: ca_file {self._ca_file} does not hold the authority that signed it"


class _Unpacking:
    """Undoes the compression of one body. We ask for gzip or none; anything else is an answer that we did not ask for."""

    def __init__(self, encoding: str | None) -> None:
        named = (encoding or "identity").strip().lower()
        if named not in ("identity", "gzip", "x-gzip"):
            raise httpx.DecodingError("unknown compression")
        self._gzip = None if named == "identity" else zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        self._begun = False

    def pieces(self, chunk: bytes) -> Iterator[bytes]:
        """What a chunk stands for, at most _PIECE bytes at a time."""
        if self._gzip is None:
            yield chunk
            return
        self._begun = full = True
        while chunk or full:
            try:
                piece = self._gzip.decompress(chunk, _PIECE)
            except zlib.error as error:
                raise httpx.DecodingError("broken compression") from error
            yield piece
            chunk, full = self._gzip.unconsumed_tail, len(piece) == _PIECE

    def finish(self) -> None:
        """Raises httpx.DecodingError when the end is missing."""
        if self._gzip is not None and self._begun and not self._gzip.eof:
            raise httpx.DecodingError("the compressed body ends early")


def _errno_text(error: OSError) -> str:
    # asyncio puts words of its own in place of the system's; a resolver's codes are negative and its words good.
    number = error.errno or 0
    return os.strerror(number) if number > 0 else str(error.strerror)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what caused it, the nearest first; of several attempts to connect, the last."""
    while error is not None:
        yield error
        error = error.exceptions[-1] if isinstance(error, BaseExceptionGroup) else error.__cause__ or error.__context__


def _date(header: str | None) -> datetime | None:
    """When the server answered, by its own clock, to the second (RFC 9110, section 6.6.1)."""
    try:
        when = parsedate_to_datetime(header) if header else None
    except (ValueError, TypeError, OverflowError):
        return None
    return when.replace(tzinfo=UTC) if when is not None and when.tzinfo is None else when


def _retry_after(header: str | None) -> float | None:
    """Seconds; the header holds seconds or a date (RFC 9110, section 10.2.3)."""
    if not header:
        return None
    try:
        seconds = float(header)
    except ValueError:
        when = _date(header)
        if when is None:
            return None
        seconds = when.timestamp() - time.time()
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER) if seconds == seconds else None  # noqa: PLR0124 - NaN is not itself


def _transport_reason(error: Exception) -> str:
    if isinstance(error, httpx.DecodingError):
        return f"the answer's compression is broken: {error}"
    return f"the connection broke: {type(error).__name__}"
