"""A cTrader environment, put together as the settings say."""

from urllib.parse import urlsplit

from sqlalchemy.ext.asyncio import AsyncEngine

from counterfoil.ctrader_settings import CTraderSettings
from counterfoil.platforms.base import Budget, Vault
from counterfoil.platforms.ctrader.client import Connection, CTrader
from counterfoil.platforms.ctrader.session import Credentials
from counterfoil.store.allowance import HourlyAllowance
from counterfoil.store.bindings import NameBinding


def client(engine: AsyncEngine, name: str, own: CTraderSettings, *, budget: Budget, vault: Vault) -> CTrader:
    """What reads and writes it."""
    connection = Connection(
        base_url=own.base_url,
        manager=Credentials(own.manager_login, own.password.get_secret_value()),
        timeout=own.timeout.total_seconds(),
        ca_file=own.ca_file,
    )
    # One host may serve several environments and white labels, whose accounts have nothing to do with each other.
    place = f"{urlsplit(own.base_url).netloc} {own.environment_name} {own.broker_name}"
    allowance = HourlyAllowance(engine, name, own.rate_limit.writes_per_hour)
    return CTrader(connection, budget, vault, allowance, NameBinding(engine, name, own.kind, place))
