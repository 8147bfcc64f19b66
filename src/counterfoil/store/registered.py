"""Clients of a platform that lists none: the registrants that it knows, and the accounts that were linked to them."""

from counterfoil.store import copying, leases
from counterfoil.store.bulk import Written
from counterfoil.store.engine import transaction
from counterfoil.store.mirror import Mirror
from counterfoil.store.plans import of_any_platform

_CLIENTS = """
    SELECT r.client_id AS id, r.registrant_id AS external_id, nullif(r.profile ->> 'email', '') AS email
    FROM counterfoil.registrants r LEFT JOIN mirror.clients c ON c.platform = r.platform AND c.id = r.client_id
    WHERE r.platform = :platform AND r.client_id IS NOT NULL AND (c.id IS NULL OR c.deleted_at IS NOT NULL
        OR c.external_id IS DISTINCT FROM r.registrant_id OR c.email IS DISTINCT FROM nullif(r.profile ->> 'email', ''))
"""
_ACCOUNTS = """
    SELECT m.id, r.client_id FROM counterfoil.accounts a
    JOIN counterfoil.registrants r ON r.registrant_id = a.registrant_id AND r.client_id IS NOT NULL
    JOIN mirror.accounts m ON m.platform = a.platform AND m.id = a.account_id
    WHERE a.platform = :platform AND m.deleted_at IS NULL AND m.client_id IS DISTINCT FROM r.client_id
        AND EXISTS (SELECT FROM counterfoil.intents i WHERE i.account_reference = a.reference AND i.kind IN ('link', 'adopt')
            AND i.state = 'confirmed')
"""
_ANY = of_any_platform(f"SELECT EXISTS ({_CLIENTS}) OR EXISTS ({_ACCOUNTS})")
_WRITE_CLIENTS = of_any_platform(f"""
    WITH differing AS MATERIALIZED ({_CLIENTS}), merged AS (
        INSERT INTO mirror.clients (platform, id, external_id, email, first_seen_at, changed_at, version)
        SELECT :platform, id, external_id, email, now(), now(), nextval('mirror.version') FROM differing ORDER BY id
        ON CONFLICT (platform, id) DO UPDATE SET external_id = excluded.external_id, email = excluded.email,
            changed_at = excluded.changed_at, deleted_at = NULL, version = excluded.version
        RETURNING xmax = 0 AS is_new
    )
    SELECT count(*) FILTER (WHERE is_new) AS inserted, count(*) AS total FROM merged
""")
_WRITE_ACCOUNTS = of_any_platform(f"""
    UPDATE mirror.accounts t SET client_id = x.client_id, changed_at = now(), version = nextval('mirror.version')
    FROM ({_ACCOUNTS}) x WHERE t.platform = :platform AND t.id = x.id
""")


async def write(mirror: Mirror) -> Written:
    """Make the mirror's clients, and the owners of its accounts, those that we know; what agrees is not touched.

    Raises:
        LeaseLostError: nothing was written.
    """
    given = {"platform": mirror.platform}
    async with transaction(mirror.engine) as connection:
        if not await connection.scalar(_ANY, given):
            return Written()
        await leases.hold(connection, mirror.lease)
        await copying.lock_versions(connection)
        clients = (await connection.execute(_WRITE_CLIENTS, given)).one()
        accounts = await connection.execute(_WRITE_ACCOUNTS, given)
    return Written(inserted=clients.inserted, changed=clients.total - clients.inserted + accounts.rowcount)
