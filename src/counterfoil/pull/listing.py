"""Full listings: clients, accounts, groups, symbols, and per group commissions and group symbols.

Read whole at every poll, since the platform cannot say what changed. A page whose bytes are the same as last time is not
even decoded; a page that differs goes to the store, which touches only the rows that differ. What a complete listing lacks
is judged in pull.vanished.
"""

from array import array

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
    if _as_before(lists, run.memory.order) and not run.accepts(run.resource):
        return
    for one in lists:
        await one.refuse_cap()
    if missing := await run.mirror.missing(run.resource, _ids(lists)):
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
    undecided = missing and await run.mirror.missing(run.resource, _ids(lists))
    run.memory.order = None if undecided else [one.listed for one in lists]


def _ids(lists: list[WholeList]) -> set[int]:
    return set().union(*(one.listed for one in lists))


def _as_before(lists: list[WholeList], order: "list[array[int]] | None") -> bool:
    """Whether the lists hold what they held, as a glance shows where it is even in the same order."""
    if order is None or [one.listed for one in lists] == order:
        return order is not None
    return _ids(lists) == set().union(*order)


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
