"""Amounts: exact, positive, no finer than their currency."""

from decimal import Context, Decimal

LARGEST = Decimal(10**15)
# Wide enough that nothing is rounded before it is compared.
_WIDE = Context(prec=80)


def fits(amount: Decimal, digits: int) -> bool:
    """Whether an amount is positive, below 10^15 and has at most so many digits after the point."""
    if not amount.is_finite() or not 0 < amount < LARGEST:
        return False
    return amount == amount.quantize(Decimal(1).scaleb(-digits), context=_WIDE)


def plain(amount: Decimal) -> str:
    """The amount as a JSON number without an exponent, with no more digits than it needs."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
