"""Balance operations as OMTrader is asked for them, and as its rows show them (reference, section 5.9: nothing of it is public).

Assumed, and adjustable by `money` of the settings: the body is {amount, side, direction, reference field}; the answer and
the rows of the transactions history are deal-like: id, account_id, side, direction, `profit` (signed) or `amount`, comment.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

import msgspec
from msgspec import Raw

from counterfoil.domain.attempt import Accepted, Mismatch, Unknown
from counterfoil.domain.intent import Kind
from counterfoil.domain.money import plain
from counterfoil.platforms.writing import Wish

Row = Mapping[str, Any]
"""A record as sent; numbers with a point or an exponent are Decimal."""

_WHOLE: Final = re.compile(r"(?<![\w-])cf-[0-9a-f]{28}(?![\w-])")
_MOST_DIGITS: Final = 40
_INWARD: Final = frozenset({Kind.DEPOSIT, Kind.REFUND, Kind.CREDIT_IN})


@dataclass(frozen=True, slots=True)
class Movement:
    """The values that tell the platform what kind of movement is wanted."""

    side: int
    direction: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MoneyForm:
    """How a transfer is written; see `money` of the settings."""

    movements: Mapping[str, Movement] = field(
        default_factory=lambda: {
            "deposit": Movement(2, 0),
            "withdraw": Movement(2, 1),
            "credit_in": Movement(3, 0),
            "credit_out": Movement(3, 1),
        }
    )
    amount_field: str = "amount"
    reference_field: str = "comment"

    def movement(self, kind: Kind) -> Movement:
        """A refund is a deposit to the platform."""
        return self.movements[Kind.DEPOSIT if kind is Kind.REFUND else kind]

    def body(self, wish: Wish) -> bytes:
        """The body of the request; the amount keeps its digits."""
        movement = self.movement(wish.kind)
        amount = Raw(plain(_amount(wish)).encode())
        return msgspec.json.encode(
            {
                self.amount_field: amount,
                "side": movement.side,
                "direction": movement.direction,
                self.reference_field: wish.reference,
            }
        )

    def carries(self, row: Row, wish: Wish) -> bool:
        """Whether a row shows our reference, verbatim, whatever else its field says."""
        text = row.get(self.reference_field)
        return isinstance(text, str) and wish.reference is not None and wish.reference in text

    def carries_another(self, row: Row, wish: Wish) -> bool:
        """Whether a row shows another reference of ours, whole: one that was cut may be the one that is looked for."""
        text = row.get(self.reference_field)
        found = set(_WHOLE.findall(text)) if isinstance(text, str) else set()
        return bool(found - {wish.reference})

    def signed(self, row: Row) -> Decimal | None:
        """The amount of a row, money in is positive; None when it cannot be told."""
        profit, amount = number(row.get("profit")), number(row.get(self.amount_field))
        if profit:
            return profit
        if amount is None or (profit is None and row.get("profit") is not None):
            return profit
        signs = {
            -1 if name in ("withdraw", "credit_out") else 1
            for name, movement in self.movements.items()
            if movement.direction == row.get("direction") and row.get("side") in (None, movement.side)
        }
        if amount < 0:
            return amount
        return amount * signs.pop() if len(signs) == 1 else None

    def judge(self, wish: Wish, row: Row) -> Accepted | Mismatch | Unknown:
        """What the row in an answer proves: only the id with the same account, sign and amount is an acceptance."""
        record_id, account_id = integer(row.get("id")), integer(row.get("account_id"))
        signed, wanted = self.signed(row), expected(wish)
        if record_id is None:
            return Unknown("the answer names no record")
        if account_id != wish.account_id:
            return Unknown(f"the answer speaks of account {account_id}, not of {wish.account_id}")
        if signed is None:
            return Unknown("the answer tells no amount")
        if self.carries_another(row, wish):
            return Unknown("the answer speaks of another reference of ours")
        told = number(row.get(self.amount_field))
        if signed != wanted or (told is not None and abs(told) != abs(wanted)):
            return Mismatch(f"asked for {plain(wanted)}, the answer says {plain(signed)}", record_id)
        return Accepted(record_id)


def _amount(wish: Wish) -> Decimal:
    if wish.amount is None:
        raise ValueError("the wish moves no money")
    return wish.amount


def expected(wish: Wish) -> Decimal:
    """The amount as the books will show it: money in is positive."""
    return _amount(wish) if wish.kind in _INWARD else -_amount(wish)


def number(value: object) -> Decimal | None:
    """A JSON number, exact; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    exact = Decimal(value)
    # No platform's books hold such a number; writing it out would take gigabytes.
    return exact if exact.is_finite() and -_MOST_DIGITS < exact.adjusted() < _MOST_DIGITS else None


def integer(value: object) -> int | None:
    """A positive whole number that the database can hold; None for anything else."""
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**63 else None
