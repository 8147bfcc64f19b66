"""The boundary between CRM and daemon for tests: the CRM's calls under its own role, the daemon's steps as the owner."""

import asyncio
import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Jsonb

from counterfoil.store import engine, publishing
from counterfoil.store.publishing import PublishedPlatform, PublishedRules

PROFILE = {"first_name": "Ada", "family_name": "Lovelace"}
LIVE = PublishedPlatform(
    platform="live",
    kind="omtrader",
    pushes=True,
    updates_accounts=True,
    account_defaults={"group_id": 79},
    reference_field="comment",
)
RULES = PublishedRules(
    platform_choice="required",
    owned_fields=["first_name", "family_name", "email", "country"],
    username="{registrant}-{number}",
    password_length=12,
    password_symbols=True,
    sandbox_payouts=False,
)
# What a claim writes, and which row learns the platform's id, with the step that is confirmed.
_CLAIM = (
    ", lease_token = gen_random_uuid(), lease_until = clock_timestamp() + interval '1 min', attempts = attempts + 1"
)
_NAME_CLIENT = "UPDATE counterfoil.registrants SET client_id = 1000 + %(id)s WHERE registrant_id = %(registrant)s"
_NAME_ACCOUNT = """
    UPDATE counterfoil.accounts SET account_id = 10000 + %(id)s, currency = 'USD', currency_digits = 2
    WHERE reference = %(reference)s
"""
_FIND = """
    SELECT id, kind, registrant_id FROM counterfoil.intents WHERE reference = %(reference)s
        AND CASE WHEN %(kind)s::text IS NULL THEN kind NOT IN ('update_client', 'update_account', 'reset_password', 'link')
            ELSE kind = %(kind)s END
    ORDER BY id DESC LIMIT 1
"""


async def publish_settings(url: str, platforms: Sequence[PublishedPlatform] = (LIVE,), **changes: object) -> None:
    """Publish these platforms and the usual rules with these changes."""
    database = engine.create(url)
    try:
        await publishing.publish(database, replace(RULES, **changes), platforms)
    finally:
        await database.dispose()


def publish(url: str, platforms: Sequence[PublishedPlatform] = (LIVE,), **changes: object) -> None:
    """The same for a test without a loop of its own."""
    asyncio.run(publish_settings(url, platforms, **changes))


class Session:
    """A connection on which every statement is a transaction of its own, unless `connection.transaction()` says else."""

    def __init__(self, url: str) -> None:
        self.connection = psycopg.connect(url, autocommit=True, connect_timeout=10)

    def rows(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        """The rows that a statement gives."""
        cursor = self.connection.execute(statement, values or None)
        return cursor.fetchall() if cursor.description else []

    def value(self, statement: str, *values: object) -> object:
        """The one value that a statement gives."""
        ((found,),) = self.rows(statement, *values)
        return found

    @contextmanager
    def expect_refused(self, code: str, field: str | None = None) -> Iterator[None]:
        """What runs inside must be refused with this SQLSTATE, and for this field when one is given."""
        with pytest.raises(psycopg.Error) as caught, self.connection.transaction():
            yield
        said = caught.value.diag
        assert said.sqlstate == code, caught.value
        assert field in (None, said.column_name), caught.value


class Crm(Session):
    """The CRM: calls functions and reads views of `crm` as role counterfoil_crm."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.connection.execute("SET ROLE counterfoil_crm")

    def call(self, function: str, *given: object, **named: object) -> object:
        """What `crm.<function>` returns; objects and lists travel as jsonb."""
        names = sql.SQL(", ").join(
            [*([sql.Placeholder()] * len(given)), *(sql.SQL("{} => %s").format(sql.Identifier(name)) for name in named)]
        )
        values = [Jsonb(value) if isinstance(value, dict | list) else value for value in (*given, *named.values())]
        statement = sql.SQL("SELECT * FROM {}({})").format(sql.Identifier("crm", function), names)
        found = self.connection.execute(statement, values).fetchone()
        assert found is not None
        return found[0] if len(found) == 1 else found

    def state(self, view: str, reference: str) -> object:
        """The state that a view tells of a reference; None when it tells nothing."""
        found = self.rows(f"SELECT state FROM crm.{view} WHERE {_key(view)} = %s", reference)
        return found[0][0] if found else None

    def reason(self, view: str, reference: str) -> object:
        """The reason that a view tells of a reference."""
        return self.value(f"SELECT reason FROM crm.{view} WHERE {_key(view)} = %s", reference)


def _key(view: str) -> str:
    return "registrant_id" if view == "registrants" else "reference"


class Owner(Session):
    """The owner of the tables: does what the daemon would do."""

    def intent(self, reference: str, kind: str | None = None) -> int:
        """The id of the newest intent of this name; links, updates and password resets only when their kind is given."""
        ((found, *_),) = self._find(reference, kind)
        assert isinstance(found, int)
        return found

    def _find(self, reference: str, kind: str | None) -> list[tuple[object, ...]]:
        return self.connection.execute(_FIND, {"reference": reference, "kind": kind}).fetchall()

    def advance(self, reference: str, *states: str, kind: str | None = None) -> int:
        """Bring an intent from state to state, each in a transaction of its own; its id."""
        ((number, what, registrant),) = self._find(reference, kind)
        assert isinstance(number, int)
        facts = {"id": number, "reference": reference, "registrant": registrant}
        for state in states:
            with self.connection.transaction():
                self._reach(number, state)
                if state == "confirmed" and what in ("client", "account", "adopt"):
                    self.connection.execute(_NAME_CLIENT if what == "client" else _NAME_ACCOUNT, facts)
        return number

    def _reach(self, number: int, state: str) -> None:
        more = _CLAIM if state == "sent" else ""
        if state == "confirmed":
            more = ", record_id = 500000 + id"
        statement = f"UPDATE counterfoil.intents SET state = %s{more} WHERE id = %s"
        assert self.connection.execute(statement, (state, number)).rowcount == 1

    def confirm(self, *references: str) -> None:
        """Send and confirm pending intents, one after the other."""
        for reference in references:
            self.advance(reference, "sent", "confirmed")

    def bind(self, *, sandbox: bool | None) -> None:
        """Note that platform `live` is a simulator, is none, or was not met yet."""
        self.rows("UPDATE counterfoil.platform_state SET sandbox = %s WHERE platform = 'live'", sandbox)

    def everything(self) -> str:
        """Every row of the write path as text: equal before and after what must leave nothing behind."""
        tables = ("registrants", "accounts", "intents", "passwords", "payouts", "events")
        return json.dumps(
            {name: sorted(str(row) for row in self.rows(f"SELECT t FROM counterfoil.{name} t")) for name in tables}
        )


@dataclass(frozen=True)
class Boundary:
    """Both sides of one database."""

    url: str
    crm: Crm
    owner: Owner

    def ready(self, registrant: str = "7") -> str:
        """A registrant with a confirmed account; the account's reference."""
        self.crm.call("register", registrant, PROFILE, "live", {})
        self.owner.confirm(registrant, f"{registrant}/1")
        return f"{registrant}/1"

    def withdrawn(self, reference: str = "w", amount: object = 50, account: str = "7/1") -> None:
        """A confirmed withdrawal on a ready account."""
        self.crm.call("withdraw", reference, account, amount)
        self.owner.confirm(reference)

    @contextmanager
    def another_crm(self) -> Iterator[Crm]:
        """One more connection of the CRM."""
        crm = Crm(self.url)
        with crm.connection:
            yield crm

    def overtake(
        self,
        first: Callable[[Any], object],
        second: Callable[[Any], object],
        *,
        ahead: Session | None = None,
        behind: Session | None = None,
        undone: bool = False,
    ) -> object:
        """What `second` returns, or the SQLSTATE of its refusal, when it comes before `first` has committed.

        Each gets its session: one of the CRM's unless another is given. The second must wait for a lock of the first, which
        is then committed, or rolled back when it is to be undone.
        """
        with self.another_crm() as crm, Owner(self.url).connection as watching, ThreadPoolExecutor(1) as pool:
            later = behind or crm
            try:
                earlier = ahead or self.crm
                with earlier.connection.transaction(force_rollback=undone):
                    first(earlier)
                    acting = pool.submit(_outcome, second, later)
                    _until_waiting(watching, later.connection.info.backend_pid, acting)
                return acting.result(10)
            finally:
                later.connection.cancel()

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """What runs inside leaves every row as it was."""
        before = self.owner.everything()
        yield
        assert self.owner.everything() == before


def _outcome(act: Callable[[Any], object], session: Session) -> object:
    try:
        return act(session)
    except psycopg.Error as error:
        return error.sqlstate


def _until_waiting(watching: psycopg.Connection[Any], session: int, acting: "Future[object]") -> None:
    waits = "SELECT wait_event_type = 'Lock' FROM pg_stat_activity, pg_sleep(0.01) WHERE pid = %s"
    for _ in range(500):
        assert not acting.done(), acting.result()
        if watching.execute(waits, [session]).fetchall() == [(True,)]:
            return
    raise AssertionError("it never waited")


@contextmanager
def boundary(url: str, platforms: Sequence[PublishedPlatform] = (LIVE,), **changes: object) -> Iterator[Boundary]:
    """Both sides of a database in which these settings are published; platform `live` moves real money."""
    publish(url, platforms, **changes)
    it = Boundary(url, Crm(url), Owner(url))
    with it.crm.connection, it.owner.connection:
        it.owner.bind(sandbox=False)
        yield it
