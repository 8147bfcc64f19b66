import json
from datetime import UTC, datetime, timedelta

import pytest

from counterfoil.domain.errors import TransientError
from counterfoil.platforms.ctrader import columns, wire
from counterfoil.platforms.ctrader.columns import Names
from support.lines import rows_of

NAMES = Names({"default": 1, "bitcoin": 11}, {"EURUSD": 1, "AUD/USD": 5})
SINCE = datetime(2026, 1, 1, tzinfo=UTC)
UNTIL = SINCE + timedelta(days=2)
TRADER = {
    "login": 3000001,
    "groupName": "bitcoin",
    "depositCurrency": "BTC",
    "accessRights": "FULL_ACCESS",
    "accountType": "HEDGED",
    "balance": 150000001,
    "bonus": 0,
    "nonWithdrawableBonus": -5,
    "equity": 150000002,
    "usedMargin": 3,
    "freeMargin": 4,
    "moneyDigits": 8,
    "leverageInCents": 10050,
    "contactDetails": {"countryId": 276, "zipCode": "01", "status": "KYC", "phonePassword": "hunter2"},
    "registrationTimestamp": 1680163530801,
    "lastUpdateTimeStamp": 1680163530802,
    "lastConnectionTimestamp": 0,
    "limitedRisk": True,
    "rankId": 7,
}
DEAL = {
    "login": "1", "positionId": "2", "dealId": "3", "openTimestamp": "2026-01-01T00:00:00.000",
    "closeTimestamp": "2026-01-02T00:00:00.001", "entryPrice": "1.08500", "closePrice": "1.08510", "direction": "SELL",
    "volume": "1000.00", "symbol": "AUD/USD", "commission": "0.12", "swap": "-0.01", "pnl": "-1.00",
    "depositConversionRate": "0.92165899", "usdConversionRate": "1", "bookType": "BOOK_B", "stake": None,
    "spreadBetting": "false",
}  # fmt: skip


def row(page):
    (found,) = rows_of(page)
    return found


def account(**changes):
    sent = {name: value for name, value in {**TRADER, **changes}.items() if value is not ...}
    records, _ = wire.traders(json.dumps({"trader": [sent], "hasMore": False}).encode())
    return columns.ACCOUNTS.page(records, columns.account(NAMES))


def deals(*records):
    return columns.DEAL_LINES.page(records, columns.deal(NAMES))


# Traders


def test_a_trader_is_an_account_whose_money_has_its_own_digits():
    found = row(account())
    money = {"balance": "1.50000001", "bonus": "0.00000000", "credit": "-0.00000005", "equity": "1.50000002"}
    money |= {"margin": "0.00000003", "margin_free": "0.00000004", "cash_equity": None, "currency_digits": "8"}
    plain = {
        "id": "3000001",
        "group_id": "11",
        "group_name": "bitcoin",
        "leverage": "100",
        "leverage_in_cents": "10050",
    }
    times = {"created_at": "2023-03-30T08:05:30.801+00:00", "updated_at": "2023-03-30T08:05:30.802+00:00"}
    nested = {"country_id": "276", "zip_code": "01", "city": None, "limited_risk": "true", "last_connection_at": None}
    wanted = {**money, **plain, **times, **nested}
    assert {name: found[name] for name in wanted} == wanted
    assert json.loads(found["extra"]) == {"contactDetails.status": "KYC", "rankId": "7"}


@pytest.mark.parametrize("name", [name for name in TRADER if name not in ("login", "moneyDigits")])
def test_any_key_of_a_trader_may_be_missing(name):
    page = account(**{name: ...})
    assert (page.ids, page.rejected) == ([3000001], [])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"login": ...}, "missing - at `login`"),
        ({"moneyDigits": ...}, "money without its digits - at `moneyDigits`"),
        ({"moneyDigits": 2.5}, "not a whole number - at `moneyDigits`"),
        ({"balance": "12.50"}, "not a whole number - at `balance`"),
        ({"balance": 12.5}, "not a whole number - at `balance`"),
        ({"contactDetails": [1]}, "not an object - at `contactDetails`"),
        ({"registrationTimestamp": 10**18}, "no time of this calendar - at `registrationTimestamp`"),
        ({"swapFree": 1}, "neither true nor false - at `swap_free`"),
    ],
)
def test_a_trader_that_cannot_be_read_says_why(changes, reason):
    page = account(**changes)
    assert ([bad.reason for bad in page.rejected], page.lines) == ([reason], [])


def test_a_group_that_nobody_knows_leaves_the_id_empty_and_the_name_there():
    found = row(account(groupName="new"))
    assert (found["group_id"], found["group_name"]) == (None, "new")


def test_no_password_of_a_trader_is_kept():
    page = account(hashedPassword="hunter3", login=...)
    assert ("hunter2" in repr(page), "hunter3" in repr(page), "hunter2" in repr(account())) == (False, False, False)


@pytest.mark.parametrize("more", [True, False])
def test_a_list_of_traders_says_whether_there_are_more(more):
    assert wire.traders(json.dumps({"hasMore": more, "trader": []}).encode()) == ([], more)


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[]", b'{"trader":[]}', b'{"hasMore":false}', b'{"trader":null,"hasMore":false}', b"<trader/>",
     b'{"trader":[],"hasMore":"no"}', b'{"trader":[5],"hasMore":false}', b'{"trader":[{}],"hasMo', b"[" * 9_000],
)  # fmt: skip
def test_a_list_that_does_not_say_that_it_is_whole_is_none(body):
    with pytest.raises(TransientError, match="list of traders"):
        wire.traders(body)


@pytest.mark.parametrize("value", ['"\\ud800"', "NaN", '"line\nend"', '"\\u0000"'])
def test_a_value_that_is_no_json_spoils_no_other_trader(value):
    good = json.dumps(TRADER)
    bad = json.dumps({**TRADER, "login": 2})[:-1] + f',"balance":{value}}}'
    records, _ = wire.traders(f'{{"trader":[{bad},{good}],"hasMore":false}}'.encode())
    page = columns.ACCOUNTS.page(records, columns.account(NAMES))
    assert (page.ids, page.line_ids, page.nameless) == ([2, 3000001], [3000001], 0)


def test_one_trader_with_a_part_that_cannot_be_read_is_not_taken_for_read():
    assert wire.one(b'{"login":1}') == {"login": "1"}
    for body in (b'{"login":"\xff"}', b"[]", b"null", b"", b"5", b'{"login":'):
        with pytest.raises(TransientError, match=r"no record|not readable"):
            wire.one(body)


# Lists


def test_lists_are_found_under_their_key_and_bare_texts_are_names():
    assert wire.listed(b'{"symbol":[{"id":1,"name":"EURUSD"}],"x":1}', "symbol") == [{"id": "1", "name": "EURUSD"}]
    assert wire.listed(b'{"depositAsset":["EUR","\\u20bf"]}', "depositAsset") == [{"name": "EUR"}, {"name": "₿"}]


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"symbol":null}', b'{"symbol":{}}', b'{"symbol":[5]}', b"EUR"])
def test_an_answer_without_its_list_is_no_empty_list(body):
    with pytest.raises(TransientError, match="symbol"):
        wire.listed(body, "symbol")


def test_groups_symbols_and_assets_become_rows():
    page = columns.GROUP_LINES.page([{"id": "5", "name": "Pro, höhere", "more": "1"}], columns.group)
    assert row(page) == {"id": "5", "name": "Pro, höhere", "desc": None, "extra": '{"more":"1"}'}
    sent = {"id": "1", "name": "EURUSD", "assetClass": "Forex", "category": None, "quotesEnabled": "true"}
    found = row(columns.SYMBOL_LINES.page([sent], columns.symbol))
    assert (found["symbol"], found["asset_class"], found["quotes_enabled"], found["extra"]) == (
        "EURUSD",
        "Forex",
        "true",
        None,
    )
    ids = [columns.ASSET_LINES.page([{"name": name}], columns.deposit_asset).ids[0] for name in ("EUR", "EUR", "BTC")]
    assert (ids[0] == ids[1], ids[0] != ids[2], all(0 < made < 2**62 for made in ids)) == (True, True, True)
    assert columns.ASSET_LINES.page([{}], columns.deposit_asset).nameless == 1


def test_sub_accounts_are_scaled_by_the_digits_of_their_owner():
    sent = wire.one(
        b'{"subAccountLogins":{"login":[5,6]},"totalSubAccountsBalance":-7,"totalSubAccountsEquity":123456789,"x":1}'
    )
    found = row(columns.SUBACCOUNT_LINES.page([sent], columns.subaccounts(3, 8)))
    assert found == {
        "id": "3", "account_id": "3", "logins": "[5,6]", "balance": "-0.00000007", "equity": "1.23456789", "extra": '{"x":"1"}',
    }  # fmt: skip


@pytest.mark.parametrize("body", [b"{}", b'{"subAccountLogins":null}', b'{"subAccountLogins":{}}'])
def test_nobody_who_copies_is_an_empty_list(body):
    assert row(columns.SUBACCOUNT_LINES.page([wire.one(body)], columns.subaccounts(3, None)))["logins"] == "[]"


# Positions


def test_a_closing_deal_keeps_every_digit_and_its_two_times():
    found = row(deals(DEAL))
    assert found == {
        "id": "3", "account_id": "1", "position_id": "2", "symbol": "AUD/USD", "symbol_id": "5", "volume_base": "1000.00",
        "price": "1.08510", "price_position": "1.08500", "profit": "-1.00", "commission_usd": "0.12", "swap_usd": "-0.01",
        "deposit_conversion_rate": "0.92165899", "usd_conversion_rate": "1", "book_type": "BOOK_B", "stake": None,
        "spread_betting": "false", "side": "1", "direction": "1", "opened_at": "2026-01-01T00:00:00.000Z",
        "created_at": "2026-01-02T00:00:00.001Z", "extra": None,
    }  # fmt: skip


@pytest.mark.parametrize("name", ["login", "positionId", "dealId", "pnl", "closeTimestamp"])
def test_a_deal_without_what_explains_a_balance_is_none(name):
    assert [bad.reason for bad in deals({**DEAL, name: None}).rejected] == [f"missing - at `{name}`"]


@pytest.mark.parametrize("name", sorted(DEAL.keys() - {"login", "positionId", "dealId", "pnl", "closeTimestamp"}))
def test_anything_else_of_a_deal_may_be_missing(name):
    assert deals({key: value for key, value in DEAL.items() if key != name}).line_ids == [3]


@pytest.mark.parametrize(("sent", "side"), [("BUY", "0"), ("sell", "1"), (None, None)])
def test_a_direction_becomes_a_side(sent, side):
    assert row(deals({**DEAL, "direction": sent}))["side"] == side
    assert deals({**DEAL, "direction": "LONG"}).rejected[0].reason == "neither BUY nor SELL - at `direction`"


@pytest.mark.parametrize(
    "body",
    [
        b"positionId,login,symbol\n7,3,EURUSD\n",
        b"\xef\xbb\xbflogin,positionId,symbol\r\n3,7,EURUSD\r\n",
        b'login,positionId,symbol\n"3","7","EURUSD"',
        b'[{"login":3,"positionId":7,"symbol":"EURUSD"}]',
        b' {"position":[{"login":3,"positionId":7,"symbol":"EURUSD"}]}',
    ],
)
def test_a_table_is_read_as_csv_and_as_json(body):
    assert wire.grid(body, wire.OPEN_NEEDS) == [{"login": "3", "positionId": "7", "symbol": "EURUSD"}]


@pytest.mark.parametrize("body", [b"", b" \r\n", b"login,positionId", b"login,positionId\n", b"[]", b'{"position":[]}'])
def test_an_empty_table_is_empty_in_every_form(body):
    assert wire.grid(body, wire.OPEN_NEEDS) == []


@pytest.mark.parametrize(
    "body",
    [
        b"<!DOCTYPE html><html><body>Bad gateway</body></html>",
        b"Maintenance",
        b"{}",
        b'{"unexpected":1}',
        b'{"a":[],"b":[]}',
        b'[{"login":3},5]',
        b'[{"login":3',
        b"login,symbol\n3,EURUSD\n",
        b"login,positionId\n3",
        b'login,positionId\n3,"7',
    ],
)
def test_what_is_no_table_is_not_taken_for_an_empty_one(body):
    with pytest.raises(TransientError, match="table of positions"):
        wire.grid(body, wire.OPEN_NEEDS)


def test_a_table_of_closed_positions_needs_the_columns_of_its_deals():
    assert wire.grid(b"login,positionId\n", wire.OPEN_NEEDS) == []
    with pytest.raises(TransientError):
        wire.grid(b"login,positionId\n", wire.CLOSED_NEEDS)


@pytest.mark.parametrize(
    ("body", "whole"),
    [(b"a\n", True), (b"a\r", True), (b"a\n \t", True), (b"[]", True), (b"{}", True), (b"a", False), (b"a,b", False),
     (b"", False), (b"  ", False)],
)  # fmt: skip
def test_a_table_without_an_end_may_be_cut_off_and_so_may_nothing_at_all(body, whole):
    assert wire.is_whole(body) is whole


# What a span proves


def closing(opened, closed):
    def text(at):
        return None if at is None else (SINCE + at).replace(tzinfo=None).isoformat(timespec="milliseconds")

    return {"openTimestamp": text(opened), "closeTimestamp": text(closed)}


IN, BEFORE, AFTER = timedelta(hours=1), timedelta(days=-9), timedelta(days=9)


@pytest.mark.parametrize(
    ("rows", "proof"),
    [
        ([], None),
        ([(IN, IN)], None),
        ([(BEFORE, IN)], True),
        ([(IN, AFTER)], False),
        ([(IN, IN), (BEFORE, IN), (IN, IN)], True),
        ([(None, IN)], None),
        ([(BEFORE, None)], None),
        ([(None, None)], None),
        ([(timedelta(0), timedelta(days=2))], None),
    ],
)
def test_a_row_that_lies_inside_by_one_time_alone_proves_what_the_filter_is_about(rows, proof):
    assert wire.closings_proof([closing(*times) for times in rows], SINCE, UNTIL) is proof


@pytest.mark.parametrize("times", [(BEFORE, BEFORE), (AFTER, AFTER), (BEFORE, AFTER)])
def test_a_row_that_lies_outside_by_both_times_is_no_answer_to_the_question(times):
    with pytest.raises(TransientError, match="neither opened nor closed in the span"):
        wire.closings_proof([closing(*times)], SINCE, UNTIL)


def test_a_row_whose_times_cannot_be_read_proves_nothing():
    assert (
        wire.closings_proof([{"openTimestamp": "soon", "closeTimestamp": "2026-13-45T00:00:00"}], SINCE, UNTIL) is None
    )


def test_what_was_asked_for_was_asked_for_in_milliseconds():
    """A span that begins within a millisecond brings what lies at the beginning of that millisecond."""
    begin = SINCE + timedelta(microseconds=456)
    assert wire.query_time(begin) == wire.query_time(SINCE)
    assert wire.closings_proof([closing(timedelta(0), timedelta(0))], begin, UNTIL) is None
    assert wire.closings_proof([closing(timedelta(0), IN)], begin, UNTIL) is None


def test_a_platform_that_counts_the_end_of_a_span_in_is_believed():
    end = timedelta(days=2)
    assert wire.closings_proof([closing(end, end), closing(IN, end)], SINCE, UNTIL) is None


def test_a_time_in_a_query_is_universal_and_has_three_digits():
    berlin = datetime.fromisoformat("2026-01-01T01:00:00.1239+01:00")
    assert wire.query_time(berlin) == "2026-01-01T00:00:00.123"


def test_the_path_of_a_trader():
    assert (wire.trader(5), wire.trader(5, "subaccounts")) == (
        "/v2/webserv/traders/5",
        "/v2/webserv/traders/5/subaccounts",
    )
