"""A process that asks for as much as it can get, and the database's own record of who got what."""

import asyncio
import time
from multiprocessing.queues import Queue

from counterfoil.domain.priority import Priority
from counterfoil.store.budget import Limits, SharedBudget
from support.store import connected

# Every place that is taken, with the moment from which its request may go.
RECORD = """
    CREATE TABLE public.granted (ready_at timestamptz);
    CREATE FUNCTION public.record_grant() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO public.granted VALUES (NEW.expires_at - interval '60 s');
        RETURN NULL;
    END $$;
    CREATE TRIGGER record_grant AFTER INSERT OR UPDATE ON counterfoil.slots
        FOR EACH ROW WHEN (NEW.expires_at IS NOT NULL) EXECUTE FUNCTION public.record_grant();
"""
LIMITS = Limits(per_second=40, burst=5, concurrent=3, hold=60)
GREED = (Priority.SWEEP, Priority.SWEEP, Priority.NORMAL, Priority.OPEN, Priority.MONEY)

Interval = tuple[float, float]


def greedy(url: str, requests: int, results: "Queue[list[Interval]]") -> None:
    """Ask with several tasks of every priority; tells when each request began and ended, on the machine's own clock."""
    results.put(asyncio.run(_greedy(url, requests)))


async def _greedy(url: str, requests: int) -> list[Interval]:
    intervals: list[Interval] = []

    async def ask(budget: SharedBudget, priority: Priority) -> None:
        while len(intervals) < requests:
            async with budget.request(priority):
                began = time.monotonic()
                await asyncio.sleep(0.005)
                intervals.append((began, time.monotonic()))

    async with connected(url) as database:
        budget = SharedBudget(database, "live", LIMITS)
        await asyncio.gather(*(ask(budget, priority) for priority in GREED))
    return intervals
