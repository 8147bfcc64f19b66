"""Real daemons killed at random moments, a lying platform, a database that goes away: nothing lost, nothing doubled.

    make soak SOAK_ARGS="--seed 7 --kills 200 --operations 2000 --minutes 25"

prints one JSON object; exit code 1 when a promise was broken. The same seed asks for the same operations, kills and faults in the
same order; what the machine makes of them differs from run to run.
"""

import argparse
import asyncio
import contextlib
import json
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
from cryptography.fernet import Fernet

sys.path.insert(0, str(Path(__file__).parents[1]))  # run as a script

from psycopg.rows import namedtuple_row

from counterfoil.domain.errors import ConfigurationError
from counterfoil.store import Unreachable
from counterfoil.store.embedded import EmbeddedPostgres
from support.proxy import Proxy
from support.soak_platforms import KINDS, Soaked

SETTINGS = """
database: {{url: "{database}"}}
platforms:
{platforms}
crm: {{encryption_key: "{key}", platform_choice: required, allow_sandbox_payouts: true}}
http: {{listen: "127.0.0.1:0"}}
log: {{format: json, level: info}}
"""
PROFILE = {"first_name": "Ada", "family_name": "Byron"}
_PARKED = """
    SELECT i.reference, i.kind, i.amount, i.evidence, a.account_id FROM counterfoil.intents i
    JOIN counterfoil.registrants r ON r.registrant_id = i.registrant_id
    LEFT JOIN counterfoil.accounts a ON a.reference = i.account_reference
    WHERE i.state = 'parked' AND (i.deadline_at IS NULL OR i.deadline_at < clock_timestamp() - interval '3 s') ORDER BY i.id
"""
FIRST = 4
# Seconds until everything must be decided once the weather is good; on a machine with other work, too.
PATIENCE = 400
FINAL = {"confirmed", "rejected", "cancelled", "parked"}


@dataclass
class Plan:
    """How much of what. `people`: registrants with an account each, in turn on one of the platforms."""

    seed: int
    kills: int
    operations: int
    minutes: float
    people: int = 20
    daemons: int = 2
    platform: str = "both"


@dataclass
class World:
    """Everything that runs, and what was counted."""

    plan: Plan
    platforms: list[Soaked]
    proxy: Proxy
    directory: Path
    dice: random.Random
    server: EmbeddedPostgres
    daemons: list[asyncio.subprocess.Process] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    owners: dict[str, str] = field(default_factory=dict)
    done: bool = False
    settled: bool = False

    # --- processes ------------------------------------------------------------------------------------------------

    async def start_daemon(self) -> None:
        with (self.directory / "log").open("ab") as log:
            self.daemons.append(
                await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "counterfoil", "run", "-c", str(self.directory / "settings.yaml"),
                    stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=log,
                )
            )  # fmt: skip

    async def kill_daemons(self) -> None:
        """One after another, at random moments, each replaced at once."""
        while self.counts["kills"] < self.plan.kills and not self.done:
            await asyncio.sleep(self.dice.uniform(0.2, 2.5))
            victim = self.daemons.pop(self.dice.randrange(len(self.daemons)))
            with contextlib.suppress(ProcessLookupError):
                victim.kill()
            if await victim.wait() == -signal.SIGKILL:
                self.counts["kills"] += 1
            await self.start_daemon()

    async def restart_database(self) -> None:
        """Killed and started again, now and then."""
        while not self.done:
            await asyncio.sleep(self.dice.uniform(15, 40))
            await self.proxy.stop()
            await asyncio.to_thread(self.server.stop)
            await self.revive_database()
            self.counts["database_restarts"] += 1

    async def revive_database(self) -> None:
        """Start it on its old directory, however busy the machine is, and let the daemons reach it."""
        while not self.server.alive:
            try:
                self.server = await asyncio.to_thread(EmbeddedPostgres.start, self.directory / "data", durable=False)
            except ConfigurationError as error:
                sys.stderr.write(f"again: {error}\n")
                await asyncio.sleep(1)
        self.proxy.retarget(self.server.url)
        await self.proxy.start()

    async def disturb_platform(self) -> None:
        while not self.done:
            await asyncio.sleep(self.dice.uniform(0.1, 0.6) / len(self.platforms))
            platform = self.dice.choice(self.platforms)
            platform.sandbox.faults.set([{**self.dice.choice(platform.faults), "times": self.dice.randint(1, 3)}])
            platform.disturb(self.dice)
            platform.counts["faults"] += 1

    # --- the CRM --------------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def crm(self) -> AsyncIterator["psycopg.AsyncConnection[Any]"]:
        connection = await psycopg.AsyncConnection.connect(self.server.url, autocommit=True, connect_timeout=5)
        async with connection:
            yield connection

    async def call(self, statement: str, *values: object) -> list[Any]:
        """One call, repeated until it is answered: every function is idempotent but the release of a payout."""
        while True:
            try:
                async with self.crm() as connection:
                    cursor = await connection.execute(statement, values)
                    return await cursor.fetchall() if cursor.description else []
            except (psycopg.OperationalError, psycopg.InterfaceError, OSError):
                await asyncio.sleep(0.2)

    async def warm_up(self) -> None:
        """The first people come in good weather: before a reference was read back from a platform nothing is proven absent."""
        await self.register(range(FIRST))
        done = "SELECT count(*) FROM crm.operations WHERE state = 'confirmed'"
        while (await self.call(done))[0][0] < FIRST:  # noqa: ASYNC110 - the daemon is another process
            await asyncio.sleep(0.3)
        # Until the mirror has read them too.
        await asyncio.sleep(8)

    async def register(self, numbers: Iterable[int]) -> None:
        for number in numbers:
            name, profile = f"p{number}", json.dumps({**PROFILE, "email": f"p{number}@example.org"})
            await self.call("SELECT crm.register(%s, %s::jsonb, NULL, '{}', 100000)", name, profile)
            await self.call("SELECT crm.choose_platform(%s, %s)", name, self.platform_of(name).name)

    def platform_of(self, reference: str) -> Soaked:
        """Where a person, or an operation on the account of one, belongs."""
        of_whom = reference.removesuffix("/refund")
        owner = self.owners.get(of_whom, of_whom).partition("/")[0]
        return self.platforms[int(owner.removeprefix("p")) % len(self.platforms)]

    async def ask(self) -> None:
        for number in range(self.plan.operations - self.plan.people):
            account = f"p{self.dice.randrange(self.plan.people)}/1"
            self.owners[f"o{number}"] = account
            amount = Decimal(self.dice.randint(1, 20_000)) / 100
            kind = self.dice.choices(["deposit", "withdraw", "credit"], [4, 5, 1])[0]
            if kind == "credit":
                await self.call("SELECT crm.credit(%s, %s, %s, 'in')", f"o{number}", account, amount)
            else:
                await self.call(f"SELECT crm.{kind}(%s, %s, %s)", f"o{number}", account, amount)
            self.counts["asked"] += 1
            if self.dice.random() < 0.02:
                await self.cancel(f"o{number}")
            await asyncio.sleep(self.dice.uniform(0, 2 * self.pace))

    @property
    def pace(self) -> float:
        """Spread over the kills: a kill takes about 1.4 s."""
        return max(self.plan.kills * 1.3 / self.plan.operations, 0.01)

    async def cancel(self, reference: str) -> None:
        with contextlib.suppress(psycopg.DatabaseError):
            await self.call("SELECT crm.cancel(%s)", reference)

    async def pay(self) -> None:
        """Release whatever may be released; the money must have left the platform's books by then."""
        while not self.settled:
            await asyncio.sleep(0.2)
            with contextlib.suppress(psycopg.OperationalError, psycopg.InterfaceError, OSError):
                async with self.crm() as connection:
                    cursor = await connection.execute("SELECT reference FROM crm.payouts WHERE state = 'releasable'")
                    for (reference,) in await cursor.fetchall():
                        await self.release(connection, reference)

    async def release(self, connection: "psycopg.AsyncConnection[Any]", reference: str) -> None:
        try:
            await connection.execute("SELECT * FROM crm.release_payout(%s)", (reference,))
        except psycopg.DatabaseError as error:
            # Our own release, whose answer was lost with the connection.
            if error.sqlstate != "CF002":
                raise
        self.counts["released"] += 1
        if not self.booked(reference):
            self.wrong.append(f"{reference} was released before its withdrawal stood in the books")
        if self.dice.random() < 0.1:
            await self.call("SELECT crm.fail_payout(%s, 'no such bank account')", reference)

    async def sit_at_the_desk(self) -> None:
        """A person who looks at what is parked, and into the platform's own books."""
        while not self.settled:
            await asyncio.sleep(0.3)
            with contextlib.suppress(psycopg.OperationalError, psycopg.InterfaceError, OSError, Unreachable):
                async with self.crm() as connection:
                    connection.row_factory = namedtuple_row
                    cursor = await connection.execute(_PARKED)
                    for row in await cursor.fetchall():
                        platform = self.platform_of(row.reference)
                        if (told := await platform.decide(self.server.url, row)) is not None:
                            platform.counts[f"person: {told}"] += 1

    # --- the truth ------------------------------------------------------------------------------------------------

    def booked(self, reference: str) -> list[Decimal]:
        """Signed amounts in the platform's own books under our reference."""
        return [row.amount for row in self.platform_of(reference).booked(reference)]

    async def settle(self) -> None:
        """Faults off, kills over: until everything is decided."""
        self.done = True
        for platform in self.platforms:
            platform.sandbox.faults.set([])
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            [(moving,)] = await self.call(
                """SELECT count(*) FROM counterfoil.intents i WHERE state IN ('sent', 'unknown')
                OR state = 'parked' AND platform <> 'omtrader' OR state = 'pending' AND NOT EXISTS
                (SELECT FROM counterfoil.intents b WHERE b.lane = i.lane AND b.state = 'parked') OR state = 'waiting' AND
                EXISTS (SELECT FROM counterfoil.intents p WHERE p.id = i.predecessor_id AND p.state <> 'parked')"""
            )
            if not moving:
                return
            await asyncio.sleep(0.5)
        stuck = await self.call(
            "SELECT state || ': ' || reason FROM counterfoil.intents WHERE state IN ('sent', 'unknown') LIMIT 5"
        )
        self.wrong.append(
            f"not everything was decided within {PATIENCE} s after the last fault: {[reason for (reason,) in stuck]}"
        )

    async def judge(self) -> None:
        for reference, reason in await self.call(
            "SELECT reference, reason FROM counterfoil.intents WHERE state = 'parked'"
        ):
            self.platform_of(reference).counts[f"parked: {reason}"] += 1
        rows = await self.call("SELECT reference, kind, amount, state FROM crm.operations")
        for (left,) in await self.call("SELECT state FROM crm.payouts"):
            self.counts[f"payouts_{left}"] += 1
        for reference, kind, amount, state in rows:
            found = self.booked(reference)
            signed = -amount if kind in ("withdraw", "credit_out") else amount
            self.platform_of(reference).counts[f"operations_{state}"] += 1
            self.counts[f"operations_{state}"] += 1
            if len(found) > 1:
                self.wrong.append(f"{reference} was booked {len(found)} times")
            elif state == "confirmed" and found != [signed]:
                self.wrong.append(f"{reference} is confirmed with {signed}, the books say {found}")
            elif state in ("rejected", "cancelled", "pending", "waiting") and found:
                self.wrong.append(f"{reference} is {state}, but stands in the books")
            elif state not in FINAL | {"pending", "waiting"}:
                self.wrong.append(f"{reference} is still {state}")
        wanted = self.counts["asked"] + self.plan.people
        if (given := sum(kind != "refund" for _, kind, _, _ in rows)) != wanted:
            self.wrong.append(f"{wanted} operations were asked for, {given} are known")
        for platform in self.platforms:
            self.wrong += platform.doubled() + platform.sandbox.books.check()


async def soak(plan: Plan) -> dict[str, Any]:
    """Run it; the counts, and what was wrong."""
    with tempfile.TemporaryDirectory(prefix="counterfoil-soak-") as place:
        directory = Path(place)
        directory.chmod(0o755)  # noqa: ASYNC240 - once, before anything runs
        server = await asyncio.to_thread(EmbeddedPostgres.start, directory / "data", durable=False)
        proxy = Proxy(server.url)
        await proxy.start()
        async with contextlib.AsyncExitStack() as stack:
            kinds = KINDS if plan.platform == "both" else (plan.platform,)
            platforms = [KINDS[kind](kind, plan.seed) for kind in kinds]
            for platform in platforms:
                await stack.enter_async_context(platform.sandbox)
            world = World(plan, platforms, proxy, directory, random.Random(plan.seed), server)  # noqa: S311 - repeatable dice
            key = Fernet.generate_key().decode()
            parts = "".join(platform.settings for platform in platforms)
            (directory / "settings.yaml").write_text(SETTINGS.format(database=proxy.url, platforms=parts, key=key))
            try:
                return await _run(world)
            finally:
                for daemon in world.daemons:
                    with contextlib.suppress(ProcessLookupError):
                        daemon.kill()
                    await daemon.wait()
                await proxy.stop()
                await asyncio.to_thread(world.server.stop)


async def _run(world: World) -> dict[str, Any]:
    started = time.monotonic()
    for _ in range(world.plan.daemons):
        await world.start_daemon()
    await _until_migrated(world)
    await world.warm_up()
    disturbances = [
        asyncio.create_task(work)
        for work in (
            *(world.kill_daemons(), world.restart_database(), world.disturb_platform()),
            *(world.pay(), world.sit_at_the_desk()),
        )
    ]
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(world.plan.minutes * 60):
            await world.register(range(FIRST, world.plan.people))
            await world.ask()
            await disturbances[0]
    for task in disturbances[:3]:
        task.cancel()
    await asyncio.wait(disturbances[:3])
    if not world.proxy.is_open:
        await world.revive_database()
    while len(world.daemons) < world.plan.daemons:
        await world.start_daemon()
    await world.settle()
    # What was released last may have been refused by the bank.
    await asyncio.sleep(1)
    await world.settle()
    world.settled = True
    await asyncio.gather(*disturbances[3:])
    await world.judge()
    for daemon in world.daemons:
        daemon.send_signal(signal.SIGTERM)
        await daemon.wait()
    seconds = round(time.monotonic() - started, 1)
    told = {platform.name: dict(sorted(platform.counts.items())) for platform in world.platforms}
    return {
        "seed": world.plan.seed,
        "seconds": seconds,
        **dict(sorted(world.counts.items())),
        **told,
        "wrong": world.wrong,
    }


async def _until_migrated(world: World) -> None:
    while True:
        with contextlib.suppress(psycopg.Error):
            async with world.crm() as connection:
                cursor = await connection.execute("SELECT 1 FROM counterfoil.published_rules")
                if await cursor.fetchone():
                    return
        await asyncio.sleep(0.2)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--operations", type=int, default=2000)
    parser.add_argument("--minutes", type=float, default=25)
    parser.add_argument("--platform", choices=("both", *KINDS), default="both")
    result = asyncio.run(soak(Plan(**vars(parser.parse_args()))))
    sys.stdout.write(json.dumps(result, indent=2, default=str) + "\n")
    return 1 if result["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
