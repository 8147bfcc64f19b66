"""The queue of the write path: claims, launches and results of attempts, each fenced by the attempt's own token.

The intents table is the queue. A worker that lost its lease changes nothing more: every statement that ends an attempt names
the token under which it began, and finds no row when somebody else has it.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from counterfoil.domain.intent import Kind, State
from counterfoil.store import drifting, identity
from counterfoil.store.engine import transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """An intent that this worker holds, with all that an attempt or a look needs.

    `age`: seconds since the deadline of the newest attempt, on the database's clock; None when there was none. `state`: sent
    for an attempt, unknown for a look, pending for a look before a restored database is trusted again.
    """

    id: int
    token: uuid.UUID
    kind: Kind
    state: State
    reference: str
    platform: str
    attempt: int
    resends: int
    failures: int
    looks: int
    probe_first: bool
    waived: bool
    launched: bool
    age: float | None
    fence: Mapping[str, object]
    wish: Mapping[str, Any]
    amount: Decimal | None
    idempotency_reference: str | None
    registrant_id: str
    profile: Mapping[str, Any]
    client_id: int | None
    account_reference: str | None
    account_id: int | None
    account_wish: Mapping[str, Any]
    username: str | None
    digits: int | None
    account_defaults: Mapping[str, Any]
    passwords: list[dict[str, Any]] = field(repr=False)


_OPEN = "('pending', 'sent', 'unknown', 'parked')"
_UNSETTLED = "('sent', 'unknown', 'parked')"
_LEASE = "clock_timestamp() + CAST(:lease AS interval)"

# Done already in a life that the database forgot? The mirror shows our reference; or the database was restored and the
# account's history has not been read since. What the CRM asks for again after a restore must not be done again. Where there is
# no history, a movement of that amount which nobody explains may be it.
_OF_CTRADER = "(SELECT p.kind = 'ctrader' FROM counterfoil.published_platforms p WHERE p.platform = i.platform)"
_DOUBTFUL = f"""(
    i.amount IS NOT NULL AND EXISTS (SELECT FROM mirror.transactions t
        WHERE t.platform = i.platform AND t.reference = i.idempotency_reference AND t.deleted_at IS NULL)
    OR EXISTS (SELECT FROM counterfoil.database_identity d WHERE d.accepted_at IS NOT NULL
        AND (i.kind = 'account' AND NOT EXISTS (SELECT FROM counterfoil.freshness f
            WHERE f.platform = i.platform AND f.resource = 'accounts' AND f.as_of > d.accepted_at)
        OR i.amount IS NOT NULL AND NOT {_OF_CTRADER} AND NOT EXISTS (SELECT FROM counterfoil.accounts a
            JOIN counterfoil.asked k ON k.platform = a.platform AND k.account_id = a.account_id AND k.asked_at > d.accepted_at
            WHERE a.reference = i.account_reference)
        OR i.amount IS NOT NULL AND {_OF_CTRADER} AND EXISTS (SELECT FROM counterfoil.accounts a
            JOIN mirror.transactions t ON t.platform = a.platform AND t.account_id = a.account_id AND t.origin = 'inferred'
                AND t.deleted_at IS NULL AND abs(t.amount) = i.amount AND t.first_seen_at > d.accepted_at
            WHERE a.reference = i.account_reference)))
)"""
# After a restore, where nothing shows what was done: until accounts and deals were read anew and what they leave open was noted.
_UNREAD = f"""(
    i.amount IS NOT NULL AND {_OF_CTRADER} AND EXISTS (SELECT FROM counterfoil.database_identity d
        WHERE d.accepted_at IS NOT NULL AND ((SELECT count(*) FROM counterfoil.freshness f
                WHERE f.platform = i.platform AND (f.resource IN ('accounts', 'deals') AND f.as_of > d.accepted_at
                    OR f.resource = 'transactions' AND f.as_of > d.accepted_at + interval '3 minutes')) < 3
            OR EXISTS (SELECT FROM counterfoil.accounts a JOIN counterfoil.unexplained u
                ON u.platform = a.platform AND u.account_id = a.account_id WHERE a.reference = i.account_reference)))
)"""
# A time that lies further ahead than anything sets was written before the clock was set back.
_IS_DUE = "NOT BETWEEN clock_timestamp() AND clock_timestamp() + interval '2 h'"
# Never above what a poll has seen, where polls note that: an event may name any id, and a look must not begin behind the effect.
_NEWEST_DEAL = """least(coalesce((SELECT max(d.id) FROM mirror.deals d WHERE d.platform = :platform), 0),
            (SELECT nullif((c.state ->> 'seen')::bigint, 0) FROM counterfoil.cursors c
                WHERE c.platform = :platform AND c.resource = 'deals'))"""
# Oldest first, and nothing that stands behind another of its lane. Rows that somebody has locked are being decided on.
_CLAIM = sa.text(f"""
    WITH ready AS (
        SELECT i.id, i.probe_first OR {_DOUBTFUL} OR i.kind = 'account' AND i.launched_at IS NOT NULL AS doubtful
        FROM counterfoil.intents i
        WHERE i.platform = :platform AND i.state = 'pending' AND i.due_at {_IS_DUE}
            AND NOT EXISTS (SELECT FROM counterfoil.intents b WHERE b.lane = i.lane AND b.state IN {_OPEN}
                AND b.id <> i.id AND (b.id < i.id OR b.state <> 'pending'))
            AND (i.kind NOT IN ('update_account', 'reset_password') OR NOT EXISTS (SELECT FROM counterfoil.intents m
                WHERE m.lane = 'money ' || i.account_reference
                    AND (m.state IN {_UNSETTLED} OR m.state = 'pending' AND m.id < i.id)))
            AND (i.amount IS NULL OR NOT EXISTS (SELECT FROM counterfoil.intents u
                WHERE u.lane = 'update ' || i.account_reference
                    AND (u.state IN ('sent', 'unknown') OR u.state = 'pending' AND u.id < i.id AND u.due_at {_IS_DUE})))
            AND NOT (SELECT counterfoil.is_held()) AND NOT {_UNREAD}
            AND NOT EXISTS (SELECT FROM counterfoil.platform_state s WHERE s.platform = :platform AND s.paused IS NOT NULL)
        ORDER BY i.id LIMIT :limit FOR UPDATE OF i SKIP LOCKED
    )
    UPDATE counterfoil.intents i SET state = 'sent', reason = NULL, attempts = i.attempts + 1,
        lease_token = gen_random_uuid(), lease_until = {_LEASE}, deadline_at = {_LEASE},
        probe_first = ready.doubtful,
        launched_at = CASE WHEN ready.doubtful OR i.kind = ANY (:prepared) THEN NULL ELSE clock_timestamp() END,
        fence = jsonb_build_object('deal', {_NEWEST_DEAL}),
        evidence = NULL, looks = 0, record_id = NULL
    FROM ready WHERE i.id = ready.id RETURNING i.id
""")
_CLAIM_LOOK = sa.text(f"""
    WITH due AS (
        SELECT i.id FROM counterfoil.intents i
        WHERE i.platform = :platform AND i.state = 'unknown' AND i.due_at {_IS_DUE}
            AND (i.lease_until IS NULL OR i.lease_until < clock_timestamp())
        ORDER BY i.due_at LIMIT :limit FOR NO KEY UPDATE OF i SKIP LOCKED
    )
    UPDATE counterfoil.intents i SET lease_token = gen_random_uuid(), lease_until = {_LEASE}
    FROM due WHERE i.id = due.id RETURNING i.id
""")
# While a restored database waits for a person: what it holds as never sent may have been sent.
_CLAIM_DOUBTED = sa.text(f"""
    WITH due AS (
        SELECT i.id FROM counterfoil.intents i
        WHERE i.platform = :platform AND i.state = 'pending' AND i.probe_first AND i.amount IS NOT NULL
            AND i.probed_at IS NULL AND i.due_at {_IS_DUE}
            AND (i.lease_until IS NULL OR i.lease_until < clock_timestamp())
        ORDER BY i.id LIMIT :limit FOR NO KEY UPDATE OF i SKIP LOCKED
    )
    UPDATE counterfoil.intents i SET lease_token = gen_random_uuid(), lease_until = {_LEASE}
    FROM due WHERE i.id = due.id RETURNING i.id
""")
# Read after the rows are ours: what changed until the claim counts.
_DETAILS = sa.text("""
    SELECT i.id, i.lease_token AS token, i.kind, i.state, i.reference, i.platform, i.attempts AS attempt, i.resends, i.failures, i.looks,
        i.probe_first, i.waived, i.launched_at IS NOT NULL AS launched,
        extract(epoch FROM clock_timestamp() - i.deadline_at)::float8 AS age, coalesce(i.fence, '{}') AS fence, i.wish, i.amount,
        i.idempotency_reference, i.registrant_id, r.profile, r.client_id, i.account_reference, a.account_id,
        coalesce(a.wish, '{}') AS account_wish, a.username, counterfoil.digits_of(a) AS digits, p.account_defaults,
        coalesce((SELECT jsonb_agg(jsonb_build_object('name', w.name, 'secret', encode(w.secret, 'base64'), 'sealed', w.sealed))
            FROM counterfoil.passwords w WHERE w.intent_id = i.id), '[]') AS passwords
    FROM counterfoil.intents i
    JOIN counterfoil.registrants r ON r.registrant_id = i.registrant_id
    JOIN counterfoil.published_platforms p ON p.platform = i.platform
    LEFT JOIN counterfoil.accounts a ON a.reference = i.account_reference
    WHERE i.id = ANY (:ids) ORDER BY i.id
""")
_LAUNCH = sa.text(f"""
    UPDATE counterfoil.intents SET fence = fence || :fence, launched_at = clock_timestamp(),
        lease_until = {_LEASE}, deadline_at = {_LEASE}
    WHERE id = :id AND lease_token = :token AND state = 'sent' AND launched_at IS NULL AND lease_until > clock_timestamp()
    RETURNING true
""").bindparams(sa.bindparam("fence", type_=JSONB))
_RENEW = sa.text(f"""
    UPDATE counterfoil.intents SET lease_until = {_LEASE}
    WHERE id = :id AND lease_token = :token AND lease_until > clock_timestamp() AND (state <> 'sent' OR launched_at IS NULL)
    RETURNING true
""")
_RESCUE = sa.text("""
    UPDATE counterfoil.intents SET
        state = CASE WHEN launched_at IS NULL THEN 'pending' ELSE 'unknown' END, lease_until = NULL, due_at = clock_timestamp(),
        reason = CASE WHEN launched_at IS NULL THEN 'the worker ended before it sent anything'
            ELSE 'the worker ended before it noted an answer' END
    WHERE id IN (SELECT id FROM counterfoil.intents WHERE platform = :platform AND state = 'sent'
        AND lease_until < clock_timestamp() FOR UPDATE SKIP LOCKED)
    RETURNING id, reference, state, attempts
""")
_CLIENT = sa.text("""
    UPDATE counterfoil.registrants SET client_id = :record_id WHERE registrant_id = :registrant_id
""")
_ACCOUNT = sa.text("""
    UPDATE counterfoil.accounts a SET account_id = :record_id, username = coalesce(a.username, :username),
        currency = coalesce(:currency, g.currency), currency_digits = coalesce(CAST(:currency_digits AS integer), g.digits)
    FROM (SELECT (SELECT m.currency FROM mirror.groups m WHERE m.platform = :platform AND m.id = :group_id) AS currency,
        (SELECT m.currency_digits FROM mirror.groups m WHERE m.platform = :platform AND m.id = :group_id) AS digits) g
    WHERE a.reference = :reference
""")
_EMAIL_TAKEN = sa.text("""
    SELECT r.registrant_id FROM counterfoil.registrants r
    WHERE lower(r.profile ->> 'email') = lower(:email) AND r.profile ->> 'email' IS NOT NULL
        AND r.platform = :platform AND r.registrant_id <> :registrant_id
        AND EXISTS (SELECT FROM counterfoil.intents i WHERE i.registrant_id = r.registrant_id AND i.kind = 'client'
            AND (i.state IN ('unknown', 'confirmed') OR i.id < :id AND i.state IN ('pending', 'sent', 'parked')))
    LIMIT 1
""")
_OWNS = sa.text(
    "SELECT true FROM counterfoil.intents WHERE id = :id AND lease_token = :token AND state = :state FOR UPDATE"
)
_PAUSE = sa.text("UPDATE counterfoil.platform_state SET paused = :reason WHERE platform = :platform AND paused IS NULL")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How an attempt or a look ended.

    `wait`: seconds until it is taken up again. `rest`: seconds for which the platform as a whole is better left alone. `facts`: of a confirmed account. `pause`: why nothing more is written to the
    platform.
    """

    state: State
    reason: str | None = None
    wait: float = 0.0
    record_id: int | None = None
    facts: Mapping[str, object] = field(default_factory=dict)
    evidence: Mapping[str, object] | None = None
    looks: int = 0
    failures: int = 0
    probed: bool = False
    pause: str | None = None
    rest: float = 0.0


@dataclass(frozen=True, slots=True)
class Rescued:
    """An attempt whose worker ended; `state`: unknown, or pending when nothing can have left."""

    id: int
    reference: str
    state: State
    attempt: int


@dataclass(frozen=True, slots=True)
class Queue:
    """The intents of one platform. Every method raises store.Unreachable when the database cannot be reached."""

    engine: AsyncEngine
    platform: str
    lease: timedelta

    async def claim(self, limit: int, prepared: list[Kind]) -> list[Held]:
        """Begin attempts at up to `limit` intents, the oldest first; they are committed as sent when this returns.

        When it raises, whether anything was claimed is not known; `rescue` finds it. `prepared`: kinds that are looked for
        before anything leaves; they count as not launched until `launch`.
        """
        given = {"prepared": [str(kind) for kind in prepared]}
        try:
            return await self._take(_CLAIM, limit, given)
        except sa.exc.IntegrityError as error:
            if not _is_lane(error):
                raise
            # Another worker began one of the same lane in between; the constraint kept the order, the next claim sees it.
            return []

    async def claim_looks(self, limit: int) -> list[Held]:
        """Take up to `limit` attempts of unknown outcome, to look for their effects."""
        return await self._take(_CLAIM_LOOK, limit)

    async def claim_doubted(self, limit: int) -> list[Held]:
        """Take up to `limit` money operations that a restored database holds as never sent, to look for them."""
        return await self._take(_CLAIM_DOUBTED, limit)

    async def _take(self, claim: sa.TextClause, limit: int, more: Mapping[str, object] | None = None) -> list[Held]:
        given = {"platform": self.platform, "limit": limit, "lease": self.lease, **(more or {})}
        async with transaction(self.engine) as connection:
            ids = list(await connection.scalars(claim, given))
            if not ids:
                return []
            rows = (await connection.execute(_DETAILS, {"ids": ids})).mappings()
            return [Held(**{**row, "kind": Kind(row["kind"]), "state": State(row["state"])}) for row in rows]

    async def launch(self, held: Held, fence: Mapping[str, object]) -> bool:
        """Note what the platform holds, and that from now on bytes may leave; False when the lease was lost: send nothing."""
        async with transaction(self.engine) as connection:
            given = {"id": held.id, "token": held.token, "fence": dict(fence), "lease": self.lease}
            return bool(await connection.scalar(_LAUNCH, given))

    async def renew(self, held: Held) -> bool:
        """Hold on to a look, or to an attempt from which nothing can have left yet; False when it is lost.

        The lease of an attempt that may have sent something is never made longer.
        """
        async with transaction(self.engine) as connection:
            given = {"id": held.id, "token": held.token, "lease": self.lease}
            return bool(await connection.scalar(_RENEW, given))

    async def settle(self, held: Held, result: Result) -> bool:
        """Write how an attempt or a look ended, with all that follows; False when the lease was lost: nothing was written.

        Raises:
            store.Refused: the platform's record belongs to another reference of ours.
        """
        async with transaction(self.engine) as connection:
            if not await connection.scalar(_OWNS, {"id": held.id, "token": held.token, "state": held.state}):
                return False
            # The step before its owner, as everywhere.
            await connection.execute(_settling(held, result), _settled(held, result))
            if result.state is State.CONFIRMED:
                await _name_record(connection, held, result)
            if result.pause is not None:
                await connection.execute(_PAUSE, {"platform": held.platform, "reason": result.pause})
            return True

    async def rescue(self) -> list[Rescued]:
        """Attempts whose lease lapsed: unknown, or pending again where nothing can have left. Never sent again from here."""
        async with transaction(self.engine) as connection:
            rows = await connection.execute(_RESCUE, {"platform": self.platform})
            return [Rescued(row.id, row.reference, State(row.state), row.attempts) for row in rows]

    async def email_owner(self, held: Held) -> str | None:
        """Another registrant of the platform who came first with this e-mail address; None when there is none."""
        email = held.wish.get("email") if held.kind is Kind.UPDATE_CLIENT else held.profile.get("email")
        if not email:
            return None
        given = {"email": email, "platform": held.platform, "registrant_id": held.registrant_id, "id": held.id}
        async with transaction(self.engine) as connection:
            owner: str | None = await connection.scalar(_EMAIL_TAKEN, given)
            return owner

    async def mirrored_at(self) -> float | None:
        """When the newest complete reading of the clients began; None before the first."""
        return await drifting.mirrored_at(self.engine, self.platform)

    async def drift(self) -> list[drifting.Drift]:
        """What differs since the last comparison of the CRM's fields with the mirror, and what agrees again."""
        return await drifting.compare(self.engine, self.platform)

    async def is_held(self) -> bool:
        """Whether a restored database waits for a person."""
        return (await identity.standing(self.engine)).held

    async def notices_another_database(self) -> bool:
        """Whether this is not the database that the write path knew, and this call is the first to see it."""
        return await identity.check(self.engine)


def _settling(held: Held, result: Result) -> sa.TextClause:
    state = "" if result.state is held.state else "state = :state,"
    return sa.text(f"""
        UPDATE counterfoil.intents SET {state} reason = :reason, lease_until = NULL,
            due_at = clock_timestamp() + make_interval(secs => :wait), record_id = coalesce(:record_id, record_id),
            evidence = coalesce(:evidence, evidence), looks = :looks, failures = :failures,
            probed_at = CASE WHEN :probed THEN clock_timestamp() ELSE probed_at END, waived = false,
            resends = resends + CAST(:resends AS integer)
        WHERE id = :id
    """).bindparams(sa.bindparam("evidence", type_=JSONB(none_as_null=True)))


def _settled(held: Held, result: Result) -> dict[str, object]:
    given: dict[str, object] = {
        "id": held.id,
        "reason": _storable(result.reason),
        "wait": result.wait,
        "record_id": result.record_id,
        "evidence": None if result.evidence is None else _storable(dict(result.evidence)),
        "looks": result.looks,
        "failures": result.failures,
        "probed": result.probed,
        "resends": int(held.state is State.UNKNOWN and result.state is State.PENDING),
    }
    return given if result.state is held.state else {**given, "state": result.state}


async def _name_record(connection: AsyncConnection, held: Held, result: Result) -> None:
    if held.kind is Kind.CLIENT:
        await connection.execute(_CLIENT, {"record_id": result.record_id, "registrant_id": held.registrant_id})
    elif held.kind in (Kind.ACCOUNT, Kind.ADOPT):
        group_id = {**held.account_defaults, **held.account_wish}.get("group_id")
        given = {name: result.facts.get(name) for name in ("currency", "currency_digits", "username")}
        given |= {"record_id": result.record_id, "reference": held.account_reference}
        await connection.execute(_ACCOUNT, {**given, "platform": held.platform, "group_id": group_id})


def _storable(value: Any) -> Any:
    """What a platform told, without what PostgreSQL cannot hold: the character NUL."""
    match value:
        case str():
            return value.replace("\x00", "")
        case Mapping():
            return {_storable(name): _storable(inner) for name, inner in value.items()}
        case list() | tuple():
            return [_storable(inner) for inner in value]
        case _:
            return value


def _is_lane(error: sa.exc.IntegrityError) -> bool:
    diagnosis = getattr(error.orig, "diag", None)
    return getattr(diagnosis, "constraint_name", None) == "intents_unsettled_key"
