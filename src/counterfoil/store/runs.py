"""The bookkeeping of runs: who does which, and how the newest ended."""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncEngine

from counterfoil.store import cursors, leases
from counterfoil.store.engine import transaction


@dataclass(frozen=True, slots=True)
class Runs:
    """Leases and freshness, for callers that know no SQL."""

    engine: AsyncEngine

    async def acquire(self, platform: str, resource: str, *, not_within: timedelta) -> leases.Lease | None:
        """See leases.acquire."""
        return await leases.acquire(self.engine, platform, resource, not_within=not_within)

    def held(self, lease: leases.Lease) -> AbstractAsyncContextManager[leases.Lease]:
        """See leases.held."""
        return leases.held(self.engine, lease)

    async def age(self, platform: str, resource: str) -> float | None:
        """Seconds since the newest complete run began; None when there was none."""
        async with transaction(self.engine) as connection:
            return await cursors.age(connection, platform, resource)

    async def succeeded(self, platform: str, resource: str, *, took: float) -> float | None:
        """Note a complete run of `took` seconds; returns how old the mirror had become before it, in seconds."""
        async with transaction(self.engine) as connection:
            age = await cursors.age(connection, platform, resource)
            await cursors.succeeded(connection, platform, resource, took=timedelta(seconds=took))
        return age

    async def failed(self, platform: str, resource: str, *, reason: str) -> int:
        """Note a failed run; returns how many have failed in a row."""
        async with transaction(self.engine) as connection:
            return await cursors.failed(connection, platform, resource, reason=reason)
