"""A platform's name is bound at the first login to kind, host, manager and environment: the mirror and the queue are about that one."""

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from counterfoil.domain.errors import LoginRefusedError
from counterfoil.domain.login import LoginFacts
from counterfoil.store.engine import transaction

_BIND = sa.text("""
    INSERT INTO counterfoil.platform_state AS s (platform, kind, host, manager_id, sandbox, bound_at)
    VALUES (:platform, :kind, :host, :manager_id, :sandbox, clock_timestamp())
    ON CONFLICT (platform) DO UPDATE SET kind = excluded.kind, host = excluded.host, manager_id = excluded.manager_id,
        sandbox = excluded.sandbox, bound_at = excluded.bound_at
    WHERE s.bound_at IS NULL
""")
_BOUND = sa.text("SELECT kind, host, manager_id, sandbox FROM counterfoil.platform_state WHERE platform = :platform")
# What was confirmed while nobody knew whether it is a simulator.
_RELEASABLE = sa.text("""
    UPDATE counterfoil.payouts p SET state = 'releasable' FROM counterfoil.intents i
    WHERE i.id = p.intent_id AND i.platform = :platform AND p.state = 'blocked' AND counterfoil.payout_may_leave(p.intent_id)
""")
_UNBIND = sa.text("""
    UPDATE counterfoil.platform_state SET kind = NULL, host = NULL, manager_id = NULL, sandbox = NULL, bound_at = NULL
    WHERE platform = :platform
""")
_FORGET_SESSION = sa.text("DELETE FROM counterfoil.sessions WHERE platform = :platform")


@dataclass(frozen=True, slots=True)
class NameBinding:
    """See platforms.base.Binding. `host`: host and port of the settings' base_url."""

    engine: AsyncEngine
    platform: str
    kind: str
    host: str

    async def hold_to(self, facts: LoginFacts) -> None:
        """See platforms.base.Binding."""
        met = {"kind": self.kind, "host": self.host, "manager_id": facts.account_id, "sandbox": facts.sandbox}
        async with transaction(self.engine) as connection:
            await connection.execute(_BIND, {**met, "platform": self.platform})
            await connection.execute(_RELEASABLE, {"platform": self.platform})
            bound = (await connection.execute(_BOUND, {"platform": self.platform})).mappings().one()
        differing = [f"{name} was {bound[name]}, is {value}" for name, value in met.items() if bound[name] != value]
        if differing:
            raise LoginRefusedError(
                f"platform {self.platform} means another server than before ({'; '.join(differing)}): use another name for it, "
                f"or agree with `counterfoil intents confirm --rebind {self.platform}`"
            )


async def unbind(engine: AsyncEngine, platform: str) -> None:
    """Let the next login bind the name anew: a person says that it is the same platform."""
    async with transaction(engine) as connection:
        await unbind_within(connection, platform)


async def unbind_within(connection: AsyncConnection, platform: str) -> None:
    """The same in a transaction that the caller ends."""
    await connection.execute(_UNBIND, {"platform": platform})
    await connection.execute(_FORGET_SESSION, {"platform": platform})
