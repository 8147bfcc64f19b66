"""The login session that replicas share: sealed at rest, one login at a time."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from cryptography.fernet import Fernet
from sqlalchemy.ext.asyncio import AsyncEngine

from counterfoil.platforms.sessions import PrivateVault
from counterfoil.store.sessions import SealedVault
from support.store import connected, query, until, value

SESSION = b'{"token": "eyJhbGciOiJIUzI1NiJ9.secret"}'
KEY = Fernet.generate_key().decode()


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[AsyncEngine]:
    async with connected(database_url) as engine:
        yield engine


@pytest.fixture
async def vaults(database_url: str, database: AsyncEngine) -> AsyncIterator[tuple[SealedVault, SealedVault]]:
    """Those of two replicas."""
    async with connected(database_url) as other:
        yield SealedVault(database, "live", KEY), SealedVault(other, "live", KEY)


async def test_a_session_is_there_for_the_other_replica_and_no_other_platform(database, vaults):
    mine, theirs = vaults
    assert await theirs.load() is None
    await mine.save(SESSION, 60.0)
    assert await theirs.load() == SESSION
    assert await SealedVault(database, "demo", KEY).load() is None


async def test_the_newest_session_replaces_the_one_before(vaults):
    mine, theirs = vaults
    await mine.save(b"old", 60.0)
    await theirs.save(SESSION, 60.0)
    assert await mine.load() == SESSION


async def test_nothing_readable_of_a_session_lies_in_the_database(database, vaults):
    await vaults[0].save(SESSION, 60.0)
    row = str(await query(database, "SELECT s::text, encode(sealed, 'escape') FROM counterfoil.sessions s"))
    assert "eyJ" not in row
    assert "secret" not in row
    assert SESSION.hex() not in row


async def test_a_session_sealed_with_another_key_is_none(database, vaults):
    await vaults[0].save(SESSION, 60.0)
    other = SealedVault(database, "live", Fernet.generate_key().decode())
    assert await other.load() is None
    await other.save(b"new", 60.0)
    assert await vaults[0].load() is None


async def test_a_session_that_was_tampered_with_is_none(database, vaults):
    await vaults[0].save(SESSION, 60.0)
    await query(database, "UPDATE counterfoil.sessions SET sealed = overlay(sealed PLACING 'xxxx'::bytea FROM 40)")
    assert await vaults[0].load() is None


@pytest.mark.parametrize("lifetime", [0.0, -5.0, 0.05])
async def test_a_session_is_gone_when_its_lifetime_is_over(database, vaults, lifetime):
    await vaults[0].save(SESSION, lifetime)
    await until(database, "expires_at <= clock_timestamp() FROM counterfoil.sessions")
    assert await vaults[1].load() is None


async def test_one_login_at_a_time_over_all_replicas(vaults):
    inside, most = 0, 0

    async def log_in(vault: SealedVault) -> None:
        nonlocal inside, most
        async with vault.exclusive():
            inside += 1
            most = max(most, inside)
            if await vault.load() is None:
                await vault.save(SESSION, 60.0)
            inside -= 1

    async with asyncio.timeout(20):
        await asyncio.gather(*(log_in(vault) for vault in vaults * 2))
    assert most == 1


async def test_the_next_replica_logs_in_when_one_fails_or_dies(database, vaults):
    with pytest.raises(ZeroDivisionError):
        async with vaults[0].exclusive():
            raise ZeroDivisionError
    async with vaults[0].exclusive():
        await query(database, "UPDATE counterfoil.leases SET expires_at = clock_timestamp() - interval '1 ms'")
        async with asyncio.timeout(10), vaults[1].exclusive():
            assert await value(database, "SELECT count(*) FROM counterfoil.leases WHERE resource = 'login'") == 1


async def test_without_a_key_nothing_is_shared_but_logins_still_go_one_by_one(database):
    vault = PrivateVault()
    await vault.save(SESSION, 60.0)
    assert await vault.load() is None
    assert await value(database, "SELECT count(*) FROM counterfoil.sessions") == 0
    async with vault.exclusive():
        waiting = asyncio.create_task(anext(aiter_of(vault)))
        await asyncio.sleep(0)
        assert not waiting.done()
    assert await waiting


async def aiter_of(vault: PrivateVault) -> AsyncIterator[bool]:
    async with vault.exclusive():
        yield True
