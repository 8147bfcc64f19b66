"""What PostgreSQL's figures of the mirror may lack: a platform that was added since they were made.

Of such a one it expects not one row. Joins are cheap then that pass over all rows of that platform for each row of another table:
seconds for a page, until enough has changed for new figures, which in a large table is days.
"""

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from counterfoil.store.engine import transaction

_KNOWN = "platform = :platform"
# A value that it learns only when it runs the statement: it expects an average platform.
_UNKNOWN = "platform = (SELECT CAST(:platform AS text))"

# Where there are no figures at all, all of the table is new, and autovacuum soon makes them.
_LACKING = sa.text("""
    SELECT EXISTS (
        SELECT FROM pg_stats WHERE schemaname = 'mirror' AND tablename = :table AND attname = 'platform'
            AND NOT most_common_vals::text::text[] @> ARRAY[CAST(:platform AS text)]
    )
""")


def of_any_platform(statement: str) -> sa.TextClause:
    """A statement that is planned for any platform, and run for `:platform`."""
    return sa.text(statement.replace(_KNOWN, _UNKNOWN))


async def renew_figures(engine: AsyncEngine, platform: str, table: str) -> None:
    """Let PostgreSQL make its figures of a table anew where they lack a platform, for whoever else asks about that one.

    It takes a second or so and holds nobody up; whoever has the table for something of the kind is left alone, and does the same.
    """
    async with transaction(engine) as connection:
        if await connection.scalar(_LACKING, {"platform": platform, "table": table}):
            await connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
            await connection.execute(sa.text(f"ANALYZE (SKIP_LOCKED) mirror.{table}"))
