"""Balances that moved by trading alone: their accounts need not be asked for their transactions.

Most balances move because somebody trades. Where a platform books deposits and withdrawals as deals too, as OMTrader very probably
does, the mirror shows it: an account's balance is then the sum of all of its deals. If it is just that, and its transactions are as many
and as much as those of its deals that are balance operations, there is nothing to ask for. Where it is not, for whatever reason,
the account is asked as ever; so are all accounts where transactions tell of anything else than balance operations.

Deals may be older than the balance that they explain. So whenever a balance operation comes among the deals, its account is compared
once more, and asked if it has no such transaction: that goes by the order of versions, of which none is passed over.
"""

from datetime import timedelta

import sqlalchemy as sa

from counterfoil.store import cursors, leases
from counterfoil.store.direct import direct, first
from counterfoil.store.engine import transaction
from counterfoil.store.explaining import SIGNED
from counterfoil.store.mirror import Mirror
from counterfoil.store.plans import of_any_platform

# An account's row and its deals are read one after the other: the newest deals may not be in the balance yet.
_APART = timedelta(minutes=2)

# The cursor that says up to which version of deals their balance operations were looked for.
_CURSOR = "transactions"

_OWN = "platform = :platform AND account_id = m.id AND deleted_at IS NULL"
# What the deals and the transactions of an account tell of it: its balance, and balance operations.
_TOLD = f"""
    CROSS JOIN LATERAL (
        SELECT coalesce(sum({SIGNED}) FILTER (WHERE d.side IS DISTINCT FROM 3), 0) AS total,
            count(*) FILTER (WHERE d.side IN (2, 3)) AS operations,
            coalesce(sum({SIGNED}) FILTER (WHERE d.side IN (2, 3)), 0) AS amount
        FROM mirror.deals d WHERE {_OWN}
    ) b CROSS JOIN LATERAL (
        SELECT count(*) AS operations, coalesce(sum(amount), 0) AS amount FROM mirror.transactions
        WHERE {_OWN} AND side IN (2, 3)
    ) t
"""
# None before the first reading of the deals is complete: until then nothing is explained by them.
_NEWS = sa.text("""
    SELECT coalesce((t.state ->> 'deals')::bigint, 0) AS place, (SELECT coalesce(max(version), 0) FROM mirror.deals) AS newest
    FROM counterfoil.cursors d LEFT JOIN counterfoil.cursors t ON t.platform = d.platform AND t.resource = :cursor
    WHERE d.platform = :platform AND d.resource = 'deals' AND d.state @> '{"begun": true}'
""")
_DOUBT = of_any_platform(f"""
    WITH m AS MATERIALIZED (
        SELECT DISTINCT account_id AS id FROM mirror.deals
        WHERE version > :place AND version <= :newest AND platform = :platform AND side IN (2, 3)
    ), doubtful AS (
        SELECT m.id FROM m {_TOLD} WHERE b.operations <> t.operations OR b.amount <> t.amount
    )
    UPDATE counterfoil.asked k SET balance = CASE WHEN a.balance IS NULL THEN 0 END
    FROM doubtful m JOIN mirror.accounts a ON a.platform = :platform AND a.id = m.id
    WHERE k.platform = :platform AND k.account_id = m.id
""")
_SETTLE = of_any_platform(f"""
    WITH moved AS MATERIALIZED (
        SELECT a.id, a.balance, a.changed_at
        FROM counterfoil.asked k JOIN mirror.accounts a ON a.platform = k.platform AND a.id = k.account_id
        WHERE k.platform = :platform AND a.deleted_at IS NULL
            AND a.balance IS DISTINCT FROM k.balance
            AND EXISTS (SELECT FROM counterfoil.cursors WHERE platform = :platform AND resource = :cursor)
            AND NOT EXISTS (
                SELECT FROM (SELECT side FROM mirror.transactions WHERE platform = :platform ORDER BY id DESC LIMIT 1000) n
                WHERE side IS DISTINCT FROM 2 AND side IS DISTINCT FROM 3
            )
    ), booked AS MATERIALIZED (
        SELECT m.*, b.total FROM moved m {_TOLD} WHERE b.operations = t.operations AND b.amount = t.amount
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


async def doubt(mirror: Mirror) -> None:
    """Let accounts be asked whose deals tell of a balance operation that their transactions lack, of those deals that are new.

    Raises:
        LeaseLostError: nothing was noted.
    """
    given: dict[str, object] = {"platform": mirror.platform, "cursor": _CURSOR}
    news = await first(direct(mirror.engine), _NEWS, given)
    if news is None or news["newest"] == news["place"]:
        return
    async with transaction(mirror.engine) as connection:
        await leases.hold(connection, mirror.lease)
        await connection.execute(_DOUBT, {**news, "platform": mirror.platform})
        await cursors.save(connection, mirror.platform, _CURSOR, {"deals": news["newest"]})


async def settle(mirror: Mirror) -> int:
    """Take note of the balances that trading explains, as if their accounts had been asked; returns how many.

    Raises:
        LeaseLostError: nothing was noted.
    """
    async with transaction(mirror.engine) as connection:
        await leases.hold(connection, mirror.lease)
        settled = await connection.execute(_SETTLE, {"platform": mirror.platform, "cursor": _CURSOR, "apart": _APART})
        return settled.rowcount
