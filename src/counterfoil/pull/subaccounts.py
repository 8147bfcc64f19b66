"""Copy sub-accounts: the platform tells them account by account, so those are asked whose money moved, and all in a slow round."""

from collections.abc import Iterable

from counterfoil.domain.errors import PausedError, PermanentError, TransientError
from counterfoil.domain.page import Page
from counterfoil.domain.priority import Priority
from counterfoil.pull.run import Run
from counterfoil.pull.snapshots import reader_of
from counterfoil.pull.transactions import MOST_UNREADABLE, due
from counterfoil.store.mirror import Account

TABLE = "subaccounts"


async def pull(run: Run) -> None:
    """One poll; not complete when the time is over.

    Raises:
        TransientError, PermanentError: at the end, when the sub-accounts of some account could not be read.
    """
    unreadable: list[Exception] = []
    await _ask(run, await run.mirror.accounts_to_ask(everyone=run.full), Priority.NORMAL, unreadable)
    if run.round_share and run.complete:
        await _ask(run, await due(run), Priority.SWEEP, unreadable)
    if unreadable:
        raise unreadable[0]


async def _of(run: Run, account: Account, priority: Priority) -> Page:
    try:
        return await reader_of(run).subaccounts(account.id, account.digits, priority)
    except PermanentError as error:
        # An account that is gone gets its tombstone with the accounts.
        if error.status in (404, 410):
            return Page(columns=())
        raise


async def _ask(run: Run, accounts: Iterable[Account], priority: Priority, unreadable: list[Exception]) -> None:
    """One after the other; what goes wrong with one of them alone is noted, so that the others are asked all the same."""
    for account in accounts:
        run.requests += 1
        try:
            page = await _of(run, account, priority)
        except PausedError:
            raise
        except (PermanentError, TransientError) as error:
            unreadable.append(error)
            if len(unreadable) > MOST_UNREADABLE:
                raise
        else:
            run.count(page, await run.mirror.asked([account], page, table=TABLE))
        if run.out_of_time and not run.full:
            run.complete = False
            return
