"""Full listings: clients, accounts, groups, symbols, and per group commissions and group symbols.

Read whole at every poll, since the platform cannot say what changed. A page whose bytes are the same as last time is not
even decoded; a page that differs goes to the store, which touches only the rows that differ. What a complete listing lacks
is judged in pull.vanished.
"""

from collections.abc import Set as AbstractSet

from counterfoil.domain.errors import PermanentError
from counterfoil.domain.page import Page
from counterfoil.observe import events
from counterfoil.platforms.base import Query
from counterfoil.pull import vanished
from counterfoil.pull.run import Ask, Run
from counterfoil.pull.whole import WholeList

PER_GROUP = ("commissions", "group_symbols")


async def pull(run: Run) -> None:
    """One poll of the resource of this run."""
    lists = await _lists(run)
    for one in lists:
        await one.read()
    if _ids(lists) == run.memory.ids and not run.accepts(run.resource):
        return
    for one in lists:
        await one.refuse_cap()
    if missing := await _missing(run, lists):
        for one in lists:
            await one.read(prove=True)
        missing -= _ids(lists)
    if not missing or all(one.reader.proven for one in lists):
        await vanished.judge(run, missing)
    else:
        events.emit(
            events.LISTING_INCOMPLETE, reason=f"{len(missing)} rows are missing in a list without a certain end"
        )
    # What is not decided yet is looked at again, even if nothing changes until then.
    run.memory.ids = None if await _missing(run, lists) else frozenset(_ids(lists))


def _ids(lists: list[WholeList]) -> AbstractSet[int]:
    return lists[0].ids if len(lists) == 1 else set().union(*(one.ids for one in lists))


async def _missing(run: Run, lists: list[WholeList]) -> set[int]:
    """What the mirror holds and no list does."""
    return await run.mirror.ids(run.resource) - _ids(lists)


async def _lists(run: Run) -> list[WholeList]:
    if run.resource not in PER_GROUP:
        return [WholeList(run, run.page_of(run.resource))]
    return [WholeList(run, _of_group(run, group), str(group)) for group in await run.mirror.groups()]


def _of_group(run: Run, group: int) -> Ask:
    async def ask(query: Query) -> Page:
        try:
            return await run.reader.of_group(run.resource, group, query)
        except PermanentError as error:
            if error.status not in (404, 410):
                raise
            # The group is gone, and what it held with it; its own tombstone comes with the next pull of the groups.
            return Page(columns=())

    return ask
