"""Errors, sorted by what happens next.

CounterfoilError
├── ConfigurationError      a person must change a setting; exit code 2, or that platform pauses
│   └── LoginRefusedError   the platform refuses credentials or scope
├── TransientError          surely not done, will work later; tried again by itself
│   └── PausedError         the platform is in a known pause; nothing was sent
├── PermanentError          surely not done, never will as asked
├── LeaseLostError          somebody else does this work now; write nothing
└── BrokenInvariantError    our bug: stop that piece of work, change nothing more

Messages are one line, for an operator: what is wrong and what to do. They never carry a secret or a response body.
"""


class CounterfoilError(Exception):
    """The root of every error that Counterfoil raises on purpose."""


class ConfigurationError(CounterfoilError):
    """A setting is wrong and only a person can change it."""


class LoginRefusedError(ConfigurationError):
    """The platform refuses our credentials or scope; nobody asks it again before `retry_in` seconds are over."""

    def __init__(self, message: str, *, retry_in: float = 0.0) -> None:
        """`retry_in`: seconds until the next login will be tried."""
        super().__init__(message)
        self.retry_in = retry_in


class TransientError(CounterfoilError):
    """Surely not done; the same request may work later."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        """`retry_after`: seconds that the platform asked us to wait, None when it did not say."""
        super().__init__(message)
        self.retry_after = retry_after


class PausedError(TransientError):
    """The platform is in a known pause (rate limit answer or repeated failures); nothing was sent."""


class PermanentError(CounterfoilError):
    """Surely not done, and never will be as asked."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        """`status`: the HTTP status that said so, None when it was not one."""
        super().__init__(message)
        self.status = status


class LeaseLostError(CounterfoilError):
    """The lease on this work lapsed or was taken over; the transaction must not commit."""


class BrokenInvariantError(CounterfoilError):
    """Something that cannot happen did: a bug of ours."""
