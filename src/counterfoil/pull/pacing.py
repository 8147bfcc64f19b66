"""What an event stream changes about polling: which resources it brings, and how much slower they are polled meanwhile."""

from datetime import timedelta

STREAMED = ("positions", "orders", "deals")
"""The resources, and tables, whose rows a stream brings."""

SLOWER = 4
# However reliable a stream is, figures that it does not bring, such as profits of open positions, are no older than this.
LONGEST = timedelta(minutes=5)


def slowed(every: timedelta) -> timedelta:
    """The interval of a streamed resource while the stream is reliable; never shorter than its own."""
    return max(every, min(every * SLOWER, LONGEST))
