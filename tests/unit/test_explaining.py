"""What is decided about money that nothing explains: the whole table."""

from decimal import Decimal
from itertools import product

import pytest

from counterfoil.domain.explaining import Noted, Step, judge

FIVE = Decimal(5)


@pytest.mark.parametrize(
    ("unexplained", "noted", "moved", "unsettled", "step"),
    [
        (None, None, False, False, Step.LEAVE),
        (Decimal(0), None, False, False, Step.LEAVE),
        (None, Noted(FIVE, read_again=True), False, False, Step.FORGET),
        (Decimal("0.00"), Noted(FIVE, read_again=True), False, False, Step.FORGET),
        (FIVE, None, False, False, Step.NOTE),
        (FIVE, Noted(-FIVE, read_again=True), False, False, Step.NOTE),
        (FIVE, Noted(FIVE, read_again=True), True, False, Step.NOTE),
        (FIVE, Noted(FIVE, read_again=False), False, False, Step.LEAVE),
        (FIVE, Noted(FIVE, read_again=True), False, True, Step.LEAVE),
        (FIVE, Noted(FIVE, read_again=True), False, False, Step.INFER),
        (Decimal("5.00"), Noted(FIVE, read_again=True), False, False, Step.INFER),
    ],
)
def test_what_is_decided(unexplained, noted, moved, unsettled, step):
    assert judge(unexplained, noted, moved=moved, unsettled=unsettled) is step


def test_there_is_one_way_to_infer():
    amounts = (None, Decimal(0), FIVE, Decimal(6))
    notes = (None, *(Noted(amount, read_again=again) for amount, again in product((FIVE, Decimal(6)), (False, True))))
    ways = [
        (amount, note)
        for amount, note, moved, unsettled in product(amounts, notes, (False, True), (False, True))
        if judge(amount, note, moved=moved, unsettled=unsettled) is Step.INFER
    ]
    assert ways == [(amount, Noted(amount, read_again=True)) for amount in (FIVE, Decimal(6))]
