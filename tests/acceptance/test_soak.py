"""A short soak in every run of the suite; `make soak` runs the long one."""

import pytest

from support.soak import Plan, soak


@pytest.mark.timeout(420)
async def test_daemons_killed_at_random_moments_lose_nothing_double_nothing_and_pay_nothing_early():
    found = await soak(Plan(seed=11, kills=12, operations=120, minutes=0.8, people=10))
    assert found["wrong"] == []
    assert found["kills"] >= 5
    assert found["operations_confirmed"] >= 60
    assert found["released"] >= 5
    for platform in ("omtrader", "ctrader"):
        assert found[platform]["operations_confirmed"] >= 20
        assert found[platform]["faults"] >= 10
