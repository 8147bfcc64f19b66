"""One write attempt, from a claim that is committed to a result that is.

    claim (committed as sent) → [look, launch (committed)] → one request → outcome → fenced result (committed)

No transaction is open while the platform is asked. Whatever ends this in between, a crash included, leaves an intent that is
sent under a lease; when that lapses it becomes unknown, and is looked for. Nothing here sends twice.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import assert_never

from counterfoil.domain import retry
from counterfoil.domain.attempt import (
    Accepted,
    Doubtful,
    Fence,
    Found,
    Mismatch,
    NotSent,
    Outcome,
    Rejected,
    Unknown,
    Wrong,
    misconfigured,
)
from counterfoil.domain.errors import (
    BrokenInvariantError,
    ConfigurationError,
    LeaseLostError,
    PausedError,
    PermanentError,
    TransientError,
)
from counterfoil.domain.intent import MONEY, Kind, State
from counterfoil.observe import events
from counterfoil.platforms.writing import Prepared, Wish, Writer
from counterfoil.push import wishes
from counterfoil.store import Unreachable
from counterfoil.store.intents import Held, Queue, Result
from counterfoil.store.mirrored import MirroredBooks
from counterfoil.store.secrets_kept import Safe

# An answer after this much of the lease could come too late to be written.
MARGIN = 1.0
# The shortest rest of a platform that is in the way as a whole.
REST = 2.0


@asynccontextmanager
async def keeping(queue: Queue, held: Held) -> AsyncIterator[None]:
    """Hold on to an intent while its platform is only read, however long that takes."""

    async def renew() -> None:
        while True:
            await asyncio.sleep(queue.lease.total_seconds() / 3)
            with suppress(*Unreachable):  # a renewal missed is not yet a lease lost
                if not await queue.renew(held):
                    return

    keeper = asyncio.create_task(renew())
    try:
        yield
    finally:
        keeper.cancel()
        await asyncio.wait([keeper])


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempts:
    """Makes attempts on one platform. `timeout`: seconds that one request may take; shorter than the queue's lease."""

    queue: Queue
    writer: Writer
    books: MirroredBooks
    safe: Safe
    timeout: float

    async def make(self, held: Held, claimed_at: float) -> Result:
        """The attempt, without its result's commit. `claimed_at`: time.monotonic() before the claim began.

        Raises:
            LeaseLostError: another worker may have it; nothing was sent and nothing may be written.
        """
        taken = await self._reason_to_park(held)
        if taken is not None:
            return Result(state=State.PARKED, reason=taken)
        try:
            return await self._made(held, claimed_at)
        except ConfigurationError as error:
            return self._result(held, misconfigured(error))
        except PausedError as error:
            return self._result(held, NotSent(str(error), error.retry_after, held=True))
        except (TransientError, PermanentError) as error:
            # A look that is refused says nothing about the wish itself.
            return self._result(held, NotSent(str(error), getattr(error, "retry_after", None)))

    async def _made(self, held: Held, claimed_at: float) -> Result:
        wish = wishes.wish(held, await self.safe.passwords(held))
        if held.launched:
            return self._result(held, await self.writer.send(wish, deadline=self._deadline(claimed_at)))
        return await self._prepared(held, wish)

    def _deadline(self, since: float) -> float:
        return since + self.queue.lease.total_seconds() - self.timeout - MARGIN

    async def _reason_to_park(self, held: Held) -> str | None:
        if held.kind not in (Kind.CLIENT, Kind.UPDATE_CLIENT):
            return None
        owner = await self.queue.email_owner(held)
        return None if owner is None else f"the e-mail address belongs to registrant {owner} already"

    async def _prepared(self, held: Held, wish: Wish) -> Result:
        """Look first, note the fence, and only then send: before the fence is committed no byte may leave."""
        if held.kind in MONEY and held.probe_first and not held.waived and not await self._can_be_found():
            # Whatever such a look does not find may be there all the same.
            reason = "it may have been sent before, and no reference of ours was ever read back from this platform"
            return Result(state=State.PARKED, reason=reason, evidence={"finding": "unclear", "reason": reason})
        prepared = await self._looked(held, wish)
        match prepared:
            case Found(record_id=record_id, facts=facts):
                return Result(
                    state=State.CONFIRMED, record_id=record_id, facts=facts, evidence={"recognised": record_id}
                )
            case Rejected() | Doubtful() as refused:
                return self._result(held, refused)
            case Wrong(reason=reason, evidence=evidence):
                pause = f"{held.reference}: {reason}" if held.kind in MONEY else None
                return Result(state=State.PARKED, reason=reason, evidence=evidence, pause=pause)
            case Fence(marks=marks):
                since = time.monotonic()
                if not await self.queue.launch(held, marks):
                    raise LeaseLostError(f"the lease on {held.reference} lapsed before anything was sent")
                return self._result(held, await self.writer.send(wish, deadline=self._deadline(since)))
            case _:
                assert_never(prepared)

    async def _can_be_found(self) -> bool:
        return self.writer.shows_references and await self.books.references_are_readable()

    async def _looked(self, held: Held, wish: Wish) -> Prepared:
        """The look before; what it leaves open a person has answered for where the desk said so."""
        try:
            async with keeping(self.queue, held):
                return await self.writer.prepare(wish, self.books)
        except PausedError:
            raise
        except TransientError:
            if not (held.waived and held.kind in MONEY):
                raise
            return Fence()

    def _result(self, held: Held, outcome: Outcome) -> Result:
        match outcome:
            case Accepted(record_id=record_id, facts=facts):
                return Result(state=State.CONFIRMED, record_id=record_id, facts=facts)
            case Rejected(reason=reason):
                return Result(state=State.REJECTED, reason=reason)
            case Unknown(reason=reason):
                return Result(state=State.UNKNOWN, reason=reason)
            case Mismatch(reason=reason, record_id=record_id):
                return Result(
                    state=State.PARKED,
                    reason=reason,
                    evidence={"answered_record": record_id},
                    pause=f"{held.reference}: {reason}",
                )
            case Doubtful(reason=reason, evidence=evidence):
                told = {"finding": "doubtful", "reason": reason, **evidence}
                return Result(state=State.PARKED, reason=reason, evidence=told)
            case NotSent():
                return _not_sent(held, outcome)
            case _:
                assert_never(outcome)


def _not_sent(held: Held, outcome: NotSent) -> Result:
    """Again after a growing while; a platform that is in the way as a whole spends none of the tries."""
    failures = held.failures if outcome.held else held.failures + 1
    if failures >= retry.MOST_TRIES:
        return Result(
            state=State.PARKED, reason=f"tried {failures} times, nothing was sent: {outcome.reason}", failures=0
        )
    wait = max(outcome.retry_after or 0.0, retry.delay(failures or 1))
    rest = max(outcome.retry_after or 0.0, REST) if outcome.held and outcome.rests else 0.0
    return Result(state=State.PENDING, reason=f"not sent: {outcome.reason}", wait=wait, failures=failures, rest=rest)


def say(held: Held, result: Result) -> None:
    """The event of a result that is committed."""
    with events.bind(platform=held.platform, reference=held.reference, intent_id=held.id, attempt=held.attempt):
        match result.state:
            case State.CONFIRMED:
                events.emit(events.INTENT_CONFIRMED, kind=held.kind)
            case State.REJECTED:
                events.emit(events.INTENT_REJECTED, kind=held.kind)
            case State.UNKNOWN:
                events.emit(events.INTENT_UNKNOWN, kind=held.kind, retry_in=round(result.wait, 3))
            case State.PARKED:
                events.emit(events.INTENT_PARKED, kind=held.kind)
            case State.PENDING:
                events.emit(events.INTENT_POSTPONED, kind=held.kind, retry_in=round(result.wait, 3))
            case State.WAITING | State.SENT | State.CANCELLED:
                raise BrokenInvariantError(f"no attempt ends {result.state}")
            case _:
                assert_never(result.state)
    if result.pause is not None:
        events.emit(events.PUSH_PAUSED, platform=held.platform, reference=held.reference)
