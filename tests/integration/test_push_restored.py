"""A database that was restored or failed over, a platform's name that means another server: nothing moves on old knowledge."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg import conninfo

from counterfoil.domain.errors import ConfigurationError, LoginRefusedError
from counterfoil.platforms.omtrader.client import Connection, OMTrader
from counterfoil.platforms.sessions import PrivateVault
from counterfoil.sandbox import Sandbox, SandboxOptions
from counterfoil.store import decisions, identity
from counterfoil.store import engine as engines
from counterfoil.store.bindings import NameBinding, unbind
from counterfoil.store.decisions import Because
from counterfoil.store.embedded import EmbeddedPostgres
from support.boundary import Crm, Owner
from support.budget import FreeBudget
from support.pulling import said
from support.pushing import PushBench, Replica, push_bench


@dataclass
class Restored:
    """A bench whose database is a copy from before `it` went on; `forgotten` is the life that the copy does not know."""

    it: PushBench
    replica: Replica
    old_url: str

    def move_to(self, url: str) -> None:
        self.it.crm.connection.close()
        self.it.owner.connection.close()
        self.it.pull.url = url
        self.it.crm, self.it.owner = Crm(url), Owner(url)
        self.replica = self.it.replica()


@asynccontextmanager
async def restored(server, url: str, live_on) -> AsyncIterator[Restored]:
    """Work, take a copy, live on, and then wake up in the copy."""
    async with push_bench(url) as it:
        it.account("p1")
        it.crm.call("deposit", "early", "p1/1", 5)
        first = it.replica()
        await it.until_quiet(first)
        await first.close()
        it.crm.connection.close()
        it.owner.connection.close()
        for puller in it.pull.pullers:
            await puller.runs.engine.dispose()
        name = conninfo.conninfo_to_dict(url)["dbname"]
        with server.database(name) as copy:
            world = Restored(it, first, url)
            world.move_to(url)
            await live_on(world)
            await world.replica.close()
            world.move_to(copy)
            try:
                yield world
            finally:
                await world.replica.close()
                it.crm.connection.close()
                it.owner.connection.close()


async def accept(world: Restored, *, payouts_checked: bool = False) -> None:
    database = engines.create(world.it.url)
    try:
        await identity.accept(database, payouts_checked=payouts_checked)
    finally:
        await database.dispose()


async def deposit_and_confirm(world: Restored) -> None:
    world.it.crm.call("deposit", "d1", "p1/1", 7)
    world.it.crm.call("withdraw", "w1", "p1/1", 3)
    await world.it.until_quiet(world.replica)
    assert world.it.state("d1") == world.it.state("w1") == "confirmed"


async def test_a_restored_database_writes_nothing_and_says_so_once(postgres_server, database_url):
    async with restored(postgres_server, database_url, deposit_and_confirm) as world:
        world.it.crm.call("deposit", "d2", "p1/1", 9)
        world.it.sandbox.requests.clear()
        with said() as lines:
            for _ in range(3):
                await world.replica.turn()
        assert len(lines("push.held")) == 1
        assert world.it.writes() == []
        assert world.it.state("d2") == "pending"


async def test_what_the_crm_asks_again_after_a_restore_is_found_and_not_done_again(postgres_server, database_url):
    async with restored(postgres_server, database_url, deposit_and_confirm) as world:
        await world.replica.turn()
        await accept(world)
        world.it.crm.call("deposit", "d1", "p1/1", 7)
        world.it.crm.call("withdraw", "w1", "p1/1", 3)
        await world.it.until_quiet(world.replica)
        assert world.it.state("d1") == world.it.state("w1") == "confirmed"
        assert len(world.it.effects("d1")) == len(world.it.effects("w1")) == 1


async def test_what_waited_in_the_copy_is_looked_for_before_anybody_may_agree(postgres_server, database_url):
    async def live_on(world: Restored) -> None:
        await deposit_and_confirm(world)

    async with restored(postgres_server, database_url, live_on) as world:
        world.it.crm.call("deposit", "d1", "p1/1", 7)
        world.it.sandbox.faults.set({"kind": "error_before", "method": "GET"})
        await world.replica.turn()
        with pytest.raises(ConfigurationError, match="1 requests have not been looked for"):
            await accept(world)
        world.it.sandbox.faults.set([])
        world.it.hurry()
        await world.replica.turn()
        assert "sent before the database was restored" in world.it.intent("d1")["reason"]
        assert world.it.state("d1") == "pending"
        await accept(world)
        await world.it.until_quiet(world.replica)
        assert (world.it.state("d1"), len(world.it.effects("d1"))) == ("confirmed", 1)


async def test_what_was_never_sent_in_the_forgotten_life_is_sent_after_a_person_agreed(postgres_server, database_url):
    async with restored(postgres_server, database_url, deposit_and_confirm) as world:
        world.it.crm.call("deposit", "d9", "p1/1", 9)
        await world.replica.turn()
        await accept(world)
        await world.it.mirror()
        await world.it.until_quiet(world.replica)
        assert (world.it.state("d9"), len(world.it.effects("d9"))) == ("confirmed", 1)


async def test_people_and_accounts_of_the_forgotten_life_are_recognised(postgres_server, database_url):
    async def live_on(world: Restored) -> None:
        world.it.crm.call("register", "p2", {"first_name": "B", "family_name": "C"}, "live", {})
        await world.it.until_quiet(world.replica)
        assert world.it.state("p2/1") == "confirmed"

    async with restored(postgres_server, database_url, live_on) as world:
        await world.replica.turn()
        await accept(world)
        world.it.crm.call("register", "p2", {"first_name": "B", "family_name": "C"}, "live", {})
        await world.it.until_quiet(world.replica)
        assert world.it.state("p2") == world.it.state("p2/1") == "confirmed"
        assert len(world.it.clients("p2")) == len(world.it.accounts(world.it.username("p2/1"))) == 1


async def test_no_payout_leaves_while_a_restored_database_is_held(postgres_server, database_url):
    async with restored(postgres_server, database_url, deposit_and_confirm) as world:
        world.it.payout("w5", "p1/1", 2)
        with world.it.crm.expect_refused("CF003"):
            world.it.crm.call("release_payout", "w5")
        await world.replica.turn()
        with world.it.crm.expect_refused("CF003"):
            world.it.crm.call("release_payout", "w5")
        await accept(world, payouts_checked=True)
        assert world.it.crm.call("release_payout", "w5")[0] == 2


async def held_with_a_payout(world: Restored) -> None:
    """In the copy a payout may be released; nobody knows what the bank was told in the life that it forgot."""
    world.it.payout("w5", "p1/1", 2)
    await world.replica.turn()
    assert world.it.owner.value("SELECT counterfoil.is_held()") is True


async def test_nobody_agrees_to_a_restored_database_before_its_payouts_were_compared_with_the_bank(
    postgres_server, database_url
):
    async with restored(postgres_server, database_url, deposit_and_confirm) as world:
        await held_with_a_payout(world)
        with pytest.raises(ConfigurationError, match=r"1 payouts may have been paid .*\(w5\).*--payouts-checked"):
            await accept(world)
        assert world.it.owner.value("SELECT counterfoil.is_held()") is True
        with world.it.crm.expect_refused("CF003"):
            world.it.crm.call("release_payout", "w5")
        await accept(world, payouts_checked=True)
        assert world.it.owner.value("SELECT counterfoil.is_held()") is False


async def test_a_payout_that_the_bank_had_paid_and_that_was_failed_holds_up_no_agreement(postgres_server, database_url):
    async with restored(postgres_server, database_url, deposit_and_confirm) as world:
        await held_with_a_payout(world)
        world.it.crm.call("fail_payout", "w5", "paid before the restore")
        world.it.owner.rows("UPDATE counterfoil.intents SET probed_at = now() WHERE reference = 'w5/refund'")
        await accept(world)
        assert world.it.owner.value("SELECT counterfoil.is_held()") is False


# --- references that were never read back ------------------------------------------------------------------------------


@asynccontextmanager
async def unreadable(server, url: str, live_on) -> AsyncIterator[Restored]:
    """A restored database that a person agreed to, on a platform from which no reference of ours was ever read back."""
    async with restored(server, url, live_on) as world:
        world.it.owner.rows("UPDATE counterfoil.platform_state SET reference_proven_at = NULL")
        world.it.owner.rows("DELETE FROM mirror.transactions")
        await world.replica.turn()
        await accept(world)
        world.it.owner.rows("UPDATE counterfoil.platform_state SET reference_proven_at = NULL")
        world.it.sandbox.requests.clear()
        yield world


async def without_comments(world: Restored) -> None:
    world.it.sandbox.faults.set({"kind": "comment_cut", "length": 0})
    world.it.crm.call("deposit", "d1", "p1/1", 7)
    await world.it.until_quiet(world.replica)
    assert world.it.state("d1") == "confirmed"


async def test_money_that_may_have_moved_where_references_cannot_be_read_is_left_to_a_person(
    postgres_server, database_url
):
    async with unreadable(postgres_server, database_url, without_comments) as world:
        balance = world.it.books.accounts.get(world.it.account_id("p1/1")).balance
        world.it.crm.call("deposit", "d1", "p1/1", 7)
        await world.it.until_quiet(world.replica)
        assert (world.it.state("d1"), world.it.writes()) == ("parked", [])
        assert "no reference of ours was ever read back" in world.it.reason("d1")
        assert world.it.books.accounts.get(world.it.account_id("p1/1")).balance == balance


async def test_even_money_of_another_amount_is_left_to_a_person_where_references_cannot_be_read(
    postgres_server, database_url
):
    async with unreadable(postgres_server, database_url, deposit_and_confirm) as world:
        world.it.crm.call("deposit", "d9", "p1/1", 9)
        await world.it.until_quiet(world.replica)
        assert (world.it.state("d9"), world.it.writes()) == ("parked", [])


async def answered_for(world: Restored, reference: str) -> None:
    """A person lets it be sent although nothing is proven."""
    because = Because(reason="seen on the platform", person="ada")
    with pytest.raises(ConfigurationError, match="--even-though-unproven"):
        await decisions.retry(world.replica.engine, reference, because)
    await decisions.retry(world.replica.engine, reference, because, even_though_unproven=True)


async def test_a_person_may_have_it_sent_although_nothing_is_proven_and_it_is_sent_once(postgres_server, database_url):
    async with unreadable(postgres_server, database_url, deposit_and_confirm) as world:
        world.it.crm.call("deposit", "d9", "p1/1", 9)
        await world.it.until_quiet(world.replica)
        await answered_for(world, "d9")
        await world.it.until_quiet(world.replica)
        assert (world.it.state("d9"), len(world.it.effects("d9")), len(world.it.writes())) == ("confirmed", 1, 1)
        assert world.it.intent("d9")["waived"] is False


async def test_a_person_answers_for_one_attempt_and_not_for_the_next(postgres_server, database_url):
    async with unreadable(postgres_server, database_url, deposit_and_confirm) as world:
        world.it.crm.call("deposit", "d9", "p1/1", 9)
        await world.it.until_quiet(world.replica)
        await answered_for(world, "d9")
        world.it.sandbox.faults.set({"kind": "drop_before", "path": "/money"})
        await world.it.until_quiet(world.replica)
        assert (world.it.state("d9"), len(world.it.writes())) == ("parked", 1)


async def test_the_same_database_is_never_held(database_url):
    async with push_bench(database_url) as it:
        for _ in range(2):
            await it.replica().turn()
        assert it.owner.value("SELECT counterfoil.is_held()") is False


@pytest.mark.parametrize("what", ["table", "timeline"])
def test_a_dump_put_back_in_place_and_a_new_timeline_are_another_database(tmp_path, what):
    from counterfoil.store import migrations  # noqa: PLC0415 - these two start a server of their own

    tmp_path.chmod(0o755)
    place = tmp_path / "server"
    with EmbeddedPostgres.start(place, durable=False, settings={"wal_level": "replica"}) as server:
        migrations.upgrade(server.url)
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute("INSERT INTO counterfoil.database_identity (identity) VALUES (counterfoil.identity())")
            assert connection.execute("SELECT counterfoil.is_held()").fetchone() == (False,)
            if what == "table":
                connection.execute("ALTER TABLE counterfoil.intents RENAME TO older")
                connection.execute("CREATE TABLE counterfoil.intents (LIKE counterfoil.older)")
                assert connection.execute("SELECT counterfoil.is_held()").fetchone() == (True,)
    if what == "timeline":
        data = _data_directory(place)
        (data / "recovery.signal").touch()
        _own_like(data / "recovery.signal", data)
        with (data / "postgresql.auto.conf").open("a") as settings:
            settings.write("\nrestore_command = 'false'\n")
        with (
            EmbeddedPostgres.start(place, durable=False) as server,
            psycopg.connect(server.url, autocommit=True) as connection,
        ):
            _until_recovered(connection)
            assert connection.execute("SELECT counterfoil.is_held()").fetchone() == (True,)


def _until_recovered(connection: psycopg.Connection) -> None:
    for _ in range(200):
        if connection.execute("SELECT pg_is_in_recovery() FROM pg_sleep(0.05)").fetchone() == (False,):
            return
    raise AssertionError("the server never came out of recovery")


def _data_directory(place: Path) -> Path:
    return next(found.parent for found in place.rglob("PG_VERSION") if re.search(r"/base/|/global", str(found)) is None)


def _own_like(path: Path, other: Path) -> None:
    import os  # noqa: PLC0415 - PostgreSQL reads only what is its own

    status = other.stat()
    os.chown(path, status.st_uid, status.st_gid)


# --- a platform's name ------------------------------------------------------------------------------------------------


@asynccontextmanager
async def logged_in(url: str, base_url: str, **changes) -> AsyncIterator[OMTrader]:
    database = engines.create(url)
    binding = NameBinding(database, "live", "omtrader", changes.get("host", base_url.split("//")[1]))
    client = OMTrader(
        Connection(base_url=base_url, username="crm-api", password="sandbox", timeout=5),
        FreeBudget(),
        PrivateVault(),
        binding,
    )
    try:
        yield client
    finally:
        await client.close()
        await database.dispose()


async def test_a_platform_name_that_points_at_another_server_is_refused_for_reads_and_writes(database_url):
    async with Sandbox(SandboxOptions(deals=0)) as one, Sandbox(SandboxOptions(deals=0)) as other:
        async with logged_in(database_url, one.url) as client:
            await client.log_in()
        async with logged_in(database_url, other.url) as client:
            with pytest.raises(LoginRefusedError, match=r"means another server than before \(host was .*--rebind live"):
                await client.log_in()
            assert client.trouble is not None
        async with logged_in(database_url, one.url) as client:
            await client.log_in()


async def test_a_person_may_bind_a_name_anew(database_url):
    async with Sandbox(SandboxOptions(deals=0)) as one, Sandbox(SandboxOptions(deals=0)) as other:
        async with logged_in(database_url, one.url) as client:
            await client.log_in()
        database = engines.create(database_url)
        await unbind(database, "live")
        await database.dispose()
        async with logged_in(database_url, other.url) as client:
            assert (await client.log_in()).sandbox


async def test_a_sandbox_in_the_place_of_the_platform_is_refused(database_url):
    async with Sandbox(SandboxOptions(deals=0)) as server:
        server.faults.set({"kind": "unmark"})
        async with logged_in(database_url, server.url) as client:
            assert not (await client.log_in()).sandbox
        server.faults.set([])
        async with logged_in(database_url, server.url) as client:
            with pytest.raises(LoginRefusedError, match="sandbox was False, is True"):
                await client.log_in()
