"""What the mirror knows of the effects of our writes, so that a look at the platform need not read everything again."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from counterfoil.store.engine import transaction

# Never above what a pull has seen: events bring rows beyond others that are not in the mirror yet.
_HIGHEST = """
    SELECT least(coalesce(max(t.id), 0), (SELECT (c.state ->> 'seen')::bigint FROM counterfoil.cursors c
        WHERE c.platform = :platform AND c.resource = :table))
    FROM mirror.{table} t WHERE t.platform = :platform
    HAVING EXISTS (SELECT FROM counterfoil.cursors c WHERE c.platform = :platform AND c.resource = :table)
        OR EXISTS (SELECT FROM counterfoil.freshness f
            WHERE f.platform = :platform AND f.resource = :table AND f.succeeded_at IS NOT NULL)
"""
_CLIENTS = sa.text("""
    SELECT id FROM mirror.clients WHERE platform = :platform AND external_id = :external_id AND external_id <> ''
        AND deleted_at IS NULL ORDER BY id
""")
_ACCOUNTS = sa.text("""
    SELECT id, client_id FROM mirror.accounts WHERE platform = :platform AND lower(username) = lower(:username)
        AND deleted_at IS NULL ORDER BY id
""")
_MARKED = sa.text("""
    SELECT id FROM mirror.accounts WHERE platform = :platform AND right(description, 31) = :marker AND deleted_at IS NULL
    ORDER BY id
""")
_NEWEST_ACCOUNT = sa.text("SELECT max(created_at) FROM mirror.accounts WHERE platform = :platform")
_BOOKED = sa.text("""
    SELECT coalesce(sum(coalesce(profit, 0) + coalesce(commission, 0) + coalesce(swap, 0) + coalesce(storage, 0)
        + coalesce(fee, 0)), 0)
    FROM mirror.deals WHERE platform = :platform AND account_id = :account_id AND id <= :until
        AND (side IS NOT DISTINCT FROM 3) = :credit AND deleted_at IS NULL
""")
# One of ours, found verbatim in a history that the pulls have read since the setting last changed.
_PROVE = sa.text("""
    UPDATE counterfoil.platform_state s SET reference_proven_at = clock_timestamp()
    WHERE s.platform = :platform AND s.reference_field = :field AND s.reference_proven_at IS NULL AND EXISTS (
        SELECT FROM mirror.transactions t JOIN counterfoil.intents i ON i.idempotency_reference = t.reference
        WHERE t.platform = s.platform AND t.reference IS NOT NULL AND i.platform = s.platform
            AND (s.reference_since IS NULL OR i.sent_at > s.reference_since))
""")
_PROVEN = sa.text("""
    SELECT reference_proven_at IS NOT NULL FROM counterfoil.platform_state
    WHERE platform = :platform AND reference_field = :field
""")
_NOTE_PROOF = sa.text("""
    UPDATE counterfoil.platform_state SET reference_proven_at = clock_timestamp()
    WHERE platform = :platform AND reference_field = :field AND reference_proven_at IS NULL
""")


@dataclass(frozen=True, slots=True)
class MirroredBooks:
    """See platforms.writing.Books: one platform's mirror. `reference_field`: the field that carries our references there."""

    engine: AsyncEngine
    platform: str
    reference_field: str

    async def highest(self, table: str) -> int | None:
        """See platforms.writing.Books."""
        async with transaction(self.engine) as connection:
            statement = sa.text(_HIGHEST.format(table=table))
            found: int | None = await connection.scalar(statement, {"platform": self.platform, "table": table})
            return found

    async def clients_with(self, external_id: str) -> list[int]:
        """See platforms.writing.Books."""
        async with transaction(self.engine) as connection:
            given = {"platform": self.platform, "external_id": external_id}
            return list(await connection.scalars(_CLIENTS, given))

    async def accounts_named(self, username: str) -> list[tuple[int, int | None]]:
        """See platforms.writing.Books."""
        async with transaction(self.engine) as connection:
            rows = await connection.execute(_ACCOUNTS, {"platform": self.platform, "username": username})
            return [(row.id, row.client_id) for row in rows]

    async def accounts_marked(self, marker: str) -> list[int]:
        """See platforms.writing.Books."""
        async with transaction(self.engine) as connection:
            return list(await connection.scalars(_MARKED, {"platform": self.platform, "marker": marker}))

    async def newest_account_at(self) -> datetime | None:
        """See platforms.writing.Books."""
        async with transaction(self.engine) as connection:
            found: datetime | None = await connection.scalar(_NEWEST_ACCOUNT, {"platform": self.platform})
            return found

    async def booked(self, account_id: int, *, until: int, credit: bool) -> Decimal:
        """See platforms.writing.Books."""
        async with transaction(self.engine) as connection:
            given = {"platform": self.platform, "account_id": account_id, "until": until, "credit": credit}
            return Decimal(await connection.scalar(_BOOKED, given) or 0)

    async def references_are_readable(self) -> bool:
        """Whether one of our references has been read back verbatim since the setting of its field last changed."""
        async with transaction(self.engine) as connection:
            given = {"platform": self.platform, "field": self.reference_field}
            await connection.execute(_PROVE, given)
            return bool(await connection.scalar(_PROVEN, given))

    async def note_readable(self) -> None:
        """A look has just read one of our references back."""
        async with transaction(self.engine) as connection:
            await connection.execute(_NOTE_PROOF, {"platform": self.platform, "field": self.reference_field})
