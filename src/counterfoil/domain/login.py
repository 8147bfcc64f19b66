"""What a login tells."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LoginFacts:
    """What a login told: the manager's account, its scope, seconds of validity, whether it is a simulator.

    `skew`: seconds by which the platform's clock is ahead of ours, None when it does not tell the time.
    """

    account_id: int
    scope: str
    expires_in: int
    sandbox: bool
    skew: float | None = None
