"""Do the books agree? Balances with deals, deals with transactions, what we confirmed with what the platform holds.

Everything is compared within the mirror and at one moment. What was read at different times may differ for a while without
anything being wrong; such rows are counted, and are no findings. Platforms that tell no transactions are compared in
audit_explained.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from counterfoil.store import audit_explained as explained
from counterfoil.store.desk import BOOKED_REFERENCE
from counterfoil.store.engine import transaction
from counterfoil.store.explaining import SIGNED as _SIGNED


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Books that disagree: `subject` is an account's id, a transaction's id or a reference; `text` is for a person."""

    platform: str
    kind: str
    subject: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Audit:
    """What was compared, and what disagrees.

    `moving`: accounts whose books changed while they were read; `not_mirrored`: confirmed operations newer than the mirror's
    reading of transactions; `unread`: platforms of which accounts, deals or transactions were not read completely yet.
    `inferred`: those of the transactions that no platform told; None where every platform tells its transactions.
    """

    findings: list[Finding]
    accounts: int
    transactions: int
    operations: int
    payouts: int
    moving: int
    not_mirrored: int
    unread: list[str]
    inferred: int | None = None


_SNAPSHOT = sa.text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
# Whole tables are joined: row by row, which the planner takes for cheap where it knows no figures, would never end.
_WHOLE = sa.text("SET LOCAL enable_nestloop = off")
_READ = sa.text("""
    SELECT p.platform FROM unnest(CAST(:platforms AS text[])) AS p (platform)
    WHERE (SELECT count(*) FROM counterfoil.freshness f WHERE f.platform = p.platform
        AND f.resource IN ('accounts', 'deals', 'transactions') AND f.as_of IS NOT NULL) = 3 ORDER BY 1
""")
_COUNTS = sa.text("""
    SELECT (SELECT count(*) FROM mirror.accounts WHERE platform = ANY (:platforms) AND deleted_at IS NULL) AS accounts,
        (SELECT count(*) FROM mirror.transactions t JOIN mirror.deals d USING (platform, id) WHERE t.platform = ANY (:platforms)
            AND d.account_id = t.account_id AND d.side IN (2, 3) AND t.deleted_at IS NULL AND d.deleted_at IS NULL)
            AS transactions,
        (SELECT count(*) FROM counterfoil.intents i WHERE i.platform = ANY (:platforms) AND i.state = 'confirmed'
            AND i.amount IS NOT NULL) AS operations,
        (SELECT count(*) FROM counterfoil.payouts p JOIN counterfoil.intents i ON i.id = p.intent_id
            WHERE i.platform = ANY (:platforms) AND p.released_at IS NOT NULL) AS payouts
""")


def _same(one: str, other: str) -> str:
    """Equal at the digits of the account's currency; exactly where these are not known."""
    return f"CASE WHEN x.digits IS NULL THEN {one} = {other} ELSE round({one}, x.digits) = round({other}, x.digits) END"


# An account is `moving` when its row changed after the newest deals were asked for, or when leaving out its newest deals
# explains the difference: deals that came after the balance was read, by our clock, and by the platform's (clocks differ).
_BALANCES = sa.text(f"""
    WITH sums AS (
        SELECT d.platform, d.account_id, sum({_SIGNED}) FILTER (WHERE d.side IS DISTINCT FROM 3) AS balance,
            sum({_SIGNED}) FILTER (WHERE d.side = 3) AS credit
        FROM mirror.deals d WHERE d.platform = ANY (:platforms) AND d.deleted_at IS NULL GROUP BY d.platform, d.account_id
    ), x AS MATERIALIZED (
        SELECT a.platform, a.id, coalesce(a.currency_digits, g.currency_digits)::integer AS digits, a.balance, a.credit,
            coalesce(s.balance, 0) AS booked, coalesce(s.credit, 0) AS credited, a.changed_at,
            (SELECT f.as_of FROM counterfoil.freshness f WHERE f.platform = a.platform AND f.resource = 'accounts') AS read_at,
            (SELECT f.as_of FROM counterfoil.freshness f WHERE f.platform = a.platform AND f.resource = 'deals') AS deals_at
        FROM mirror.accounts a LEFT JOIN sums s ON s.platform = a.platform AND s.account_id = a.id
        LEFT JOIN mirror.groups g ON g.platform = a.platform AND g.id = a.group_id
        WHERE a.platform = ANY (:platforms) AND a.deleted_at IS NULL
    ), differing AS MATERIALIZED (
        SELECT x.* FROM x WHERE NOT ({_same("x.balance", "x.booked")}) OR NOT ({_same("x.credit", "x.credited")})
    )
    SELECT x.platform, x.id, x.balance, x.booked, {_same("x.balance", "x.booked")} AS balance_agrees, x.credit, x.credited,
        {_same("x.credit", "x.credited")} AS credit_agrees,
        x.changed_at > x.deals_at OR EXISTS (
            SELECT FROM (SELECT coalesce(sum({_SIGNED}) FILTER (WHERE d.side IS DISTINCT FROM 3) OVER w, 0) AS balance,
                    coalesce(sum({_SIGNED}) FILTER (WHERE d.side = 3) OVER w, 0) AS credit,
                    bool_and(d.changed_at > x.read_at AND d.created_at > x.read_at - interval '10 minutes') OVER w AS newer
                FROM mirror.deals d WHERE d.platform = x.platform AND d.account_id = x.id AND d.deleted_at IS NULL
                WINDOW w AS (ORDER BY d.id DESC)) later
            WHERE later.newer AND (x.balance IS NULL OR {_same("x.booked - later.balance", "x.balance")})
                AND (x.credit IS NULL OR {_same("x.credited - later.credit", "x.credit")})
        ) AS moving
    FROM differing x ORDER BY x.platform, x.id
""")
_TRANSACTIONS = sa.text(f"""
    SELECT t.platform, t.id, t.account_id, t.amount, t.side, {_SIGNED} AS booked, d.side AS booked_side
    FROM mirror.transactions t JOIN mirror.deals d ON d.platform = t.platform AND d.id = t.id AND d.account_id = t.account_id
    WHERE t.platform = ANY (:platforms) AND t.deleted_at IS NULL AND d.deleted_at IS NULL AND d.side IN (2, 3)
        AND (t.amount IS DISTINCT FROM {_SIGNED} OR t.side IS DISTINCT FROM d.side)
    ORDER BY t.platform, t.id
""")
_OURS = f"""
    ours AS MATERIALIZED (
        SELECT t.platform, t.id, t.account_id, t.amount, {BOOKED_REFERENCE} AS reference FROM mirror.transactions t
        WHERE t.platform = ANY (:platforms) AND t.deleted_at IS NULL AND ({BOOKED_REFERENCE}) IS NOT NULL
    )
"""
# Its account was asked since; or accounts and, after them, transactions were read since, and nothing had moved. A person may
# have named a record that does not carry our reference.
_OPERATIONS = sa.text(f"""
    WITH {_OURS}, marked AS (
        SELECT DISTINCT ON (o.platform, o.reference) o.* FROM ours o ORDER BY o.platform, o.reference, o.id
    ), booked AS (
        SELECT i.id AS intent_id, coalesce(o.id, t.id) AS id,
            CASE WHEN o.id IS NULL THEN t.account_id ELSE o.account_id END AS account_id,
            CASE WHEN o.id IS NULL THEN t.amount ELSE o.amount END AS amount,
            CASE WHEN i.kind IN ('deposit', 'refund', 'credit_in') THEN i.amount ELSE -i.amount END AS expected
        FROM counterfoil.intents i
        LEFT JOIN marked o ON o.platform = i.platform AND o.reference = i.idempotency_reference
        LEFT JOIN mirror.transactions t ON t.platform = i.platform AND t.id = i.record_id AND t.deleted_at IS NULL
            AND ({BOOKED_REFERENCE}) IS NULL
        WHERE i.platform = ANY (:platforms) AND i.amount IS NOT NULL
    )
    SELECT i.platform, i.reference, i.kind, i.state, a.account_id, b.expected, b.id, b.account_id AS booked_on, b.amount AS booked,
        p.released_at IS NOT NULL AS released,
        i.confirmed_at < f.as_of AND (i.platform = ANY (:explained) OR k.asked_at > i.confirmed_at
            OR (i.confirmed_at < c.as_of AND c.succeeded_at <= f.as_of)) IS TRUE AS due
    FROM counterfoil.intents i JOIN booked b ON b.intent_id = i.id
    JOIN counterfoil.accounts a ON a.reference = i.account_reference
    JOIN counterfoil.freshness f ON f.platform = i.platform AND f.resource = 'transactions'
    JOIN counterfoil.freshness c ON c.platform = i.platform AND c.resource = 'accounts'
    LEFT JOIN counterfoil.payouts p ON p.intent_id = i.id
    LEFT JOIN counterfoil.asked k ON k.platform = i.platform AND k.account_id = a.account_id
    WHERE (i.state = 'confirmed' OR p.released_at IS NOT NULL) AND (i.state <> 'confirmed' OR b.id IS NULL
        OR b.account_id IS DISTINCT FROM a.account_id OR b.amount IS DISTINCT FROM b.expected)
    ORDER BY i.platform, i.id
""")
# Sent, unknown and parked ones are being looked for, or a person is asked already.
_STRAYS = sa.text(f"""
    WITH {_OURS}
    SELECT o.platform, o.reference, count(*) AS times, array_agg(o.id ORDER BY o.id) AS ids, min(i.reference) AS intent,
        min(i.kind) AS kind, min(i.state) AS state
    FROM ours o LEFT JOIN counterfoil.intents i ON i.idempotency_reference = o.reference AND i.platform = o.platform
    GROUP BY o.platform, o.reference
    HAVING count(*) > 1 OR min(i.state) IS NULL OR min(i.state) IN ('waiting', 'pending', 'rejected', 'cancelled')
    ORDER BY o.platform, o.reference
""")


async def compare(engine: AsyncEngine, platforms: list[str]) -> Audit:
    """Compare everything that the mirror holds of these platforms.

    Raises:
        store.Unreachable: the database cannot be reached.
    """
    async with transaction(engine) as connection:
        await connection.execute(_SNAPSHOT)
        await connection.execute(_WHOLE)
        read = list(await connection.scalars(_READ, {"platforms": platforms}))
        untold = await explained.of_this_kind(connection, read)
        given = {"platforms": read}
        counts = (await connection.execute(_COUNTS, given)).one()
        balances = await _rows(connection, _BALANCES, {"platforms": [name for name in read if name not in untold]})
        operations = await _rows(connection, _OPERATIONS, {**given, "explained": untold})
        findings = [finding for row in balances if not row["moving"] for finding in _balance(row)]
        findings += [_transaction(row) for row in await _rows(connection, _TRANSACTIONS, given)]
        moving, (kept, inferred) = sum(row["moving"] for row in balances), (0, None)
        if untold:
            moving += await _untold(connection, untold, findings)
            kept, inferred = await explained.counts(connection, untold)
        findings += [_operation(row) for row in operations if not _is_early(row)]
        findings += [finding for row in await _rows(connection, _STRAYS, given) for finding in _stray(row)]
    return Audit(
        findings=findings,
        accounts=counts.accounts,
        transactions=counts.transactions + kept,
        operations=counts.operations,
        payouts=counts.payouts,
        moving=moving,
        not_mirrored=sum(map(_is_early, operations)),
        unread=[name for name in platforms if name not in read],
        inferred=inferred,
    )


async def _untold(connection: AsyncConnection, platforms: list[str], findings: list[Finding]) -> int:
    """Add what platforms that tell no transactions disagree about; returns accounts that are not explained yet."""
    balances = await explained.balances(connection, platforms)
    for row in balances:
        if not row["moving"]:
            kind, text = explained.disagreement(row["side"], row["held"], row["booked"])
            findings.append(_about(row["platform"], row["id"], kind, text))
    for row in await explained.alike(connection, platforms):
        text = explained.likeness(row["amount"], row["kind"], row["reference"], state=row["state"])
        findings.append(_about(row["platform"], row["account_id"], "alike", f"{text}, transaction {row['id']}"))
    return explained.moving(balances)


def _about(platform: str, account: int, kind: str, text: str) -> Finding:
    return Finding(platform=platform, kind=kind, subject=str(account), text=f"account {account}: {text}")


async def _rows(
    connection: AsyncConnection, statement: sa.TextClause, given: Mapping[str, Any]
) -> list[dict[str, Any]]:
    return [dict(row) for row in (await connection.execute(statement, given)).mappings()]


def _is_early(row: Mapping[str, Any]) -> bool:
    return row["state"] == "confirmed" and row["id"] is None and not row["due"]


def _balance(row: Mapping[str, Any]) -> list[Finding]:
    account, platform = str(row["id"]), row["platform"]
    found = []
    if row["balance_agrees"] is False:
        found.append(
            Finding(
                platform=platform,
                kind="balance",
                subject=account,
                text=f"account {account}: its balance is {row['balance']:f}, its deals make {row['booked']:f}"
                f"{_by(row['balance'] - row['booked'])}",
            )
        )
    if row["credit_agrees"] is False:
        found.append(
            Finding(
                platform=platform,
                kind="credit",
                subject=account,
                text=f"account {account}: its credit is {row['credit']:f}, its credit deals make {row['credited']:f}"
                f"{_by(row['credit'] - row['credited'])}",
            )
        )
    return found


def _by(difference: Decimal) -> str:
    return f", {difference:+f}"


def _transaction(row: Mapping[str, Any]) -> Finding:
    sides = "" if row["side"] == row["booked_side"] else f" (side {row['side']} against {row['booked_side']})"
    return Finding(
        platform=row["platform"],
        kind="transaction",
        subject=str(row["id"]),
        text=f"transaction {row['id']} of account {row['account_id']}: it says {_amount(row['amount'])}, the deal of the same id "
        f"says {_amount(row['booked'])}{sides}",
    )


def _operation(row: Mapping[str, Any]) -> Finding:
    what = f"{row['kind'].replace('_', ' ')} {row['reference']}"
    paid = ", and its payout was released" if row["released"] else ""
    if row["state"] != "confirmed":
        text = f"{what}: its payout was released, and it is {row['state']}, not confirmed"
    elif row["id"] is None:
        text = f"{what}: confirmed{paid}, but not in the platform's books"
    else:
        text = (
            f"{what}: confirmed as {row['expected']:f} on account {row['account_id']}{paid}, but transaction {row['id']} says "
            f"{_amount(row['booked'])} on account {row['booked_on']}"
        )
    kind = "payout" if row["released"] else "operation"
    return Finding(platform=row["platform"], kind=kind, subject=row["reference"], text=text)


def _stray(row: Mapping[str, Any]) -> list[Finding]:
    places = ", ".join(map(str, row["ids"]))
    whose = row["intent"] or row["reference"]
    found = []
    if row["times"] > 1:
        text = (
            f"{whose}: our reference {row['reference']} stands {row['times']} times in the books, transactions {places}"
        )
        found.append(Finding(platform=row["platform"], kind="twice", subject=whose, text=text))
    if row["intent"] is None:
        text = (
            f"{row['reference']}: a reference of ours that no request here knows, transaction {places}: this database forgot it, "
            "or another installation writes to the same platform"
        )
        found.append(Finding(platform=row["platform"], kind="unknown", subject=whose, text=text))
    elif row["state"] in ("waiting", "pending", "rejected", "cancelled"):
        text = f"{row['kind'].replace('_', ' ')} {whose}: it is {row['state']}, but the books hold it, transaction {places}"
        found.append(Finding(platform=row["platform"], kind="state", subject=whose, text=text))
    return found


def _amount(amount: Decimal | None) -> str:
    return "nothing" if amount is None else f"{amount:f}"
