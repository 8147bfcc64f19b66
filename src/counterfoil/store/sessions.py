"""One login session per platform for all replicas, sealed at rest."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

import sqlalchemy as sa
from cryptography.fernet import Fernet, InvalidToken
from sqlalchemy.ext.asyncio import AsyncEngine

from counterfoil.store import leases
from counterfoil.store.engine import transaction

LOGIN_LEASE = "login"
# Longer than a login may take.
_TTL = timedelta(seconds=60)
_POLL = 0.1

_LOAD = sa.text("SELECT sealed FROM counterfoil.sessions WHERE platform = :platform AND expires_at > clock_timestamp()")
_SAVE = sa.text("""
    INSERT INTO counterfoil.sessions (platform, sealed, expires_at)
    VALUES (:platform, :sealed, clock_timestamp() + make_interval(secs => :lifetime))
    ON CONFLICT (platform) DO UPDATE SET sealed = excluded.sealed, expires_at = excluded.expires_at
""")


class SealedVault:
    """See platforms.base.Vault. `key` is a Fernet key; the plain session never reaches the database."""

    def __init__(self, engine: AsyncEngine, platform: str, key: str) -> None:
        self._engine = engine
        self._platform = platform
        self._fernet = Fernet(key)

    async def load(self) -> bytes | None:
        """The session in force; None when there is none, or when it was sealed with another key."""
        async with transaction(self._engine) as connection:
            sealed = await connection.scalar(_LOAD, {"platform": self._platform})
        try:
            return None if sealed is None else self._fernet.decrypt(bytes(sealed))
        except InvalidToken:
            return None

    async def save(self, session: bytes, lifetime: float) -> None:
        """Keep a session for `lifetime` seconds."""
        sealed = self._fernet.encrypt(session)
        async with transaction(self._engine) as connection:
            await connection.execute(_SAVE, {"platform": self._platform, "sealed": sealed, "lifetime": lifetime})

    @asynccontextmanager
    async def exclusive(self) -> AsyncIterator[None]:
        """Wait until no other replica logs in, then keep the others waiting."""
        while (lease := await leases.acquire(self._engine, self._platform, LOGIN_LEASE, ttl=_TTL)) is None:  # noqa: ASYNC110 - the other is another process
            await asyncio.sleep(_POLL)
        async with leases.held(self._engine, lease):
            yield
