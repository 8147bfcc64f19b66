"""Commits whose acknowledgement never arrives, on the wire between daemon and PostgreSQL, one after the other."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

from counterfoil.store import Unreachable
from support.proxy import Proxy
from support.pushing import PushBench, push_bench

# More than the commits of one turn with its attempt.
MOST_COMMITS = 14


@asynccontextmanager
async def behind_proxy(
    url: str, bench: Callable[[str], AbstractAsyncContextManager[PushBench]] = push_bench
) -> AsyncIterator[tuple[PushBench, Proxy]]:
    """A bench, and a proxy through which its victims reach the database."""
    async with bench(url) as it:
        proxy = Proxy(url)
        await proxy.start()
        try:
            yield it, proxy
        finally:
            await proxy.stop()


async def lose_each_commit(it: PushBench, proxy: Proxy, url: str, ask: Callable[[int], str]) -> list[str]:
    """Ask for something new once per commit of a turn, lose that commit's answer, and let another replica go on."""
    asked = []
    for number in range(1, MOST_COMMITS + 1):
        asked.append(ask(number))
        proxy.lost = 0
        proxy.lose_answer_to(b"COMMIT", number)
        it.pull.url = proxy.url
        victim = it.replica()
        it.pull.url = url
        for _ in range(2):
            with suppress(*Unreachable):
                await victim.pusher.turn()
            await victim.rest()
        await victim.abandon()
        proxy.lose_answer_to(b"COMMIT", 0)
        await it.until_quiet(it.replica(), it.payouts_are_covered)
        if not proxy.lost:
            return asked
    return asked
