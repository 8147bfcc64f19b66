"""The bookkeeping of runs: who does which, and how the newest ended."""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncEngine

from counterfoil.domain.records import TABLES
from counterfoil.store import cursors, leases, plans
from counterfoil.store.cursors import Noted, Recent, Success
from counterfoil.store.direct import direct


@dataclass(frozen=True, slots=True)
class Runs:
    """Leases and freshness, for callers that know no SQL."""

    engine: AsyncEngine

    async def acquire(self, platform: str, resource: str, *, not_within: timedelta) -> leases.Lease | None:
        """See leases.acquire."""
        return await leases.acquire(self.engine, platform, resource, not_within=not_within)

    async def acquire_when_due(
        self, platform: str, resource: str, not_within: Callable[[Recent], timedelta]
    ) -> leases.Lease | None:
        """The same, where how long ago it must have been taken follows from what all replicas found of late."""
        recent = await cursors.recent(direct(self.engine), platform, resource)
        return await leases.acquire(self.engine, platform, resource, not_within=not_within(recent))

    def held(self, lease: leases.Lease) -> AbstractAsyncContextManager[leases.Lease]:
        """See leases.held."""
        return leases.held(self.engine, lease)

    async def age(self, platform: str, resource: str) -> float | None:
        """Seconds since the moment that the mirror shows; None when no run was complete yet."""
        return await cursors.age(direct(self.engine), platform, resource)

    async def succeeded(self, platform: str, resource: str, run: Success) -> tuple[Noted, Recent]:
        """Note a complete run; returns how old the mirror was and is, and what the next interval follows from."""
        return await cursors.succeeded(direct(self.engine), platform, resource, run)

    async def renew_figures(self, platform: str, resource: str) -> None:
        """See store.plans: a resource was read to its end for the first time."""
        if resource in TABLES:
            await plans.renew_figures(self.engine, platform, resource)

    async def failed(self, platform: str, resource: str, *, reason: str) -> int:
        """Note a failed run; returns how many have failed in a row."""
        return await cursors.failed(direct(self.engine), platform, resource, reason=reason)
