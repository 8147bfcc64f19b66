"""Transactions: the platform tells them account by account, so only those are asked whose money moved.

Asked are accounts never asked before, and accounts whose mirrored balance or credit is not what it was when they were last
asked, unless trading explains it; and accounts of which a deal tells that they should have a transaction that they lack. That
misses movements that cancel each other out between two polls where no deal tells of them; a slow round over all accounts finds them.
"""

import asyncio
import math
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta

from counterfoil.domain.errors import PausedError, PermanentError, TransientError
from counterfoil.domain.page import Page
from counterfoil.domain.paging import Order
from counterfoil.domain.priority import Priority
from counterfoil.platforms.base import Query
from counterfoil.pull import vanished
from counterfoil.pull.run import Ask, Listed, Run
from counterfoil.store import trading
from counterfoil.store.mirror import Account

TABLE = "transactions"
# Nothing of one account's pages is remembered for another but how large they may be.
_SHARED = "accounts"
# Accounts whose history cannot be read; with more of them the platform is to blame, and the run ends.
MOST_UNREADABLE = 10
# Accounts whose answers are written in one transaction, as a multiple of the requests under way at once.
TOGETHER = 8


@dataclass(frozen=True, slots=True)
class _Question:
    """What to ask of an account; `known`: its transactions that the mirror holds; `whole`: all, not only the newest."""

    account: Account
    known: set[int]
    priority: Priority
    whole: bool


@dataclass(frozen=True, slots=True)
class _Answer:
    question: _Question
    page: Page
    proven: bool


async def pull(run: Run) -> None:
    """One poll: the accounts whose money moved, then a share of the slow round.

    Raises:
        TransientError, PermanentError: at the end, when the history of some account could not be read.
    """
    unreadable: list[Exception] = []
    await trading.doubt(run.mirror)
    accounts = await run.mirror.accounts_to_ask(everyone=run.full)
    if not run.full and any(account.asked_before for account in accounts) and await trading.settle(run.mirror):
        accounts = await run.mirror.accounts_to_ask()
    await _ask_all(run, accounts, Priority.NORMAL, unreadable)
    if run.round_share and run.complete:
        await _ask_all(run, await due(run), Priority.SWEEP, unreadable)
    if run.full or run.round_share:
        await _judge(run)
    if unreadable:
        raise unreadable[0]


async def due(run: Run) -> list[Account]:
    """This run's share of the slow round, the longest unasked first; nobody is asked sooner than the round needs."""
    total = await run.mirror.count("accounts")
    share = max(1, math.ceil(total * run.round_share))
    round_takes = math.ceil(total / share) * run.round_share
    return await run.mirror.accounts_due(share, older_than=run.round_length * max(0.0, 1 - round_takes))


async def _ask_all(run: Run, accounts: list[Account], priority: Priority, unreadable: list[Exception]) -> None:
    """Some accounts together, whose answers share one transaction; not complete when the time is over."""
    whole = run.full or priority is Priority.SWEEP
    together = run.pace.ahead * TOGETHER
    for at in range(0, len(accounts), together):
        if at and run.out_of_time and not run.full:
            run.complete = False
            return
        some = accounts[at : at + together]
        await _keep(run, await _ask_together(run, some, priority, unreadable, whole=whole))
        run.progress(at + len(some), len(accounts))


async def _ask_together(
    run: Run, some: list[Account], priority: Priority, unreadable: list[Exception], *, whole: bool
) -> list[_Answer]:
    known = await run.mirror.transaction_ids([account.id for account in some if account.asked_before])
    places = asyncio.Semaphore(run.pace.ahead)

    async def ask(account: Account) -> _Answer | None:
        async with places:
            return await _ask_one(run, _Question(account, known[account.id], priority, whole), unreadable)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(ask(account)) for account in some]
    except ExceptionGroup as several:
        raise several.exceptions[0] from None
    return [answer for task in tasks if (answer := task.result()) is not None]


async def _ask_one(run: Run, question: _Question, unreadable: list[Exception]) -> _Answer | None:
    """One account; what goes wrong with its history alone is noted, so that the others are asked all the same."""
    try:
        return await _read(run, question)
    except PausedError:
        raise
    except (PermanentError, TransientError) as error:
        # An account that is gone gets its tombstone with the accounts, and is not asked any more.
        if isinstance(error, PermanentError) and error.status in (404, 410):
            return None
        unreadable.append(error)
        if len(unreadable) > MOST_UNREADABLE:
            raise
        return None


async def _read(run: Run, question: _Question) -> _Answer:
    """All transactions of an account, or the newest down to one that is known."""
    ask = _of_account(run, question.account)
    reader = run.list_of(ask, _SHARED, priority=question.priority, order=Order.DESCENDING, once=True)
    reader.ahead, reader.expected, reader.end = 1, None, None
    everything = Page(columns=())
    async with aclosing(reader.pages()) as pages:
        async for page in pages:
            _append(everything, page)
            if not question.whole and question.known.intersection(page.ids):
                break
    if question.whole and not question.known.issubset(everything.ids):
        async with aclosing(reader.pages(prove=True)) as pages:
            async for page in pages:
                _append(everything, page)
    run.memory.lists[_SHARED] = Listed(capacity=max(reader.capacity, run.memory.listed(_SHARED).capacity))
    return _Answer(question, everything, reader.proven)


async def _keep(run: Run, answers: list[_Answer]) -> None:
    """Write what some accounts answered, that they were asked, and what their complete histories lack."""
    everything = Page(columns=())
    for answer in answers:
        _append(everything, answer.page)
    run.count(everything, await run.mirror.asked([answer.question.account for answer in answers], everything))
    compared = [answer for answer in answers if answer.question.whole and answer.question.known]
    if compared:
        await run.mirror.present(TABLE, everything.ids)
        gone = {
            row for answer in compared if answer.proven for row in answer.question.known.difference(answer.page.ids)
        }
        if gone:
            # Judged when all accounts have been asked.
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
    whole.columns = part.columns or whole.columns
    whole.rows += part.rows
    whole.ids += part.ids
    whole.lines += part.lines
    whole.line_ids += part.line_ids
    whole.rejected += part.rejected
