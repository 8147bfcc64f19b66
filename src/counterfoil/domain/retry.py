"""How long to wait before the next try. Pure: the attempt's number in, seconds out."""

FIRST = 1.0
LONGEST = 300.0
# Tries in a row that surely sent nothing; then a person is asked. With the waits above this is about four hours.
MOST_TRIES = 55
# Looks for an unknown effect: the first comes at once, the waits grow up to this.
LONGEST_BETWEEN_LOOKS = 300.0


def delay(failures: int, *, first: float = FIRST, longest: float = LONGEST) -> float:
    """Seconds to wait after so many failures in a row (from 1): doubled each time, up to `longest`."""
    return min(first * (1 << min(max(failures, 1) - 1, 30)), longest)


def until_next_look(age: float, *, settle: float, between: float) -> float:
    """Seconds to the next look for an effect that was not found.

    Args:
        age: seconds since the attempt's deadline; negative before it.
        settle: seconds after the deadline from which on 'not found' counts.
        between: seconds between two looks that count.
    """
    if age >= settle:
        return between
    # Doubled each time: about a dozen looks in a quarter of an hour.
    return min(max(age, FIRST), LONGEST_BETWEEN_LOOKS, max(settle - age, FIRST / 10))
