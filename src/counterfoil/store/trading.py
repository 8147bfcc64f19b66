"""Balances that moved by trading alone: their accounts need not be asked for their transactions.

Most balances move because somebody trades. Where a platform books deposits and withdrawals as deals too, as OMTrader very probably
does, the mirror shows it: an account's balance is then the sum of all of its deals. If it is just that, and its transactions are as many
and as much as those of its deals that are balance operations, there is nothing to ask for. Where it is not, for whatever reason,
the account is asked as ever; so are all accounts where transactions tell of anything else than balance operations.
"""

from datetime import timedelta

import sqlalchemy as sa

from counterfoil.store import leases
from counterfoil.store.engine import transaction
from counterfoil.store.explaining import SIGNED
from counterfoil.store.mirror import Mirror

# An account's row and its deals are read one after the other: the newest deals may not be in the balance yet.
_APART = timedelta(minutes=2)

_OWN = "platform = :platform AND account_id = m.id AND deleted_at IS NULL"
_SETTLE = sa.text(f"""
    WITH moved AS MATERIALIZED (
        SELECT a.id, a.balance, a.changed_at
        FROM counterfoil.asked k JOIN mirror.accounts a ON a.platform = k.platform AND a.id = k.account_id
        WHERE k.platform = :platform AND a.deleted_at IS NULL
            AND a.balance IS DISTINCT FROM k.balance
            AND NOT EXISTS (
                SELECT FROM (SELECT side FROM mirror.transactions WHERE platform = :platform ORDER BY id DESC LIMIT 1000) n
                WHERE side IS DISTINCT FROM 2 AND side IS DISTINCT FROM 3
            )
    ), booked AS MATERIALIZED (
        SELECT m.*, coalesce(b.total, 0) AS total FROM moved m CROSS JOIN LATERAL (
            SELECT sum({SIGNED}) FILTER (WHERE d.side IS DISTINCT FROM 3) AS total,
                count(*) FILTER (WHERE d.side IN (2, 3)) AS operations,
                coalesce(sum({SIGNED}) FILTER (WHERE d.side IN (2, 3)), 0) AS amount
            FROM mirror.deals d WHERE {_OWN}
        ) b CROSS JOIN LATERAL (
            SELECT count(*) AS operations, coalesce(sum(amount), 0) AS amount FROM mirror.transactions
            WHERE {_OWN} AND side IN (2, 3)
        ) t WHERE b.operations = t.operations AND b.amount = t.amount
    ), traded AS (
        SELECT m.id, m.balance FROM booked m WHERE m.total = m.balance OR EXISTS (
            SELECT FROM (
                SELECT sum({SIGNED}) OVER (ORDER BY d.id DESC) AS newest FROM mirror.deals d
                WHERE {_OWN} AND d.side IS DISTINCT FROM 3 AND d.created_at > m.changed_at - CAST(:apart AS interval)
            ) n WHERE m.total - n.newest = m.balance
        )
    )
    UPDATE counterfoil.asked k SET balance = t.balance FROM traded t WHERE k.platform = :platform AND k.account_id = t.id
""")


async def settle(mirror: Mirror) -> int:
    """Take note of the balances that trading explains, as if their accounts had been asked; returns how many.

    Raises:
        LeaseLostError: nothing was noted.
    """
    async with transaction(mirror.engine) as connection:
        await leases.hold(connection, mirror.lease)
        settled = await connection.execute(_SETTLE, {"platform": mirror.platform, "apart": _APART})
        return settled.rowcount
