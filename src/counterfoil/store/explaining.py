"""Transactions of a platform that tells none: our own confirmed operations, and what is left over is inferred.

What an account holds is compared with its deals and transactions in one statement, which therefore sees one moment: an
operation of ours is in it either as unsettled, and then nothing is inferred on its account, or as confirmed, and then it is
counted. That it is sent is committed before its first byte leaves, so there is no moment in which a balance could hold it and
that statement not see it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from counterfoil.domain.explaining import Noted, Step, judge
from counterfoil.store import copying, leases
from counterfoil.store.bulk import Written
from counterfoil.store.cursors import State
from counterfoil.store.engine import transaction
from counterfoil.store.mirror import Mirror
from counterfoil.store.plans import of_any_platform

# What a deal moves; side 3 is credit, everything else the balance.
SIGNED = "coalesce(d.profit, 0) + coalesce(d.commission, 0) + coalesce(d.swap, 0) + coalesce(d.storage, 0) + coalesce(d.fee, 0)"
OPENING: Final = "inferred: held before anything that is known of the account, or moved by somebody else"
MOVED: Final = "inferred: moved on the platform, not by a deal or an operation that is known"

_NOTHING_SEEN: Final[State] = {"accounts": 0, "deals": 0, "transactions": 0, "confirmed": None}
# Versions become visible in their order, so what is above these was not seen. Both read: each at least once to its end.
_SEEN = sa.text("""
    SELECT (SELECT coalesce(max(version), 0) FROM mirror.accounts) AS accounts,
        (SELECT coalesce(max(version), 0) FROM mirror.deals) AS deals,
        (SELECT coalesce(max(version), 0) FROM mirror.transactions) AS transactions,
        CAST(clock_timestamp() AS text) AS confirmed,
        (SELECT count(*) FROM counterfoil.freshness f WHERE f.platform = :platform AND f.resource IN ('accounts', 'deals')
            AND f.as_of IS NOT NULL) = 2 AS both_read
""")
_UNBOOKED = """i.platform = :platform AND i.amount IS NOT NULL AND i.state = 'confirmed' AND NOT EXISTS (
        SELECT FROM mirror.transactions t WHERE t.platform = :platform AND t.reference = i.idempotency_reference)"""
# Confirmations become visible out of order: an hour is longer than any transaction of the write path.
_MOVED = of_any_platform(f"""
    SELECT a.account_id FROM counterfoil.intents i JOIN counterfoil.accounts a ON a.reference = i.account_reference
    WHERE {_UNBOOKED} AND a.account_id IS NOT NULL
        AND (CAST(:confirmed AS timestamptz) IS NULL OR i.confirmed_at > CAST(:confirmed AS timestamptz) - interval '1 hour')
    UNION
    SELECT x.account_id FROM (
        SELECT id AS account_id FROM mirror.accounts WHERE platform = :platform AND version > :accounts
        UNION SELECT account_id FROM mirror.deals WHERE platform = :platform AND version > :deals
        UNION SELECT account_id FROM mirror.transactions WHERE platform = :platform AND version > :transactions
        UNION SELECT account_id FROM counterfoil.unexplained WHERE platform = :platform
    ) x WHERE :both_read AND x.account_id IS NOT NULL
    ORDER BY 1
""")
_INWARD = "('deposit', 'refund', 'credit_in')"
_CREDIT = "('credit_in', 'credit_out')"
# One statement, one moment. Operations of ours that have no row yet are counted as if they had. As long as the platform has not
# shown that its deals are filtered by their closing, those of older positions come with the open positions (pull.spans), where
# these are read at all.
_LOOK = of_any_platform(f"""
    WITH wanted AS MATERIALIZED (
        SELECT unnest(CAST(:accounts AS bigint[])) AS id
    ), unbooked AS MATERIALIZED (
        SELECT a.account_id, CASE WHEN i.kind IN {_CREDIT} THEN 3 ELSE 2 END AS side,
            CASE WHEN i.kind IN {_INWARD} THEN i.amount ELSE -i.amount END AS amount, coalesce(m.currency, a.currency) AS currency,
            i.idempotency_reference AS reference, i.confirmed_at, i.record_id, i.reference AS asked_as,
            EXISTS (SELECT FROM mirror.transactions o WHERE o.platform = :platform AND o.id = i.record_id) AS taken
        FROM wanted w JOIN counterfoil.accounts a ON a.platform = :platform AND a.account_id = w.id
        JOIN counterfoil.intents i ON i.account_reference = a.reference
        LEFT JOIN mirror.accounts m ON m.platform = :platform AND m.id = w.id
        WHERE {_UNBOOKED}
    ), booked AS (
        INSERT INTO mirror.transactions (platform, id, account_id, side, direction, amount, currency, reference, origin, created_at,
            first_seen_at, changed_at, version)
        SELECT :platform, CASE WHEN u.record_id > 0 AND NOT u.taken THEN u.record_id ELSE -nextval('counterfoil.inferred_id') END,
            u.account_id, u.side, CASE WHEN u.amount > 0 THEN 0 ELSE 1 END, u.amount, u.currency, u.reference, 'counterfoil',
            u.confirmed_at, now(), now(), nextval('mirror.version')
        FROM unbooked u RETURNING reference
    ), known AS MATERIALIZED (
        SELECT k.account_id, k.side, sum(k.amount) AS amount, bool_or(k.fresh) AS fresh FROM (
            SELECT u.account_id, u.side, u.amount, true AS fresh FROM unbooked u
            UNION ALL
            SELECT t.account_id, t.side, t.amount, t.version > :seen_transactions FROM mirror.transactions t
            WHERE t.platform = :platform AND t.account_id = ANY (CAST(:accounts AS bigint[])) AND t.deleted_at IS NULL
            UNION ALL
            SELECT d.account_id, CASE WHEN d.side = 3 THEN 3 ELSE 2 END, {SIGNED}, d.version > :seen_deals FROM mirror.deals d
            WHERE d.platform = :platform AND d.account_id = ANY (CAST(:accounts AS bigint[])) AND d.deleted_at IS NULL
        ) k GROUP BY k.account_id, k.side
    ), unsettled AS MATERIALIZED (
        SELECT DISTINCT a.account_id FROM wanted w
        JOIN counterfoil.accounts a ON a.platform = :platform AND a.account_id = w.id
        JOIN counterfoil.intents i ON i.account_reference = a.reference
        WHERE i.amount IS NOT NULL AND (i.state IN ('sent', 'unknown', 'parked')
            OR i.state = 'pending' AND (i.attempts > 0 OR i.probe_first))
    )
    SELECT w.id AS account_id, s.side, m.currency, coalesce(k.fresh, false) AS moved,
        CASE WHEN m.currency_digits IS NULL THEN s.held - coalesce(k.amount, 0)
            ELSE round(s.held, m.currency_digits::integer) - round(coalesce(k.amount, 0), m.currency_digits::integer)
        END AS unexplained,
        (SELECT counterfoil.is_held()) OR EXISTS (SELECT FROM unsettled o WHERE o.account_id = w.id) AS unsettled,
        n.amount AS noted, coalesce(fa.as_of > n.noticed_at AND fd.as_of > n.noticed_at
            AND (c.state ->> 'by_closing' = 'true' OR fp.as_of IS NULL OR fp.as_of > n.noticed_at
                OR fp.as_of < clock_timestamp() - interval '1 day'), false) AS read_again,
        (SELECT count(*) FROM booked) AS booked,
        (SELECT array_agg(jsonb_build_array(u.record_id, u.asked_as)) FROM unbooked u WHERE u.taken) AS taken
    FROM wanted w LEFT JOIN mirror.accounts m ON m.platform = :platform AND m.id = w.id AND m.deleted_at IS NULL
    CROSS JOIN LATERAL (VALUES (2, m.balance), (3, m.credit)) AS s (side, held)
    LEFT JOIN known k ON k.account_id = w.id AND k.side = s.side
    LEFT JOIN counterfoil.unexplained n ON n.platform = :platform AND n.account_id = w.id AND n.side = s.side
    LEFT JOIN counterfoil.freshness fa ON fa.platform = :platform AND fa.resource = 'accounts'
    LEFT JOIN counterfoil.freshness fd ON fd.platform = :platform AND fd.resource = 'deals'
    LEFT JOIN counterfoil.freshness fp ON fp.platform = :platform AND fp.resource = 'positions'
    LEFT JOIN counterfoil.cursors c ON c.platform = :platform AND c.resource = 'deals'
    ORDER BY w.id, s.side
""")
_NOTE = sa.text("""
    INSERT INTO counterfoil.unexplained (platform, account_id, side, amount, noticed_at)
    SELECT :platform, x.account_id, x.side, x.amount, clock_timestamp()
    FROM unnest(CAST(:accounts AS bigint[]), CAST(:sides AS integer[]), CAST(:amounts AS numeric[]))
        AS x (account_id, side, amount)
    ON CONFLICT (platform, account_id, side) DO UPDATE SET amount = excluded.amount, noticed_at = excluded.noticed_at
""")
_FORGET = sa.text("""
    DELETE FROM counterfoil.unexplained n USING unnest(CAST(:accounts AS bigint[]), CAST(:sides AS integer[])) AS x (account_id, side)
    WHERE n.platform = :platform AND n.account_id = x.account_id AND n.side = x.side
""")
# What was known only after a row was inferred, and had happened before: by versions, which grow as things become known.
_LATE = f"""
    SELECT {SIGNED} AS amount FROM mirror.deals d
    WHERE d.platform = r.platform AND d.account_id = r.account_id AND d.deleted_at IS NULL AND d.version > r.version
        AND d.created_at <= r.created_at AND (d.side IS NOT DISTINCT FROM 3) = (r.side = 3)
    UNION ALL
    SELECT t.amount FROM mirror.transactions t JOIN counterfoil.intents i ON i.idempotency_reference = t.reference
    WHERE t.platform = r.platform AND t.account_id = r.account_id AND t.deleted_at IS NULL AND t.version > r.version
        AND t.side = r.side AND i.created_at <= r.created_at
"""
# What came late explains a row that was inferred before: that row is withdrawn, the newest of such. Money that somebody moved
# in and out again is two movements, and stays two rows.
_INFER = sa.text(f"""
    WITH judged AS MATERIALIZED (
        SELECT x.*, (
            SELECT r.id FROM mirror.transactions r
            CROSS JOIN LATERAL (SELECT bool_or(round(l.amount, scale(r.amount)) = r.amount)
                OR round(sum(l.amount), scale(r.amount)) = r.amount AS explained FROM ({_LATE}) l) late
            WHERE r.platform = :platform AND r.account_id = x.account_id AND r.side = x.side AND r.origin = 'inferred'
                AND r.deleted_at IS NULL AND r.amount = -x.amount AND late.explained
            ORDER BY r.version DESC LIMIT 1
        ) AS withdrawn
        FROM unnest(CAST(:accounts AS bigint[]), CAST(:sides AS integer[]), CAST(:amounts AS numeric[]), CAST(:currencies AS text[]))
            AS x (account_id, side, amount, currency)
    ), gone AS (
        UPDATE mirror.transactions t SET deleted_at = now(), changed_at = now(), version = nextval('mirror.version')
        FROM judged j WHERE t.platform = :platform AND t.id = j.withdrawn RETURNING t.id
    ), made AS (
        INSERT INTO mirror.transactions (platform, id, account_id, side, direction, amount, currency, comment, origin, created_at,
            first_seen_at, changed_at, version)
        SELECT :platform, -nextval('counterfoil.inferred_id'), j.account_id, j.side, CASE WHEN j.amount > 0 THEN 0 ELSE 1 END,
            j.amount, j.currency, CASE WHEN EXISTS (SELECT FROM mirror.transactions o WHERE o.platform = :platform
                AND o.account_id = j.account_id AND o.side = j.side) THEN CAST(:moved AS text) ELSE :opening END, 'inferred',
            clock_timestamp(), now(), now(), nextval('mirror.version')
        FROM judged j WHERE j.withdrawn IS NULL RETURNING id
    )
    SELECT (SELECT count(*) FROM made) AS made, (SELECT count(*) FROM gone) AS gone
""")


@dataclass(frozen=True, slots=True)
class Moved:
    """Accounts to look at, ascending, and how far the mirror has been seen with them; `both_read`: accounts and deals."""

    accounts: list[int]
    seen: State
    both_read: bool


@dataclass(frozen=True, slots=True)
class Explained:
    """What looking at some accounts wrote.

    `inferred`: rows made; `withdrawn`: inferred rows that something late explains. `taken`: record ids under which the mirror
    holds another transaction, with the reference of the operation that the platform says they are; those got ids of our own.
    """

    written: Written
    inferred: int
    withdrawn: int
    taken: list[tuple[int, str]]


async def moved(mirror: Mirror, state: State | None, *, everything: bool) -> Moved:
    """The accounts of which anything is new since `state`, or whose money is not explained; or all of them.

    Before accounts and deals have been read completely once, only those with operations of ours that have no row yet.
    """
    before = _NOTHING_SEEN if everything or state is None else state
    async with transaction(mirror.engine) as connection:
        seen = dict((await connection.execute(_SEEN, {"platform": mirror.platform})).mappings().one())
        both_read = bool(seen.pop("both_read"))
        given = {**before, "platform": mirror.platform, "both_read": both_read}
        accounts = list(await connection.scalars(_MOVED, given))
    kept = seen if both_read else {**(state or _NOTHING_SEEN), "confirmed": seen["confirmed"]}
    return Moved(accounts, kept, both_read)


async def explain(mirror: Mirror, accounts: Sequence[int], state: State | None, *, infer: bool) -> Explained:
    """Bring operations of ours into the mirror, and judge what is left over; one transaction.

    Args:
        mirror: of the platform, under the lease of this run.
        accounts: to look at, by id.
        state: how far the mirror had been seen before.
        infer: whether accounts and deals were both read, so that anything may be judged.

    Raises:
        LeaseLostError: nothing was written.
    """
    before = state or _NOTHING_SEEN
    given = {"platform": mirror.platform, "accounts": list(accounts)}
    seen = {"seen_deals": before["deals"], "seen_transactions": before["transactions"]}
    async with transaction(mirror.engine) as connection:
        await leases.hold(connection, mirror.lease)
        # From here on no row becomes visible that we do not count, and whose version would lie below those drawn here.
        await copying.lock_versions(connection)
        looked = [dict(row) for row in (await connection.execute(_LOOK, {**given, **seen})).mappings()]
        made = gone = 0
        if infer:
            made, gone = await _follow(connection, mirror.platform, [(_step(row), row) for row in looked])
    taken = [(record_id, asked_as) for record_id, asked_as in looked[0]["taken"] or ()]
    return Explained(Written(inserted=looked[0]["booked"] + made, deleted=gone), made, gone, taken)


def _step(row: Mapping[str, Any]) -> Step:
    noted = None if row["noted"] is None else Noted(row["noted"], row["read_again"])
    return judge(row["unexplained"], noted, moved=row["moved"], unsettled=row["unsettled"])


async def _follow(
    connection: AsyncConnection, platform: str, steps: Sequence[tuple[Step, Mapping[str, Any]]]
) -> tuple[int, int]:
    """Do what was judged; returns rows inferred and rows withdrawn."""
    noted = [row for step, row in steps if step is Step.NOTE]
    done = [row for step, row in steps if step in (Step.FORGET, Step.INFER)]
    inferred = [row for step, row in steps if step is Step.INFER]
    if noted:
        await connection.execute(_NOTE, {"platform": platform, **_columns(noted)})
    if done:
        given = _columns(done)
        await connection.execute(
            _FORGET, {"platform": platform, "accounts": given["accounts"], "sides": given["sides"]}
        )
    if not inferred:
        return 0, 0
    given = {**_columns(inferred), "currencies": [row["currency"] for row in inferred]}
    texts = {"opening": OPENING, "moved": MOVED}
    row = (await connection.execute(_INFER, {"platform": platform, **given, **texts})).one()
    return row.made, row.gone


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    return {
        "accounts": [row["account_id"] for row in rows],
        "sides": [row["side"] for row in rows],
        "amounts": [row["unexplained"] for row in rows],
    }
