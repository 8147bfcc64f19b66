"""Payouts: money that leaves for a bank behind a withdrawal, and the only ways from one state to the next."""

from enum import StrEnum
from typing import Final

from counterfoil.domain.intent import NEW


class PayoutState(StrEnum):
    """Where a payout stands."""

    BLOCKED = "blocked"
    """Its withdrawal is not confirmed: the trader could still trade with the money."""
    DECLINED = "declined"
    """Its withdrawal was rejected or cancelled: there is nothing to pay."""
    RELEASABLE = "releasable"
    RELEASED = "released"
    """Somebody was told, once, to pay."""
    SETTLED = "settled"
    REFUNDING = "refunding"
    """The bank refused; a deposit gives the money back to the account."""
    REFUNDED = "refunded"


PAYOUT: Final = "payout"
"""The kind under which these rules stand beside those of the intents."""

PAYOUT_TRANSITIONS: Final[frozenset[tuple[str, str]]] = frozenset(
    {
        (NEW, PayoutState.BLOCKED),
        (PayoutState.BLOCKED, PayoutState.RELEASABLE),
        (PayoutState.BLOCKED, PayoutState.DECLINED),
        (PayoutState.RELEASABLE, PayoutState.RELEASED),
        (PayoutState.RELEASABLE, PayoutState.REFUNDING),
        (PayoutState.RELEASED, PayoutState.SETTLED),
        (PayoutState.RELEASED, PayoutState.REFUNDING),
        (PayoutState.REFUNDING, PayoutState.REFUNDED),
    }
)
