"""Transactions: asked account by account, only where money moved, and in the end of everyone."""

from datetime import timedelta

import pytest

from counterfoil.pull.puller import Result
from support.pulling import EVERY, INTERVALS, Bench, bench, one_pass, said, until_done

OF = "transactions/history"


def accounts_asked(it: Bench) -> list[int]:
    """The accounts whose history was asked for since the journal was cleared, in ascending order."""
    return sorted(int(path.split("/")[5]) for path in it.asked(OF))


async def pulled(it: Bench, **options):
    """A replica that has read everything once."""
    puller = it.puller(**options)
    assert await one_pass(puller, "accounts", "transactions") == {}
    it.forget_requests()
    return puller


async def test_every_account_is_asked_once_and_then_nobody(database_url):
    async with bench(database_url) as it:
        puller = it.puller()
        await one_pass(puller, "accounts", "transactions")
        assert accounts_asked(it) == it.books.accounts.ids
        assert it.differences("transactions") == []
        it.forget_requests()
        await one_pass(puller, "accounts", "transactions")
        assert accounts_asked(it) == []


async def test_only_accounts_whose_money_moved_are_asked(database_url):
    async with bench(database_url) as it:
        puller = await pulled(it)
        moved, credited = it.books.accounts.ids[2:4]
        it.books.move_money(it.books.accounts.rows[moved], 12_345, 2, "card")
        it.books.move_money(it.books.accounts.rows[credited], 500, 3, "bonus")
        await one_pass(puller, "accounts", "transactions")
        assert accounts_asked(it) == [moved, credited]
        assert it.differences("transactions") == []


# --- balances that moved by trading -----------------------------------------------------------------------------------

READ = ("symbols", "accounts", "deals", "transactions")


async def trading(it: Bench):
    """A replica that has read deals, too, and an account with something open."""
    puller = it.puller()
    assert await one_pass(puller, *READ) == {}
    it.forget_requests()
    position = next(position for position in it.books.positions if position.account.balance > 0)
    return puller, position, position.account


async def test_an_account_that_only_traded_is_not_asked(database_url):
    async with bench(database_url) as it:
        puller, position, account = await trading(it)
        before = account.balance
        it.books.close_position(position)
        assert account.balance != before
        await one_pass(puller, *READ)
        assert accounts_asked(it) == []
        assert it.differences("accounts", "deals", "transactions") == []
        it.books.move_money(account, 12_345, 2, "card")
        await one_pass(puller, *READ)
        assert accounts_asked(it) == [account.id]
        assert it.differences("transactions") == []


@pytest.mark.parametrize("amount", [12_345, -1])
async def test_an_account_that_traded_and_moved_money_is_asked(database_url, amount):
    async with bench(database_url) as it:
        puller, position, account = await trading(it)
        it.books.close_position(position)
        it.books.move_money(account, amount, 2, "card")
        await one_pass(puller, *READ)
        assert accounts_asked(it) == [account.id]
        assert it.differences("transactions") == []


async def test_an_account_is_asked_when_the_deals_that_moved_its_balance_are_not_known_yet(database_url):
    async with bench(database_url) as it:
        puller, position, account = await trading(it)
        it.books.close_position(position)
        await one_pass(puller, "accounts", "transactions")
        assert accounts_asked(it) == [account.id]


async def test_the_newest_deals_need_not_be_in_the_balance_yet(database_url):
    async with bench(database_url) as it:
        puller, position, _ = await trading(it)
        it.books.close_position(position, volume=position.volume // 2)
        await one_pass(puller, "accounts")
        it.books.close_position(position)
        await one_pass(puller, "deals", "transactions")
        await one_pass(puller, "accounts", "transactions")
        assert accounts_asked(it) == []
        assert it.differences("accounts", "deals", "transactions") == []


async def test_older_deals_must_be_in_the_balance(database_url):
    async with bench(database_url) as it:
        puller, position, account = await trading(it)
        it.books.close_position(position, volume=position.volume // 2)
        await one_pass(puller, "accounts")
        it.books.close_position(position)
        await one_pass(puller, "deals")
        it.rows(
            "UPDATE mirror.deals SET created_at = created_at - interval '1 hour' WHERE account_id = %s RETURNING 1",
            account.id,
        )
        await one_pass(puller, "transactions")
        assert accounts_asked(it) == [account.id]


async def test_money_that_just_makes_up_for_the_newest_deal_does_not_hide_behind_it(database_url):
    """As if the deal were not in the balance yet."""
    async with bench(database_url) as it:
        puller, position, account = await trading(it)
        it.books.close_position(position, volume=position.volume // 2)
        held = account.balance
        it.books.close_position(position)
        it.books.move_money(account, held - account.balance, 2, "the same amount")
        await one_pass(puller, *READ)
        assert accounts_asked(it) == [account.id]
        assert it.differences("transactions") == []


async def close(it: Bench, puller, position) -> None:
    """A trade that deals tell of first, and accounts later."""
    it.books.close_position(position)
    await one_pass(puller, "deals")


async def taken_back(it: Bench, puller, position) -> None:
    await close(it, puller, position)
    it.books.move_money(position.account, 12_345, 2, "wrong account")
    it.books.move_money(position.account, -12_345, 2, "taken back")


async def made_good(it: Bench, puller, position) -> None:
    held = position.account.balance
    await close(it, puller, position)
    it.books.move_money(position.account, held - position.account.balance, 2, "makes good")


async def made_good_later(it: Bench, puller, position) -> None:
    held = position.account.balance
    await close(it, puller, position)
    await one_pass(puller, "accounts", "transactions")
    it.books.move_money(position.account, held - position.account.balance, 2, "makes good")


async def made_good_unseen(it: Bench, puller, position) -> None:
    held = position.account.balance
    it.books.close_position(position)
    await one_pass(puller, "accounts", "transactions")
    it.forget_requests()
    it.books.move_money(position.account, held - position.account.balance, 2, "makes good")


@pytest.mark.parametrize("move", [taken_back, made_good, made_good_later, made_good_unseen])
async def test_money_that_older_deals_seem_to_explain_is_asked_for_when_its_own_deal_comes(database_url, move):
    async with bench(database_url) as it:
        puller, position, account = await trading(it)
        await move(it, puller, position)
        await one_pass(puller, "accounts", "transactions")
        assert accounts_asked(it) == []
        await one_pass(puller, *READ)
        assert accounts_asked(it) == [account.id]
        assert it.differences("transactions") == []
        await one_pass(puller, *READ)
        assert accounts_asked(it) == [account.id]


@pytest.mark.parametrize("first", [("accounts", "transactions"), READ])
async def test_what_comes_in_and_out_while_deals_are_not_read_or_are_none_yet_is_found_by_them(database_url, first):
    async with bench(database_url) as it:
        if first == READ:
            for key in list(it.books.deals.ids):
                it.books.delete("deals", key)
        account = it.books.accounts.rows[it.books.accounts.ids[0]]
        account.balance += 1_000_000
        it.books.accounts.changed(account)
        puller = it.puller()
        assert await one_pass(puller, "symbols", *first) == {}
        it.forget_requests()
        for amount in (5_000, -5_000):
            it.books.move_money(account, amount, 2, "in and out")
        await one_pass(puller, *READ)
        assert accounts_asked(it) == [account.id]
        assert it.differences("transactions") == []


async def test_an_account_without_a_balance_is_asked_when_a_deal_tells_of_money(database_url):
    async with bench(database_url) as it:
        puller, _, account = await trading(it)
        it.rows("UPDATE mirror.accounts SET balance = NULL WHERE id = %s RETURNING 1", account.id)
        it.rows("UPDATE counterfoil.asked SET balance = NULL WHERE account_id = %s RETURNING 1", account.id)
        it.books.move_money(account, 5_000, 2, "card")
        await one_pass(puller, "deals", "transactions")
        await one_pass(puller, "deals", "transactions")
        assert accounts_asked(it) == [account.id]
        assert it.differences("transactions") == []


async def test_deals_explain_nothing_before_their_first_reading_is_complete(database_url):
    async with bench(database_url) as it:
        puller, position, account = await trading(it)
        await close(it, puller, position)
        it.rows("DELETE FROM counterfoil.cursors WHERE resource = 'transactions' RETURNING 1")
        it.rows(
            """UPDATE counterfoil.cursors SET state = state || '{"begun": false}' WHERE resource = 'deals' RETURNING 1"""
        )
        await one_pass(puller, "accounts", "transactions")
        assert accounts_asked(it) == [account.id]


async def test_an_account_whose_deals_do_not_add_up_is_asked_whenever_its_balance_moves(database_url):
    async with bench(database_url) as it:
        puller, position, account = await trading(it)
        account.balance += 1
        it.books.close_position(position)
        await one_pass(puller, *READ)
        assert accounts_asked(it) == [account.id]


@pytest.mark.parametrize("side", ["0", "NULL"])
async def test_accounts_are_asked_where_transactions_tell_of_more_than_balance_operations(database_url, side):
    async with bench(database_url) as it:
        puller, position, account = await trading(it)
        it.books.close_position(position)
        await one_pass(puller, "accounts", "deals")
        it.rows(
            f"UPDATE mirror.transactions SET side = {side} WHERE id = "
            "(SELECT max(id) FROM mirror.transactions WHERE account_id <> %s) RETURNING 1",
            account.id,
        )
        await one_pass(puller, "transactions")
        assert accounts_asked(it) == [account.id]


async def test_credit_is_asked_for_whatever_was_traded(database_url):
    async with bench(database_url) as it:
        puller, position, account = await trading(it)
        it.books.close_position(position)
        it.books.move_money(account, 500, 3, "bonus")
        await one_pass(puller, *READ)
        assert accounts_asked(it) == [account.id]
        assert it.differences("transactions") == []


async def test_credit_that_moved_without_a_deal_is_asked_for_too(database_url):
    async with bench(database_url) as it:
        puller, position, account = await trading(it)
        it.books.close_position(position)
        account.credit += 500
        it.books.accounts.changed(account)
        await one_pass(puller, *READ)
        assert accounts_asked(it) == [account.id]


async def test_our_own_reference_in_the_comment_is_recognised_when_it_comes_back(database_url):
    async with bench(database_url) as it:
        account = it.books.accounts.rows[it.books.accounts.ids[0]]
        ours = it.books.move_money(account, 10_000, 2, "cf-abc234def567").id
        theirs = it.books.move_money(account, 10_000, 2, "scf-abc234def567").id
        await pulled(it)
        rows = it.rows(
            "SELECT origin, reference FROM mirror.transactions WHERE id = ANY(%s) ORDER BY id", [ours, theirs]
        )
        assert [tuple(row) for row in rows] == [("counterfoil", "cf-abc234def567"), ("platform", None)]


async def test_movements_that_cancel_each_other_out_are_found_by_the_slow_round(database_url):
    async with bench(database_url) as it:
        puller = await pulled(it)
        account = it.books.accounts.rows[it.books.accounts.ids[0]]
        for amount in (5_000, -5_000):
            it.books.move_money(account, amount, 2, "in and out")
        await one_pass(puller, "accounts", "transactions")
        assert len(it.differences("transactions")) == 2
        age(it, hours=24)
        for _ in range(len(it.books.accounts)):
            await one_pass(puller, "transactions")
        assert it.differences("transactions") == []


def age(it: Bench, *, hours: float) -> None:
    """Let time pass for what was asked and noticed so far."""
    for table, column in (("asked", "asked_at"), ("vanished", "noticed_at")):
        it.rows(f"UPDATE counterfoil.{table} SET {column} = {column} - %s RETURNING 1", timedelta(hours=hours))


@pytest.mark.parametrize(("polls", "length"), [(5, 5), (25, 25), (5, 100)])
async def test_the_slow_round_asks_everyone_within_its_length_and_hardly_anybody_twice(database_url, polls, length):
    """Time goes on by one interval a poll; a round is so many intervals long."""
    async with bench(database_url) as it:
        puller = await pulled(it, intervals={**INTERVALS, "sweep": EVERY * length})
        for _ in range(polls):
            age(it, hours=EVERY / timedelta(hours=1))
            await one_pass(puller, "transactions")
        asked = accounts_asked(it)
        assert set(asked) == (set(it.books.accounts.ids) if polls == length else set())
        assert len(asked) <= len(it.books.accounts) * 1.3


async def test_a_plain_sync_has_no_slow_round_and_a_full_one_asks_everyone(database_url):
    async with bench(database_url) as it:
        puller = await pulled(it)
        age(it, hours=1_000)
        await one_pass(puller, "transactions", wait=True)
        assert accounts_asked(it) == []
        await one_pass(puller, "transactions", wait=True, full=True)
        assert sorted(set(accounts_asked(it))) == it.books.accounts.ids


async def test_only_the_newest_pages_of_an_account_are_read_down_to_one_that_is_known(database_url):
    async with bench(database_url) as it:
        account = it.books.accounts.rows[it.books.accounts.ids[0]]
        for _ in range(40):
            it.books.move_money(account, 100, 2, "drip")
        puller = await pulled(it, page_size=15)
        assert it.differences("transactions") == []
        it.books.move_money(account, 100, 2, "drip")
        await one_pass(puller, "accounts", "transactions")
        assert accounts_asked(it) == [account.id]
        assert it.differences("transactions") == []


async def test_a_transaction_that_is_gone_gets_its_tombstone_by_a_full_pass(database_url):
    async with bench(database_url) as it:
        puller = await pulled(it)
        gone = it.books.transactions.ids[0]
        it.books.delete("transactions", gone)
        await one_pass(puller, "accounts", "transactions")
        assert it.differences("transactions") == [f"transactions {gone} is not in the books"]
        await one_pass(puller, "transactions", full=True)
        assert it.differences("transactions") == []


async def test_a_transaction_that_comes_back_is_not_missed_any_more(database_url):
    async with bench(database_url) as it:
        # A round a minute: every poll asks everyone.
        puller = await pulled(it, intervals={**INTERVALS, "sweep": EVERY})
        hidden = it.books.transactions.ids[-1]
        listed = it.books.transactions_of[it.books.transactions.rows[hidden].account_id]
        listed.remove(hidden)
        await one_pass(puller, "transactions")
        listed.append(hidden)
        for _ in range(2):
            age(it, hours=1)
            await one_pass(puller, "transactions")
            assert it.differences("transactions") == []


async def test_a_transaction_whose_id_cannot_be_read_is_not_taken_for_missing(database_url):
    async with bench(database_url) as it:
        account = it.books.accounts.rows[it.books.accounts.ids[0]]
        for _ in range(3):
            it.books.move_money(account, 100, 2, "drip")
        puller = await pulled(it)
        it.sandbox.faults.set({"kind": "malformed_record", "path": f"/{account.id}/{OF}"})
        assert await one_pass(puller, "transactions", full=True) == {}
        assert it.differences("transactions") == []


async def test_one_account_whose_history_cannot_be_read_keeps_nobody_else_waiting(database_url):
    async with bench(database_url) as it:
        sick = it.books.accounts.ids[0]
        it.sandbox.faults.set({"kind": "html", "path": f"/accounts/{sick}/transactions"})
        puller = it.puller(ahead=1)
        await one_pass(puller, "accounts")
        with said() as lines:
            assert await until_done(puller, "transactions") is Result.FAILED
        assert len(lines("pull.failed")) == 1
        owners = {it.books.transactions.rows[key].account_id for key in it.books.transactions.ids}
        mirrored = {row.account_id for row in it.rows("SELECT account_id FROM mirror.transactions")}
        assert mirrored == owners - {sick}
        it.sandbox.faults.clear()
        assert await until_done(puller, "transactions", wait=True) is Result.DONE
        assert it.differences("transactions") == []


async def test_a_platform_of_which_no_history_can_be_read_is_not_asked_for_all_of_them(database_url):
    async with bench(database_url) as it:
        it.sandbox.faults.set({"kind": "html", "path": OF})
        puller = it.puller(ahead=1)
        await one_pass(puller, "accounts")
        assert await until_done(puller, "transactions") is Result.FAILED
        assert len(accounts_asked(it)) < len(it.books.accounts)


async def test_an_account_that_is_gone_since_it_was_mirrored_stops_nobody(database_url):
    async with bench(database_url) as it:
        puller = it.puller()
        await one_pass(puller, "accounts")
        it.books.accounts.remove(it.books.accounts.ids[0])
        assert await one_pass(puller, "transactions") == {}


async def test_a_long_round_of_asking_makes_room_and_goes_on(database_url):
    async with bench(database_url) as it:
        puller = it.puller(ahead=1, slice=0.0)
        await one_pass(puller, "accounts")
        assert await puller.run("transactions") is Result.MORE
        assert await until_done(puller, "transactions") is Result.DONE
        assert it.differences("transactions") == []
        assert accounts_asked(it) == it.books.accounts.ids
