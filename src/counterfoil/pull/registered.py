"""Clients of a platform that lists none: nothing is asked, they are the registrants that were made its users."""

from counterfoil.pull.run import Run
from counterfoil.store import registered


async def pull(run: Run) -> None:
    """One look: registrants with a client's id become clients, and accounts that were linked get their owners."""
    run.written += await registered.write(run.mirror)
