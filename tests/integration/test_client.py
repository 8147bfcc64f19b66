import asyncio
import json
from contextlib import asynccontextmanager
from decimal import Decimal

import pytest

from counterfoil.domain.errors import ConfigurationError, LoginRefusedError, PausedError, PermanentError, TransientError
from counterfoil.domain.page import Page
from counterfoil.domain.priority import Priority
from counterfoil.platforms import rows as module_of_rows
from counterfoil.platforms.base import Query
from counterfoil.platforms.http import Answer
from counterfoil.platforms.omtrader import client as module
from counterfoil.platforms.omtrader.client import Connection, OMTrader
from counterfoil.platforms.sessions import PrivateVault
from counterfoil.platforms.shapes import Wrapping
from counterfoil.sandbox import Sandbox, SandboxOptions
from support.budget import FreeBudget
from support.lines import rows_of
from support.tls import Authority
from support.tls_server import answer, answers, canned

SMALL = SandboxOptions(clients=8, accounts=12, deals=60, seed=3)
LISTS = [
    "clients",
    "accounts",
    "groups",
    "symbols",
    "orders",
    "orders_history",
    "positions",
    "positions_history",
    "deals",
]
SINGLES = ["clients", "accounts", "groups", "symbols", "orders", "positions", "deals"]
ALL = Query(limit=1000, remembered={})
LEAKED = "leaked-secret"


def connection(url, **options):
    usual = {"base_url": url, "username": SMALL.username, "password": SMALL.password, "timeout": 25.0}
    return Connection(**{**usual, **options})


@asynccontextmanager
async def client_of(url, budget=None, **options):
    client = OMTrader(connection(url, **options), budget or FreeBudget(), PrivateVault())
    try:
        yield client
    finally:
        await client.close()


@pytest.fixture
async def sandbox():
    async with Sandbox(SMALL) as running:
        yield running


@pytest.fixture
def budget():
    return FreeBudget()


@pytest.fixture
async def client(sandbox, budget):
    async with client_of(sandbox.url, budget) as client:
        await client.log_in()
        sandbox.requests.clear()
        budget.told.clear()
        budget.asked.clear()
        yield client


def truth(sandbox, resource):
    return [json.loads(bytes(row), parse_float=Decimal) for row in sandbox.books.rows(resource)]


def column(page, name):
    return [row[name] for row in rows_of(page)]


def session_of(client):
    return client._sessions._session.access_token


# Reading


@pytest.mark.parametrize("resource", LISTS)
async def test_a_list_is_read_as_the_books_have_it(sandbox, client, resource):
    page = await client.page(resource, ALL)
    rows = truth(sandbox, resource)
    assert (page.ids, page.line_ids, page.rejected) == ([row["id"] for row in rows], page.ids, [])
    assert len(rows) > 0


async def test_amounts_arrive_with_the_digits_of_the_books(sandbox, client):
    page = await client.page("accounts", ALL)
    assert [Decimal(text) for text in column(page, "balance")] == [row["balance"] for row in truth(sandbox, "accounts")]


async def test_a_query_asks_for_its_part_of_the_list(sandbox, client, budget):
    page = await client.page("deals", Query(page=2, limit=5, descending=True, priority=Priority.SWEEP))
    ids = [row["id"] for row in truth(sandbox, "deals")]
    assert (page.ids, budget.asked) == (ids[::-1][5:10], [Priority.SWEEP])
    (entry,) = sandbox.requests
    assert entry.query == "page=2&limit=5&sort_by=id&dir=DESC"


async def test_behind_the_end_of_a_list_is_an_empty_page(client):
    page = await client.page("deals", Query(page=999, limit=100, remembered={}))
    assert (page.rows, page.ids, len(page.digest)) == (0, [], 16)


@pytest.mark.parametrize("kind", ["null_empty", "bare_list"])
@pytest.mark.parametrize("number", [1, 999])
async def test_every_documented_shape_of_a_list_is_understood(sandbox, client, kind, number):
    expected = (await client.page("deals", Query(page=number, limit=10))).ids
    sandbox.faults.set({"kind": kind})
    assert (await client.page("deals", Query(page=number, limit=10))).ids == expected


async def test_nested_groups_are_found(sandbox, client):
    sandbox.faults.set({"kind": "nested_groups"})
    assert sorted((await client.page("groups", ALL)).ids) == [row["id"] for row in truth(sandbox, "groups")]


@pytest.mark.parametrize("resource", SINGLES)
async def test_one_record_is_read_by_its_id(sandbox, client, budget, resource):
    record_id = truth(sandbox, resource)[0]["id"]
    page = await client.single(resource, record_id, Priority.OPEN)
    assert (page.line_ids, budget.asked) == ([record_id], [Priority.OPEN])
    assert client.can_read_singly(resource)


@pytest.mark.parametrize("resource", SINGLES)
async def test_a_record_that_does_not_exist_is_none(client, resource):
    assert await client.single(resource, 10**9, Priority.NORMAL) is None


@pytest.mark.parametrize("say", [{"kind": "error_before", "status": 404}, {"kind": "success_false", "code": 404}])
async def test_not_found_is_understood_in_both_its_forms(sandbox, client, say):
    sandbox.faults.set(say)
    assert await client.single("deals", 1, Priority.NORMAL) is None


@pytest.mark.parametrize("resource", ["orders_history", "positions_history", "transactions", "commissions", "nonsense"])
def test_what_has_no_single_path_says_so(resource):
    assert not OMTrader(connection("http://127.0.0.1:1"), FreeBudget(), PrivateVault()).can_read_singly(resource)


@pytest.mark.parametrize("resource", ["commissions", "group_symbols"])
async def test_the_lists_of_a_group_are_read_group_by_group(sandbox, client, resource):
    rows = truth(sandbox, resource)
    groups = {row["group_id"] for row in rows}
    for group in groups:
        page = await client.of_group(resource, group, ALL)
        assert page.line_ids == [row["id"] for row in rows if row["group_id"] == group]
        assert set(column(page, "group_id")) == {str(group)}
    assert groups


async def test_transactions_are_read_account_by_account(sandbox, client):
    rows = truth(sandbox, "transactions")
    for account in truth(sandbox, "accounts"):
        page = await client.transactions(account["id"], account["currency"], ALL)
        own = [row for row in rows if row["account_id"] == account["id"]]
        assert (page.line_ids, page.rejected) == ([row["id"] for row in own], [])
        assert [Decimal(text) for text in column(page, "amount")] == [row["profit"] for row in own]
        assert set(column(page, "currency")) <= {account["currency"]}
    assert rows


@pytest.mark.parametrize("path", ["/api/v1/trader/deals", "/api/v1/manager/deals"])
async def test_deals_are_read_where_the_setting_says(sandbox, path):
    async with client_of(sandbox.url, deals_path=path) as client:
        page = await client.page("deals", ALL)
        assert await client.single("deals", page.ids[0], Priority.NORMAL) is not None
    assert {entry.path for entry in sandbox.requests if "deals" in entry.path} == {path, f"{path}/{page.ids[0]}"}


# What need not be read again


async def test_a_remembered_answer_is_not_even_decoded(sandbox, client, monkeypatch):
    first = await client.page("deals", ALL)
    remembered = first.remembered()
    monkeypatch.setattr(module.envelope, "read", lambda _body: pytest.fail("decoded"))
    monkeypatch.setattr(module.RowFormat, "plain", lambda *_: pytest.fail("decoded"))
    again = await client.page("deals", Query(limit=1000, remembered={first.digest: remembered}))
    assert (again is remembered, [*again.ids]) == (True, [row["id"] for row in truth(sandbox, "deals")])


async def test_of_a_page_that_nobody_remembers_no_digest_is_made(client, monkeypatch):
    monkeypatch.setattr(Answer, "digest", property(lambda _answer: pytest.fail("digested")))
    assert (await client.page("deals", Query(limit=1000))).digest == b""


async def test_of_many_answers_that_came_at_once_none_is_read_before_others_had_their_turn(client, monkeypatch):
    plain, turns, read_at, all_are_there = module.RowFormat.plain, [0], [], asyncio.Barrier(5)

    def noted(*given):
        read_at.append(turns[0])
        return plain(*given)

    async def others():
        while True:
            turns[0] += 1
            await asyncio.sleep(0)

    async def at_once(*_given):
        await all_are_there.wait()
        return answered

    await client.log_in()
    answered = await client.calls.get("/api/v1/manager/accounts", Priority.NORMAL, {"page": 1, "limit": 100})
    monkeypatch.setattr(client.calls, "get", at_once)
    monkeypatch.setattr(module.RowFormat, "plain", noted)
    beside = asyncio.create_task(others())
    await asyncio.gather(*(client.page("accounts", Query(limit=100)) for _ in range(5)))
    beside.cancel()
    assert len(set(read_at)) == 5


async def test_an_answer_of_too_many_values_is_not_taken_apart_to_see_which_are_known(client, monkeypatch):
    await client.log_in()
    monkeypatch.setattr(module_of_rows, "VALUE_LIMIT", 100)
    monkeypatch.setattr(Wrapping, "texts", lambda *_: pytest.fail("taken apart"))
    with pytest.raises(TransientError, match="not readable"):
        await client.page("accounts", Query(limit=1000, known=lambda *_: {}))


@pytest.mark.parametrize(("resource", "asked"), [("accounts", True), ("groups", False)])
async def test_what_is_known_is_asked_for_where_a_record_is_one_row(client, resource, asked):
    spans = []
    page = await client.page(resource, Query(limit=1000, known=lambda *span: spans.append(span) or {}))
    assert spans == ([(min(page.ids), max(page.ids))] if asked else [])
    assert len(page.lines) == page.rows == len(set(page.ids)) > 0
    assert len(page.marks) == (page.rows if asked else 0)


async def test_an_answer_that_differs_is_read(sandbox, client):
    first = await client.page("accounts", ALL)
    sandbox.books.trade(5)
    again = await client.page("accounts", Query(limit=1000, remembered={first.digest: first.remembered()}))
    assert (again.digest == first.digest, again.unchanged) == (False, False)


async def test_the_same_content_of_another_account_is_not_the_remembered_page():
    body = b'{"success":true,"data":[{"id":1,"amount":5}]}'
    login = b'{"success":true,"data":{"access_token":"t","expires_in":3600}}'
    async with canned(answers(answer(login), answer(body))) as server, client_of(server.url) as client:
        first = await client.transactions(1, "EUR", ALL)
        other = await client.transactions(2, "EUR", Query(limit=9, remembered={first.digest: first.remembered()}))
        again = await client.transactions(1, "EUR", Query(limit=9, remembered={first.digest: first.remembered()}))
    assert (column(other, "account_id"), other.unchanged, again.unchanged) == (["2"], False, True)


# Sessions


async def test_tokens_that_expire_midway_are_healed_by_one_login(sandbox, client):
    sandbox.faults.set({"kind": "expire_tokens", "times": 1})
    assert (await client.page("accounts", ALL)).rows == SMALL.accounts
    assert [entry.status for entry in sandbox.requests] == [401, 200, 200]


async def test_many_requests_that_meet_an_expired_token_share_one_login(sandbox, client):
    sandbox.platform.expire_tokens()
    pages = await asyncio.gather(*(client.page(resource, ALL) for resource in LISTS for _ in range(3)))
    assert (sandbox.requests.logins, all(page.rows for page in pages)) == (1, True)


async def test_a_token_that_is_refused_right_after_a_login_is_a_matter_of_configuration(sandbox, client):
    sandbox.faults.set({"kind": "expire_tokens"})
    with pytest.raises(ConfigurationError, match="right after a fresh login"):
        await client.page("accounts", ALL)
    assert [entry.status for entry in sandbox.requests] == [401, 200, 401]


async def test_a_refused_token_under_a_good_status_is_healed_as_well(sandbox, client):
    sandbox.faults.set({"kind": "success_false", "code": 401, "times": 1})
    assert (await client.page("accounts", ALL)).rows == SMALL.accounts
    assert (sandbox.requests.logins, len(sandbox.requests)) == (1, 3)


async def test_every_request_carries_the_session_and_the_login_the_credentials(sandbox):
    async with client_of(sandbox.url, password="wrong") as client:
        with pytest.raises(LoginRefusedError):
            await client.page("accounts", ALL)
    assert [entry.status for entry in sandbox.requests] == [401]


async def test_logging_in_tells_the_facts_and_costs_nothing_twice(sandbox, client):
    facts = await client.log_in()
    assert (facts.account_id, facts.scope, facts.sandbox, client.trouble) == (2, "Manager", True, None)
    assert (abs(facts.skew) < 5, len(sandbox.requests)) == (True, 0)


# Trouble


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        ({"kind": "forbid"}, ConfigurationError, "the Manager account may not read this"),
        ({"kind": "success_false", "code": 403}, ConfigurationError, "may not read this"),
        ({"kind": "error_before", "status": 404}, PermanentError, "HTTP 404"),
        ({"kind": "error_before", "status": 422}, PermanentError, "HTTP 422"),
        ({"kind": "success_false", "code": 400, "message": "bad\npage"}, PermanentError, "HTTP 200: bad page"),
        ({"kind": "success_false", "code": 500, "message": "oops"}, TransientError, "HTTP 200: oops"),
        ({"kind": "error_before", "status": 409}, TransientError, "HTTP 409"),
        ({"kind": "error_before", "status": 500}, TransientError, "HTTP 500"),
        ({"kind": "error_after", "status": 503}, TransientError, "HTTP 503"),
        ({"kind": "drop_before"}, TransientError, "the connection broke"),
        ({"kind": "drop_after"}, TransientError, "the connection broke"),
        ({"kind": "html"}, TransientError, "not OMTrader's envelope"),
        ({"kind": "html", "status": 502}, TransientError, "HTTP 502"),
        ({"kind": "truncated"}, TransientError, "not OMTrader's envelope"),
        ({"kind": "truncated", "keep": 0}, TransientError, "not OMTrader's envelope"),
        ({"kind": "truncated", "announce": True}, TransientError, "the connection broke"),
        ({"kind": "huge", "size": None}, TransientError, "larger than 32 MiB"),
        ({"kind": "wrong_shape"}, TransientError, "holds no list"),
        ({"kind": "wrong_shape", "value": "5"}, TransientError, "holds no list"),
        ({"kind": "wrong_shape", "value": '{"records":5}'}, TransientError, "holds no list"),
        ({"kind": "wrong_shape", "value": '"failure"'}, TransientError, "holds no list"),
        ({"kind": "wrong_shape", "value": "[" * 9999 + "]" * 9999}, TransientError, "not OMTrader's envelope"),
    ],
)
async def test_trouble_of_every_kind_is_an_error_that_says_what_happens_next(sandbox, client, fault, error, words):
    sandbox.faults.set(fault)
    with pytest.raises(error) as caught:
        await client.page("deals", Query(limit=50))
    assert (type(caught.value), words in str(caught.value), "\n" in str(caught.value)) == (error, True, False), (
        caught.value
    )
    assert (session_of(client) in str(caught.value), SMALL.password in str(caught.value).split()) == (False, False)


async def test_after_any_trouble_the_next_request_works(sandbox, client, budget):
    for kind in ("drop_after", "huge", "truncated", "html", "error_before"):
        sandbox.faults.set({"kind": kind, "times": 1})
        with pytest.raises(TransientError):
            await client.page("deals", ALL)
        assert (await client.page("deals", ALL)).rows == len(truth(sandbox, "deals"))
    assert budget.held == 0


@pytest.mark.parametrize("fault", [{"kind": "deaf"}, {"kind": "slow_body", "bytes_per_second": 100}])
async def test_a_platform_that_takes_its_time_costs_the_timeout_and_no_more(sandbox, client, fault):
    sandbox.faults.set(fault)
    client._http._timeout = 0.2
    with pytest.raises(TransientError, match=r"no complete answer within 0\.2 s"):
        await client.page("deals", ALL)


@pytest.mark.parametrize(("retry_after", "told"), [(7, 7.0), (None, 5.0)])
async def test_a_rate_limit_is_transient_and_told_to_the_budget(sandbox, client, budget, retry_after, told):
    sandbox.faults.set({"kind": "rate_limited", "retry_after": retry_after})
    with pytest.raises(TransientError, match="pause") as caught:
        await client.page("deals", ALL)
    assert (caught.value.retry_after, budget.told) == (retry_after, [("limited", told)])


async def test_a_rate_limit_under_a_good_status_is_told_to_the_budget_as_well(sandbox, client, budget):
    sandbox.faults.set({"kind": "success_false", "code": 429})
    with pytest.raises(TransientError, match="pause"):
        await client.page("deals", ALL)
    assert budget.told[-1] == ("limited", 5.0)


async def test_a_redirect_is_reported_and_not_followed(sandbox, client):
    sandbox.faults.set({"kind": "error_before", "status": 302})
    with pytest.raises(TransientError, match=r"HTTP 302: .*a redirect, which is never followed: check base_url"):
        await client.page("deals", ALL)
    assert len(sandbox.requests) == 1


async def test_a_time_to_come_back_is_passed_on_with_other_trouble_too():
    login = b'{"success":true,"data":{"access_token":"t","expires_in":3600}}'
    says = answers(answer(login), answer(b"", "503 Service Unavailable", retry_after="9"))
    async with canned(says) as server, client_of(server.url) as client:
        with pytest.raises(TransientError) as caught:
            await client.page("deals", ALL)
    assert caught.value.retry_after == 9


async def test_a_platform_in_a_pause_is_not_asked(sandbox, client, budget):
    budget.refusal = PausedError("left alone")
    with pytest.raises(PausedError):
        await client.page("deals", ALL)
    assert len(sandbox.requests) == 0


@pytest.mark.parametrize("value", ["null", '"success"', "5", "[]"])
async def test_a_single_answer_without_a_record_is_not_taken_for_gone(sandbox, client, value):
    sandbox.faults.set({"kind": "wrong_shape", "value": value})
    with pytest.raises(TransientError, match="deals 1: the answer holds no record"):
        await client.single("deals", 1, Priority.NORMAL)


# Bad records


@pytest.mark.parametrize(
    ("field", "value"),
    [("price", "NaN"), ("price", "Infinity"), ("price", '"1.5"'), ("price", "1e400"), ("id", None), ("id", "9" * 30),
     ("comment", r'"\ud800"'), ("comment", r'"\u0000"'), ("created_at", '"soon"'), ("account", "NaN")],
)  # fmt: skip
async def test_a_malformed_record_is_rejected_and_the_rest_of_the_page_kept(sandbox, client, field, value):
    good = await client.page("deals", ALL)
    sandbox.faults.set({"kind": "malformed_record", "field": field, "value": value, "row": 1})
    page = await client.page("deals", ALL)
    assert (page.line_ids, len(page.rejected)) == ([good.ids[0], *good.ids[2:]], 1)
    assert page.rejected[0].reason.endswith((f"`{field}`", f"`$.{field}`"))


@pytest.mark.parametrize("resource", LISTS)
async def test_no_password_of_any_list_is_kept(sandbox, client, resource):
    sandbox.faults.set({"kind": "password_leak"})
    page = await client.page(resource, ALL)
    assert (LEAKED in repr(page), page.rejected, len(page.lines) > 0) == (False, [], True)


async def test_no_password_of_a_malformed_record_is_kept(sandbox, client):
    sandbox.faults.set([{"kind": "password_leak"}, {"kind": "malformed_record", "field": "balance", "value": "NaN"}])
    page = await client.page("accounts", ALL)
    assert (LEAKED in repr(page), len(page.rejected)) == (False, 1)


async def test_fields_in_another_order_and_new_ones_change_no_known_column(sandbox, client):
    before = await client.page("deals", ALL)
    sandbox.faults.set([{"kind": "shuffle_fields"}, {"kind": "extra_field", "name": "novelty", "value": "1.10"}])
    after = await client.page("deals", ALL)
    assert [line.rsplit(b"\t", 1)[0] for line in after.lines] == [line.rsplit(b"\t", 1)[0] for line in before.lines]
    assert {row["extra"] for row in rows_of(after)} == {'{"novelty":1.10}'}


async def test_repeated_rows_are_listed_twice_and_written_once(sandbox, client):
    sandbox.faults.set({"kind": "duplicate_rows", "rows": 3})
    page = await client.page("deals", ALL)
    ids, lines = page.distinct()
    assert (page.rows - len(ids), len(ids), len(lines)) == (3, len(truth(sandbox, "deals")), len(ids))


# TLS and secrets


async def test_a_platform_with_a_private_authority_is_read_through_ca_file(tmp_path):
    authority = Authority(tmp_path)
    login = answer(b'{"success":true,"data":{"access_token":"t","expires_in":3600}}')
    says = answers(login, answer(b'{"success":true,"data":"success"}'))
    async with canned(says, tls=authority.server()) as server:
        async with client_of(server.url, ca_file=authority.ca_file) as client:
            assert (await client.page("deals", ALL)).rows == 0
        async with client_of(server.url) as client:
            with pytest.raises(TransientError, match=r"login: TLS: .* set ca_file"):
                await client.page("deals", ALL)


async def test_what_the_platform_repeats_of_our_token_is_masked():
    login = b'{"success":true,"data":{"access_token":"very-secret","expires_in":3600}}'
    told = b'{"success":false,"code":400,"message":"token very-secret is odd"}'
    async with canned(answers(answer(login), answer(told))) as server, client_of(server.url) as client:
        with pytest.raises(PermanentError, match=r"HTTP 200: token \*\*\* is odd"):
            await client.page("deals", ALL)
        assert b"authorization: bearer very-secret" in server.heard[1].lower()


async def test_no_repr_shows_a_secret(client):
    shown = repr([client, connection("http://x", password="hunter2"), client._sessions, client._http, Page(())])
    assert ("hunter2" in shown, session_of(client) in shown, "base_url" in shown) == (False, False, True)
