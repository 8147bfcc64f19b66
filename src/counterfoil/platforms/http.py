"""One HTTP exchange with a platform: bounded in time and size, counted by the budget, its outcome named.

What httpx raises is turned into domain.outcome.Silence here and nowhere else.
"""

import asyncio
import hashlib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx

from counterfoil.domain.errors import ConfigurationError
from counterfoil.domain.outcome import Silence
from counterfoil.domain.priority import Priority
from counterfoil.platforms.base import Budget

# No page of ours comes near; a body without an end is cut off here.
BODY_LIMIT = 32 * 1024 * 1024
# A platform that says "later" without a time, and the longest time that we believe.
DEFAULT_RETRY_AFTER = 5.0
LONGEST_RETRY_AFTER = 3600.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `status` 0: nothing did, and `silence` says how; `reason` is for a person, without bodies."""

    status: int
    body: bytes = b""
    digest: bytes = b""
    retry_after: float | None = None
    silence: Silence | None = None
    reason: str = ""
    sandbox: bool = False
    date: datetime | None = None


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
        self._client = httpx.AsyncClient(
            base_url=base_url,
            verify=tls_context(ca_file) if base_url.startswith("https") else False,
            timeout=httpx.Timeout(timeout, connect=min(timeout, 10.0)),
            limits=httpx.Limits(max_connections=64, max_keepalive_connections=16, keepalive_expiry=30),
            headers={"accept": "application/json", "user-agent": "counterfoil"},
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
    ) -> Answer:
        """Send one request when the budget allows, and tell the budget how it went.

        Raises:
            PausedError: the budget does not allow it for longer than a request may wait.
        """
        async with budget.request(priority):
            answer = await self._send(method, path, headers, params)
        if answer.status in (425, 429):
            await budget.limited(answer.retry_after or DEFAULT_RETRY_AFTER)
        elif answer.silence or answer.status >= 500:
            await budget.failed(answer.reason or f"HTTP {answer.status}")
        else:
            await budget.succeeded()
        return answer

    async def _send(
        self, method: str, path: str, headers: Mapping[str, str], params: Mapping[str, str | int] | None
    ) -> Answer:
        try:
            async with asyncio.timeout(self._timeout):
                return await self._receive(method, path, headers, params)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            return Answer(0, silence=Silence.NOT_CONNECTED, reason=_connection_reason(error))
        except TimeoutError:
            return Answer(0, silence=Silence.INTERRUPTED, reason=f"no complete answer within {self._timeout:g} s")
        except (httpx.TransportError, httpx.DecodingError, httpx.InvalidURL) as error:
            return Answer(0, silence=Silence.INTERRUPTED, reason=_transport_reason(error))

    async def _receive(
        self, method: str, path: str, headers: Mapping[str, str], params: Mapping[str, str | int] | None
    ) -> Answer:
        chunks: list[bytes] = []
        size = 0
        digest = hashlib.sha1(usedforsecurity=False)
        async with self._client.stream(method, path, headers=dict(headers), params=params) as response:
            async for chunk in response.aiter_bytes():
                size += len(chunk)
                if size > BODY_LIMIT:
                    reason = f"the answer is larger than {BODY_LIMIT // 1024 // 1024} MiB"
                    return Answer(0, silence=Silence.INTERRUPTED, reason=reason)
                chunks.append(chunk)
                digest.update(chunk)
            return Answer(
                response.status_code,
                b"".join(chunks),
                digest.digest(),
                retry_after=_retry_after(response.headers.get("retry-after")),
                sandbox="x-sandbox" in response.headers,
                date=_date(response.headers.get("date")),
            )


def _date(header: str | None) -> datetime | None:
    """When the server answered, by its own clock, to the second (RFC 9110, section 6.6.1)."""
    try:
        return parsedate_to_datetime(header) if header else None
    except ValueError:
        return None


def _retry_after(header: str | None) -> float | None:
    """Seconds; the header holds seconds or a date (RFC 9110, section 10.2.3)."""
    if not header:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return None
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER) if seconds == seconds else None  # noqa: PLR0124 - NaN is not itself


def _connection_reason(error: Exception) -> str:
    if isinstance(error, httpx.PoolTimeout):
        return "no connection was free in time"
    if isinstance(error, httpx.ConnectTimeout):
        return "the server did not take the connection in time"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"TLS: the certificate is not trusted ({cause.verify_message}); for a private authority set ca_file"
        if isinstance(cause, ssl.SSLError):
            return f"TLS: {cause.reason or cause}; is it an https server?"
        cause = cause.__cause__ or cause.__context__
    return f"cannot connect: {error}"


def _transport_reason(error: Exception) -> str:
    if isinstance(error, httpx.DecodingError):
        return "the answer's compression is broken"
    return f"the connection broke: {type(error).__name__}"
