"""What a settings file is refused for, and in which words: one line, with the place, without a secret."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from counterfoil import settings
from counterfoil.domain.errors import ConfigurationError

KEY = "4n2P0PO3e_-XXdUWVJ3hJ1bKXQzA1v8l9b1rxAvY0yA="
VALID = """\
database:
  url: postgresql://counterfoil@db/counterfoil
  password: hunter2
platforms:
  live:
    kind: omtrader
    base_url: https://api.broker.example
    username: crm-api
    password: hunter2
"""


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch):
    for name in [name for name in os.environ if name.startswith("COUNTERFOIL_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def refused(tmp_path):
    """Why `text` is refused."""

    def why(text: str | bytes, overrides: dict[str, object] | None = None) -> str:
        path = tmp_path / "counterfoil.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(ConfigurationError) as refusal:
            settings.load(path, overrides)
        message = str(refusal.value)
        assert message.isprintable()
        assert "hunter" not in message
        assert refusal.value.__cause__ is None
        return message

    return why


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "counterfoil.yaml: empty; config/counterfoil.yaml shows every key"),
        (b"# nothing\n", "counterfoil.yaml: empty; config/counterfoil.yaml shows every key"),
        (b"\n- a\n", "counterfoil.yaml line 2: not a mapping; write keys such as database: and platforms:"),
        (b"hunter2", "counterfoil.yaml line 1: not a mapping; write keys such as database: and platforms:"),
        (b"a: 1\nb: \xff", "counterfoil.yaml line 2: not UTF-8; save the file as UTF-8"),
        (b"a: 1\nb: \0", "counterfoil.yaml line 2: a control character stands there; remove it"),
        (b'a: "\\0"', "counterfoil.yaml line 1: a: holds a character that is not text"),
        (b'a: "\\ud800"', "counterfoil.yaml line 1: a: holds a character that is not text"),
        (b'a: "\\UFFFFFFFF"', "counterfoil.yaml: not valid YAML"),
        (b"a:\n\tb: 1", "counterfoil.yaml line 2: a tab stands where only spaces may; indent with spaces"),
        (b"a: hunter2: 1", "line 1: a colon stands where none may; check the indentation, or put the value in quotes"),
        (b"a: 1\nhunter2\nb: 1", "counterfoil.yaml line 3: a colon and a space are missing after a key"),
        (b"a: *hunter2", "counterfoil.yaml line 1: an alias has no anchor; put a value that begins with * in quotes"),
        (b"a: @hunter2", "line 1: a value begins with a character that must be quoted; put it in quotes"),
        (b"a: 'hunter2", "counterfoil.yaml line 1: a quote is not closed"),
        (b"a: {b: hunter2", "counterfoil.yaml line 1: a bracket is not closed, or a comma is missing"),
        (b"a: 1\n---\nb: 1", "counterfoil.yaml line 2: a second document begins; one is all there can be"),
        (b"a: &x [*x]", "counterfoil.yaml line 1: a.0."),
        (b"[" * 5000, "counterfoil.yaml: nested too deeply"),
        (
            b"a: !!python/name:os.system hunter2",
            "counterfoil.yaml line 1: a: a tag (a word after !) has no use here; remove it",
        ),
        (b"a: !!int hunter2", "counterfoil.yaml line 1: a: a tag"),
        (b"? [a]\n: 1", "counterfoil.yaml line 1: a key must be plain text"),
        (b"a: 1\nb: 2\na: 3", "counterfoil.yaml line 3: a: written twice, first in line 1; keep one"),
        (b"a: {b: 1,\n b: 2}", "counterfoil.yaml line 2: a.b: written twice, first in line 1; keep one"),
        (b"#" * 300_000, "counterfoil.yaml: larger than 256 KiB; that is not a settings file"),
    ],
)
def test_text_that_is_no_settings_file_is_refused_with_its_line(refused, text, why):
    assert why in refused(text)


def test_aliases_that_multiply_are_refused_quickly(refused):
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
    )

    assert "larger than settings can be, aliases counted each time; write less" in refused(bomb)


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("absent.yaml", "absent.yaml: no such file"),
        (".", ": a directory, not a file"),
        ("nul\0.yaml", "nul?.yaml: cannot be read"),
        ("line\nbreak", "line?break: no such file"),
    ],
)
def test_a_path_that_cannot_be_read_is_named(tmp_path, name, why):
    with pytest.raises(ConfigurationError) as refusal:
        settings.load(tmp_path / name)

    assert str(refusal.value).endswith(why)


def test_a_file_without_permission_says_what_to_do(tmp_path, monkeypatch):
    def deny(*_args, **_kwargs):
        raise PermissionError  # a test run as root is never denied

    monkeypatch.setattr(Path, "open", deny)
    with pytest.raises(ConfigurationError, match="permission denied; let this user read it"):
        settings.load(tmp_path / "counterfoil.yaml")


PLATFORM = [  # a line below `live:`, and what is said about it; the line is line 10 of the file
    ("passwrod: x", "platforms.live.passwrod: unknown key; did you mean password?"),
    ("pasword_file: x", "platforms.live.pasword_file: unknown key; did you mean password_file?"),
    ("stream_urls: wss://x", "platforms.live.stream_urls: unknown key; did you mean stream_url?"),
    (
        "stream_url: wss://x",
        "platforms.live.stream_url: does nothing without stream: true; remove it, or write stream: true",
    ),
    ("stream_url:", "platforms.live.stream_url: has no value; give one, or remove the line"),
    ("stream_url: https://x.example", "stream_url: is not a URL; write wss://host or wss://host:port"),
    (
        "stream_url: wss://x.example/ws/v1",
        "stream_url: may hold no path and no query; write wss://host or wss://host:port",
    ),
    ("stream_url: wss://u:p@x.example", "stream_url: may hold no credentials; they have keys of their own"),
    (
        "stream_url: ws://x.example",
        "stream_url: would send the access token in clear text across a network; write wss://",
    ),
    ("'password:hunter2':", "platforms.live.…: unknown key; "),
    ("<<: {page_size: 1}", "platforms.live.<<: unknown key; "),
    ("pull: {deal: {every: 1s}}", "platforms.live.pull.deal: unknown key; did you mean deals?"),
    ("pull: {deals: {evry: 1s}}", "platforms.live.pull.deals.every: missing (and 1 more)"),
    (
        "pull: {deals: {every: 30s, idle: 10s}}",
        'platforms.live.pull.deals.idle: "10s" is shorter than every: 30s; it is the longest interval: write 30s or more',
    ),
    (
        "pull: {deals: {every: 30s, idle: off}}",
        'platforms.live.pull.deals.idle: "false" is not a duration; write 30s, 5m or 1h',
    ),
    ("pull: {deals: {idle: 5m}}", "platforms.live.pull.deals.every: missing"),
    ("pull: {sweep: {every: 24h, idle: 48h}}", "platforms.live.pull.sweep.idle: unknown key"),
    ("pull: {transactions: {every: 60s, idle: 5m}}", "platforms.live.pull.transactions.idle: unknown key"),
    ("pull: {deals: {every: 30}}", 'platforms.live.pull.deals.every: "30" is not a duration; write 30s, 5m or 1h'),
    ("pull: {deals: {every: '30'}}", 'platforms.live.pull.deals.every: "30" is not a duration; write 30s, 5m or 1h'),
    ("pull: {deals: {every: 1.5h}}", '"1.5h" is not a duration; write 30s, 5m or 1h'),
    ("pull: {deals: {every: 1d}}", '"1d" is not a duration; write 30s, 5m or 1h'),
    ("pull: {deals: {every: 0s}}", '"0s" is not a duration; write 30s, 5m or 1h'),
    ("pull: {deals: {every: 1:30}}", '"1:30" is not a duration; write 30s, 5m or 1h'),
    ("pull: {deals: {every: off}}", '"false" is not a duration; write 30s, 5m or 1h'),
    ("pull: {deals: {every: }}", "platforms.live.pull.deals.every: is not a duration; write 30s, 5m or 1h"),
    ("pull: {deals: {every: 9999999999h}}", "is out of range; more than nothing and at most 8784h"),
    ("pull: {deals: 30s}", 'platforms.live.pull.deals: "30s" is not an interval; write {every: 30s}, or off'),
    ("pull: {deals: true}", '"true" is not an interval; write {every: 30s}, or off'),
    ("pull: {deals: }", "platforms.live.pull.deals: is not an interval; write {every: 30s}, or off"),
    ("pull: [deals]", "platforms.live.pull: not a section; write its keys below it"),
    ("timeout: 20", 'platforms.live.timeout: "20" is not a duration; write 30s, 5m or 1h'),
    ("timeout: 26s", 'platforms.live.timeout: "26s" is too long; at most 25s'),
    ("page_size: 1", 'platforms.live.page_size: "1" is too small; at least 2'),
    ("page_size: 10001", 'platforms.live.page_size: "10001" is too large; at most 10000'),
    ("page_size: many", 'platforms.live.page_size: "many" is not a whole number'),
    ("page_size: 2.5", 'platforms.live.page_size: "2.5" is not a whole number'),
    ("page_size: yes", 'platforms.live.page_size: "true" is not a number'),
    ("rate_limit: {per_second: 0}", 'platforms.live.rate_limit.per_second: "0" is too small; write more than 0'),
    ("rate_limit: {per_second: .inf}", 'per_second: ".inf" is not a number'),
    ("rate_limit: {per_second: inf}", 'per_second: "inf" is not a number'),
    ("rate_limit: {per_second: 1001}", 'per_second: "1001" is too large; at most 1000'),
    ("rate_limit: {per_second: []}", "platforms.live.rate_limit.per_second: is not a number"),
    ("rate_limit: {burst: 0}", 'platforms.live.rate_limit.burst: "0" is too small; at least 1'),
    ("rate_limit: {concurrent: 0}", 'platforms.live.rate_limit.concurrent: "0" is too small; at least 1'),
    ("rate_limit: {concurrent: 65}", 'platforms.live.rate_limit.concurrent: "65" is too large; at most 64'),
    ("deals_path: deals", 'platforms.live.deals_path: "deals" is not a path; write one such as /api/v1/trader/deals'),
    ("deals_path: /deals?page=1", '"/deals?page=1" is not a path; write one such as /api/v1/trader/deals'),
    ("deals_path: /../x", '"/../x" is not a path; write one such as /api/v1/trader/deals'),
    ("ca_file:", "platforms.live.ca_file: has no value; give one, or remove the line"),
    ("ca_file: ''", "platforms.live.ca_file: is not a file that can be read"),
    ("ca_file: /absent/ca.pem", 'platforms.live.ca_file: "/absent/ca.pem" is not a file that can be read'),
    (f"ca_file: /{'x' * 300}", 'x…" is not a file that can be read'),
    ("ca_file: 7", 'platforms.live.ca_file: "7" is not the path of a file'),
    ("push: maybe", 'platforms.live.push: "maybe" is not true or false'),
    ("stream: perhaps", 'platforms.live.stream: "perhaps" is not true or false'),
    ("password_file: /x", "platforms.live.password_file: contradicts password; keep one of the two"),
]


@pytest.mark.parametrize(("line", "why"), PLATFORM)
def test_a_wrong_line_of_a_platform_is_refused_with_place_key_and_remedy(refused, line, why):
    message = refused(f"{VALID}    {line}\n")

    assert message.startswith("counterfoil.yaml line 10: platforms.live.")
    assert why in message


@pytest.mark.parametrize("resource", ["groups", "positions", "orders", "deals"])
def test_a_stream_without_the_polls_that_judge_it_is_refused(refused, resource):
    message = refused(f"{VALID}    stream: true\n    pull: {{{resource}: off}}\n")

    assert message == (
        f"counterfoil.yaml line 10: platforms.live.stream: stream: true needs pull.{resource}, "
        "which brings what the stream misses; give it an interval"
    )


CHANGED = [  # what to replace in the valid file, by what, and what is said
    (
        "kind: omtrader",
        "kind: metatrader",
        'line 6: platforms.live.kind: "metatrader" is not a kind of platform that this version knows; write ',
    ),
    ("    kind: omtrader\n", "", "line 5: platforms.live.kind: missing"),
    ("username: crm-api", "username: 2309", 'line 8: platforms.live.username: "2309" is not text; put it in quotes'),
    ("username: crm-api", "username: a:hunter2", "platforms.live.username: may hold neither a colon nor control"),
    ("username: crm-api", "username: ''", "platforms.live.username: is empty"),
    ("    password: hunter2\n", "", "line 5: platforms.live.password: missing; give password or password_file"),
    ("    password: hunter2", "    password: ''", "line 9: platforms.live.password: is empty"),
    ("    password: hunter2", "    password:", "line 9: platforms.live.password: is not text; put it in quotes"),
    ("    password: hunter2", "    password: 777777", "line 9: platforms.live.password: is not text; put it in quotes"),
    ("    password: hunter2", "    password: [hunter2]", "platforms.live.password: is not text; put it in quotes"),
    ("    password: hunter2", "    password_file: hunter2", "password_file: the file named there: no such file"),
    ("    password: hunter2", "    password_file: /absent/x", "live.password_file: /absent/x: no such file"),
    ("    password: hunter2", "    password_file: /", "live.password_file: /: a directory, not a file"),
    ("    password: hunter2", "    password_file: ''", "live.password_file: is not the path of a file"),
    ("    password: hunter2", "    password_file:", "live.password_file: is not the path of a file"),
    ("    password: hunter2", "    password_file: /dev/null", "live.password_file: /dev/null: the file is empty"),
    ("  live:", "  Live:", "line 5: platforms.Live: not a name for a platform; write lower-case letters"),
    ("  live:", f"  {'x' * 41}:", "not a name for a platform; write lower-case letters, digits, - and _, at most 40"),
    ("  live:", "  '':", "not a name for a platform"),
    (VALID[VALID.index("platforms:") :], "platforms: {}", "line 4: platforms: empty; at least one platform is needed"),
    (VALID[VALID.index("platforms:") :], "", "counterfoil.yaml: platforms: missing"),
    (VALID[VALID.index("platforms:") :], "platforms: [hunter2]", "platforms: not a section; write its keys below it"),
    (VALID[VALID.index("platforms:") :], "platforms: {live: hunter2}", "platforms.live: not a section; write its keys"),
    (
        "url: postgresql://counterfoil@db/counterfoil",
        "url: mysql://hunter2",
        "database.url: is not a database; write postgr",
    ),
    (
        "url: postgresql://counterfoil@db/counterfoil",
        "url: postgresql://a:hunter2@b@c/d",
        "database.url: is not a database",
    ),
    (
        "url: postgresql://counterfoil@db/counterfoil",
        "url: embedded",
        "line 1: database: an embedded database takes no pas",
    ),
    (
        "url: postgresql://counterfoil@db/counterfoil",
        "url: embedded:here",
        "database.url: an embedded database is written",
    ),
    ("counterfoil@db", "counterfoil:hunter3@db", "line 1: database: url holds a password and password is given too"),
    ("/counterfoil\n", "/counterfoil?password=hunter3\n", "url holds a password and password is given too; keep one"),
    ("  password: hunter2\nplat", "  password:\nplat", "line 3: database.password: has no value; give one, or remove"),
    ("  password: hunter2\nplat", "  migrate: maybe\nplat", 'line 3: database.migrate: "maybe" is not true or false'),
    ("  password: hunter2\nplat", "  migrate: 2\nplat", 'line 3: database.migrate: "2" is not true or false'),
]


@pytest.mark.parametrize(("before", "after", "why"), CHANGED)
def test_a_value_that_cannot_work_is_refused(refused, before, after, why):
    assert before in VALID
    assert why in refused(VALID.replace(before, after))


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ("databse: {}", "line 10: databse: unknown key; did you mean database?"),
        ("platform_choice: required", "line 10: platform_choice: unknown key; did you mean platforms?"),
        ("zzz: 1", "line 10: zzz: unknown key; known here: database, platforms, crm, http, log"),
        ("self: 1", "line 10: self: unknown key"),
        ("_env_file: 1", "line 10: _env_file: unknown key"),
        (
            "crm: {encryption_key: hunter2}",
            "line 10: crm.encryption_key: is not an encryption key; `counterfoil config key`",
        ),
        (f"crm: {{encryption_key: {KEY[:-1]}}}", "line 10: crm.encryption_key: is not an encryption key"),
        (f"crm:\n  encryption_key: {KEY}\n  encryption_key_file: /x", "line 12: crm.encryption_key_file: contradicts"),
        ("http: {listen: 9187}", 'line 10: http.listen: "9187" is not text; put it in quotes'),
        ("http: {listen: ':9187'}", 'http.listen: ":9187" is no address to listen on; write 127.0.0.1:9187'),
        ("http: {listen: 'localhost:65536'}", 'http.listen: "localhost:65536" is no address to listen on'),
        ("http: {listen: '::1:80'}", 'http.listen: "::1:80" is no address to listen on'),
        (
            "log: {level: loud}",
            "line 10: log.level: \"loud\" is not known here; write 'debug', 'info', 'warning' or 'error'",
        ),
        ("log: {format: xml}", "line 10: log.format: \"xml\" is not known here; write 'json' or 'console'"),
        ("log: {format: }", "line 10: log.format: has no value; give one, or remove the line"),
        ("log: [info]", "line 10: log: not a section; write its keys below it"),
    ],
)
def test_a_wrong_line_of_another_section_is_refused(refused, lines, why):
    assert why in refused(f"{VALID}{lines}\n")


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ftp://broker.example", "is not a URL; write https://host or https://host:port"),
        ("broker.example", "is not a URL; write https://host or https://host:port"),
        ("https://", "is not a URL; write https://host or https://host:port"),
        ("https://broker.example:99999", "is not a URL; write https://host or https://host:port"),
        ("https://[::1", "is not a URL; write https://host or https://host:port"),
        ("https://bro ker.example", "is not a URL; write https://host or https://host:port"),
        ('"https://broker\\n.example"', "is not a URL; write https://host or https://host:port"),
        ("https://bröker.example", "is not a URL; write https://host or https://host:port"),
        ("https://user:hunter2@broker.example", "may hold no credentials; they have keys of their own"),
        ("https://broker.example/api", "may hold no path and no query; write https://host or https://host:port"),
        ("https://broker.example?", "may hold no path and no query; write https://host or https://host:port"),
        ("'https://broker.example#'", "may hold no path and no query; write https://host or https://host:port"),
        ("http://broker.example", "would send the password in clear text across a network; write https://"),
        ("http://8.8.8.8", "would send the password in clear text across a network; write https://"),
        ("http://134744072", "would send the password in clear text across a network; write https://"),
        ("http://0x08080808", "would send the password in clear text across a network; write https://"),
        ("http://[2606:4700::1111]", "would send the password in clear text across a network; write https://"),
        ("http://[::ffff:8.8.8.8]", "would send the password in clear text across a network; write https://"),
        ("http://sandbox.", "is not a URL; write https://host or https://host:port"),
    ],
)
def test_a_base_url_that_leads_nowhere_or_tells_too_much_is_refused(refused, url, why):
    message = refused(VALID.replace("https://api.broker.example", url))

    assert message == f"counterfoil.yaml line 7: platforms.live.base_url: {why}"


def test_an_authority_for_plain_http_is_refused(refused):
    text = VALID.replace("https://api.broker.example", "http://sandbox")

    assert "platforms.live: ca_file does nothing with http://" in refused(f"{text}    ca_file: {__file__}\n")


def test_several_problems_show_the_first_in_the_file_and_a_count(refused):
    text = VALID.replace("https://api.broker.example", "broker") + "    page_size: 0\n    tiemout: 1s\n"

    message = refused(text)

    assert message.startswith("counterfoil.yaml line 7: platforms.live.base_url: is not a URL")
    assert message.endswith(" (and 2 more)")


def test_a_long_value_is_cut_and_kept_on_one_line(refused):
    message = refused(VALID + '    timeout: "a\\n' + "b" * 100 + '"\n')

    assert f'"a?{"b" * 38}…" is not a duration' in message


@pytest.mark.parametrize(
    ("environment", "why"),
    [
        ({"DATABSE__URL": "x"}, "COUNTERFOIL_DATABSE__URL: databse: unknown key; did you mean database?"),
        ({"CONFIG": "x"}, "COUNTERFOIL_CONFIG: config: unknown key; known here:"),
        ({"": "x"}, "COUNTERFOIL_: …: unknown key; known here:"),
        (
            {"PLATFORMS__live__PASSWRD": "hunter3"},
            "PASSWRD: platforms.live.passwrd: unknown key; did you mean password?",
        ),
        ({"PLATFORMS__live__PASSWORD": ""}, "COUNTERFOIL_PLATFORMS__live__PASSWORD: platforms.live.password: is empty"),
        (
            {"PLATFORMS__live__TIMEOUT": "9"},
            'COUNTERFOIL_PLATFORMS__live__TIMEOUT: platforms.live.timeout: "9" is not a d',
        ),
        ({"PLATFORMS__other__PASSWORD": "x"}, "COUNTERFOIL_PLATFORMS__other__PASSWORD: platforms.other.kind: missing"),
        ({"HTTP": "{}"}, "COUNTERFOIL_HTTP: http: not a section; write its keys below it"),
        ({"HTTP": "x", "HTTP__LISTEN": "x"}, "COUNTERFOIL_HTTP__LISTEN: http.listen: set twice in the environment"),
        (
            {"LOG__LEVEL": "info", "LOG__level": "debug"},
            "COUNTERFOIL_LOG__level: log.level: set twice in the environment",
        ),
        ({"LOG__LEVEL": "\udcff"}, "COUNTERFOIL_LOG__LEVEL: log.level: "),
        (
            {"DATABASE__PASSWORD_FILE": "/absent/x"},
            "DATABASE__PASSWORD_FILE: database.password_file: /absent/x: no such",
        ),
        (
            {"DATABASE__PASSWORD": "hunter3", "DATABASE__PASSWORD_FILE": "/x"},
            "COUNTERFOIL_DATABASE__PASSWORD_FILE: database.password_file: contradicts password; keep one of the two",
        ),
    ],
)
def test_a_wrong_variable_is_refused_by_its_name(refused, monkeypatch, environment, why):
    for name, value in environment.items():
        monkeypatch.setenv(f"COUNTERFOIL_{name}", value)

    assert why in refused(VALID)


def test_what_the_file_lacks_is_asked_of_the_file(refused, monkeypatch):
    monkeypatch.setenv("COUNTERFOIL_PLATFORMS__LIVE__PASSWORD", "hunter3")

    message = refused(VALID.replace("    username: crm-api\n", ""))

    assert message == "counterfoil.yaml line 5: platforms.live.username: missing"


def test_a_wrong_option_is_refused_as_the_command_line_s(refused):
    assert refused(VALID, {"http": {"listen": "9187"}}).startswith('command line: http.listen: "9187" is no address')


def test_a_secret_file_that_is_not_text_is_refused(refused, tmp_path):
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    text = VALID.replace("    password: hunter2", f"    password_file: {tmp_path}/binary")

    assert refused(text).endswith("binary: not UTF-8 text")


def _outcome(path: Path, text: str) -> None:
    """Loads, or says in one printable line why not; anything else fails the test."""
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        settings.load(path)
    except ConfigurationError as refusal:
        assert str(refusal).isprintable()  # noqa: PT017 - loading is allowed too


ANY_FILE = hypothesis_settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)


@ANY_FILE
@given(text=st.text(max_size=200) | st.text(alphabet="ab:- \n\t{}[]&*!|>'\"%@`#,?~0\\<", max_size=80))
def test_any_text_is_settings_or_refused(tmp_path, text):
    _outcome(tmp_path / "counterfoil.yaml", text)


VALUES = st.recursive(
    st.sampled_from(["off", "30s", "30", "~", "''", "1.5", "-1", "'\\x00'", "!!int x", "[a]", "https://x", "embedded"])
    | st.text(alphabet="aB1_-:/.@[]%", max_size=12).map("'{}'".format),
    lambda inner: st.dictionaries(
        st.sampled_from(["url", "every", "deals", "pull", "password", "password_file", "kind", "live", "<<"]), inner
    ).map(lambda section: "{" + ", ".join(f"{key}: {value}" for key, value in section.items()) + "}"),
    max_leaves=6,
)


@ANY_FILE
@given(key=st.sampled_from(["database", "platforms", "crm", "http", "log", "other"]), value=VALUES, more=VALUES)
def test_any_value_under_any_key_is_settings_or_refused(tmp_path, key, value, more):
    _outcome(tmp_path / "counterfoil.yaml", f"{VALID.replace('crm-api', more)}\n{key}: {value}\n")
    _outcome(tmp_path / "counterfoil.yaml", f"{VALID}    pull: {value}\n    rate_limit: {more}\n")
    _outcome(
        tmp_path / "counterfoil.yaml", f"{VALID}    account_defaults: {value}\n    money: {more}\n    push: {value}\n"
    )
    _outcome(
        tmp_path / "counterfoil.yaml", f"{VALID}crm: {{owned_fields: {value}, username: {more}, passwords: {value}}}\n"
    )
    _outcome(tmp_path / "counterfoil.yaml", f"{key}: {value}\nplatforms: {{live: {more}}}\n")
