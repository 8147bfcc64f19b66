"""A page of ordinary records is not decoded at all, and any other is checked value by value."""

from dataclasses import replace

import pytest

from counterfoil.domain.records import TABLES, Kind
from counterfoil.platforms import lines, products, rows
from counterfoil.platforms.rows import RowFormat
from counterfoil.platforms.shapes import BARE, Shape
from support.lines import rows_of

# Values of each kind, with every character that would tell a value that is no number.
ORDINARY = {
    Kind.INTEGER: "-8999999999999999999",
    Kind.NUMBER: "-0.50",
    Kind.TEXT: '"[sl 1e5] {true} E, false"',
    Kind.BOOLEAN: "true",
    Kind.TIMESTAMP: '"2025-01-01T00:00:00.123456789Z"',
    Kind.DATE: '"2025-01-01"',
    Kind.JSON: "null",
}
NO_NUMBERS = [
    '"1"',
    '"NaN"',
    '""',
    "true",
    "false",
    "[]",
    "[1]",
    "[1,2]",
    "{}",
    '{"a":1}',
    "1e400",
    "1" * 101,
    "9" * 400,
    "0." + "1" * 99,
    "1" * 50 + "." + "1" * 50,
]


def record(table, number, **instead):
    """A record with every field of its table."""
    fields = {column.wire: ORDINARY[column.kind] for column in TABLES[table].columns if column.wire} | instead
    return ("{" + ",".join(f'"{name}":{token}' for name, token in {"id": str(number), **fields}.items()) + "}").encode()


def array(*records):
    return b"[%b]" % b",".join(records)


def numbers(table):
    return [column.wire for column in TABLES[table].columns if column.wire and column.kind is Kind.NUMBER]


@pytest.fixture
def checks(monkeypatch):
    """The pages that were decoded into the types that their records must have."""
    read, decoders = [], Shape.decoders

    def watched(shape, wrapping):
        check, keep = decoders(shape, wrapping)
        return lambda text: read.append(text) or check(text), keep

    monkeypatch.setattr(Shape, "decoders", watched)
    return read


@pytest.mark.parametrize("table", TABLES)
def test_ordinary_records_are_not_decoded(table, checks):
    empty = dict.fromkeys((column.wire for column in TABLES[table].columns if column.wire), "null")
    page = RowFormat(table).plain(array(record(table, 1), record(table, 2, **empty), record(table, 3)), BARE)
    assert (page.line_ids, len(page.lines), checks) == ([1, 2, 3], 3, [])


@pytest.mark.parametrize("names", [["price", "comment"], ["price", "symbol"], ["comment"], []])
def test_records_need_not_hold_every_field_if_all_hold_the_same(names, checks):
    given = {"price": "-0.50", "comment": '"[e]"', "symbol": "null"}
    same = ["{" + ",".join(f'"{name}":{given.get(name, number)}' for name in ("id", *names)) + "}" for number in (1, 2)]
    page = RowFormat("deals").plain(array(*(one.encode() for one in same)), BARE)
    assert (page.line_ids, len(page.lines), checks) == ([1, 2], 2, [])


@pytest.mark.parametrize(
    "odd",
    [
        b'{"id":2}',
        b'{ "id":2,"price":1}',
        b'{"id":2,"id":2,"price":1}',
        b'{"id":2,"price":1,"swap":1}',
        b'{"id":2,"price":1,"swap":null}',
    ],
)
def test_a_page_in_which_a_field_may_stand_twice_is_checked(odd, checks):
    page = RowFormat("deals").plain(array(b'{"id":1,"price":1}', odd), BARE)
    assert (page.line_ids, len(checks)) == ([1, 2], 1)


@pytest.mark.parametrize("first", [b'"x"', b"1e400", b"[]", b"true", b"{}"])
@pytest.mark.parametrize("at", [0, 1])
@pytest.mark.parametrize("table", [table for table in TABLES if numbers(table)])
def test_a_value_that_another_one_follows_must_be_good_as_well(table, at, first):
    name = numbers(table)[0].encode()
    records = [b'{"id":1,"%b":1}' % name, b'{"id":2,"%b":1}' % name]
    records[at] = b'{"id":3,"%b":%b,"%b":1}' % (name, first, name)
    page = RowFormat(table).read(array(*records))
    assert (page.line_ids, len(page.rejected)) == ([2 - at], 1)
    assert f"`$.{name.decode()}`" in page.rejected[0].reason


def test_a_field_that_is_lacking_does_not_make_up_for_one_that_stands_twice():
    lacking, twice = b'"swap":null,', b'"fee":"abc",'
    assert len(lacking) == len(twice)
    page = RowFormat("deals").read(array(b'{"id":1,"swap":1,"fee":1}', b'{"id":2,%b"fee":1}' % twice))
    assert (page.line_ids, len(page.rejected)) == ([1], 1)


@pytest.mark.parametrize("token", NO_NUMBERS)
@pytest.mark.parametrize("table", [table for table in TABLES if numbers(table)])
def test_a_number_that_is_none_costs_its_record_alone(table, token):
    good, rows_of = RowFormat(table), []
    for name in numbers(table):
        bad = record(table, 2, **{name: token})
        page = good.read(array(record(table, 1), bad, record(table, 3)))
        rows_of.append((page.line_ids, f"`$.{name}`" in page.rejected[0].reason, page.lines))
    assert rows_of == [([1, 3], True, good.read(array(record(table, 1), record(table, 3))).lines)] * len(rows_of)


@pytest.mark.parametrize("token", ["1e5", "1E5", "-0.5e-3"])
def test_a_number_with_an_exponent_is_one_as_well(token, checks):
    page = RowFormat("deals").plain(array(record("deals", 1, swap=token)), BARE)
    assert (page.line_ids, len(checks)) == ([1], 1)
    assert rows_of(page)[0]["swap"] == token


def test_where_json_is_kept_every_record_is_checked(checks):
    page = RowFormat("deals").plain(array(record("deals", 1, account='{"id":1}'), record("deals", 2)), BARE)
    assert (page.line_ids, len(checks)) == ([1, 2], 1)


@pytest.mark.parametrize("name", ["created_at", "updated_at"])
@pytest.mark.parametrize(
    "token", ['"2025-13-01T00:00:00Z"', '"2025-01-01T00:00:00"', '"now"', '"infinity"', "5", "true"]
)
def test_a_time_that_is_none_costs_its_record_alone(token, name):
    page = RowFormat("deals").read(array(record("deals", 1), record("deals", 2, **{name: token})))
    assert (page.line_ids, page.ids) == ([1], [1, 2])
    assert f"`$.{name}`" in page.rejected[0].reason


LONG, CUT = '"2025-01-01T00:00:00.123456789Z"', '"2025-01-01T00:00:00.123456Z"'
SHORT = '"2025-06-30T00:00:00Z"'


@pytest.mark.parametrize(
    ("created", "updated"),
    [
        ([LONG, LONG], [LONG, LONG]),
        ([LONG, LONG], [LONG, SHORT]),
        ([SHORT, SHORT], [SHORT, LONG]),
        ([SHORT, SHORT], [SHORT, SHORT]),
        ([LONG, SHORT], ["null", "null"]),
        (["null", LONG], ["null", LONG]),
    ],
)
def test_when_a_record_was_made_and_when_it_was_changed_are_two_things(created, updated, checks):
    records = [record("deals", at, created_at=created[at], updated_at=updated[at]) for at in (0, 1)]
    page = RowFormat("deals").plain(array(*records), BARE)
    meant = {LONG: CUT[1:-1], SHORT: SHORT[1:-1], "null": None}
    kept = [[row["created_at"], row["updated_at"]] for row in rows_of(page)]
    assert kept == [[meant[token] for token in pair] for pair in zip(created, updated, strict=True)]
    assert (page.times, checks) == ([token for token, _ in kept], [])


@pytest.mark.parametrize("token", ["9223372036854775808", "-9223372036854775809", "1.0", '"1"', "1" * 50])
@pytest.mark.parametrize("name", ["id", "order_id"])
def test_a_whole_number_that_no_column_holds_costs_its_record_alone(name, token):
    page = RowFormat("deals").read(array(record("deals", 1), record("deals", 2, **{name: token})))
    assert (page.line_ids, len(page.rejected)) == ([1], 1)
    assert f"`$.{name}`" in page.rejected[0].reason


@pytest.mark.parametrize("name", ["extra", "computed", "volume_base", "f0", "surprise"])
def test_a_field_that_no_column_keeps_is_lost_in_no_page(name):
    fmt = RowFormat("deals")
    page = fmt.read(array(record("deals", 1), record("deals", 2, **{name: "5"})))
    assert [row["extra"] for row in rows_of(page)] == [None, f'{{"{name}":5}}']


def test_a_text_with_the_end_of_a_line_in_it_stays_in_its_line():
    broken = b'{"id":1,"comment":"a]\\n[b"}'
    page = RowFormat("deals").read(array(broken, b'{"id":2}'))
    assert (page.line_ids, len(page.lines)) == ([1, 2], 2)
    assert rows_of(page)[0]["comment"] == "a]\n[b"


def test_a_row_is_taken_whole_or_not_at_all():
    fmt = RowFormat("deals")
    long_and_kept = b'{"id":1,"price":%b,"comment":"\\u00e9"}' % (b"1" * 101)
    page = fmt.read(array(long_and_kept, b'{"id":2}'))
    assert (page.ids, page.line_ids, len(page.lines), len(page.times), len(page.symbol_ids)) == ([1, 2], [2], 1, 1, 1)
    assert replace(page.rejected[0], body="") == rows.Rejected("1", "a number of 101 characters - at `$.price`", "")


@pytest.mark.parametrize(
    ("record", "remembering"),
    [
        (b'{"id":1,"volume":0.%b,"contract_size":1}' % (b"0" * 5_000), products._product),
        (b'{"id":1,"account":{%b"a":1}}' % (b'"surprise":1,' * 1_000), lines._are_harmless),
    ],
)
def test_what_is_far_too_long_is_not_remembered(record, remembering):
    before = remembering.cache_info().currsize
    assert RowFormat("deals").read(array(record)).ids == [1]
    assert remembering.cache_info().currsize == before
