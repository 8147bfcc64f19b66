"""Requests that may change something, limited by the hour and counted over all replicas, in a window that slides.

Each one allowed is a row, kept for an hour; a crash of PostgreSQL must not forget them, so the table is logged.
"""

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from counterfoil.domain.errors import PausedError
from counterfoil.domain.priority import Priority
from counterfoil.store.engine import transaction

# Where the platform refuses without saying for how long: its hour has begun before ours, and slides too.
PAUSE = 300.0
LONGEST_PAUSE = 3600.0
# Everything but money leaves this share of the hour to money.
_KEPT_FOR_MONEY = 10

_ONE_AT_A_TIME = sa.text("SELECT pg_advisory_xact_lock(hashtext('counterfoil.writes'), hashtext(:platform))")
# A time far ahead was written before the clock was set back.
_FORGET = sa.text("""
    DELETE FROM counterfoil.writes WHERE platform = :platform
        AND at NOT BETWEEN clock_timestamp() - interval '1 hour' AND clock_timestamp() + interval '1 minute'
""")
_TAKE = sa.text("""
    WITH wait AS (
        SELECT greatest(
            (SELECT extract(epoch FROM s.writes_paused_until - clock_timestamp()) FROM counterfoil.platform_state s
                WHERE s.platform = :platform AND s.writes_paused_until <= clock_timestamp() + interval '1 hour'),
            (SELECT extract(epoch FROM w.at + interval '1 hour' - clock_timestamp()) FROM counterfoil.writes w
                WHERE w.platform = :platform ORDER BY w.at DESC OFFSET :limit - 1 LIMIT 1)
        )::float8 AS seconds
    ), taken AS (
        INSERT INTO counterfoil.writes (platform) SELECT :platform FROM wait WHERE coalesce(wait.seconds, 0) <= 0
    )
    SELECT wait.seconds FROM wait
""")
_PAUSE = sa.text("""
    INSERT INTO counterfoil.platform_state AS s (platform, writes_paused_until)
    VALUES (:platform, clock_timestamp() + make_interval(secs => :seconds))
    ON CONFLICT (platform) DO UPDATE SET writes_paused_until = excluded.writes_paused_until
""")


@dataclass(frozen=True, slots=True)
class HourlyAllowance:
    """See platforms.base.WriteAllowance."""

    engine: AsyncEngine
    platform: str
    per_hour: int

    async def take(self, priority: Priority) -> None:
        """See platforms.base.WriteAllowance."""
        kept = 0 if priority is Priority.MONEY else self.per_hour // _KEPT_FOR_MONEY
        async with transaction(self.engine) as connection:
            given = {"platform": self.platform}
            await connection.execute(_ONE_AT_A_TIME, given)
            await connection.execute(_FORGET, given)
            wait: float | None = await connection.scalar(_TAKE, {**given, "limit": max(1, self.per_hour - kept)})
        if wait is not None and wait > 0:
            raise PausedError(
                f"platform {self.platform} is sent nothing but reads for {wait:.0f} s more: the hour's {self.per_hour} other "
                "requests are used up (rate_limit.writes_per_hour), or it said so itself",
                retry_after=wait,
            )

    async def exhausted(self, seconds: float | None) -> None:
        """See platforms.base.WriteAllowance."""
        async with transaction(self.engine) as connection:
            given = {"platform": self.platform, "seconds": min(seconds or PAUSE, LONGEST_PAUSE)}
            await connection.execute(_PAUSE, given)
