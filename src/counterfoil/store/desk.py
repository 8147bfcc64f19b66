"""The operator's desk, reading: what waits for a person, the queue of each platform, and one request with all that is known."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from counterfoil.domain.intent import Kind, State
from counterfoil.store import identity
from counterfoil.store.engine import transaction

# A lapsed attempt is rescued by any daemon within seconds; after this many none is at work.
RESCUE_GRACE = 30
# What has been due for so many seconds with nothing in its way is taken up by nobody, or the platform is asked for too much.
IDLE = 120
# What was tried and is still not sent after so many seconds: somebody should know why.
POSTPONED = 900


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """One request that stands still.

    `why`: parked, unknown, lapsed (sent, and its lease is over), refund (its payout's money does not come back), not_pushed
    (pending where no process may write), idle (due for a while, nothing in the way, and no process takes it up). `person`: whether only a person can move it.
    """

    reference: str
    kind: str
    platform: str | None
    why: str
    reason: str | None
    since: datetime
    money: bool
    person: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """How the whole write path stands: see store.identity. `unlooked`, `unsettled`: what must be looked for before it goes on."""

    held: bool
    unlooked: int = 0
    unsettled: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """The open requests of one platform (None: of those that wait for a choice), counted; `oldest`: age of the oldest."""

    platform: str | None
    waiting: int
    pending: int
    sent: int
    unknown: int
    parked: int
    oldest: timedelta | None
    pending_money: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Everything that stands still at one moment.

    `paused`: platforms to which nothing is written until a person resumes, and why. `behind`: money operations that stand
    behind what waits for a person.
    """

    hold: Hold
    paused: Mapping[str, str]
    items: list[Waiting]
    queues: list[Queue]
    behind: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """One request; `mirrored`: what the mirror holds under its reference; `transactions_as_of`: how new that knowledge is.

    `shows_references`: whether the platform lets our references be read back at all.
    """

    id: int
    kind: Kind
    reference: str
    registrant_id: str
    platform: str | None
    account_reference: str | None
    account_id: int | None
    client_id: int | None
    currency: str | None
    amount: Decimal | None
    changes: list[str]
    state: State
    previous_state: str
    reason: str | None
    behind: str | None
    attempts: int
    created_at: datetime
    changed_at: datetime
    sent_at: datetime | None
    confirmed_at: datetime | None
    launched: bool
    due_at: datetime
    idempotency_reference: str | None
    record_id: int | None
    fence: Mapping[str, Any] | None
    evidence: Mapping[str, Any] | None
    looked_at: datetime | None
    payout: str | None
    shows_references: bool = True
    mirrored: list[Mapping[str, Any]] = field(default_factory=list)
    transactions_as_of: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dossier:
    """A reference with all its requests, what the CRM was told of it, and what people decided."""

    intents: list[Intent]
    events: list[Mapping[str, Any]]
    decisions: list[Mapping[str, Any]]


_MONEY = "i.amount IS NOT NULL"
_WAITING = sa.text(f"""
    SELECT i.reference, i.kind, i.platform, i.reason, i.changed_at AS since, {_MONEY} AS money,
        CASE WHEN i.state = 'sent' THEN 'lapsed' WHEN i.state <> 'pending' THEN i.state
            WHEN i.platform = ANY (:pushed) THEN 'idle' ELSE 'not_pushed' END AS why,
        (i.state <> 'unknown' OR i.platform <> ALL (:pushed)) AND (i.state <> 'sent'
            OR i.lease_until < clock_timestamp() - make_interval(secs => {RESCUE_GRACE})) AS person
    FROM counterfoil.intents i
    WHERE i.state IN ('parked', 'unknown') OR (i.state = 'sent' AND i.lease_until < clock_timestamp())
        OR (i.state = 'pending' AND i.platform <> ALL (:pushed))
        OR (i.state = 'pending' AND i.due_at < clock_timestamp() + interval '2 h' AND NOT counterfoil.is_held()
            AND (i.due_at < clock_timestamp() - make_interval(secs => {IDLE})
                OR i.attempts > 0 AND i.created_at < clock_timestamp() - make_interval(secs => {POSTPONED}))
            AND NOT EXISTS (SELECT FROM counterfoil.platform_state s WHERE s.platform = i.platform AND s.paused IS NOT NULL)
            AND NOT EXISTS (SELECT FROM counterfoil.intents b WHERE b.lane = i.lane AND b.id <> i.id
                AND b.state IN ('pending', 'sent', 'unknown', 'parked') AND (b.id < i.id OR b.state <> 'pending')))
    ORDER BY i.id
""")
# Its withdrawal is booked, the bank did not pay, and nothing of ours is on the way to give the money back.
_REFUNDS = sa.text("""
    SELECT p.reference || '/refund' AS reference, 'refund' AS kind, w.platform, 'refund' AS why,
        CASE WHEN r.id IS NULL THEN 'no refund was ever planned' ELSE 'the refund was ' || r.state || coalesce(': ' || r.reason, '')
        END AS reason, coalesce(r.changed_at, w.changed_at) AS since, true AS money, true AS person
    FROM counterfoil.payouts p JOIN counterfoil.intents w ON w.id = p.intent_id
    LEFT JOIN counterfoil.intents r ON r.reference = p.reference || '/refund' AND r.kind = 'refund'
    WHERE p.state = 'refunding' AND (r.id IS NULL OR r.state IN ('rejected', 'cancelled'))
    ORDER BY p.reference
""")
_PAUSED = sa.text("SELECT platform, paused FROM counterfoil.platform_state WHERE paused IS NOT NULL ORDER BY platform")
_HELD = sa.text("SELECT counterfoil.is_held()")
_QUEUES = sa.text(f"""
    SELECT i.platform, count(*) FILTER (WHERE i.state = 'waiting') AS waiting,
        count(*) FILTER (WHERE i.state = 'pending') AS pending, count(*) FILTER (WHERE i.state = 'sent') AS sent,
        count(*) FILTER (WHERE i.state = 'unknown') AS unknown, count(*) FILTER (WHERE i.state = 'parked') AS parked,
        clock_timestamp() - min(i.created_at) AS oldest,
        count(*) FILTER (WHERE i.state = 'pending' AND {_MONEY}) AS pending_money
    FROM counterfoil.intents i WHERE i.state IN ('waiting', 'pending', 'sent', 'unknown', 'parked')
    GROUP BY i.platform ORDER BY i.platform NULLS LAST
""")
# Of the same lane and later, or a step that follows, and so on.
_BEHIND = sa.text(f"""
    WITH RECURSIVE stuck AS (
        SELECT i.id, i.lane FROM counterfoil.intents i WHERE i.state = 'parked'
        UNION
        SELECT i.id, i.lane FROM counterfoil.intents i JOIN stuck s
            ON (i.predecessor_id = s.id AND i.state = 'waiting') OR (i.lane = s.lane AND i.id > s.id AND i.state = 'pending')
    )
    SELECT count(*) FROM counterfoil.intents i JOIN stuck s ON s.id = i.id WHERE i.state <> 'parked' AND {_MONEY}
""")
# Ours may stand in a field that is no column of the mirror, when the settings say so.
BOOKED_REFERENCE = """CASE WHEN t.reference IS NOT NULL THEN t.reference WHEN t.extra IS NOT NULL THEN
        (SELECT substring(t.extra ->> s.reference_field FROM '(?:^|[^\\w-])(cf-[a-z0-9]{4,28})(?![\\w-])')
        FROM counterfoil.platform_state s WHERE s.platform = t.platform) END"""
_INTENTS = """
    SELECT i.id, i.kind, i.reference, i.registrant_id, i.platform, i.account_reference, a.account_id, r.client_id, a.currency,
        i.amount, coalesce((SELECT array_agg(k ORDER BY k) FROM jsonb_object_keys(i.wish) k
            WHERE i.kind IN ('update_client', 'update_account')), '{}') AS changes,
        i.state, i.previous_state, i.reason, CASE WHEN i.state = 'pending' THEN (SELECT b.reference FROM counterfoil.intents b
            WHERE b.lane = i.lane AND b.id < i.id AND b.state IN ('pending', 'sent', 'unknown', 'parked') ORDER BY b.id LIMIT 1)
        END AS behind, i.attempts, i.created_at, i.changed_at, i.sent_at, i.confirmed_at, i.launched_at IS NOT NULL AS launched,
        i.due_at, i.idempotency_reference, i.record_id, i.fence, i.evidence, i.probed_at AS looked_at,
        (SELECT p.state FROM counterfoil.payouts p WHERE p.intent_id = i.id) AS payout,
        NOT EXISTS (SELECT FROM counterfoil.published_platforms k WHERE k.platform = i.platform AND k.kind = 'ctrader')
            AS shows_references
    FROM counterfoil.intents i JOIN counterfoil.registrants r ON r.registrant_id = i.registrant_id
    LEFT JOIN counterfoil.accounts a ON a.reference = i.account_reference
"""
_LISTING = sa.text(f"""
    {_INTENTS} WHERE CASE WHEN CAST(:state AS text) IS NULL THEN i.state IN ('waiting', 'pending', 'sent', 'unknown', 'parked')
            ELSE i.state = :state END
        AND (CAST(:platform AS text) IS NULL OR i.platform = :platform)
    ORDER BY CASE WHEN i.confirmed_at IS NULL AND i.state NOT IN ('rejected', 'cancelled') THEN i.id ELSE -i.id END LIMIT :limit
""")
# Accounts and operations first: of two namespaces they are the ones that people ask for.
OF_REFERENCE = """
    (i.reference = :reference AND (i.kind IN ('account', 'adopt', 'link')
        OR i.kind IN ('deposit', 'withdraw', 'refund', 'credit_in', 'credit_out')))
    OR (i.account_reference = :reference AND i.kind IN ('update_account', 'reset_password'))
    OR (i.registrant_id = :reference AND i.kind IN ('client', 'update_client'))
"""
_ONE = sa.text(f"""
    {_INTENTS} WHERE {OF_REFERENCE}
    ORDER BY i.kind IN ('client', 'update_client'), i.kind IN ('update_client', 'update_account', 'reset_password'), i.id
""")
_BOOKED = sa.text(f"""
    SELECT t.id, t.account_id, t.amount, t.currency, t.created_at FROM mirror.transactions t
    WHERE t.platform = :platform AND t.deleted_at IS NULL AND ({BOOKED_REFERENCE}) = :idempotency_reference ORDER BY t.id
""")
_AS_OF = sa.text("SELECT as_of FROM counterfoil.freshness WHERE platform = :platform AND resource = 'transactions'")
_EVENTS = sa.text("SELECT at, event, state, id FROM counterfoil.events WHERE reference = :reference ORDER BY entry")
_DECISIONS = sa.text("""
    SELECT at, decision, reason, person FROM counterfoil.decisions WHERE subject = :reference ORDER BY id
""")


async def waiting(engine: AsyncEngine, *, pushed: list[str]) -> Desk:
    """Everything that stands still; `pushed`: the platforms that the settings let be written to.

    Raises:
        store.Unreachable: the database cannot be reached.
    """
    standing = await identity.standing(engine)
    async with transaction(engine) as connection:
        rows = [*(await connection.execute(_WAITING, {"pushed": pushed})).mappings()]
        rows += [*(await connection.execute(_REFUNDS)).mappings()]
        held = bool(await connection.scalar(_HELD))
        return Desk(
            hold=Hold(held=held, unlooked=standing.unlooked, unsettled=standing.unsettled),
            paused={row.platform: row.paused for row in await connection.execute(_PAUSED)},
            items=[Waiting(**row) for row in rows],
            queues=[Queue(**row) for row in (await connection.execute(_QUEUES)).mappings()],
            behind=int(await connection.scalar(_BEHIND) or 0),
        )


async def listing(
    engine: AsyncEngine, *, state: State | None = None, platform: str | None = None, limit: int = 100
) -> list[Intent]:
    """Requests in one state, or all that are not finished: the oldest first; finished ones the newest first."""
    async with transaction(engine) as connection:
        given = {"state": state, "platform": platform, "limit": limit}
        return [_intent(dict(row)) for row in (await connection.execute(_LISTING, given)).mappings()]


async def one(engine: AsyncEngine, reference: str) -> Dossier | None:
    """All that is known of a reference: account or operation first, then the registrant of that name; None when unknown."""
    async with transaction(engine) as connection:
        given = {"reference": reference}
        intents = [
            await _with_books(connection, dict(row)) for row in (await connection.execute(_ONE, given)).mappings().all()
        ]
        if not intents:
            return None
        return Dossier(
            intents=intents,
            events=[dict(row) for row in (await connection.execute(_EVENTS, given)).mappings()],
            decisions=[dict(row) for row in (await connection.execute(_DECISIONS, given)).mappings()],
        )


async def _with_books(connection: AsyncConnection, row: Mapping[str, Any]) -> Intent:
    if row["idempotency_reference"] is None or row["platform"] is None:
        return _intent(row)
    given = {"platform": row["platform"], "idempotency_reference": row["idempotency_reference"]}
    booked = [dict(found) for found in (await connection.execute(_BOOKED, given)).mappings()]
    as_of = await connection.scalar(_AS_OF, {"platform": row["platform"]})
    return _intent({**row, "mirrored": booked, "transactions_as_of": as_of})


def _intent(row: Mapping[str, Any]) -> Intent:
    return Intent(**{**row, "kind": Kind(row["kind"]), "state": State(row["state"])})
