"""Staying logged in to a platform: one session for all tasks and replicas, renewed in time, refusals not repeated at once."""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec

from counterfoil.domain.errors import LoginRefusedError, PausedError, TransientError
from counterfoil.domain.login import LoginFacts
from counterfoil.observe import events
from counterfoil.platforms.base import Binding, Unbound, Vault

# Renew when this much of the lifetime is left: long enough for a slow login, short enough to be rare.
RENEW_AHEAD = 60.0
# Seconds before a refused login is tried again: the first time, and at most.
FIRST_PAUSE = 30.0
LONGEST_PAUSE = 600.0


class PrivateVault:
    """See platforms.base.Vault: without an encryption key every process logs in for itself."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    async def load(self) -> bytes | None:
        """Nothing is shared."""
        return None

    async def save(self, session: bytes, lifetime: float) -> None:
        """Nothing is shared."""

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        """One login at a time in this process."""
        async with self._lock:
            yield


class Session(msgspec.Struct, frozen=True):
    """A session in force; `expires_at` on the clock of time.time(), because replicas share it."""

    access_token: str
    session_id: str
    account_id: int
    scope: str
    expires_in: int
    expires_at: float
    sandbox: bool = False
    skew: float | None = None

    def __repr__(self) -> str:
        # Neither the token nor the id, which opens a WebSocket.
        return f"Session(account_id={self.account_id}, scope={self.scope!r}, expires_at={self.expires_at})"

    @property
    def facts(self) -> LoginFacts:
        """What may be told about it."""
        return LoginFacts(self.account_id, self.scope, self.expires_in, self.sandbox, self.skew)


class Keeper(ABC):
    """The one session of a platform; how to log in is the platform's."""

    def __init__(self, vault: Vault, *, binding: Binding | None = None, clock: Callable[[], float] = time.time) -> None:
        self._vault = vault
        self._binding = binding or Unbound()
        self._clock = clock
        self._lock = asyncio.Lock()
        self._session: Session | None = None
        self._refusals = 0
        self._refusal: str | None = None
        self._retry_at = 0.0

    @abstractmethod
    async def _log_in(self) -> Session:
        """A fresh session.

        Raises:
            LoginRefusedError: the platform refuses us.
            TransientError: it did not answer properly.
        """

    @abstractmethod
    def _secrets(self) -> tuple[str, ...]:
        """What a platform may repeat of what it was sent to log in."""

    async def current(self, *, rejected: Session | None = None) -> Session:
        """A session in force, logging in when there is none; `rejected` is one that the platform answered 401 to.

        Raises:
            LoginRefusedError: the platform refuses the credentials or their scope.
            TransientError: the platform did not answer properly.
        """
        if (session := self._usable(self._session, rejected)) is not None:
            return session
        async with self._lock:
            session = self._usable(self._session, rejected)
            if session is None:
                self._session = session = await self._shared_or_new(rejected)
            return session

    def mask(self, text: str) -> str:
        """A text of the platform without our password and token, in case that it repeats what it was sent."""
        token = self._session.access_token if self._session else ""
        for secret in filter(None, (*self._secrets(), token)):
            text = text.replace(secret, "***")
        return text

    @property
    def trouble(self) -> str | None:
        """Why nobody is logged in; None when somebody is."""
        # A session that ran out while nothing was asked is renewed by the next request.
        return self._refusal or (None if self._session is not None else "not logged in yet")

    @property
    def skew(self) -> float:
        """Seconds by which the platform's clock was ahead of ours at the login; 0 where it does not tell."""
        return (self._session.skew or 0.0) if self._session else 0.0

    def _usable(self, session: Session | None, rejected: Session | None) -> Session | None:
        if session is None or session == rejected:
            return None
        renew_at = session.expires_at - min(RENEW_AHEAD, session.expires_in / 2)
        return session if self._clock() < renew_at else None

    async def _shared_or_new(self, rejected: Session | None) -> Session:
        async with self._vault.exclusive():
            session = self._usable(_stored(await self._vault.load()), rejected)
            if session is not None:
                await self._binding.hold_to(session.facts)
            else:
                session = await self._log_in_unless_refused()
                await self._vault.save(msgspec.json.encode(session), session.expires_at - self._clock())
            return session

    async def _log_in_unless_refused(self) -> Session:
        """A refusal stands for a growing while: asking again with the same password locks accounts."""
        left = self._retry_at - self._clock()
        if self._refusal is not None and left > 0:
            raise LoginRefusedError(self._refusal, retry_in=left)
        try:
            session = await self._log_in()
            await self._binding.hold_to(session.facts)
        except LoginRefusedError as error:
            pause = min(FIRST_PAUSE * 2 ** min(self._refusals, 10), LONGEST_PAUSE)
            self._refusals += 1
            self._refusal = str(error)
            self._retry_at = self._clock() + pause
            events.emit(events.PLATFORM_MISCONFIGURED, reason=self._refusal, retry_in=pause)
            raise LoginRefusedError(self._refusal, retry_in=pause) from error
        except PausedError:
            raise
        except TransientError as error:
            events.emit(events.PLATFORM_LOGIN_FAILED, reason=str(error))
            raise
        self._refusals, self._refusal = 0, None
        return session


def _stored(stored: bytes | None) -> Session | None:
    """A session out of the vault; None also when another version of the code put it there in another shape."""
    try:
        return msgspec.json.decode(stored, type=Session) if stored else None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
