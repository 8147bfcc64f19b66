import json
import time
from datetime import UTC, datetime
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from counterfoil.domain.page import Page
from counterfoil.domain.records import TABLES, Kind
from counterfoil.platforms import rows
from counterfoil.platforms.rows import RowFormat
from counterfoil.platforms.scrubbing import BODY_LIMIT, SECRET_NAME, scrub_text
from counterfoil.platforms.shapes import BARE
from counterfoil.pull.known import Known
from support.lines import cells, rows_of

DEALS, CLIENTS, ACCOUNTS = RowFormat("deals"), RowFormat("clients"), RowFormat("accounts")
FORMATS = {name: RowFormat(name) for name in TABLES}
MICROSECONDS = len("2025-01-01T00:00:00.000000")


def written(fields):
    """A JSON object of names and raw tokens."""
    return b"{%b}" % b",".join(b"%b:%b" % (json.dumps(name).encode(), token) for name, token in fields)


def page_of(*records, fmt=DEALS):
    return fmt.read(b"[%b]" % b",".join(records))


def row_of(page, fmt=DEALS, at=0):
    return dict(zip(fmt.columns, cells(page.lines[at]), strict=True))


def deal(**tokens):
    return written([("id", b"1"), *((name, token.encode()) for name, token in tokens.items())])


# Records of any table, valid, with the exact tokens

NUMBERS = st.from_regex(r"-?(0|[1-9][0-9]{0,39})(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,2})?", fullmatch=True)
AWKWARD = st.sampled_from(
    ["", "null", "NULL", '"', '""', "\\", "\\.", "n\\ull", "\n", "\r\n", "\t", '","', "\x01,\x02\x7f", "€😀", "'"]
)
PLAIN_BUT_AWKWARD = st.sampled_from(["", "null", ",", "a,null,b", "]", "[{"])
LETTERS = st.characters(exclude_categories=["Cs"], exclude_characters="\0")
PLAIN_LETTERS = st.characters(exclude_categories=["Cs", "Cc"], exclude_characters='"\\')
TEXTS = st.text(LETTERS, max_size=20) | AWKWARD
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**40), 10**40) | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", 'q"', "ü", "\\"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@st.composite
def texts(draw, *, plain):
    if plain:
        return json.dumps(draw(st.text(PLAIN_LETTERS, max_size=20) | PLAIN_BUT_AWKWARD), ensure_ascii=False)
    return json.dumps(draw(TEXTS), ensure_ascii=draw(st.booleans()))


@st.composite
def days(draw):
    day = draw(st.dates()).isoformat()
    return json.dumps(draw(st.sampled_from([day, "", f"{day}T10:00:00Z", f"{day} 10:00"])))


@st.composite
def moments(draw):
    fraction = draw(st.from_regex(r"(\.[0-9]{1,9})?", fullmatch=True))
    return json.dumps(draw(st.datetimes()).replace(microsecond=0).isoformat() + fraction + "Z")


def tokens(kind, *, plain):
    return {
        Kind.INTEGER: st.integers(-(2**63), 2**63 - 1).map(str),
        Kind.NUMBER: NUMBERS,
        Kind.BOOLEAN: st.sampled_from(["true", "false"]),
        Kind.DATE: days(),
        Kind.TIMESTAMP: moments(),
        Kind.TEXT: texts(plain=plain),
        Kind.JSON: st.just("null") if plain else JSON.map(json.dumps),
    }[kind]


@st.composite
def records(draw, *, plain=False, table=None):
    name = table or draw(st.sampled_from(sorted(TABLES)))
    fields = [column for column in TABLES[name].columns if column.wire]
    chosen = draw(st.lists(st.sampled_from(fields), max_size=8, unique=True))
    given_tokens = {
        column: "null" if draw(st.booleans()) and draw(st.booleans()) else draw(tokens(column.kind, plain=plain))
        for column in chosen
    }
    ids = draw(st.integers(-(2**63), 2**63 - 1))
    wire = [("id", str(ids).encode()), *((column.wire, token.encode()) for column, token in given_tokens.items())]
    return name, ids, given_tokens, written(draw(st.permutations(wire)))


def expected(column, token):
    value = json.loads(token, parse_float=Decimal, parse_int=Decimal)
    if value is None or (column.kind is Kind.DATE and value == ""):
        return None
    if column.kind is Kind.NUMBER:
        return token
    if column.kind is Kind.DATE:
        return value[:10]
    if column.kind is Kind.TIMESTAMP:
        return value if len(value) <= MICROSECONDS + 1 else value[:MICROSECONDS] + "Z"
    return token if column.kind in (Kind.INTEGER, Kind.BOOLEAN) else value


@given(records())
@settings(max_examples=200, deadline=None)
def test_every_value_of_a_valid_record_arrives_as_it_was_sent(case):
    name, ids, sent, text = case
    page = page_of(text, fmt=FORMATS[name])
    assert (page.rejected, page.rows, page.ids, page.line_ids) == ([], 1, [ids], [ids])
    row = row_of(page, FORMATS[name])
    for column, token in sent.items():
        got = row[column.name]
        if column.kind is Kind.JSON and got is not None:
            got = json.loads(got, parse_float=Decimal, parse_int=Decimal)
        assert got == expected(column, token), column.name
    untouched = set(FORMATS[name].columns) - {column.name for column in sent} - {"id", "volume_base"}
    assert {row[column] for column in untouched} <= {None}


@given(st.lists(records(plain=True, table="deals"), max_size=4) | st.lists(records(plain=True), max_size=1))
@settings(max_examples=100, deadline=None)
def test_the_fast_way_reads_what_the_careful_way_reads(cases):
    fmt = FORMATS[cases[0][0]] if cases else DEALS
    text = b"[%b]" % b",".join(case[3] for case in cases)
    fast, careful = fmt.plain(text, BARE), Page(fmt.columns)
    assert fast is not None, "a plain page went the careful way"
    fmt._read_carefully(text, careful)
    assert fast == careful
    assert fmt.read(text) == fast


@settings(deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=4))
def test_a_text_is_kept_whatever_it_holds(comments):
    page = page_of(*(deal(comment=json.dumps(text)) for text in comments))
    assert [row["comment"] for row in rows_of(page)] == comments


@pytest.mark.parametrize(
    "token",
    ["1" * 40, "0." + "1" * 50, "-0.10", "1E-400", "1e+5", "123456789012345678901234567890.123456789012345678901"],
)
def test_a_number_keeps_every_digit(token):
    row = row_of(page_of(deal(price=token)))
    assert row["price"] == token
    assert Decimal(row["price"]) == Decimal(token)


@pytest.mark.parametrize("digits", range(10))
@pytest.mark.parametrize("zone", ["Z", "+02:00"])
def test_a_fraction_of_a_second_is_cut_and_never_rounded(digits, zone):
    nines = "9" * digits
    sent = f"2025-12-31T23:59:59{'.' if digits else ''}{nines}"
    page = page_of(deal(created_at=f'"{sent}{zone}"'))
    assert row_of(page)["created_at"] == sent[:MICROSECONDS] + zone
    assert page.times == [sent[:MICROSECONDS] + zone]


def test_the_last_moment_of_time_is_not_rounded_out_of_it():
    row = row_of(
        page_of(deal(time_expiration='"9999-12-31T23:59:59.9999999Z"'), fmt=FORMATS["orders"]), FORMATS["orders"]
    )
    assert row["time_expiration"] == "9999-12-31T23:59:59.999999Z"


@pytest.mark.parametrize(
    ("token", "day"),
    [
        ('"2025-01-31"', "2025-01-31"),
        ('"2025-01-31T23:59:59.123456789Z"', "2025-01-31"),
        ('"2025-01-31 23:59:59+02:00"', "2025-01-31"),
        ('"\\u0032025-01-31"', "2025-01-31"),
        ('""', None),
        ("null", None),
    ],
)
def test_of_a_date_the_day_counts(token, day):
    assert row_of(page_of(deal(birth_date=token), fmt=CLIENTS), CLIENTS)["birth_date"] == day


def test_a_time_written_with_escapes_is_the_same_time():
    page = page_of(deal(created_at=r'"2025-01-01T00:00:00.5\u005a"'))
    assert (row_of(page)["created_at"], page.times) == ("2025-01-01T00:00:00.5Z", ["2025-01-01T00:00:00.5Z"])


# Bad records


BAD = [
    ("price", "1e400"), ("price", "-1e400"), ("price", "9" * 400), ("price", "0." + "1" * 200), ("price", '"1.5"'),
    ("price", "true"), ("price", "{}"), ("price", "[1]"), ("order_id", "1.0"), ("order_id", "1e3"), ("order_id", "true"),
    ("order_id", '"5"'), ("order_id", str(2**63)), ("order_id", str(-(2**63) - 1)), ("order_id", "9" * 5000),
    ("comment", "5"), ("comment", "{}"), ("comment", "false"), ("comment", '["a"]'), ("comment", r'"a\u0000b"'),
    ("created_at", '"yesterday"'), ("created_at", "1735689600"), ("created_at", '"2025-01-01T00:00:00"'),
    ("created_at", '"2025-02-30T00:00:00Z"'), ("created_at", '""'), ("created_at", r'"\u0000"'),
    ("account", r'{"a":["\u0000"]}'), ("account", r'{"\u0000":1}'), ("surprise", r'"\u0000"'), ("surprise", r'{"a\u0000":1}'),
]  # fmt: skip


@pytest.mark.parametrize(("field", "token"), BAD)
def test_a_bad_value_costs_exactly_its_record_and_is_named(field, token):
    page = page_of(b'{"id":7,"price":1.5}', deal(**{field: token}), b'{"id":9,"comment":"kept"}')
    assert (page.rows, page.ids, page.line_ids, len(page.lines)) == (3, [7, 1, 9], [7, 9], 2)
    (rejected,) = page.rejected
    assert (rejected.record_id, f"`$.{field}`" in rejected.reason) == ("1", True), rejected.reason
    assert rejected.body.startswith('{"id":1,')


@pytest.mark.parametrize(
    ("field", "token"),
    [("birth_date", '"2025-13-01"'), ("birth_date", '"2025-01-32"'), ("birth_date", '"2025-01-01 junk"'),
     ("birth_date", '"\uff12\uff10\uff12\uff15-01-01"'), ("birth_date", "5"), ("birth_date", '"01.02.2025"')],
)  # fmt: skip
def test_what_is_no_date_is_refused(field, token):
    page = page_of(deal(**{field: token}), fmt=CLIENTS)
    assert (page.lines, f"`$.{field}`" in page.rejected[0].reason) == ([], True)


@pytest.mark.parametrize(
    ("record", "record_id"),
    [
        (b'{"price":1}', None), (b'{"id":null}', None), (b'{"id":"5"}', '"5"'), (b'{"id":1.5}', "1.5"), (b'{"id":true}', "true"),
        (b'{"id":%d}' % 2**63, str(2**63)), (b'{"id":{"password":"x"}}', None), (b'{"id":[1]}', None),
        (b"5", None), (b'"text"', None), (b"null", None), (b"[]", None), (b"true", None), (b"{}", None),
    ],
)  # fmt: skip
def test_a_record_without_a_proper_id_is_refused_and_the_rest_kept(record, record_id):
    page = page_of(record, b'{"id":2}')
    assert (page.rows, page.ids, page.line_ids) == (2, [2], [2])
    assert [rejected.record_id for rejected in page.rejected] == [record_id]


def test_a_rejected_record_counts_as_listed_down_to_the_last_id():
    extremes = (2**63 - 1, -(2**63))
    page = page_of(*(b'{"id":%d,"price":"x"}' % record_id for record_id in extremes))
    assert (page.ids, page.line_ids) == (list(extremes), [])


@pytest.mark.parametrize("field", ["comment", "account", "surprise", "created_at"])
@pytest.mark.parametrize("junk", [b"\xff", b"\xed\xa0\x80", b"\xc0\x80"])
def test_text_that_is_not_utf8_costs_only_its_record(field, junk):
    page = page_of(b'{"id":1,"%b":"%b"}' % (field.encode(), junk), b'{"id":2}')
    assert (page.ids, page.line_ids) == ([1, 2], [2])
    assert f"`$.{field}`" in page.rejected[0].reason


def test_an_unreadable_name_of_a_field_costs_only_its_record():
    page = page_of(b'{"id":1,"\xff":1}', b'{"id":2}')
    assert (page.ids, page.line_ids) == ([1, 2], [2])


def test_of_a_repeated_name_the_last_value_counts_and_all_must_be_good():
    page = page_of(b'{"id":1,"id":2,"price":1,"price":2.50}', b'{"id":3,"price":"x","price":1}')
    assert (page.line_ids, row_of(page)["price"]) == ([2], "2.50")
    assert page_of(b'{"id":1,"id":2,"x\\u0020":1,"price":1,"price":2.50}').line_ids == [2]


@pytest.mark.parametrize("field", ["surprise", "account"])
def test_a_deeply_nested_value_costs_only_its_record(field):
    bomb = b'{"id":1,"%b":%b}' % (field.encode(), b"[" * 700 + b"]" * 700)
    page = page_of(bomb, b'{"id":2}')
    assert (page.ids, page.line_ids) == ([1, 2], [2])
    assert f"nested too deep - at `$.{field}`" in page.rejected[0].reason


@pytest.mark.parametrize("bomb", [b"[" * 200_000, b"[" * 200_000 + b"]" * 200_000, b'[{"a":' * 100_000])
def test_a_bomb_of_brackets_is_an_error_and_no_crash(bomb):
    with pytest.raises((msgspec.DecodeError, RecursionError)):
        DEALS.read(bomb)


@pytest.mark.parametrize(
    ("limit", "text"), [("VALUE_LIMIT", b"[1,2,3,4]"), ("ROW_LIMIT", b'[{"id":1},{"id":2},{"id":3}]')]
)
def test_a_page_of_absurd_length_is_refused_before_it_costs_memory(monkeypatch, limit, text):
    monkeypatch.setattr(rows, limit, 2)
    with pytest.raises(msgspec.DecodeError, match="more than 2"):
        DEALS.read(text)


@pytest.mark.parametrize("text", [b"", b"{}", b"5", b"null", b'"success"', b'[{"id":1}', b'[{"id":1}]]', b"<html>"])
def test_what_is_no_array_is_no_page(text):
    with pytest.raises(msgspec.DecodeError):
        DEALS.read(text)


# Unknown fields


def test_unknown_fields_go_to_extra_with_every_digit():
    page = page_of(b'{"id":1,"new":{"b":1.10,"a":[1e400,%b,null]},"old":"x","n":0.30}' % (b"1" * 40))
    assert row_of(page)["extra"] == '{"n":0.30,"new":{"b":1.10,"a":[1e400,%s,null]},"old":"x"}' % ("1" * 40)


def test_unknown_fields_that_are_null_are_dropped():
    row = row_of(page_of(b'{"id":1,"new":null,"symbol":null}'))
    assert row["extra"] is None


def test_an_expanded_object_with_the_name_of_a_computed_column_goes_to_extra():
    assert json.loads(row_of(page_of(b'{"id":1,"symbol":{"id":3}}'))["extra"]) == {"symbol": {"id": 3}}


def test_backslashes_before_u0000_are_only_text():
    row = row_of(page_of(deal(surprise=r'"C:\\u0000"', comment=r'"C:\\u0000"')))
    assert (json.loads(row["extra"]), row["comment"]) == ({"surprise": r"C:\u0000"}, r"C:\u0000")


# Secrets

SECRET = "hunter2"
NAMES = [
    "password", "user_password", "PassWord", "PASSWD", "investorPassword", "pwd", "secret", "clientSecret", "access_token",
    "refreshToken", "apiKey", "api_key", "API-KEY", "private_key", "credentials", "passphrase", "pass", "userPass", "user_pass",
    "pin", "PIN_code", "otp", "Authorization",
]  # fmt: skip


@st.composite
def hidden(draw):
    """A JSON object in which a secret stands somewhere under a name that says so, as text."""
    name = draw(st.sampled_from(NAMES))
    spelt = "".join(f"\\u{ord(c):04x}" if draw(st.booleans()) and draw(st.booleans()) else c for c in name)
    value = draw(st.sampled_from(['"%s"', '["x","%s"]', '{"a":{"b":"%s"},"c":"%s"}', '"\\"%s"', '[[],"a,}]","%s"]']))
    text = f'{{"ok":1,"{spelt}":{value.replace("%s", SECRET)}}}'
    if draw(st.booleans()):
        text = f'{text[:-1]},"{name}":"{SECRET}"}}'
    for _ in range(draw(st.integers(0, 3))):
        text = draw(st.sampled_from(["[%s]", '{"inner":%s}', '[1,"a",%s]', '{"a":"}","b":[%s,2]}'])).replace("%s", text)
    return text


@given(hidden(), st.sampled_from(["account", "surprise", "user"]), st.sampled_from(["1", '"bad"']))
@settings(max_examples=150, deadline=None)
def test_no_secret_is_kept_whatever_its_nesting_and_spelling(value, field, record_id):
    page = page_of(f'{{"id":{record_id},"{field}":{value},"comment":"c"}}'.encode(), fmt=ACCOUNTS)
    assert SECRET not in repr(page)
    assert len(page.lines) + len(page.rejected) == 1


@pytest.mark.parametrize("name", NAMES)
def test_a_secret_beside_the_other_fields_is_not_kept(name):
    good = page_of(f'{{"id":1,"{name}":"{SECRET}"}}'.encode())
    assert (SECRET in repr(good), row_of(good)["extra"]) == (False, None)
    for bad in (f'{{"id":"x","{name}":"{SECRET}","z":1}}', f'{{"{name}":"{SECRET}","comment":"\\u0000"}}'):
        assert SECRET not in repr(page_of(bad.encode()))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("cut", [b'"', b'",', b'"}', b'","more":"\xff"}'])
def test_no_secret_is_kept_of_a_text_that_cannot_be_parsed(name, cut):
    escaped = "".join(f"\\u{ord(c):04X}" for c in name)
    for spelt in (name, escaped):
        shown = scrub_text(f'{{"id":1,"{spelt}":"{SECRET}'.encode() + cut)
        assert (SECRET in shown, shown[:7]) == (False, '{"id":1')


def test_no_secret_hides_behind_too_much_nesting():
    bomb = f'{{"id":1,"deep":{"[" * 700}{{"password":"{SECRET}"}}{"]" * 700}}}'.encode()
    assert SECRET not in repr(page_of(bomb))


def test_harmless_names_are_not_taken_for_secrets():
    harmless = {
        "passport_number",
        "compass",
        "spin",
        "option",
        "keyboard",
        "symbol_class",
        "shipping",
        "opinion",
        "bypassed",
    }
    columns = {column.wire for table in TABLES.values() for column in table.columns if column.wire}
    assert [name for name in harmless | columns if SECRET_NAME.search(name)] == []


def test_the_text_of_a_rejected_record_is_bounded_and_holds_no_nul():
    page = page_of(b'{"id":"x","comment":"%b"}' % (b"y" * 200_000))
    assert len(page.rejected[0].body) == BODY_LIMIT
    assert scrub_text(b"a\0b") == "a\\0b"


# Pages


def test_of_a_repeated_record_the_last_is_written_and_all_are_listed():
    page = page_of(b'{"id":1,"price":1}', b'{"id":2}', b'{"id":1,"price":3}', b'{"id":3}')
    ids, lines = page.distinct()
    assert (page.rows, page.ids) == (4, [1, 2, 1, 3])
    assert sorted(ids) == [1, 2, 3]
    assert lines[ids.index(1)] == page.lines[2]


def test_a_page_without_repetition_is_written_as_it_came():
    page = page_of(b'{"id":2}', b'{"id":1}')
    assert page.distinct() == ([2, 1], page.lines)


def test_a_remembered_page_has_nothing_to_write():
    page = DEALS.read(b'[{"id":1,"created_at":"2025-01-01T00:00:00Z"}]', b"digest").remembered()
    assert (page.distinct(), [*page.ids], page.digest, page.unchanged) == (([], []), [1], b"digest", True)


def test_times_stand_beside_the_good_records():
    stamp = datetime(2025, 1, 1, tzinfo=UTC).isoformat().replace("+00:00", "Z")
    page = page_of(b'{"id":1,"created_at":"%b"}' % stamp.encode(), b'{"id":"bad"}', b'{"id":3}')
    assert list(zip(page.line_ids, page.times, strict=True)) == [(1, stamp), (3, None)]


def test_a_thousand_deals_cost_a_few_times_what_plain_json_costs():
    fields = [column for column in TABLES["deals"].columns if column.wire and column.kind is not Kind.JSON]
    samples = {Kind.TEXT: b'"some text"', Kind.TIMESTAMP: b'"2025-01-01T10:00:00.123456789Z"', Kind.INTEGER: b"12345"}
    record = [(column.wire, samples.get(column.kind, b"1.23456")) for column in fields]
    text = b"[%b]" % b",".join(written([("id", b"%d" % n), *record]) for n in range(1000))
    assert DEALS.plain(text, BARE)
    assert best_of(lambda: DEALS.read(text)) < 6 * best_of(lambda: json.loads(text))


def best_of(work, times=5):
    def cost():
        began = time.process_time()
        work()
        return time.process_time() - began

    return min(cost() for _ in range(times))


# Records that are known


def sifted(records, before, fmt=DEALS):
    """The page of some records, where those of another page are remembered."""
    known = Known([before.remembered()] if before else [])
    return fmt.sift([*map(Raw, records)], b"digest", known.between), known


def deals(*comments):
    return [written([("id", b"%d" % number), ("comment", json.dumps(text).encode())]) for number, text in comments]


SIX = deals(*enumerate(["one", "two", "three", "four", "five", "six"], 1))


@given(
    st.lists(
        st.tuples(st.integers(1, 9), st.sampled_from(["a", "b\\", 'c"'])), max_size=9, unique_by=lambda row: row[0]
    ),
    st.lists(st.tuples(st.integers(1, 9), st.sampled_from(["a", "b\\", 'c"'])), max_size=9),
)
@settings(max_examples=300, deadline=None)
def test_what_is_left_out_of_a_page_is_only_what_was_just_so(first, second):
    before, _ = sifted(deals(*first), None)
    page, known = sifted(deals(*second), before)
    whole = page_of(*deals(*second))
    assert (page.rows, [*page.ids]) == (whole.rows, whole.ids)
    assert page.whole is None or page.whole().lines == whole.lines
    left, was = known.less(page), dict(zip(before.line_ids, before.lines, strict=True))
    given_now = dict(zip(left.line_ids, left.lines, strict=True))
    for row, line in zip(whole.line_ids, whole.lines, strict=True):
        assert given_now.get(row) == line or (row not in given_now and was[row] == line) or second.count(row) != 1


def test_of_a_page_of_which_most_is_known_only_the_rest_is_read(monkeypatch):
    before, _ = sifted(SIX, None)
    read = []
    monkeypatch.setattr(DEALS, "read", lambda text, digest: read.append(text) or RowFormat.read(DEALS, text, digest))
    changed = [*SIX[:4], *deals((5, "other"), (7, "new"))]
    page, known = sifted(changed, before)
    assert read == [b"[%b]" % b",".join(changed[4:])]
    assert (page.rows, [*page.ids], page.line_ids, page.digest) == (6, [1, 2, 3, 4, 5, 7], [5, 7], b"digest")
    left = known.less(page)
    assert (left.line_ids, left.whole) == ([5, 7], None)
    assert page.remembered().marks == sifted(changed, None)[0].marks


def test_where_most_changed_the_page_is_read_as_one():
    before, _ = sifted(SIX, None)
    page, known = sifted(deals(*((number, "other") for number in range(1, 5)), (5, "five"), (6, "six")), before)
    assert (page.whole, page.line_ids, known.less(page).line_ids) == (None, [1, 2, 3, 4, 5, 6], [1, 2, 3, 4])


@pytest.mark.parametrize("bad", [b'{"id":5,"price":true}', b'{"id":"five"}', b"5"])
def test_a_page_with_a_record_that_cannot_be_read_is_read_whole(bad):
    before, _ = sifted(SIX, None)
    page, known = sifted([*SIX[:4], bad, SIX[5]], before)
    assert (len(page.rejected), page.rows, page.line_ids, len(page.marks)) == (1, 6, [1, 2, 3, 4, 6], 0)
    again = known.less(page)
    assert (again.line_ids, again.rejected) == ([1, 2, 3, 4, 6], page.rejected)


def test_a_row_that_comes_twice_is_left_out_neither_time():
    before, _ = sifted(SIX, None)
    page, known = sifted([*SIX[:4], *deals((2, "other")), SIX[5]], before)
    assert page.line_ids == [2]
    assert known.less(page).line_ids == [1, 2, 3, 4, 2, 6]


def test_a_row_that_the_page_before_showed_otherwise_is_read_though_it_is_known():
    before, _ = sifted(SIX, None)
    page, known = sifted(SIX[2:], before)
    known.less(page_of(*SIX[:2], *deals((3, "other"))))
    assert page.line_ids == []
    assert known.less(page).line_ids == [3]


def test_too_many_records_are_refused_as_ever(monkeypatch):
    before, _ = sifted(SIX, None)
    monkeypatch.setattr(rows, "ROW_LIMIT", 3)
    with pytest.raises(msgspec.DecodeError, match="more than 3 records"):
        sifted(SIX, before)


def test_an_empty_page_is_an_empty_page():
    page, known = sifted([], None)
    assert (page.rows, known.less(page).lines) == (0, [])
