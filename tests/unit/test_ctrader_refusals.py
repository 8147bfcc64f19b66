import json

import pytest

from counterfoil.domain.outcome import Silence, Verdict
from counterfoil.platforms.ctrader import refusals
from counterfoil.platforms.ctrader.refusals import Refusal
from counterfoil.platforms.http import Answer

LATER = ("RATE_LIMITED", "NOT_SENT")
TROUBLE = ("TRANSIENT", "UNKNOWN")
NEVER = ("PERMANENT", "REJECTED")
RIGHTS = ("CONFIGURATION_FAULT", "CONFIGURATION_FAULT")
TOKEN = ("LOG_IN", "LOG_IN")
# The reference's section 7, every name that survived, and a few that nobody has described.
CODES = {
    "UNKNOWN_ERROR": TROUBLE,
    "INVALID_REQUEST": NEVER,
    "NOT_ENOUGH_RIGHTS": RIGHTS,
    "CH_BROKER_NOT_FOUND": RIGHTS,
    "REQUEST_FREQUENCY_EXCEEDED": LATER,
    "TRADER_NOT_FOUND": NEVER,
    "CH_PLANT_INVALID": RIGHTS,
    "NOT_ENOUGH_MONEY": NEVER,
    "CHANGE_BALANCE_BAD_AMOUNT": NEVER,
    "TRADER_GROUP_NOT_FOUND": NEVER,
    "WRONG_PASSWORD": NEVER,
    "CH_TRADER_ACCOUNT_NOT_FOUND": NEVER,
    "CH_CTID_TRADER_ACCOUNT_NOT_FOUND": NEVER,
    "CH_EMAIL_ALREADY_EXISTS": NEVER,
    "CH_CLIENT_AUTH_FAILURE": TOKEN,
    "CH_INSUFFICIENT_PERMISSIONS": RIGHTS,
    "CID_TOKEN_EXPIRED": TOKEN,
    "CID_NON_EXISTED_TOKEN": TOKEN,
    "TRADER_HAS_POSITIONS": NEVER,
    "ALREADY_DELETED": NEVER,
    "WRONG_LEVERAGE": NEVER,
    "UNKNOWN_DEPOSIT_CURRENCY": NEVER,
    "DEPOSIT_CURRENCY_NOT_ALLOWED": NEVER,
    "CHANGE_BONUS_BAD_AMOUNT": NEVER,
    "SERVER_IS_UNDER_MAINTENANCE": LATER,
    "OPERATION_NOT_ALLOWED": NEVER,
    "CONCURRENT_MODIFICATION": TROUBLE,
    "TIMEOUT_ERROR": TROUBLE,
    "DATASTORE_IS_NOT_AVAILABLE": TROUBLE,
    "RECONCILIATION_IN_PROGRESS": LATER,
    "A_CODE_OF_2031": NEVER,
    "CH_ENVIRONMENT_NOT_FOUND": NEVER,
}
HTML = b"<!DOCTYPE html><html><head><title>Bad gateway</title></head></html>"


def as_json(code, text="what it means"):
    return json.dumps({"error": {"errorCode": code, "description": text}}).encode()


def as_text(code, text="what it means"):
    return f"{code}: {text}\n".encode()


def verdict(status, body, *, writing):
    return refusals.judge(Answer(status, body), refusals.read(body), writing=writing).name


@pytest.mark.parametrize("form", [as_json, as_text])
@pytest.mark.parametrize("writing", [False, True])
@pytest.mark.parametrize("code", CODES)
def test_each_code_means_the_same_in_both_forms_and_under_every_status_of_a_refusal(code, writing, form):
    for status in (400, 404, 409, 410, 417, 422, 429):
        assert verdict(status, form(code), writing=writing) == CODES[code][writing], status


@pytest.mark.parametrize("form", [as_json, as_text])
@pytest.mark.parametrize("code", CODES)
def test_no_code_makes_a_write_certain_under_a_status_of_trouble(code, form):
    assert {verdict(status, form(code), writing=True) for status in (500, 502, 503)} == {"UNKNOWN"}
    assert {verdict(status, form(code), writing=False) for status in (500, 502, 503)} == {"TRANSIENT"}


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("writing", [False, True])
def test_a_token_that_is_refused_is_asked_for_again_whatever_the_body_says(code, writing):
    for body in (as_json(code), as_text(code), HTML, b""):
        assert {verdict(status, body, writing=writing) for status in (401, 403)} == {"LOG_IN"}


@pytest.mark.parametrize("form", [as_json, as_text])
@pytest.mark.parametrize("code", sorted(CODES.keys() & refusals.MEANINGS.keys()))
def test_a_known_code_under_a_good_status_is_a_refusal_all_the_same(code, form):
    assert [verdict(200, form(code), writing=writing) for writing in (False, True)] == list(CODES[code])


@pytest.mark.parametrize("body", [as_json("A_CODE_OF_2031"), b"SUCCESS", b"ACCEPTED\n", b"DONE: 12"])
def test_an_unknown_word_under_a_good_status_proves_nothing_of_a_write(body):
    assert verdict(200, body, writing=True) == "UNKNOWN"
    assert verdict(200, body, writing=False) == "TRANSIENT"


def test_every_meaning_is_in_this_table():
    assert refusals.MEANINGS.keys() <= CODES.keys()


@pytest.mark.parametrize(
    ("status", "read", "write"),
    [
        (200, "DONE", "ACCEPTED"),
        (201, "DONE", "ACCEPTED"),
        (204, "DONE", "ACCEPTED"),
        (302, "TRANSIENT", "UNKNOWN"),
        (400, "PERMANENT", "UNKNOWN"),
        (404, "PERMANENT", "UNKNOWN"),
        (405, "PERMANENT", "UNKNOWN"),
        (409, "TRANSIENT", "UNKNOWN"),
        (410, "PERMANENT", "UNKNOWN"),
        (422, "PERMANENT", "UNKNOWN"),
        (425, "RATE_LIMITED", "NOT_SENT"),
        (429, "RATE_LIMITED", "NOT_SENT"),
        (500, "TRANSIENT", "UNKNOWN"),
        (503, "TRANSIENT", "UNKNOWN"),
        (599, "TRANSIENT", "UNKNOWN"),
    ],
)
@pytest.mark.parametrize("body", [b"", b"{}", b'{"message":"no such thing"}', b"nothing here"])
def test_a_status_without_a_code_never_proves_that_a_write_did_nothing(status, read, write, body):
    assert (verdict(status, body, writing=False), verdict(status, body, writing=True)) == (read, write)


@pytest.mark.parametrize("status", [400, 404, 405, 410, 422])
@pytest.mark.parametrize("body", [HTML, b"\xef\xbb\xbf\n <html>", b"<?xml version='1.0'?><error/>"])
def test_a_page_of_a_gateway_proves_neither_that_a_record_is_gone_nor_anything_else(status, body):
    assert (verdict(status, body, writing=False), verdict(status, body, writing=True)) == ("TRANSIENT", "UNKNOWN")


@pytest.mark.parametrize(
    ("silence", "verdicts"),
    [(Silence.NOT_CONNECTED, ("TRANSIENT", "NOT_SENT")), (Silence.INTERRUPTED, ("TRANSIENT", "UNKNOWN"))],
)
def test_no_answer_at_all_is_judged_by_what_may_have_left(silence, verdicts):
    for writing in (False, True):
        answer = Answer(0, silence=silence)
        assert refusals.judge(answer, None, writing=writing) is Verdict[verdicts[writing]]


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (as_json("INVALID_REQUEST", "from is\nmissing\t!"), Refusal("INVALID_REQUEST", "from is missing !")),
        (b'{"error":{"errorCode":"WRONG_PASSWORD"}}', Refusal("WRONG_PASSWORD", "")),
        (b'{"error":{"errorCode":"WRONG_PASSWORD","description":null,"more":[1]}}', Refusal("WRONG_PASSWORD", "")),
        (b"NOT_ENOUGH_MONEY", Refusal("NOT_ENOUGH_MONEY", "")),
        (b" NOT_ENOUGH_MONEY: balance\r\nis 0 \r\n", Refusal("NOT_ENOUGH_MONEY", "balance is 0")),
        (as_text("X_Y", "z" * 500), Refusal("X_Y", "z" * 200)),
        (as_json("X_Y", "\u202e\u0000\x1b[31mred"), Refusal("X_Y", "[31mred")),
        (b"X_Y: \xff", Refusal("X_Y", "\ufffd")),
    ],
)
def test_a_refusal_is_read_from_all_its_forms_onto_one_line(body, found):
    assert refusals.read(body) == found


@pytest.mark.parametrize(
    "body",
    [
        b"", HTML, b"{}", b"[]", b"null", b'{"error":{}}', b'{"error":{"errorCode":""}}', b'{"error":"INVALID_REQUEST"}',
        b'{"error":{"errorCode":5}}', b"Not found", b"not_found: lower", b"A: x", b"\xff\xfe", b"INVALID REQUEST",
        b'{"trader":[],"hasMore":false}', b"login,positionId\n1,2\n", b'"INVALID_REQUEST"', b"[" * 9_000,
        b'{"error":' * 5_000, b"A" * 81, b"X_Y: " + b"z" * 17_000,
    ],
    ids=lambda body: repr(body[:24]),
)  # fmt: skip
def test_what_carries_no_code_is_no_refusal(body):
    assert refusals.read(body) is None
