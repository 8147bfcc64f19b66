"""What a pattern reads of a page is what the careful way reads, and what it does not read is read carefully."""

import msgspec
import pcre2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterfoil.domain.page import Page
from counterfoil.platforms import patterns
from counterfoil.platforms.omtrader import envelope
from counterfoil.platforms.rows import RowFormat
from counterfoil.platforms.shapes import BARE
from support.lines import rows_of

DEALS, CLIENTS = RowFormat("deals"), RowFormat("clients")
MOMENT = "2026-10-01T02:42:35"


def deal(number, **instead):
    fields = {
        "account_id": 7,
        "contract_size": 100_000,
        "symbol_id": 3,
        "price": 1.0650,
        "profit": -0.5,
        "volume": "null",
        "comment": '"a, b"',
        "symbol": "null",
        "account": "null",
        "created_at": f'"{MOMENT}.123456789Z"',
        "updated_at": f'"{MOMENT}Z"',
    } | instead
    return "{" + ",".join(f'"{name}":{value}' for name, value in {"id": number, **fields}.items()) + "}"


def listing(*records, before="", behind=""):
    listed = ",".join(records)
    return f'{{"success":true,"code":200,"data":{{{before}"records":[{listed}]{behind}}},"message":"ok"}}'.encode()


def carefully(fmt, text):
    """The page of the list in an answer, record by record; None where there is none."""
    answer = envelope.read(text)
    listed = envelope.records(answer.data) if answer is not None and answer.success else None
    page = Page(fmt.columns)
    try:
        fmt._read_carefully(bytes(listed), page)
    except (TypeError, msgspec.DecodeError, UnicodeDecodeError):
        return None
    return page


@pytest.fixture
def matched(monkeypatch):
    """What patterns read; nothing where they did not."""
    rows, read = [], patterns.Pattern.read

    def watched(pattern, text, end):
        found = read(pattern, text, end)
        rows.extend(found.ids if found else ())
        return found

    monkeypatch.setattr(patterns.Pattern, "read", watched)
    return rows


PIECES = st.sampled_from(
    [
        *(
            b"",
            b"null",
            b'"',
            b",",
            b"{",
            b"}",
            b"[",
            b"]",
            b":",
            b"0",
            b"-",
            b"9" * 19,
            b"1e5",
            b"\\",
            b" ",
            b"\n",
            b"\0",
        ),
        *(
            b"\xff",
            b"\xc3\xa9",
            b"true",
            b"[{",
            b"}]",
            b"},{",
            b'"id":7,',
            b".5",
            b'{"id":1}',
            b'"records":',
            b"T",
            b'Z"',
        ),
    ]
)


@st.composite
def damaged(draw):
    """An answer of which some pieces are others, are missing, or stand twice."""
    text = bytearray(listing(*map(deal, range(1, draw(st.integers(2, 4))))))
    for _ in range(draw(st.integers(0, 3))):
        at, length = draw(st.integers(0, len(text))), draw(st.integers(0, 30))
        piece = bytes(text[at : at + length]) if draw(st.booleans()) else draw(PIECES)
        if draw(st.booleans()):
            at = draw(st.integers(0, len(text)))
            length = 0
        text[at : at + length] = piece
    return bytes(text)


@given(damaged())
@settings(max_examples=400, deadline=None)
def test_whatever_became_of_an_answer_no_row_is_another_one(text):
    page = DEALS.plain(text, envelope.LISTED)
    assert page is None or page == carefully(DEALS, text)


@pytest.mark.parametrize(
    ("moment", "ordinary"),
    [
        (MOMENT + "Z", True),
        (MOMENT + ".1Z", True),
        (MOMENT + ".123456Z", True),
        (MOMENT + ".123456789Z", True),
        ("0001-01-01T00:00:00Z", True),
        ("2026-12-31T23:59:59.999999999Z", True),
        ("2026-04-30T00:00:00Z", True),
        (MOMENT + "805Z", False),
        (MOMENT + ".Z", False),
        (MOMENT + ".12345678901Z", False),
        ("0000-01-01T00:00:00Z", False),
        ("2024-02-29T00:00:00Z", False),
        ("2026-02-29T00:00:00Z", False),
        ("2026-04-31T00:00:00Z", False),
        ("2026-13-01T00:00:00Z", False),
        ("2026-10-01T24:00:00Z", False),
        ("2026-10-01T00:00:60Z", False),
        ("2026-10-01 00:00:00Z", False),
        ("2026-10-01t00:00:00z", False),
        (MOMENT + "+02:00", False),
        (MOMENT, False),
        ("infinity", False),
        ("", False),
    ],
)
@pytest.mark.parametrize("name", ["created_at", "updated_at"])
def test_a_time_is_taken_as_it_stands_only_where_it_surely_is_one(name, moment, ordinary, matched):
    text = listing(deal(1), deal(2, **{name: f'"{moment}"'}))
    page = DEALS.plain(text, envelope.LISTED) or carefully(DEALS, text)
    assert (page, matched) == (carefully(DEALS, text), [1, 2] if ordinary else [])


@pytest.mark.parametrize(
    ("date", "kept", "ordinary"),
    [
        ('""', None, True),
        ("null", None, True),
        ('"2026-01-31"', "2026-01-31", True),
        ('"2026-01-31T10:00:00Z"', "2026-01-31", True),
        ('"2024-02-29"', "2024-02-29", False),
        ('"2026-01-31 10:00"', "2026-01-31", False),
    ],
)
def test_of_a_date_the_day_counts_and_the_empty_text_is_none(date, kept, ordinary, matched):
    text = f'[{{"id":1,"birth_date":{date},"city":"Ὀ"}}]'.encode()
    page = CLIENTS.plain(text, BARE)
    assert rows_of(page)[0]["birth_date"] == kept
    assert matched == ([1] if ordinary else [])


@pytest.mark.parametrize(
    ("token", "ordinary"),
    [
        ("999999999999999999", True),
        ("8999999999999999999", True),
        ("-8999999999999999999", True),
        ("0", True),
        ("9000000000000000000", False),
        ("9223372036854775807", False),
        ("-9223372036854775808", False),
        ("9223372036854775808", False),
        ("10000000000000000000", False),
        ("00", False),
        ("01", False),
        ("-0", False),
        ("1.0", False),
        ("", False),
    ],
)
def test_a_whole_number_is_taken_as_it_stands_where_64_bits_surely_hold_it(token, ordinary, matched):
    text = listing(deal(1), deal(2, account_id=token))
    page = DEALS.plain(text, envelope.LISTED) or carefully(DEALS, text)
    assert (page, matched) == (carefully(DEALS, text), [1, 2] if ordinary else [])


@pytest.mark.parametrize(
    "text",
    [
        listing(deal(1), before='"other":[],'),
        listing(before=f'"other":[{deal(1)}],'),
        listing(behind=f',"other":[{deal(1)}]'),
        listing("5", behind=f',"other":[{deal(1)}]'),
        listing("5", before=f'"other":[{deal(1)}],'),
        listing(deal(1), behind=f',"other":[{deal(2)}]'),
        listing(deal(1), before=f'"other":[{deal(2)}],'),
        listing(deal(1), behind=',"other":[{}]'),
    ],
)
def test_records_of_another_list_are_none(text):
    page = DEALS.plain(text, envelope.LISTED)
    assert page is None or page == carefully(DEALS, text)


@pytest.mark.parametrize(
    "between", ["}{", "},,{", "}, {", "} ,{", "}x{", "}x,{", "},x{", "},5,{", "},{},{", "},[],{", "},null,{"]
)
@pytest.mark.parametrize("end", ["}]", "},]", "}x]", "} ]", "},5]", "}]]", "}"])
def test_between_records_stands_a_comma_and_nothing_else(between, end):
    text = end.encode().join(
        between.encode().join(listing(deal(1), deal(2), deal(3)).rsplit(b"},{", 1)).rsplit(b"}]", 1)
    )
    page = DEALS.plain(text, envelope.LISTED)
    assert page is None or page == carefully(DEALS, text)
    assert (page is not None) == (between in ("},{", "}, {", "} ,{") and end in ("}]", "} ]"))


def test_of_an_answer_that_says_no_nothing_is_read():
    assert DEALS.plain(listing(deal(1)).replace(b"true", b"false", 1), envelope.LISTED) is None


@pytest.mark.parametrize("place", ["a, b", "success", "]}", "ok", "},{", "}]", "null"])
def test_what_parts_records_within_is_not_taken_from_outside(place):
    before, _, behind = listing(deal(1), deal(2)).decode().rpartition(place)
    text = before + place[:1] + "\0" + place[1:] + behind
    assert before
    assert DEALS.plain(text.encode(), envelope.LISTED) is None


@pytest.mark.parametrize("comment", [b'"\xff"', b'"\xc3"', b'"\xed\xa0\x80"'])
def test_what_is_not_utf8_costs_its_record_alone(comment):
    text = f"[{deal(1)},{deal(2)}]".encode()
    page = DEALS.read(text[::-1].replace(b'"a, b"'[::-1], comment[::-1], 1)[::-1])
    assert (page.line_ids, page.ids) == ([1], [1, 2])


def test_which_fields_records_hold_is_learnt_anew_where_it_changes(matched):
    for number, name in enumerate(("price", "swap", "price")):
        DEALS.plain(f'[{{"id":{number},"{name}":1.50}}]'.encode(), BARE)
    assert matched == [0, 1, 2]


@pytest.mark.parametrize("names", [(), ("price",), ("id", "price", "unheard_of")])
def test_of_fields_that_the_table_does_not_know_there_is_no_pattern(names):
    assert patterns.pattern_of("deals", names) is None


@pytest.mark.parametrize("count", [1, 10_000])
def test_names_that_nobody_knows_are_not_remembered(count):
    before = patterns.known_pattern.cache_info().currsize
    unknown = ",".join(f'"surprise {number}":1' for number in range(count))
    assert DEALS.plain(f'[{{"id":1,{unknown}}}]'.encode(), BARE) is None
    assert patterns.known_pattern.cache_info().currsize == before


def test_where_no_memory_may_be_executed_patterns_are_interpreted(monkeypatch):
    compiled = pcre2.compile

    def forbidden(pattern, *, jit=True):
        if jit:
            raise pcre2.LibraryError(-48, b"no more memory")
        return compiled(pattern, jit=jit)

    text = listing(deal(1), deal(2))
    before = DEALS.plain(text, envelope.LISTED)
    monkeypatch.setattr(pcre2, "compile", forbidden)
    patterns.known_pattern.cache_clear()
    assert DEALS.plain(text, envelope.LISTED) == before == carefully(DEALS, text)


def test_where_a_pattern_gives_up_the_page_is_read_nevertheless(monkeypatch):
    def gives_up(*_):
        raise pcre2.LibraryError(-47, b"match limit exceeded")

    monkeypatch.setattr(pcre2.Pattern, "subn", gives_up)
    text = listing(deal(1), deal(2))
    assert DEALS.plain(text, envelope.LISTED) == carefully(DEALS, text)
