"""What explains the movement of a balance: the operation, the deals alone, either, or neither."""

from decimal import Decimal
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterfoil.domain.arithmetic import MOST_DEALS, Explanation, Movement, explain

APPLIED, NOT_APPLIED, BOTH_WAYS, NEITHER = Explanation


def explained(moved: str, wanted: str = "7.25", deals: str = "", near: str = "") -> Explanation:
    """What explains that a balance of 1000 moved by so much."""
    listed = ([Decimal(each) for each in text.split()] for text in (deals, near))
    before = Decimal(1000)
    return explain(
        Movement(
            before=before, after=before + Decimal(moved), wanted=Decimal(wanted), deals=next(listed), near=next(listed)
        )
    )


@pytest.mark.parametrize(
    ("moved", "wanted", "deals", "near", "explanation"),
    [
        ("7.25", "7.25", "", "", APPLIED),
        ("0", "7.25", "", "", NOT_APPLIED),
        ("-7.25", "-7.25", "", "", APPLIED),
        ("0", "-7.25", "", "", NOT_APPLIED),
        # the sign counts, and the last digit
        ("-7.25", "7.25", "", "", NEITHER),
        ("7.25", "-7.25", "", "", NEITHER),
        ("7.26", "7.25", "", "", NEITHER),
        ("14.50", "7.25", "", "", NEITHER),
        ("0.00000001", "0.00000001", "", "", APPLIED),
        ("7.250", "7.25", "", "", APPLIED),
        # deals
        ("17.25", "7.25", "10", "", APPLIED),
        ("10", "7.25", "10", "", NOT_APPLIED),
        ("-2.75", "7.25", "-10", "", APPLIED),
        ("3", "7.25", "1 2", "", NOT_APPLIED),
        ("10.25", "7.25", "1 2", "", APPLIED),
        ("5", "7.25", "10", "", NEITHER),
        ("7.25", "7.25", "0 0", "", APPLIED),
        # some of them are what the operation is, or undo it
        ("7.25", "7.25", "7.25", "", BOTH_WAYS),
        ("14.50", "7.25", "7.25", "", BOTH_WAYS),
        ("-7.25", "7.25", "-7.25", "", BOTH_WAYS),
        ("0", "7.25", "-7.25", "", BOTH_WAYS),
        ("7.25", "7.25", "3 4.25", "", BOTH_WAYS),
        ("8.25", "7.25", "3 4.25 1", "", BOTH_WAYS),
        ("-4.50", "-7.25", "2.75 -10 2.75", "", BOTH_WAYS),
        # listed before, and moving the balance only now
        ("7.25", "7.25", "", "7.25", BOTH_WAYS),
        ("0", "7.25", "", "-7.25", BOTH_WAYS),
        ("7.25", "7.25", "", "3 4.25", BOTH_WAYS),
        ("7.25", "7.25", "", "3 4", APPLIED),
        # one comes too early and one too late: -4.25 is counted and did nothing, 3 is not counted and moved it
        ("3", "7.25", "-4.25", "3", BOTH_WAYS),
        ("-1.25", "7.25", "-4.25", "3", NEITHER),
        ("-4.25", "7.25", "-4.25", "3", BOTH_WAYS),
        # one that is counted cannot help one that is not
        ("4.25", "7.25", "4.25", "3", NOT_APPLIED),
        ("11.50", "7.25", "4.25", "3", APPLIED),
        # what is neither stays so, whatever the deals could be
        ("1", "7.25", "7.25", "", NEITHER),
    ],
)
def test_what_explains_a_movement(moved, wanted, deals, near, explanation):
    assert explained(moved, wanted, deals, near) is explanation


@pytest.mark.parametrize("where", ["deals", "near"])
def test_more_deals_than_can_be_added_up_could_be_anything(where):
    many = " ".join(["100"] * MOST_DEALS)
    total = "1600" if where == "deals" else "0"
    assert explained(total, **{where: many}) is NOT_APPLIED
    more = {where: f"{many} 100"}
    assert explained("1700" if where == "deals" else "0", **more) is BOTH_WAYS
    assert explained(total, **{where: f"{many} 0 0 0"}) is NOT_APPLIED


amounts = st.integers(-20, 20).map(Decimal)
few = st.lists(amounts, max_size=4)


def sums(amounts: list[Decimal]) -> set[Decimal]:
    """The sums of all selections, one after the other."""
    return {sum(some, Decimal(0)) for size in range(len(amounts) + 1) for some in combinations(amounts, size)}


@given(moved=amounts, wanted=amounts.filter(bool), deals=few, near=few)
def test_it_agrees_with_every_selection_tried(moved, wanted, deals, near):
    found = explain(Movement(before=Decimal(0), after=moved, wanted=wanted, deals=deals, near=near))
    rest = moved - sum(deals)
    imitated = {late - early for early in sums(deals) for late in sums(near)} & {wanted, -wanted}
    if rest not in (0, wanted):
        assert found is NEITHER
    elif imitated:
        assert found is BOTH_WAYS
    else:
        assert found is (APPLIED if rest else NOT_APPLIED)


@given(
    there=st.booleans(),
    wanted=amounts.filter(bool),
    deals=st.lists(st.tuples(amounts, st.booleans(), st.booleans()), max_size=8),
)
def test_no_list_that_lags_makes_it_wrong(there, wanted, deals):
    """Each deal: what it does, whether the balances have it between them, whether only the second list has it."""
    moved = sum((deal for deal, between, _ in deals if between), Decimal(0)) + (wanted if there else 0)
    listed = [deal for deal, _, fresh in deals if fresh]
    before = [deal for deal, _, fresh in deals if not fresh]
    found = explain(Movement(before=Decimal(50), after=moved + 50, wanted=wanted, deals=listed, near=before))
    assert found is not (NOT_APPLIED if there else APPLIED)
