"""Who may do what at the boundary, what a caller can slip in, and where passwords can be read."""

import json

import pytest

from support.boundary import PROFILE, boundary, publish

DENIED = "42501"
FUNCTIONS = """
    SELECT p.oid, n.nspname, p.oid::regprocedure::text AS name, p.prosecdef, p.proconfig, p.proacl
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname IN ('crm', 'counterfoil')
"""


@pytest.fixture
def it(database_url):
    with boundary(database_url) as it:
        yield it


def test_every_function_of_the_boundary_runs_as_its_owner_with_names_fixed(it):
    found = it.owner.rows(f"SELECT name, prosecdef, proconfig FROM ({FUNCTIONS}) f WHERE nspname = 'crm'")
    assert len(found) == 14
    for name, definer, settings in found:
        assert (definer, settings) == (True, ["search_path=pg_catalog, pg_temp"]), name


def test_the_crm_executes_the_boundary_and_nothing_behind_it(it):
    rights = "SELECT nspname, bool_and(may), bool_or(may) FROM ({}) r GROUP BY 1 ORDER BY 1"
    may = f"SELECT nspname, has_function_privilege('counterfoil_crm', oid, 'EXECUTE') AS may FROM ({FUNCTIONS}) f"
    assert it.owner.rows(rights.format(may)) == [("counterfoil", False, False), ("crm", True, True)]


@pytest.mark.parametrize("role", ["public", "counterfoil_reader"])
def test_nobody_else_executes_or_sees_the_boundary(it, role):
    allowed = f"SELECT name FROM ({FUNCTIONS}) f WHERE has_function_privilege('{role}', oid, 'EXECUTE')"
    assert it.owner.rows(f"{allowed} AND name NOT LIKE 'counterfoil.take_token%'") == []
    for schema in ("crm", "counterfoil"):
        for right in ("USAGE", "CREATE"):
            assert it.owner.value("SELECT has_schema_privilege(%s, %s, %s)", role, schema, right) is False


def test_the_crm_reads_the_views_and_no_table_of_ours(it):
    for view in ("registrants", "accounts", "operations", "payouts", "events"):
        assert it.crm.rows(f"SELECT * FROM crm.{view}") == []
    rights = "SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER"
    allowed = """
        SELECT relname FROM pg_class WHERE relnamespace = 'counterfoil'::regnamespace AND relkind IN ('r', 'v', 'm')
            AND has_table_privilege('counterfoil_crm', oid, %s)
    """
    assert it.owner.rows(allowed, rights) == []


def test_the_crm_changes_nothing_through_views_and_creates_nothing(it):
    it.ready()
    refused = [
        "DELETE FROM crm.events",
        "UPDATE crm.events SET state = 'x'",
        "INSERT INTO crm.events (id) VALUES (1)",
        "CREATE TABLE crm.t (a int)",
        "CREATE FUNCTION counterfoil.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "SELECT * FROM counterfoil.passwords",
        "SELECT counterfoil.operation('deposit', 'm', '7/1', 5, NULL)",
        "SELECT counterfoil.make_password(8, false)",
        "TRUNCATE counterfoil.intents",
        "ALTER TABLE counterfoil.intents DISABLE TRIGGER ALL",
    ]
    with it.unchanged():
        for statement in refused:
            with it.crm.expect_refused(DENIED):
                it.crm.rows(statement)


def test_what_the_caller_made_captures_no_name(it):
    it.ready()
    mine = [
        "CREATE TEMP TABLE intents (id bigint)",
        "CREATE TEMP TABLE published_rules (one boolean)",
        "CREATE FUNCTION pg_temp.concat_ws(text, text, text) RETURNS text LANGUAGE sql AS $$ SELECT 'mine' $$",
        "CREATE FUNCTION pg_temp.octet_length(text) RETURNS integer LANGUAGE sql AS $$ SELECT 5 $$",
        "CREATE FUNCTION pg_temp.trim_scale(numeric) RETURNS numeric LANGUAGE sql AS $$ SELECT 999.0 $$",
        "CREATE TYPE pg_temp.text AS (a int)",
        "SET search_path = pg_temp, counterfoil, crm, pg_catalog",
    ]
    for statement in mine:
        it.crm.rows(statement)
    it.crm.call("withdraw", "w", "7/1", 5)
    it.owner.confirm("w")
    assert it.crm.call("release_payout", "w")[0] == 5
    assert it.owner.value("SELECT amount FROM counterfoil.intents WHERE kind = 'withdraw'") == 5
    with it.crm.expect_refused("CF006", "reference"):
        it.crm.call("deposit", "", "7/1", 5)


def passwords(it):
    kept = it.owner.rows(
        "SELECT i.reference, w.name, w.secret, w.sealed FROM counterfoil.passwords w "
        "JOIN counterfoil.intents i ON i.id = w.intent_id ORDER BY i.id, w.name"
    )
    return [(reference, name, secret.decode(), sealed) for reference, name, secret, sealed in kept]


def test_passwords_of_the_caller_travel_with_the_account_until_it_is_confirmed(it):
    given = {"user_password": "sesame-open-1", "investor_password": "look-only-22"}
    told = it.crm.call("register", "7", PROFILE, "live", given)
    assert given.items() <= told["credentials"].items()
    kept = [("7/1", "investor_password", "look-only-22", False), ("7/1", "user_password", "sesame-open-1", False)]
    assert passwords(it) == kept
    it.owner.confirm("7")
    it.owner.advance("7/1", "sent", "unknown", "pending", "sent")
    assert passwords(it) == kept
    it.owner.advance("7/1", "confirmed")
    assert passwords(it) == []


@pytest.mark.parametrize("end", ["rejected", "cancelled"])
def test_passwords_go_with_a_step_that_failed(it, end):
    it.crm.call("register", "7", PROFILE, "live", {})
    it.owner.confirm("7")
    if end == "rejected":
        it.owner.advance("7/1", "sent", "rejected")
    else:
        it.crm.call("cancel", "7/1")
    assert passwords(it) == []


def test_passwords_go_when_the_registrant_is_cancelled(it):
    it.crm.call("register", "7", PROFILE, "live", {})
    it.crm.call("cancel", "7")
    assert passwords(it) == []


def test_no_password_is_told_anywhere_else(it):
    secret = "sesame'open\\1"
    it.crm.call("register", "7", PROFILE, "live", {"user_password": secret, "investor_password": secret})
    it.crm.call("open_account", "b", "7", {"user_password": secret, "investor_password": secret})
    everything = json.loads(it.owner.everything())
    everything.pop("passwords")
    for view in ("registrants", "accounts", "operations", "payouts", "events"):
        everything[view] = [str(row) for row in it.crm.rows(f"SELECT v::text FROM crm.{view} v")]
    assert "sesame" not in json.dumps(everything)


def test_an_account_repeated_with_another_password_is_the_same_account(it):
    it.crm.call("register", "7", PROFILE, "live", {"user_password": "sesame-open-1"})
    with it.unchanged():
        again = it.crm.call("register", "7", PROFILE, "live", {"user_password": "sesame-open-2"})
    assert again == {"registrant": "7", "account": "7/1"}


def test_no_refusal_tells_a_password(it):
    with it.unchanged(), pytest.raises(Exception, match="8 to 64") as caught:
        it.crm.call("register", "7", PROFILE, "live", {"user_password": "opensesame" * 7})
    assert "opensesame" not in str(caught.value)
    assert "opensesame" not in caught.value.diag.context


@pytest.mark.parametrize(("length", "symbols"), [(8, True), (12, True), (24, False), (64, True)])
def test_generated_passwords_are_strong_and_never_the_same(it, length, symbols):
    publish(it.url, password_length=length, password_symbols=symbols)
    made = [
        row[0]
        for row in it.owner.rows(f"SELECT counterfoil.make_password({length}, {symbols}) FROM generate_series(1, 200)")
    ]
    assert len(set(made)) == 200
    for word in made:
        assert len(word) == length
        assert any(map(str.isupper, word))
        assert any(map(str.islower, word))
        assert any(map(str.isdigit, word))
        assert any(not letter.isalnum() for letter in word) is symbols
        assert not set(word) & set("0O1lI'\"\\ ")
    told = it.crm.call("register", "7", PROFILE, "live", {})["credentials"]
    assert {len(told["user_password"]), len(told["investor_password"])} == {length}
    assert told["user_password"] != told["investor_password"]


def test_every_letter_is_as_likely_as_any_other(it):
    text = it.owner.value("SELECT string_agg(counterfoil.make_password(64, true), '') FROM generate_series(1, 400)")
    counts = sorted(text.count(letter) for letter in set(text))
    assert len(counts) == 65
    assert counts[0] > 0.7 * len(text) / 65
    assert counts[-1] < 1.3 * len(text) / 65


def test_a_reset_hands_out_new_passwords_and_the_newest_count(it):
    account = it.ready()
    first = it.crm.call("reset_password", account)
    second = it.crm.call("reset_password", account)
    assert first["credentials"]["username"] == second["credentials"]["username"] == "7-1"
    assert [secret for _, _, secret, _ in passwords(it)] == [
        second["credentials"]["investor_password"],
        second["credentials"]["user_password"],
    ]
    it.owner.advance(account, "sent", "confirmed", kind="reset_password")
    assert passwords(it) == []


def test_a_reset_needs_an_account_that_can_have_one(it):
    it.crm.call("register", "7", PROFILE, "live", {})
    with it.unchanged(), it.crm.expect_refused("CF005", "reference"):
        it.crm.call("reset_password", "8/1")
    it.crm.call("cancel", "7/1")
    with it.unchanged(), it.crm.expect_refused("CF003"):
        it.crm.call("reset_password", "7/1")


def test_before_anything_is_published_calls_are_answered_at_once(database_url):
    with boundary(database_url) as it:
        it.owner.rows("DELETE FROM counterfoil.published_rules")
        it.owner.rows("SET statement_timeout = 5000")
        assert len(it.owner.value("SELECT counterfoil.make_password(NULL, NULL)")) == 16
        assert it.crm.call("register", "7", PROFILE, "live", {})["credentials"]["username"] == "7-1"
