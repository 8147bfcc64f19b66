"""What is computed of a record before it goes to the mirror: products of two of its numbers.

Only of tables of which so much comes that a second pass in the database would cost too much; exactly, and with the digits that
PostgreSQL gives a product.
"""

from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, DecimalException
from functools import lru_cache

from msgspec import Raw

# The computed column of a table, and those that are multiplied.
PRODUCTS = {"deals": ("volume_base", "volume", "contract_size")}
# Digits enough for any two numbers within NUMBER_LIMIT; 1e999999 is none that anybody means.
_EXACT = Context(prec=1_000, Emin=MIN_EMIN, Emax=MAX_EMAX)
_ONE = Decimal(1)


# No two numbers of anybody's books are longer than this together.
_LONGEST = 1_000


def product(factors: bytes) -> Raw:
    """Two numbers with a `*` between them multiplied, null when one of them is.

    The places behind the point are those of both together. Volumes are few: most of them were multiplied before.

    Raises:
        ValueError: they are out of all proportion.
    """
    if len(factors) > _LONGEST:
        raise ValueError("a number out of all proportion")
    return _product(factors)


@lru_cache(maxsize=10_000)
def _product(factors: bytes) -> Raw:
    first, second = factors.split(b"*")
    if b"null" in (first, second):
        return Raw(b"null")
    try:
        return Raw(str(_EXACT.multiply(_number(first.decode()), _number(second.decode()))).encode())
    except DecimalException as error:
        raise ValueError("a number out of all proportion") from error


def _number(token: str) -> Decimal:
    """A JSON number; a whole one such as 1e3 has no places behind the point, and none before it are left out."""
    number = _EXACT.create_decimal(token)
    return number.quantize(_ONE, context=_EXACT) if int(number.as_tuple().exponent) > 0 else number
