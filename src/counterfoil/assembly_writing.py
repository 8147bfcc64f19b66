"""The write path of a platform, put together as the settings say, and what the boundary's functions are told of them."""

from sqlalchemy.ext.asyncio import AsyncEngine

from counterfoil.ctrader_settings import CTraderSettings
from counterfoil.platform_settings import MoneySettings, OMTraderSettings, PlatformSettings
from counterfoil.platforms.ctrader.client import CTrader
from counterfoil.platforms.ctrader.pushes import CTraderWriter, House
from counterfoil.platforms.omtrader.client import OMTrader
from counterfoil.platforms.omtrader.transfers import MoneyForm, Movement
from counterfoil.platforms.writing import Writer
from counterfoil.push.attempt import Attempts
from counterfoil.push.pusher import Pusher
from counterfoil.push.resolve import Looks, Patience
from counterfoil.settings import Settings
from counterfoil.store import publishing
from counterfoil.store.intents import Queue
from counterfoil.store.mirrored import MirroredBooks
from counterfoil.store.publishing import PublishedPlatform, PublishedRules
from counterfoil.store.secrets_kept import Safe


def pusher(engine: AsyncEngine, name: str, settings: Settings, client: OMTrader | CTrader) -> Pusher:
    """What carries the CRM's requests to a platform."""
    own, key = settings.platforms[name], settings.crm.encryption_key
    writer = _writer(own, client)
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


def _writer(own: PlatformSettings, client: OMTrader | CTrader) -> Writer:
    if isinstance(own, OMTraderSettings) and isinstance(client, OMTrader):
        return client.writer(_form(own.money), page_size=own.page_size, merges=own.put == "merge")
    if isinstance(own, CTraderSettings) and isinstance(client, CTrader):
        return CTraderWriter(client, House(own.broker_name, own.environment_name))
    raise TypeError(f"nobody writes to a platform of kind {own.kind}")


def _reference_field(own: PlatformSettings) -> str:
    """Where our references travel; cTrader's fields are not for us to choose."""
    return own.money.reference_field if isinstance(own, OMTraderSettings) else "externalId"


def _form(money: MoneySettings) -> MoneyForm:
    kinds = ("deposit", "withdraw", "credit_in", "credit_out")
    movements = {kind: Movement(getattr(money, kind).side, getattr(money, kind).direction) for kind in kinds}
    return MoneyForm(movements=movements, amount_field=money.amount_field, reference_field=money.reference_field)
