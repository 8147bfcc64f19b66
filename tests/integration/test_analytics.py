"""Schema analytics: equal to a slow recomputation on random books of both kinds, and what it says at the edges."""

import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import psycopg
import pytest

from support import analytics
from support.analytics import FIRST_DAY, MOMENTS, call

PLATFORMS = ("live", "ct")
ACCOUNTS = (1, 2, 3, 4, 99)  # 4 is deleted, 99 never was
IN_A_PERIOD = ("realised_pnl", "win_loss", "most_traded", "funding")
CALLS = {
    **dict.fromkeys((*IN_A_PERIOD, "balance_curve"), ("live", 1, None, None)),
    "open_volume": ("live", 1),
    "exposure": ("live",),
    "subaccounts": ("live", 1),
}
MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
SEEN = {"platform": "live", "first_seen_at": MONDAY, "changed_at": MONDAY, "version": 1}


@pytest.fixture
def connection(database_url):
    """One transaction, so that it is the same moment throughout, in a time zone whose days are not those of UTC."""
    with psycopg.connect(database_url, options="-c timezone=Pacific/Honolulu") as connected:
        yield connected


def filled(connection, seed):
    made = {platform: analytics.books(seed, platform) for platform in PLATFORMS}
    for rows in made.values():
        analytics.load(connection, rows)
    return made


def ledger(connection, *deals, balance=0, **tables):
    """One account of OMTrader with these deals."""
    account = {"id": 1, "balance": balance, "currency": "EUR", **SEEN}
    rows = [{"id": key, "account_id": 1, "side": 0, **SEEN, **deal} for key, deal in enumerate(deals, 1)]
    analytics.load(connection, {"accounts": [account], "deals": rows, **tables})


def periods(seed):
    dice = random.Random(seed)  # noqa: S311 - repeatable dice
    drawn = [sorted(dice.sample(MOMENTS, 2)) for _ in range(3)]
    return [(None, None), (MOMENTS[5], None), (None, MOMENTS[5]), (MOMENTS[7], MOMENTS[7]), *map(tuple, drawn)]


# --- the same as the slow way -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("function", IN_A_PERIOD)
def test_a_function_of_a_period_is_the_slow_way_s(connection, function, seed):
    compared = 0
    for platform, made in filled(connection, seed).items():
        for account in ACCOUNTS:
            for since, until in periods(seed):
                expected = getattr(analytics, function)(made, account, since, until)
                assert call(connection, function, platform, account, since, until) == expected, (account, since, until)
                compared += len(expected)
    assert compared > 20


@pytest.mark.parametrize("seed", range(3))
def test_the_balance_curve_is_the_slow_way_s_and_ends_at_the_balance(connection, seed):
    ((today,),) = connection.execute("SELECT CAST(now() AT TIME ZONE 'UTC' AS date)").fetchall()
    first = FIRST_DAY.date()
    for platform, made in filled(connection, seed).items():
        for account in ACCOUNTS:
            for since, until in (
                (None, None),
                (None, first + timedelta(days=5)),
                (first, date(2026, 3, 4)),
                (first, first),
            ):
                expected = analytics.balance_curve(made, account, since, until, today)
                assert call(connection, "balance_curve", platform, account, since, until) == expected, (account, since)
        (*_, last) = call(connection, "balance_curve", platform, 1)
        assert last["closing"] == analytics.known(made, 1)["balance"]


@pytest.mark.parametrize("seed", range(5))
def test_open_positions_are_the_slow_way_s(connection, seed):
    for platform, made in filled(connection, seed).items():
        assert call(connection, "exposure", platform) == analytics.exposure(made) != []
        for account in ACCOUNTS:
            assert call(connection, "open_volume", platform, account) == analytics.open_volume(made, account)


# --- at the edges -----------------------------------------------------------------------------------------------------


def test_a_period_begins_with_its_first_moment_and_ends_before_its_last(connection):
    ledger(connection, *({"profit": 1, "created_at": MONDAY + timedelta(days=day)} for day in (0, 1)))
    sums = [
        call(connection, "realised_pnl", "live", 1, MONDAY + begun, MONDAY + ended)[0]["net"]
        for begun, ended in (
            (timedelta(0), timedelta(days=1)),
            (timedelta(0), timedelta(days=1, microseconds=1)),
            (timedelta(microseconds=1), timedelta(days=1)),
            (timedelta(days=1), timedelta(days=0)),
        )
    ]
    assert sums == [1, 2, 0, 0]


@pytest.mark.parametrize("function", CALLS)
def test_of_an_account_that_nobody_knows_nothing_is_told(connection, function):
    assert call(connection, function, *CALLS[function]) == []


def test_an_account_that_did_nothing_has_zeros_where_that_is_known(connection):
    ledger(connection, balance=5)
    none = dict.fromkeys(("gross", "commission", "swap", "fee", "commission_usd", "swap_usd"))
    assert call(connection, "realised_pnl", "live", 1) == [{"currency": "EUR", "net": 0, "closing_deals": 0, **none}]
    counts = {"closing_deals": 0, "won": 0, "lost": 0, "even": 0, "ratio": None, "win_rate": None}
    assert call(connection, "win_loss", "live", 1) == [counts]
    assert set(call(connection, "funding", "live", 1)[0].values()) == {"EUR", 0}
    (today,) = call(connection, "balance_curve", "live", 1)
    assert (today["opening"], today["closing"], today["trading"]) == (5, 5, 0)


def test_where_the_platform_tells_no_costs_there_is_no_gross(connection):
    told = {"profit": 7, "direction": 1, "created_at": MONDAY}
    ledger(connection, {**told, "commission_usd": -2, "swap_usd": Decimal("-0.5")}, told)
    (found,) = call(connection, "realised_pnl", "live", 1)
    assert (found["net"], found["gross"], found["commission"], found["swap"]) == (14, None, None, None)
    assert (found["commission_usd"], found["swap_usd"], found["closing_deals"]) == (-2, Decimal("-0.5"), 2)


def test_gross_and_costs_make_net_and_no_digit_is_lost(connection):
    digits = Decimal("123456789012345678901234567890.123456789012345678901234567890")
    costs = {"commission": Decimal("-0.1"), "swap": Decimal("-0.2"), "storage": -1, "fee": None}
    ledger(connection, {"profit": digits, **costs, "direction": 1, "created_at": MONDAY})
    (found,) = call(connection, "realised_pnl", "live", 1)
    assert (found["gross"], found["commission"], found["swap"]) == (digits, Decimal("-0.1"), Decimal("-1.2"))
    assert str(found["net"]) == "123456789012345678901234567888.823456789012345678901234567890"
    (won,) = call(connection, "win_loss", "live", 1)
    assert (won["won"], won["ratio"], won["win_rate"]) == (1, None, 100)


def test_a_deal_that_won_less_than_it_cost_has_lost(connection):
    costs = ((1, -2), (2, -2), (3, -2), (None, None))
    ledger(
        connection,
        *({"profit": won, "commission": paid, "direction": 1, "created_at": MONDAY} for won, paid in costs),
        {"profit": -9, "direction": 0, "created_at": MONDAY},
        {"profit": -9, "direction": 1, "side": 2, "created_at": MONDAY},
    )
    counts = {"closing_deals": 4, "won": 1, "lost": 1, "even": 2, "ratio": 1, "win_rate": 25}
    assert call(connection, "win_loss", "live", 1) == [counts]


@pytest.mark.parametrize("told_at", [MONDAY, None])
def test_a_day_without_movement_is_on_the_curve_and_a_deposit_told_twice_counts_once(connection, told_at):
    deposit = {"id": 1, "account_id": 1, "side": 2, "amount": 100, "origin": "platform", "created_at": MONDAY, **SEEN}
    inferred = {**deposit, "id": -1, "amount": -3, "origin": "inferred", "created_at": MONDAY + timedelta(days=2)}
    ledger(
        connection,
        {"side": 2, "profit": 100, "created_at": told_at},
        {"side": 3, "profit": 50, "created_at": MONDAY},
        {"profit": 7, "created_at": MONDAY + timedelta(days=2, microseconds=-1)},
        balance=104,
        transactions=[deposit, inferred],
    )
    curve = call(connection, "balance_curve", "live", 1, None, date(2026, 3, 6))
    shown = [[row[name] for name in ("opening", "trading", "funding", "inferred", "closing")] for row in curve]
    assert [row["day"].day for row in curve] == [2, 3, 4, 5]
    assert shown == [[0, 0, 100, 0, 100], [100, 7, 0, 0, 107], [107, 0, 0, -3, 104], [104, 0, 0, 0, 104]]


def test_the_curve_ends_at_the_balance_also_where_the_platform_s_clock_is_ahead(connection):
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    ledger(connection, {"profit": 2, "created_at": MONDAY}, {"profit": 1, "created_at": tomorrow}, balance=3)
    (*_, last) = call(connection, "balance_curve", "live", 1)
    assert (last["day"], last["opening"], last["closing"]) == (tomorrow.date(), 2, 3)


def test_where_the_platform_told_no_balance_the_curve_shows_movements_alone(connection):
    ledger(connection, {"profit": 1, "created_at": MONDAY}, balance=None)
    (shown,) = call(connection, "balance_curve", "live", 1, MONDAY.date(), date(2026, 3, 3))
    assert (shown["opening"], shown["trading"], shown["closing"]) == (None, 1, None)


@pytest.mark.parametrize(("since", "until"), [("infinity", None), (None, "-infinity"), ("infinity", "-infinity")])
def test_a_curve_without_an_end_or_a_beginning_ends(connection, since, until):
    ledger(connection, {"profit": 1, "created_at": MONDAY}, balance=1)
    assert call(connection, "balance_curve", "live", 1, since, until) == []
    assert call(connection, "balance_curve", "live", 1, "-infinity", "infinity") == call(
        connection, "balance_curve", "live", 1
    )


def test_copy_sub_accounts_are_told_with_the_moment_that_they_were_so(connection):
    ledger(connection)
    owned = {"account_id": 1, "logins": "[7, 8]", "balance": Decimal("10.50"), "equity": 11}
    analytics.load(connection, {"subaccounts": [{"id": 1, **owned, **SEEN}]})
    told = {"logins": [7, 8], "subaccounts": 2, "currency": "EUR", "balance": Decimal("10.50"), "equity": 11}
    assert call(connection, "subaccounts", "live", 1) == [{**told, "as_of": MONDAY}]
    read_at = MONDAY + timedelta(hours=1)
    connection.execute(
        "INSERT INTO counterfoil.freshness (platform, resource, as_of, failures) VALUES ('live', 'subaccounts', %s, 0)",
        [read_at],
    )
    connection.execute("SET ROLE counterfoil_reader")
    assert call(connection, "subaccounts", "live", 1) == [{**told, "as_of": read_at}]


# --- who may ----------------------------------------------------------------------------------------------------------

FUNCTIONS = """
    SELECT p.proname, p.oid, p.proconfig, p.proacl, obj_description(p.oid, 'pg_proc') AS meaning,
        ARRAY(SELECT n.name FROM unnest(p.proargnames, p.proargmodes) AS n (name, mode) WHERE n.mode = 't') AS told
    FROM pg_proc p WHERE p.pronamespace = 'analytics'::regnamespace
"""


@pytest.mark.parametrize("role", ["counterfoil_crm", "counterfoil_reader"])
def test_both_roles_call_everything(connection, role):
    connection.execute(f"SET ROLE {role}")
    assert all(call(connection, function, *given) == [] for function, given in CALLS.items())


def test_nobody_else_calls_anything_and_names_are_fixed(connection):
    rights = "SELECT proname, has_function_privilege('public', oid, 'EXECUTE'), proconfig[1] FROM ({}) f ORDER BY 1"
    path = "search_path=pg_catalog, pg_temp"
    assert connection.execute(rights.format(FUNCTIONS)).fetchall() == [(name, False, path) for name in sorted(CALLS)]
    for role, right in (("public", "USAGE"), ("counterfoil_crm", "CREATE"), ("counterfoil_reader", "CREATE")):
        asked = connection.execute("SELECT has_schema_privilege(%s, 'analytics', %s)", [role, right])
        assert asked.fetchall() == [(False,)]


def test_every_column_is_explained_in_the_database_and_on_the_page(connection):
    from architecture.tree import DOCS  # noqa: PLC0415 - one test needs it

    page = (DOCS / "analytics.md").read_text(encoding="utf-8")
    found = connection.execute(f"SELECT proname, meaning, told FROM ({FUNCTIONS}) f").fetchall()
    assert len(found) == len(CALLS)
    for name, meaning, told in found:
        section = page.partition(f"\n## analytics.{name}(")[2].partition("\n## ")[0]
        assert [column for column in told if f"`{column}`" not in section] == [], name
        assert [column for column in told if column not in meaning] == [], name


# --- what it reads ----------------------------------------------------------------------------------------------------

MANY = f"""
    INSERT INTO mirror.accounts (platform, id, balance, first_seen_at, changed_at, version)
    SELECT p, g, 0, now(), now(), 1 FROM unnest(ARRAY['live', 'ct']) p, generate_series(1, 200) g;
    INSERT INTO mirror.deals (platform, id, account_id, side, direction, profit, created_at, first_seen_at, changed_at, version)
    SELECT p, g, 1 + g % 200, CASE WHEN g % 17 = 0 THEN 2 ELSE 0 END, 1, 1, '{MONDAY}'::timestamptz + g * interval '1 min',
        now(), now(), 1 FROM unnest(ARRAY['live', 'ct']) p, generate_series(1, 20000) g;
    INSERT INTO mirror.transactions (platform, id, account_id, side, amount, created_at, first_seen_at, changed_at, version)
    SELECT platform, id, account_id, 2, 1, created_at, now(), now(), 1 FROM mirror.deals WHERE id % 5 = 0;
    INSERT INTO mirror.orders (platform, id, account_id, created_at, first_seen_at, changed_at, version)
    SELECT platform, id, account_id, created_at, now(), now(), 1 FROM mirror.deals WHERE platform = 'live';
    INSERT INTO mirror.positions (platform, id, account_id, status, created_at, first_seen_at, changed_at, version)
    SELECT platform, id, account_id, CASE WHEN id > 19900 THEN 0 ELSE 2 END, created_at, now(), now(), 1 FROM mirror.deals
"""
READ = """
    SELECT relname, seq_tup_read, idx_tup_fetch FROM pg_stat_xact_user_tables
    WHERE relname IN ('deals', 'orders', 'positions', 'transactions') AND schemaname = 'mirror'
        AND (seq_scan > 0 OR idx_tup_fetch > 0)
"""


def test_no_call_reads_more_of_a_large_table_than_the_account_s_part(database_url):
    with psycopg.connect(database_url, autocommit=True) as connected:
        connected.execute(MANY)
        connected.execute("VACUUM (ANALYZE)")
    read = {}
    for platform in PLATFORMS:
        for function, given in CALLS.items():
            with psycopg.connect(database_url) as fresh:  # whose counters begin at zero
                call(fresh, function, platform, *given[1:])
                read[platform, function] = fresh.execute(READ).fetchall()
    swept = {name: [row for row in rows if row[1] > 0] for name, rows in read.items()}
    assert not any(swept.values()), swept
    # Of 100 rows of the account in each table; exposure reads the open positions, 100 of them.
    assert all(fetched <= 101 for rows in read.values() for _, _, fetched in rows), read
    # What deals did is in the index; only those that the transactions repeat are looked at.
    for platform in PLATFORMS:
        assert read[platform, "realised_pnl"] == read[platform, "win_loss"] == []
