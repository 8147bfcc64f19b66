"""Open positions and live orders: the live list whole, the history by id, and what left the one for the other.

A row that is no longer in the live list is never just deleted. In the same run the newest rows of the history are read,
which brings most of what was closed; the rest is asked for by id, and where the platform does not answer for closed ones,
looked for in the history, which is sorted by id.
"""

from counterfoil.domain.priority import Priority
from counterfoil.observe import events
from counterfoil.pull import history
from counterfoil.pull.finding import Finder
from counterfoil.pull.run import Run
from counterfoil.pull.whole import WholeList

# Rows looked up in one run; the others keep until the next.
MOST_LOOK_UPS = 100
# A row that is in no live list and says of itself so often that it is live is left as it is; the sweep still sees it.
LOOKS = 5


async def pull(run: Run) -> None:
    """One poll of positions or orders."""
    priority = Priority.OPEN if run.resource == "positions" else Priority.NORMAL
    known, listed = await _read_live(run, priority)
    await history.pull(run, _history(run), run.resource, priority=priority, live=max(listed, default=0))
    if run.complete:
        await _look_up_the_departed(run, known, listed, priority)


def _history(run: Run) -> str:
    return f"{run.resource}_history"


async def _read_live(run: Run, priority: Priority) -> tuple[set[int], set[int]]:
    """Live rows that were known before, and the ids of the live list, read to the proof of its end when any known is missing."""
    live = WholeList(run, run.page_of(run.resource), "live", priority)
    known = await run.mirror.ids(run.resource, live=True)
    await live.read()
    listed = live.ids
    if frozenset(listed) != run.memory.ids:
        await live.refuse_cap()
        if not known <= live.ids:
            await live.read(prove=True)
        listed = live.ids
        run.memory.ids = frozenset(listed)
    return known, listed


async def _look_up_the_departed(run: Run, known: set[int], listed: set[int], priority: Priority) -> None:
    departed = await run.mirror.ids(run.resource, live=True) - listed
    if run.streamed:
        # An event may have brought a row after the list was read, which is no reason to look for it.
        departed &= known
    await run.mirror.found(run.resource, besides=departed, listed=listed)
    asked = sorted(departed)[:MOST_LOOK_UPS]
    if not asked:
        return
    finder = Finder(run, _history(run), priority)
    for record_id in asked:
        page = await run.single(run.resource, record_id, priority) or await finder.find(record_id)
        if page is not None:
            await run.keep(run.resource, page)
    undecided = (await run.mirror.ids(run.resource, live=True)).intersection(asked)
    if not undecided:
        return
    for record_id, looks in (await run.mirror.missed(run.resource, undecided)).items():
        _say_unresolved(run.resource, record_id, looks)
    await run.mirror.settle(run.resource, after_looks=LOOKS)


def _say_unresolved(resource: str, record_id: int, looks: int) -> None:
    if resource == "positions":
        events.emit(events.POSITION_UNRESOLVED, record_id=record_id, looks=looks)
    else:
        events.emit(events.ORDER_UNRESOLVED, record_id=record_id, looks=looks)
