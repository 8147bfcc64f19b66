"""Transactions: the platform tells them account by account, so only those are asked whose money moved.

Asked are accounts never asked before, and accounts whose mirrored balance or credit is not what it was when they were last
asked. That misses movements that cancel each other out between two polls; a slow round over all accounts finds them.
"""

import asyncio
import math
from contextlib import aclosing
from datetime import timedelta

from counterfoil.domain.errors import PausedError, PermanentError, TransientError
from counterfoil.domain.page import Page
from counterfoil.domain.paging import Order
from counterfoil.domain.priority import Priority
from counterfoil.platforms.base import Query
from counterfoil.pull import vanished
from counterfoil.pull.run import Ask, Listed, Run
from counterfoil.store.mirror import Account

TABLE = "transactions"
# Nothing of one account's pages is remembered for another but how large they may be.
_SHARED = "accounts"
# Accounts whose history cannot be read; with more of them the platform is to blame, and the run ends.
MOST_UNREADABLE = 10


async def pull(run: Run) -> None:
    """One poll: the accounts whose money moved, then a share of the slow round.

    Raises:
        TransientError, PermanentError: at the end, when the history of some account could not be read.
    """
    unreadable: list[Exception] = []
    await _ask_all(run, await run.mirror.accounts_to_ask(everyone=run.full), Priority.NORMAL, unreadable)
    if run.round_share and run.complete:
        await _ask_all(run, await _due(run), Priority.SWEEP, unreadable)
    if run.full or run.round_share:
        await _judge(run)
    if unreadable:
        raise unreadable[0]


async def _due(run: Run) -> list[Account]:
    """This run's share of the slow round, the longest unasked first; nobody is asked sooner than the round needs."""
    total = await run.mirror.count("accounts")
    share = max(1, math.ceil(total * run.round_share))
    round_takes = math.ceil(total / share) * run.round_share
    return await run.mirror.accounts_due(share, older_than=run.round_length * max(0.0, 1 - round_takes))


async def _ask_all(run: Run, accounts: list[Account], priority: Priority, unreadable: list[Exception]) -> None:
    """Several accounts at once, as many as may be under way; not complete when the time is over."""
    whole = run.full or priority is Priority.SWEEP
    for at in range(0, len(accounts), run.pace.ahead):
        if at and run.out_of_time and not run.full:
            run.complete = False
            return
        some = accounts[at : at + run.pace.ahead]
        try:
            async with asyncio.TaskGroup() as together:
                for account in some:
                    together.create_task(_ask_one(run, account, priority, unreadable, whole=whole))
        except ExceptionGroup as several:
            raise several.exceptions[0] from None
        run.progress(at + len(some), len(accounts))


async def _ask_one(run: Run, account: Account, priority: Priority, unreadable: list[Exception], *, whole: bool) -> None:
    """One account; what goes wrong with its history alone is noted, so that the others are asked all the same."""
    try:
        await _read(run, account, priority, whole=whole)
    except PausedError:
        raise
    except (PermanentError, TransientError) as error:
        # An account that is gone gets its tombstone with the accounts, and is not asked any more.
        if isinstance(error, PermanentError) and error.status in (404, 410):
            return
        unreadable.append(error)
        if len(unreadable) > MOST_UNREADABLE:
            raise


async def _read(run: Run, account: Account, priority: Priority, *, whole: bool) -> None:
    """All transactions of an account, or the newest down to one that is known."""
    known = await run.mirror.transaction_ids(account.id) if account.asked_before else set()
    reader = run.list_of(_of_account(run, account), _SHARED, priority=priority, order=Order.DESCENDING)
    reader.ahead, reader.expected, reader.end = 1, None, None
    everything = Page(columns=())
    async with aclosing(reader.pages(prove=whole and bool(known))) as pages:
        async for page in pages:
            _append(everything, page)
            if not whole and known.intersection(page.ids):
                break
    run.memory.lists[_SHARED] = Listed(capacity=max(reader.capacity, run.memory.listed(_SHARED).capacity))
    run.count(everything, await run.mirror.asked(account, everything))
    if whole and known:
        await _compare(run, known, everything, proven=reader.proven)


async def _compare(run: Run, known: set[int], everything: Page, *, proven: bool) -> None:
    """Note what an account's complete history lacks; it is judged when all accounts have been asked."""
    await run.mirror.present(TABLE, everything.ids)
    gone = known.difference(everything.ids)
    if gone and proven:
        await run.mirror.missed(TABLE, gone)


async def _judge(run: Run) -> None:
    """Decide on what was missed for the length of a round: until then nobody knows how much of the table it is."""
    older = timedelta(0) if run.full else run.round_length
    missing = set(await run.mirror.candidates(TABLE, older_than=older))
    if missing and (run.accepts(TABLE) or not await vanished.held_back(run, TABLE, missing)):
        await vanished.declare(run, TABLE, sorted(missing))


def _of_account(run: Run, account: Account) -> Ask:
    async def ask(query: Query) -> Page:
        return await run.reader.transactions(account.id, account.currency, query)

    return ask


def _append(whole: Page, part: Page) -> None:
    whole.columns = part.columns
    whole.rows += part.rows
    whole.ids += part.ids
    whole.lines += part.lines
    whole.line_ids += part.line_ids
    whole.rejected += part.rejected
