"""How often a resource is wanted now: by how quiet it was, and by what an event stream brings of it."""

from datetime import timedelta

from counterfoil.domain.interval import Interval
from counterfoil.store.cursors import Recent

STREAMED = ("positions", "orders", "deals")
"""The resources, and tables, whose rows a stream brings."""

SLOWER = 4
# However reliable a stream is, figures that it does not bring, such as profits of open positions, are no older than this.
LONGEST = timedelta(minutes=5)
# A run that began less than a beat ago, by this share of it, was this beat's, of another replica: beats are not in step.
EARLY = 0.2
# Another replica takes over what is late by this share of a beat.
LATE = 0.2


def slowed(every: timedelta) -> timedelta:
    """The interval of a streamed resource while the stream is reliable; never shorter than its own."""
    return max(every, min(every * SLOWER, LONGEST))


def quiet(recent: Recent, *, streamed: bool) -> timedelta:
    """For how long a resource is known not to have changed: from its last change to the start of its newest complete run.

    No time at all after a failed run, which knows nothing. While a stream is relied on, events may have brought changes that
    polls then did not find: what they found until then does not count.
    """
    changes = [moment for moment in (recent.busy_at, recent.heard_at if streamed else None) if moment is not None]
    if recent.as_of is None or not changes:
        return timedelta(0)
    return max(timedelta(0), recent.as_of - max(changes))


def wanted(interval: Interval, recent: Recent, *, streamed: bool) -> timedelta:
    """The time between two runs that is wanted now: the longer of what quiet and a reliable stream allow, in whole beats.

    `streamed`: events bring its rows as well, where there is a stream. A stream is only relied on within its own bound, five
    minutes, and quiet only within `idle`; each holds by itself.
    """
    length = interval.after(quiet(recent, streamed=streamed))
    if streamed and recent.relied:
        length = max(length, slowed(interval.every))
    return interval.beats(length)


def not_within(interval: Interval, recent: Recent, *, streamed: bool, ours: bool) -> timedelta:
    """How long ago the newest run must have begun, at a beat, for another to be due.

    `ours`: this replica made it. It remembers the pages that it read, so it goes on unless it misses a beat.
    """
    return wanted(interval, recent, streamed=streamed) + interval.every * (-EARLY if ours else LATE)
