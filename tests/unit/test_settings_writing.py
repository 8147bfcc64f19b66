"""The settings of the write path: what they mean, what they are when left out, what is refused and in which words."""

import os
from datetime import timedelta

import pytest
import yaml

from counterfoil import settings
from counterfoil.domain.errors import ConfigurationError
from counterfoil.domain.records import TABLES
from counterfoil.platform_settings import AccountDefaults

KEY = "4n2P0PO3e_-XXdUWVJ3hJ1bKXQzA1v8l9b1rxAvY0yA="
VALID = """\
database: {url: embedded}
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
def load(tmp_path):
    def write_and_load(platform="", crm=""):
        """The settings of `VALID` with more lines in the platform (from line 8) and in `crm`."""
        section = f"crm:\n{_indented(crm, 2)}" if crm else ""
        path = tmp_path / "counterfoil.yaml"
        path.write_text(VALID + _indented(platform, 4) + section)
        return settings.load(path)

    return write_and_load


@pytest.fixture
def refused(load):
    def why(platform="", crm=""):
        with pytest.raises(ConfigurationError) as refusal:
            load(platform, crm)
        assert str(refusal.value).isprintable()
        return str(refusal.value)

    return why


def _indented(text, spaces):
    return "".join(f"{' ' * spaces}{line}\n" for line in text.splitlines())


# --- defaults ---------------------------------------------------------------------------------------------------------


def test_a_platform_that_says_nothing_about_writing_gets_the_documented_defaults(load):
    dumped = load().platforms["live"].model_dump()

    assert {name: dumped[name] for name in ("push", "lease", "unknown", "money", "account_defaults", "put")} == {
        "push": None,
        "lease": timedelta(seconds=30),
        "unknown": {"settle": timedelta(minutes=15), "looks": 2, "between": timedelta(seconds=5)},
        "money": {
            "deposit": {"side": 2, "direction": 0},
            "withdraw": {"side": 2, "direction": 1},
            "credit_in": {"side": 3, "direction": 0},
            "credit_out": {"side": 3, "direction": 1},
            "amount_field": "amount",
            "reference_field": "comment",
        },
        "account_defaults": {},
        "put": "merge",
    }


def test_a_boundary_that_says_nothing_gets_the_documented_defaults(load):
    assert load().crm.model_dump() == {
        "encryption_key": None,
        "platform_choice": "required",
        "allow_sandbox_payouts": False,
        "username": "{registrant}-{number}",
        "passwords": {"length": 16, "symbols": True},
        "owned_fields": (
            *(
                "title",
                "first_name",
                "middle_name",
                "family_name",
                "gender",
                "birth_date",
                "language",
                "mobile",
                "email",
            ),
            *("country", "state", "city", "zip_code", "address", "national", "tax_id"),
        ),
    }


# --- whether a platform is written to ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("push", "crm", "pushes"),
    [
        ("", "", False),
        ("", f"encryption_key: {KEY}", True),
        ("push: false", "", False),
        ("push: false", f"encryption_key: {KEY}", False),
        ("push: true", f"encryption_key: {KEY}", True),
    ],
)
def test_a_platform_is_written_to_as_push_says_and_else_where_there_is_a_key(load, push, crm, pushes):
    loaded = load(push, crm)

    assert loaded.pushes("live") is pushes
    assert yaml.safe_load(settings.show(loaded))["platforms"]["live"]["push"] is pushes


def test_each_platform_has_its_own_push(load, monkeypatch):
    for name, value in (("KIND", "omtrader"), ("BASE_URL", "https://b"), ("USERNAME", "a"), ("PASSWORD", "hunter2")):
        monkeypatch.setenv(f"COUNTERFOIL_PLATFORMS__TEST__{name}", value)
    loaded = load("push: false", f"encryption_key: {KEY}")

    assert (loaded.pushes("live"), loaded.pushes("test")) == (False, True)


def test_writing_without_a_key_that_seals_passwords_is_refused_at_the_line_of_push(refused):
    assert refused("page_size: 100\npush: true") == (
        "counterfoil.yaml line 9: platforms.live.push: passwords are sealed with crm.encryption_key, which is missing;"
        " `counterfoil config key` makes one, or write push: false"
    )


def test_writing_without_a_key_is_refused_by_the_name_of_the_variable_that_asks_for_it(refused, monkeypatch):
    monkeypatch.setenv("COUNTERFOIL_PLATFORMS__LIVE__PUSH", "true")

    assert refused().startswith("COUNTERFOIL_PLATFORMS__LIVE__PUSH: platforms.live.push: passwords are sealed")


def test_a_secret_file_with_the_key_is_enough_for_writing(load, tmp_path):
    (tmp_path / "key").write_text(f"{KEY}\n")

    assert load("push: true", "encryption_key_file: key").pushes("live") is True


# --- values that are taken --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "lease"),
    [
        ("lease: 25s", timedelta(seconds=25)),
        ("lease: 10m", timedelta(minutes=10)),
        ("timeout: 250ms\nlease: 5250ms", timedelta(milliseconds=5250)),
        ("lease: 6s\ntimeout: 1s", timedelta(seconds=6)),
        ("timeout: 25s", timedelta(seconds=30)),
    ],
)
def test_a_lease_may_be_five_seconds_longer_than_a_request_and_at_most_ten_minutes(load, lines, lease):
    assert load(lines).platforms["live"].lease == lease


@pytest.mark.parametrize(("settle", "looks"), [("1s", 2), ("24h", 10)])
def test_unknown_writes_are_believed_lost_as_soon_and_as_late_as_the_limits_say(load, settle, looks):
    unknown = load(f"unknown: {{settle: {settle}, looks: {looks}, between: 250ms}}").platforms["live"].unknown

    assert (unknown.looks, unknown.between) == (looks, timedelta(milliseconds=250))
    assert unknown.settle == {"1s": timedelta(seconds=1), "24h": timedelta(hours=24)}[settle]


def test_a_movement_of_money_may_have_numbers_of_its_own_and_the_others_keep_theirs(load):
    money = load("money: {deposit: {side: 7, direction: 1}, reference_field: _note2}").platforms["live"].money

    assert (money.deposit.side, money.deposit.direction) == (7, 1)
    assert (money.withdraw.side, money.withdraw.direction) == (2, 1)
    assert (money.amount_field, money.reference_field) == ("amount", "_note2")


def test_account_defaults_hold_what_was_given_and_nothing_else(load, monkeypatch):
    monkeypatch.setenv("COUNTERFOIL_PLATFORMS__LIVE__ACCOUNT_DEFAULTS__LEVERAGE", "0")

    defaults = load("account_defaults: {group_id: 79, city: Rome}").platforms["live"].account_defaults

    assert dict(defaults) == {"group_id": 79, "city": "Rome", "leverage": 0}
    with pytest.raises(TypeError):
        defaults["city"] = "Bonn"


def test_every_registrant_may_go_to_a_platform_that_is_configured(load):
    assert load(crm="platform_choice: live").crm.platform_choice == "live"


@pytest.mark.parametrize(
    "template", ["{number}", "{platform}.{registrant}_{number}@x", "{number}-{number}", "a" * 32 + "{number}"]
)
def test_a_login_name_is_made_of_the_number_and_what_else_identifies(load, template):
    assert load(crm=f"username: '{template}'").crm.username == template


@pytest.mark.parametrize("length", [8, 64])
def test_passwords_may_be_as_short_and_as_long_as_the_limits_say(load, length):
    assert load(crm=f"passwords: {{length: {length}, symbols: false}}").crm.passwords.model_dump() == {
        "length": length,
        "symbols": False,
    }


READ_ONLY = (
    *("kyc_status", "external_id", "user_id", "accounts", "created_at", "created_by", "updated_at", "updated_by"),
    *("approved_by", "approval_date", "close_date", "manager_id"),
)


def test_the_crm_may_own_every_field_of_a_client_that_can_be_written(load):
    writable = [name for name in TABLES["clients"].column_names if name not in READ_ONLY]

    assert load(crm=f"owned_fields: [{', '.join(writable)}]").crm.owned_fields == tuple(writable)
    assert len(writable) == len(TABLES["clients"].columns) - len(READ_ONLY)


def test_the_environment_lists_owned_fields_with_commas(load, monkeypatch):
    monkeypatch.setenv("COUNTERFOIL_CRM__OWNED_FIELDS", "email, mobile")

    assert load().crm.owned_fields == ("email", "mobile")


def test_what_is_shown_of_the_write_path_is_a_settings_file_again(load, tmp_path):
    lines = "account_defaults: {group_id: 79}\nunknown: {settle: 90s}\nput: partial\npush: false"
    loaded = load(lines, "owned_fields: [email]\nusername: '{number}'")

    (tmp_path / "again.yaml").write_text(settings.show(loaded).replace("'********'", "hunter2"))

    assert settings.load(tmp_path / "again.yaml") == loaded
    assert yaml.safe_load(settings.show(loaded))["platforms"]["live"]["unknown"]["settle"] == "90s"


# --- values that are refused ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("push:", "push: has no value; give one, or remove the line"),
        ("push: maybe", 'push: "maybe" is not true or false'),
        ("lease: 24s", 'lease: "24s" is too short for timeout: 20s; write at least 25s, or a shorter timeout'),
        ("lease: 601s", 'lease: "601s" is too long; at most 10m'),
        ("lease: 30", 'lease: "30" is not a duration'),
        ("unknown: {settle: 0s}", 'unknown.settle: "0s" is not a duration'),
        ("unknown: {settle: 999ms}", 'unknown.settle: "999ms" is out of range; 1s to 24h'),
        ("unknown: {settle: 25h}", 'unknown.settle: "25h" is out of range; 1s to 24h'),
        ("unknown: {looks: 1}", 'unknown.looks: "1" is too small; at least 2'),
        ("unknown: {looks: 11}", 'unknown.looks: "11" is too large; at most 10'),
        ("unknown: {between: 5}", 'unknown.between: "5" is not a duration'),
        ("unknown: {setle: 1m}", "unknown.setle: unknown key; did you mean settle?"),
        ("money: {deposit: {side: 2}}", "money.deposit.direction: missing"),
        ("money: {deposit: {direction: 0}}", "money.deposit.side: missing"),
        ("money: {deposit: {side: -1, direction: 0}}", 'money.deposit.side: "-1" is too small; at least 0'),
        ("money: {deposit: {side: 2, direction: -1}}", 'money.deposit.direction: "-1" is too small; at least 0'),
        ("money: {deposit: {side: 2, direction: true}}", 'money.deposit.direction: "true" is not a number'),
        (
            "money: {refund: {side: 2, direction: 0}}",
            "money.refund: unknown key; known here: deposit, withdraw, credit_in",
        ),
        ("money: {amount_field: 2x}", 'money.amount_field: "2x" is not the name of a field'),
        ("money: {amount_field: a.b}", 'money.amount_field: "a.b" is not the name of a field'),
        ("money: {amount_field: ''}", "money.amount_field: is not the name of a field; write letters, digits and _"),
        ("money: {amount_field: side}", 'money.amount_field: "side" is sent anyway, with another meaning; write the'),
        ("money: {reference_field: direction}", 'money.reference_field: "direction" is sent anyway, with another'),
        (
            "money: {amount_field: comment}",
            "money.amount_field: amount_field and reference_field are both comment; name two",
        ),
        ("account_defaults: {group_id: 0}", 'account_defaults.group_id: "0" is too small; at least 1'),
        ("account_defaults: {group_id: true}", 'account_defaults.group_id: "true" is not a number'),
        ("account_defaults: {leverage: -1}", 'account_defaults.leverage: "-1" is too small; at least 0'),
        ("account_defaults: {city: 7}", 'account_defaults.city: "7" is not text; put it in quotes'),
        ("account_defaults: {user_password: x}", "account_defaults.user_password: unknown key; known here: group_id,"),
        ("account_defaults: {balance: 1}", "account_defaults.balance: unknown key"),
        ("account_defaults: {username: x}", "account_defaults.username: unknown key"),
        ("account_defaults: [city]", "account_defaults: not a section; write its keys below it"),
        ("put: replace", "put: \"replace\" is not known here; write 'merge' or 'partial'"),
    ],
)
def test_a_wrong_line_about_writing_to_a_platform_is_refused_with_its_place(refused, line, why):
    assert refused(line).startswith(f"counterfoil.yaml line 8: platforms.live.{why}")


@pytest.mark.parametrize("key", AccountDefaults.model_fields)
def test_a_default_of_an_account_that_is_named_has_a_value(refused, key):
    assert f"account_defaults.{key}: has no value; give one" in refused(f"account_defaults: {{{key}: }}")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("deposit", "withdraw"),
        ("deposit", "credit_in"),
        ("deposit", "credit_out"),
        ("withdraw", "credit_in"),
        ("withdraw", "credit_out"),
        ("credit_in", "credit_out"),
    ],
)
def test_two_movements_that_look_alike_are_refused(refused, one, other):
    alike = "{side: 9, direction: 9}"

    assert refused(f"money: {{{one}: {alike}, {other}: {alike}}}") == (
        f"counterfoil.yaml line 8: platforms.live.money.{other}: same side and direction as {one}, so that the two could"
        " not be told apart; change one of them"
    )


def test_a_movement_may_not_take_the_numbers_that_another_has_by_default(refused):
    assert "money.withdraw: same side and direction as deposit" in refused("money: {deposit: {side: 2, direction: 1}}")


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("platform_choice: liv", "platform_choice: names no platform of this file; write required, or one of: live"),
        ("platform_choice: 7", 'platform_choice: "7" is not text; put it in quotes'),
        ("allow_sandbox_payouts: 2", 'allow_sandbox_payouts: "2" is not true or false'),
        ("username: '{registrant}'", 'username: "{registrant}" lacks {number}, without which two accounts would share'),
        (
            "username: '{number}{mail}'",
            'username: "{number}{mail}" has other braces than {registrant}, {number} and {p',
        ),
        ("username: '{number}}'", 'username: "{number}}" has other braces than'),
        ("username: '{number'", 'username: "{number" has other braces than'),
        ("username: '{{number}}'", 'username: "{{number}}" has other braces than'),
        ("username: '{number}!'", 'username: "{number}!" holds a character that a login name may not; write letters'),
        ("username: 'ä{number}'", 'username: "ä{number}" holds a character that a login name may not'),
        ("username: 'a {number}'", 'username: "a {number}" holds a character that a login name may not'),
        ('username: "{number}\\n"', 'username: "{number}?" holds a character that a login name may not'),
        (f"username: '{'a' * 33}{{number}}'", f'username: "{"a" * 33}{{number…" is too long; at most 40 characters'),
        ("passwords: {length: 7}", "passwords.length: is too small; at least 8"),
        ("passwords: {length: 65}", "passwords.length: is too large; at most 64"),
        ("passwords: {symbols: some}", "passwords.symbols: is not true or false"),
        (
            "owned_fields: [frist_name]",
            'owned_fields.0: "frist_name" is not a field of a client; did you mean first_name?',
        ),
        ("owned_fields: [email, zzz]", 'owned_fields.1: "zzz" is not a field of a client; there are: type, status, '),
        ("owned_fields: {email: 1}", "owned_fields: is not a list; write [email, mobile]"),
        ("owned_fields: [[email]]", "owned_fields.0: is not text; put it in quotes"),
        ("owned_fields:", "owned_fields: is not a list; write [email, mobile]"),
    ],
)
def test_a_wrong_line_of_the_boundary_is_refused_with_its_place(refused, line, why):
    assert refused(crm=line).startswith(f"counterfoil.yaml line 9: crm.{why}")


@pytest.mark.parametrize("name", READ_ONLY)
def test_the_crm_cannot_own_what_the_platform_decides(refused, name):
    assert refused(crm=f"owned_fields: [{name}]").endswith(
        f'owned_fields.0: "{name}" is not the CRM\'s to write; remove it'
    )


# --- schema and reload ------------------------------------------------------------------------------------------------


def test_the_schema_describes_the_write_path():
    described = settings.schema()["$defs"]
    platform, money, crm = (
        described[name]["properties"] for name in ("OMTraderSettings", "MoneySettings", "CrmSettings")
    )

    assert platform["push"] == {"type": "boolean", "description": platform["push"]["description"], "title": "Push"}
    assert platform["put"]["enum"] == ["merge", "partial"]
    assert platform["account_defaults"]["$ref"] == "#/$defs/AccountDefaults"
    assert described["AccountDefaults"]["properties"]["group_id"]["minimum"] == 1
    assert described["MovementSettings"]["properties"]["side"]["minimum"] == 0
    assert money["amount_field"]["pattern"] == "^[A-Za-z_][A-Za-z0-9_]*$"
    assert crm["username"]["maxLength"] == 40
    assert "tax_id" in crm["owned_fields"]["items"]["enum"]
    assert "kyc_status" not in crm["owned_fields"]["items"]["enum"]
    assert (described["UnknownSettings"]["properties"]["looks"]["minimum"], "description" in platform["lease"]) == (
        2,
        True,
    )


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        ("", "lease: 1m", "platforms.live.lease"),
        ("", "push: false", "platforms.live.push"),
        ("", "put: partial", "platforms.live.put"),
        ("", "unknown: {settle: 1m}", "platforms.live.unknown.settle"),
        ("", "money: {deposit: {side: 5, direction: 0}}", "platforms.live.money.deposit.side"),
        (
            "account_defaults: {group_id: 79}",
            "account_defaults: {group_id: 80}",
            "platforms.live.account_defaults.group_id",
        ),
        ("", "account_defaults: {city: Rome}", "platforms.live.account_defaults.city"),
    ],
)
def test_a_reload_sees_which_key_of_the_write_path_changed(load, before, after, changed):
    assert settings.changed_keys(load(before), load(after)) == [changed]


def test_a_reload_sees_which_keys_of_the_boundary_changed(load):
    after = load(crm="owned_fields: [email]\npasswords: {length: 20}\nusername: '{number}'")

    assert settings.changed_keys(load(), after) == ["crm.owned_fields", "crm.passwords.length", "crm.username"]
