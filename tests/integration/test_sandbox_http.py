import asyncio
import base64
import json
import os
import re
import signal
import socket
import subprocess
import sys
from decimal import Decimal

import aiohttp
import pytest

from counterfoil.sandbox import Sandbox, SandboxOptions

LOGIN = "/api/v1/oauth2/login?remember_me=false"
MANAGER = "/api/v1/manager"
GOOD = SandboxOptions().password
DEALS = "/api/v1/trader/deals"
CLOSED = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)


class Asker:
    """The least of a client: it sends and shows what came."""

    def __init__(self, sandbox, session):
        self.sandbox, self.session, self.headers = sandbox, session, {}

    async def login(self, name="crm-api", password=GOOD):
        basic = base64.b64encode(f"{name}:{password}".encode()).decode()
        status, envelope = await self.ask("POST", LOGIN, headers={"Authorization": f"Basic {basic}"})
        if status == 200:
            self.headers = {"Authorization": f"Bearer {envelope['data']['access_token']}"}
        return status, envelope

    async def text(self, method, path, **rest):
        rest.setdefault("headers", self.headers)
        async with self.session.request(method, self.sandbox.url + path, **rest) as answer:
            return answer.status, await answer.text(), answer.headers

    async def ask(self, method, path, **rest):
        status, text, _ = await self.text(method, path, **rest)
        return status, json.loads(text, parse_float=Decimal)

    async def get(self, path):
        status, envelope = await self.ask("GET", path)
        assert (status, envelope["success"]) == (200, True), envelope
        return envelope["data"]

    async def ids(self, path):
        data = await self.get(path)
        return [] if data == "success" else [row["id"] for row in data["records"]]

    async def admin(self, method, path, **rest):
        return await self.ask(method, f"/_sandbox/{path}", headers={}, **rest)


async def opened(**wishes):
    sandbox = Sandbox(SandboxOptions(**{"clients": 12, "accounts": 30, "deals": 400, "seed": 5, **wishes}))
    await sandbox.start()
    return sandbox


@pytest.fixture
async def asker():
    sandbox = await opened()
    async with aiohttp.ClientSession() as session:
        asker = Asker(sandbox, session)
        await asker.login()
        sandbox.requests.clear()
        yield asker
    await sandbox.stop()


# Login and scope


async def test_a_login_gives_a_token_and_says_that_this_is_a_sandbox(asker):
    status, envelope = await asker.login()
    assert (status, envelope["success"], envelope["code"]) == (200, True, 200)
    data = envelope["data"]
    assert (data["scope"], data["expires_in"], data["sandbox"]) == ("Manager", 3600, True)
    assert {"account_id", "access_token", "refresh_token", "session_id", "ip_address"} <= set(data)
    assert asker.sandbox.requests.logins == 1


@pytest.mark.parametrize("who", [("crm-api", "wrong"), ("nobody", "sandbox"), ("", "")])
async def test_a_wrong_password_is_401_in_the_envelope(asker, who):
    status, envelope = await asker.login(*who)
    assert (status, envelope["success"], envelope["code"], envelope["data"]) == (401, False, 401, None)
    assert envelope["error"] == "Unauthorized"


@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer nonsense"}, {"Authorization": "Basic !"}])
async def test_without_a_token_nothing_is_answered(asker, header):
    assert (await asker.ask("GET", f"{MANAGER}/clients", headers=header))[0] == 401
    assert (await asker.ask("POST", LOGIN, headers=header))[0] == 401


async def test_a_token_expires():
    sandbox = await opened(token_lifetime=0)
    async with aiohttp.ClientSession() as session:
        asker = Asker(sandbox, session)
        assert (await asker.login())[0] == 200
        assert (await asker.ask("GET", f"{MANAGER}/clients"))[0] == 401
    await sandbox.stop()


async def test_a_trader_sees_no_manager_endpoint_and_only_its_own_deals(asker):
    assert (await asker.login("trader", "trader"))[1]["data"]["scope"] == "Trader"
    assert (await asker.ask("GET", f"{MANAGER}/clients"))[0] == 403
    data = await asker.get(f"{DEALS}?page=-1")
    assert {row["account_id"] for row in data["records"]} == {1}
    foreign = next(deal.id for deal in asker.sandbox.books.deals if deal.account_id != 1)
    assert (await asker.ask("GET", f"{DEALS}/{foreign}"))[0] == 404


# Reading

LISTED = {
    "clients": "clients",
    "accounts": "accounts",
    "groups": "groups",
    "symbols": "symbols",
    "orders": "orders",
    "orders/history": "orders_history",
    "positions": "positions",
    "positions/history": "positions_history",
    "deals": "deals",
}


@pytest.mark.parametrize(("path", "resource"), LISTED.items())
async def test_a_listing_holds_the_books_to_the_byte(asker, path, resource):
    _, text, headers = await asker.text("GET", f"{MANAGER}/{path}?page=-1")
    assert headers["X-Sandbox"] == "1"
    rows = b",".join(asker.sandbox.books.rows(resource)).decode()
    assert f'"data":{{"records":[{rows}]' in text
    assert "password" not in text
    tokens = []
    json.loads(text, parse_float=tokens.append, parse_constant=tokens.append)
    assert all(re.fullmatch(r"-?\d+\.\d*[1-9]", token) for token in tokens)


async def test_pages_of_deals_come_by_id_under_both_paths(asker):
    ids = asker.sandbox.books.deals.ids
    assert await asker.ids(f"{DEALS}?page=2&limit=50&sort_by=id&dir=ASC") == ids[50:100]
    assert await asker.ids(f"{MANAGER}/deals?page=1&limit=3&sort_by=id&dir=desc") == ids[:-4:-1]
    assert await asker.get(f"{DEALS}?page=99") == "success"


async def test_the_servers_own_limit_is_silent():
    sandbox = await opened(page_limit=40)
    async with aiohttp.ClientSession() as session:
        asker = Asker(sandbox, session)
        await asker.login()
        assert len(await asker.ids(f"{DEALS}?limit=5000")) == 40
    await sandbox.stop()


async def test_nonsense_in_a_query_is_400(asker):
    status, envelope = await asker.ask("GET", f"{DEALS}?page=zero")
    assert (status, envelope["error"]) == (400, "Invalid Input")


async def test_groups_have_commissions_and_symbols(asker):
    commissions = await asker.get(f"{MANAGER}/groups/12/commissions")
    assert {row["group_id"] for row in commissions["records"]} == {12}
    assert {tier["currency"] for row in commissions["records"] for tier in row["commission_tiers"]} == {"JPY"}
    symbols = await asker.get(f"{MANAGER}/groups/12/symbols")
    assert [row["symbol_id"] for row in symbols["records"]] == asker.sandbox.books.symbols.ids
    assert await asker.get(f"{MANAGER}/groups/1/commissions") == "success"
    assert (await asker.ask("GET", f"{MANAGER}/groups/5555/symbols"))[0] == 404


async def test_transactions_are_the_accounts_own(asker):
    data = await asker.get(f"{MANAGER}/accounts/1/transactions/history?page=1&limit=100")
    assert {row["account_id"] for row in data["records"]} == {1}
    assert await asker.get(f"{MANAGER}/accounts/20/transactions/history") == "success"
    assert (await asker.ask("GET", f"{MANAGER}/accounts/5555/transactions/history"))[0] == 404


@pytest.mark.parametrize("name", ["clients", "accounts", "groups", "group", "symbols", "orders", "positions", "deals"])
async def test_a_single_row_is_the_one_of_the_listing(asker, name):
    table = asker.sandbox.books.table("groups" if name == "group" else name)
    key = table.ids[-1]
    assert (await asker.get(f"{MANAGER}/{name}/{key}"))["id"] == key
    status, envelope = await asker.ask("GET", f"{MANAGER}/{name}/999999")
    assert (status, envelope["error"]) == (404, "Not Found")


async def test_a_path_with_a_doubled_slash_is_understood_as_it_is_printed_in_the_guide(asker):
    assert (await asker.get("//api/v1/manager/clients/3"))["id"] == 3


async def test_closed_positions_and_orders_are_read_singly(asker):
    books = asker.sandbox.books
    assert (await asker.get(f"{MANAGER}/positions/{books.positions_history.ids[0]}"))["status"] == 2
    assert (await asker.get(f"{MANAGER}/orders/{books.orders_history.ids[0]}"))["time_done"]


@pytest.mark.parametrize(
    "path", ["/", "/api/v1/manager/people", "/api/v1/manager/clients/one", "/api/v1/trader/clients/3"]
)
async def test_an_unknown_path_is_404_in_the_envelope(asker, path):
    status, envelope = await asker.ask("GET", path)
    assert (status, envelope["success"], envelope["code"]) == (404, False, 404)


# Writing


async def test_a_client_and_an_account_are_born_changed_and_buried(asker):
    person = {"first_name": "Ada", "family_name": 'L"\u00e9on', "external_id": "crm-1", "net_worth": 12.5, "balance": 1}
    status, envelope = await asker.ask("POST", f"{MANAGER}/clients", json=person)
    client = envelope["data"]
    assert (status, client["external_id"], client["net_worth"]) == (201, "crm-1", Decimal("12.5"))
    wish = {
        "group_id": 79,
        "client_id": client["id"],
        "username": "ada",
        "user_password": "s3cret!",
        "first_name": "Ada",
    }
    status, text, _ = await asker.text("POST", f"{MANAGER}/accounts", json=wish)
    account = json.loads(text)["data"]
    assert (status, account["balance"], account["user"]["username"]) == (201, 0, "ada")
    assert "s3cret!" not in text

    path = f"{MANAGER}/clients/{client['id']}"
    changed = (await asker.ask("PUT", path, json={"city": "Rome", "id": 77}))[1]["data"]
    assert (changed["city"], changed["external_id"], changed["id"]) == ("Rome", "crm-1", client["id"])
    assert changed["updated_at"] > client["updated_at"]
    account_path = f"{MANAGER}/accounts/{account['id']}"
    changed = (await asker.ask("PUT", account_path, json={"leverage": 30, "balance": 999, "phone": "+1"}))[1]["data"]
    assert (changed["leverage"], changed["balance"], changed["user"]["phone"]) == (30, 0, "+1")

    assert (await asker.ask("DELETE", path))[0] == 400
    assert await asker.ask("DELETE", account_path) == (200, (await asker.ask("DELETE", path))[1])
    assert (await asker.ask("GET", account_path))[0] == 404


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("clients", {"first_name": "Ada"}),
        ("clients", {"first_name": "Ada", "family_name": "L", "kyc_status": "yes"}),
        ("clients", {"first_name": "Ada", "family_name": "L", "type": 10**30}),
        ("clients", ["Ada"]),
        ("accounts", {"group_id": 79, "client_id": 1, "username": "u", "user_password": "p"}),
        ("accounts", {"group_id": 1, "client_id": 3, "username": "u", "user_password": "p"}),
        ("accounts", {"group_id": 79, "client_id": 3, "username": "u"}),
        ("accounts/1/money", {"amount": 0}),
        ("accounts/1/money", {"amount": -5}),
        ("accounts/1/money", {"amount": "5"}),
        ("accounts/1/money", {"amount": True}),
        ("accounts/1/money", {"amount": 0.001}),
        ("accounts/1/money", {"amount": 5, "side": 1}),
        ("accounts/1/money", {"amount": 5, "direction": 2}),
        ("accounts/1/money", {"amount": 10**14, "direction": 1}),
    ],
)
async def test_a_wrong_wish_is_400_and_changes_nothing(asker, path, body):
    before = asker.sandbox.books.truth()
    status, envelope = await asker.ask("POST", f"{MANAGER}/{path}", json=body)
    assert (status, envelope["error"]) == (400, "Invalid Input")
    assert asker.sandbox.books.truth() == before


@pytest.mark.parametrize(("side", "direction"), [(2, 0), (2, 1), (3, 0)])
async def test_money_moves_once_and_shows_everywhere(asker, side, direction):
    books = asker.sandbox.books
    account = next(row for row in books.accounts if row.group.digits == 2 and row.free - row.credit > 10_000)
    before = (account.balance, account.credit)
    wish = {"amount": 12.34, "side": side, "direction": direction, "comment": "ref-1"}
    status, envelope = await asker.ask("POST", f"{MANAGER}/accounts/{account.id}/money", json=wish)
    row, signed = envelope["data"], -1234 if direction else 1234
    assert (status, row["profit"], row["amount"]) == (201, Decimal(signed) / 100, Decimal("12.34"))
    assert (row["account_id"], row["side"], row["direction"], row["comment"]) == (account.id, side, direction, "ref-1")
    assert (account.balance - before[0], account.credit - before[1]) == ((signed, 0) if side == 2 else (0, signed))
    assert (await asker.get(f"{DEALS}/{row['id']}"))["comment"] == "ref-1"
    history = await asker.get(f"{MANAGER}/accounts/{account.id}/transactions/history?dir=DESC&limit=1")
    assert history["records"] == [row]
    assert books.check() == []


# Faults


async def weather(asker, **fault):
    asker.sandbox.faults.set(fault)
    return asker


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        ({"kind": "error_before", "status": 503}, 503),
        ({"kind": "error_after", "status": 502}, 502),
        ({"kind": "rate_limited"}, 429),
        ({"kind": "forbid"}, 403),
        ({"kind": "expire_tokens"}, 401),
        ({"kind": "html", "status": 502}, 502),
        ({"kind": "drop_before"}, None),
        ({"kind": "drop_after"}, None),
        ({"kind": "success_false"}, 200),
        ({"kind": "success_false", "after": True}, 200),
        ({"kind": "delay", "seconds": 0.001}, 201),
        ({"kind": "truncated"}, 201),
    ],
)
async def test_a_write_happens_or_not_as_the_fault_says(asker, fault, status):
    books = asker.sandbox.books
    await weather(asker, times=1, **fault)
    before = len(books.transactions)
    try:
        answer, _, headers = await asker.text("POST", f"{MANAGER}/accounts/1/money", json={"amount": 5})
    except CLOSED:
        answer, headers = None, {}
    assert answer == status
    happened = fault["kind"] in {"error_after", "drop_after", "html", "delay", "truncated"} or fault.get("after", False)
    assert len(books.transactions) - before == happened
    assert asker.sandbox.requests.entries[-1].status == status
    assert headers.get("Retry-After") == ("1" if status == 429 else None)


async def test_a_fault_that_ran_out_is_over(asker):
    await weather(asker, kind="error_before", times=2)
    statuses = [(await asker.ask("GET", f"{MANAGER}/symbols"))[0] for _ in range(3)]
    assert statuses == [500, 500, 200]


async def test_expired_tokens_need_a_new_login(asker):
    await weather(asker, kind="expire_tokens", times=1)
    assert [(await asker.ask("GET", f"{MANAGER}/symbols"))[0] for _ in range(2)] == [401, 401]
    await asker.login()
    assert (await asker.ask("GET", f"{MANAGER}/symbols"))[0] == 200


async def test_deaf_never_answers_and_does_not_hinder_the_end(asker):
    await weather(asker, kind="deaf")
    with pytest.raises(TimeoutError):
        await asker.text("GET", f"{MANAGER}/clients", timeout=aiohttp.ClientTimeout(total=0.05))
    waiting = asyncio.ensure_future(asker.text("GET", f"{MANAGER}/groups"))
    await asker.sandbox.requests.reached(1, "groups")
    await asker.sandbox.stop()
    with pytest.raises(CLOSED):
        await waiting
    assert asker.sandbox.requests.running == 0


async def test_a_delayed_write_happens_although_nobody_waits_for_it_any_more(asker):
    await weather(asker, kind="delay", seconds=3600)
    before = len(asker.sandbox.books.transactions)
    timeout = aiohttp.ClientTimeout(total=0.05)
    with pytest.raises(TimeoutError):
        await asker.text("POST", f"{MANAGER}/accounts/1/money", json={"amount": 5}, timeout=timeout)
    assert len(asker.sandbox.books.transactions) == before
    await asker.sandbox.stop()
    assert len(asker.sandbox.books.transactions) == before + 1


async def test_a_body_can_trickle(asker):
    await weather(asker, kind="slow_body", bytes_per_second=20_000)
    entry = await asker.ids(f"{DEALS}?limit=2")
    assert entry == asker.sandbox.books.deals.ids[:2]


async def test_a_body_can_be_longer_than_anybody_wants(asker):
    await weather(asker, kind="huge", size=1_000_000)
    _, text, _ = await asker.text("GET", f"{MANAGER}/clients")
    assert 1_000_000 <= len(text) < 1_100_000
    assert len(json.loads(text)["data"]["records"]) > 10
    await weather(asker, kind="huge", size=None)
    async with asker.session.get(f"{asker.sandbox.url}{MANAGER}/clients", headers=asker.headers) as answer:
        assert len(await answer.content.readexactly(5_000_000)) == 5_000_000
        answer.close()


async def test_a_promised_body_can_break_off(asker):
    await weather(asker, kind="truncated", keep=100, announce=True)
    with pytest.raises(aiohttp.ClientPayloadError):
        await asker.text("GET", f"{MANAGER}/clients")


@pytest.mark.parametrize(
    ("fault", "pages"),
    [
        ({"kind": "short_page", "rows": 3}, [(0, 3), (10, 13)]),
        ({"kind": "overlap_page", "rows": 2}, [(0, 10), (8, 18)]),
        ({"kind": "same_page"}, [(0, 10), (0, 10)]),
        ({"kind": "cap", "rows": 14}, [(0, 10), (10, 14), (0, 0)]),
        ({"kind": "ignore_limit", "limit": 4}, [(0, 4), (4, 8)]),
    ],
)
async def test_paging_can_go_wrong(asker, fault, pages):
    await weather(asker, **fault)
    ids = asker.sandbox.books.deals.ids
    for page, (start, stop) in enumerate(pages, 1):
        assert await asker.ids(f"{DEALS}?page={page}&limit=10") == ids[start:stop]


async def test_sorting_can_be_ignored(asker):
    await weather(asker, kind="ignore_sort")
    assert await asker.ids(f"{DEALS}?limit=5&sort_by=id&dir=ASC") == asker.sandbox.books.deals.ids[:-6:-1]


async def test_rows_can_come_twice(asker):
    await weather(asker, kind="duplicate_rows", rows=2)
    ids = asker.sandbox.books.deals.ids
    assert await asker.ids(f"{DEALS}?limit=5") == ids[:2] + ids[:5]


async def test_late_rows_appear_below_the_newest(asker):
    await weather(asker, kind="late_rows", rows=2, after=1)
    ids = asker.sandbox.books.deals.ids
    seen = [await asker.ids(f"{DEALS}?page=-1") for _ in range(3)]
    assert seen == [ids[:-3] + ids[-1:]] * 2 + [ids]


async def test_a_share_of_the_rows_can_vanish(asker):
    await weather(asker, kind="vanish", fraction=0.3)
    seen = await asker.ids(f"{DEALS}?page=-1")
    assert 0.6 < len(seen) / len(asker.sandbox.books.deals) < 0.8
    assert await asker.ids(f"{DEALS}?page=-1") == seen


@pytest.mark.parametrize("path", ["deals", "positions", "orders", "positions/history"])
async def test_the_front_can_leave_between_pages(asker, path):
    await weather(asker, kind="shift")
    ids = list(asker.sandbox.books.table(LISTED[path]).ids)
    assert await asker.ids(f"{MANAGER}/{path}?limit=1") == ids[:1]
    assert await asker.ids(f"{MANAGER}/{path}?limit=1&page=2") == ids[2:3]
    assert asker.sandbox.books.check() == []


async def test_a_row_can_enter_between_pages(asker):
    await weather(asker, kind="shift", action="insert")
    ids = list(asker.sandbox.books.deals.ids)
    assert await asker.ids(f"{DEALS}?limit=20") == ids[:20]
    assert (await asker.ids(f"{DEALS}?limit=20&page=2"))[0] == ids[19]


async def test_pages_can_go_on_for_ever(asker):
    await weather(asker, kind="endless_pages")
    ids = asker.sandbox.books.deals.ids
    assert await asker.ids(f"{DEALS}?limit=300&page=2") == ids[300:] + [ids[-1] + n for n in range(1, 201)]
    assert await asker.ids(f"{DEALS}?limit=300&page=3") == [ids[-1] + n for n in range(201, 501)]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("profit", "NaN"),
        ("profit", '"abc"'),
        ("price", "1e400"),
        ("volume", "9" * 40),
        ("id", str(2**64)),
        ("id", None),
    ],
)
async def test_a_record_can_be_malformed_to_the_token(asker, field, value):
    await weather(asker, kind="malformed_record", field=field, value=value, row=1)
    _, text, _ = await asker.text("GET", f"{DEALS}?limit=3")
    rows = text.split('"total"')[0].count(f'"{field}":')
    assert rows == (3 if value else 2)
    assert value is None or f'"{field}":{value}' in text


async def test_fields_can_change_places_and_numbers_stay_exact(asker):
    straight = await asker.get(f"{DEALS}?limit=20")
    await weather(asker, kind="shuffle_fields")
    shuffled = await asker.get(f"{DEALS}?limit=20")
    assert shuffled == straight
    assert [list(row) for row in shuffled["records"]] != [list(row) for row in straight["records"]]


async def test_rows_can_carry_more_than_documented_even_in_the_answer_to_a_write(asker):
    asker.sandbox.faults.set([{"kind": "extra_field", "name": "rank", "value": "[1]"}, {"kind": "password_leak"}])
    for row in ((await asker.get(f"{DEALS}?limit=1"))["records"][0], await asker.get(f"{MANAGER}/clients/3")):
        assert (row["rank"], row["user_password"]) == ([1], "leaked-secret")
    status, envelope = await asker.ask("POST", f"{MANAGER}/accounts/1/money", json={"amount": 5})
    assert (status, envelope["data"]["rank"]) == (201, [1])


@pytest.mark.parametrize("value", ['{"unexpected":1}', "7", "[]"])
async def test_data_can_have_a_wrong_shape(asker, value):
    await weather(asker, kind="wrong_shape", value=value)
    assert await asker.get(DEALS) == json.loads(value)


async def test_lists_can_be_bare_and_empties_null(asker):
    asker.sandbox.faults.set([{"kind": "bare_list"}, {"kind": "null_empty"}])
    assert [row["id"] for row in await asker.get(f"{DEALS}?limit=2")] == asker.sandbox.books.deals.ids[:2]
    assert await asker.get(f"{DEALS}?page=999") is None


async def test_groups_can_be_nested(asker):
    await weather(asker, kind="nested_groups")
    roots = (await asker.get(f"{MANAGER}/groups"))["records"]
    assert [group["id"] for group in roots] == [1, 2]
    pro = next(group for group in roots[0]["groups"] if group["id"] == 13)
    assert [group["id"] for group in pro["groups"]] == [20]


async def test_what_is_closed_can_be_unreadable(asker):
    await weather(asker, kind="hide_closed")
    books = asker.sandbox.books
    assert (await asker.ask("GET", f"{MANAGER}/positions/{books.positions_history.ids[0]}"))[0] == 404
    assert (await asker.ask("GET", f"{MANAGER}/positions/{books.positions.ids[0]}"))[0] == 200


async def test_writes_can_be_stricter_than_assumed(asker):
    asker.sandbox.faults.set([{"kind": "unique"}, {"kind": "put_replaces"}, {"kind": "comment_cut", "length": 4}])
    person = {"first_name": "Ada", "family_name": "L", "external_id": "crm-x", "city": "Rome"}
    client = (await asker.ask("POST", f"{MANAGER}/clients", json=person))[1]["data"]
    assert (await asker.ask("POST", f"{MANAGER}/clients", json=person))[0] == 409
    wish = {"group_id": 79, "client_id": client["id"], "username": "ada", "user_password": "p"}
    statuses = [(await asker.ask("POST", f"{MANAGER}/accounts", json=wish))[0] for _ in range(2)]
    assert statuses == [201, 409]
    changed = (await asker.ask("PUT", f"{MANAGER}/clients/{client['id']}", json={"first_name": "Ida"}))[1]["data"]
    assert (changed["first_name"], changed["city"]) == ("Ida", "")
    money = (await asker.ask("POST", f"{MANAGER}/accounts/1/money", json={"amount": 5, "comment": "123456"}))[1]["data"]
    assert money["comment"] == "1234"


WRITES = [
    ("POST", "clients", {"first_name": "Ada", "family_name": "L"}),
    ("POST", "accounts", {"group_id": 79, "client_id": 3, "username": "ada", "user_password": "p"}),
    ("POST", "accounts/1/money", {"amount": 5}),
    ("PUT", "clients/3", {"city": "Rome"}),
]


@pytest.mark.parametrize(("method", "path", "body"), WRITES)
async def test_a_write_can_be_answered_without_an_id_although_it_happened(asker, method, path, body):
    honest = (await asker.ask(method, f"{MANAGER}/{path}", json=body))[1]["data"]
    await weather(asker, kind="answer_without_id")
    status, envelope = await asker.ask(method, f"{MANAGER}/{path}", json=body)
    assert (status, envelope["success"]) == (201 if method == "POST" else 200, True)
    assert set(honest) - set(envelope["data"]) == {"id"}


@pytest.mark.parametrize(("method", "path", "body"), WRITES)
async def test_a_write_can_be_answered_with_a_text_although_it_happened(asker, method, path, body):
    books = asker.sandbox.books
    await weather(asker, kind="answer_text")
    before = len(books.clients) + len(books.accounts) + len(books.transactions)
    _, envelope = await asker.ask(method, f"{MANAGER}/{path}", json=body)
    assert (envelope["success"], envelope["data"]) == (True, "success")
    assert len(books.clients) + len(books.accounts) + len(books.transactions) - before == (method == "POST")
    assert method == "POST" or books.clients.get(3).fields["city"] == "Rome"


async def test_a_write_that_is_refused_is_not_answered_with_the_text(asker):
    await weather(asker, kind="answer_text")
    status, envelope = await asker.ask("POST", f"{MANAGER}/accounts/1/money", json={"amount": -5})
    assert (status, envelope["success"], envelope["data"]) == (400, False, None)


async def test_a_sandbox_can_keep_it_to_itself_that_it_is_one(asker):
    await weather(asker, kind="unmark")
    assert "sandbox" not in (await asker.login())[1]["data"]
    _, _, headers = await asker.text("GET", DEALS)
    assert "X-Sandbox" not in headers


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "error_before"},
        {"kind": "html"},
        {"kind": "huge", "size": 1},
        {"kind": "slow_body", "bytes_per_second": 10_000_000},
        {"kind": "truncated"},
        {"kind": "rate_limited"},
    ],
)
async def test_what_a_fault_makes_of_an_answer_says_that_this_is_a_sandbox_unless_told_otherwise(asker, fault):
    for faults, marked in (([fault], True), ([fault, {"kind": "unmark"}], False)):
        asker.sandbox.faults.set(faults)
        _, _, headers = await asker.text("GET", f"{DEALS}?limit=1")
        assert ("X-Sandbox" in headers) is marked


# The back door


async def test_the_back_door_tells_the_truth_and_is_not_journalled(asker):
    assert await asker.admin("GET", "health") == (200, {"ok": True})
    assert (await asker.admin("GET", "books"))[1]["counts"]["deals"] == 400
    full = (await asker.admin("GET", "books?resource=deals&full=1"))[1]["rows"]
    assert full == (await asker.get(f"{DEALS}?page=-1"))["records"]
    assert (await asker.admin("GET", "books?resource=deals"))[1]["count"] == 400
    assert dict(asker.sandbox.requests.by_path) == {DEALS: 1}


async def test_the_back_door_moves_the_market(asker):
    books = asker.sandbox.books
    assert (await asker.admin("POST", "trade", json={"rounds": 5}))[1]["deals"] == len(books.deals) > 400
    (late,) = (await asker.admin("POST", "late", json={"count": 1}))[1]["ids"]
    assert late in books.deals.rows
    assert (await asker.admin("POST", "touch", json={"resource": "deals", "id": late}))[0] == 200
    assert (await asker.get(f"{DEALS}/{late}"))["comment"].startswith("touched")
    assert (await asker.admin("POST", "delete", json={"resource": "deals", "id": late}))[0] == 200
    assert (await asker.ask("GET", f"{DEALS}/{late}"))[0] == 404
    assert books.check() == []


async def test_faults_come_and_go_by_the_back_door(asker):
    status, told = await asker.admin("PUT", "faults", json={"faults": [{"kind": "forbid", "times": 1}]})
    assert (status, told["faults"][0]["fired"]) == (200, 0)
    assert (await asker.ask("GET", DEALS))[0] == 403
    assert (await asker.admin("GET", "faults"))[1]["faults"][0]["fired"] == 1
    assert await asker.admin("PUT", "faults", json=[]) == (200, {"faults": []})


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("PUT", "faults", '{"kind":"forbid","colour":1}', 400),
        ("PUT", "faults", "not json", 400),
        ("POST", "trade", '{"rounds":-1}', 400),
        ("POST", "late", '{"number":1}', 400),
        ("POST", "touch", '{"resource":"deals","id":999999}', 404),
        ("GET", "books?resource=people", "", 404),
        ("GET", "nothing", "", 404),
    ],
)
async def test_the_back_door_refuses_nonsense(asker, method, path, body, status):
    answer, told = await asker.admin(method, path, data=body)
    assert answer == status
    assert told["error"]


async def test_the_journal_knows_what_came_and_how_much_at_once(asker):
    await weather(asker, kind="delay", seconds=0.02)
    await asyncio.gather(*(asker.get(f"{MANAGER}/symbols") for _ in range(3)))
    requests = asker.sandbox.requests
    assert (len(requests), requests.max_concurrent, requests.running, requests.logins) == (3, 3, 0, 0)
    assert requests.times("symbols") == sorted(requests.times())
    assert [entry.status for entry in requests.matching("symbols", "GET")] == [200] * 3


# The process


async def test_a_taken_port_is_an_oserror(asker):
    port = int(asker.sandbox.url.rsplit(":", 1)[1])
    second = Sandbox(SandboxOptions(port=port, deals=0))
    with pytest.raises(OSError, match="address already in use"):
        await second.start()
    await second.stop()


async def test_it_can_be_stopped_and_started_again_on_its_port(asker):
    url = asker.sandbox.url
    await asker.sandbox.stop()
    with pytest.raises(aiohttp.ClientConnectorError):
        await asker.text("GET", f"{MANAGER}/symbols")
    await asker.sandbox.start()
    assert asker.sandbox.url == url
    assert (await asker.ask("GET", f"{MANAGER}/symbols"))[0] == 200


async def test_with_a_tick_the_market_moves_by_itself():
    sandbox = await opened(tick=0.001)
    moved = asyncio.Event()
    trade = sandbox.books.trade

    def watched(rounds=1):
        trade(rounds)
        moved.set()

    sandbox.books.trade = watched
    await asyncio.wait_for(moved.wait(), 5)
    await sandbox.stop()
    assert sandbox.books.check() == []


def test_another_kind_is_refused():
    with pytest.raises(ValueError, match="no sandbox of kind"):
        Sandbox(SandboxOptions(kind="ouija"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_as_a_process_it_says_where_it_listens_and_ends_cleanly(number, tmp_path):
    faults = tmp_path / "faults.yaml"
    faults.write_text("- {kind: forbid, path: symbols}\n")
    code = (
        "import sys; from pathlib import Path; from counterfoil.sandbox import *;"
        "sys.exit(serve(SandboxOptions(deals=10, accounts=2, faults=Path(sys.argv[1]))))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(faults)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        line = process.stdout.readline()
        match = re.fullmatch(
            r"sandbox omtrader listening on http://127\.0\.0\.1:(\d+) \(user crm-api, password sandbox\)\n", line
        )
        assert match, line
        socket.create_connection(("127.0.0.1", int(match[1]))).close()
        os.kill(process.pid, number)
        assert process.wait(10) == 0
        assert process.stderr.read() == ""
