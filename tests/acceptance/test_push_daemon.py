"""`counterfoil run` carrying the CRM's requests: how fast, how it ends, with others beside it, and what the CRM is told."""

import asyncio
import json
import signal
import time
from pathlib import Path

import psycopg
import pytest
from cryptography.fernet import Fernet

from counterfoil.domain.references import idempotency_reference
from counterfoil.sandbox import Sandbox, SandboxOptions
from support.process import Process, counterfoil
from support.waiting import until

SETTINGS = """
database: {{url: "{url}"}}
platforms:
  live:
    kind: omtrader
    base_url: "{base_url}"
    username: crm-api
    password: sandbox
    timeout: 3s
    lease: 8s
    unknown: {{settle: 1s, between: 200ms}}
    rate_limit: {{per_second: 500, burst: 500, concurrent: 8}}
    account_defaults: {{group_id: 10}}
    pull: {{deals: {{every: 2s}}, transactions: {{every: 2s}}, accounts: {{every: 2s}}, clients: {{every: 5s}}, groups: {{every: 1h}},
      symbols: off, positions: off, orders: off, commissions: off, group_symbols: off, sweep: off}}
crm: {{encryption_key: "{key}", platform_choice: live, allow_sandbox_payouts: true}}
http: {{listen: "127.0.0.1:0"}}
"""
PROFILE = json.dumps({"first_name": "Ada", "family_name": "Byron"})
PATIENCE = 60.0


class Crm:
    """The CRM's own connection."""

    def __init__(self, url: str) -> None:
        self.connection = psycopg.connect(url, autocommit=True)

    def rows(self, statement: str, *values: object) -> list:
        cursor = self.connection.execute(statement, values or None)
        return cursor.fetchall() if cursor.description else []

    async def until(self, reference: str, *states: str) -> str:
        def state() -> str:
            found = self.rows("SELECT state FROM crm.operations WHERE reference = %s", reference)
            return found[0][0] if found else ""

        return await until(state, states, PATIENCE)

    async def opened(self, name: str) -> str:
        """A registrant with an account and 1,000 on it."""
        self.rows("SELECT crm.register(%s, %s::jsonb, NULL, '{}', 1000)", name, PROFILE)
        await self.until(f"{name}/1/deposit", "confirmed")
        return f"{name}/1"


@pytest.fixture
async def sandbox():
    async with Sandbox(SandboxOptions(clients=3, accounts=3, deals=30)) as running:
        yield running


@pytest.fixture
def file(tmp_path, database_url, sandbox) -> Path:
    key = Fernet.generate_key().decode()
    path = tmp_path / "counterfoil.yaml"
    path.write_text(SETTINGS.format(url=database_url, base_url=sandbox.url, key=key))
    return path


@pytest.fixture
def crm(database_url):
    made = Crm(database_url)
    with made.connection:
        yield made


async def ready(process: Process) -> Process:
    await process.says("daemon.ready")
    return process


def booked(sandbox: Sandbox, reference: str) -> int:
    return sum(row.comment == idempotency_reference(reference) for row in sandbox.books.transactions)


async def test_a_withdrawal_is_confirmed_within_a_round_trip_and_a_tenth_of_a_second(file, sandbox, crm):
    async with counterfoil("run", "-c", file) as daemon:
        await ready(daemon)
        account = await crm.opened("p1")
        sandbox.faults.set({"kind": "delay", "path": "/money$", "seconds": 0.3})
        took = []
        for number in range(15):
            begun = time.monotonic()
            crm.rows("SELECT crm.withdraw(%s, %s, 1)", f"w{number}", account)
            await crm.until(f"w{number}", "confirmed")
            took.append(time.monotonic() - begun)
            if took[-1] < 0.4:
                break
        # The best of several: the machine may be busy with something else.
        assert 0.3 <= min(took) < 0.4


async def test_a_daemon_that_is_told_to_end_finishes_the_attempts_under_way(file, sandbox, crm):
    async with counterfoil("run", "-c", file) as daemon:
        await ready(daemon)
        account = await crm.opened("p1")
        sandbox.faults.set({"kind": "delay", "path": "/money$", "seconds": 1.0})
        crm.rows("SELECT crm.deposit('d', %s, 5)", account)
        await crm.until("d", "sent")
        crm.rows("SELECT crm.deposit('e', %s, 5)", account)
        assert await daemon.stop() == 0
        assert (await crm.until("d", "confirmed"), booked(sandbox, "d")) == ("confirmed", 1)
        assert (await crm.until("e", "pending"), booked(sandbox, "e")) == ("pending", 0)


async def test_what_a_killed_daemon_had_sent_is_found_by_the_next_and_not_sent_again(file, sandbox, crm):
    async with counterfoil("run", "-c", file) as daemon:
        await ready(daemon)
        account = await crm.opened("p1")
        sandbox.faults.set({"kind": "delay", "path": "/money$", "seconds": 1.0})
        crm.rows("SELECT crm.withdraw('w', %s, 5)", account)
        await crm.until("w", "sent")
        daemon.send(signal.SIGKILL)
        await daemon.ends()
    sandbox.faults.set([])
    async with counterfoil("run", "-c", file) as daemon:
        assert (await daemon.says("intent.rescued"))["state"] == "unknown"
        await crm.until("w", "confirmed")
        assert booked(sandbox, "w") == 1


async def test_two_daemons_share_the_work_and_do_nothing_twice(file, sandbox, crm):
    # A daemon has twice as many attempts under way as the platform takes at once: four, so that slow calls leave four accounts over.
    file.write_text(file.read_text().replace("concurrent: 8", "concurrent: 2"))
    async with counterfoil("run", "-c", file) as one, counterfoil("run", "-c", file) as other:
        await asyncio.gather(ready(one), ready(other))
        accounts = [await crm.opened(f"p{number}") for number in range(8)]
        sandbox.faults.set({"kind": "delay", "path": "/money$", "seconds": 0.2})
        for number in range(32):
            crm.rows("SELECT crm.deposit(%s, %s, 1)", f"d{number}", accounts[number % 8])
        for number in range(32):
            await crm.until(f"d{number}", "confirmed")
        assert [booked(sandbox, f"d{number}") for number in range(32)] == [1] * 32
        shares = [len(daemon.named("intent.confirmed", kind="deposit")) for daemon in (one, other)]
        assert sum(shares) <= 40  # eight first deposits among them; no line comes twice
        assert min(shares) > 0


async def test_the_crm_is_told_of_everything_in_order_without_gaps_and_is_woken(file, crm, database_url):
    async with counterfoil("run", "-c", file) as daemon:
        await ready(daemon)
        listening = await psycopg.AsyncConnection.connect(database_url, autocommit=True)
        async with listening:
            await listening.execute("LISTEN counterfoil_crm")
            account = await crm.opened("p1")
            crm.rows("SELECT crm.withdraw('w', %s, 5)", account)
            heard = []
            async for notice in listening.notifies(timeout=PATIENCE):
                heard.append(json.loads(notice.payload))
                if heard[-1]["event"] == "payout.releasable":
                    break
        assert {"reference": "w", "event": "operation.confirmed", "state": "confirmed"} in heard
        crm.rows("SELECT * FROM crm.release_payout('w')")
        assert (await daemon.says("payout.released"))["reference"] == "w"
        told = crm.rows("SELECT id, reference, event FROM crm.events ORDER BY id")
        assert [number for number, _, _ in told] == list(range(1, len(told) + 1))
        assert [event for _, reference, event in told if reference == "w"] == [
            "operation.pending", "payout.blocked", "operation.sent", "operation.confirmed", "payout.releasable", "payout.released",
        ]  # fmt: skip


async def test_requests_made_while_no_daemon_runs_are_done_when_one_starts(file, sandbox, crm):
    async with counterfoil("run", "-c", file) as daemon:
        await ready(daemon)
        account = await crm.opened("p1")
        assert await daemon.stop() == 0
    crm.rows("SELECT crm.deposit('d', %s, 5)", account)
    async with counterfoil("run", "-c", file):
        await crm.until("d", "confirmed")
        assert booked(sandbox, "d") == 1
