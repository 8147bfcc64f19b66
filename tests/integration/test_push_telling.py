"""The CRM is told what happened, whatever went wrong while it was told."""

import asyncio

import pytest

from counterfoil import pushing
from counterfoil.pushing import Pushing
from counterfoil.store import engine as engines
from counterfoil.store import told
from support.boundary import PROFILE, boundary
from support.pulling import said


@pytest.fixture
def it(database_url):
    with boundary(database_url) as it:
        yield it


async def tell(it, numbered, lost):
    """Tell until something has got its number."""
    database = engines.create(it.url)
    voice = Pushing(database, it.url, lost)
    voice.start()
    try:
        await asyncio.wait_for(numbered.wait(), 20)
    finally:
        await voice.stop(1.0)
        await database.dispose()


@pytest.mark.parametrize("error", [ValueError("a bug"), RuntimeError("another"), KeyError("x")])
async def test_an_error_of_ours_does_not_end_the_telling(it, monkeypatch, error):
    monkeypatch.setattr(pushing, "POLL", 0.01)
    it.crm.call("register", "7", PROFILE, "live")
    failures = [error, error]
    number, numbered = told.number, asyncio.Event()

    async def stumbling(engine):
        if failures:
            raise failures.pop()
        done = await number(engine)
        if done:
            numbered.set()
        return done

    monkeypatch.setattr(told, "number", stumbling)
    lost = []

    async def database_lost(found):
        lost.append(found)

    with said() as lines:
        await tell(it, numbered, database_lost)
    assert it.crm.rows("SELECT id, event FROM crm.events") == [(1, "registrant.pending")]
    assert [line["reason"] for line in lines("push.failed")] == [error, error]
    assert lost == []
