"""Drift: fields that the CRM owns and somebody changed on the platform. It is reported; nothing is overwritten.

Our own write that comes back through the mirror is what the CRM wants by then, so it is no drift; and where the mirror is older
than our newest write to the client, or a change of the field is still on its way, nothing is said yet. A platform that does not
tell its clients has nothing to compare: what the mirror holds of them is what the CRM says.
"""

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from counterfoil.store.engine import transaction

_COMPARE = sa.text("""
    WITH differing AS MATERIALIZED (
        SELECT r.registrant_id, o.field
        FROM counterfoil.registrants r
        JOIN counterfoil.published_platforms k ON k.platform = r.platform AND k.kind = 'omtrader'
        JOIN mirror.clients c ON c.platform = r.platform AND c.id = r.client_id AND c.deleted_at IS NULL
        JOIN counterfoil.freshness f ON f.platform = r.platform AND f.resource = 'clients'
        CROSS JOIN LATERAL (SELECT to_jsonb(c) AS held) h
        CROSS JOIN LATERAL (SELECT unnest(p.owned_fields) AS field FROM counterfoil.published_rules p) o
        WHERE r.platform = :platform AND r.profile ? o.field
            AND coalesce(nullif(h.held -> o.field, '""'), 'null') <> coalesce(nullif(r.profile -> o.field, '""'), 'null')
            AND f.as_of > (SELECT max(i.confirmed_at) FROM counterfoil.intents i
                WHERE i.registrant_id = r.registrant_id AND i.kind IN ('client', 'update_client'))
            AND NOT EXISTS (SELECT FROM counterfoil.intents i WHERE i.registrant_id = r.registrant_id
                AND i.kind = 'update_client' AND i.state NOT IN ('confirmed', 'rejected', 'cancelled') AND i.wish ? o.field)
    ), begun AS (
        INSERT INTO counterfoil.drift (registrant_id, field) SELECT registrant_id, field FROM differing
        ON CONFLICT DO NOTHING RETURNING registrant_id, field
    ), ended AS (
        DELETE FROM counterfoil.drift d USING counterfoil.registrants r
        WHERE r.registrant_id = d.registrant_id AND r.platform = :platform
            AND NOT EXISTS (SELECT FROM differing x WHERE x.registrant_id = d.registrant_id AND x.field = d.field)
        RETURNING d.registrant_id, d.field
    )
    SELECT registrant_id, field, true AS begun FROM begun UNION ALL SELECT registrant_id, field, false FROM ended
    ORDER BY 1, 2
""")
_READ_AT = sa.text("""
    SELECT extract(epoch FROM as_of)::float8 FROM counterfoil.freshness WHERE platform = :platform AND resource = 'clients'
""")


@dataclass(frozen=True, slots=True)
class Drift:
    """One field of one registrant; `begun`: it differs since now, else it agrees again."""

    registrant_id: str
    field: str
    begun: bool


async def mirrored_at(engine: AsyncEngine, platform: str) -> float | None:
    """When the newest complete reading of the clients began, in seconds since 1970; None before the first."""
    async with transaction(engine) as connection:
        found: float | None = await connection.scalar(_READ_AT, {"platform": platform})
        return found


async def compare(engine: AsyncEngine, platform: str) -> list[Drift]:
    """Compare what the CRM wants with what the mirror holds; what is new since the last comparison."""
    async with transaction(engine) as connection:
        rows = await connection.execute(_COMPARE, {"platform": platform})
        return [Drift(row.registrant_id, row.field, row.begun) for row in rows]
