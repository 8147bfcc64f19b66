"""People and accounts: what is sent of them, what is not, what changes travel, and what drifts."""

import json

import psycopg
import pytest

from support.boundary import PROFILE, publish_settings
from support.pulling import said
from support.pushing import PushBench, Replica, push_bench

FULL = {**PROFILE, "email": "ada@example.com", "mobile": "+49 1", "birth_date": "1990-01-02", "country": "DE"}


def bodies(it: PushBench, method: str) -> list[dict]:
    return [json.loads(entry.body) for entry in it.writes() if entry.method == method]


async def opened(it: PushBench, name: str = "p9", profile: dict = FULL, account: dict | None = None) -> Replica:
    it.crm.call("register", name, profile, "live", account or {})
    replica = it.replica()
    await it.until_quiet(replica)
    assert (it.state(name), it.state(f"{name}/1")) == ("confirmed", "confirmed")
    return replica


async def test_a_client_is_sent_with_what_was_given_and_nothing_made_up(database_url):
    async with push_bench(database_url) as it:
        await opened(it)
        client, account = bodies(it, "POST")
        assert client == {**FULL, "external_id": "p9"}
        assert {key: account[key] for key in ("group_id", "email", "phone", "country", "first_name")} == {
            "group_id": 79, "email": "ada@example.com", "phone": "+49 1", "country": "DE", "first_name": "Ada",
        }  # fmt: skip
        assert (account["client_id"], account["username"]) == (it.clients("p9")[0].id, "p9-1")
        assert {"kyc_status", "balance", "credit"}.isdisjoint(client.keys() | account.keys())


async def test_the_kyc_status_travels_only_when_a_registration_names_it(database_url):
    async with push_bench(database_url) as it:
        await opened(it, "p9", {**PROFILE, "kyc_status": 1})
        assert bodies(it, "POST")[0]["kyc_status"] == 1
        with it.crm.expect_refused("CF006", "kyc_status"):
            it.crm.call("update_profile", "p9", {"kyc_status": 0})


async def test_passwords_reach_the_platform_and_are_nowhere_afterwards(database_url):
    async with push_bench(database_url) as it:
        it.crm.call("register", "p9", PROFILE, "live", {"user_password": "Correct-Horse-1"})
        [(kept,)] = it.owner.rows("SELECT count(*) FROM counterfoil.passwords")
        with said() as lines:
            await it.until_quiet(it.replica())
        assert kept == 2
        sent = bodies(it, "POST")[1]
        assert sent["user_password"] == "Correct-Horse-1"
        assert len(sent["investor_password"]) == 12
        assert it.owner.rows("SELECT * FROM counterfoil.passwords") == []
        told = json.dumps([lines(name) for name in ("intent.sent", "intent.confirmed")], default=str)
        everything = (
            told
            + str(it.owner.rows("SELECT * FROM counterfoil.intents"))
            + str(it.owner.rows("SELECT * FROM counterfoil.accounts"))
        )
        assert "Correct-Horse-1" not in everything
        assert sent["investor_password"] not in everything


async def test_passwords_lie_sealed_from_the_first_pick_up_on(database_url):
    async with push_bench(database_url) as it:
        it.registrant("p9")
        it.crm.call("open_account", "a", "p9", {"user_password": "Correct-Horse-1"})
        it.sandbox.faults.set({"kind": "error_before", "method": "GET"})
        replica = it.replica()
        await replica.turn()
        rows = it.owner.rows("SELECT secret, sealed FROM counterfoil.passwords")
        assert [sealed for _, sealed in rows] == [True, True]
        assert all(b"Correct-Horse" not in bytes(secret) for secret, _ in rows)
        it.sandbox.faults.set([])
        await it.until_quiet(replica)
        assert bodies(it, "POST")[0]["user_password"] == "Correct-Horse-1"


async def test_with_another_key_nothing_is_sent_and_the_reason_says_so(database_url):
    async with push_bench(database_url) as it:
        it.registrant("p9")
        it.crm.call("open_account", "a", "p9", {})
        it.sandbox.faults.set({"kind": "error_before", "method": "GET"})
        await it.replica().turn()
        it.sandbox.faults.set([])
        it.hurry()
        from cryptography.fernet import Fernet  # noqa: PLC0415 - one test needs it

        await it.replica(key=Fernet.generate_key().decode()).turn()
        assert (it.state("a"), it.writes()) == ("pending", [])
        assert "another crm.encryption_key" in it.intent("a")["reason"]


async def test_an_email_address_that_somebody_else_has_already_parks_the_step(database_url):
    async with push_bench(database_url) as it:
        replica = await opened(it)
        it.crm.call("register", "p10", {**PROFILE, "email": "ADA@example.com"}, "live")
        await it.until_quiet(replica)
        assert it.state("p10") == "parked"
        assert "registrant p9" in it.intent("p10")["reason"]
        assert it.clients("p10") == []


async def test_of_two_who_come_with_one_address_the_first_goes(database_url):
    async with push_bench(database_url) as it:
        for name in ("p9", "p10"):
            it.crm.call("register", name, FULL, "live")
        await it.until_quiet(it.replica())
        assert (it.state("p9"), it.state("p10")) == ("confirmed", "parked")


# --- changes ----------------------------------------------------------------------------------------------------------


async def test_a_changed_profile_travels_whole_without_what_is_not_the_crm_s_to_write(database_url):
    async with push_bench(database_url) as it:
        await opened(it)
        it.sandbox.requests.clear()
        it.crm.call("update_profile", "p9", {"country": "FR"})
        await it.until_quiet(it.replica(merges=True))
        (body,) = bodies(it, "PUT")
        assert (body["country"], body["first_name"], body["external_id"]) == ("FR", "Ada", "p9")
        assert {"kyc_status", "id", "user_id", "accounts", "created_at"}.isdisjoint(body)
        assert it.clients("p9")[0].fields["country"] == "FR"


async def test_a_put_that_clears_what_it_does_not_name_costs_a_merged_client_nothing(database_url):
    async with push_bench(database_url) as it:
        await opened(it)
        before = dict(it.clients("p9")[0].fields)
        it.sandbox.faults.set({"kind": "put_replaces"})
        it.crm.call("update_profile", "p9", {"country": "FR"})
        await it.until_quiet(it.replica(merges=True))
        changed = {key for key, value in it.clients("p9")[0].fields.items() if before[key] != value}
        assert changed <= {"country", "updated_at", "kyc_status"}


async def test_with_partial_puts_only_what_changed_is_sent(database_url):
    async with push_bench(database_url) as it:
        replica = await opened(it)
        it.sandbox.requests.clear()
        it.crm.call("update_profile", "p9", {**FULL, "country": "FR"})
        it.crm.call("update_account", "p9/1", {"leverage": 50})
        await it.until_quiet(replica)
        assert bodies(it, "PUT") == [{"country": "FR"}, {"leverage": 50}]


async def test_an_account_is_not_changed_while_its_money_is_unsettled(database_url):
    async with push_bench(database_url) as it:
        replica = await opened(it)
        it.crm.call("deposit", "d", "p9/1", 5)
        blind = {"kind": "error_before", "path": "/transactions/history$"}
        it.sandbox.faults.set([{"kind": "drop_after", "path": "/money$"}, blind])
        it.crm.call("update_account", "p9/1", {"leverage": 50})
        await replica.turn()
        assert (it.state("d"), it.state("p9/1", "update_account")) == ("unknown", "pending")
        it.sandbox.faults.set([])
        await it.until_quiet(replica)
        assert (it.state("d"), it.state("p9/1", "update_account")) == ("confirmed", "confirmed")


async def test_a_new_password_is_sent_with_the_whole_account(database_url):
    async with push_bench(database_url) as it:
        await opened(it)
        it.sandbox.requests.clear()
        given = it.crm.call("reset_password", "p9/1")["credentials"]
        await it.until_quiet(it.replica(merges=True))
        (body,) = bodies(it, "PUT")
        assert body["user_password"] == given["user_password"]
        assert (body["group_id"], body["first_name"]) == (79, "Ada")
        assert it.owner.rows("SELECT * FROM counterfoil.passwords") == []


# --- recognised rather than made twice --------------------------------------------------------------------------------


@pytest.mark.parametrize("mirrored", [True, False])
async def test_a_client_who_is_on_the_platform_already_is_recognised(database_url, mirrored):
    async with push_bench(database_url) as it:
        client = it.books.add_client({**PROFILE, "external_id": "p9"})
        if mirrored:
            await it.mirror("clients")
        it.crm.call("register", "p9", PROFILE, "live")
        await it.until_quiet(it.replica())
        assert (it.state("p9"), len(it.clients("p9"))) == ("confirmed", 1)
        assert it.crm.value("SELECT client_id FROM crm.registrants WHERE registrant_id = 'p9'") == client.id


async def test_two_clients_with_one_external_id_are_for_a_person_to_settle(database_url):
    async with push_bench(database_url) as it:
        for _ in range(2):
            it.books.add_client({**PROFILE, "external_id": "p9"})
        it.crm.call("register", "p9", PROFILE, "live")
        await it.until_quiet(it.replica())
        assert it.state("p9") == "parked"
        assert "carry this external_id" in it.intent("p9")["reason"]


async def test_a_login_name_that_the_platform_has_is_not_made_again(database_url):
    async with push_bench(database_url) as it:
        stranger = it.books.clients.ids[0]
        it.books.add_account(stranger, it.books.trading_groups[79], "Taken", {})
        it.registrant("p9")
        it.crm.call("open_account", "a", "p9", {"username": "taken"})
        await it.until_quiet(it.replica())
        assert (it.state("a"), len(it.accounts("taken"))) == ("rejected", 1)
        assert "crm.adopt_account" in it.intent("a")["reason"]


async def test_an_adopted_account_is_used_like_any_other(database_url):
    async with push_bench(database_url) as it:
        client_id = it.registrant("p9")
        account = it.books.add_account(client_id, it.books.trading_groups[79], "old-login", {})
        it.crm.call("adopt_account", "a", "p9", "live", account.id)
        it.crm.call("deposit", "d", "a", 5)
        await it.until_quiet(it.replica())
        assert (it.state("a"), it.state("d"), len(it.effects("d"))) == ("confirmed", "confirmed", 1)
        assert it.crm.value("SELECT username FROM crm.accounts WHERE reference = 'a'") == "old-login"


@pytest.mark.parametrize(("number", "reason"), [(None, "belongs to client"), (999_999, "does not exist")])
async def test_an_account_of_another_or_of_nobody_is_not_adopted(database_url, number, reason):
    async with push_bench(database_url) as it:
        it.registrant("p9")
        it.crm.call("adopt_account", "a", "p9", "live", number or it.books.accounts.ids[0])
        await it.until_quiet(it.replica())
        assert it.state("a") == "rejected"
        assert reason in it.intent("a")["reason"]


# --- drift ------------------------------------------------------------------------------------------------------------


async def drift(it: PushBench) -> list[tuple[object, ...]]:
    await it.mirror("clients")
    await it.replica().turn()
    return it.owner.rows("SELECT registrant_id, field FROM counterfoil.drift ORDER BY 1, 2")


async def test_our_own_write_that_comes_back_is_no_drift(database_url):
    async with push_bench(database_url) as it:
        await opened(it)
        assert await drift(it) == []
        it.crm.call("update_profile", "p9", {"country": "FR"})
        assert await drift(it) == []
        await it.until_quiet(it.replica())
        assert await drift(it) == []


async def test_a_field_of_the_crm_that_somebody_changes_is_reported_once_and_not_overwritten(database_url):
    async with push_bench(database_url) as it:
        await opened(it)
        it.sandbox.requests.clear()
        client = it.clients("p9")[0]
        client.fields["country"] = "XX"
        it.books.touch("clients", client.id)
        with said() as lines:
            assert await drift(it) == [("p9", "country")]
            assert await drift(it) == [("p9", "country")]
        assert [(line["reference"], line["field"]) for line in lines("drift.found")] == [("p9", "country")]
        assert (client.fields["country"], it.writes()) == ("XX", [])


async def test_drift_ends_when_both_agree_again(database_url):
    async with push_bench(database_url) as it:
        await opened(it)
        client = it.clients("p9")[0]
        client.fields["country"] = "XX"
        it.books.touch("clients", client.id)
        await drift(it)
        it.crm.call("update_profile", "p9", {"country": "XX"})
        with said() as lines:
            await it.until_quiet(it.replica())
            assert await drift(it) == []
        assert len(lines("drift.ended")) == 1


async def test_what_the_crm_does_not_own_may_be_changed_on_the_platform(database_url):
    async with push_bench(database_url) as it:
        await opened(it)
        client = it.clients("p9")[0]
        client.fields["mobile"] = "+44 2"
        it.books.touch("clients", client.id)
        assert await drift(it) == []


async def test_where_accounts_are_not_updated_the_crm_is_told_which_setting_decides(database_url):
    async with push_bench(database_url) as it:
        await opened(it)
        from dataclasses import replace  # noqa: PLC0415 - one test needs it

        from support.boundary import LIVE  # noqa: PLC0415

        await publish_settings(database_url, [replace(LIVE, updates_accounts=False)])
        with pytest.raises(psycopg.Error, match="put: partial"):
            it.crm.call("update_account", "p9/1", {"leverage": 50})
