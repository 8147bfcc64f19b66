"""The audit: books that agree are silent, each way of disagreeing is one line, and what only was read at different times is none."""

import json

import psycopg
import pytest

from counterfoil.cli.options import DONE, NEEDS_A_PERSON
from counterfoil.domain.references import idempotency_reference
from counterfoil.sandbox import Sandbox, SandboxOptions
from support.desk import desk
from support.process import outcome, platform, write_settings

LATER = "UPDATE mirror.{table} SET changed_at = clock_timestamp() + interval '1 min' WHERE id = %s"
LONG_AGO = "UPDATE counterfoil.freshness SET {column} = {column} - interval '1 hour' WHERE resource = %s"
ASKED = "INSERT INTO counterfoil.asked (platform, account_id, asked_at) VALUES ('live', %s, clock_timestamp())"
STRANGE = idempotency_reference("of another life")


@pytest.fixture
def it(database_url, tmp_path, capsys):
    with desk(database_url, tmp_path, capsys) as it:
        it.ready()
        yield it


@pytest.fixture
def account(it):
    """The id of an account with 100.00 in deals, and a balance to match."""
    account = it.mirrored_account(balance="100.00", credit="5")
    it.deal(1, account, "70.00")
    it.deal(2, account, "40.00", side=0, commission="-3.00", swap="-2.00", storage="-4.00", fee="-1.00")
    it.deal(3, account, "5.00", side=3)
    it.read()
    return account


def findings(it) -> list[str]:
    """The lines of an audit without the last; the exit code must fit them, and so must what programs are told."""
    said = it.run("audit")
    *lines, _last = said.lines
    assert said.code == (NEEDS_A_PERSON if lines else DONE), said
    plain = json.loads(it.run("audit", "--json").out)
    assert [f"{row['platform']}: {row['text']}" for row in plain["findings"]] == lines
    return lines


def summary(it) -> str:
    return it.run("audit").lines[-1]


def confirmed(it, reference="d", *, present=True, carrying="", **booked):
    """A confirmed operation of 50, in the books as `booked` says and under the reference of `carrying`, read to the end."""
    (it.withdrawal if reference == "w" else it.deposit)(reference, 50)
    it.owner.confirm(reference)
    if present:
        signed = booked.pop("signed", -50 if reference == "w" else 50)
        it.booked(812, reference if carrying == "" else carrying, signed, **booked)
    account = it.account_id()
    it.mirrored_account(
        balance=it.owner.value("SELECT coalesce(sum(profit), 0) FROM mirror.deals WHERE account_id = %s", account)
    )
    it.read()
    it.read()


def test_nothing_is_compared_before_everything_was_read(it):
    it.mirrored_account(balance="1")
    said = it.run("audit")
    assert (said.code, said.out.startswith("nothing to compare yet")) == (DONE, True)
    it.read("accounts", "deals")
    assert summary(it).startswith("nothing to compare yet; live: accounts, deals and transactions")
    it.read("transactions")
    assert "compared 1 accounts" in summary(it)


async def test_the_books_of_a_platform_that_keeps_true_books_agree(database_url, tmp_path):
    async with Sandbox(SandboxOptions(clients=6, accounts=12, deals=400, seed=3)) as sandbox:
        settings = write_settings(tmp_path / "c.yaml", database_url, {"live": platform(sandbox.url)})
        assert (await outcome("sync", "-c", settings))[0] == DONE
        code, out, errors = await outcome("audit", "-c", settings)
        assert (code, out.splitlines()[-1].partition(":")[2]) == (DONE, " 0 disagree"), (out, errors)
        with psycopg.connect(database_url) as connection:
            ((agreeing, transactions),) = connection.execute(
                "SELECT (SELECT count(*) FROM mirror.accounts), (SELECT count(*) FROM mirror.transactions)"
            ).fetchall()
            assert f"compared {agreeing} accounts, {transactions} transactions" in out
            connection.execute(
                "UPDATE mirror.accounts SET balance = balance + 0.01 WHERE id = (SELECT min(id) FROM mirror.accounts)"
            )
        code, out, _ = await outcome("audit", "-c", settings)
        assert (code, len(out.splitlines())) == (NEEDS_A_PERSON, 2)


# --- balances ---------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("account")
def test_books_that_agree_are_silent(it):
    assert findings(it) == []
    assert summary(it) == (
        "compared 1 accounts, 0 transactions, 0 confirmed operations and 0 released payouts: 0 disagree"
    )


@pytest.mark.parametrize("part", ["profit", "commission", "swap", "storage", "fee"])
def test_a_balance_that_is_not_the_sum_of_its_deals_is_found(it, account, part):
    it.rows(f"UPDATE mirror.deals SET {part} = {part} + 0.01 WHERE id = 2")
    assert findings(it) == [f"live: account {account}: its balance is 100.00, its deals make 100.01, -0.01"]


def test_a_credit_that_is_not_the_sum_of_its_credit_deals_is_found(it, account):
    it.rows("UPDATE mirror.accounts SET credit = 6")
    assert findings(it) == [f"live: account {account}: its credit is 6, its credit deals make 5.00, +1.00"]


def test_deals_that_are_gone_do_not_count(it, account):
    it.rows("UPDATE mirror.deals SET deleted_at = now() WHERE id = 1")
    assert findings(it) == [f"live: account {account}: its balance is 100.00, its deals make 30.00, +70.00"]
    it.rows("UPDATE mirror.accounts SET deleted_at = now()")
    assert findings(it) == []


def test_an_account_without_deals_must_be_empty(it):
    account = it.mirrored_account(balance="3")
    it.read()
    assert findings(it) == [f"live: account {account}: its balance is 3, its deals make 0, +3"]


@pytest.mark.usefixtures("account")
def test_what_binary_floats_made_of_a_sum_is_compared_at_the_digits_of_the_currency(it):
    it.rows("UPDATE mirror.accounts SET balance = 100.00000000000001")
    assert findings(it) == []
    it.rows("UPDATE mirror.accounts SET currency_digits = NULL, group_id = 79")
    assert len(findings(it)) == 1
    it.mirror("groups", 79, currency_digits=2)
    assert findings(it) == []


@pytest.mark.usefixtures("account")
def test_what_is_not_told_is_not_compared(it):
    it.rows("UPDATE mirror.accounts SET balance = NULL, credit = NULL")
    assert findings(it) == []


def test_an_account_that_changed_after_the_deals_were_asked_for_is_moving(it, account):
    it.rows("UPDATE mirror.accounts SET balance = 150")
    assert len(findings(it)) == 1
    it.rows(LATER.format(table="accounts"), account)
    assert findings(it) == []
    assert "1 accounts moved while their books were read, ask again" in summary(it)


def test_a_balance_that_lacks_its_newest_deals_is_moving(it, account):
    for number in (4, 5):
        it.deal(number, account, "10")
        it.rows("UPDATE mirror.deals SET created_at = clock_timestamp() WHERE id = %s", number)
    assert findings(it) == []
    assert "1 accounts moved" in summary(it)
    it.rows("UPDATE mirror.deals SET created_at = now() - interval '1 day' WHERE id = 5")
    assert findings(it) == [f"live: account {account}: its balance is 100.00, its deals make 120.00, -20.00"]


def test_deals_that_were_known_before_the_balance_was_read_explain_nothing(it, account):
    it.deal(4, account, "10")
    it.rows(
        "UPDATE mirror.deals SET created_at = clock_timestamp(), changed_at = now() - interval '1 min' WHERE id = 4"
    )
    assert findings(it) == [f"live: account {account}: its balance is 100.00, its deals make 110.00, -10.00"]


def test_a_balance_that_its_newest_deals_do_not_explain_is_found(it, account):
    it.deal(4, account, "10")
    it.rows("UPDATE mirror.deals SET created_at = clock_timestamp() WHERE id = 4")
    it.rows("UPDATE mirror.accounts SET balance = 101, changed_at = now() - interval '1 hour'")
    assert len(findings(it)) == 1


# --- transactions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("transaction", "found"),
    [
        ({"amount": "70", "side": 2}, []),
        ({"amount": "71", "side": 2}, ["it says 71, the deal of the same id says 70.00"]),
        ({"amount": "70", "side": 3}, ["it says 70, the deal of the same id says 70.00 (side 3 against 2)"]),
        ({"amount": "71", "side": 2, "account_id": 4}, []),
        ({"amount": "71", "side": 2, "deleted_at": "2026-01-01T00:00:00Z"}, []),
    ],
)
def test_a_transaction_must_say_what_its_deal_says(it, account, transaction, found):
    it.mirror("transactions", 1, **{"account_id": account, **transaction})
    assert findings(it) == [f"live: transaction 1 of account {account}: {text}" for text in found]


def test_a_transaction_is_not_compared_with_an_execution_of_the_same_id(it, account):
    it.mirror("transactions", 2, account_id=account, amount=1, side=2)
    assert findings(it) == []


# --- operations -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reference", ["d", "w"])
def test_a_confirmed_operation_that_the_books_hold_is_silent(it, reference):
    confirmed(it, reference)
    assert findings(it) == []
    assert "1 transactions, 1 confirmed operations" in summary(it)


@pytest.mark.parametrize(
    ("booked", "says"),
    [
        ({"signed": 60}, "confirmed as 50 on account {0}, but transaction 812 says 60 on account {0}"),
        ({"signed": -50}, "confirmed as 50 on account {0}, but transaction 812 says -50 on account {0}"),
        ({"account": 4}, "confirmed as 50 on account {0}, but transaction 812 says 50 on account 4"),
        ({"present": False}, "confirmed, but not in the platform's books"),
        ({"carrying": None}, "confirmed, but not in the platform's books"),
    ],
)
def test_a_confirmed_operation_that_the_books_do_not_hold_is_found(it, booked, says):
    confirmed(it, **booked)
    assert findings(it) == [f"live: deposit d: {says.format(it.account_id())}"]


def test_a_record_that_was_named_stands_for_a_reference_that_the_platform_lost(it):
    record = it.owner.advance(it.deposit())
    confirmed_as = record + 500_000
    it.owner.confirm("d")
    it.booked(confirmed_as, None, 50)
    it.mirrored_account(balance=50)
    it.read()
    it.read()
    assert findings(it) == []
    it.rows("UPDATE mirror.transactions SET amount = 51")
    it.rows("UPDATE mirror.deals SET profit = 51")
    it.rows("UPDATE mirror.accounts SET balance = 51, changed_at = now()")
    assert [line for line in findings(it) if "51 on account" in line] != []


def test_a_record_of_another_reference_stands_for_nothing_else(it):
    confirmed(it, present=False)
    record = it.owner.value("SELECT record_id FROM counterfoil.intents WHERE reference = 'd'")
    it.booked(record, "of another life", 50)
    it.rows("UPDATE mirror.accounts SET balance = 50")
    assert [line.split(":")[1].strip() for line in findings(it)] == ["deposit d", STRANGE]


def test_an_operation_newer_than_the_reading_of_transactions_is_not_mirrored_yet(it):
    confirmed(it, present=False)
    it.rows(LONG_AGO.format(column="as_of"), "transactions")
    assert findings(it) == []
    assert "1 operations are not mirrored yet" in summary(it)


def test_a_reading_of_transactions_that_has_not_ended_proves_nothing(it):
    confirmed(it, present=False)
    it.rows(ASKED, it.account_id())
    assert len(findings(it)) == 1
    it.rows(LONG_AGO.format(column="as_of"), "transactions")
    assert findings(it) == []


@pytest.mark.parametrize(("resource", "column"), [("accounts", "as_of"), ("transactions", "as_of")])
def test_transactions_that_were_not_asked_for_since_prove_nothing(it, resource, column):
    confirmed(it, present=False)
    assert len(findings(it)) == 1
    it.rows(LONG_AGO.format(column=column), resource)
    it.rows("UPDATE counterfoil.freshness SET succeeded_at = as_of WHERE resource = %s", resource)
    assert findings(it) == []


def test_accounts_read_after_the_transactions_prove_nothing_until_the_account_was_asked(it):
    confirmed(it, present=False)
    later = "UPDATE counterfoil.freshness SET succeeded_at = as_of + interval '1 hour' WHERE resource = 'accounts'"
    it.rows(later)
    assert findings(it) == []
    it.rows(ASKED, it.account_id())
    assert findings(it) == ["live: deposit d: confirmed, but not in the platform's books"]


def test_a_reference_that_stands_twice_is_found(it):
    confirmed(it)
    it.booked(900, "d", 50)
    it.rows("UPDATE mirror.accounts SET balance = 100")
    assert findings(it) == [
        f"live: d: our reference {idempotency_reference('d')} stands 2 times in the books, transactions 812, 900"
    ]


def test_a_reference_of_ours_that_no_request_knows_is_found(it, account):
    it.mirror("transactions", 1, account_id=account, amount=70, side=2, reference=STRANGE)
    (line,) = findings(it)
    assert line.startswith(f"live: {STRANGE}: a reference of ours that no request here knows, transaction 1:")


@pytest.mark.parametrize(
    ("state", "found"),
    [
        ("pending", True),
        ("cancelled", True),
        ("rejected", True),
        ("unknown", False),
        ("parked", False),
        ("sent", False),
    ],
)
def test_books_that_hold_what_was_never_done_are_found(it, account, state, found):
    it.deposit("d", 70)
    steps = {"pending": (), "cancelled": ("cancelled",), "parked": ("sent", "parked"), "unknown": ("sent", "unknown")}
    it.owner.advance("d", *steps.get(state, ("sent",) if state == "sent" else ("sent", state)))
    it.mirror("transactions", 1, account_id=account, amount=70, side=2, reference=idempotency_reference("d"))
    wanted = [f"live: deposit d: it is {state}, but the books hold it, transaction 1"]
    assert findings(it) == (wanted if found else [])


def test_a_reference_in_another_field_is_found_there(it):
    it.rows("UPDATE counterfoil.platform_state SET reference_field = 'memo'")
    confirmed(it, present=False)
    assert len(findings(it)) == 1
    it.booked(812, None, 50, extra={"memo": idempotency_reference("d")})
    it.rows("UPDATE mirror.accounts SET balance = 50")
    assert findings(it) == []


# --- payouts ----------------------------------------------------------------------------------------------------------


def test_a_released_payout_whose_withdrawal_is_not_in_the_books_is_found(it):
    confirmed(it, "w", present=False)
    it.crm.call("release_payout", "w")
    assert findings(it) == ["live: withdraw w: confirmed, and its payout was released, but not in the platform's books"]
    assert json.loads(it.run("audit", "--json").out)["findings"][0]["kind"] == "payout"
    it.booked(812, "w", -50)
    it.rows("UPDATE mirror.accounts SET balance = -50")
    assert findings(it) == []
    assert "1 released payouts" in summary(it)


def test_a_released_payout_whose_withdrawal_is_not_confirmed_is_found(it):
    confirmed(it, "w")
    it.crm.call("release_payout", "w")
    with it.owner.connection.transaction():
        it.rows("SET LOCAL session_replication_role = replica")
        it.rows("UPDATE counterfoil.intents SET state = 'cancelled' WHERE reference = 'w'")
    assert "live: withdraw w: its payout was released, and it is cancelled, not confirmed" in findings(it)


@pytest.mark.usefixtures("account")
def test_only_platforms_of_the_settings_are_compared(it):
    it.rows("UPDATE mirror.accounts SET platform = 'old', balance = 7")
    assert findings(it) == []


# --- size -------------------------------------------------------------------------------------------------------------


def test_tables_of_which_the_server_knows_no_figures_are_compared_all_the_same(it):
    """Joined row by row, which an empty statistics table suggests, this would take minutes."""
    it.rows(f"ALTER DATABASE {it.owner.value('SELECT current_database()')} SET statement_timeout = '20s'")
    row = "'live', g, 100001 + g % 2000, 2, 1, now(), now(), 1"
    ours = "'cf-' || left(md5(g::text), 28)"
    own = "first_seen_at, changed_at, version"
    it.rows(
        f"INSERT INTO mirror.deals (platform, id, account_id, side, profit, {own}) SELECT {row} FROM generate_series(1, 20000) g"
    )
    it.rows(
        f"INSERT INTO mirror.transactions (platform, id, account_id, side, amount, {own}, reference)"
        f" SELECT {row}, {ours} FROM generate_series(1, 20000) g"
    )
    with it.owner.connection.transaction():
        it.rows("SET LOCAL session_replication_role = replica")
        for trigger in ("guarded", "followed"):
            it.rows(f"ALTER TABLE counterfoil.intents DISABLE TRIGGER {trigger}")
        it.rows(
            "INSERT INTO counterfoil.accounts (reference, registrant_id, platform, account_id, wish)"
            " SELECT 'a' || g, '7', 'live', 100000 + g, '{}' FROM generate_series(1, 2000) g"
        )
        it.rows(
            "INSERT INTO counterfoil.intents (kind, reference, registrant_id, account_reference, platform, predecessor_id,"
            " previous_state, state, wish, amount, idempotency_reference, confirmed_at)"
            f" SELECT 'deposit', 'x' || g, '7', 'a' || (1 + g % 2000), 'live', 2, 'sent', 'confirmed', '{{}}', 1, {ours}, now()"
            " FROM generate_series(1, 20000) g"
        )
    it.read()
    it.read()
    assert findings(it) == []
    assert "20000 transactions, 20000 confirmed operations" in summary(it)
