"""Full listings: clients, accounts, groups, symbols, and per group commissions and group symbols.

Read whole at every poll, since the platform cannot say what changed. A page whose bytes are the same as last time is not
even decoded; a page that differs goes to the store, which touches only the rows that differ. What a complete listing lacks
is judged in pull.vanished.
"""

from counterfoil.domain.page import Page
from counterfoil.observe import events
from counterfoil.platforms.base import Query
from counterfoil.pull import vanished
from counterfoil.pull.reading import ListReader
from counterfoil.pull.run import Ask, Listed, Run

PER_GROUP = ("commissions", "group_symbols")


async def pull(run: Run) -> None:
    """One poll of the resource of this run."""
    ids, proven = await _read_all(run)
    if frozenset(ids) != run.memory.ids or run.accept_deletions:
        missing = await run.mirror.ids(run.resource) - ids
        if missing and not proven:
            ids, proven = await _read_all(run, prove=True)
            missing -= ids
        if proven or not missing:
            await vanished.judge(run, missing)
        else:
            events.emit(events.LISTING_INCOMPLETE, reason=f"{len(missing)} rows are missing in a list without an end")
    run.memory.ids = frozenset(ids)


async def _read_all(run: Run, *, prove: bool = False) -> tuple[set[int], bool]:
    """The ids of all lists of this resource, and whether each was read to the proof of its end."""
    ids: set[int] = set()
    proven = True
    for name, ask in await _lists(run):
        reader = run.list_of(ask, name)
        ids |= await _read(run, name, reader, prove=prove)
        proven = proven and reader.proven
    return ids, proven


async def _lists(run: Run) -> list[tuple[str, Ask]]:
    if run.resource not in PER_GROUP:
        return [("", run.page_of(run.resource))]
    return [(str(group), _of_group(run, group)) for group in await run.mirror.groups()]


def _of_group(run: Run, group: int) -> Ask:
    async def ask(query: Query) -> Page:
        return await run.reader.of_group(run.resource, group, query)

    return ask


async def _read(run: Run, name: str, reader: ListReader, *, prove: bool) -> set[int]:
    """Read one list into the mirror; returns the ids that it holds, those of unreadable records too."""
    ids: set[int] = set()
    listed = Listed(capacity=reader.capacity)
    async for page in reader.pages(prove=prove):
        ids.update(page.ids)
        await run.keep(run.resource, page)
        listed.pages[page.digest] = page if page.unchanged else page.remembered()
    listed.rows, listed.capacity = reader.position.rows, reader.capacity
    run.memory.lists[name] = listed
    return ids
