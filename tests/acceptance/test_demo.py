"""The demo, as somebody who has just cloned the repository meets it."""

import re

from support.process import outcome

PLATFORMS = ("omtrader-demo", "ctrader-demo")


def said(out: str, platform: str, words: str) -> bool:
    """Whether a line of a platform says this."""
    return re.search(rf"^{platform}{words}", out, re.MULTILINE) is not None


async def test_the_demo_mirrors_two_platforms_moves_money_on_both_and_leaves_nothing_behind():
    code, out, err = await outcome("demo", "--seconds", "25")
    assert (code, err) == (0, "")
    for platform in PLATFORMS:
        assert said(
            out, platform, r": clients [1-9].* accounts [1-9].* transactions [1-9].* positions [1-9].* deals [1-9]"
        )
        assert said(out, platform, r", CRM: .*[1-9]\d* withdrawals confirmed, [1-9]\d* payouts paid")
        assert said(
            out, platform, r", analytics: account \d+ realised [+-][\d.,]+ [A-Z]{3}, won \d+, lost \d+; exposure"
        )
    assert said(out, "ctrader-demo", r", CRM: .*\([1-9]\d* passed KYC\)")
    assert out.rstrip().endswith("ended; nothing is left behind")
