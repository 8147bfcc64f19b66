"""What follows from one more look: the table of findings and of how far they may be believed."""

import pytest

from counterfoil.domain.attempt import Absent, Found, Unclear, Wrong
from counterfoil.domain.verdict import PATIENCE, Next, Trust, decide


def trust(looks=0, *, settled=True, readable=True, needed=2):
    return Trust(settled=settled, readable=readable, looks=looks, needed=needed)


@pytest.mark.parametrize("settled", [True, False])
@pytest.mark.parametrize("readable", [True, False])
@pytest.mark.parametrize("looks", [-9, 0, 1, 9])
def test_what_is_found_is_confirmed_whatever_was_seen_before(settled, readable, looks):
    assert decide(Found(5), trust(looks, settled=settled, readable=readable)) == (
        Next.CONFIRM,
        looks,
        "found on the platform",
    )


@pytest.mark.parametrize("settled", [True, False])
@pytest.mark.parametrize("looks", [-9, 0, 9])
def test_what_is_wrong_is_parked_at_once_with_its_reason(settled, looks):
    assert decide(Wrong("twice"), trust(looks, settled=settled)) == (Next.PARK, looks, "twice")


@pytest.mark.parametrize("looks", [-3, 0, 1, 50])
@pytest.mark.parametrize("readable", [True, False])
def test_before_the_settle_time_absent_means_nothing_and_counts_for_nothing(looks, readable):
    found = decide(Absent(), trust(looks, settled=False, readable=readable))
    assert found == (Next.LOOK_AGAIN, 0, "not there yet; it may still arrive")


@pytest.mark.parametrize("looks", [-1, 0, 1, 5])
def test_absent_is_a_persons_matter_where_references_were_never_read_back(looks):
    decision, kept, reason = decide(Absent(), trust(looks, readable=False))
    assert (decision, kept) == (Next.PARK, looks)
    assert reason == "not found, but no reference of ours was ever read back from this platform: it may not show them"


@pytest.mark.parametrize(
    ("looks", "needed", "decision", "kept", "reason"),
    [
        (0, 1, Next.RESEND, 1, "proven absent by 1 looks"),
        (0, 2, Next.LOOK_AGAIN, 1, "absent in 1 of 2 looks"),
        (1, 2, Next.RESEND, 2, "proven absent by 2 looks"),
        (2, 2, Next.RESEND, 3, "proven absent by 3 looks"),
        (1, 3, Next.LOOK_AGAIN, 2, "absent in 2 of 3 looks"),
        (2, 3, Next.RESEND, 3, "proven absent by 3 looks"),
        # Unclear looks before it do not count, neither for nor against.
        (-1, 2, Next.LOOK_AGAIN, 1, "absent in 1 of 2 looks"),
        (-4, 1, Next.RESEND, 1, "proven absent by 1 looks"),
    ],
)
def test_absent_is_proven_by_as_many_agreeing_looks_as_are_needed(looks, needed, decision, kept, reason):
    assert decide(Absent(), trust(looks, needed=needed)) == (decision, kept, reason)


@pytest.mark.parametrize(
    ("looks", "needed", "decision", "kept"),
    [
        (0, 2, Next.LOOK_AGAIN, -1),
        (1, 2, Next.LOOK_AGAIN, -1),
        (9, 2, Next.LOOK_AGAIN, -1),
        (-1, 2, Next.LOOK_AGAIN, -2),
        (-3, 2, Next.LOOK_AGAIN, -4),
        (-4, 2, Next.PARK, -5),
        (-9, 2, Next.PARK, -10),
        (-2, 1, Next.LOOK_AGAIN, -3),
        (-3, 1, Next.PARK, -4),
    ],
)
def test_looks_that_prove_nothing_are_counted_for_themselves_until_a_person_is_asked(looks, needed, decision, kept):
    assert decide(Unclear("fog"), trust(looks, needed=needed)) == (decision, kept, "fog")


@pytest.mark.parametrize("looks", [-50, -1, 0, 1])
def test_before_the_settle_time_no_number_of_unclear_looks_asks_a_person(looks):
    assert decide(Unclear("fog"), trust(looks, settled=False)) == (Next.LOOK_AGAIN, 0, "fog")


@pytest.mark.parametrize("settled", [True, False])
@pytest.mark.parametrize("looks", [-50, -4, 0, 1, 9])
def test_a_look_that_failed_never_counts_and_never_asks_a_person(settled, looks):
    assert decide(Unclear("away", failed=True), trust(looks, settled=settled)) == (Next.LOOK_AGAIN, looks, "away")


def test_agreeing_and_unclear_looks_never_add_up():
    looks = 0
    for finding in (Absent(), Unclear("fog"), Absent(), Unclear("fog"), Absent()):
        decision, looks, _ = decide(finding, trust(looks))
        assert decision is Next.LOOK_AGAIN
    assert looks == 1


def test_patience_is_three_looks_beyond_the_needed_ones():
    assert PATIENCE == 3
