"""The settings of a cTrader platform: what they mean, what is refused and in which words, and how both kinds live together."""

import os
import re
from datetime import timedelta
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError

from counterfoil import settings
from counterfoil.ctrader_settings import CTraderAccountDefaults, CTraderPullSettings, CTraderSettings
from counterfoil.domain.errors import ConfigurationError
from counterfoil.platform_settings import AccountDefaults, OMTraderSettings, PullSettings
from counterfoil.setting_values import DURATION_PATTERN

EXAMPLE = Path(__file__).parents[2] / "config" / "counterfoil.yaml"
KEY = "4n2P0PO3e_-XXdUWVJ3hJ1bKXQzA1v8l9b1rxAvY0yA="
CTRADER = """\
database: {url: embedded}
platforms:
  ct-live:
    kind: ctrader
    base_url: https://live-broker.webapi.ctrader.example:8443
    manager_login: 30041
    password: hunter2
    broker_name: Broker & Sons
    environment_name: live
"""
OMTRADER = """\
  om:
    kind: omtrader
    base_url: https://api.broker.example
    username: crm-api
    password: hunter2
"""
BOTH = CTRADER + OMTRADER
ONLY_OMTRADER = CTRADER[: CTRADER.index("  ct-live:")] + OMTRADER


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch):
    for name in [name for name in os.environ if name.startswith("COUNTERFOIL_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def load(tmp_path):
    def write_and_load(text=CTRADER):
        (tmp_path / "counterfoil.yaml").write_text(text, encoding="utf-8")
        return settings.load(tmp_path / "counterfoil.yaml")

    return write_and_load


@pytest.fixture
def refused(load):
    """Why `text` is refused: one line without a secret."""

    def why(text):
        with pytest.raises(ConfigurationError) as refusal:
            load(text)
        message = str(refusal.value)
        assert message.isprintable()
        assert "hunter" not in message
        assert refusal.value.__cause__ is None
        return message

    return why


def more(lines):
    """`CTRADER` with more keys in the platform, from line 10."""
    return CTRADER + "".join(f"    {line}\n" for line in lines.splitlines())


# --- what is taken ----------------------------------------------------------------------------------------------------


def test_a_short_section_gets_the_documented_defaults(load):
    platform = load().platforms["ct-live"]

    assert isinstance(platform, CTraderSettings)
    assert platform.model_dump(exclude={"pull", "password"}) == {
        "kind": "ctrader",
        "base_url": "https://live-broker.webapi.ctrader.example:8443",
        "manager_login": 30041,
        "broker_name": "Broker & Sons",
        "environment_name": "live",
        "ca_file": None,
        "timeout": timedelta(seconds=20),
        "lease": timedelta(seconds=30),
        "rate_limit": {"per_second": 5.0, "burst": 10, "concurrent": 4, "writes_per_hour": 1000},
        "push": None,
        "unknown": {"settle": timedelta(minutes=15), "looks": 2, "between": timedelta(seconds=5)},
        "account_defaults": {},
    }


def test_every_resource_has_a_default_interval(load):
    assert {name: int(pull.every.total_seconds()) for name, pull in load().platforms["ct-live"].pull.items()} == {
        "accounts": 60,
        "positions": 60,
        "deals": 60,
        "transactions": 60,
        "groups": 3600,
        "symbols": 3600,
        "deposit_assets": 3600,
        "subaccounts": 300,
        "clients": 300,
        "sweep": 86400,
    }


def test_a_resource_may_be_off_or_asked_for_more_often_than_the_vendor_likes(load):
    pull = load(more("pull: {subaccounts: off, positions: {every: 1s}}")).platforms["ct-live"].pull

    assert "subaccounts" not in pull
    assert (pull["positions"].every, pull["deals"].every) == (timedelta(seconds=1), timedelta(seconds=60))


@pytest.mark.parametrize("name", ["live", "demo", "live2", "0", "a_b-c", "x" * 40])
def test_an_environment_has_a_short_name(load, name):
    text = CTRADER.replace("environment_name: live", f"environment_name: '{name}'")

    assert load(text).platforms["ct-live"].environment_name == name


@pytest.mark.parametrize("number", [1, 1_000_000])
def test_as_few_and_as_many_writes_an_hour_as_the_limits_say(load, number):
    limit = load(more(f"rate_limit: {{writes_per_hour: {number}}}")).platforms["ct-live"].rate_limit

    assert (limit.writes_per_hour, limit.burst) == (number, 10)


def test_account_defaults_hold_what_was_given_and_nothing_else(load):
    given_ = {"groupName": "standard", "leverageInCents": 1, "accessRights": "CLOSE_ONLY", "swapFree": False}

    defaults = load(more(f"account_defaults: {given_}")).platforms["ct-live"].account_defaults

    assert dict(defaults) == given_
    with pytest.raises(TypeError):
        defaults["groupName"] = "vip"


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("accountType", ["HEDGED", "NETTED", "SPREAD_BETTING"]),
        ("totalMarginCalculationType", ["MAX", "SUM", "NET"]),
        ("accessRights", ["FULL_ACCESS", "CLOSE_ONLY", "NO_TRADING", "NO_LOGIN"]),
    ],
)
def test_an_account_default_takes_each_of_the_vendor_s_words(load, key, words):
    taken = [
        load(more(f"account_defaults: {{{key}: {word}}}")).platforms["ct-live"].account_defaults[key] for word in words
    ]

    assert taken == words


def test_settings_cannot_be_changed(load):
    platform = load().platforms["ct-live"]

    with pytest.raises(ValidationError):
        platform.manager_login = 1
    with pytest.raises(TypeError):
        platform.pull["deals"] = timedelta(1)


def test_both_kinds_live_in_one_file_and_everybody_may_go_to_either(load):
    loaded = load(f"{BOTH}crm: {{platform_choice: ct-live, owned_fields: [email]}}\n")

    assert {name: type(platform) for name, platform in loaded.platforms.items()} == {
        "ct-live": CTraderSettings,
        "om": OMTraderSettings,
    }
    assert (loaded.crm.platform_choice, loaded.crm.owned_fields) == ("ct-live", ("email",))
    assert set(OMTraderSettings.model_fields) - set(CTraderSettings.model_fields) == {
        *("username", "deals_path", "page_size", "money", "put", "stream", "stream_url"),
    }


# --- the kind ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "spoken"),
    [
        ("metatrader", '"metatrader" '),
        ("cTrader", '"cTrader" '),
        ("ctrader ", '"ctrader " '),
        ("", ""),
        ("7", '"7" '),
        ('"a\\nb"', '"a?b" '),
    ],
)
def test_another_kind_is_refused_with_its_line_and_the_kinds_that_there_are(refused, kind, spoken):
    written = kind if kind.startswith('"') or kind.isalnum() else f"'{kind}'"

    assert refused(BOTH.replace("kind: ctrader", f"kind: {written}")) == (
        f"counterfoil.yaml line 4: platforms.ct-live.kind: {spoken}"
        "is not a kind of platform that this version knows; write ctrader or omtrader"
    )


@pytest.mark.parametrize("kind", ["", "~", "[ctrader]", "{ctrader: 1}", "[hunter2]", "true"])
def test_a_kind_that_is_no_word_is_refused_with_the_kinds_that_there_are(refused, kind):
    message = refused(CTRADER.replace("kind: ctrader", f"kind: {kind}"))

    assert message.startswith("counterfoil.yaml line 4: platforms.ct-live.kind: ")
    assert message.endswith("is not a kind of platform that this version knows; write ctrader or omtrader")


@pytest.mark.parametrize("section", ["ct-live:", "ct-live: {}", "ct-live: {kin: ctrader}", "ct-live: {password: x}"])
def test_a_missing_kind_is_asked_for_at_the_line_of_the_platform(refused, section):
    text = f"{ONLY_OMTRADER}  {section}\n"

    assert refused(text) == "counterfoil.yaml line 8: platforms.ct-live.kind: missing; write ctrader or omtrader"


@pytest.mark.parametrize("section", ["ctrader", "7", "true", "[kind]", "[{kind: ctrader}]"])
def test_a_platform_that_is_no_section_is_refused(refused, section):
    assert refused(f"{ONLY_OMTRADER}  ct-live: {section}\n") == (
        "counterfoil.yaml line 8: platforms.ct-live: not a section; write its keys below it"
    )


def test_a_kind_in_the_environment_is_refused_by_the_name_of_the_variable(refused, monkeypatch):
    monkeypatch.setenv("COUNTERFOIL_PLATFORMS__CT-LIVE__KIND", "mt5")

    assert refused(CTRADER).startswith('COUNTERFOIL_PLATFORMS__CT-LIVE__KIND: platforms.ct-live.kind: "mt5" is not a')


@pytest.mark.parametrize("name", ["kind", "ctrader", "omtrader", "ct_live", "0"])
def test_a_platform_and_a_wrong_key_may_be_called_like_a_kind(refused, name):
    message = refused(CTRADER.replace("ct-live", f"'{name}'") + "    ctrader: x\n")

    assert message.startswith(f"counterfoil.yaml line 10: platforms.{name}.ctrader: unknown key")


# --- keys of the other kind -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", sorted({*OMTraderSettings.model_fields} - {*CTraderSettings.model_fields}))
def test_a_key_of_the_other_kind_is_unknown_in_a_ctrader_platform(refused, key):
    message = refused(more(f"{key}: x"))

    assert message.startswith(
        f"counterfoil.yaml line 10: platforms.ct-live.{key}: unknown key, which only kind omtrader has; known here: kind, "
    )
    assert message.endswith("environment_name, password_file")


@pytest.mark.parametrize("key", ["manager_login", "broker_name", "environment_name"])
def test_a_key_of_ctrader_is_unknown_in_a_platform_of_the_other_kind(refused, key):
    assert refused(f"{BOTH}    {key}: x\n").startswith(
        f"counterfoil.yaml line 15: platforms.om.{key}: unknown key, which only kind ctrader has; known here: kind, "
    )


@pytest.mark.parametrize(
    ("section", "ours", "theirs"),
    [
        ("pull", CTraderPullSettings, PullSettings),
        ("account_defaults", CTraderAccountDefaults, AccountDefaults),
    ],
)
def test_what_only_one_kind_has_in_a_section_is_refused_in_the_other(refused, section, ours, theirs):
    for key in {*theirs.model_fields} - {*ours.model_fields}:
        assert (
            f"line 10: platforms.ct-live.{section}.{key}: unknown key, which only kind omtrader has; known"
            in refused(more(f"{section}: {{{key}: off}}"))
        )
    for key in {*ours.model_fields} - {*theirs.model_fields}:
        assert f"line 15: platforms.om.{section}.{key}: unknown key, which only kind ctrader has; known" in refused(
            f"{BOTH}    {section}: {{{key}: off}}\n"
        )


def test_writes_an_hour_are_not_counted_for_the_other_kind(refused):
    assert refused(f"{BOTH}    rate_limit: {{writes_per_hour: 5}}\n") == (
        "counterfoil.yaml line 15: platforms.om.rate_limit.writes_per_hour: unknown key, which only kind ctrader has;"
        " known here: per_second, burst, concurrent"
    )


# --- values that are refused ------------------------------------------------------------------------------------------

LINES = [  # a line below the platform, and what is said of it; the line is line 10 of the file
    ("passwrod: x", "passwrod: unknown key; did you mean password?"),
    ("pasword_file: x", "pasword_file: unknown key; did you mean password_file?"),
    ("zzz: x", "zzz: unknown key; known here: kind, base_url, password, "),
    ("'[key]': x", "…: unknown key; known here: kind, "),
    ("pull: {deal: {every: 1m}}", "pull.deal: unknown key; did you mean deals?"),
    ("pull: {deals: {evry: 1m}}", "pull.deals.every: missing (and 1 more)"),
    ("pull: {deals: 60s}", 'pull.deals: "60s" is not an interval; write {every: 30s}, or off'),
    ("pull: {deals: {every: 60}}", 'pull.deals.every: "60" is not a duration; write 30s, 5m or 1h'),
    ("pull: [deals]", "pull: not a section; write its keys below it"),
    ("rate_limit: {writes_per_hour: 0}", 'rate_limit.writes_per_hour: "0" is too small; at least 1'),
    ("rate_limit: {writes_per_hour: 1000001}", 'writes_per_hour: "1000001" is too large; at most 1000000'),
    ("rate_limit: {writes_per_hour: yes}", 'rate_limit.writes_per_hour: "true" is not a number'),
    ("rate_limit: {writes_per_hour: 1.5}", 'rate_limit.writes_per_hour: "1.5" is not a whole number'),
    ("rate_limit: {concurrent: 65}", 'rate_limit.concurrent: "65" is too large; at most 64'),
    ("rate_limit: {write_per_hour: 5}", "write_per_hour: unknown key; did you mean writes_per_hour?"),
    ("timeout: 26s", 'timeout: "26s" is too long; at most 25s'),
    ("lease: 24s", 'lease: "24s" is too short for timeout: 20s; write at least 25s, or a shorter timeout'),
    ("unknown: {looks: 1}", 'unknown.looks: "1" is too small; at least 2'),
    ("push: maybe", 'push: "maybe" is not true or false'),
    ("push: true", "push: passwords are sealed with crm.encryption_key, which is missing;"),
    ("ca_file: /absent/ca.pem", 'ca_file: "/absent/ca.pem" is not a file that can be read'),
    ("password_file: /x", "password_file: contradicts password; keep one of the two"),
    ("account_defaults: [swapFree]", "account_defaults: not a section; write its keys below it"),
    ("account_defaults: {groupname: x}", "account_defaults.groupname: unknown key; did you mean groupName?"),
    ("account_defaults: {balance: 1}", "account_defaults.balance: unknown key; known here: groupName, "),
    ("account_defaults: {hashedPassword: x}", "account_defaults.hashedPassword: unknown key; known here: groupName, "),
    ("account_defaults: {groupName: ' '}", "account_defaults.groupName: is empty"),
    ("account_defaults: {groupName: 7}", 'account_defaults.groupName: "7" is not text; put it in quotes'),
    ("account_defaults: {depositCurrency: ''}", "account_defaults.depositCurrency: is empty"),
    ('account_defaults: {introducingBroker1: "a\\tb"}', "introducingBroker1: may hold no control characters"),
    ("account_defaults: {leverageInCents: 0}", 'account_defaults.leverageInCents: "0" is too small; at least 1'),
    ("account_defaults: {leverageInCents: true}", 'account_defaults.leverageInCents: "true" is not a number'),
    ("account_defaults: {maxLeverage: 0}", 'account_defaults.maxLeverage: "0" is too small; at least 1'),
    (
        "account_defaults: {accountType: hedged}",
        "account_defaults.accountType: \"hedged\" is not known here; write 'HEDGED', 'NETTED' or 'SPREAD_BETTING'",
    ),
    (
        "account_defaults: {totalMarginCalculationType: MIN}",
        "totalMarginCalculationType: \"MIN\" is not known here; write 'MAX', 'SUM' or 'NET'",
    ),
    (
        "account_defaults: {accessRights: ALL}",
        "\"ALL\" is not known here; write 'FULL_ACCESS', 'CLOSE_ONLY', 'NO_TRADING' or 'NO_LOGIN'",
    ),
    ("account_defaults: {swapFree: maybe}", 'account_defaults.swapFree: "maybe" is not true or false'),
]


@pytest.mark.parametrize(("line", "why"), LINES)
def test_a_wrong_line_is_refused_with_place_key_and_remedy(refused, line, why):
    message = refused(more(line))

    assert message.startswith("counterfoil.yaml line 10: platforms.ct-live.")
    assert why in message


@pytest.mark.parametrize("key", CTraderAccountDefaults.model_fields)
def test_a_default_of_an_account_that_is_named_has_a_value(refused, key):
    assert f"account_defaults.{key}: has no value; give one" in refused(more(f"account_defaults: {{{key}: }}"))


@pytest.mark.parametrize(
    ("before", "after", "why"),
    [
        ("    manager_login: 30041\n", "", "line 3: platforms.ct-live.manager_login: missing"),
        ("    broker_name: Broker & Sons\n", "", "line 3: platforms.ct-live.broker_name: missing"),
        ("    environment_name: live\n", "", "line 3: platforms.ct-live.environment_name: missing"),
        ("    password: hunter2\n", "", "line 3: platforms.ct-live.password: missing; give password or password_file"),
        (
            "password: hunter2",
            "password_file: /dev/null",
            "line 7: platforms.ct-live.password_file: /dev/null: the file",
        ),
        ("manager_login: 30041", "manager_login: 0", 'line 6: platforms.ct-live.manager_login: "0" is too small; at l'),
        ("manager_login: 30041", "manager_login: crm", 'manager_login: "crm" is not a whole number'),
        ("manager_login: 30041", "manager_login: true", 'manager_login: "true" is not a number'),
        ("manager_login: 30041", "manager_login:", "line 6: platforms.ct-live.manager_login: is not a whole number"),
        ("broker_name: Broker & Sons", "broker_name: ' '", "line 8: platforms.ct-live.broker_name: is empty"),
        ("broker_name: Broker & Sons", "broker_name: 7", 'platforms.ct-live.broker_name: "7" is not text; put it in q'),
        ("broker_name: Broker & Sons", 'broker_name: "a\\nb"', "broker_name: may hold no control characters"),
        (
            "environment_name: live",
            "environment_name: Live",
            'line 9: platforms.ct-live.environment_name: "Live" is not the name of an environment; write live, demo or',
        ),
        ("environment_name: live", f"environment_name: {'x' * 41}", "is not the name of an environment"),
        ("environment_name: live", 'environment_name: "live\\n"', '"live?" is not the name of an environment'),
        (":8443", ":8443/v2", "line 5: platforms.ct-live.base_url: may hold no path and no query; write https://host"),
        ("https://live", "http://live", "base_url: would send the password in clear text across a network; write htt"),
        (
            "https://live",
            "https://30041:hunter2@live",
            "base_url: may hold no credentials; they have keys of their own",
        ),
        ("kind: ctrader", "kind: omtrader", "line 3: platforms.ct-live.username: missing (and 3 more)"),
    ],
)
def test_a_value_that_cannot_work_is_refused(refused, before, after, why):
    assert before in CTRADER
    assert why in refused(CTRADER.replace(before, after))


def test_an_authority_for_plain_http_is_refused(refused):
    text = CTRADER.replace("https://live-broker.webapi.ctrader.example:8443", "http://sandbox:8081")

    assert "platforms.ct-live: ca_file does nothing with http://" in refused(f"{text}    ca_file: {__file__}\n")


def test_problems_of_both_kinds_show_the_first_in_the_file_and_a_count(refused):
    message = refused(f"{more('timeout: 20')}{OMTRADER}    page_size: 0\n")

    assert message == (
        'counterfoil.yaml line 10: platforms.ct-live.timeout: "20" is not a duration; write 30s, 5m or 1h (and 1 more)'
    )


# --- secrets, paths and the environment -------------------------------------------------------------------------------


def test_a_password_file_and_an_authority_start_from_the_settings_file(load, tmp_path):
    (tmp_path / "manager").write_text("s3cret\n")
    (tmp_path / "ca.pem").touch()

    text = CTRADER.replace("password: hunter2", "password_file: manager\n    ca_file: ca.pem")
    platform = load(text).platforms["ct-live"]

    assert (platform.password, platform.ca_file) == (SecretStr("s3cret"), tmp_path / "ca.pem")


def test_no_representation_holds_a_secret(load):
    loaded = load(CTRADER.replace("hunter2", "s3cret"))

    assert all("s3cret" not in text for text in (repr(loaded), str(loaded), settings.show(loaded)))


def test_the_environment_reaches_every_key_of_a_platform_with_a_dash_in_its_name(load, monkeypatch, tmp_path):
    (tmp_path / "manager").write_text("s3cret\n")
    for name, value in (
        ("PASSWORD_FILE", str(tmp_path / "manager")),
        ("MANAGER_LOGIN", "7"),
        ("RATE_LIMIT__WRITES_PER_HOUR", "20"),
        ("PULL__DEPOSIT_ASSETS", "off"),
        ("PULL__DEALS__EVERY", "2m"),
        ("ACCOUNT_DEFAULTS__GROUPNAME", "vip"),
        ("ACCOUNT_DEFAULTS__leverageInCents", "50000"),
        ("ACCOUNT_DEFAULTS__SWAPFREE", "true"),
    ):
        monkeypatch.setenv(f"COUNTERFOIL_PLATFORMS__CT-LIVE__{name}", value)

    text = CTRADER.replace("    password: hunter2\n", "") + "    account_defaults: {groupName: x, maxLeverage: 3}\n"
    platform = load(text).platforms["ct-live"]

    assert (platform.password, platform.manager_login) == (SecretStr("s3cret"), 7)
    assert platform.rate_limit.writes_per_hour == 20
    assert "deposit_assets" not in platform.pull
    assert platform.pull["deals"].every == timedelta(minutes=2)
    assert dict(platform.account_defaults) == {
        "groupName": "vip",
        "maxLeverage": 3,
        "leverageInCents": 50000,
        "swapFree": True,
    }


@pytest.mark.parametrize("key", CTraderAccountDefaults.model_fields)
def test_a_wrong_variable_is_refused_with_the_key_as_the_file_spells_it(refused, monkeypatch, key):
    monkeypatch.setenv(f"COUNTERFOIL_PLATFORMS__CT-LIVE__ACCOUNT_DEFAULTS__{key.upper()}", " ")

    assert refused(CTRADER).startswith(
        f"COUNTERFOIL_PLATFORMS__CT-LIVE__ACCOUNT_DEFAULTS__{key.upper()}: platforms.ct-live.account_defaults.{key}: "
    )


def test_one_key_in_two_spellings_is_set_twice(refused, monkeypatch):
    for name in ("GROUPNAME", "groupName"):
        monkeypatch.setenv(f"COUNTERFOIL_PLATFORMS__CT-LIVE__ACCOUNT_DEFAULTS__{name}", "x")

    assert "platforms.ct-live.account_defaults.groupName: set twice in the environment" in refused(CTRADER)


def test_a_platform_may_have_the_name_that_a_vendor_gave_to_a_key(load, monkeypatch):
    monkeypatch.setenv("COUNTERFOIL_PLATFORMS__SWAPFREE__ENVIRONMENT_NAME", "demo")

    assert load(CTRADER.replace("ct-live", "swapfree")).platforms["swapfree"].environment_name == "demo"


# --- shown, described, read again -------------------------------------------------------------------------------------


def test_what_is_shown_is_a_settings_file_again(load):
    loaded = load(more("pull: {deals: off, positions: {every: 90s}}\naccount_defaults: {swapFree: false}\npush: false"))

    text = settings.show(loaded)
    platform = yaml.safe_load(text)["platforms"]["ct-live"]

    assert platform["password"] == "********"
    assert (platform["kind"], platform["manager_login"], platform["environment_name"]) == ("ctrader", 30041, "live")
    assert list(platform["pull"]) == list(CTraderPullSettings.model_fields)
    assert (platform["pull"]["deals"], platform["pull"]["positions"]) == ("off", {"every": "90s"})
    assert platform["account_defaults"] == {"swapFree": False}
    assert load(text.replace("'********'", "hunter2")) == loaded


@pytest.mark.parametrize(("push", "crm", "pushes"), [("", "", False), ("", f"crm: {{encryption_key: {KEY}}}\n", True)])
def test_a_platform_is_written_to_where_there_is_a_key(load, push, crm, pushes):
    loaded = load(more(push) + crm)

    assert loaded.pushes("ct-live") is pushes
    assert yaml.safe_load(settings.show(loaded))["platforms"]["ct-live"]["push"] is pushes


@pytest.mark.parametrize(
    ("lines", "changed"),
    [
        ("timeout: 21s", ["timeout"]),
        ("pull: {deals: {every: 5m}}", ["pull.deals.every"]),
        ("pull: {deals: {every: 60s, idle: 5m}}", ["pull.deals.idle"]),
        ("pull: {deals: off}", ["pull.deals"]),
        ("rate_limit: {writes_per_hour: 7}", ["rate_limit.writes_per_hour"]),
        ("account_defaults: {groupName: vip}", ["account_defaults.groupName"]),
        ("unknown: {settle: 1m}\nlease: 1m", ["lease", "unknown.settle"]),
    ],
)
def test_a_reload_sees_which_keys_changed(load, lines, changed):
    assert settings.changed_keys(load(), load(more(lines))) == [f"platforms.ct-live.{key}" for key in changed]


def test_a_reload_sees_that_a_password_or_the_kind_changed_and_tells_no_value(load):
    other = load(CTRADER.replace("hunter2", "hunter3"))
    before, after = load(ONLY_OMTRADER), load(CTRADER.replace("ct-live", "om"))

    assert settings.changed_keys(load(), other) == ["platforms.ct-live.password"]
    changed = settings.changed_keys(before, after)
    assert {"platforms.om.kind", "platforms.om.manager_login", "platforms.om.username"} <= {*changed}
    assert "platforms.om.timeout" not in changed


def test_the_schema_says_that_a_platform_is_one_of_two_kinds():
    schema = settings.schema()
    (platform,) = schema["properties"]["platforms"]["patternProperties"].values()

    assert {option["$ref"] for option in platform["oneOf"]} == {"#/$defs/OMTraderSettings", "#/$defs/CTraderSettings"}
    assert platform["discriminator"] == {
        "propertyName": "kind",
        "mapping": {"omtrader": "#/$defs/OMTraderSettings", "ctrader": "#/$defs/CTraderSettings"},
    }
    for name, kind in (("OMTraderSettings", "omtrader"), ("CTraderSettings", "ctrader")):
        assert schema["$defs"][name]["properties"]["kind"]["const"] == kind
        assert "kind" in schema["$defs"][name]["required"]


def test_the_schema_describes_every_key_of_a_ctrader_platform():
    described = settings.schema()["$defs"]
    platform, defaults = described["CTraderSettings"], described["CTraderAccountDefaults"]["properties"]

    assert {*platform["properties"]} == {*CTraderSettings.model_fields, "password_file"}
    assert all({"description", "$ref"} & {*of} for of in platform["properties"].values())
    assert {*platform["required"]} == {"kind", "base_url", "manager_login", "broker_name", "environment_name"}
    assert platform["oneOf"] == [{"required": ["password"]}, {"required": ["password_file"]}]
    assert platform["additionalProperties"] is False
    assert platform["properties"]["manager_login"]["minimum"] == 1
    assert platform["properties"]["environment_name"]["pattern"] == "^[a-z0-9][a-z0-9_-]{0,39}$"
    assert platform["properties"]["pull"]["$ref"] == "#/$defs/CTraderPullSettings"
    assert described["CTraderRateLimitSettings"]["properties"]["writes_per_hour"]["maximum"] == 1_000_000
    assert defaults["accountType"]["enum"] == ["HEDGED", "NETTED", "SPREAD_BETTING"]
    assert {"enum": ["off", False]} in described["CTraderPullSettings"]["properties"]["subaccounts"]["anyOf"]
    assert all(platform["properties"][name]["pattern"] == DURATION_PATTERN for name in ("timeout", "lease"))


def _example():
    """The commented platform of the example, without the first `# ` of each line."""
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    start = lines.index("  # ct_live:")
    block = lines[start : lines.index("", start)]
    assert all(line.startswith("  # ") for line in block)
    return "\n".join(re.sub("^  # ", "  ", line) for line in block)


def test_the_commented_example_is_a_platform_with_the_defaults(load, tmp_path):
    (tmp_path / "manager").write_text("s3cret\n")
    block = _example().replace("/run/secrets/ctrader_password", str(tmp_path / "manager"))

    example = load(f"database: {{url: embedded}}\nplatforms:\n{block}\n").platforms["ct_live"]

    own = {"base_url", "password", "broker_name"}
    assert example.password == SecretStr("s3cret")
    assert example.model_dump(exclude=own) == load().platforms["ct-live"].model_dump(exclude=own)


def test_the_commented_defaults_of_an_account_are_all_of_them_and_are_taken(load, tmp_path):
    (tmp_path / "manager").write_text("s3cret\n")
    block = re.sub(r"(?m)^      # (\w+: )", r"      \1", _example())

    example = load(
        f"database: {{url: embedded}}\nplatforms:\n{block}\n".replace(
            "/run/secrets/ctrader_password", str(tmp_path / "manager")
        )
    )

    assert list(example.platforms["ct_live"].account_defaults) == list(CTraderAccountDefaults.model_fields)


# --- any value --------------------------------------------------------------------------------------------------------

ANY_FILE = hypothesis_settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], database=None
)
KEYS = [*CTraderSettings.model_fields, *CTraderAccountDefaults.model_fields, "password_file", "every", "deals", "money"]
VALUES = st.recursive(
    st.sampled_from(["off", "30s", "30", "~", "''", "1.5", "-1", "'\\x00'", "[a]", "https://x", "ctrader", "HEDGED"])
    | st.text(alphabet="aB1_-:/.@[]% ", max_size=12).map("'{}'".format),
    lambda inner: st.dictionaries(st.sampled_from(KEYS), inner).map(
        lambda section: "{" + ", ".join(f"{key}: {value}" for key, value in section.items()) + "}"
    ),
    max_leaves=6,
)


def _outcome(path, text):
    """Loads, or says in one printable line of the file why not; anything else fails the test."""
    path.write_text(text, encoding="utf-8")
    try:
        settings.load(path)
    except ConfigurationError as refusal:
        assert str(refusal).isprintable()  # noqa: PT017 - loading is allowed too
        assert re.match(r"counterfoil\.yaml( line \d+)?: ", str(refusal))  # noqa: PT017


@ANY_FILE
@given(key=st.sampled_from(KEYS), value=VALUES, name=st.sampled_from(["ct-live", "ctrader", "kind"]))
def test_any_value_under_any_key_is_settings_or_refused(tmp_path, key, value, name):
    head = f"database: {{url: embedded}}\nplatforms:\n  {name}:\n"
    given_ = {**yaml.safe_load(CTRADER)["platforms"]["ct-live"], key: value}
    lines = "".join(f"    {own}: {written}\n" for own, written in given_.items())

    _outcome(tmp_path / "counterfoil.yaml", head + lines)
    _outcome(tmp_path / "counterfoil.yaml", f"{head}    kind: {value}\n")
    _outcome(tmp_path / "counterfoil.yaml", f"{head.rstrip()} {value}\n")


DURATIONS = st.integers(1, 10**6).map("{}s".format)
TEXTS = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=20)
SECTIONS = st.fixed_dictionaries(
    {
        "manager_login": st.integers(1, 10**17),
        "broker_name": TEXTS,
        "environment_name": st.from_regex(r"[a-z0-9][a-z0-9_-]{0,39}", fullmatch=True),
        "rate_limit": st.fixed_dictionaries({"writes_per_hour": st.integers(1, 10**6)}),
        "pull": st.dictionaries(
            st.sampled_from([*CTraderPullSettings.model_fields]),
            st.just("off") | DURATIONS.map(lambda every: {"every": every}),
        ),
        "account_defaults": st.fixed_dictionaries(
            {},
            optional={
                "groupName": TEXTS,
                "leverageInCents": st.integers(1, 10**9),
                "accessRights": st.sampled_from(["FULL_ACCESS", "NO_LOGIN"]),
                "swapFree": st.booleans(),
            },
        ),
    }
)


@ANY_FILE
@given(section=SECTIONS)
def test_whatever_is_right_comes_back_as_it_was_written(tmp_path, section):
    path = tmp_path / "counterfoil.yaml"
    tree = yaml.safe_load(CTRADER)
    tree["platforms"]["ct-live"].update({**section, "push": False})
    path.write_text(yaml.safe_dump(tree, allow_unicode=True), encoding="utf-8")

    loaded = settings.load(path)
    path.write_text(settings.show(loaded).replace("'********'", "hunter2"), encoding="utf-8")

    platform = loaded.platforms["ct-live"]
    assert settings.load(path) == loaded
    assert {name: getattr(platform, name) for name in ("manager_login", "broker_name", "environment_name")} == {
        name: section[name] for name in ("manager_login", "broker_name", "environment_name")
    }
    assert dict(platform.account_defaults) == section["account_defaults"]
    assert {name for name, written in section["pull"].items() if written == "off"}.isdisjoint(platform.pull)
