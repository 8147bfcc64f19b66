"""The audit of a platform that tells no transactions: balances with deals and what was inferred, inferred money with our own.

Money that is not explained yet stands in counterfoil.unexplained and is `moving`; what is neither explained nor noted, although
the newest look saw it, is a disagreement.
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from counterfoil.store.explaining import SIGNED

# How long after an operation ended money may be inferred that looks like it: readings fail, and accounts are busy.
_LATER: Final = "interval '1 day'"
# For how long such money is told of.
_TOLD: Final = "interval '31 days'"

_PLATFORMS = sa.text("""
    SELECT p.platform FROM unnest(CAST(:platforms AS text[])) AS p (platform)
    LEFT JOIN counterfoil.platform_state s ON s.platform = p.platform
    LEFT JOIN counterfoil.published_platforms k ON k.platform = p.platform
    WHERE coalesce(s.kind, k.kind) = 'ctrader' ORDER BY 1
""")
_COUNTS = sa.text("""
    SELECT count(*) AS transactions, count(*) FILTER (WHERE t.origin = 'inferred') AS inferred
    FROM mirror.transactions t WHERE t.platform = ANY (:platforms) AND t.deleted_at IS NULL
""")
# Seen: the versions up to which the newest look at transactions knew everything.
_BALANCES = sa.text(f"""
    WITH seen AS MATERIALIZED (
        SELECT c.platform, CAST(c.state ->> 'accounts' AS bigint) AS accounts, CAST(c.state ->> 'deals' AS bigint) AS deals,
            CAST(c.state ->> 'transactions' AS bigint) AS transactions
        FROM counterfoil.cursors c WHERE c.platform = ANY (:platforms) AND c.resource = 'transactions'
    ), known AS MATERIALIZED (
        SELECT k.platform, k.account_id, k.side, sum(k.amount) AS amount, bool_or(k.fresh) AS fresh FROM (
            SELECT t.platform, t.account_id, t.side, t.amount, t.version > v.transactions AS fresh
            FROM mirror.transactions t JOIN seen v ON v.platform = t.platform WHERE t.deleted_at IS NULL
            UNION ALL
            SELECT d.platform, d.account_id, CASE WHEN d.side = 3 THEN 3 ELSE 2 END, {SIGNED}, d.version > v.deals
            FROM mirror.deals d JOIN seen v ON v.platform = d.platform WHERE d.deleted_at IS NULL
        ) k GROUP BY k.platform, k.account_id, k.side
    ), x AS MATERIALIZED (
        SELECT a.platform, a.id, s.side, s.held, coalesce(k.amount, 0) AS booked, a.currency_digits::integer AS digits,
            a.version > v.accounts OR coalesce(k.fresh, false) AS fresh
        FROM mirror.accounts a JOIN seen v ON v.platform = a.platform
        CROSS JOIN LATERAL (VALUES (2, a.balance), (3, a.credit)) AS s (side, held)
        LEFT JOIN known k ON k.platform = a.platform AND k.account_id = a.id AND k.side = s.side
        WHERE a.deleted_at IS NULL AND s.held IS NOT NULL
    )
    SELECT x.platform, x.id, x.side, x.held, x.booked, x.fresh OR n.amount IS NOT NULL AS moving
    FROM x LEFT JOIN counterfoil.unexplained n ON n.platform = x.platform AND n.account_id = x.id AND n.side = x.side
    WHERE CASE WHEN x.digits IS NULL THEN x.held <> x.booked ELSE round(x.held, x.digits) <> round(x.booked, x.digits) END
    ORDER BY x.platform, x.id, x.side
""")
# An operation that was sent and then refused, given up or sent again, and money of just its amount that came afterwards; unless
# it went the other way again since.
_ALIKE = sa.text(f"""
    SELECT t.platform, t.account_id, t.id, t.amount, t.created_at, i.kind, i.reference, i.state
    FROM mirror.transactions t
    JOIN counterfoil.accounts a ON a.platform = t.platform AND a.account_id = t.account_id
    JOIN counterfoil.intents i ON i.account_reference = a.reference AND i.amount = abs(t.amount)
        AND (i.kind IN ('deposit', 'refund', 'credit_in')) = (t.amount > 0)
        AND (i.kind IN ('credit_in', 'credit_out')) = (t.side = 3)
    WHERE t.platform = ANY (:platforms) AND t.origin = 'inferred' AND t.deleted_at IS NULL
        AND t.created_at > clock_timestamp() - {_TOLD}
        AND (i.state IN ('rejected', 'cancelled') AND i.sent_at IS NOT NULL OR i.state = 'confirmed' AND (i.resends > 0 OR EXISTS (
            SELECT FROM counterfoil.decisions d WHERE d.subject = i.reference AND d.decision = 'retry')))
        AND t.created_at > i.sent_at AND t.created_at < i.changed_at + {_LATER}
        AND NOT EXISTS (SELECT FROM mirror.transactions o WHERE o.platform = t.platform AND o.account_id = t.account_id
            AND o.side = t.side AND o.origin = 'inferred' AND o.deleted_at IS NULL AND o.amount = -t.amount
            AND o.version > t.version)
        AND NOT EXISTS (SELECT FROM counterfoil.payouts p WHERE i.kind = 'refund' AND p.state = 'refunded'
            AND p.reference = i.wish ->> 'payout')
    ORDER BY t.platform, t.account_id, t.version DESC, i.id
""")


async def of_this_kind(connection: AsyncConnection, platforms: list[str]) -> list[str]:
    """Those of some platforms that tell no transactions."""
    return list(await connection.scalars(_PLATFORMS, {"platforms": platforms}))


async def counts(connection: AsyncConnection, platforms: list[str]) -> tuple[int, int]:
    """Transactions in the mirror, and those of them that were inferred."""
    row = (await connection.execute(_COUNTS, {"platforms": platforms})).one()
    return row.transactions, row.inferred


async def balances(connection: AsyncConnection, platforms: list[str]) -> list[dict[str, Any]]:
    """Sides of accounts that are not what their deals and transactions make."""
    return await _rows(connection, _BALANCES, platforms)


async def alike(connection: AsyncConnection, platforms: list[str]) -> list[dict[str, Any]]:
    """Inferred money that looks like an operation of ours of which nobody knows that it was done."""
    return await _rows(connection, _ALIKE, platforms)


async def _rows(connection: AsyncConnection, statement: sa.TextClause, platforms: list[str]) -> list[dict[str, Any]]:
    return [dict(row) for row in (await connection.execute(statement, {"platforms": platforms})).mappings()]


def disagreement(side: int, held: Decimal, booked: Decimal) -> tuple[str, str]:
    """Kind and words of a side of an account whose books disagree."""
    kind = "credit" if side == 3 else "balance"
    return kind, f"its {kind} is {held:f}, its deals and transactions make {booked:f}, {held - booked:+f}"


def likeness(amount: Decimal, kind: str, reference: str, *, state: str) -> str:
    """What a person is told of inferred money that looks like an operation of ours; `state`: of the operation."""
    way = "came in" if amount > 0 else "went out"
    what = "sent more than once" if state == "confirmed" else state
    named = f"{kind.replace('_', ' ')} {reference}"
    return f"{abs(amount):f} {way} that nobody explains; {named}, of that amount, was {what}"


def moving(rows: Iterable[dict[str, Any]]) -> int:
    """Accounts whose money is not explained yet."""
    return len({(row["platform"], row["id"]) for row in rows if row["moving"]})
