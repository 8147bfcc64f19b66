"""Money that moved on an account and that nothing explains: what to do about it, reading by reading.

A balance and the deals and operations that should make it are read at different times, so most differences are gone with the
next reading. One that stays, while nothing else about it moved, is a movement that somebody else made.
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import Enum, auto


class Step(Enum):
    """What becomes of an unexplained amount."""

    LEAVE = auto()
    """As it stands: there is none, or it is too early to say."""
    NOTE = auto()
    """Noticed now, or anew."""
    FORGET = auto()
    """It is explained by now."""
    INFER = auto()
    """Somebody else moved it: a transaction of its own."""


@dataclass(frozen=True, slots=True)
class Noted:
    """What was unexplained before; `read_again`: accounts and deals were both read from their beginnings since."""

    amount: Decimal
    read_again: bool


def judge(unexplained: Decimal | None, noted: Noted | None, *, moved: bool, unsettled: bool) -> Step:
    """Decide about one side of one account.

    Args:
        unexplained: by how much its money moved more than is known, account currency; None where that cannot be told.
        noted: what stood there before; None: nothing.
        moved: a deal or an operation of it is new or changed since it was last looked at. Then the balance may be older than
            that, and an equal amount may be another one.
        unsettled: an operation of ours may have had its effect, and nobody can say yet.
    """
    if not unexplained:
        return Step.FORGET if noted else Step.LEAVE
    if noted is None or noted.amount != unexplained or moved:
        return Step.NOTE
    return Step.INFER if noted.read_again and not unsettled else Step.LEAVE
