"""Open positions of a platform that lists them whole, and what became of those that are no longer listed."""

from collections.abc import Iterable

from counterfoil.domain.priority import Priority
from counterfoil.observe import events
from counterfoil.pull import snapshots, spans
from counterfoil.pull.live import LOOKS, MOST_LOOK_UPS
from counterfoil.pull.run import Run
from counterfoil.pull.spans import Place
from counterfoil.store import closings
from counterfoil.store.closings import Open

TABLE = "positions"


async def pull(run: Run) -> None:
    """One poll: the open positions, and the closing deals of those that left or shrank."""
    before = await closings.open_positions(run.mirror)
    listed, certain = await snapshots.read(run, Priority.OPEN)
    after = await closings.open_positions(run.mirror)
    departed = after.keys() - listed
    if departed and not certain:
        events.emit(events.LISTING_INCOMPLETE, reason=f"{len(departed)} rows are missing, and records without an id came")
        return
    await run.mirror.found(TABLE, besides=departed, listed=listed)
    shrunk = [key for key in before.keys() & listed if _smaller(after[key], before[key])]
    if not Place.load(await run.mirror.cursor(spans.TABLE)).by_closing:
        await _look_up(run, after, sorted({*departed, *shrunk}))
    left = departed - await closings.close(run.mirror, departed)
    if left:
        await _say_unresolved(run, sorted(left)[:MOST_LOOK_UPS])


def _smaller(now: Open, before: Open) -> bool:
    return now.volume is not None and before.volume is not None and now.volume < before.volume


async def _look_up(run: Run, known: dict[int, Open], wanted: list[int]) -> None:
    """Closing deals by the time of opening, a request for each moment; the others keep until the next run, or the sweep."""
    moments = {known[key].opened_at for key in wanted[:MOST_LOOK_UPS]}
    for opened_at in sorted(filter(None, moments)):
        await spans.around(run, opened_at, Priority.OPEN)


async def _say_unresolved(run: Run, left: Iterable[int]) -> None:
    """No closing deal tells of them yet; a position that is missed often is left as it is."""
    for record_id, looks in (await run.mirror.missed(TABLE, left)).items():
        if looks > 1:
            # The deal is usually read a moment later than the list that lacks its position.
            events.emit(events.POSITION_UNRESOLVED, record_id=record_id, looks=looks)
    await run.mirror.settle(TABLE, after_looks=LOOKS)
