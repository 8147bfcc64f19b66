"""The write path in one process: a sandbox, a database, the CRM's calls, and replicas that write; checked against the books."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from typing import Any, ClassVar

from cryptography.fernet import Fernet
from sqlalchemy.ext.asyncio import AsyncEngine

from counterfoil.domain.references import idempotency_reference
from counterfoil.platforms.omtrader.client import Connection, OMTrader
from counterfoil.platforms.omtrader.transfers import MoneyForm
from counterfoil.platforms.sessions import PrivateVault
from counterfoil.push import pusher as pushers
from counterfoil.push.attempt import Attempts
from counterfoil.push.pusher import Pusher
from counterfoil.push.resolve import Looks, Patience
from counterfoil.sandbox.rows import BALANCE, CREDIT, Transaction
from counterfoil.store import engine as engines
from counterfoil.store.intents import Queue
from counterfoil.store.mirrored import MirroredBooks
from counterfoil.store.secrets_kept import Safe
from support import pulling
from support.boundary import PROFILE, Crm, Owner, publish_settings
from support.budget import FreeBudget

KEY = Fernet.generate_key().decode()
GROUP = 79
MIRRORED = ("groups", "symbols", "clients", "accounts", "deals", "transactions")
LEASE, TIMEOUT, SETTLE = 5.0, 1.0, 900.0
# Turns until everything must have come to rest.
MOST_TURNS = 60
PATIENCE = 20.0

_NAME_CLIENT = "UPDATE counterfoil.registrants SET client_id = %s WHERE registrant_id = %s"
_NAME_ACCOUNT = (
    "UPDATE counterfoil.accounts SET account_id = %s, currency = 'USD', currency_digits = 2 WHERE reference = %s"
)
_SEND = """
    UPDATE counterfoil.intents SET state = 'sent', lease_token = gen_random_uuid(), attempts = attempts + 1,
        lease_until = clock_timestamp() + interval '1 min', launched_at = clock_timestamp(), deadline_at = clock_timestamp()
    WHERE id = %s
"""
_CONFIRM = "UPDATE counterfoil.intents SET state = 'confirmed', record_id = %s, lease_until = NULL WHERE id = %s"
_LAPSE = """
    UPDATE counterfoil.intents SET lease_until = clock_timestamp() - interval '1 s',
        deadline_at = deadline_at - interval '1 day' WHERE state = 'sent'
"""
_AGE = "UPDATE counterfoil.intents SET deadline_at = deadline_at - interval '1 day' WHERE state = 'unknown'"
_HURRY = (
    "UPDATE counterfoil.intents SET due_at = clock_timestamp() - interval '1 s' WHERE state IN ('pending', 'unknown')"
)
_KILL = """
    SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'counterfoil'
"""


async def _at_once(_: BaseException) -> None:
    """Do not wait for a database that is there again already."""


Wrap = Callable[[Any], Any]


@dataclass
class Replica:
    """One process of the write path; `abandon` is its death."""

    pusher: Pusher
    client: OMTrader
    budget: FreeBudget
    engine: AsyncEngine
    borrows: bool = False

    @property
    def queue(self) -> Queue:
        """What it takes its work from."""
        return self.pusher.queue

    async def turn(self) -> None:
        """One look into the queue, and all that it takes up brought to its end."""
        self.pusher._tidied = -math.inf
        await self.pusher.turn()
        await self.rest()

    async def rest(self) -> None:
        """Until nothing is under way."""
        async with asyncio.timeout(PATIENCE):
            while self.pusher._tasks:
                await asyncio.wait(set(self.pusher._tasks))

    async def abandon(self) -> None:
        """End in the middle of whatever is under way."""
        tasks = set(self.pusher._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.close()

    async def close(self) -> None:
        """Close every connection, unless they are another replica's."""
        if not self.borrows:
            await self.client.close()
            await self.engine.dispose()


@dataclass
class PushBench:
    """One sandbox, one database, the CRM, and any number of replicas. `money_path`: where balance operations go."""

    money_path: ClassVar[str] = "/money"

    pull: pulling.Bench
    crm: Crm
    owner: Owner
    vault: PrivateVault = field(default_factory=PrivateVault)
    replicas: list[Replica] = field(default_factory=list)

    @property
    def url(self) -> str:
        """The database."""
        return self.pull.url

    @property
    def sandbox(self) -> Any:
        """The platform."""
        return self.pull.sandbox

    @property
    def books(self) -> Any:
        """The platform's own truth."""
        return self.pull.books

    def replica(
        self,
        *,
        lease: float = LEASE,
        timeout: float = TIMEOUT,
        settle: float = SETTLE,
        looks: int = 2,
        places: int = 8,
        page_size: int = 1000,
        merges: bool = False,
        form: MoneyForm | None = None,
        refusal: Exception | None = None,
        base_url: str | None = None,
        key: str | None = KEY,
        like: Replica | None = None,
        through: Wrap = lambda engine: engine,
        writing: Wrap = lambda writer: writer,
        queueing: Wrap = lambda queue: queue,
    ) -> Replica:
        """A replica of its own, made as assembly makes one.

        `like`: another whose connections it borrows. `through`, `writing`, `queueing`: wrap its parts.
        """
        plain = like.engine if like else engines.create(self.url)
        engine = through(plain)
        budget = FreeBudget(refusal)
        given = Connection(
            base_url=base_url or self.sandbox.url, username="crm-api", password="sandbox", timeout=timeout
        )
        client = like.client if like else OMTrader(given, budget, self.vault)
        queue = queueing(Queue(engine, pulling.PLATFORM, timedelta(seconds=lease)))
        books, safe = MirroredBooks(engine, pulling.PLATFORM, (form or MoneyForm()).reference_field), Safe(engine, key)
        writer = writing(client.writer(form or MoneyForm(), page_size=page_size, merges=merges))
        patience = Patience(settle=timedelta(seconds=settle), looks=looks, between=timedelta(seconds=0))
        pusher = Pusher(
            queue=queue,
            writer=writer,
            attempts=Attempts(queue=queue, writer=writer, books=books, safe=safe, timeout=timeout),
            looks=Looks(writer=writer, books=books, safe=safe, patience=patience),
            places=places,
            on_database_lost=_at_once,
        )
        made = Replica(pusher, client, budget, plain, borrows=like is not None)
        self.replicas.append(made)
        return made

    async def mirror(self, *resources: str) -> None:
        """Pull, so that the mirror holds what the platform holds."""
        puller = self.pull.pullers[0] if self.pull.pullers else self.pull.puller(page_size=500)
        left = await pulling.one_pass(puller, *(resources or MIRRORED), wait=True)
        assert left == {}, left

    # --- what the CRM has already ---------------------------------------------------------------------------------

    def registrant(self, name: str, profile: dict[str, Any] | None = None) -> int:
        """A registrant who is a client of the platform already; the client's id."""
        profile = profile or PROFILE
        self.crm.call("register", name, profile, pulling.PLATFORM)
        client = self.books.add_client({**profile, "external_id": name})
        self._confirm(name, client.id, _NAME_CLIENT)
        return int(client.id)

    def account(self, registrant: str, *, balance: object = 1000, credit: object = 100, number: int = 1) -> int:
        """A confirmed account `<registrant>/<number>` with this much on it, of a registrant who is made where need be."""
        known = self.owner.rows("SELECT client_id FROM counterfoil.registrants WHERE registrant_id = %s", registrant)
        client_id = known[0][0] if known else self.registrant(registrant)
        reference = f"{registrant}/{number}"
        made = self.crm.call("open_account", reference, registrant, {})
        username = made["credentials"]["username"]
        account = self.books.add_account(client_id, self.books.trading_groups[GROUP], username, {})
        self._confirm(reference, account.id, _NAME_ACCOUNT)
        self.fund(account.id, balance, BALANCE)
        self.fund(account.id, credit, CREDIT)
        return int(account.id)

    def fund(self, account_id: int, amount: object, side: int = BALANCE, comment: str = "by hand") -> None:
        """Money that somebody else moves on the platform; negative is out, 0 nothing."""
        units = int(Decimal(str(amount)).scaleb(2))
        if units:
            self.books.move_money(self.books.accounts.get(account_id), units, side, comment)

    def payout(self, reference: str, account: str, amount: object) -> None:
        """A withdrawal that stands in the books and was confirmed; its payout is releasable."""
        self.crm.call("withdraw", reference, account, amount)
        account_id = self.owner.value("SELECT account_id FROM counterfoil.accounts WHERE reference = %s", account)
        units = int(Decimal(str(amount)).scaleb(2))
        booked = self.books.move_money(
            self.books.accounts.get(account_id), -units, BALANCE, idempotency_reference(reference)
        )
        self._confirm(reference, booked.id, None)

    def _confirm(self, reference: str, record_id: int, naming: str | None) -> None:
        number = self.owner.intent(reference)
        with self.owner.connection.transaction():
            self.owner.rows(_SEND, number)
            if naming is not None:
                self.owner.rows(naming, record_id, reference)
            self.owner.rows(_CONFIRM, record_id, number)

    def prove_readable(self) -> None:
        """As if one of our references had been read back before."""
        self.owner.rows("UPDATE counterfoil.platform_state SET reference_proven_at = clock_timestamp()")

    # --- time and the database ------------------------------------------------------------------------------------

    def lapse(self) -> None:
        """Every lease of an attempt lapses now, and its settle time is over."""
        self.owner.rows(_LAPSE)
        self.age()

    def age(self) -> None:
        """The settle time of every unknown attempt is over."""
        self.owner.rows(_AGE)

    def hurry(self) -> None:
        """Whatever waits for its time may be taken up now."""
        self.owner.rows(_HURRY)

    def cut(self) -> None:
        """Every connection of every replica to the database breaks."""
        self.owner.rows(_KILL)

    async def until_quiet(self, replica: Replica, check: Callable[[], None] = lambda: None) -> None:
        """Turn until nothing is pending, sent or unknown; `check` is called after every turn."""
        for _ in range(MOST_TURNS):
            self.lapse()
            self.hurry()
            await replica.turn()
            check()
            if not self.unfinished():
                return
        raise AssertionError(f"no rest after {MOST_TURNS} turns: {self.unfinished()}")

    def unfinished(self) -> list[tuple[Any, ...]]:
        """What is neither at its end nor waits for a person or for a pause to end."""
        return self.owner.rows(
            "SELECT reference, kind, state, reason FROM counterfoil.intents WHERE state IN ('pending', 'sent', 'unknown')"
        )

    # --- what is unknown -------------------------------------------------------------------------------------------

    async def unknown(
        self,
        fault: str | list[dict[str, Any]] = "drop_before",
        kind: Sequence[str] = ("deposit",),
        amount: object = "7.25",
        **how: Any,
    ) -> Replica:
        """An attempt at operation `m` of account `a/1` whose outcome is unknown; the replica that made it."""
        replica = self.replica(**how)
        self.crm.call(kind[0], "m", "a/1", amount, *kind[1:])
        faults = fault if isinstance(fault, list) else [{"kind": fault}]
        self.sandbox.faults.set([{"path": self.money_path, "times": 1, **each} for each in faults])
        # With one place no look follows the attempt within the same turn.
        places, replica.pusher.places = replica.pusher.places, 1
        await replica.turn()
        replica.pusher.places = places
        assert self.state("m") == "unknown"
        self.sandbox.faults.clear()
        return replica

    async def look(self, replica: Replica, times: int = 1, *, settled: bool = True) -> None:
        """So many looks one after the other; the settle time is over before each, or not."""
        for _ in range(times):
            if settled:
                self.age()
            self.hurry()
            await replica.turn()

    # --- what is there --------------------------------------------------------------------------------------------

    def intent(self, reference: str, kind: str | None = None) -> Any:
        """The newest intent of this name, as the database holds it."""
        number = self.owner.intent(reference, kind)
        cursor = self.owner.connection.execute("SELECT * FROM counterfoil.intents WHERE id = %s", (number,))
        names = [column.name for column in cursor.description or ()]
        return dict(zip(names, cursor.fetchone() or (), strict=True))

    def state(self, reference: str, kind: str | None = None) -> str:
        """Its state."""
        return str(self.intent(reference, kind)["state"])

    def reason(self, reference: str, kind: str | None = None) -> str:
        """Its reason."""
        return str(self.intent(reference, kind)["reason"])

    def evidence(self, reference: str, kind: str | None = None) -> dict[str, Any]:
        """What was found out about it."""
        return dict(self.intent(reference, kind)["evidence"] or {})

    @property
    def paused(self) -> str | None:
        """Why nothing is written to the platform."""
        return self.owner.value("SELECT paused FROM counterfoil.platform_state")  # type: ignore[return-value]

    def effects(self, reference: str) -> list[Transaction]:
        """The transactions that carry the idempotency reference of this operation, and their deals stand behind them."""
        ours = idempotency_reference(reference)
        found = [row for row in self.books.transactions if ours in row.comment]
        assert all(row.id in self.books.deals.rows for row in found)
        return found

    def clients(self, external_id: str) -> list[Any]:
        """The clients with this external_id."""
        return [row for row in self.books.clients if row.fields["external_id"] == external_id]

    def accounts(self, username: str) -> list[Any]:
        """The accounts of this login name."""
        return [row for row in self.books.accounts if row.username.lower() == username.lower()]

    def account_id(self, reference: str) -> int:
        """The platform's id of an account."""
        found = self.owner.value("SELECT account_id FROM counterfoil.accounts WHERE reference = %s", reference)
        assert isinstance(found, int)
        return found

    def username(self, reference: str) -> str:
        """The login name that an account got."""
        return str(self.owner.value("SELECT username FROM counterfoil.accounts WHERE reference = %s", reference))

    def writes(self, part: str = "") -> list[Any]:
        """The requests to change something that came since the journal was cleared."""
        return [e for e in self.sandbox.requests if e.method != "GET" and e.target != "login" and part in e.path]

    def payouts_are_covered(self) -> None:
        """No payout may leave before its withdrawal stands in the platform's books."""
        open_ones = self.owner.rows(
            "SELECT reference FROM counterfoil.payouts WHERE state NOT IN ('blocked', 'declined')"
        )
        for (reference,) in open_ones:
            assert len(self.effects(str(reference))) == 1, f"payout {reference} may leave, the money is still there"

    def strike(self, kind: str, **more: Any) -> None:
        """One fault, on the next request that writes, where nothing else is said."""
        self.sandbox.faults.set({"kind": kind, **({"path": WRITE, "times": 1} | more)})

    async def close(self) -> None:
        """Close every replica and the sandbox."""
        for replica in self.replicas:
            await replica.close()
        await self.pull.close()


WRITE = "/manager/(clients|accounts)"


@asynccontextmanager
async def push_bench(
    url: str, *, proven: bool = True, mirror: Sequence[str] = MIRRORED, **options: Any
) -> AsyncIterator[PushBench]:
    """A running platform that is mirrored, published settings, and nothing asked for yet."""
    pushers.RETRY_RESULT = 0.01
    await publish_settings(url, sandbox_payouts=True)
    small = {"clients": 4, "accounts": 6, "deals": 60}
    async with pulling.bench(url, **{**small, **options}) as pull:
        crm, owner = Crm(url), Owner(url)
        with crm.connection, owner.connection:
            it = PushBench(pull, crm, owner)
            try:
                if mirror:
                    await it.mirror(*mirror)
                if proven:
                    it.prove_readable()
                yield it
            finally:
                for replica in it.replicas:
                    await replica.close()
