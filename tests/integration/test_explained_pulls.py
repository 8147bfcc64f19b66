"""Transactions that no platform tells, against a simulated one that knows them: what was inferred is what strangers moved."""

from collections import Counter
from decimal import Decimal

import pytest

from counterfoil.pull import explained, registered
from counterfoil.pull.puller import CTRADER
from counterfoil.store import audit
from support.boundary import publish_settings
from support.ctrading import INTERVALS, PLATFORM, PUBLISHED, pull_bench
from support.pulling import EVERY, one_pass

PLAN = {**CTRADER, "clients": registered.pull, "transactions": explained.pull}
POLLED = tuple(name for name in PLAN if name != "sweep")
KINDS = {
    2: ("DEPOSIT", "WITHDRAW"),
    3: ("DEPOSIT_NONWITHDRAWABLE_BONUS", "WITHDRAW_NONWITHDRAWABLE_BONUS"),
}


def inferred(it) -> Counter[tuple[int, int, Decimal]]:
    rows = it.rows(
        "SELECT account_id, side, amount FROM mirror.transactions WHERE origin = 'inferred' AND deleted_at IS NULL"
    )
    return Counter(tuple(row) for row in rows)


async def disagreeing(puller) -> tuple[list[str], int]:
    """What the audit finds, and how many accounts are not explained yet."""
    found = await audit.compare(puller.runs.engine, [PLATFORM])
    assert found.unread == []
    return [finding.text for finding in found.findings], found.moving


def told(it, since: int = 0) -> Counter[tuple[int, int, Decimal]]:
    """The platform's own history of balance operations, from a place of it on; of accounts that the manager sees."""
    seen = {row.id for row in it.rows("SELECT id FROM mirror.accounts")}
    rows = [(row, it.books.trader(row.login).digits) for row in it.books.history[since:] if row.login in seen]
    return Counter(
        (row.login, 3 if "NONWITHDRAWABLE" in row.kind else 2, Decimal(row.amount).scaleb(-digits))
        for row, digits in rows
    )


def summed(rows: Counter[tuple[int, int, Decimal]]) -> dict[tuple[int, int], Decimal]:
    """By account and side, without those that come to nothing."""
    sums: dict[tuple[int, int], Decimal] = {}
    for (login, side, amount), times in rows.items():
        sums[login, side] = sums.get((login, side), Decimal(0)) + amount * times
    return {key: amount for key, amount in sums.items() if amount}


@pytest.mark.parametrize("filter_on", ["close", "open"])
async def test_what_is_inferred_is_what_the_platform_knows_strangers_to_have_moved(database_url, filter_on):
    async with pull_bench(database_url, filter_on=filter_on) as it:
        await publish_settings(database_url, [PUBLISHED])
        puller = it.puller(intervals={**INTERVALS, "clients": EVERY, "transactions": EVERY})
        puller.plan = PLAN
        for _ in range(4):
            assert await one_pass(puller, *POLLED) == {}
        assert await disagreeing(puller) == ([], 0)
        opening = inferred(it)
        some = sorted(it.books.traders)[:6]
        before = len(it.books.history)
        assert summed(opening) == summed(told(it))
        for turn, (login, side) in enumerate(zip(some, (2, 3, 2, 3, 2, 2), strict=True)):
            way = turn % 2
            held = it.books.trader(login).balance if side == 2 else 10**6
            units = max(1, min(1234, held // 2)) * (-1 if way and side == 2 else 1)
            it.books.move_money(login, units, KINDS[side][units < 0], "by hand")
            it.books.trade(3)
            for _ in range(4):
                assert await one_pass(puller, *POLLED) == {}
        assert await disagreeing(puller) == ([], 0)
        assert inferred(it) - opening == told(it, before)
        assert len(it.books.history) >= before + len(some)
        assert opening - inferred(it) == Counter()
