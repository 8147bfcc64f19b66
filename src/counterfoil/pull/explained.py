"""Transactions of a platform that tells none: nothing is asked, what the mirror holds is compared with what we did ourselves."""

from counterfoil.domain.page import Page
from counterfoil.observe import events
from counterfoil.pull.run import Run
from counterfoil.store import explaining
from counterfoil.store.explaining import Explained

# Accounts that are looked at in one transaction, which keeps others from drawing versions.
TOGETHER = 5_000


async def pull(run: Run) -> None:
    """One look: operations of ours that were confirmed, and money that neither they nor deals explain."""
    state = await run.mirror.cursor(run.resource)
    moved = await explaining.moved(run.mirror, state, everything=run.full)
    inferred = withdrawn = 0
    for at in range(0, len(moved.accounts), TOGETHER):
        some = moved.accounts[at : at + TOGETHER]
        explained = await explaining.explain(run.mirror, some, state, infer=moved.both_read)
        _count(run, explained, len(some))
        inferred, withdrawn = inferred + explained.inferred, withdrawn + explained.withdrawn
        run.progress(at + len(some), len(moved.accounts))
    if moved.accounts or _versions(state) != _versions(moved.seen):
        await run.keep(run.resource, Page(columns=()), states={run.resource: moved.seen})
    if inferred or withdrawn:
        events.emit(events.TRANSACTIONS_INFERRED, inferred=inferred, withdrawn=withdrawn)


def _versions(state: dict[str, object] | None) -> dict[str, object]:
    return {name: seen for name, seen in (state or {}).items() if name != "confirmed"}


def _count(run: Run, explained: Explained, accounts: int) -> None:
    run.seen += accounts
    run.written += explained.written
    for record_id, reference in explained.taken:
        events.emit(events.OPERATION_RECORD_TAKEN, record_id=record_id, reference=reference)
