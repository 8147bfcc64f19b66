"""The write path against a simulated cTrader platform: the bench of `pushing`, with that platform's ways."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any, ClassVar

from counterfoil.domain.errors import PausedError
from counterfoil.domain.priority import Priority
from counterfoil.domain.references import idempotency_reference
from counterfoil.platforms.ctrader.client import Connection, CTrader
from counterfoil.platforms.ctrader.pushes import CTraderWriter, House
from counterfoil.platforms.ctrader.session import Credentials, md5
from counterfoil.platforms.sessions import PrivateVault
from counterfoil.pull.puller import CTRADER, Puller
from counterfoil.pull.run import Pace
from counterfoil.push import pusher as pushers
from counterfoil.push.attempt import Attempts
from counterfoil.push.pusher import Pusher
from counterfoil.push.resolve import Looks, Patience
from counterfoil.sandbox import Sandbox, SandboxOptions
from counterfoil.store import engine as engines
from counterfoil.store.allowance import HourlyAllowance
from counterfoil.store.intents import Queue
from counterfoil.store.mirrored import MirroredBooks
from counterfoil.store.publishing import PublishedPlatform
from counterfoil.store.runs import Runs
from counterfoil.store.secrets_kept import Safe
from support import pulling, pushing
from support.boundary import Crm, Owner, publish_settings
from support.budget import FreeBudget
from support.pushing import KEY, LEASE, SETTLE, TIMEOUT, PushBench, Replica, Wrap

PLATFORM = "live"
DEFAULTS = {"groupName": "default", "depositCurrency": "EUR", "leverageInCents": 10000}
PUBLISHED = PublishedPlatform(
    platform=PLATFORM,
    kind="ctrader",
    pushes=True,
    updates_accounts=True,
    account_defaults=DEFAULTS,
    reference_field="externalId",
)
MIRRORED = ("groups", "symbols", "accounts")
POLLED = tuple(name for name in CTRADER if name != "sweep")
INTERVALS = dict.fromkeys(POLLED, timedelta(minutes=1)) | {"sweep": timedelta(days=1)}
HOUSE = House("BESTBROKER", "live")


class FreeAllowance:
    """Allows everything, or nothing; `taken`: how often it was asked."""

    def __init__(self) -> None:
        self.taken = 0
        self.told: list[float | None] = []
        self.refusal: PausedError | None = None

    async def take(self, priority: Priority) -> None:
        """See platforms.base.WriteAllowance."""
        del priority
        if self.refusal is not None:
            raise self.refusal
        self.taken += 1

    async def exhausted(self, seconds: float | None) -> None:
        """See platforms.base.WriteAllowance."""
        self.told.append(seconds)


def client(url: str, *, timeout: float = 10, budget: FreeBudget | None = None, **parts: Any) -> CTrader:
    """A client of a simulated platform."""
    connection = Connection(base_url=url, manager=Credentials(2309, "sandbox"), timeout=timeout)
    return CTrader(
        connection,
        budget or FreeBudget(),
        parts.get("vault") or PrivateVault(),
        parts.get("allowance") or FreeAllowance(),
        parts.get("binding"),
    )


@dataclass
class CTraderPull(pulling.Bench):
    """One simulated cTrader platform and one database."""

    def puller(self, *, slice: float = 1_000.0, intervals: Any = INTERVALS, **_: Any) -> Puller:  # noqa: A002
        """See pulling.Bench."""
        made = Puller(
            runs=Runs(engines.create(self.url)),
            platform=PLATFORM,
            reader=client(self.sandbox.url),
            pace=Pace(page_size=1, ahead=3, slice=slice),
            intervals=pulling.paced(intervals),
            plan=CTRADER,
        )
        self.pullers.append(made)
        return made


@dataclass
class CTraderBench(PushBench):
    """See pushing.PushBench."""

    money_path: ClassVar[str] = "/changebalance$"

    def replica(
        self,
        *,
        lease: float = LEASE,
        timeout: float = TIMEOUT,
        settle: float = SETTLE,
        looks: int = 2,
        places: int = 8,
        refusal: Exception | None = None,
        base_url: str | None = None,
        key: str | None = KEY,
        like: Replica | None = None,
        through: Wrap = lambda engine: engine,
        writing: Wrap = lambda writer: writer,
        queueing: Wrap = lambda queue: queue,
        per_hour: int | None = None,
        **_: Any,
    ) -> Replica:
        """See pushing.PushBench. `per_hour`: how much may be written, None for no limit."""
        plain = like.engine if like else engines.create(self.url)
        engine, budget = through(plain), FreeBudget(refusal)
        allowance = None if per_hour is None else HourlyAllowance(plain, PLATFORM, per_hour)
        given = {"timeout": timeout, "budget": budget, "vault": self.vault, "allowance": allowance}
        reached = like.client if like else client(base_url or self.sandbox.url, **given)
        queue = queueing(Queue(engine, PLATFORM, timedelta(seconds=lease)))
        books, safe = MirroredBooks(engine, PLATFORM, "externalId"), Safe(engine, key)
        writer = writing(CTraderWriter(reached, HOUSE))
        patience = Patience(settle=timedelta(seconds=settle), looks=looks, between=timedelta(seconds=0))
        pusher = Pusher(
            queue=queue,
            writer=writer,
            attempts=Attempts(queue=queue, writer=writer, books=books, safe=safe, timeout=timeout),
            looks=Looks(writer=writer, books=books, safe=safe, patience=patience),
            places=places,
            on_database_lost=pushing._at_once,
        )
        made = Replica(pusher, reached, budget, plain, borrows=like is not None)
        self.replicas.append(made)
        return made

    async def mirror(self, *resources: str) -> None:
        """See pushing.PushBench."""
        await super().mirror(*(resources or MIRRORED))

    def registrant(self, name: str, profile: dict[str, Any] | None = None) -> int:
        """A registrant who is a user of the platform already; the user's id."""
        profile = profile or {"email": f"{name}@example.org", "first_name": "Ada", "family_name": "Byron"}
        self.crm.call("register", name, profile, PLATFORM)
        user = self.books.add_user(profile["email"])
        self._confirm(name, user.id, pushing._NAME_CLIENT)
        return int(user.id)

    def opened(self, registrant: str, *, number: int = 1, currency: str = "EUR") -> int:
        """An account `<registrant>/<number>` that was opened and is not linked yet; its login."""
        known = self.owner.rows("SELECT client_id FROM counterfoil.registrants WHERE registrant_id = %s", registrant)
        if not known:
            self.registrant(registrant)
        reference = f"{registrant}/{number}"
        made = self.crm.call("open_account", reference, registrant, {})
        trader = self.books.add_trader(
            description=idempotency_reference(reference),
            password_hash=md5(made["credentials"]["user_password"]),
            currency=currency,
        )
        self._confirm(reference, trader.login, _NAME_ACCOUNT)
        given = currency, trader.digits, reference
        self.owner.rows(
            "UPDATE counterfoil.accounts SET currency = %s, currency_digits = %s WHERE reference = %s", *given
        )
        return int(trader.login)

    def account(
        self, registrant: str, *, balance: object = 1000, credit: object = 100, number: int = 1, currency: str = "EUR"
    ) -> int:
        """See pushing.PushBench; it is linked too."""
        login = self.opened(registrant, number=number, currency=currency)
        reference = f"{registrant}/{number}"
        user_id = self.owner.value("SELECT client_id FROM counterfoil.registrants WHERE registrant_id = %s", registrant)
        self._confirm_link(reference, self.books.link(login, user_id))
        self.fund(login, balance)
        self.fund(login, credit, "CREDIT")
        return login

    def _confirm_link(self, reference: str, record_id: int) -> None:
        number = self.owner.value(
            "SELECT id FROM counterfoil.intents WHERE kind = 'link' AND reference = %s", reference
        )
        with self.owner.connection.transaction():
            self.owner.rows(pushing._SEND, number)
            self.owner.rows(pushing._CONFIRM, record_id, number)

    def fund(self, account_id: int, amount: object, side: Any = "BALANCE", comment: str = "by hand") -> None:
        """Money that somebody else moves on the platform; negative is out, 0 nothing."""
        trader = self.books.trader(account_id)
        units = int(Decimal(str(amount)).scaleb(trader.digits))
        kinds = {"BALANCE": ("DEPOSIT", "WITHDRAW"), "CREDIT": pushing_credit()}
        if units:
            self.books.move_money(account_id, units, kinds[side][units < 0], comment)

    def payout(self, reference: str, account: str, amount: object) -> None:
        """See pushing.PushBench."""
        self.crm.call("withdraw", reference, account, amount)
        login = self.account_id(account)
        units = int(Decimal(str(amount)).scaleb(2))
        ours = idempotency_reference(reference)
        booked = self.books.move_money(login, -units, "WITHDRAW", ours, ours)
        self._confirm(reference, booked.id, None)

    def effects(self, reference: str) -> list[Any]:
        """The lines of the balance history that carry the idempotency reference of this operation."""
        ours = idempotency_reference(reference)
        return [row for row in self.books.history if ours in (row.comment, row.external_id)]

    def strike(self, kind: str, **more: Any) -> None:
        """See pushing.PushBench. A trader is read where it is changed, so the method tells the two apart."""
        each = {"kind": kind, "path": WRITE, "times": 1, **more}
        methods = [each["method"]] if "method" in each else ["POST", "PATCH"]
        self.sandbox.faults.set([{**each, "method": method} for method in methods])

    def users(self, email: str) -> list[Any]:
        """The users of this e-mail address."""
        return [user for user in self.books.users.values() if user.email.lower() == email.lower()]

    def opened_for(self, reference: str) -> list[Any]:
        """The accounts that carry the marker of this one."""
        marker = idempotency_reference(reference)
        return [trader for trader in self.books.traders.values() if marker in (trader.description or "")]


WRITE = "/traders$|/changebalance$|/changepassword$|/ctid/|/traders/[0-9]+$"
_NAME_ACCOUNT = (
    "UPDATE counterfoil.accounts SET account_id = %s, currency = 'EUR', currency_digits = 2 WHERE reference = %s"
)


def pushing_credit() -> tuple[str, str]:
    """The kinds of the ledger of the non-withdrawable bonus, in and out."""
    return "DEPOSIT_NONWITHDRAWABLE_BONUS", "WITHDRAW_NONWITHDRAWABLE_BONUS"


@asynccontextmanager
async def pull_bench(url: str, **options: Any) -> AsyncIterator[CTraderPull]:
    """A running platform with small books, and a migrated database."""
    small = {"clients": 12, "accounts": 20, "deals": 320, "seed": 7}
    sandbox = Sandbox(SandboxOptions(kind="ctrader", **{**small, **options}))
    await sandbox.start()
    made = CTraderPull(url, sandbox)
    try:
        yield made
    finally:
        await made.close()


@asynccontextmanager
async def ct_bench(url: str, *, mirror: Sequence[str] = MIRRORED, **options: Any) -> AsyncIterator[CTraderBench]:
    """A running platform that is mirrored, published settings, and nothing asked for yet."""
    pushers.RETRY_RESULT = 0.01
    await publish_settings(url, [replace(PUBLISHED)], sandbox_payouts=True)
    small = {"clients": 4, "accounts": 6, "deals": 60}
    async with pull_bench(url, **{**small, **options}) as pull:
        crm, owner = Crm(url), Owner(url)
        with crm.connection, owner.connection:
            it = CTraderBench(pull, crm, owner)
            try:
                if mirror:
                    await it.mirror(*mirror)
                yield it
            finally:
                for made in it.replicas:
                    await made.close()
