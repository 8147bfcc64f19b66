"""Did a balance operation happen, on a platform that shows no history of them? From two balances and the deals between them.

The operation happened, or it did not: of the two, one explains the movement exactly, or neither does. A list of deals that lags
behind the balance could make either look like the other, so whatever some of the deals could imitate is not decided here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum, auto

# Sums of some out of so many deals are 65,536; with more of them anything could be imitated.
MOST_DEALS = 16


class Explanation(Enum):
    """What explains a movement."""

    APPLIED = auto()
    """The operation and the deals, exactly."""
    NOT_APPLIED = auto()
    """The deals alone, exactly."""
    BOTH_WAYS = auto()
    """Deals that are listed late could make it look so although it is the other way."""
    NEITHER = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Movement:
    """What is known: account currency, money in is positive.

    `before`, `after`: the balances. `wanted`: the operation. `deals`: what the deals between the two did. `near`: what deals did
    that were made shortly before, and may have been listed late.
    """

    before: Decimal
    after: Decimal
    wanted: Decimal
    deals: Sequence[Decimal] = ()
    near: Sequence[Decimal] = ()


def explain(movement: Movement) -> Explanation:
    """What explains it."""
    rest = movement.after - movement.before - sum(movement.deals, Decimal(0))
    if rest not in (0, movement.wanted):
        return Explanation.NEITHER
    if _can_imitate(movement):
        return Explanation.BOTH_WAYS
    return Explanation.APPLIED if rest else Explanation.NOT_APPLIED


def _can_imitate(movement: Movement) -> bool:
    """Whether deals on the wrong side of a balance could make the same movement, or undo it.

    One of `deals` may have moved a balance before the two were read, or moves it after: then it is counted and did nothing. One of
    `near` may have moved it between the two, and is not counted.
    """
    shifts = [shift for shift in (*(-deal for deal in movement.deals), *movement.near) if shift]
    if len(shifts) > MOST_DEALS:
        return True
    sums = {Decimal(0)}
    for shift in shifts:
        sums |= {known + shift for known in sums}
    return movement.wanted in sums or -movement.wanted in sums
