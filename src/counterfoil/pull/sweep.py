"""The sweep: every history compared from end to end, for rows that came late and rows that are gone.

The pages are read in the order of their ids, each overlapping the one before, so each page settles one span of ids: what
the mirror holds in that span and the page lacks is missed. The sweep goes at the lowest priority, keeps its place at every
page, and judges what it missed when it has seen everything.
"""

from counterfoil.domain.page import Page
from counterfoil.domain.priority import Priority
from counterfoil.observe import events
from counterfoil.pull import vanished
from counterfoil.pull.reading import Position
from counterfoil.pull.run import Run
from counterfoil.store.cursors import State
from counterfoil.store.mirror import LIVE

# The list to read, and the table that it fills.
HISTORIES = {"orders": "orders_history", "positions": "positions_history", "deals": "deals"}


# Below every id: the first page settles what lies before it too.
_BEFORE_ALL = -(2**63)


async def pull(run: Run) -> None:
    """Sweep every history, going on where an earlier run stopped; not complete when the time is over."""
    places = {table: await run.mirror.cursor(_place(table)) or {} for table in HISTORIES}
    if run.full or all(state.get("done") for state in places.values()):
        places = {table: {} for table in HISTORIES}
    for table, state in places.items():
        if not state.get("done"):
            await sweep(run, table, state)
        if not run.complete:
            return


async def sweep(run: Run, table: str, state: State) -> None:
    """Compare one history from end to end, from the place that `state` tells."""
    before = run.written
    state = state or {"rows": 0, "last": _BEFORE_ALL, "top": await run.mirror.highest(table)}
    reader = run.list_of(run.page_of(HISTORIES[table]), _place(table), priority=Priority.SWEEP)
    reader.expected = await run.mirror.count(table)
    reader.position = Position(state["rows"], state["last"] if state["rows"] else None)
    async for page in reader.pages(prove=True):
        state = await _settle_page(run, table, page, state | {"rows": reader.position.rows})
        if run.out_of_time and not run.full:
            done = min(1.0, reader.position.rows / max(1, reader.expected))
            events.emit(events.SWEEP_PROGRESS, resource=table, done=round(done, 3), rows=reader.position.rows)
            run.complete = False
            return
    if reader.proven:
        await _judge(run, table, state)
    await run.mirror.write(table, Page(columns=()), states={_place(table): {"done": True}})
    late, deleted = run.written.inserted - before.inserted, run.written.deleted - before.deleted
    events.emit(events.SWEEP_FINISHED, resource=table, late=late, deleted=deleted)


def _place(table: str) -> str:
    return f"sweep {table}"


async def _settle_page(run: Run, table: str, page: Page, state: State) -> State:
    """Write a page and note what the mirror holds in its span of ids and the page lacks."""
    if page.ascending and page.ids:
        await _miss(run, table, page, after=state["last"])
        state = state | {"last": max(page.ids[-1], state["last"])}
    run.count(page, await run.mirror.write(table, page, states={_place(table): state}), None)
    return state


async def _miss(run: Run, table: str, page: Page, *, after: int) -> None:
    await run.mirror.present(table, page.ids)
    held = await run.mirror.ids(table, after=after, until=page.ids[-1])
    missing = held.difference(page.ids) - await _listed_elsewhere(run, table)
    if missing:
        await run.mirror.missed(table, missing)


async def _listed_elsewhere(run: Run, table: str) -> set[int]:
    """Live orders and positions are not in the history yet."""
    return await run.mirror.ids(table, live=True) if table in LIVE else set()


async def _judge(run: Run, table: str, state: State) -> None:
    missing = set(await run.mirror.candidates(table))
    if state["top"] is not None and state["top"] > state["last"]:
        beyond = await run.mirror.ids(table, after=state["last"], until=state["top"])
        missing |= beyond - await _listed_elsewhere(run, table)
    if missing and (run.accept_deletions or not await vanished.held_back(run, table, missing)):
        await vanished.confirm(run, table, missing)
        await run.mirror.found(table)
