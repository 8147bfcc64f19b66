"""What to do about an attempt whose outcome is unknown, after one more look: one pure function, one table."""

from dataclasses import dataclass
from enum import Enum, auto
from typing import assert_never

from counterfoil.domain.attempt import Absent, Doubtful, Finding, Found, Repeat, Unclear, Wrong

# Looks without a result that are taken beyond the needed ones before a person is asked.
PATIENCE = 3


class Next(Enum):
    """What happens to the intent."""

    CONFIRM = auto()
    RESEND = auto()
    """Proven absent: it is pending again."""
    PARK = auto()
    LOOK_AGAIN = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """How far 'not found' may be believed.

    `settled`: the settle time after the attempt's deadline is over, on the database's clock. `readable`: one of our references
    has been read back verbatim since the setting last changed; True where no reference is needed. `looks`: agreeing looks so
    far, this one not included. `needed`: how many must agree.
    """

    settled: bool
    readable: bool
    looks: int
    needed: int


def decide(finding: Finding, trust: Trust) -> tuple[Next, int, str]:
    """What to do, the number of agreeing looks to remember, and why, for a person.

    Only looks after the settle time count: bytes that lie in a buffer may arrive until then.
    """
    match finding:
        case Found():
            return Next.CONFIRM, trust.looks, "found on the platform"
        case Wrong(reason=reason) | Doubtful(reason=reason):
            return Next.PARK, trust.looks, reason
        case Repeat():
            return Next.RESEND, trust.looks, "it may be done again"
        case Absent():
            return _absent(trust)
        case Unclear(reason=reason, failed=True):
            # A platform that is away for a day parks nothing: it is looked at when it is back.
            return Next.LOOK_AGAIN, trust.looks, reason
        case Unclear(reason=reason):
            return _unclear(reason, trust)
        case _:
            assert_never(finding)


def _absent(trust: Trust) -> tuple[Next, int, str]:
    if not trust.settled:
        return Next.LOOK_AGAIN, 0, "not there yet; it may still arrive"
    if not trust.readable:
        reason = "not found, but no reference of ours was ever read back from this platform: it may not show them"
        return Next.PARK, trust.looks, reason
    looks = max(trust.looks, 0) + 1
    if looks >= trust.needed:
        return Next.RESEND, looks, f"proven absent by {looks} looks"
    return Next.LOOK_AGAIN, looks, f"absent in {looks} of {trust.needed} looks"


def _unclear(reason: str, trust: Trust) -> tuple[Next, int, str]:
    # Counted downwards, so that unclear looks never add up with agreeing ones.
    unclear = min(trust.looks, 0) - 1
    if trust.settled and -unclear >= trust.needed + PATIENCE:
        return Next.PARK, unclear, reason
    return Next.LOOK_AGAIN, unclear if trust.settled else 0, reason
