import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterfoil.domain.outcome import Body
from counterfoil.platforms.omtrader import envelope
from counterfoil.platforms.rows import RowFormat
from support.lines import rows_of

DEALS = RowFormat("deals")


def wrapped(data, **rest):
    fields = {"success": b"true", "code": b"200", "data": data, "error": b'""', "message": b'""', **rest}
    return b"{%b}" % b",".join(b'"%b":%b' % (name.encode(), value) for name, value in fields.items())


def listed(body):
    parsed = envelope.read(body)
    found = envelope.records(parsed.data)
    return None if found is None else bytes(found)


@pytest.mark.parametrize(
    ("data", "rows"),
    [
        (b'[{"id":1}]', b'[{"id":1}]'),
        (b"[]", b"[]"),
        (b'{"records":[{"id":1}],"total":1,"page":1}', b'[{"id":1}]'),
        (b'{"total":0,"records":[]}', b"[]"),
        (b'{"records":null}', b"[]"),
        (b'"success"', b"[]"),
        (b"null", b"[]"),
    ],
)
def test_every_documented_shape_of_a_list_is_read(data, rows):
    assert listed(wrapped(data)) == rows


@pytest.mark.parametrize(
    "data",
    [b"5", b"1.5", b"true", b'"failure"', b'"Success"', b'""', b"{}", b'{"rows":[]}', b'{"records":5}', b'{"records":"success"}',
     b'{"records":{}}', b'{"record":[]}'],
)  # fmt: skip
def test_any_other_shape_is_no_list(data):
    assert listed(wrapped(data)) is None


def test_an_answer_without_data_is_an_empty_list():
    assert listed(b'{"success":true}') == b"[]"


def test_white_space_and_order_do_not_matter():
    assert listed(b'\r\n { "data" : { "page" : 1 , "records" : [ 1 ] } , "success" : true }\n') == b"[ 1 ]"


@pytest.mark.parametrize(
    "body",
    [b"", b" ", b"null", b"[]", b"5", b'"success"', b"{}", b"<!DOCTYPE html><html></html>", b'{"data":[]}',
     b'{"success":"true"}', b'{"success":1}', b'{"success":null}', b'{"success":true,"code":"200"}', b'{"success":true} {}',
     b'{"success":true}garbage', b'{"success":true', b'{"success":true,"data":[1,2', b'{"success":true,"data":"cut',
     b'{"success":true,"data":"cut\\', b'{"success":true,"data":[01]}', b'{"success":true,"error":{}}', b'{"success":NaN}',
     b'{"success":true,"code":NaN}', b'{"success":true,"data":nan}', '{"success":true}'.encode("utf-16"), b"\xff\xfe\x00",
     b'{"success":true,"data":' + b"[" * 100_000 + b"]" * 100_000 + b"}"],
)  # fmt: skip
def test_what_is_not_the_envelope_is_none(body):
    assert envelope.read(body) is None


def test_a_byte_order_mark_is_no_obstacle():
    assert listed(b"\xef\xbb\xbf" + wrapped(b"[1]")) == b"[1]"


def test_a_refusal_is_told_from_an_answer():
    parsed = envelope.read(
        wrapped(b"null", success=b"false", code=b"404", error=b'"Not Found"', message=b'"no such\\nthing"')
    )
    assert (parsed.body, parsed.code, parsed.reason) == (Body.REFUSED, 404, "no such thing")
    assert envelope.read(wrapped(b"null")).body is Body.UNDERSTOOD


@pytest.mark.parametrize(
    ("told", "reason"),
    [
        ({"error": b'"Unauthorized"'}, "Unauthorized"),
        ({"message": b'"  a\\u0000b\\u2028c\\u001b[31m  "'}, "a b c [31m"),
        ({"message": b"null", "error": b"null"}, "no reason given"),
        ({"message": b'"%b"' % (b"long " * 100_000)}, ("long " * 40).strip()),
    ],
)
def test_the_reason_is_one_short_line(told, reason):
    assert envelope.read(wrapped(b"null", **{"message": b'""', "success": b"false", **told})).reason == reason


@pytest.mark.parametrize("code", [b"9" * 60, b"-1", b"0", b"null"])
def test_a_strange_code_is_still_an_envelope(code):
    assert envelope.read(wrapped(b"[]", code=code)).code == json.loads(code)


def test_numbers_of_any_length_pass_untouched():
    digits = b"1" * 5000
    assert listed(wrapped(b"[%b,1e999999]" % digits)) == b"[%b,1e999999]" % digits


BROKEN = [
    (b"NaN", "price"), (b"Infinity", "price"), (b"-Infinity", "price"), (b"NaN", "comment"), (b"NaN", "created_at"),
    (b"NaN", "account"), (b"Infinity", "surprise"), (b"NaN", "order_id"), (rb'"\ud800"', "comment"), (rb'"a\uDFFFb"', "surprise"),
    (rb'"\ud83dx"', "comment"), (rb'"\ud83d\u0041"', "comment"), (rb'"\ud83d\ud83d\ude00"', "comment"), (rb'"\x41"', "comment"),
    (rb'"\u12"', "comment"), (rb'"\uzzzz"', "comment"), (rb'"it\'s"', "comment"), (b'"a\x00b"', "comment"),
    (rb'{"a":[NaN]}', "account"), (b'"\xff"', "comment"),
]  # fmt: skip


@pytest.mark.parametrize(("token", "field"), BROKEN)
def test_a_value_that_json_does_not_know_costs_only_its_record(token, field):
    rows = b'[{"id":1,"comment":"NaN \\ud83d\\ude00 Infinity"},{"id":2,"%b":%b},{"id":3}]' % (field.encode(), token)
    page = DEALS.read(listed(wrapped(rows)))
    assert (page.ids, page.line_ids) == ([1, 2, 3], [1, 3])
    assert f"`$.{field}`" in page.rejected[0].reason
    assert "NaN 😀 Infinity".encode() in page.lines[0]


@pytest.mark.parametrize(("raw", "text"), [(b"a\nb", "a\nb"), (b"a\tb\r\n", "a\tb\r\n"), (b"\x01", "\x01")])
def test_a_control_character_that_was_not_escaped_is_taken_as_it_stands(raw, text):
    page = DEALS.read(listed(wrapped(b'[{"id":1,"comment":"%b","price":1.10}]' % raw)))
    (row,) = rows_of(page)
    assert (row["comment"], row["price"]) == (text, "1.10")


def test_mending_leaves_every_other_string_and_number_alone():
    good = rb'{"a\"b":"x\\","n":1.50,"big":%b,"e":1E400,"u":"\u00e9\/\\u0000"}' % (b"7" * 40)
    assert listed(wrapped(b"[%b,NaN]" % good)) == rb'[%b,"NaN\u0000"]' % good


@settings(deadline=None)
@given(st.binary(max_size=60) | st.text(max_size=40).map(str.encode))
def test_no_bytes_at_all_raise_anything(junk):
    for body in (junk, wrapped(junk), wrapped(b'"%b"' % junk), wrapped(b"[NaN,%b]" % junk)):
        parsed = envelope.read(body)
        assert parsed is None or isinstance(envelope.records(parsed.data), envelope.Raw | None)


@pytest.mark.parametrize("piece", [b'\\"', b'"', b"\\", b"\\ud800", b"NaN,", b'"\\', b"-", b"\n"])
def test_mending_a_hostile_megabyte_takes_no_time_to_speak_of(piece):
    body = b'{"success":true,"data":"' + piece * (1_000_000 // len(piece))
    began = time.process_time()
    assert envelope.read(body) is None
    assert time.process_time() - began < 5
