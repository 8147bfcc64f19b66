"""Who goes first when requests are scarce."""

from enum import IntEnum


class Priority(IntEnum):
    """The smaller number wins."""

    MONEY = 0
    PROBE = 1
    OPEN = 2
    NORMAL = 3
    SWEEP = 4
