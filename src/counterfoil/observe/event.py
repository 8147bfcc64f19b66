"""What an event is: a name, a level, its meaning and its fields. The events themselves stand in the catalogues."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal

from counterfoil.domain.errors import BrokenInvariantError

Level = Literal["debug", "info", "warning", "error", "critical"]

CONTEXT: Final[Mapping[str, str]] = MappingProxyType(
    {
        "platform": "name of the platform in the configuration",
        "resource": "kind of record: accounts, deals, …",
        "run_id": "one pull of one resource; the same in all its events",
        "reference": "the CRM's own name for an account or an operation",
        "intent_id": "the durable wish to change a platform",
        "attempt": "number of the attempt, from 1",
    }
)
"""Fields that every event may carry."""

RESERVED: Final = frozenset({"timestamp", "level", "event", "method_name", "stack", "exc_info", "exception"})
"""Names that the log line uses itself."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Event:
    """One thing that the daemon may say; events are compared by identity."""

    name: str
    """`noun.verb`."""
    level: Level
    meaning: str
    action: str = ""
    """What an operator does about it; empty when nothing."""
    fields: Mapping[str, str] = field(default_factory=dict)
    """Own fields: name to meaning, with the unit."""

    def __post_init__(self) -> None:
        """Refuse a name that is not `noun.verb` and fields that would hide the line's own."""
        taken = self.fields.keys() & (CONTEXT.keys() | RESERVED)
        if taken or not re.fullmatch(r"[a-z]+\.[a-z]+(_[a-z]+)*", self.name):
            raise BrokenInvariantError(f"event {self.name!r} is not noun.verb, or declares reserved {sorted(taken)}")
        object.__setattr__(self, "fields", MappingProxyType(dict(self.fields)))


def event(name: str, level: Level, meaning: str, action: str = "", /, **fields: str) -> Event:
    """One event, as the catalogues write it down; keyword arguments are its fields."""
    return Event(name=name, level=level, meaning=meaning, action=action, fields=fields)


REASON: Final = "what is wrong, in one line"
RETRY: Final = "seconds until the next try"
