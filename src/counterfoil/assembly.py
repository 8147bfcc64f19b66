"""Puts the parts together as the settings say: a database, and for each platform a budget, a client and its pulls."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncEngine

from counterfoil.platform_settings import OMTraderSettings
from counterfoil.platforms.base import Vault
from counterfoil.platforms.omtrader.client import Connection, OMTrader
from counterfoil.pull.puller import Puller
from counterfoil.pull.run import Pace
from counterfoil.settings import DatabaseSettings, Settings
from counterfoil.store.budget import Limits, SharedBudget
from counterfoil.store.embedded import EmbeddedPostgres, running
from counterfoil.store.engine import with_password
from counterfoil.store.runs import Runs
from counterfoil.store.sessions import PrivateVault, SealedVault

EMBEDDED = "embedded"
# Requests under way at once for one resource; more does not help against any latency that a platform has.
MOST_AHEAD = 6
# A place in the budget is kept this much longer than a request may take, in seconds.
HOLD_MARGIN = 5.0


@contextmanager
def database(settings: DatabaseSettings, *, join: bool = False) -> Iterator[str]:
    """The URL of the database, of one that we start ourselves where the settings say `embedded`.

    `join`: of one that the daemon runs already on the same directory, where there is one.

    Raises:
        ConfigurationError: no server can be started here.
    """
    if settings.url.partition(":")[0] != EMBEDDED:
        password = settings.password.get_secret_value() if settings.password else None
        yield settings.url if password is None else with_password(settings.url, password)
        return
    directory = settings.url.partition(":")[2]
    if join and directory and (url := running(Path(directory))) is not None:
        yield url
        return
    with EmbeddedPostgres.start(Path(directory) if directory else None) as server:
        yield server.url


@dataclass(frozen=True, slots=True)
class Platform:
    """One platform at work."""

    name: str
    settings: OMTraderSettings
    client: OMTrader
    puller: Puller

    async def close(self) -> None:
        """Close its connections."""
        await self.client.close()


def platform(engine: AsyncEngine, name: str, settings: Settings) -> Platform:
    """A platform as configured; nothing is sent yet."""
    own = settings.platforms[name]
    limit = own.rate_limit
    timeout = own.timeout.total_seconds()
    limits = Limits(
        per_second=limit.per_second, burst=limit.burst, concurrent=limit.concurrent, hold=timeout + HOLD_MARGIN
    )
    client = OMTrader(
        Connection(
            base_url=own.base_url,
            username=own.username,
            password=own.password.get_secret_value(),
            timeout=timeout,
            ca_file=own.ca_file,
            deals_path=own.deals_path,
        ),
        SharedBudget(engine, name, limits),
        _vault(engine, name, settings),
    )
    puller = Puller(
        runs=Runs(engine),
        platform=name,
        reader=client,
        pace=Pace(page_size=own.page_size, ahead=min(limit.concurrent, MOST_AHEAD)),
        intervals=own.pull,
    )
    return Platform(name, own, client, puller)


def platforms(engine: AsyncEngine, settings: Settings) -> Mapping[str, Platform]:
    """Every platform, by name."""
    return {name: platform(engine, name, settings) for name in settings.platforms}


def _vault(engine: AsyncEngine, name: str, settings: Settings) -> Vault:
    key = settings.crm.encryption_key
    return PrivateVault() if key is None else SealedVault(engine, name, key.get_secret_value())
