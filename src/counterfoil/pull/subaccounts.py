"""Copy sub-accounts: the platform tells them account by account, so those are asked whose money moved, and all in a slow round."""

from collections.abc import Iterable

from counterfoil.domain.errors import PermanentError
from counterfoil.domain.page import Page
from counterfoil.domain.priority import Priority
from counterfoil.pull.run import Run
from counterfoil.pull.snapshots import reader_of
from counterfoil.pull.transactions import due
from counterfoil.store.mirror import Account

TABLE = "subaccounts"


async def pull(run: Run) -> None:
    """One poll; not complete when the time is over."""
    await _ask(run, await run.mirror.accounts_to_ask(everyone=run.full), Priority.NORMAL)
    if run.round_share and run.complete:
        await _ask(run, await due(run), Priority.SWEEP)


async def _of(run: Run, account: Account, priority: Priority) -> Page:
    try:
        return await reader_of(run).subaccounts(account.id, account.digits, priority)
    except PermanentError as error:
        # An account that is gone gets its tombstone with the accounts.
        if error.status in (404, 410):
            return Page(columns=())
        raise


async def _ask(run: Run, accounts: Iterable[Account], priority: Priority) -> None:
    for account in accounts:
        run.requests += 1
        page = await _of(run, account, priority)
        run.count(page, await run.mirror.asked([account], page, table=TABLE))
        if run.out_of_time:
            run.complete = False
            return
