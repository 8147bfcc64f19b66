"""Transactions: the platform tells them account by account, so only those are asked whose money moved.

Asked are accounts never asked before, and accounts whose mirrored balance or credit is not what it was when they were last
asked. That misses movements that cancel each other out between two polls; a slow round over all accounts finds them.
"""

import asyncio
from datetime import timedelta

from counterfoil.domain.page import Page
from counterfoil.domain.priority import Priority
from counterfoil.platforms.base import Query
from counterfoil.pull import vanished
from counterfoil.pull.run import Ask, Listed, Run
from counterfoil.store.mirror import Account

TABLE = "transactions"
# Nothing of one account's pages is remembered for another but how large they may be.
_SHARED = "accounts"


async def pull(run: Run) -> None:
    """One poll: the accounts whose money moved, then a share of the slow round."""
    accounts = await run.mirror.accounts_to_ask(everyone=run.full)
    await _ask_all(run, accounts, Priority.NORMAL, whole=run.full)
    if run.round_share and run.complete:
        total = await run.mirror.count("accounts")
        due = await run.mirror.accounts_due(max(1, round(total * run.round_share)), older_than=run.round_length)
        await _ask_all(run, due, Priority.SWEEP, whole=True)
    if run.full or run.round_share:
        await _judge(run)


async def _ask_all(run: Run, accounts: list[Account], priority: Priority, *, whole: bool) -> None:
    """Several accounts at once, as many as may be under way; not complete when the time is over."""
    for at in range(0, len(accounts), run.pace.ahead):
        if run.out_of_time and not run.full:
            run.complete = False
            return
        some = accounts[at : at + run.pace.ahead]
        await asyncio.gather(*(_ask_one(run, account, priority, whole=whole) for account in some))
        run.progress(at + len(some), len(accounts))


async def _ask_one(run: Run, account: Account, priority: Priority, *, whole: bool) -> None:
    """All transactions of an account, or the newest down to one that is known."""
    known = await run.mirror.transaction_ids(account.id) if account.asked_before else set()
    reader = run.list_of(_of_account(run, account), _SHARED, priority=priority, descending=True)
    reader.ahead, reader.expected = 1, None
    everything = Page(columns=())
    async for page in reader.pages(prove=whole and bool(known)):
        _append(everything, page)
        if not whole and known.intersection(page.ids):
            break
    run.memory.lists[_SHARED] = Listed(capacity=reader.capacity)
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
    if missing and (run.accept_deletions or not await vanished.held_back(run, TABLE, missing)):
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
