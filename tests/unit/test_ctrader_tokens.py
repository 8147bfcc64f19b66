import json

import msgspec
import pytest
from msgspec import Raw

from counterfoil.platforms.ctrader import columns, tokens
from counterfoil.platforms.ctrader.tokens import UNREADABLE, Lines
from support import lines

NEEDED = frozenset({"login", "positionId"})
DEALS = Lines.of("deals", ("account_id", "profit", "spread_betting", "symbol", "created_at"))


def plain(record):
    names = {"account_id": "login", "profit": "pnl", "spread_betting": "bet", "symbol": "symbol", "created_at": "at"}
    values = {column: record.get(name) for column, name in names.items()}
    rest = {name: value for name, value in record.items() if name not in (*names.values(), "dealId")}
    return tokens.required(record, "dealId"), values, rest


def cells(page):
    return [lines.cells(line) for line in page.lines]


def of_json(text):
    return tokens.of_json(msgspec.json.decode(text, type=tokens.Record))


# Numbers


@pytest.mark.parametrize("text", ["0", "-1", "9223372036854775807", "-9223372036854775808", "007"])
def test_a_whole_number_is_read(text):
    assert tokens.whole({"n": text}, "n") == int(text)


@pytest.mark.parametrize("text", ["", "1.0", "1e3", "+1", "9223372036854775808", "1" * 40, "NaN", "0x10", "1 ", "true"])
def test_what_is_no_whole_number_is_said_with_its_name(text):
    with pytest.raises(ValueError, match="not a whole number - at `n`"):
        tokens.whole({"n": text}, "n")


def test_a_number_that_is_missing_is_none_unless_it_is_required():
    assert (tokens.whole({}, "n"), tokens.whole({"n": None}, "n")) == (None, None)
    with pytest.raises(ValueError, match="missing - at `n`"):
        tokens.required({"n": None}, "n")


@pytest.mark.parametrize(
    ("sent", "digits", "written"),
    [
        ("1234512", 2, "12345.12"),
        ("-5", 2, "-0.05"),
        ("0", 2, "0.00"),
        ("700", 0, "700"),
        ("150000001", 8, "1.50000001"),
        ("1", 8, "0.00000001"),
        ("9223372036854775807", 8, "92233720368.54775807"),
        ("-9223372036854775808", 18, "-9.223372036854775808"),
    ],
)
def test_money_is_written_with_its_point_and_every_digit(sent, digits, written):
    assert tokens.scaled({"balance": sent}, "balance", digits) == written


@pytest.mark.parametrize("digits", [None, -1, 19, 1_000_000])
def test_money_without_its_digits_is_not_guessed(digits):
    with pytest.raises(ValueError, match="moneyDigits"):
        tokens.scaled({"balance": "5"}, "balance", digits)
    assert tokens.scaled({}, "balance", digits) is None


def test_money_with_a_point_is_no_scaled_money():
    with pytest.raises(ValueError, match="not a whole number - at `balance`"):
        tokens.scaled({"balance": "12.50"}, "balance", 2)


@pytest.mark.parametrize(
    "sent",
    ["76.17", "0.10", "1000.00", "-0.05", "1.23456789", "0", "1e-7", "1.50E+3", "9" * 50, "0." + "1" * 50],
)
def test_a_number_keeps_the_digits_that_were_sent(sent):
    page = DEALS.page([{"dealId": "1", "pnl": sent}], plain)
    assert cells(page) == [["1", None, sent, None, None, None, None]]


@pytest.mark.parametrize(
    "sent", ["NaN", "Infinity", "1,5", "1.", ".5", "+1", "1e4000", "9" * 51, "1 000", "\u0663", "--1", ""]
)
def test_what_is_no_number_is_refused(sent):
    page = DEALS.page([{"dealId": "1", "pnl": sent}], plain)
    assert (page.lines, page.rejected[0].reason) == ([], "not a number - at `profit`")


@pytest.mark.parametrize(("sent", "written"), [("true", "true"), ("FALSE", "false"), ("True", "true")])
def test_a_boolean_is_read_in_any_case(sent, written):
    assert cells(DEALS.page([{"dealId": "1", "bet": sent}], plain))[0][3] == written


@pytest.mark.parametrize("sent", ["1", "yes", "t", " true"])
def test_what_is_no_boolean_is_refused(sent):
    page = DEALS.page([{"dealId": "1", "bet": sent}], plain)
    assert page.rejected[0].reason == "neither true nor false - at `spread_betting`"


# Times


@pytest.mark.parametrize(
    ("sent", "written"),
    [
        ("2026-01-02T03:04:05.678", "2026-01-02T03:04:05.678Z"),
        ("2026-01-02T03:04:05", "2026-01-02T03:04:05Z"),
        ("2026-01-02 03:04:05.6", "2026-01-02 03:04:05.6Z"),
        ("2026-01-02T03:04:05.678Z", "2026-01-02T03:04:05.678Z"),
        ("2026-01-02T03:04:05.123456789", "2026-01-02T03:04:05.123456Z"),
    ],
)
def test_a_time_is_universal_time_and_cut_to_microseconds(sent, written):
    assert tokens.stamp({"at": sent}, "at") == written
    assert tokens.moment(written).utcoffset().total_seconds() == 0


@pytest.mark.parametrize(
    "sent", ["", "2026-01-02", "1680163530801", "2026-01-02T03:04:05+02:00", "02.01.2026 03:04:05", "soon"]
)
def test_what_is_no_time_or_in_another_zone_is_refused(sent):
    with pytest.raises(ValueError, match="not a time - at `at`"):
        tokens.stamp({"at": sent}, "at")


def test_a_time_in_milliseconds_is_exact():
    assert tokens.from_milliseconds({"at": "1680163530801"}, "at") == "2023-03-30T08:05:30.801+00:00"
    assert tokens.from_milliseconds({"at": "0"}, "at") == "1970-01-01T00:00:00.000+00:00"
    assert tokens.from_milliseconds({}, "at") is None


@pytest.mark.parametrize("sent", ["9" * 18, "-" + "9" * 18])
def test_a_time_beyond_the_calendar_is_refused(sent):
    with pytest.raises(ValueError, match="no time of this calendar - at `at`"):
        tokens.from_milliseconds({"at": sent}, "at")


# CSV


def test_columns_are_known_by_their_names_in_any_order():
    rows = tokens.of_grid("pnl, positionId ,login\n1.50,7,3\n", NEEDED)
    assert rows == tokens.of_grid("login,pnl,positionId\r\n3,1.50,7\r\n", NEEDED)
    assert rows == [{"login": "3", "positionId": "7", "pnl": "1.50"}]


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\n\n\n"])
def test_a_table_without_rows_is_empty(end):
    assert tokens.of_grid("login,positionId" + end, NEEDED) == []


def test_empty_cells_are_none_and_quotes_are_undone():
    rows = tokens.of_grid('login,positionId,symbol,stake\n1,2,"a ""b"", c\nd", \n', NEEDED)
    assert rows == [{"login": "1", "positionId": "2", "symbol": 'a "b", c\nd', "stake": None}]


@pytest.mark.parametrize(
    "text",
    [
        "<!DOCTYPE html><html><body>Bad gateway</body></html>",
        "Service temporarily unavailable",
        "login,positionId,login\n1,2,3\n",
        "login,positionId,\n1,2,3\n",
        "login\n1\n",
        "1,2\n",
        'login,positionId\n1,"2\n',
        'login,positionId\n1,"2"x\n',
        "login,positionId\n1,2\n3\n",
        "login,positionId\n1,2\n3,4,5\n",
        "login,positionId\n1,2,3\n1,2,3\n1,2\n",
        "login,positionId\n1," + "2" * 200_000 + "\n",
    ],
    ids=lambda text: text[:30],
)
def test_what_is_no_table_or_is_cut_off_is_refused_whole(text):
    with pytest.raises(ValueError, match=r"names no columns|not CSV|do not fit"):
        tokens.of_grid(text, NEEDED)


def test_a_ragged_row_in_the_middle_is_kept_apart_and_has_no_name():
    rows = tokens.of_grid("login,positionId\n1,2\n3,4,5\n6,7\n", NEEDED)
    page = columns.POSITION_LINES.page(rows, columns.position(columns.Names({}, {})))
    assert (page.ids, page.rows, page.nameless) == ([2, 7], 3, 1)
    assert [(row.record_id, row.reason, row.body) for row in page.rejected] == [
        (None, "3 cells where the first line names 2 columns", '{"cells":"3,4,5"}')
    ]


def test_a_ragged_row_of_a_table_with_secrets_is_not_kept():
    rows = tokens.of_grid("login,positionId,password\n1,2,x\n3,4,hunter2,5\n6,7,x\n", NEEDED)
    page = columns.POSITION_LINES.page(rows, columns.position(columns.Names({}, {})))
    assert ("hunter2" in repr(page), page.rejected[0].body) == (False, "{}")


# JSON


def test_values_of_json_become_texts_with_all_their_digits():
    sent = b'{"a":1.50,"b":"x\\u00e9","c":null,"d":true,"e":{"f":0.10,"password":"p"},"g":[1.0]}'
    assert of_json(sent) == {"a": "1.50", "b": "xé", "c": None, "d": "true", "e": '{"f":0.10}', "g": "[1.0]"}


@pytest.mark.parametrize("value", [b'"\xff"', b'{"x":"\xff"}', b'["\xff"]'])
def test_a_value_that_cannot_be_read_spoils_its_record_alone(value):
    records = [of_json(b'{"dealId":1,"symbol":%b}' % value), of_json(b'{"dealId":2}')]
    page = DEALS.page(records, plain)
    assert (page.ids, page.line_ids, page.nameless) == ([1, 2], [2], 0)
    assert [(row.record_id, row.reason, row.body) for row in page.rejected] == [
        ("1", "not readable - at `symbol`", '{"dealId":"1"}')
    ]


# Rows


def test_what_has_no_column_is_kept_sorted_and_without_secrets():
    record = {
        "dealId": "1",
        "zeta": "1",
        "alpha": 'x"y',
        "hashedPassword": "p",
        "traderPasswordHash": "p",
        "apiToken": "t",
    }
    (row,) = cells(DEALS.page([record], plain))
    assert json.loads(row[-1]) == {"alpha": 'x"y', "zeta": "1"}
    assert list(json.loads(row[-1])) == ["alpha", "zeta"]


@pytest.mark.parametrize("text", ["null", "NULL", "\\.", "\\N", 'a"b', "a\nb\r\n\\.\nc", ",", " x ", "\\", "'"])
def test_any_text_comes_through_as_it_is(text):
    page = DEALS.page([{"dealId": "1", "symbol": text}], plain)
    assert cells(page)[0][4] == text


def test_a_nul_is_refused_wherever_it_stands():
    page = DEALS.page([{"dealId": "1", "symbol": "a\0b"}, {"dealId": "2", "pnl": "1\0"}], plain)
    assert [row.reason for row in page.rejected] == [
        "a character that no text may hold - at `symbol`",
        "not a number - at `profit`",
    ]
    assert not any("\0" in row.body for row in page.rejected)


def test_bytes_that_are_no_utf_8_spoil_their_row_alone_and_stay_visible():
    text = b"login,positionId,symbol\n1,2,\xff\xfe\n3,4,EURUSD\n".decode(errors="surrogateescape")
    page = columns.POSITION_LINES.page(tokens.of_grid(text, NEEDED), columns.position(columns.Names({}, {})))
    assert (page.ids, page.line_ids) == ([2, 4], [4])
    assert [(row.record_id, row.reason) for row in page.rejected] == [("2", "not UTF-8")]
    assert "\\\\udcff" in page.rejected[0].body


@pytest.mark.parametrize(
    ("lines", "reading", "name"),
    [
        (columns.ACCOUNTS, columns.account(columns.Names({}, {})), "login"),
        (columns.DEAL_LINES, columns.deal(columns.Names({}, {})), "dealId"),
        (columns.POSITION_LINES, columns.position(columns.Names({}, {})), "positionId"),
        (columns.GROUP_LINES, columns.group, "id"),
        (columns.SYMBOL_LINES, columns.symbol, "id"),
    ],
)
def test_a_record_that_cannot_be_read_was_listed_all_the_same_under_its_own_id(lines, reading, name):
    others = {"login": "1", "dealId": "2", "positionId": "3", "id": "4"}
    bad = {**others, name: "77", "direction": "UP", "moneyDigits": "x", "description": "\0"}
    page = lines.page([bad], reading)
    assert (page.ids, page.line_ids, page.nameless, page.rows) == ([77], [], 0, 1)
    assert page.rejected[0].record_id == "77"


@pytest.mark.parametrize("told", [None, "", "x", "1.5", "9" * 19, "\u0663x"])
def test_a_record_that_does_not_tell_its_id_is_nameless_whatever_else_it_names(told):
    page = columns.DEAL_LINES.page(
        [{"login": "1", "positionId": "2", "dealId": told, "pnl": "1", "closeTimestamp": "2026-01-01T00:00:00"}],
        columns.deal(columns.Names({}, {})),
    )
    assert (page.ids, page.nameless, page.rejected[0].record_id) == ([], 1, None)


def test_no_secret_of_a_record_that_cannot_be_read_is_kept():
    record = {"dealId": "1", "pnl": "x", "password": "hunter2", "hashedPassword": "hunter3", "note": 'pwd":"hunter4'}
    page = DEALS.page([record], plain)
    assert "hunter2" not in repr(page.rejected)
    assert "hunter3" not in repr(page.rejected)


def test_a_record_with_a_part_that_cannot_be_read_is_marked_by_a_name_that_no_platform_uses():
    assert UNREADABLE not in of_json(b'{"":1,"a":2}')
    assert Raw(b"1") == Raw(b"1")
