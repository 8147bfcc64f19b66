"""The sweep: every history compared from end to end, for rows that came late and rows that are gone.

The pages are read in the order of their ids, each overlapping the one before, so each page settles one span of ids: what
the mirror holds in that span and the page lacks is missed. The sweep goes at the lowest priority, keeps its place at every
page, and judges what it missed when it has seen everything.
"""

from collections.abc import Set as AbstractSet
from contextlib import aclosing

from counterfoil.domain.page import Page
from counterfoil.domain.paging import Order, order_of
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
    places = {table: await run.mirror.cursor(place(table)) or {} for table in HISTORIES}
    if run.full or all(state.get("done") for state in places.values()):
        places = {table: {} for table in HISTORIES}
    for table, state in places.items():
        if not state.get("done"):
            await sweep(run, table, state)
        if not run.complete:
            return


async def sweep(run: Run, table: str, state: State) -> None:
    """Compare one history from end to end, from the place that `state` tells."""
    deleted = run.written.deleted
    state = state or {"rows": 0, "last": _BEFORE_ALL, "top": await run.mirror.highest(table) or 0}
    begun_at = state["last"]
    # A row may leave the live list for the history after the page was read in which it would have been.
    live = await _live(run, table)
    reader = run.list_of(run.page_of(HISTORIES[table]), place(table), priority=Priority.SWEEP, once=True)
    reader.expected = await run.mirror.count(table)
    reader.position = Position(state["rows"], state["last"] if state["rows"] else None)
    async with aclosing(reader.pages(prove=True)) as pages:
        async for page in pages:
            state = {**state, "rows": reader.position.rows}
            state = await _settle_page(run, table, page, state, live)
            if run.out_of_time and not run.full and not reader.ended and state["last"] != begun_at:
                done = min(1.0, reader.position.rows / max(1, reader.expected))
                await _keep_place(run, table, state)
                events.emit(events.SWEEP_PROGRESS, resource=table, done=round(done, 3), rows=reader.position.rows)
                run.complete = False
                return
    if not reader.proven or reader.order is not Order.ASCENDING:
        events.emit(events.LISTING_INCOMPLETE, resource=table, reason="no certain end, or not sorted by id")
    elif not await _judge(run, table, state):
        # It wrote, too.
        await _keep_place(run, table, {**state, "judged": state.get("judged", 0) + 1})
        return
    await _keep_place(run, table, {"done": True})
    events.emit(events.SWEEP_FINISHED, resource=table, late=state.get("late", 0), deleted=run.written.deleted - deleted)


def place(table: str) -> str:
    """The name of the cursor that says how far the sweep of a table has come; it moves whenever that wrote anything."""
    return f"sweep {table}"


async def _keep_place(run: Run, table: str, state: State) -> None:
    await run.mirror.write(table, Page(columns=()), states={place(table): state})


async def _settle_page(run: Run, table: str, page: Page, state: State, live: AbstractSet[int]) -> State:
    """Write a page and note what the mirror holds in its span of ids and the page lacks."""
    await run.mirror.present(table, page.ids)
    if order_of(page.ids) not in (Order.ASCENDING, None):
        state = {**state, "last": page.ids[-1]}
    elif page.ids[-1] > state["last"]:
        # What is newer than the sweep may have come into the mirror after the page was read.
        until = min(page.ids[-1], state["top"])
        missing = (await run.mirror.ids(table, after=state["last"], until=until)).difference(page.ids, live)
        if missing:
            await run.mirror.missed(table, missing)
        state = {**state, "last": page.ids[-1]}
    written = await run.keep(table, page, states={place(table): state})
    return {**state, "late": state.get("late", 0) + written.inserted}


async def _live(run: Run, table: str) -> set[int]:
    """Live orders and positions, which are not in the history yet."""
    return await run.mirror.ids(table, live=True) if table in LIVE else set()


async def _judge(run: Run, table: str, state: State) -> bool:
    """Decide on what was missed; False when the time is over before all was asked for."""
    missing = set(await run.mirror.candidates(table))
    if state["top"] > state["last"]:
        missing |= await run.mirror.ids(table, after=state["last"], until=state["top"])
    missing -= await _live(run, table)
    await run.mirror.found(table, besides=missing)
    if run.accepts(table):
        await vanished.declare(run, table, sorted(missing))
        return True
    if missing and await vanished.held_back(run, table, missing):
        return True
    ordered = sorted(missing)
    for at in range(0, len(ordered), vanished.MOST_QUESTIONS):
        if at and run.out_of_time and not run.full:
            run.complete = False
            return False
        asked = ordered[at : at + vanished.MOST_QUESTIONS]
        await vanished.confirm(run, table, asked)
        await run.mirror.present(table, asked)
    return True
