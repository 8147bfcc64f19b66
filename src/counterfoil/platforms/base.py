"""What a platform is to the rest: the shape of its readers, and what it needs from outside."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, runtime_checkable

from counterfoil.domain.login import LoginFacts
from counterfoil.domain.page import ByMark, Page
from counterfoil.domain.priority import Priority


class Budget(Protocol):
    """The request budget of one platform, shared by everything that asks it."""

    def request(self, priority: Priority) -> AbstractAsyncContextManager[None]:
        """Wait for a turn, and hold one of the concurrent places while the body runs.

        Raises:
            PausedError: the platform is in a pause longer than a request may wait.
        """

    async def succeeded(self) -> None:
        """The platform answered like a healthy one."""

    async def failed(self, reason: str) -> None:
        """The platform did not answer, or as a broken one does; enough of it opens a pause."""

    async def limited(self, seconds: float) -> None:
        """The platform said to come back in so many seconds."""


class WriteAllowance(Protocol):
    """The requests other than reads that a platform allows in an hour, counted over all replicas."""

    async def take(self, priority: Priority) -> None:
        """Count one that is about to be sent; the last tenth is kept for money.

        Raises:
            PausedError: there is none left; it says when there will be.
        """

    async def exhausted(self, seconds: float | None) -> None:
        """The platform says that there is none left, for so many seconds where it says that too."""


class Vault(Protocol):
    """Where a login session is kept so that all replicas use one."""

    async def load(self) -> bytes | None:
        """The session that a replica stored and that has not expired; None when there is none."""

    async def save(self, session: bytes, lifetime: float) -> None:
        """Keep a session for the others; `lifetime` in seconds."""

    def exclusive(self) -> AbstractAsyncContextManager[None]:
        """One login at a time, over all replicas."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Which part of a list to read: `page` counts from 1, ids ascending unless `descending`.

    `remembered`: pages by the digest of their answer; an answer that is among them need not be read again. None: nobody will ever
    ask whether this one was there before. `known`: what is remembered of the records with ids between two, their ids by their
    marks; they need not be read again either. None: no marks are asked for.
    """

    page: int = 1
    limit: int
    descending: bool = False
    priority: Priority = Priority.NORMAL
    remembered: Mapping[bytes, Page] | None = None
    known: ByMark | None = None


@dataclass(frozen=True, slots=True)
class Closings:
    """Closing deals of one span of time.

    `by_closing`: whether the span is proven to be about the time of closing (True) or of opening (False); None: not proven.
    """

    page: Page
    by_closing: bool | None


class Binding(Protocol):
    """What a platform's name was bound to at its first login."""

    async def hold_to(self, facts: LoginFacts) -> None:
        """Bind the name, or compare.

        Raises:
            LoginRefusedError: the name means another server, manager or environment by now.
        """


class Unbound:
    """No memory of what a name meant: for a single try-out."""

    async def hold_to(self, facts: LoginFacts) -> None:
        """See Binding."""


class Reader(Protocol):
    """A platform as the pulls see it. Every method asks the budget first, and raises as domain.errors says."""

    async def page(self, resource: str, query: Query) -> Page:
        """One page of a paged list: clients, accounts, symbols, groups, orders, positions, deals, *_history."""

    async def of_group(self, resource: str, group_id: int, query: Query) -> Page:
        """One page of the commissions or group_symbols of a group."""

    async def transactions(self, account_id: int, currency: str | None, query: Query) -> Page:
        """One page of the money movements of an account."""

    async def single(self, resource: str, record_id: int, priority: Priority) -> Page | None:
        """The page of one record; None when the platform says that it does not exist."""

    def can_read_singly(self, resource: str) -> bool:
        """Whether `single` knows this resource."""


@runtime_checkable
class SnapshotReader(Protocol):
    """A platform whose lists come whole and whose histories come by spans of time. Errors and budget as for Reader."""

    def now(self) -> datetime:
        """The platform's clock, as well as its answers have told it."""

    def snapshot(
        self, resource: str, remembered: Mapping[bytes, Page], priority: Priority
    ) -> AsyncGenerator[Page, None]:
        """A whole list, in one page or several; it ends only when nothing of it is missing. To be closed by the caller."""

    async def closings(
        self, since: datetime, until: datetime, priority: Priority, account_id: int | None = None
    ) -> Closings:
        """Closing deals of a span of at most two days, its end not included."""

    async def subaccounts(self, account_id: int, digits: int | None, priority: Priority) -> Page:
        """The copy sub-accounts of an account; `digits`: of its currency."""

    async def single(self, resource: str, record_id: int, priority: Priority) -> Page | None:
        """See Reader."""

    def can_read_singly(self, resource: str) -> bool:
        """See Reader."""
