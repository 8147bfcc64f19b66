import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterfoil.sandbox.text import DAY, SECOND, maybe, moment, number, quoted, stamp


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (0, 2, "0"),
        (1250, 2, "12.5"),
        (-5, 2, "-0.05"),
        (700, 2, "7"),
        (-1235, 2, "-12.35"),
        (99, 0, "99"),
        (10**20 + 1, 8, "1000000000000.00000001"),
    ],
)
def test_a_number_is_its_shortest_plain_decimal(value, digits, text):
    assert number(value, digits) == text


@given(st.integers(-(10**25), 10**25), st.integers(0, 10))
def test_a_number_keeps_every_digit(value, digits):
    text = number(value, digits)
    assert Decimal(text) == Decimal(value).scaleb(-digits)
    assert json.loads(text, parse_float=Decimal) == Decimal(text)


def test_a_missing_value_is_null():
    assert (maybe(None, 5), moment(None), maybe(150, 2)) == ("null", "null", "1.5")


@pytest.mark.parametrize(
    ("at", "text"),
    [
        (0, "1970-01-01T00:00:00.00000Z"),
        (20_000 * DAY + 86_399 * SECOND + 545_150_000, "2024-10-04T23:59:59.54515Z"),
        (20_000 * DAY + 148_078_179, "2024-10-04T00:00:00.148078179Z"),
    ],
)
def test_a_stamp_has_five_to_nine_fraction_digits(at, text):
    assert stamp(at) == text


@given(st.text())
def test_a_quoted_text_reads_back(text):
    assert json.loads(quoted(text)) == text
