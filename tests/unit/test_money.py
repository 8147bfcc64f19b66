"""Amounts: what fits a currency, and how it is written."""

from decimal import Decimal

import pytest

from counterfoil.domain.money import LARGEST, fits, plain


@pytest.mark.parametrize(
    ("amount", "digits"),
    [
        ("0.01", 2),
        ("1", 0),
        ("1.00", 0),
        ("7.25", 2),
        ("7.2500", 2),
        ("0.00000001", 8),
        ("1E+3", 0),
        ("1E-2", 2),
        ("999999999999999.99", 2),
        ("999999999999999", 0),
        ("999999999999999.99999999999999999999", 20),
    ],
)
def test_an_amount_that_its_currency_can_hold_fits(amount, digits):
    assert fits(Decimal(amount), digits) is True


@pytest.mark.parametrize(
    ("amount", "digits"),
    [
        ("0", 2),
        ("-0.01", 2),
        ("-1", 0),
        ("NaN", 2),
        ("sNaN", 2),
        ("Infinity", 2),
        ("-Infinity", 2),
        ("1000000000000000", 2),
        ("1E+15", 0),
        ("0.001", 2),
        ("7.255", 2),
        ("0.5", 0),
        ("1.1", 0),
        ("0.000000001", 8),
        # More digits than Decimal's default context keeps.
        ("100000000000000.00000000000000000001", 2),
        ("999999999999999.99999999999999999999", 19),
    ],
)
def test_an_amount_that_is_none_or_finer_than_its_currency_does_not_fit(amount, digits):
    assert fits(Decimal(amount), digits) is False


def test_the_largest_amount_is_a_quadrillion():
    assert LARGEST == 1_000_000_000_000_000


@pytest.mark.parametrize(
    ("amount", "text"),
    [
        ("7.25", "7.25"),
        ("7.50", "7.5"),
        ("7.00", "7"),
        ("100", "100"),
        ("1E+3", "1000"),
        ("1E-8", "0.00000001"),
        ("0.10", "0.1"),
        ("10.010", "10.01"),
        ("-7.20", "-7.2"),
        ("999999999999999.99999999999999999999", "999999999999999.99999999999999999999"),
    ],
)
def test_an_amount_is_written_without_an_exponent_and_with_no_more_digits_than_it_needs(amount, text):
    assert plain(Decimal(amount)) == text
