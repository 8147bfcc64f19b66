"""What came of one attempt to change a platform, and of one look for its effect."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from counterfoil.domain.errors import ConfigurationError, LoginRefusedError

Facts = Mapping[str, object]
"""What a platform told about a record: plain JSON values, for the books and for a person. Never a password."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The platform did it, and names the record."""

    record_id: int
    facts: Facts = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rejected:
    """Surely not done, and never will be as asked; the reason is the platform's."""

    reason: str


@dataclass(frozen=True, slots=True)
class NotSent:
    """Surely not done; the same may work later.

    `retry_after`: seconds to wait, None when nobody said. `held`: the whole platform is in the way (a pause, a refused login,
    a missing right), so this spends none of the intent's tries. `rests`: nor is anything else begun there meanwhile; False
    where what is more urgent may still go.
    """

    reason: str
    retry_after: float | None = None
    held: bool = False
    rests: bool = True


@dataclass(frozen=True, slots=True)
class Unknown:
    """May have been done: whatever is not proven otherwise."""

    reason: str


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Something was done, but not what was asked: nothing more is written to that platform before a person has looked."""

    reason: str
    record_id: int | None = None


@dataclass(frozen=True, slots=True)
class Doubtful:
    """No further request can tell what became of it, or whether it may be done: a person decides, with this shown."""

    reason: str
    evidence: Facts = field(default_factory=dict)


Outcome = Accepted | Rejected | NotSent | Unknown | Mismatch | Doubtful


@dataclass(frozen=True, slots=True)
class Fence:
    """What the platform held before an attempt: its effect can only lie beyond."""

    marks: Facts = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Found:
    """The effect is there; `record_id` None: nothing names the record."""

    record_id: int | None
    facts: Facts = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Absent:
    """A complete look did not find it, and nothing else explains it."""

    evidence: Facts = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Unclear:
    """The look proves nothing; `failed`: the platform could not be read at all, and another look may say more."""

    reason: str
    evidence: Facts = field(default_factory=dict)
    failed: bool = False


@dataclass(frozen=True, slots=True)
class Wrong:
    """What is there is not what was asked for: done twice, or with another amount."""

    reason: str
    evidence: Facts = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Repeat:
    """Doing it once more changes nothing that was done: no look is needed, the next answer tells."""


Finding = Found | Absent | Unclear | Wrong | Doubtful | Repeat


# Seconds to leave a platform alone that refuses our settings or rights, when nobody says how long.
REFUSED = 30.0


def misconfigured(error: ConfigurationError) -> NotSent:
    """A wrong setting, login or right: surely not done, and no better before a person has changed something."""
    retry_in = error.retry_in if isinstance(error, LoginRefusedError) else 0.0
    return NotSent(str(error), max(retry_in, REFUSED), held=True)
