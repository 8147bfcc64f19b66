"""What the answer to a write is for the write path, whichever platform gave it."""

from dataclasses import replace
from typing import Protocol

from counterfoil.domain.attempt import REFUSED, Accepted, NotSent, Outcome, Rejected, Unknown
from counterfoil.domain.outcome import Verdict
from counterfoil.platforms.writing import Wish


class Judged(Protocol):
    """An answer that was judged; `retry_after` in seconds."""

    @property
    def verdict(self) -> Verdict:
        """What it means."""

    @property
    def reason(self) -> str:
        """For a person, without bodies."""

    @property
    def retry_after(self) -> float | None:
        """What the platform asked for."""


def discreet(outcome: Outcome, wish: Wish) -> Outcome:
    """A platform's refusal may quote what it was sent; a reason is kept and shown."""
    if isinstance(outcome, Accepted):
        return outcome
    private = [*wish.passwords.values(), *(str(value) for value in wish.fields.values() if isinstance(value, str))]
    reason = outcome.reason
    for value in sorted(filter(lambda text: len(text) > 2, private), key=len, reverse=True):
        reason = reason.replace(value, "***")
    return replace(outcome, reason=reason)


def unaccepted(written: Judged) -> Outcome | None:
    """The outcome of an attempt that was not plainly accepted; None when it was."""
    match written.verdict:
        case Verdict.ACCEPTED:
            return None
        case Verdict.REJECTED:
            return Rejected(written.reason)
        case Verdict.NOT_SENT:
            return NotSent(written.reason, written.retry_after)
        case Verdict.LOG_IN | Verdict.CONFIGURATION_FAULT:
            return NotSent(f"{written.reason}: the Manager account may not do this", REFUSED, held=True)
        case Verdict.CONFLICT:
            return Unknown(f"{written.reason}: something of the same name exists")
        case _:
            return Unknown(written.reason or "the answer could not be read")
