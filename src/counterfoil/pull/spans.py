"""Closing deals of a platform that lists them by spans of time: from the oldest account to now, then what is new.

Whether the platform's filter is about the time of opening or of closing is not settled (its text says the one, its example the
other), so every reading is right either way, and this is the one place where that is seen to:

- spans cover all time from the oldest account on, so the first reading and the sweep find every deal whichever time counts;
- new deals lie in the newest span when closing counts, or when the position was opened in it; a position that was opened earlier
  and is now closed, or smaller, is asked for by its time of opening (pull.positions), until a row has proven that closing
  counts; the cursor remembers the proof;
- each reading goes back over the newest 500 deals and ten minutes, for deals that are listed late.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Self

from counterfoil.domain.cursor import OVERLAP_IDS, OVERLAP_TIME
from counterfoil.domain.errors import TransientError
from counterfoil.domain.page import Page
from counterfoil.domain.priority import Priority
from counterfoil.observe import events
from counterfoil.platforms.base import Closings
from counterfoil.pull import vanished
from counterfoil.pull.run import Run
from counterfoil.pull.snapshots import reader_of
from counterfoil.store import closings

TABLE = "deals"
SWEEP = "sweep deals"
LONGEST = timedelta(days=2)
# A deal this much older than the newest reading of the open positions was known to it, whatever the clocks say.
_KNOWN_AFTER = timedelta(minutes=1)
# Positions that are added in one transaction.
_TOGETHER = 5_000
# The end of the newest span lies ahead, for a platform whose clock is ahead of what it said.
AHEAD = timedelta(hours=1)
_LONGEST_OVERLAP = LONGEST - 2 * AHEAD


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """How far closing deals have been read.

    `until`: every deal of an earlier span is in the mirror. `begun`: the first reading is complete. `by_closing`: see
    platforms.base.Closings. `buried`: the positions of the first reading's deals are in the mirror too.
    """

    until: datetime | None = None
    begun: bool = False
    by_closing: bool | None = None
    buried: bool = False

    @classmethod
    def load(cls, state: dict[str, Any] | None) -> Self:
        """From what the database kept."""
        given = dict(state or {})
        if given.get("until"):
            given["until"] = datetime.fromisoformat(given["until"])
        return cls(**given)

    def dump(self) -> dict[str, Any]:
        """For the database to keep."""
        return {**asdict(self), "until": self.until.isoformat() if self.until else None}

    def learnt(self, read: Closings) -> Self:
        """With what a span has proven."""
        return self if read.by_closing is None else replace(self, by_closing=read.by_closing)


async def pull(run: Run) -> None:
    """One poll: the first reading where it is not complete, else what is new; not complete when the time is over.

    Raises:
        TransientError: nobody knows yet when the oldest account was opened.
    """
    before = place = Place.load(await run.mirror.cursor(TABLE))
    since = place.until or await _beginning(run)
    asked_at = reader_of(run).now()
    if since is None:
        return
    if place.begun:
        since = await _overlapped(run, since)
    priority = Priority.NORMAL if place.begun else Priority.SWEEP
    first = None if place.begun else await closings.first_account_at(run.mirror)
    async with aclosing(_read(run, since, asked_at, priority)) as spans:
        async for end, read in spans:
            run.done = _share(first, end, asked_at)
            place = replace(place.learnt(read), until=max(place.until or since, min(end, asked_at)))
            await run.keep(TABLE, read.page, states={TABLE: place.dump()} if _moved(before, place) else None)
            before = place if _moved(before, place) else before
            await _bury(run, read.page)
            if run.out_of_time and not place.begun and end < asked_at:
                run.complete = False
                return
    if not place.begun:
        place = replace(place, begun=True, until=asked_at)
        await run.keep(TABLE, Page(columns=()), states={TABLE: place.dump()})
    if not place.buried and await _bury_the_rest(run):
        await run.keep(TABLE, Page(columns=()), states={TABLE: replace(place, buried=True).dump()})


def _share(first: datetime | None, reached: datetime, now: datetime) -> float | None:
    """How much of the time from the first account to now has been read."""
    return None if first is None or first >= now else min((reached - first) / (now - first), 1.0)


async def _beginning(run: Run) -> datetime | None:
    """Where the first reading begins; None when there is no account, and so no deal."""
    if await closings.read_at(run.mirror, "accounts") is None:
        raise TransientError("the accounts were never read to the end: nobody knows where their deals begin")
    return await closings.first_account_at(run.mirror)


def _moved(before: Place, after: Place) -> bool:
    """Whether the cursor is worth a write: a quiet poll writes nothing, and reads a few minutes more the next time."""
    far = before.until is None or after.until is None or after.until - before.until >= OVERLAP_TIME
    return far or (before.begun, before.by_closing) != (after.begun, after.by_closing)


async def _overlapped(run: Run, until: datetime) -> datetime:
    """Where the newest reading begins: far enough back for deals that are listed late, within one request."""
    newest = await closings.newest_deals_since(run.mirror, OVERLAP_IDS)
    since = until - OVERLAP_TIME if newest is None else min(until - OVERLAP_TIME, newest)
    return max(since, until - _LONGEST_OVERLAP)


async def _read(
    run: Run, since: datetime, now: datetime, priority: Priority
) -> AsyncGenerator[tuple[datetime, Closings], None]:
    """The spans from a moment to a little ahead of now, each with its end."""
    last = now + AHEAD
    while since < last:
        end = min(since + LONGEST, last)
        run.requests += 1
        yield end, await reader_of(run).closings(since, end, priority)
        since = end


async def _bury(run: Run, page: Page) -> None:
    """Positions that were over before anybody saw them open."""
    read_at = await closings.read_at(run.mirror, "positions") if page.ids else None
    if read_at is not None:
        await closings.bury(run.mirror, page.ids, read_at - _KNOWN_AFTER)


async def _bury_the_rest(run: Run) -> bool:
    """Those of deals that were read before the open positions were, once; False as long as these were not."""
    read_at, after = await closings.read_at(run.mirror, "positions"), 0
    if read_at is None:
        return False
    while deals := await closings.unburied(run.mirror, after, _TOGETHER):
        await closings.bury(run.mirror, deals, read_at - _KNOWN_AFTER)
        after = deals[-1]
    return True


async def around(run: Run, opened_at: datetime, priority: Priority) -> None:
    """The closing deals of positions that were opened at a moment, where the platform's filter is about opening."""
    run.requests += 1
    read = await reader_of(run).closings(opened_at - timedelta(seconds=1), opened_at + timedelta(seconds=1), priority)
    await run.keep(TABLE, read.page)


# --- the sweep ----------------------------------------------------------------------------------------------------------


async def sweep(run: Run) -> None:
    """All spans once more, for deals that came late and deals that are gone; not complete when the time is over."""
    state = await run.mirror.cursor(SWEEP) or {}
    first = await closings.first_account_at(run.mirror)
    if first is None:
        return
    if run.full or not state.get("since"):
        state = {"since": first.isoformat(), "late": 0}
    since, now = datetime.fromisoformat(state["since"]), reader_of(run).now()
    by_closing = Place.load(await run.mirror.cursor(TABLE)).by_closing
    async with aclosing(_read(run, since, now, Priority.SWEEP)) as spans:
        async for end, read in spans:
            await _note_missing(run, (since, end), read, by_closing)
            written = await run.keep(TABLE, read.page)
            await _bury(run, read.page)
            since = end
            state = {"since": end.isoformat(), "late": state["late"] + written.inserted}
            if run.out_of_time and not run.full and end < now:
                await run.keep(TABLE, Page(columns=()), states={SWEEP: state})
                done = (end - first) / (now - first)
                events.emit(events.SWEEP_PROGRESS, resource=TABLE, done=round(min(done, 1), 3), rows=run.seen)
                run.complete = False
                return
    deleted = await _judge(run)
    await run.keep(TABLE, Page(columns=()), states={SWEEP: {"since": None, "late": 0}})
    events.emit(events.SWEEP_FINISHED, resource=TABLE, late=state["late"], deleted=deleted)


async def _note_missing(
    run: Run,
    span: tuple[datetime, datetime],
    read: Closings,
    known_meaning: bool | None,  # noqa: FBT001 - no switch
) -> None:
    """What the mirror holds in a span and the platform does not list; nothing is missed on a list of unknown meaning."""
    meaning = known_meaning if read.by_closing is None else read.by_closing
    await run.mirror.present(TABLE, read.page.ids)
    if meaning is None or read.page.nameless:
        return
    # The end of the newest span is still being written.
    until = min(span[1], reader_of(run).now() - OVERLAP_TIME)
    known = await closings.deal_ids(run.mirror, span[0], until, by_closing=meaning)
    if missing := known.difference(read.page.ids):
        await run.mirror.missed(TABLE, missing)


async def _judge(run: Run) -> int:
    """Tombstone what two sweeps lacked; returns how many."""
    missed = await run.mirror.candidates(TABLE)
    before = run.written.deleted
    if run.accepts(TABLE):
        await vanished.declare(run, TABLE, sorted(missed))
    elif missed and not await vanished.held_back(run, TABLE, missed.keys()):
        twice = await run.mirror.missed_often(TABLE, vanished.LOOKS)
        await vanished.declare(run, TABLE, sorted(twice))
    return run.written.deleted - before
