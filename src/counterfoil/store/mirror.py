"""The mirror of one platform, as one run of one resource writes it: every write proves that the run still holds its lease."""

from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from counterfoil.domain.page import Page
from counterfoil.observe import events
from counterfoil.store import bulk, copying, cursors, leases
from counterfoil.store.bulk import Written
from counterfoil.store.cursors import State
from counterfoil.store.direct import direct
from counterfoil.store.engine import autocommit, transaction
from counterfoil.store.newer import Heard, Telling
from counterfoil.store.plans import of_any_platform
from counterfoil.store.underway import UnderWay

# Rows that the platform should list among its live ones; each condition has a partial index of the same words.
LIVE = {
    "positions": "status IS DISTINCT FROM 2 AND deleted_at IS NULL",
    "orders": "(status IS NULL OR status NOT IN (3, 4, 5, 6)) AND deleted_at IS NULL",
}
PRESENT = "deleted_at IS NULL"


@dataclass(frozen=True, slots=True)
class Account:
    """An account whose transactions are to be read; balance and credit as mirrored when that was decided."""

    id: int
    balance: Decimal | None
    credit: Decimal | None
    currency: str | None
    asked_before: bool
    digits: int | None = None


class Mirror:
    """Reads and writes for one platform under one lease."""

    def __init__(self, engine: AsyncEngine, lease: leases.Lease) -> None:
        self._engine = engine
        self._lease = lease
        self.platform = lease.platform

    @property
    def engine(self) -> AsyncEngine:
        """The database."""
        return self._engine

    @property
    def lease(self) -> leases.Lease:
        """The lease under which this mirror is written."""
        return self._lease

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that fails when the lease is lost.

        Raises:
            LeaseLostError: at its start; nothing was written.
        """
        async with transaction(self._engine) as connection:
            await leases.hold(connection, self._lease)
            yield connection

    async def still_ours(self) -> None:
        """Nothing but the proof that the lease is held.

        Raises:
            LeaseLostError: it is not.
        """
        async with self._writing():
            pass

    async def write(
        self,
        table: str,
        page: Page,
        *,
        states: Mapping[str, State] | None = None,
        telling: Telling | None = None,
        under_way: UnderWay | None = None,
    ) -> Written:
        """Rows and cursors, by resource, in one transaction; nothing to write costs nothing. `telling`: see store.newer.

        `under_way`: its place behind another write. Its rows are sent to PostgreSQL meanwhile.

        Raises:
            LeaseLostError, OvertakenError: nothing was written.
        """
        if not page.lines and not page.rejected and not states:
            return Written()
        place = under_way or UnderWay()
        first, held = place.before is None, False

        async def hold(connection: AsyncConnection) -> None:
            nonlocal held
            await place.follow()
            await leases.hold(connection, self._lease, again=held or not first)
            held = True

        async def lock(connection: AsyncConnection) -> None:
            await hold(connection)
            await copying.lock_versions(connection)

        await place.may_begin()
        async with transaction(self._engine) as connection:
            place.begun.set()
            # Behind another page of the same list a row is hardly ever beyond all, and to ask would be to wait for that page.
            written = await bulk.write(connection, self.platform, table, page, telling, lock=lock, straight=first)
            if not held:
                await hold(connection)
            for resource, state in (states or {}).items():
                await cursors.save(connection, self.platform, resource, state)
        if written.renamed:
            events.emit(events.SYMBOLS_RENAMED, platform=self.platform, count=written.renamed)
        return written

    async def hear(self, pages: Mapping[str, Page], telling: Heard) -> tuple[Written, datetime]:
        """Events, by table, in one transaction; what was written, and the `changed_at` that it carries."""
        written = Written()
        async with self._writing() as connection:
            # Before anything else: several tables are written, and no poll may hold one of them while it waits for us.
            await copying.lock_versions(connection)
            for table in sorted(pages):
                one = await bulk.write(connection, self.platform, table, pages[table], telling)
                written = replace(written + one, rejected=written.rejected + one.rejected)
            at: datetime = await connection.scalar(sa.text("SELECT now()"))
        return written, at

    async def cursor(self, resource: str) -> State | None:
        """Where a pull stands."""
        return await cursors.load(direct(self._engine), self.platform, resource)

    async def moved_at(self, resource: str) -> datetime | None:
        """When a pull last moved on; None when it never did."""
        return await cursors.moved_at(direct(self._engine), self.platform, resource)

    async def forget(self, resource: str) -> None:
        """Let a pull begin again."""
        async with self._writing() as connection:
            await cursors.forget(connection, self.platform, resource)

    async def ids(
        self, table: str, *, live: bool = False, after: int | None = None, until: int | None = None
    ) -> set[int]:
        """Ids that the mirror holds and does not know to be deleted, optionally only those with after < id <= until.

        `live`: only those that the platform should list among its live ones and that are not settled otherwise.
        """
        given: dict[str, object] = {"platform": self.platform}
        given |= {"table": table} if live else {}
        given |= {"after": after, "until": until} if after is not None else {}
        async with autocommit(self._engine) as connection:
            return set((await connection.scalars(_ids(table, live=live, within=after is not None), given)).all())

    async def missing(self, table: str, listed: AbstractSet[int]) -> set[int]:
        """Ids that the mirror holds, does not know to be deleted, and that are not among these; read piece by piece."""
        statement = sa.text(f"SELECT id FROM mirror.{table} WHERE platform = :platform AND {PRESENT}")
        async with transaction(self._engine) as connection:
            held = await connection.stream_scalars(statement, {"platform": self.platform})
            return {row_id async for row_id in held if row_id not in listed}

    async def groups(self) -> list[int]:
        """Ids of the groups, ascending."""
        return sorted(await self.ids("groups"))

    async def missed(self, table: str, ids: Iterable[int], state: str = "missed") -> dict[int, int]:
        """Note ids that a complete listing lacked; returns how often each has been missed, this time included."""
        async with self._writing() as connection:
            given = {**self._noticed(table), "ids": list(ids), "state": state}
            return {row.id: row.looks for row in await connection.execute(_MISSED, given)}

    async def found(self, table: str, *, besides: Iterable[int] = (), listed: Iterable[int] | None = None) -> None:
        """Forget all that were missed of a table, but for `besides`; with `listed`, settled ones only where they are in it."""
        given = {"besides": list(besides), "keep": listed is not None, "listed": list(listed or ())}
        await self._forget_missed(table, _FOUND, {**self._noticed(table), **given})

    async def settle(self, table: str, *, after_looks: int) -> None:
        """Stop looking for rows that were missed so often."""
        async with self._writing() as connection:
            await connection.execute(_SETTLE, {**self._noticed(table), "looks": after_looks})

    async def present(self, table: str, ids: Iterable[int]) -> None:
        """Forget that these were missed, whoever missed them."""
        given = {"platform": self.platform, "table": table, "ids": list(ids)}
        await self._forget_missed(table, _PRESENT, given)

    async def _forget_missed(self, table: str, statement: sa.TextClause, given: Mapping[str, object]) -> None:
        """Costs a look when nothing is missed, which is nearly always."""
        async with transaction(self._engine) as connection:
            if await connection.scalar(_ANY_MISSED, {"platform": self.platform, "table": table}):
                await leases.hold(connection, self._lease)
                await connection.execute(statement, given)

    def _noticed(self, table: str) -> dict[str, object]:
        """Each run keeps notes of its own: a sweep must not lose its to the polls that go on meanwhile."""
        return {"platform": self.platform, "table": table, "run": self._lease.resource}

    async def candidates(self, table: str, *, older_than: timedelta = timedelta(0)) -> dict[int, str]:
        """Ids missed for so long and not settled, with their state: missed or held."""
        async with transaction(self._engine) as connection:
            given = {**self._noticed(table), "older": older_than}
            return {row.id: row.state for row in await connection.execute(_CANDIDATES, given)}

    async def missed_often(self, table: str, looks: int) -> set[int]:
        """Ids that this run has missed so often, and that are not settled."""
        async with transaction(self._engine) as connection:
            given = {**self._noticed(table), "looks": looks}
            return set((await connection.scalars(_MISSED_OFTEN, given)).all())

    async def highest(self, table: str) -> int | None:
        """The highest id that the mirror holds."""
        statement = of_any_platform(f"SELECT max(id) FROM mirror.{table} WHERE platform = :platform AND {PRESENT}")
        async with autocommit(self._engine) as connection:
            found: int | None = await connection.scalar(statement, {"platform": self.platform})
            return found

    async def tombstone(self, table: str, ids: Sequence[int]) -> int:
        """Declare rows deleted on the platform; returns how many were not before."""
        if not ids:
            return 0
        async with self._writing() as connection:
            deleted = await bulk.tombstone(connection, self.platform, table, ids)
            await connection.execute(_PRESENT, {"platform": self.platform, "table": table, "ids": list(ids)})
        return deleted

    async def count(self, table: str) -> int:
        """Rows that are not deleted."""
        statement = sa.text(f"SELECT count(*) FROM mirror.{table} WHERE platform = :platform AND {PRESENT}")
        async with autocommit(self._engine) as connection:
            return int(await connection.scalar(statement, {"platform": self.platform}) or 0)

    async def accounts_to_ask(self, *, everyone: bool = False) -> list[Account]:
        """Accounts never asked, or whose balance or credit moved since; with `everyone` all others too, longest ago first."""
        async with autocommit(self._engine) as connection:
            rows = await connection.execute(_TO_ASK, {"platform": self.platform, "everyone": everyone})
            return [Account(*row) for row in rows]

    async def accounts_due(self, limit: int, *, older_than: timedelta) -> list[Account]:
        """The accounts asked longest ago, at most `limit`, none asked within `older_than`."""
        async with transaction(self._engine) as connection:
            given = {"platform": self.platform, "limit": limit, "older": older_than}
            return [Account(*row) for row in await connection.execute(_DUE, given)]

    async def transaction_ids(self, accounts: Sequence[int]) -> defaultdict[int, set[int]]:
        """The platform's transactions that the mirror holds, by account."""
        found: defaultdict[int, set[int]] = defaultdict(set)
        if accounts:
            async with transaction(self._engine) as connection:
                given = {"platform": self.platform, "accounts": list(accounts)}
                for row in await connection.execute(_TRANSACTIONS, given):
                    found[row.account_id].add(row.id)
        return found

    async def asked(self, accounts: Sequence[Account], page: Page, *, table: str = "transactions") -> Written:
        """Keep the rows that some accounts answered, and that these were asked, in one transaction."""
        if not accounts:
            return Written()
        async with self._writing() as connection:
            written = await bulk.write(connection, self.platform, table, page)
            given = [
                {"platform": self.platform, "account": account.id, "balance": account.balance, "credit": account.credit}
                for account in accounts
            ]
            await connection.execute(_ASKED, given)
        return written


def _ids(table: str, *, live: bool, within: bool) -> sa.TextClause:
    condition = LIVE[table] if live else PRESENT
    span = "AND id > :after AND id <= :until" if within else ""
    # Hashed once, where a join might read it again for each row.
    settled = """AND id NOT IN (SELECT v.id FROM counterfoil.vanished v WHERE v.platform = :platform
        AND v.resource = :table AND v.state = 'settled')"""
    return of_any_platform(
        f"SELECT id FROM mirror.{table} WHERE platform = :platform AND {condition} {span} {settled if live else ''}"
    )


# What is held stays so until it is found or declared deleted: it is said once, and `status` tells it all the time.
_MISSED = sa.text("""
    INSERT INTO counterfoil.vanished AS v (platform, resource, id, noticed_by, looks, state)
    SELECT :platform, :table, unnest(CAST(:ids AS bigint[])), :run, 1, :state
    ON CONFLICT (platform, resource, id, noticed_by) DO UPDATE SET looks = v.looks + 1,
        state = CASE WHEN v.state = 'held' THEN v.state ELSE excluded.state END
    RETURNING id, looks
""")
_ANY_MISSED = sa.text("SELECT true FROM counterfoil.vanished WHERE platform = :platform AND resource = :table LIMIT 1")
_FOUND = sa.text("""
    DELETE FROM counterfoil.vanished
    WHERE platform = :platform AND resource = :table AND noticed_by = :run AND NOT (id = ANY(CAST(:besides AS bigint[])))
        AND (NOT :keep OR state <> 'settled' OR id = ANY(CAST(:listed AS bigint[])))
""")
_SETTLE = sa.text("""
    UPDATE counterfoil.vanished SET state = 'settled'
    WHERE platform = :platform AND resource = :table AND noticed_by = :run AND state = 'missed' AND looks >= :looks
""")
_PRESENT = sa.text("""
    DELETE FROM counterfoil.vanished WHERE platform = :platform AND resource = :table AND id = ANY(CAST(:ids AS bigint[]))
""")
_CANDIDATES = sa.text("""
    SELECT id, state FROM counterfoil.vanished
    WHERE platform = :platform AND resource = :table AND noticed_by = :run AND state <> 'settled'
        AND noticed_at <= now() - CAST(:older AS interval)
    ORDER BY id
""")
_MISSED_OFTEN = sa.text("""
    SELECT id FROM counterfoil.vanished
    WHERE platform = :platform AND resource = :table AND noticed_by = :run AND state = 'missed' AND looks >= :looks
""")
_ACCOUNT = """
    SELECT a.id, a.balance, a.credit, a.currency, k.account_id IS NOT NULL, a.currency_digits
    FROM mirror.accounts a LEFT JOIN counterfoil.asked k ON k.platform = a.platform AND k.account_id = a.id
    WHERE a.platform = :platform AND a.deleted_at IS NULL
"""
_TO_ASK = of_any_platform(f"""
    {_ACCOUNT} AND (
        :everyone OR k.account_id IS NULL OR k.balance IS DISTINCT FROM a.balance OR k.credit IS DISTINCT FROM a.credit)
    ORDER BY k.asked_at NULLS FIRST, a.id
""")
_DUE = of_any_platform(f"{_ACCOUNT} AND k.asked_at < now() - CAST(:older AS interval) ORDER BY k.asked_at LIMIT :limit")
_TRANSACTIONS = sa.text("""
    SELECT account_id, id FROM mirror.transactions
    WHERE platform = :platform AND account_id = ANY(CAST(:accounts AS bigint[])) AND id >= 0 AND deleted_at IS NULL
""")
_ASKED = sa.text("""
    INSERT INTO counterfoil.asked (platform, account_id, balance, credit, asked_at)
    VALUES (:platform, :account, :balance, :credit, now())
    ON CONFLICT (platform, account_id) DO UPDATE SET balance = excluded.balance, credit = excluded.credit, asked_at = now()
""")
