import pytest

from counterfoil.domain.outcome import Body, Silence, Verdict, classify
from counterfoil.domain.references import recognise

READS = {Verdict.DONE, Verdict.TRANSIENT, Verdict.RATE_LIMITED, Verdict.PERMANENT, Verdict.LOG_IN}
READS |= {Verdict.CONFIGURATION_FAULT}
WRITES = {Verdict.ACCEPTED, Verdict.REJECTED, Verdict.NOT_SENT, Verdict.UNKNOWN, Verdict.CONFLICT, Verdict.LOG_IN}
WRITES |= {Verdict.CONFIGURATION_FAULT}

# Statuses of the table in the architecture; whatever is not in it is transient for a read, unknown for a write.
BY_STATUS = {
    **dict.fromkeys((400, 404, 405, 410, 422), (Verdict.PERMANENT, Verdict.REJECTED)),
    401: (Verdict.LOG_IN, Verdict.LOG_IN),
    403: (Verdict.CONFIGURATION_FAULT, Verdict.CONFIGURATION_FAULT),
    409: (Verdict.TRANSIENT, Verdict.CONFLICT),
    **dict.fromkeys((408, 500, 502, 503, 504), (Verdict.TRANSIENT, Verdict.UNKNOWN)),
    **dict.fromkeys((425, 429), (Verdict.RATE_LIMITED, Verdict.NOT_SENT)),
}
ANYTHING_ELSE = (Verdict.TRANSIENT, Verdict.UNKNOWN)


@pytest.mark.parametrize("body", Body)
@pytest.mark.parametrize(
    ("silence", "read", "write"),
    [
        (Silence.NOT_CONNECTED, Verdict.TRANSIENT, Verdict.NOT_SENT),
        (Silence.INTERRUPTED, Verdict.TRANSIENT, Verdict.UNKNOWN),
    ],
)
def test_silence_is_not_sent_only_when_no_byte_left(silence, read, write, body):
    assert classify(silence, body, writing=False) is read
    assert classify(silence, body, writing=True) is write


@pytest.mark.parametrize(
    ("body", "read", "write"),
    [
        (Body.UNDERSTOOD, Verdict.DONE, Verdict.ACCEPTED),
        (Body.UNREADABLE, Verdict.TRANSIENT, Verdict.UNKNOWN),
    ],
)
@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_a_good_status_means_what_its_body_says(status, body, read, write):
    assert classify(status, body, writing=False) is read
    assert classify(status, body, writing=True) is write


@pytest.mark.parametrize(("status", "verdicts"), BY_STATUS.items())
def test_each_status_of_the_table_has_its_verdict(status, verdicts):
    assert (classify(status, writing=False), classify(status, writing=True)) == verdicts


@pytest.mark.parametrize("body", Body)
def test_a_bad_status_is_believed_whatever_the_body_says(body):
    assert classify(500, body, writing=True, code=200) is Verdict.UNKNOWN
    assert classify(404, body, writing=False, code=200) is Verdict.PERMANENT


def test_every_other_status_is_transient_to_read_and_unknown_to_write():
    others = [status for status in range(100, 600) if status not in BY_STATUS and not 200 <= status < 300]
    assert len(others) == 500 - 100 - len(BY_STATUS)
    assert {(classify(status, writing=False), classify(status, writing=True)) for status in others} == {ANYTHING_ELSE}


def test_a_refusal_under_a_good_status_counts_by_its_code():
    for code in (*range(100, 600), None, 0, -1, 10**30):
        verdicts = tuple(classify(200, Body.REFUSED, writing=writing, code=code) for writing in (False, True))
        assert verdicts == BY_STATUS.get(code, ANYTHING_ELSE), code


def test_no_refusal_is_ever_taken_for_done():
    verdicts = {classify(200, Body.REFUSED, writing=writing, code=code) for writing in (0, 1) for code in range(600)}
    assert not verdicts & {Verdict.DONE, Verdict.ACCEPTED}


def test_reads_and_writes_get_only_verdicts_of_their_own():
    signals = [*Silence, *range(100, 600)]
    reads = {classify(signal, body, writing=False) for signal in signals for body in Body}
    writes = {classify(signal, body, writing=True) for signal in signals for body in Body}
    assert (reads, writes) == (READS, WRITES)


@pytest.mark.parametrize("text", ["cf-abcd", "cf-" + "a1" * 14])
@pytest.mark.parametrize("around", ["{}", "payment {} thanks", "({})", "ref:{};", "ä {}", "\n{}\n"])
def test_a_reference_of_ours_is_recognised_inside_free_text(text, around):
    assert recognise(around.format(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "cf-",
        "cf-abc",
        "cf-" + "a" * 29,
        "xcf-abcd",
        "-cf-abcd",
        "cf-abcd-",
        "cf-ABCD",
        "CF-abcd",
        "cf-abcdé",
        "écf-abcd",
    ],
)
def test_what_only_resembles_a_reference_is_not_one(text):
    assert recognise(text) is None


def test_of_several_references_the_first_counts():
    assert recognise("cf-first cf-second") == "cf-first"


def test_the_good_statuses_end_before_300():
    assert classify(299, Body.UNDERSTOOD, writing=True) is Verdict.ACCEPTED
    assert classify(300, Body.UNDERSTOOD, writing=True) is Verdict.UNKNOWN
    assert classify(199, Body.UNDERSTOOD, writing=True) is Verdict.UNKNOWN
