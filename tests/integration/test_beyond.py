"""Rows beyond all that the mirror holds go straight into the table, and end up as those that go through staging."""

import json
from collections.abc import AsyncIterator

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from counterfoil.domain.page import Page, joined
from counterfoil.platforms.omtrader.wire import FORMATS
from counterfoil.store import beyond, bulk
from counterfoil.store.engine import transaction
from support.store import connected

MANY = 120
VOLUMES = ("1.43", "0.10", "1e3", "1E+2", "2.5e-3", "0", "-0.0", "1234567890.123456789", "null")
# Everything but when it was written.
ROWS = sa.text("""
    SELECT to_jsonb(t) - ARRAY['version', 'first_seen_at', 'changed_at', 'platform'] AS row, t.volume_base::text
    FROM mirror.deals t WHERE platform = :platform ORDER BY id
""")


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[AsyncEngine]:
    async with connected(database_url) as engine:
        yield engine


def deals(first: int = 1, rows: int = MANY, **fields: str) -> Page:
    """Deals with all kinds of volumes, whose symbols are known, unknown and not told."""
    records = []
    for number in range(rows):
        given = {"id": str(first + number), "volume": VOLUMES[number % len(VOLUMES)], "contract_size": "100000.0"}
        given |= {"symbol_id": ("3", "4", "null")[number % 3], "comment": json.dumps(f'"{number}", x'), **fields}
        members = ", ".join(f'"{name}": {token}' for name, token in given.items())
        records.append(f"{{{members}}}")
    return FORMATS["deals"].read(f"[{', '.join(records)}]".encode())


async def write(database: AsyncEngine, platform: str, page: Page) -> bulk.Written:
    async with transaction(database) as connection:
        return await bulk.write(connection, platform, "deals", page)


async def rows(database: AsyncEngine, statement: str | sa.TextClause = ROWS, **given: object) -> list[tuple]:
    async with transaction(database) as connection:
        done = sa.text(statement) if isinstance(statement, str) else statement
        return [tuple(row) for row in await connection.execute(done, given or {"platform": "live"})]


async def named(database: AsyncEngine, *platforms: str) -> None:
    for platform in platforms:
        await rows(
            database,
            "INSERT INTO mirror.symbols (platform, id, symbol, first_seen_at, changed_at, version)"
            """ VALUES (:platform, 3, E'EUR"U\\tS\\\\D', now(), now(), nextval('mirror.version')) RETURNING 1""",
            platform=platform,
        )


@pytest.fixture
def straight(monkeypatch) -> list[int]:
    """How many rows went straight into the table, write by write."""
    counts: list[int] = []
    real = beyond.copy_beyond

    async def counted(*given: object, **named: object) -> frozenset[int]:
        copied = await real(*given, **named)
        counts.append(len(copied))
        return copied

    monkeypatch.setattr(bulk, "copy_beyond", counted)
    return counts


async def test_a_row_is_the_same_whichever_way_it_comes(database, straight, monkeypatch):
    await named(database, "live", "other")
    assert (await write(database, "live", deals())).inserted == MANY
    monkeypatch.setattr(beyond, "MANY", 10_000)
    monkeypatch.setattr(bulk, "MANY", 10_000)
    assert (await write(database, "other", deals())).inserted == MANY
    assert straight == [MANY, 0]
    assert await rows(database) == await rows(database, platform="other")


async def test_the_product_of_two_numbers_has_the_digits_that_the_database_gives_it(database, straight):
    await write(database, "live", deals())
    differing = "SELECT volume, contract_size, volume_base FROM mirror.deals WHERE record_image_ne(ROW(volume_base), ROW(volume * contract_size))"
    assert (straight, await rows(database, differing)) == ([MANY], [])


async def test_versions_follow_one_another_in_the_order_of_the_page(database, straight):
    await named(database, "live")
    await write(database, "live", deals())
    await write(database, "live", deals(first=MANY + 1))
    versions = [version for (version,) in await rows(database, "SELECT version FROM mirror.deals ORDER BY id")]
    assert versions == list(range(versions[0], versions[0] + 2 * MANY))
    (next_one,) = (await rows(database, "SELECT nextval('mirror.version')"))[0]
    assert (next_one, straight) == (versions[-1] + 1, [MANY, MANY])


@pytest.mark.parametrize("account", [None, {"a,\n": ['"', "\\", {}], "b": "null"}, "null"])
@pytest.mark.parametrize(
    "text",
    ["null", "n\\ull", "\\.", "a,b", '"', "line\nbreak\r", "tab\t", "", "\x01,\x02", "\u0003x01", "[{Zoë}]\n[🙂"],
)
async def test_texts_and_json_arrive_whatever_they_hold(database, straight, text, account):
    await named(database, "live")
    sent = {"comment": json.dumps(text), "account": json.dumps(account, indent=1)}
    await write(database, "live", deals(**sent))
    await write(database, "live", deals(first=MANY + 1, rows=10, **sent))
    found = await rows(database, "SELECT DISTINCT comment, account FROM mirror.deals")
    assert (found, straight) == ([(text, account)], [MANY, 0])


async def test_a_value_that_is_refused_sends_all_the_other_way_and_itself_into_quarantine(database, straight):
    page = deals()
    page.lines[7] = page.lines[7].replace(b"100000.0", b"1e200000")
    written = await write(database, "live", page)
    assert (written.inserted, [record.record_id for record in written.rejected]) == (MANY - 1, ["8"])
    assert (straight, len(await rows(database))) == ([0], MANY - 1)


async def test_of_a_record_that_comes_twice_the_later_counts(database, straight):
    page = joined([deals(), deals(first=MANY, rows=1, comment='"later"'), deals(first=MANY + 1)])
    assert (await write(database, "live", page)).inserted == 2 * MANY
    assert straight == [2 * MANY]
    assert await rows(database, f"SELECT comment FROM mirror.deals WHERE id = {MANY}") == [("later",)]


async def test_what_is_not_beyond_is_compared_as_ever(database, straight):
    await write(database, "live", deals(first=MANY + 1))
    again = joined([deals(), deals(first=MANY + 1, comment='"changed"'), deals(first=2 * MANY + 1)])
    written = await write(database, "live", again)
    assert (written.inserted, written.changed, straight) == (2 * MANY, MANY, [MANY, MANY])
    assert len(await rows(database)) == 3 * MANY


async def test_a_page_may_begin_with_the_last_row_that_is_known(database, straight):
    await write(database, "live", deals())
    written = await write(database, "live", deals(first=MANY, comment='"changed"'))
    assert (written.inserted, written.changed, straight) == (MANY - 1, 1, [MANY, MANY - 1])


async def test_few_rows_are_not_worth_it(database, straight):
    assert (await write(database, "live", deals(rows=beyond.MANY - 1))).inserted == beyond.MANY - 1
    assert straight == [0]
