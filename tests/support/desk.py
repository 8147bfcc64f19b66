"""The operator's desk for tests: requests in every state, mirrored rows as a pull would leave them, and the commands."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet
from psycopg.types.json import Jsonb

from counterfoil.cli import main
from counterfoil.domain.references import idempotency_reference
from support.boundary import Boundary, boundary
from support.logging_kept import logging_as_it_was
from support.process import platform, write_settings

NOWHERE = "http://127.0.0.1:1"
REASON = ("--reason", "seen on the platform")

_PARK = """
    UPDATE counterfoil.intents SET state = 'parked', reason = %s, evidence = %s, launched_at = clock_timestamp(), lease_until = NULL
    WHERE id = %s
"""
_ROW = """
    INSERT INTO mirror.{table} (platform, id, {columns}, first_seen_at, changed_at, version)
    VALUES ('live', %s, {values}, clock_timestamp(), clock_timestamp(), 1)
"""
_READ = """
    INSERT INTO counterfoil.freshness (platform, resource, succeeded_at, as_of, failures)
    VALUES ('live', %s, clock_timestamp(), clock_timestamp(), 0)
    ON CONFLICT (platform, resource) DO UPDATE SET succeeded_at = excluded.succeeded_at, as_of = excluded.as_of
"""


@dataclass(frozen=True)
class Said:
    """What a command ended with."""

    code: int
    out: str
    err: str
    events: list[dict[str, Any]] = field(default_factory=list)

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def complaint(self) -> str:
        """The one line on standard error."""
        (line,) = self.err.splitlines()
        return line


@dataclass(frozen=True)
class Desk:
    """A database with the CRM's and the daemon's side, settings that name it, and the commands on it."""

    it: Boundary
    settings: Path
    capsys: Any

    def __getattr__(self, name: str) -> Any:
        return getattr(self.it, name)

    def run(self, *words: str) -> Said:
        """One command as an operator types it."""
        self.capsys.readouterr()
        with logging_as_it_was():
            code = main.run([*words, "-c", str(self.settings)])
        shown = self.capsys.readouterr()
        told = [line for line in shown.err.splitlines() if line.startswith("{")]
        rest = "".join(f"{line}\n" for line in shown.err.splitlines() if not line.startswith("{"))
        return Said(code, shown.out, rest, [json.loads(line) for line in told])

    def rows(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        return self.it.owner.rows(statement, *values)

    def state(self, reference: str, kind: str | None = None) -> Any:
        return self.it.owner.value(
            "SELECT state FROM counterfoil.intents WHERE id = %s", self.it.owner.intent(reference, kind)
        )

    def decisions(self) -> list[tuple[Any, ...]]:
        return self.rows("SELECT subject, decision, reason, person FROM counterfoil.decisions ORDER BY id")

    def account_id(self, reference: str = "7/1") -> Any:
        return self.it.owner.value("SELECT account_id FROM counterfoil.accounts WHERE reference = %s", reference)

    def park(
        self,
        reference: str,
        evidence: object = None,
        *,
        reason: str = "nobody knows",
        after: str = "unknown",
        kind: str | None = None,
    ) -> int:
        """Bring a pending request to parked: after `unknown` it was looked for, after `sent` it was not."""
        steps = ("sent", "unknown") if after == "unknown" else ("sent",)
        number = self.it.owner.advance(reference, *steps, kind=kind)
        self.rows(_PARK, reason, None if evidence is None else Jsonb(evidence), number)
        return number

    def deposit(self, reference: str = "d", amount: object = 50, account: str = "7/1") -> str:
        self.it.crm.call("deposit", reference, account, amount)
        return reference

    def withdrawal(self, reference: str = "w", amount: object = 50, account: str = "7/1") -> str:
        self.it.crm.call("withdraw", reference, account, amount)
        return reference

    def mirror(self, table: str, number: int, **columns: object) -> None:
        """A row as a pull would have left it."""
        names = ", ".join(columns)
        values = ", ".join(["%s"] * len(columns))
        given = [Jsonb(value) if isinstance(value, dict) else value for value in columns.values()]
        self.rows(_ROW.format(table=table, columns=names, values=values), number, *given)

    def mirrored_account(
        self, number: int | None = None, *, balance: object = 0, credit: object = 0, **more: object
    ) -> int:
        number = number or self.account_id()
        given = {"currency": "USD", "currency_digits": 2, "balance": balance, "credit": credit, **more}
        self.mirror("accounts", number, **given)
        return number

    def deal(self, number: int, account: int, profit: object, side: int = 2, **more: object) -> None:
        self.mirror("deals", number, account_id=account, profit=profit, side=side, **more)

    def booked(
        self, number: int, reference: str | None, amount: object, account: int | None = None, **more: object
    ) -> None:
        """A movement of money with its deal; `reference`: the CRM's, None for a stranger's movement."""
        account = account or self.account_id()
        self.deal(number, account, amount)
        ours = None if reference is None else idempotency_reference(reference)
        self.mirror(
            "transactions", number, **{"account_id": account, "amount": amount, "side": 2, "reference": ours, **more}
        )

    def read(self, *resources: str) -> None:
        """Note complete runs that began now."""
        for resource in resources or ("accounts", "transactions", "deals"):
            self.rows(_READ, resource)


@contextmanager
def desk(url: str, folder: Path, capsys: Any, **changes: Any) -> Iterator[Desk]:
    """A desk over a fresh database whose one platform, live, is written to."""
    own = {"live": platform(NOWHERE, **{"push": True, **changes})}
    settings = write_settings(folder / "c.yaml", url, own, crm={"encryption_key": Fernet.generate_key().decode()})
    with boundary(url) as it:
        yield Desk(it, settings, capsys)
