"""Cost follows change: what a poll asks and writes when there is nothing, or one thing, to find."""

import pytest

from counterfoil.domain.errors import TransientError
from counterfoil.platforms.rows import RowFormat
from counterfoil.pull import whole
from counterfoil.pull.puller import Result
from counterfoil.store import bulk
from support.pulling import POLLED, Bench, Meddled, bench, marks, one_pass

HISTORIES = ("deals", "positions/history", "orders/history")


def counted(it: Bench) -> dict[str, int]:
    """Requests by list since the journal was cleared."""
    counts: dict[str, int] = {}
    for request in it.asked():
        name = request.partition("?")[0].removeprefix("/api/v1/").partition("/")[2]
        counts[name] = counts.get(name, 0) + 1
    return counts


def written(it: Bench) -> list[str]:
    """What changes when any row of the mirror is written or only locked."""
    return marks(
        it.url, (row.tablename for row in it.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'mirror'"))
    )


async def test_a_poll_of_everything_that_finds_nothing_writes_nothing_and_asks_each_list_once(database_url):
    async with bench(database_url, clients=57, accounts=123, deals=1_300) as it:
        puller = it.puller(page_size=500)
        for _ in range(2):
            await one_pass(puller)
        it.forget_requests()
        before = (written(it), it.versions(), it.rows("SELECT * FROM counterfoil.cursors ORDER BY resource"))
        assert await one_pass(puller) == {}
        assert (written(it), it.versions(), it.rows("SELECT * FROM counterfoil.cursors ORDER BY resource")) == before
        counts = counted(it)
        per_group = {name: n for name, n in counts.items() if name.startswith("groups/")}
        assert set(per_group.values()) == {1}
        assert {name: n for name, n in counts.items() if name not in per_group} == {
            "groups": 1, "symbols": 1, "clients": 1, "accounts": 1, "positions": 1, "orders": 1, "deals": 1,
            "positions/history": 1, "orders/history": 1,
        }  # fmt: skip


async def test_a_cycle_costs_the_listings_and_a_request_for_each_account_with_a_balance_operation(database_url):
    """And no more than ten besides, for histories and what left a live list; trading alone costs nothing."""
    async with bench(database_url, clients=300, accounts=600, deals=1_500) as it:
        puller = it.puller(page_size=500)
        for _ in range(2):
            await one_pass(puller)
        accounts = it.books.accounts.rows
        balances = {key: account.balance for key, account in accounts.items()}
        operations = {key: len(rows) for key, rows in it.books.transactions_of.items()}
        it.books.trade()
        still = [key for key, held in balances.items() if accounts[key].balance == held]
        for key in still[:20]:
            it.books.move_money(accounts[key], 10_000, 2, "")
        operated = [key for key, rows in it.books.transactions_of.items() if len(rows) > operations[key]]
        traded = [key for key, held in balances.items() if accounts[key].balance != held and key not in operated]
        assert (20 <= len(operated) < 50, len(traded) > 10) == (True, True)
        it.forget_requests()
        assert await one_pass(puller, wait=True) == {}
        counts = counted(it)
        asked = [name for name in counts if name.startswith("accounts/")]
        listings = {
            name: n for name, n in counts.items() if name not in (*asked, *HISTORIES) and not name[-1].isdigit()
        }
        assert sorted(int(name.split("/")[1]) for name in asked) == sorted(operated)
        assert set(counts) - set(asked) - set(listings) <= {*HISTORIES}
        assert sum(counts.values()) <= sum(listings.values()) + len(operated) + 10
        # One more where the number of rows looks like the platform's limit of a list.
        assert listings["accounts"] <= 3
        assert listings["clients"] <= 2
        assert it.differences("deals", "transactions", "accounts") == []


async def test_accounts_cost_their_pages_and_nothing_more(database_url):
    async with bench(database_url, clients=5, accounts=320, deals=0) as it:
        puller = it.puller(page_size=100, ahead=4)
        await one_pass(puller, "accounts")
        it.forget_requests()
        await one_pass(puller, "accounts")
        assert len(it.asked()) == 4


async def test_an_unchanged_page_is_not_even_sent_to_the_database(database_url, monkeypatch):
    async with bench(database_url) as it:
        puller = it.puller()
        await one_pass(puller, *POLLED)
        pages = []
        monkeypatch.setattr("counterfoil.store.bulk.write", lambda *given: pages.append(given))
        assert await one_pass(puller, *POLLED) == {}
        assert pages == []


@pytest.fixture
def staged(monkeypatch) -> list[int]:
    """How many rows were sent to be compared, write by write."""
    sent: list[int] = []
    copy = bulk.copy

    async def counted(connection, target, lines):
        lines = [*lines]
        sent.append(sum(piece.count(b"\n") + 1 for piece in lines))
        await copy(connection, target, lines)

    monkeypatch.setattr(bulk, "copy", counted)
    return sent


@pytest.mark.parametrize(("streams", "changed", "compared"), [(False, 0, []), (False, 1, [1]), (True, 0, [150, 1])])
async def test_what_a_first_reading_has_just_written_is_compared_only_where_it_may_have_changed(
    database_url, staged, streams, changed, compared
):
    async with bench(database_url, deals=150) as it:
        puller = it.puller(page_size=200)
        await one_pass(puller, "symbols")
        staged.clear()

        async def change(number: int, _resource: str) -> None:
            for key in it.books.deals.ids[-changed:] if number == 3 and changed else ():
                it.books.touch("deals", key)

        # The newest row, the only page, the same backwards, and that nothing is below it.
        puller.reader, puller.streams = Meddled(puller.reader, change), streams
        await one_pass(puller, "deals")
        assert (staged, puller.reader.pages) == (compared, 4)
        assert it.differences("deals") == []


async def test_what_a_first_reading_has_just_written_is_compared_where_a_sweep_went_on_meanwhile(database_url, staged):
    async with bench(database_url, deals=150) as it:
        puller, sweep = it.puller(page_size=200), it.puller(page_size=200)
        await one_pass(puller, "symbols")

        async def go_on(number: int, _resource: str) -> None:
            if number == 2:
                await one_pass(sweep, "sweep")
                staged.clear()

        puller.reader = Meddled(puller.reader, go_on)
        await one_pass(puller, "deals")
        assert staged[-2:] == [150, 1]
        assert it.differences("deals") == []


@pytest.mark.parametrize("table", ["clients", "accounts", "deals", "symbols"])
async def test_of_a_page_that_changed_only_the_rows_that_did_are_compared(database_url, staged, table):
    async with bench(database_url) as it:
        puller = it.puller()
        # Of histories it is the newest rows, at the second look, that are remembered.
        await one_pass(puller, "symbols", table)
        await one_pass(puller, table)
        staged.clear()
        changed = it.books.table(table).ids[-4:-1:2]
        for key in changed:
            it.books.touch(table, key)
        await one_pass(puller, table)
        assert staged == [len(changed)]
        assert it.differences(table) == []


@pytest.mark.parametrize("table", ["clients", "accounts", "symbols"])
async def test_of_a_list_that_changed_only_the_rows_that_did_are_read(database_url, monkeypatch, table):
    async with bench(database_url) as it:
        puller, read, real = it.puller(), [], RowFormat.read
        await one_pass(puller, table)
        for key in it.books.table(table).ids[-4:-1:2]:
            it.books.touch(table, key)

        def noted(self, records, digest=b""):
            page = real(self, records, digest)
            read.append(page.rows)
            return page

        monkeypatch.setattr(RowFormat, "read", noted)
        await one_pass(puller, table)
        assert read == [2]
        assert it.differences(table) == []


async def test_of_the_live_list_every_row_is_compared_for_the_history_writes_the_same_table(database_url, staged):
    async with bench(database_url) as it:
        puller = it.puller()
        await one_pass(puller, "symbols", "positions")
        staged.clear()
        it.books.trade()
        await one_pass(puller, "positions")
        assert staged[0] == len(it.books.positions.ids)
        assert it.differences("positions") == []


async def test_the_rows_that_changed_on_several_pages_are_written_together(database_url, staged):
    async with bench(database_url, accounts=200) as it:
        puller = it.puller(page_size=50, ahead=1)
        await one_pass(puller, "accounts")
        staged.clear()
        changed = it.books.accounts.ids[10::40]
        for key in changed:
            it.books.touch("accounts", key)
        await one_pass(puller, "accounts")
        assert staged == [len(changed)]
        assert it.differences("accounts") == []


async def test_rows_that_wait_for_others_are_written_when_they_waited_long_enough(database_url, staged, monkeypatch):
    monkeypatch.setattr(whole, "LONGEST_WAIT", 0.0)
    async with bench(database_url, accounts=200) as it:
        puller = it.puller(page_size=50, ahead=1)
        await one_pass(puller, "accounts")
        staged.clear()
        for key in it.books.accounts.ids[10::60]:
            it.books.touch("accounts", key)
        await one_pass(puller, "accounts")
        assert staged == [1, 1, 1, 1]


async def test_what_was_read_of_a_list_that_breaks_off_is_written(database_url):
    async with bench(database_url, accounts=200) as it:
        puller = it.puller(page_size=50, ahead=1)
        await one_pass(puller, "accounts")
        it.books.touch("accounts", changed := it.books.accounts.ids[10])

        async def break_off(number: int, _resource: str) -> None:
            if number > 2:
                raise TransientError("the platform restarts")

        puller.reader = Meddled(puller.reader, break_off)
        assert await puller.run("accounts") is Result.FAILED
        company = f"SELECT \"user\" ->> 'company' AS company FROM mirror.accounts WHERE id = {changed}"
        assert it.rows(company)[0].company == it.books.accounts.rows[changed].profile["company"]


async def test_a_row_that_changes_and_changes_back_between_two_pages_that_show_it_is_as_it_is_last(database_url):
    async with bench(database_url, accounts=120) as it:
        puller = it.puller(page_size=50, ahead=1)
        await one_pass(puller, "accounts")
        seam = it.books.accounts.rows[it.books.accounts.ids[49]]
        was = seam.balance

        async def change(number: int, _resource: str) -> None:
            if number <= 2:
                seam.balance = was + 1 if number == 1 else was
                it.books.accounts.changed(seam)
                it.books.touch("accounts", it.books.accounts.ids[60])

        reader, puller.reader = puller.reader, Meddled(puller.reader, change)
        await one_pass(puller, "accounts")
        assert it.differences("accounts") == []
        puller.reader = reader
        await one_pass(puller, "accounts")
        assert it.differences("accounts") == []


@pytest.mark.parametrize("table", ["clients", "accounts", "deals", "symbols"])
async def test_one_row_that_changed_is_one_row_written(database_url, table):
    async with bench(database_url) as it:
        puller = it.puller()
        await one_pass(puller, "symbols", table)
        before = it.versions()
        it.books.touch(table, it.books.table(table).ids[-2])
        await one_pass(puller, table)
        assert it.versions() == before + 1
        assert it.differences(table) == []


async def test_a_new_deal_costs_one_page(database_url):
    async with bench(database_url, deals=1_200) as it:
        puller = it.puller(page_size=500)
        await one_pass(puller, "deals")
        it.forget_requests()
        it.books.late(0)
        account = it.books.accounts.rows[it.books.accounts.ids[0]]
        it.books.move_money(account, 100, 2, "")
        await one_pass(puller, "deals")
        # One page is not the whole overlap any more: the new row takes a place in it.
        assert len(it.asked()) <= 2


async def test_a_first_reading_asks_for_no_page_behind_the_end(database_url):
    async with bench(database_url, deals=170) as it:
        await one_pass(it.puller(page_size=50, ahead=6), "deals")
        starts = [
            (int(query["page"]) - 1) * int(query["limit"])
            for query in (dict(p.split("=") for p in path.partition("?")[2].split("&")) for path in it.asked())
        ]
        assert max(starts) < 170 + 50 * 3
        assert len([start for start in starts if start >= 170]) <= 3
