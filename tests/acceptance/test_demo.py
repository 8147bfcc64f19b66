"""The demo, as somebody who has just cloned the repository meets it."""

import re

from support.process import outcome


async def test_the_demo_mirrors_a_platform_moves_money_and_leaves_nothing_behind():
    code, out, err = await outcome("demo", "--seconds", "22")
    assert (code, err) == (0, "")
    assert re.search(r"deals [1-9][\d,]*", out)
    assert re.search(r"[1-9]\d* withdrawals confirmed, [1-9]\d* payouts paid", out)
    assert out.rstrip().endswith("ended; nothing is left behind")
