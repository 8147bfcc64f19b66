"""Publishes what the settings say into the database, where the boundary's functions read it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from counterfoil.domain.fields import FIELDS
from counterfoil.store.boundary_tables import PUBLISHED_FIELDS
from counterfoil.store.engine import transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedPlatform:
    """One configured platform, as the boundary's functions know it."""

    platform: str
    kind: str
    pushes: bool
    updates_accounts: bool
    account_defaults: Mapping[str, object]
    reference_field: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedRules:
    """The settings that the boundary's functions follow; see section `crm` of the settings."""

    platform_choice: str
    owned_fields: Sequence[str]
    username: str
    password_length: int
    password_symbols: bool
    sandbox_payouts: bool


# Two daemons that start together must not publish halves of two files.
_LOCK = sa.text("SELECT pg_advisory_xact_lock(hashtext('counterfoil.published'))")
_RULES = sa.text("""
    INSERT INTO counterfoil.published_rules (platform_choice, owned_fields, username, password_length, password_symbols,
        sandbox_payouts)
    VALUES (:platform_choice, :owned_fields, :username, :password_length, :password_symbols, :sandbox_payouts)
    ON CONFLICT (one) DO UPDATE SET platform_choice = excluded.platform_choice, owned_fields = excluded.owned_fields,
        username = excluded.username, password_length = excluded.password_length,
        password_symbols = excluded.password_symbols, sandbox_payouts = excluded.sandbox_payouts,
        published_at = clock_timestamp()
""")
_FORGET_PLATFORMS = sa.text("""
    UPDATE counterfoil.published_platforms SET configured = false, pushes = false
    WHERE configured AND platform <> ALL (:names)
""")
_PLATFORM = sa.text("""
    INSERT INTO counterfoil.published_platforms (platform, kind, configured, pushes, updates_accounts, account_defaults)
    VALUES (:platform, :kind, true, :pushes, :updates_accounts, :account_defaults)
    ON CONFLICT (platform) DO UPDATE SET kind = excluded.kind, configured = true, pushes = excluded.pushes,
        updates_accounts = excluded.updates_accounts, account_defaults = excluded.account_defaults,
        published_at = clock_timestamp()
""").bindparams(sa.bindparam("account_defaults", type_=sa.dialects.postgresql.JSONB))
# Another field carries the references from now on: none of ours has been read back out of it yet.
_REFERENCE_FIELD = sa.text("""
    INSERT INTO counterfoil.platform_state AS s (platform, reference_field) VALUES (:platform, :reference_field)
    ON CONFLICT (platform) DO UPDATE SET reference_field = excluded.reference_field, reference_proven_at = NULL,
        reference_since = CASE WHEN s.reference_field IS NOT NULL THEN clock_timestamp() END
    WHERE s.reference_field IS DISTINCT FROM excluded.reference_field
""")
# What a setting held back and does not hold back any more.
_RELEASABLE = sa.text("""
    UPDATE counterfoil.payouts p SET state = 'releasable'
    WHERE p.state = 'blocked' AND counterfoil.payout_may_leave(p.intent_id)
""")


async def publish(engine: AsyncEngine, rules: PublishedRules, platforms: Sequence[PublishedPlatform]) -> None:
    """Make the boundary follow these settings from now on; the newest to publish wins.

    Raises:
        store.Unreachable: the database cannot be reached.
    """
    async with transaction(engine) as connection:
        await connection.execute(_LOCK)
        await connection.execute(_RULES, {**asdict(rules), "owned_fields": list(rules.owned_fields)})
        await connection.execute(_FORGET_PLATFORMS, {"names": [platform.platform for platform in platforms]})
        for platform in platforms:
            given = {name: getattr(platform, name) for name in PublishedPlatform.__slots__}
            given["account_defaults"] = dict(platform.account_defaults)
            await connection.execute(_PLATFORM, given)
            await connection.execute(_REFERENCE_FIELD, given)
        await _publish_fields(connection)
        await connection.execute(_RELEASABLE)


async def _publish_fields(connection: AsyncConnection) -> None:
    await connection.execute(sa.delete(PUBLISHED_FIELDS))
    await connection.execute(sa.insert(PUBLISHED_FIELDS), [asdict(field) for field in FIELDS])
