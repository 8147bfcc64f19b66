"""Puts the parts together as the settings say: a database, and for each platform a budget, a client and its pulls."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from sqlalchemy.ext.asyncio import AsyncEngine

from counterfoil.ctrader_settings import CTraderSettings
from counterfoil.platform_settings import MoneySettings, OMTraderSettings, PlatformSettings
from counterfoil.platforms.base import Vault
from counterfoil.platforms.ctrader import client as ctrader
from counterfoil.platforms.ctrader.client import CTrader
from counterfoil.platforms.ctrader.pushes import CTraderWriter, House
from counterfoil.platforms.ctrader.session import Credentials
from counterfoil.platforms.omtrader import client as omtrader
from counterfoil.platforms.omtrader.client import OMTrader
from counterfoil.platforms.omtrader.transfers import MoneyForm, Movement
from counterfoil.platforms.writing import Writer
from counterfoil.pull.puller import CTRADER, OMTRADER, Puller
from counterfoil.pull.run import Pace
from counterfoil.pull.streamed import Streamer
from counterfoil.push.attempt import Attempts
from counterfoil.push.pusher import Pusher
from counterfoil.push.resolve import Looks, Patience
from counterfoil.settings import DatabaseSettings, Settings
from counterfoil.store import publishing
from counterfoil.store.allowance import HourlyAllowance
from counterfoil.store.bindings import NameBinding
from counterfoil.store.budget import Limits, SharedBudget
from counterfoil.store.embedded import EmbeddedPostgres, running
from counterfoil.store.engine import with_password
from counterfoil.store.intents import Queue
from counterfoil.store.mirrored import MirroredBooks
from counterfoil.store.publishing import PublishedPlatform, PublishedRules
from counterfoil.store.runs import Runs
from counterfoil.store.secrets_kept import Safe
from counterfoil.store.sessions import PrivateVault, SealedVault

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
    directory = settings.url.partition(":")[2]
    if join and directory and (url := running(Path(directory))) is not None:
        yield url
        return
    with EmbeddedPostgres.start(Path(directory) if directory else None) as server:
        yield server.url


Client = OMTrader | CTrader


@dataclass(frozen=True, slots=True)
class Platform:
    """One platform at work."""

    name: str
    settings: PlatformSettings
    client: Client
    puller: Puller
    pusher: Pusher | None
    """None: this platform is only mirrored."""
    streamer: Streamer | None = None
    """None: this platform is only polled."""

    async def close(self) -> None:
        """Close its connections."""
        await self.client.close()


def platform(engine: AsyncEngine, name: str, settings: Settings) -> Platform:
    """A platform as configured; nothing is sent yet."""
    own = settings.platforms[name]
    client: Client
    streamer: Streamer | None = None
    if isinstance(own, CTraderSettings):
        client, plan, page_size = _ctrader(engine, name, settings, own), CTRADER, 1
        writer: Writer = CTraderWriter(client, House(own.broker_name, own.environment_name))
    else:
        client, plan, page_size = _omtrader(engine, name, settings, own), OMTRADER, own.page_size
        writer = client.writer(_form(own.money), page_size=own.page_size, merges=own.put == "merge")
    puller = Puller(
        runs=Runs(engine),
        platform=name,
        reader=client,
        pace=Pace(page_size=page_size, ahead=min(own.rate_limit.concurrent, MOST_AHEAD)),
        intervals=own.pull,
        plan=plan,
        streams=isinstance(own, OMTraderSettings) and own.stream,
    )
    if isinstance(own, OMTraderSettings) and isinstance(client, OMTrader) and own.stream_address is not None:
        source = client.stream(own.stream_address)
        streamer = Streamer(runs=Runs(engine), platform=name, source=source, has_read=puller.has_read)
    pusher = _pusher(engine, name, settings, writer) if settings.pushes(name) else None
    return Platform(name, own, client, puller, pusher, streamer)


def _omtrader(engine: AsyncEngine, name: str, settings: Settings, own: OMTraderSettings) -> OMTrader:
    connection = omtrader.Connection(
        base_url=own.base_url,
        username=own.username,
        password=own.password.get_secret_value(),
        timeout=own.timeout.total_seconds(),
        ca_file=own.ca_file,
        deals_path=own.deals_path,
    )
    binding = NameBinding(engine, name, own.kind, urlsplit(own.base_url).netloc)
    return OMTrader(connection, _budget(engine, name, own), _vault(engine, name, settings), binding)


def _ctrader(engine: AsyncEngine, name: str, settings: Settings, own: CTraderSettings) -> CTrader:
    connection = ctrader.Connection(
        base_url=own.base_url,
        manager=Credentials(own.manager_login, own.password.get_secret_value()),
        timeout=own.timeout.total_seconds(),
        ca_file=own.ca_file,
    )
    # One host may serve several environments and white labels, whose accounts have nothing to do with each other.
    place = f"{urlsplit(own.base_url).netloc} {own.environment_name} {own.broker_name}"
    return CTrader(
        connection,
        _budget(engine, name, own),
        _vault(engine, name, settings),
        HourlyAllowance(engine, name, own.rate_limit.writes_per_hour),
        NameBinding(engine, name, own.kind, place),
    )


def _budget(engine: AsyncEngine, name: str, own: PlatformSettings) -> SharedBudget:
    limit, hold = own.rate_limit, own.timeout.total_seconds() + HOLD_MARGIN
    limits = Limits(per_second=limit.per_second, burst=limit.burst, concurrent=limit.concurrent, hold=hold)
    return SharedBudget(engine, name, limits)


def _pusher(engine: AsyncEngine, name: str, settings: Settings, writer: Writer) -> Pusher:
    own, key = settings.platforms[name], settings.crm.encryption_key
    queue, books = Queue(engine, name, own.lease), MirroredBooks(engine, name, _reference_field(own))
    safe = Safe(engine, None if key is None else key.get_secret_value())
    patience = Patience(settle=own.unknown.settle, looks=own.unknown.looks, between=own.unknown.between)
    return Pusher(
        queue=queue,
        writer=writer,
        attempts=Attempts(queue=queue, writer=writer, books=books, safe=safe, timeout=own.timeout.total_seconds()),
        looks=Looks(writer=writer, books=books, safe=safe, patience=patience),
        # More than the platform serves at once: while some wait for an answer others wait for the database.
        places=own.rate_limit.concurrent * 2,
    )


def _reference_field(own: PlatformSettings) -> str:
    """Where our references travel; cTrader's fields are not for us to choose."""
    return own.money.reference_field if isinstance(own, OMTraderSettings) else "externalId"


def _form(money: MoneySettings) -> MoneyForm:
    kinds = ("deposit", "withdraw", "credit_in", "credit_out")
    movements = {kind: Movement(getattr(money, kind).side, getattr(money, kind).direction) for kind in kinds}
    return MoneyForm(movements=movements, amount_field=money.amount_field, reference_field=money.reference_field)


async def publish(engine: AsyncEngine, settings: Settings) -> None:
    """Tell the boundary's functions what the settings say.

    Raises:
        store.Unreachable: the database cannot be reached.
    """
    crm = settings.crm
    rules = PublishedRules(
        platform_choice=crm.platform_choice,
        owned_fields=crm.owned_fields,
        username=crm.username,
        password_length=crm.passwords.length,
        password_symbols=crm.passwords.symbols,
        sandbox_payouts=crm.allow_sandbox_payouts,
    )
    platforms = [
        PublishedPlatform(
            platform=name,
            kind=own.kind,
            pushes=settings.pushes(name),
            updates_accounts=not isinstance(own, OMTraderSettings) or own.put == "partial",
            account_defaults=own.account_defaults,
            reference_field=_reference_field(own),
        )
        for name, own in settings.platforms.items()
    ]
    await publishing.publish(engine, rules, platforms)


def platforms(engine: AsyncEngine, settings: Settings) -> Mapping[str, Platform]:
    """Every platform, by name."""
    return {name: platform(engine, name, settings) for name in settings.platforms}


def _vault(engine: AsyncEngine, name: str, settings: Settings) -> Vault:
    key = settings.crm.encryption_key
    return PrivateVault() if key is None else SealedVault(engine, name, key.get_secret_value())
