"""How often a resource is asked for: at its interval while it is busy, less and less often while nothing changes."""

from dataclasses import dataclass
from datetime import timedelta


@dataclass(frozen=True, slots=True)
class Interval:
    """The shortest and the longest time between two pulls of a resource; where both are the same, that is all there is to it.

    `every`: while it changes, and the beat at which is asked whether a pull is due. `idle`: however long nothing changes.
    """

    every: timedelta
    idle: timedelta

    @classmethod
    def steady(cls, every: timedelta) -> "Interval":
        """The same whether anything changes or not."""
        return cls(every, every)

    def after(self, quiet: timedelta) -> timedelta:
        """The interval for a resource that has not changed for so long: half of that, within the two bounds.

        So it grows by half from one quiet pull to the next, and a change, after which the resource was quiet for no time at
        all, brings it back at once.
        """
        return max(self.every, min(quiet / 2, self.idle))

    def beats(self, length: timedelta) -> timedelta:
        """A length in whole beats, rounded down, one at least: a pull can only begin with a beat."""
        return max(1, length // self.every) * self.every
