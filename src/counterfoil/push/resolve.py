"""What became of an attempt whose outcome is unknown: looked for on the platform, decided by evidence, or by a person."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import assert_never

from counterfoil.domain import retry
from counterfoil.domain.attempt import Finding, Found, Repeat, Unclear, Wrong
from counterfoil.domain.errors import ConfigurationError
from counterfoil.domain.intent import MONEY, Kind, State
from counterfoil.domain.verdict import Next, Trust, decide
from counterfoil.platforms.writing import Writer
from counterfoil.push import wishes
from counterfoil.store.intents import Held, Result
from counterfoil.store.mirrored import MirroredBooks
from counterfoil.store.secrets_kept import Safe

# Attempts that were each proven absent: a platform that swallows every one needs a person.
MOST_ATTEMPTS = 5
# Deals move a balance, and never a credit.
_MOVED_BY_DEALS = MONEY - {Kind.CREDIT_IN, Kind.CREDIT_OUT}


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """When 'not found' may be believed; see `unknown` of the settings."""

    settle: timedelta
    looks: int
    between: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Looks:
    """Looks for effects on one platform."""

    writer: Writer
    books: MirroredBooks
    safe: Safe
    patience: Patience

    async def look(self, held: Held) -> Result:
        """One look at an unknown outcome, and what to do about it."""
        trust = await self._trust(held)
        finding = _believed(await self._find(held), held, settled=trust.settled)
        decision, looks, reason = decide(finding, trust)
        evidence = _evidence(finding, reason)
        match decision:
            case Next.CONFIRM if isinstance(finding, Found):
                await self._note(held)
                return Result(
                    state=State.CONFIRMED,
                    record_id=finding.record_id,
                    facts=finding.facts,
                    evidence=evidence,
                    probed=True,
                )
            case Next.RESEND if isinstance(finding, Repeat) and held.resends + 1 < retry.MOST_TRIES:
                wait = retry.delay(held.resends + 1)
                return Result(state=State.PENDING, reason=reason, evidence=evidence, probed=True, wait=wait)
            case Next.RESEND if not isinstance(finding, Repeat) and held.resends + 1 < MOST_ATTEMPTS:
                return Result(state=State.PENDING, reason=reason, evidence=evidence, probed=True)
            case Next.RESEND:
                told = f"sent {held.resends + 1} times, and {reason} each time"
                return Result(state=State.PARKED, reason=told, evidence=evidence, probed=True)
            case Next.PARK | Next.CONFIRM:
                pause = f"{held.reference}: {reason}" if isinstance(finding, Wrong) else None
                return Result(
                    state=State.PARKED, reason=reason, evidence=evidence, looks=looks, probed=True, pause=pause
                )
            case Next.LOOK_AGAIN:
                return Result(
                    state=State.UNKNOWN,
                    reason=reason,
                    evidence=evidence,
                    looks=looks,
                    wait=self._wait(held),
                    probed=True,
                )
            case _:
                assert_never(decision)

    async def doubt(self, held: Held) -> Result:
        """One look at what a restored database holds as never sent: noted for the person who decides; nothing is sent."""
        finding = await self._find(held)
        found = isinstance(finding, Found)
        reason = "found on the platform: it was sent before the database was restored" if found else None
        if found:
            await self._note(held)
        return Result(
            state=State.PENDING,
            reason=reason,
            evidence=_evidence(finding, type(finding).__name__.lower()),
            probed=not (isinstance(finding, Unclear) and finding.failed),
            wait=0.0 if found else self.patience.between.total_seconds(),
        )

    async def _find(self, held: Held) -> Finding:
        try:
            passwords = await self.safe.passwords(held)
        except ConfigurationError:
            # Only a resend needs them.
            passwords = {}
        return await self.writer.probe(wishes.wish(held, passwords), held.fence, self.books)

    async def _trust(self, held: Held) -> Trust:
        return Trust(
            settled=held.age is not None and held.age > self.patience.settle.total_seconds(),
            # Where references are not shown, a look does not rest on them.
            readable=held.kind not in MONEY
            or not self.writer.shows_references
            or await self.books.references_are_readable(),
            looks=held.looks,
            needed=self.patience.looks,
        )

    async def _note(self, held: Held) -> None:
        if held.kind in MONEY and self.writer.shows_references:
            await self.books.note_readable()

    def _wait(self, held: Held) -> float:
        return retry.until_next_look(
            held.age or 0.0,
            settle=self.patience.settle.total_seconds(),
            between=self.patience.between.total_seconds(),
        )


def _believed(finding: Finding, held: Held, *, settled: bool) -> Finding:
    """What names no record was concluded from a balance: a deal that is listed late may still be what moved it."""
    if settled or not isinstance(finding, Found) or finding.record_id is not None or held.kind not in _MOVED_BY_DEALS:
        return finding
    return Unclear(
        "the balance moved as if it had been done; a deal may still be listed that explains it", finding.facts
    )


def _evidence(finding: Finding, reason: str) -> Mapping[str, object]:
    match finding:
        case Found(facts=facts):
            shown = facts
        case Repeat():
            shown = {}
        case _:
            shown = finding.evidence
    return {"finding": type(finding).__name__.lower(), "reason": reason, **shown}
