"""The kinds of platform that can be simulated: for each its books, its API, its faults and how one logs in."""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from counterfoil.sandbox import ctrader, ctrader_faults, faults, feed_faults, omtrader
from counterfoil.sandbox.books import Books
from counterfoil.sandbox.calls import Platform
from counterfoil.sandbox.ctrader_books import CtraderBooks
from counterfoil.sandbox.options import SandboxOptions


class Made(NamedTuple):
    """A platform ready to be asked; `login` says in words how to log in."""

    books: Books | CtraderBooks
    platform: Platform
    login: str


class Kind(NamedTuple):
    """One kind: the faults that it obeys, and how it is made."""

    faults: Mapping[str, type[faults.Fault]]
    make: Callable[[SandboxOptions], Made]


def _omtrader(wish: SandboxOptions) -> Made:
    books = Books(clients=wish.clients, accounts=wish.accounts, deals=wish.deals, seed=wish.seed)
    users = {wish.username: (wish.password, omtrader.MANAGER), "trader": ("trader", omtrader.TRADER)}
    platform = omtrader.OmtraderPlatform(books, users, token_lifetime=wish.token_lifetime, page_limit=wish.page_limit)
    return Made(books, platform, f"user {wish.username}, password {wish.password}")


def _ctrader(wish: SandboxOptions) -> Made:
    books = CtraderBooks(
        clients=wish.clients, accounts=wish.accounts, deals=wish.deals, seed=wish.seed, broker=wish.broker
    )
    terms = ctrader.Terms(
        manager_login=wish.manager_login,
        password=wish.password,
        environment=wish.environment,
        chunk=wish.chunk,
        writes_per_hour=wish.writes_per_hour,
        filter_on=wish.filter_on,
        linked_code=wish.linked_code,
    )
    return Made(books, ctrader.CtraderPlatform(books, terms), f"manager {wish.manager_login}, password {wish.password}")


KINDS: Final[Mapping[str, Kind]] = {
    "omtrader": Kind({**faults.KINDS, **feed_faults.KINDS}, _omtrader),
    "ctrader": Kind(ctrader_faults.KINDS, _ctrader),
}


def kind(name: str) -> Kind:
    """A kind by its name. Raises ValueError when there is none."""
    found = KINDS.get(name)
    if found is None:
        raise ValueError(f"no sandbox of kind {name!r}; there are {', '.join(KINDS)}")
    return found
