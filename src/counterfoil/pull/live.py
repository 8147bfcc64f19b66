"""Open positions and live orders: the live list whole, the history by id, and what left the one for the other.

A row that is no longer in the live list is never just deleted. In the same run the newest rows of the history are read,
which brings most of what was closed; the rest is asked for by id, and where the platform does not answer for closed ones,
looked for in the history, which is sorted by id.
"""

from counterfoil.domain.page import Page
from counterfoil.domain.priority import Priority
from counterfoil.observe import events
from counterfoil.platforms.base import Query
from counterfoil.pull import history
from counterfoil.pull.run import Listed, Run

# Rows looked up in one run; the others keep until the next.
MOST_LOOK_UPS = 100
# A row that is in no live list and says of itself so often that it is live is left as it is; the sweep still sees it.
LOOKS = 5
# Halvings of a history of 2**40 rows.
MOST_HALVINGS = 40


async def pull(run: Run) -> None:
    """One poll of positions or orders."""
    priority = Priority.OPEN if run.resource == "positions" else Priority.NORMAL
    listed = await _read_live(run, priority)
    await history.pull(run, f"{run.resource}_history", run.resource, priority=priority, live=max(listed, default=0))
    await _look_up_the_departed(run, listed, priority)


async def _read_live(run: Run, priority: Priority) -> set[int]:
    """The ids of the live list, read to the proof of its end when any known one is missing."""
    reader = run.list_of(run.page_of(run.resource), "live", priority=priority)
    known = await run.mirror.ids(run.resource, live=True)
    remembered = Listed(capacity=reader.capacity)
    ids: set[int] = set()
    for prove in (False, True):
        async for page in reader.pages(prove=prove):
            ids.update(page.ids)
            await run.keep(run.resource, page)
            remembered.pages[page.digest] = page if page.unchanged else page.remembered()
        if reader.proven or known <= ids:
            break
    remembered.rows, remembered.capacity = reader.position.rows, reader.capacity
    run.memory.lists["live"] = remembered
    return ids


async def _look_up_the_departed(run: Run, listed: set[int], priority: Priority) -> None:
    departed = await run.mirror.ids(run.resource, live=True) - listed
    await run.mirror.found(run.resource, besides=departed, listed=listed)
    asked = sorted(departed)[:MOST_LOOK_UPS]
    for record_id in asked:
        page = await run.single(run.resource, record_id, priority) or await _find(run, record_id)
        if page is not None:
            await run.keep(run.resource, page)
    if not asked:
        return
    undecided = (await run.mirror.ids(run.resource, live=True)).intersection(asked)
    for record_id, looks in (await run.mirror.missed(run.resource, undecided)).items():
        _say_unresolved(run.resource, record_id, looks)
    await run.mirror.settle(run.resource, after_looks=LOOKS)


def _say_unresolved(resource: str, record_id: int, looks: int) -> None:
    if resource == "positions":
        events.emit(events.POSITION_UNRESOLVED, record_id=record_id, looks=looks)
    else:
        events.emit(events.ORDER_UNRESOLVED, record_id=record_id, looks=looks)


async def _find(run: Run, record_id: int) -> Page | None:
    """The page of one record in the history, found by halving: the list is sorted by id and can be asked row by row."""
    low, high = 0, 1
    while (first := await _row(run, high)) is not None and first < record_id:
        low, high = high, high * 2
    for _ in range(MOST_HALVINGS):
        if low >= high:
            break
        middle = (low + high) // 2
        at = await _row(run, middle)
        low, high = (middle + 1, high) if at is not None and at < record_id else (low, middle)
    page = await _ask(run, low)
    return page if record_id in page.ids else None


async def _row(run: Run, row: int) -> int | None:
    """The id at one row of the history; None behind its end."""
    page = await _ask(run, row)
    return page.ids[0] if page.ids else None


async def _ask(run: Run, row: int) -> Page:
    run.requests += 1
    query = Query(page=row + 1, limit=1, priority=Priority.NORMAL)
    return await run.reader.page(f"{run.resource}_history", query)
