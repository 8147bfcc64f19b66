"""Intents: durable wishes to change a platform, their states, and the only ways from one state to the next.

The rules below are rows of the database (counterfoil.transition_rule), and a foreign key refuses every other way, whoever
asks. The table is written by the migration; a test holds the two together.
"""

from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """What an intent wants done."""

    CLIENT = "client"
    """Make the registrant a client of the platform."""
    ACCOUNT = "account"
    """Open a trading account."""
    LINK = "link"
    """Tie an account to its client, on platforms where opening it does not do that; money waits for it."""
    ADOPT = "adopt"
    """Take an account that exists on the platform already for one of ours; nothing is written."""
    DEPOSIT = "deposit"
    WITHDRAW = "withdraw"
    REFUND = "refund"
    """A deposit that gives back a withdrawal whose payout failed."""
    CREDIT_IN = "credit_in"
    CREDIT_OUT = "credit_out"
    UPDATE_CLIENT = "update_client"
    UPDATE_ACCOUNT = "update_account"
    RESET_PASSWORD = "reset_password"  # noqa: S105 - the name of a wish


class State(StrEnum):
    """Where an intent stands; the CRM sees the same words."""

    WAITING = "waiting"
    """For a platform to be chosen, or for an earlier step."""
    PENDING = "pending"
    """May be sent."""
    SENT = "sent"
    """An attempt is under way, or its process died."""
    UNKNOWN = "unknown"
    """The attempt may have had its effect; it is looked for."""
    CONFIRMED = "confirmed"
    REJECTED = "rejected"
    PARKED = "parked"
    """Only a person can decide."""
    CANCELLED = "cancelled"


MONEY: Final = frozenset({Kind.DEPOSIT, Kind.WITHDRAW, Kind.REFUND, Kind.CREDIT_IN, Kind.CREDIT_OUT})
"""Balance operations."""

UNSETTLED: Final = frozenset({State.SENT, State.UNKNOWN, State.PARKED})
"""States in which nobody can say whether the effect is there: nothing else of its lane may be sent meanwhile."""

TERMINAL: Final = frozenset({State.CONFIRMED, State.REJECTED, State.CANCELLED})

NEW: Final = "new"
"""The previous state of a row that has just been inserted."""

TRANSITIONS: Final[frozenset[tuple[str, str]]] = frozenset(
    {
        (NEW, State.WAITING),
        (NEW, State.PENDING),
        # The predecessor is confirmed and the platform chosen.
        (State.WAITING, State.PENDING),
        (State.WAITING, State.CANCELLED),
        (State.PENDING, State.CANCELLED),
        (State.PENDING, State.SENT),
        (State.SENT, State.CONFIRMED),
        (State.SENT, State.REJECTED),
        # Surely not sent.
        (State.SENT, State.PENDING),
        # Not sent, and no use to try again before a person has looked; or answered with something else than asked.
        (State.SENT, State.PARKED),
        (State.SENT, State.UNKNOWN),
        # Found on the platform.
        (State.UNKNOWN, State.CONFIRMED),
        # Proven absent.
        (State.UNKNOWN, State.PENDING),
        (State.UNKNOWN, State.PARKED),
        # A person's decisions.
        (State.PARKED, State.CONFIRMED),
        (State.PARKED, State.PENDING),
        (State.PARKED, State.CANCELLED),
    }
)
"""The same for every kind. There is no way from a lapsed lease to a resend: sent → unknown → looked for."""
