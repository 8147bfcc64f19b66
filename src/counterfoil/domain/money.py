"""Amounts: exact, positive, no finer than their currency."""

from decimal import Decimal

LARGEST = Decimal(10**15)


def fits(amount: Decimal, digits: int) -> bool:
    """Whether an amount is positive, below 10^15 and has at most so many digits after the point."""
    if not amount.is_finite() or not 0 < amount < LARGEST:
        return False
    scaled = amount.scaleb(digits)
    return scaled == scaled.to_integral_value()


def plain(amount: Decimal) -> str:
    """The amount as a JSON number without an exponent, with no more digits than it needs."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
