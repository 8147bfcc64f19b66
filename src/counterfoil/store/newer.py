"""Which of two tellings of a row is newer: what a page must not overwrite where events and polls bring the same rows.

The platform's own `updated_at` decides where both have it and they differ. Where it does not, `changed_at` does: an event
gives way to whatever was written after it was heard, so a poll that began later wins, and so does one of which nobody knows.
What is wrongly kept that way is mended by the next poll, which gives way to an event only where the platform says that the
event is newer and it was written after the poll had begun.

In the conditions t is the row of the mirror and f the row that comes.
"""

import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import ClassVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

# A row that says of itself that it is over is not brought back by one that says so of the same moment.
_OVER = {
    "orders": "({0}.status IS NOT NULL AND {0}.status IN (3, 4, 5, 6))",
    "positions": "({0}.status IS NOT DISTINCT FROM 2)",
    "deals": "false",
}


@dataclass(frozen=True, slots=True)
class Heard:
    """A page of events. `since`: when the first of it was heard, on the clock of time.monotonic().

    `ours`: the `changed_at` of the rows that this stream wrote last, which came before whatever this page holds.
    """

    since: float
    ours: datetime | None = None
    NAME: ClassVar = "heard"


@dataclass(frozen=True, slots=True)
class Asked:
    """A page of a poll that began at `since`, on the clock of time.monotonic()."""

    since: float
    NAME: ClassVar = "asked"


Telling = Heard | Asked


async def given(connection: AsyncConnection, telling: Telling) -> dict[str, object]:
    """What the condition is given: the moment on the database's clock, a little early rather than late."""
    now: datetime = await connection.scalar(sa.text("SELECT clock_timestamp()"))
    since = now - timedelta(seconds=time.monotonic() - telling.since)
    return {"since": since} | ({"ours": telling.ours} if isinstance(telling, Heard) else {})


def condition(name: str, table: str) -> str:
    """Whether f may be written, as SQL; `name` is that of a kind of telling."""
    if name == Asked.NAME:
        return """(t.id IS NULL OR
            (t.changed_at >= :since AND t.updated_at > f.updated_at) IS NOT TRUE)"""
    over, is_over = _OVER[table].format("t"), _OVER[table].format("f")
    return f"""(t.id IS NULL OR CASE
        WHEN t.updated_at <> f.updated_at THEN t.updated_at < f.updated_at
            AND (t.deleted_at IS NULL OR t.changed_at <= :since)
        ELSE t.deleted_at IS NULL AND ({is_over} OR NOT {over})
            AND (t.changed_at <= :since
                OR t.changed_at = CAST(:ours AS timestamptz) OR t.changed_at = now())
        END)"""
