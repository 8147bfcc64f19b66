"""What a platform is to the write path: the wishes it can be asked to fulfil, and the looks that find their effects."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from counterfoil.domain.attempt import Doubtful, Facts, Fence, Finding, Found, Outcome, Rejected, Wrong
from counterfoil.domain.intent import Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """One thing to be done on a platform, complete. What a kind does not need is left at its default.

    `external_id`: the registrant. `fields`: of the client or account to make, or only what is to change. `passwords`:
    user_password, investor_password, password_hash. `amount`: positive, account currency. `reference`: our own, of a balance
    operation or of an account to be opened. `again`: an attempt may have been made in a life that the database forgot, so its
    effect is taken for ours where it is found.
    """

    kind: Kind
    external_id: str
    fields: Mapping[str, object] = field(default_factory=dict)
    client_id: int | None = None
    account_id: int | None = None
    username: str | None = None
    passwords: Mapping[str, str] = field(default_factory=dict, repr=False)
    amount: Decimal | None = None
    digits: int | None = None
    reference: str | None = None
    again: bool = False


class Books(Protocol):
    """What the mirror knows, for a look at the platform that need not read everything again."""

    async def highest(self, table: str) -> int | None:
        """The highest id that the mirror holds of a table that was read completely; None when it was not yet."""

    async def clients_with(self, external_id: str) -> list[int]:
        """Clients that carry this external_id."""

    async def accounts_named(self, username: str) -> list[tuple[int, int | None]]:
        """Accounts of this login name, in any case of letters: id and client_id."""

    async def accounts_marked(self, marker: str) -> list[int]:
        """Accounts whose description carries this marker."""

    async def newest_account_at(self) -> datetime | None:
        """When the newest mirrored account was opened on the platform; None when none is mirrored."""

    async def booked(self, account_id: int, *, until: int, credit: bool) -> Decimal:
        """The sum of an account's mirrored deals with ids up to `until`: its credits alone, or all the others."""


Prepared = Fence | Found | Rejected | Wrong | Doubtful
"""What a look before the first byte may end with: go on, it is there already, it cannot be, a person must settle it."""


class Writer(Protocol):
    """A platform as the write path sees it. Reads raise as domain.errors says; `send` never raises a CounterfoilError."""

    @property
    def shows_references(self) -> bool:
        """Whether a balance operation can be found on the platform by the reference that it was sent with."""

    def prepares(self, kind: Kind) -> bool:
        """Whether an attempt of this kind needs a look and a fence before its first byte."""

    async def prepare(self, wish: Wish, books: Books) -> Prepared:
        """Look for what would make the attempt needless or wrong, and note the fence."""

    async def send(self, wish: Wish, *, deadline: float) -> Outcome:
        """One attempt; no byte leaves after `deadline` (time.monotonic())."""

    async def probe(self, wish: Wish, fence: Facts, books: Books) -> Finding:
        """One look for the effect of an attempt."""
