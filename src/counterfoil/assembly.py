"""Puts the parts together as the settings say: a database, and for each platform a budget, a client and its pulls.

What not everybody needs is imported where it is needed: it costs a quarter of the memory and the time of a start.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import urlsplit

from sqlalchemy.ext.asyncio import AsyncEngine

from counterfoil.ctrader_settings import CTraderSettings
from counterfoil.platform_settings import OMTraderSettings, PlatformSettings
from counterfoil.platforms.base import Vault
from counterfoil.platforms.omtrader.client import Connection, OMTrader
from counterfoil.platforms.sessions import PrivateVault
from counterfoil.pull.puller import PLANS, Puller
from counterfoil.pull.run import Pace
from counterfoil.settings import DatabaseSettings, Settings
from counterfoil.store.bindings import NameBinding
from counterfoil.store.budget import Limits, SharedBudget
from counterfoil.store.engine import with_password
from counterfoil.store.runs import Runs

if TYPE_CHECKING:
    from counterfoil.platforms.ctrader.client import CTrader
    from counterfoil.pull.streamed import Streamer
    from counterfoil.push.pusher import Pusher

EMBEDDED = "embedded"
# Requests under way at once for one resource: pages enough to go on with while others are written (pull.history.TOGETHER).
MOST_AHEAD = 12
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
    from counterfoil.store.embedded import EmbeddedPostgres, running  # noqa: PLC0415 - see above

    directory = settings.url.partition(":")[2]
    if join and directory and (url := running(Path(directory))) is not None:
        yield url
        return
    with EmbeddedPostgres.start(Path(directory) if directory else None) as server:
        yield server.url


Client: TypeAlias = "OMTrader | CTrader"


@dataclass(frozen=True, slots=True)
class Platform:
    """One platform at work."""

    name: str
    settings: PlatformSettings
    client: Client
    puller: Puller
    budget: SharedBudget
    pusher: "Pusher | None" = None
    """None: this platform is only mirrored."""
    streamer: "Streamer | None" = None
    """None: this platform is only polled."""

    async def close(self) -> None:
        """Close its connections."""
        await self.client.close()
        await self.budget.close()


def platform(engine: AsyncEngine, name: str, settings: Settings, *, writes: bool = True) -> Platform:
    """A platform as configured; nothing is sent yet. `writes`: with what carries requests there, where it is written to."""
    own = settings.platforms[name]
    budget = _budget(engine, name, own)
    client = _client(engine, name, own, budget=budget, vault=_vault(engine, name, settings))
    puller = Puller(
        runs=Runs(engine),
        platform=name,
        reader=client,
        pace=Pace(
            page_size=own.page_size if isinstance(own, OMTraderSettings) else 1,
            ahead=min(own.rate_limit.concurrent, MOST_AHEAD),
        ),
        intervals=own.pull,
        plan=PLANS[own.kind],
        streams=isinstance(own, OMTraderSettings) and own.stream,
    )
    pusher = None
    if writes and settings.pushes(name):
        from counterfoil import assembly_writing  # noqa: PLC0415 - see above

        pusher = assembly_writing.pusher(engine, name, settings, client)
    return Platform(name, own, client, puller, budget, pusher, _streamer(engine, name, own, client, puller))


def _client(engine: AsyncEngine, name: str, own: PlatformSettings, *, budget: SharedBudget, vault: Vault) -> Client:
    if isinstance(own, CTraderSettings):
        from counterfoil import assembly_ctrader  # noqa: PLC0415 - see above

        return assembly_ctrader.client(engine, name, own, budget=budget, vault=vault)
    if not isinstance(own, OMTraderSettings):
        raise TypeError(f"nobody reads a platform of kind {own.kind}")
    connection = Connection(
        base_url=own.base_url,
        username=own.username,
        password=own.password.get_secret_value(),
        timeout=own.timeout.total_seconds(),
        ca_file=own.ca_file,
        deals_path=own.deals_path,
    )
    return OMTrader(connection, budget, vault, NameBinding(engine, name, own.kind, urlsplit(own.base_url).netloc))


def _streamer(
    engine: AsyncEngine, name: str, own: PlatformSettings, client: Client, puller: Puller
) -> "Streamer | None":
    if not (isinstance(own, OMTraderSettings) and isinstance(client, OMTrader)) or own.stream_address is None:
        return None
    from counterfoil.pull.streamed import Streamer  # noqa: PLC0415 - see above

    return Streamer(
        runs=Runs(engine), platform=name, source=client.stream(own.stream_address), has_read=puller.has_read
    )


def _budget(engine: AsyncEngine, name: str, own: PlatformSettings) -> SharedBudget:
    limit, hold = own.rate_limit, own.timeout.total_seconds() + HOLD_MARGIN
    limits = Limits(per_second=limit.per_second, burst=limit.burst, concurrent=limit.concurrent, hold=hold)
    return SharedBudget(engine, name, limits)


def platforms(engine: AsyncEngine, settings: Settings) -> Mapping[str, Platform]:
    """Every platform, by name."""
    return {name: platform(engine, name, settings) for name in settings.platforms}


def _vault(engine: AsyncEngine, name: str, settings: Settings) -> Vault:
    key = settings.crm.encryption_key
    if key is None:
        return PrivateVault()
    from counterfoil.store.sessions import SealedVault  # noqa: PLC0415 - see above

    return SealedVault(engine, name, key.get_secret_value())
