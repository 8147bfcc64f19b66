"""A request budget without limits that notes what it is told, for tests of whoever asks one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from counterfoil.domain.priority import Priority


class FreeBudget:
    """See platforms.base.Budget. `asked`: priorities in order; `told`: what was reported; `held`: places not given back."""

    def __init__(self, refusal: Exception | None = None) -> None:
        """`refusal`: raised at every request, as a budget in a pause does."""
        self.refusal = refusal
        self.asked: list[Priority] = []
        self.told: list[tuple[str, object]] = []
        self.held = 0

    @asynccontextmanager
    async def request(self, priority: Priority) -> AsyncIterator[None]:
        """Let everybody go at once."""
        self.asked.append(priority)
        if self.refusal is not None:
            raise self.refusal
        self.held += 1
        try:
            yield
        finally:
            self.held -= 1

    async def succeeded(self) -> None:
        """Note it."""
        self.told.append(("succeeded", None))

    async def failed(self, reason: str) -> None:
        """Note it."""
        self.told.append(("failed", reason))

    async def limited(self, seconds: float) -> None:
        """Note it."""
        self.told.append(("limited", seconds))
