"""Lists that a platform gives whole: every poll reads them, and touches only the rows that differ."""

from contextlib import aclosing

from counterfoil.domain.errors import BrokenInvariantError
from counterfoil.domain.priority import Priority
from counterfoil.observe import events
from counterfoil.platforms.base import SnapshotReader
from counterfoil.pull import vanished
from counterfoil.pull.run import Listed, Run


def reader_of(run: Run) -> SnapshotReader:
    """The platform of a run, as these pulls see it."""
    if not isinstance(run.reader, SnapshotReader):
        raise BrokenInvariantError(f"{run.resource} is pulled as a snapshot from a platform that gives none")
    return run.reader


async def pull(run: Run) -> None:
    """One poll of the resource of this run."""
    ids, certain = await read(run, Priority.NORMAL)
    if frozenset(ids) == run.memory.ids and not run.accepts(run.resource):
        return
    missing = await run.mirror.ids(run.resource) - ids
    if missing and not certain:
        events.emit(
            events.LISTING_INCOMPLETE, reason=f"{len(missing)} rows are missing, and records without an id came"
        )
    else:
        await vanished.judge(run, missing)
    # What is not decided yet is looked at again, even if nothing changes until then.
    run.memory.ids = None if await run.mirror.ids(run.resource) - ids else frozenset(ids)


async def read(run: Run, priority: Priority) -> tuple[set[int], bool]:
    """The whole list into the mirror; its ids, and whether every record told its own."""
    remembered, known = run.memory.listed("").pages, run.known(run.resource, "")
    ids: set[int] = set()
    certain = True
    async with aclosing(reader_of(run).snapshot(run.resource, remembered, priority)) as pages:
        async for page in pages:
            run.requests += 1
            ids.update(page.ids)
            certain = certain and page.nameless == 0
            await run.keep(run.resource, known.less(page))
    run.memory.lists[""] = Listed(known.remembered())
    return ids, certain
