"""Open positions of a platform that lists them whole, and what became of those that are no longer listed."""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime

from counterfoil.domain.priority import Priority
from counterfoil.observe import events
from counterfoil.pull import snapshots, spans, vanished
from counterfoil.pull.live import LOOKS, MOST_LOOK_UPS
from counterfoil.pull.run import Run
from counterfoil.pull.snapshots import reader_of
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
        events.emit(
            events.LISTING_INCOMPLETE, reason=f"{len(departed)} rows are missing, and records without an id came"
        )
        return
    if departed:
        # An account that is gone takes what it held with it.
        await vanished.declare(run, TABLE, await closings.orphaned(run.mirror, departed))
    await run.mirror.found(TABLE, besides=departed, listed=listed)
    awaited = departed & await run.mirror.ids(TABLE, live=True) if departed else set()
    shrunk = {key for key in before.keys() & listed if _smaller(after[key], before[key])}
    place = Place.load(await run.mirror.cursor(spans.TABLE))
    if not place.by_closing:
        await _look_up(run, after, sorted({*awaited, *shrunk, *(run.memory.ids or ())}), shrunk)
    await _close(run, awaited, departed - awaited, patient=not place.begun)


async def _close(run: Run, awaited: AbstractSet[int], given_up: AbstractSet[int], *, patient: bool) -> None:
    """Close what has a closing deal: one that is new, unless it was looked for often enough.

    `patient`: closing deals are being read for the first time, and these have not been come to yet.
    """
    ahead = reader_of(run).now() - datetime.now(UTC)
    left = awaited - await closings.close(run.mirror, awaited, ahead=ahead)
    if left and not patient:
        await _say_unresolved(run, sorted(left)[:MOST_LOOK_UPS])
    if late := await closings.close(run.mirror, given_up, ahead=None):
        await run.mirror.present(TABLE, late)


def _smaller(now: Open, before: Open) -> bool:
    return now.volume is not None and before.volume is not None and now.volume < before.volume


async def _look_up(run: Run, known: Mapping[int, Open], wanted: Sequence[int], shrunk: AbstractSet[int]) -> None:
    """Closing deals by the time of opening, a request for each moment; the others keep until the next run, or the sweep.

    What shrank is looked up in the next run again, for its deal may be listed a moment later than the smaller volume.
    """
    moments = {known[key].opened_at for key in wanted[:MOST_LOOK_UPS] if key in known}
    for opened_at in sorted(filter(None, moments)):
        await spans.around(run, opened_at, Priority.OPEN)
    run.memory.ids = frozenset({*shrunk, *wanted[MOST_LOOK_UPS:]})


async def _say_unresolved(run: Run, left: Iterable[int]) -> None:
    """No closing deal tells of them yet; a position that is missed often is left as it is."""
    for record_id, looks in (await run.mirror.missed(TABLE, left)).items():
        if looks > 1:
            # The deal is usually read a moment later than the list that lacks its position.
            events.emit(events.POSITION_UNRESOLVED, record_id=record_id, looks=looks)
    await run.mirror.settle(TABLE, after_looks=LOOKS)
