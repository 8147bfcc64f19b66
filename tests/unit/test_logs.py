"""Lines of the log: one object each, exact values, no secrets, and never a reason to stop."""

import errno
import io
import json
import logging
import subprocess
import sys
import textwrap
import warnings
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from pathlib import PurePosixPath
from uuid import UUID

import pytest
import structlog

from counterfoil.domain.errors import ConfigurationError
from counterfoil.observe import events, logs


@pytest.fixture(autouse=True)
def logging_as_it_was():
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()


@pytest.fixture
def log():
    """A stream that collects JSON lines of every level."""
    stream = io.StringIO()
    logs.configure("json", "info", stream)
    return stream


def line(stream):
    (only,) = stream.getvalue().splitlines()
    return json.loads(only)


def shown(stream, value):
    """What becomes of a value in the log."""
    events.emit(events.PLATFORM_UNEXPECTED, reason=value)
    return line(stream)["reason"]


class Terminal(io.StringIO):
    def isatty(self):
        return True


class FullDisk(io.StringIO):
    def write(self, _):
        raise OSError(errno.ENOSPC, "No space left on device")


class Colour(Enum):
    RED = "red"


def failure(message):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the error is the product here
        raise ValueError(message)
    return caught.value


def test_a_line_is_one_object_that_begins_with_time_level_and_event(log):
    events.emit(events.LEASE_LOST, holder="b", platform="live")
    assert list(line(log)) == ["timestamp", "level", "event", "holder", "platform"]


def test_the_time_is_utc_with_microseconds(log):
    events.emit(events.DAEMON_READY)
    stamp = line(log)["timestamp"]
    assert datetime.strptime(stamp, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC) <= datetime.now(UTC)
    assert len(stamp) == len("2026-01-02T03:04:05.000006Z")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (7, 7),
        (0.1234567, 0.123457),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        (Decimal("1.10"), "1.10"),
        (Decimal("12345678901234567890.123456789"), "12345678901234567890.123456789"),
        (datetime(2026, 1, 2, 3, 4, 5, 6, timezone(timedelta(hours=2))), "2026-01-02T01:04:05.000006Z"),
        (date(2026, 1, 2), "2026-01-02"),
        (timedelta(minutes=1, milliseconds=500), 60.5),
        (Colour.RED, "red"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (PurePosixPath("/etc/x"), "/etc/x"),
        (("a", Decimal(1)), ["a", "1"]),
        ({"a": {1: Decimal("0.5")}}, {"a": {"1": "0.5"}}),
        (b"body", "<bytes>"),
        (object(), "<object>"),
    ],
)
def test_a_value_is_shown_exactly_or_by_its_class(log, value, expected):
    assert shown(log, value) == expected


def test_a_number_too_long_to_print_is_told_by_its_length(log):
    assert shown(log, 1 << 20000) == "<number of 20001 bits>"


def test_a_long_list_is_cut_and_says_so(log):
    assert shown(log, list(range(60)))[-2:] == [49, "and 10 more"]


def test_a_bottomless_value_is_cut(log):
    bottomless: list[object] = []
    bottomless.append(bottomless)
    assert "<list>" in json.dumps(shown(log, bottomless))


def test_a_long_text_is_cut(log):
    assert shown(log, "x" * 100_000) == "x" * 999 + "…"


@pytest.mark.parametrize("value", ["two\nlines", "a\r\nb", "a\u2028b", "a\x00b", "\ud800"])
def test_no_value_breaks_the_line(log, value):
    assert shown(log, value) == value


def test_an_exception_is_its_class_and_one_line(log):
    assert shown(log, failure("first\n  second")) == "ValueError: first second"


def test_an_exception_without_words_is_its_class(log):
    assert shown(log, failure("")) == "ValueError"


def test_a_group_of_exceptions_is_told_by_those_in_it(log):
    group = ExceptionGroup("g", [failure("a"), ExceptionGroup("h", [failure(c) for c in "bcde"])])
    assert shown(log, group) == "ValueError: a; ValueError: b; ValueError: c; ValueError: d; and 1 more"


def test_a_stack_is_shown_at_debug_without_any_source_or_value():
    stream = io.StringIO()
    logs.configure("json", "debug", stream)
    events.emit(events.PLATFORM_UNEXPECTED, reason=failure("a"))
    (frame,) = line(stream)["stack"]
    assert frame.startswith(__file__)
    assert frame.endswith(" failure")


def test_no_stack_is_shown_above_debug(log):
    events.emit(events.PLATFORM_UNEXPECTED, reason=failure("a"))
    assert "stack" not in line(log)


def test_events_below_the_level_are_not_written(log):
    events.emit(events.PULL_STARTED)
    assert log.getvalue() == ""


def test_a_level_that_does_not_exist_is_refused():
    with pytest.raises(ConfigurationError, match=r"log\.level: 'loud'"):
        logs.configure("json", "loud")


def test_configuring_again_replaces_what_was(log):
    second = io.StringIO()
    logs.configure("json", "info", second)
    logging.getLogger("lib").warning("once")
    assert log.getvalue() == ""
    assert line(second)["message"] == "once"


# --- secrets ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer hunter2",
        "sent bearer  hunter2.",
        "Authorization: Basic aHVudGVyMg==hunter2",
        "authorization=Basic%20hunter2",
        "postgresql://counterfoil:hunter2@db:5432/x",
        "postgresql://counterfoil:hun/ter2@hunter2@db:5432/x",
        "https://hunter2@host/path",
        "wss://host/stream?token=hunter2",
        "wss://host/stream?a=1&access_token=hunter2&b=2",
        "GET /x?api_key=hunter2 failed",
        "host=db password=hunter2 user=x",
        "password = 'hunter2 hunter2'",
        '{"password": "hunter2", "a": 1}',
        '{"password":"a\\"hunter2"}',
        '"{\\"userPassword\\":\\"hunter2\\"}"',
        "{'token': 'hunter2'}",
        '{"secret": hunter2}',
        '{"password": "hunter2',
        "jwt eyJhbGciOi.eyJzdWIi.hunter2 expired",
    ],
)
def test_a_credential_in_a_text_is_masked(log, text):
    masked = shown(log, text)
    assert "hunter2" not in masked
    assert "***" in masked


@pytest.mark.parametrize(
    "name", ["password", "user_password", "accessToken", "client-secret", "Authorization", "api_key"]
)
def test_a_field_with_a_secret_name_is_masked_whatever_it_holds(log, name):
    assert shown(log, {"deep": [{name: {"a": "hunter2"}}]}) == {"deep": [{name: "***"}]}


def test_a_credential_in_an_exception_is_masked(log):
    assert shown(log, failure("postgresql://a:hunter2@db")) == "ValueError: postgresql://***@db"


@pytest.mark.parametrize(
    "text",
    [
        "platforms.live.password_file: cannot be read",
        "the token expired; logging in again",
        "GET https://host:8443/api/v1/deals?from=1&limit=500 answered 502",
        "mail to a@b or see https://host/path",
        "keys 1 to 5",
    ],
)
def test_a_text_without_a_credential_stays_as_it_is(log, text):
    assert shown(log, text) == text


# --- libraries --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["httpx", "alembic.runtime", "aiohttp.server", "alembic", "sqlalchemy.pool"])
def test_a_warning_of_a_library_becomes_an_event(log, name):
    logging.getLogger(name).warning("%s is slow", "it")
    said = line(log)
    assert (said["level"], said["event"], said["logger"], said["message"], said["error"]) == (
        "warning",
        "library.logged",
        name,
        "it is slow",
        None,
    )


def test_an_error_of_a_library_becomes_an_event_without_a_traceback(log):
    logging.getLogger("lib").error("broke", exc_info=failure("a\nb"))
    said = line(log)
    assert (said["level"], said["event"], said["message"]) == ("error", "library.failed", "broke")
    assert said["error"] == "ValueError: a b"


@pytest.mark.parametrize("level", ["debug", "info"])
def test_request_lines_of_the_http_client_never_appear(level):
    stream = io.StringIO()
    logs.configure("json", level, stream)
    logging.getLogger("httpx").info("HTTP Request: GET https://host?token=hunter2")
    logging.getLogger("httpcore.connection").debug("connect_tcp.started")
    assert stream.getvalue() == ""


def test_a_level_set_on_the_http_client_before_does_not_bring_them_back():
    logging.getLogger("httpx").setLevel(logging.DEBUG)
    stream = io.StringIO()
    logs.configure("json", "debug", stream)
    logging.getLogger("httpx").info("HTTP Request: GET https://host")
    assert stream.getvalue() == ""


def test_a_library_that_formats_wrongly_is_still_heard(log):
    root = logging.getLogger()
    # The test runner's own handlers insist on the format.
    root.handlers[:] = [handler for handler in root.handlers if isinstance(handler, logs._LibraryHandler)]
    logging.getLogger("lib").warning("%d rows", "many")
    assert line(log)["message"] == "%d rows"


def test_a_python_warning_becomes_an_event(log):
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=False)
        logs.configure("json", "info", log)
        warnings.warn("old ways", UserWarning, stacklevel=1)
    said = line(log)
    assert said["logger"] == "py.warnings"
    assert "old ways" in said["message"]


# --- terminal and stream ----------------------------------------------------------------------------------------------


def test_a_terminal_gets_columns():
    stream = Terminal()
    logs.configure(None, "info", stream)
    events.emit(events.LEASE_LOST, holder="b")
    assert "lease.lost" in stream.getvalue()
    assert not stream.getvalue().startswith("{")


def test_anything_but_a_terminal_gets_json():
    stream = io.StringIO()
    logs.configure(None, "info", stream)
    events.emit(events.LEASE_LOST, holder="b")
    assert line(stream)["holder"] == "b"


@pytest.mark.parametrize("value", ["a\nb", "\x1b[2Jgone", "a\u2028b"])
def test_a_value_cannot_drive_the_terminal_or_forge_a_line(value):
    stream = io.StringIO()
    logs.configure("console", "info", stream)
    events.emit(events.PLATFORM_UNEXPECTED, reason=value)
    assert len(stream.getvalue().splitlines()) == 1
    assert "\x1b" not in stream.getvalue()


def test_columns_show_a_stack_at_debug():
    stream = io.StringIO()
    logs.configure("console", "debug", stream)
    events.emit(events.PLATFORM_UNEXPECTED, reason=failure("a"))
    assert stream.getvalue().splitlines()[-1].endswith(" failure")


def test_a_closed_stream_does_not_stop_the_work():
    stream = io.StringIO()
    logs.configure("json", "info", stream)
    stream.close()
    assert events.emit(events.DAEMON_READY) is None


def test_a_full_disk_does_not_stop_the_work():
    logs.configure("json", "info", FullDisk())
    assert events.emit(events.DAEMON_READY) is None


def test_a_reader_that_went_away_changes_neither_the_work_nor_the_exit_code():
    program = textwrap.dedent("""
        import os, sys
        from counterfoil.observe import events, logs
        reading, writing = os.pipe()
        os.close(reading)
        os.dup2(writing, 2)
        logs.configure("json", "info")
        for _ in range(3):
            events.emit(events.DAEMON_READY)
        print("worked")
    """)
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=False, text=True)
    assert (done.returncode, done.stdout) == (0, "worked\n")
