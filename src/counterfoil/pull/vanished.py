"""When is a row gone? Never on one incomplete look, never many at once without a person.

Rows that a complete listing lacks are asked for one by one where the platform has a way to ask, and are tombstoned when it
says that they do not exist; where it has none, a second complete listing must lack them too. More than a fifth of a table
(and more than ten rows) at once is held back: a platform that lost sight of its data looks just like that.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from counterfoil.domain.priority import Priority
from counterfoil.observe import events
from counterfoil.pull.run import Run

FEW = 10
SHARE = 0.2
LOOKS = 2
# Rows asked for one by one in one run; the others keep until the next.
MOST_QUESTIONS = 200


async def judge(run: Run, missing: AbstractSet[int]) -> None:
    """Decide on rows that a complete listing of the run's resource lacked."""
    table = run.resource
    await run.mirror.found(table, besides=missing)
    if not missing:
        return
    if run.accepts(table):
        await declare(run, table, sorted(missing))
    elif await held_back(run, table, missing):
        return
    elif run.reader.can_read_singly(table):
        await confirm(run, table, sorted(missing)[:MOST_QUESTIONS])
    else:
        looks = await run.mirror.missed(table, missing)
        await declare(run, table, [row for row, times in looks.items() if times >= LOOKS])


async def held_back(run: Run, table: str, missing: AbstractSet[int]) -> bool:
    """Whether so many are missing that a person must decide; they are then kept as held, and said once."""
    live = await run.mirror.count(table)
    if len(missing) <= FEW or len(missing) <= live * SHARE:
        return False
    held = {row for row, state in (await run.mirror.candidates(table)).items() if state == "held"}
    if not missing <= held:
        await run.mirror.missed(table, missing, state="held")
        share = round(len(missing) / live, 3)
        events.emit(events.DELETIONS_HELD_BACK, resource=table, vanished=len(missing), live=live, share=share)
    return True


async def confirm(run: Run, table: str, missing: Sequence[int]) -> None:
    """Ask for each row: those that the platform does not have get tombstones, the others are written as it gives them."""
    gone = []
    for record_id in missing:
        page = await run.single(table, record_id, Priority.SWEEP)
        if page is None:
            gone.append(record_id)
        else:
            await run.keep(table, page)
    await declare(run, table, gone)


async def declare(run: Run, table: str, gone: Sequence[int]) -> None:
    """Tombstone rows and count them."""
    deleted = await run.mirror.tombstone(table, gone)
    run.deleted(deleted)
    if run.accepts(table) and deleted:
        events.emit(events.DELETIONS_ACCEPTED, resource=table, deleted=deleted)
