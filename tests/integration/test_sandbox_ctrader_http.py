import json
import re
from decimal import Decimal

import aiohttp
import pytest

from counterfoil.sandbox import ctrader_wire as wire
from counterfoil.sandbox.ctrader_ledger import DAY, FOREIGN_BRAND, SECOND_BRAND
from support.ctrader_asker import BASE, CLOSED, HASH, OPEN, TOKEN, TRADERS, WISH, Asker, md5, opened


@pytest.fixture
async def session():
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def asker(session):
    sandbox = await opened()
    asker = Asker(sandbox, session)
    await asker.login()
    sandbox.requests.clear()
    yield asker
    await sandbox.stop()


@pytest.fixture
def rich(asker):
    """An account with money, as if the market had never been."""
    trader = asker.books.add_trader(name="Ada", currency="EUR")
    asker.books.move_money(trader.login, 100_000, "DEPOSIT")
    return trader


# Token and ground rules: reference, section 1


async def test_the_token_stays_the_same_until_it_is_made_worthless(asker):
    first = asker.token
    assert re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", first)
    assert (await asker.login())[1] == {"webservToken": first}
    asker.sandbox.platform.expire_tokens()
    assert await asker.refused("GET", f"{BASE}/symbols") == (401, "NOT_ENOUGH_RIGHTS")
    await asker.login()
    assert asker.token != first
    assert asker.sandbox.requests.logins == 2


@pytest.mark.parametrize(("login", "password"), [(2309, "wrong"), (1, "sandbox")])
async def test_a_wrong_login_is_401(asker, login, password):
    assert (await asker.login(login, password))[0] == 401


async def test_without_a_token_nothing_is_answered(asker):
    for token in (None, "", "nonsense", asker.token.upper() + "x"):
        asker.token = token
        assert await asker.refused("GET", f"{BASE}/symbols") == (401, "NOT_ENOUGH_RIGHTS")
        assert await asker.refused("POST", TRADERS, WISH) == (401, "NOT_ENOUGH_RIGHTS")
    assert len(asker.books.traders) == 38


@pytest.mark.parametrize("headers", [{}, {"Accept": "*/*"}, {"Accept": "application/xml"}])
async def test_who_forgets_to_ask_for_json_learns_it_at_once(asker, headers):
    for method, path, body in (("GET", f"{BASE}/symbols", None), ("POST", TOKEN, {})):
        status, text, told = await asker.text(method, path, body, headers=headers)
        assert (status, told["Content-Type"].split(";")[0], told["X-Sandbox"]) == (406, "text/plain", "1")
        assert "Accept" in text


async def test_a_body_of_another_type_is_not_read(asker):
    sent = {"data": json.dumps(WISH), "headers": {"Accept": "application/json", "Content-Type": "application/xml"}}
    url = f"{asker.sandbox.url}{TRADERS}?token={asker.token}"
    async with asker.session.post(url, **sent) as answer:
        assert (answer.status, answer.content_type) == (415, "text/plain")


@pytest.mark.parametrize("body", ["", "[]", "{", '{"login":1e400}'])
async def test_a_body_that_is_no_object_is_invalid(asker, body):
    headers = {"Accept": "application/json", "Content-Type": "application/json"}
    url = f"{asker.sandbox.url}{TRADERS}?token={asker.token}"
    async with asker.session.post(url, data=body, headers=headers) as answer:
        assert (answer.status, (await answer.json())["error"]["errorCode"]) == (400, "INVALID_REQUEST")


async def test_an_unknown_path_is_404(asker):
    assert await asker.refused("GET", f"{BASE}/people") == (404, "INVALID_REQUEST")
    assert await asker.refused("DELETE", TRADERS) == (404, "INVALID_REQUEST")


async def test_writes_are_counted_by_the_hour_and_reads_are_not(session):
    sandbox = await opened(writes_per_hour=3)
    asker, now = Asker(sandbox, session), [0]
    sandbox.platform._clock = lambda: now[0]
    await asker.login()
    login = next(iter(sandbox.books.traders))
    now[0] += 1
    assert [(await asker.money(login, 1))[0] for _ in range(2)] == [200, 200]
    assert await asker.refused("POST", TRADERS, WISH) == (429, "REQUEST_FREQUENCY_EXCEEDED")
    assert (await asker.read(login))["login"] == login
    now[0] = 3_600 * 10**9
    assert [(await asker.money(login, 1))[0] for _ in range(2)] == [200, 429]
    now[0] += 1
    assert [(await asker.money(login, 1))[0] for _ in range(3)] == [200, 200, 429]
    await sandbox.stop()


# Traders: reference, sections 4.1 to 4.6


async def test_a_trader_is_born_with_what_was_asked_for(asker):
    contact = {"city": "Köln", "countryId": 276, "email": "ada@example.com", "phonePassword": "hush", "colour": "red"}
    wish = {
        **WISH,
        "name": "Ada",
        "lastName": "Berg",
        "description": "crm-1",
        "contactDetails": contact,
        "maxLeverage": 5,
    }
    status, trader = await asker.ask(
        "POST", TRADERS, {**wish, "isLimitedRisk": True, "enabled": True, "swapFree": None}
    )
    assert status == 200
    expected = {"name": "Ada", "lastName": "Berg", "description": "crm-1", "groupName": "default", "maxLeverage": 5}
    expected |= {"balance": 0, "moneyDigits": 2, "accessRights": "NO_TRADING", "brokerName": "BESTBROKER"}
    expected |= {"isLimitedRisk": True, "limitedRisk": True, "swapFree": False, "totalMarginCalculationType": "MAX"}
    expected |= {"contactDetails": {"city": "Köln", "countryId": 276, "email": "ada@example.com"}}
    assert {name: trader[name] for name in expected} == expected
    assert await asker.read(trader["login"]) == trader
    assert abs(trader["registrationTimestamp"] - asker.books.now()) < 60_000
    assert asker.books.traders[trader["login"]].password_hash == HASH


async def test_nothing_prevents_a_second_trader(asker):
    logins = {(await asker.ask("POST", TRADERS, WISH))[1]["login"] for _ in range(2)}
    assert len(logins) == 2


async def test_what_was_never_set_is_absent(asker):
    wish = {name: value for name, value in WISH.items() if name != "brokerName"}
    _, trader = await asker.ask("POST", TRADERS, {**wish, "name": None})
    assert not {"name", "lastName", "description", "maxLeverage", "lastConnectionTimestamp", "brokerName"} & set(trader)
    assert trader["contactDetails"] == {}
    assert asker.books.traders[trader["login"]].broker == "BESTBROKER"


@pytest.mark.parametrize(("balance", "booked"), [(12_345, 12_345), ("00", 0), ("250", 250)])
async def test_an_opening_balance_is_a_deposit(asker, balance, booked):
    _, trader = await asker.ask("POST", TRADERS, {**WISH, "balance": balance})
    assert trader["balance"] == booked
    assert [line.amount for line in asker.books.history if line.login == trader["login"]] == [booked] * (booked > 0)
    assert asker.books.check() == []


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        *(({name: None}, (400, "INVALID_REQUEST")) for name in WISH if name != "brokerName"),
        ({"accessRights": "ALL"}, (400, "INVALID_REQUEST")),
        ({"accountType": "OTHER"}, (400, "INVALID_REQUEST")),
        ({"totalMarginCalculationType": 1}, (400, "INVALID_REQUEST")),
        ({"balance": -1}, (400, "INVALID_REQUEST")),
        ({"balance": 1.5}, (400, "INVALID_REQUEST")),
        ({"hashedPassword": "secret"}, (400, "INVALID_REQUEST")),
        ({"hashedPassword": HASH.upper()}, (400, "INVALID_REQUEST")),
        ({"leverageInCents": "100"}, (400, "INVALID_REQUEST")),
        ({"leverageInCents": True}, (400, "INVALID_REQUEST")),
        ({"name": 7}, (400, "INVALID_REQUEST")),
        ({"swapFree": "yes"}, (400, "INVALID_REQUEST")),
        ({"contactDetails": []}, (400, "INVALID_REQUEST")),
        ({"contactDetails": {"city": 1}}, (400, "INVALID_REQUEST")),
        ({"contactDetails": {"countryId": "DE"}}, (400, "INVALID_REQUEST")),
        ({"groupName": "nobody"}, (400, "TRADER_GROUP_NOT_FOUND")),
        ({"depositCurrency": "XXX"}, (400, "UNKNOWN_DEPOSIT_CURRENCY")),
        ({"brokerName": "NOBODY"}, (400, "CH_PLANT_INVALID")),
        ({"brokerName": FOREIGN_BRAND}, (403, "NOT_ENOUGH_RIGHTS")),
    ],
)
async def test_a_trader_that_cannot_be_is_refused(asker, change, answer):
    before = len(asker.books.traders)
    assert await asker.refused("POST", TRADERS, {**WISH, **change}) == answer
    assert len(asker.books.traders) == before


async def test_the_list_holds_the_books(asker):
    told = await asker.listed()
    assert told["hasMore"] is False
    assert {row["login"]: row for row in told["trader"]} == {
        json.loads(row)["login"]: json.loads(row, parse_float=Decimal) for row in asker.books.rows("traders")
    }
    times = [row["registrationTimestamp"] for row in told["trader"]]
    assert times == sorted(times, reverse=True)
    assert not re.search("password|hash", json.dumps(told, default=str), re.IGNORECASE)


INSISTED = """
    login groupName depositCurrency accessRights balance bonus nonWithdrawableBonus leverageInCents contactDetails
    registrationTimestamp lastUpdateTimestamp equity usedMargin freeMargin accountType cashEquity moneyDigits swapFree
    introducingBroker introducingBrokerCommissionRate pocketCommissionRate pocketMarkupRate
    defaultIntroducingBrokerCommissionRate defaultPocketCommissionRate defaultPocketMarkupRate defaultRebateRate
    defaultSplitRevenue limitedRisk sendOwnStatement splitRevenue totalMarginCalculationType frenchRisk isLimitedRisk
    defaultIbCommissionsType ibCommissionsType
"""


async def test_every_trader_has_what_the_schema_and_a_public_client_insist_on(asker):
    rows = (await asker.listed())["trader"]
    assert not [set(INSISTED.split()) - set(row) for row in rows if set(INSISTED.split()) - set(row)]
    optional = {"name", "lastName", "description", "brokerName", "lastConnectionTimestamp", "maxLeverage"}
    for name in optional:
        assert 0 < sum(name in row for row in rows) < len(rows), name
    assert {row["accountType"] for row in rows} == {"HEDGED", "NETTED", "SPREAD_BETTING"}
    assert {row["accessRights"] for row in rows} == {"FULL_ACCESS", "CLOSE_ONLY"}


async def test_the_list_is_of_a_window_a_group_and_some_fields(asker):
    traders = list(asker.books.traders.values())
    start, stop = traders[5].registered_at, traders[9].registered_at
    within = [trader.login for trader in traders if start <= trader.registered_at < stop]
    told = await asker.listed(start, stop, fields="login,balance,nonsense")
    assert sorted(row["login"] for row in told["trader"]) == within
    assert {tuple(row) for row in told["trader"]} == {("login", "balance")}
    told = await asker.listed(groupId=11)
    assert {row["groupName"] for row in told["trader"]} == {"bitcoin"}
    assert {row["moneyDigits"] for row in told["trader"]} == {8}


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({}, "INVALID_REQUEST"),
        ({"from": "2026-01-01T00:00:00.000"}, "INVALID_REQUEST"),
        ({"from": "2026-01-01T00:00:00.000Z", "to": "2026-01-02T00:00:00.000Z"}, "INVALID_REQUEST"),
        ({"from": "2026-01-03T00:00:00.000", "to": "2026-01-02T00:00:00.000"}, "INVALID_REQUEST"),
        ({"from": "2026-01-01T00:00:00.000", "to": "2026-01-02T00:00:00.000", "groupId": "1.5"}, "INVALID_REQUEST"),
        (
            {"from": "2026-01-01T00:00:00.000", "to": "2026-01-02T00:00:00.000", "groupId": "9"},
            "TRADER_GROUP_NOT_FOUND",
        ),
    ],
)
async def test_a_list_that_cannot_be_is_refused(asker, query, code):
    assert await asker.refused("GET", f"{TRADERS}/", **query) == (400, code)


async def paged(asker, step):
    """All logins, by the paging rule: the next `to` is the earliest registration plus `step`."""
    stop, logins, answers = 4_000_000_000_000, [], 0
    while True:
        told = await asker.listed(0, stop)
        logins += [row["login"] for row in told["trader"]]
        answers += 1
        if not told["hasMore"]:
            return logins, answers
        stop = min(row["registrationTimestamp"] for row in told["trader"]) + step


async def test_chunks_are_paged_by_the_earliest_registration_and_twins_are_lost_without_care(session):
    sandbox = await opened(chunk=4, accounts=10)
    asker = Asker(sandbox, session)
    await asker.login()
    at = sandbox.books.now()
    for _ in range(3):
        sandbox.books.add_trader(registered_at=at)
    for _ in range(2):
        sandbox.books.add_trader(registered_at=at + 5)
    assert len(sandbox.books.traders) == 15
    careful, answers = await paged(asker, 1)
    assert set(careful) == set(sandbox.books.traders)
    assert (len(careful) > len(set(careful)), answers > 3) == (True, True)
    careless, _ = await paged(asker, 0)
    assert len(set(sandbox.books.traders) - set(careless)) == 1
    await sandbox.stop()


async def test_the_manager_sees_nothing_of_another_white_label(asker):
    (login,) = list(asker.books.denied.traders)[:1]
    asker.books.open_position(login)
    assert await asker.refused("GET", f"{TRADERS}/{login}") == (400, "TRADER_NOT_FOUND")
    assert await asker.refused("GET", OPEN, login=login) == (400, "TRADER_NOT_FOUND")
    assert login not in {row["login"] for row in (await asker.listed())["trader"]}
    assert str(login) not in {row["login"] for row in await asker.sheet(OPEN)}
    status, told = await asker.money(login, 1)
    assert (status, told["error"]["errorCode"]) == (400, "TRADER_NOT_FOUND")


async def test_sub_accounts_are_named_with_what_they_hold(asker, rich):
    copies = [asker.books.add_trader(owner=rich.login) for _ in range(2)]
    for copy in copies:
        asker.books.move_money(copy.login, 700, "DEPOSIT")
    asker.books.revalue(asker.books.open_position(copies[0].login))
    told = await asker.get(f"{TRADERS}/{rich.login}/subaccounts")
    assert told["subAccountLogins"] == {"login": [copy.login for copy in copies]}
    assert (told["totalSubAccountsBalance"], told["totalSubAccountsEquity"]) == (1_400, 1_400 + copies[0].floating)
    assert copies[0].floating < 0
    assert await asker.refused("GET", f"{TRADERS}/1/subaccounts") == (400, "TRADER_NOT_FOUND")


async def test_a_patch_changes_what_it_names_and_no_money(asker, rich):
    path = f"{TRADERS}/{rich.login}"
    await asker.text("PATCH", path, {"contactDetails": {"city": "Köln"}, "description": "one"})
    rich.updated_at = 0
    body = {
        "groupName": "enabled_accounts",
        "accessRights": "NO_LOGIN",
        "contactDetails": {"phone": "+49"},
        "name": None,
    }
    status, text, _ = await asker.text("PATCH", path, {**body, "balance": 5, "hashedPassword": HASH, "swapFree": True})
    assert (status, text) == (204, "")
    told = await asker.read(rich.login)
    assert told["contactDetails"] == {"city": "Köln", "phone": "+49"}
    assert (told["groupName"], told["accessRights"], told["swapFree"]) == ("enabled_accounts", "NO_LOGIN", True)
    assert (told["name"], told["description"], told["balance"]) == ("Ada", "one", 100_000)
    assert told["lastUpdateTimestamp"] > 0
    assert rich.password_hash != HASH


async def test_a_put_resets_what_it_does_not_mention(asker, rich):
    path = f"{TRADERS}/{rich.login}"
    rich.description, rich.contact, rich.swap_free, rich.account_type = "old", {"city": "Köln"}, True, "NETTED"
    body = {"groupName": "default", "leverageInCents": 500, "lastName": "Berg", "balance": 7}
    status, text, _ = await asker.text("PUT", path, body)
    assert (status, text) == (204, "")
    told = await asker.read(rich.login)
    assert not {"name", "description"} & set(told)
    assert (told["lastName"], told["contactDetails"], told["swapFree"]) == ("Berg", {}, False)
    assert (told["accountType"], told["leverageInCents"], told["balance"]) == ("NETTED", 500, 100_000)


@pytest.mark.parametrize(
    ("method", "body", "code"),
    [
        ("PUT", {"leverageInCents": 500}, "INVALID_REQUEST"),
        ("PUT", {"groupName": "default"}, "INVALID_REQUEST"),
        ("PATCH", {"groupName": "nobody"}, "TRADER_GROUP_NOT_FOUND"),
        ("PATCH", {"depositCurrency": "USD"}, "INVALID_REQUEST"),
        ("PATCH", {"description": 5}, "INVALID_REQUEST"),
    ],
)
async def test_a_change_that_cannot_be_changes_nothing(asker, rich, method, body, code):
    before = await asker.read(rich.login)
    assert await asker.refused(method, f"{TRADERS}/{rich.login}", {**body, "lastName": "New"}) == (400, code)
    assert await asker.read(rich.login) == before
    assert await asker.refused(method, f"{TRADERS}/1", {}) == (400, "TRADER_NOT_FOUND")


async def test_a_trader_is_deleted_when_nothing_is_open(asker, rich):
    path = f"{TRADERS}/{rich.login}"
    position = asker.books.open_position(rich.login)
    assert await asker.refused("DELETE", path) == (400, "TRADER_HAS_POSITIONS")
    asker.books.close_position(position.id)
    assert (await asker.text("DELETE", path))[0] == 204
    assert await asker.refused("GET", path) == (400, "TRADER_NOT_FOUND")
    assert asker.books.check() == []


async def test_passwords_are_checked_and_changed(asker, rich):
    path, body = f"{TRADERS}/{rich.login}", {"login": rich.login, "hashedPassword": HASH}
    assert await asker.refused("POST", f"{path}/checkpassword", body) == (400, "WRONG_PASSWORD")
    assert (await asker.text("POST", f"{path}/changepassword", body))[:2] == (204, "")
    assert (await asker.text("POST", f"{path}/checkpassword", body))[:2] == (204, "")
    for wrong in ({"login": rich.login + 1}, {"hashedPassword": "x"}, {"login": None}):
        for call in ("checkpassword", "changepassword"):
            assert await asker.refused("POST", f"{path}/{call}", {**body, **wrong}) == (400, "INVALID_REQUEST")
    assert rich.password_hash == HASH


# Money: reference, sections 4.7 and 4.10


async def test_money_is_booked_and_answered_with_the_id_of_its_record(asker, rich):
    more = {"comment": "why", "externalId": "ref-1", "externalNote": "hello", "source": "VISA"}
    status, told = await asker.money(rich.login, 12.34, **more)
    booked = asker.books.history[-1]
    assert (status, told) == (200, {"balanceHistoryId": booked.id})
    assert (booked.kind, booked.amount, booked.login) == ("DEPOSIT", 1_234, rich.login)
    assert (booked.comment, booked.external_id, booked.external_note, booked.source) == (
        "why",
        "ref-1",
        "hello",
        "VISA",
    )
    assert (await asker.read(rich.login))["balance"] == 101_234
    again = await asker.money(rich.login, 12.34, **more)
    assert again[1]["balanceHistoryId"] > booked.id
    assert (rich.balance, asker.books.check()) == (102_468, [])


@pytest.mark.parametrize(
    ("call", "into", "out", "field", "code"),
    [
        (
            "changebalance",
            "DEPOSIT_NONWITHDRAWABLE_BONUS",
            "WITHDRAW_NONWITHDRAWABLE_BONUS",
            "nonWithdrawableBonus",
            "balance",
        ),
        ("changebonus", "DEPOSIT", "WITHDRAW", "bonus", "bonus"),
    ],
)
async def test_credit_and_bonus_are_ledgers_of_their_own(asker, rich, call, into, out, field, code):
    status, told = await asker.money(rich.login, 5, into, call)
    assert (status, list(told)) == (200, [f"{code}HistoryId"])
    trader = await asker.read(rich.login)
    assert (trader[field], trader["balance"], trader["equity"]) == (500, 100_000, 100_000)
    status, told = await asker.money(rich.login, 5.01, out, call)
    assert (status, told["error"]["errorCode"]) == (400, "NOT_ENOUGH_MONEY")
    assert (await asker.money(rich.login, 5, out, call))[0] == 200
    assert (await asker.read(rich.login))[field] == 0
    assert asker.books.check() == []


async def test_a_withdrawal_is_covered_by_cash_equity(asker, rich):
    asker.books.move_money(rich.login, 500, "DEPOSIT_BONUS")
    position = asker.books.open_position(rich.login, volume=10_000_000)
    asker.books.revalue(position)
    trader = await asker.read(rich.login)
    assert trader["cashEquity"] == trader["equity"] == 100_000 + rich.floating < 100_000
    status, told = await asker.money(rich.login, 1_000, "WITHDRAW")
    assert (status, told["error"]["errorCode"]) == (400, "NOT_ENOUGH_MONEY")
    assert (await asker.money(rich.login, 900, "WITHDRAW"))[0] == 200
    assert (rich.balance, asker.books.check()) == (10_000, [])


async def test_eight_digits_are_kept_for_bitcoin(asker):
    trader = asker.books.add_trader(currency="BTC", group="bitcoin")
    assert (await asker.money(trader.login, 0.12345678))[0] == 200
    assert (await asker.read(trader.login))["balance"] == 12_345_678
    status, told = await asker.money(trader.login, 0.123456789)
    assert (status, told["error"]["errorCode"]) == (400, "CHANGE_BALANCE_BAD_AMOUNT")


@pytest.mark.parametrize(
    ("call", "change", "code"),
    [
        ("changebalance", {"preciseAmount": 0}, "CHANGE_BALANCE_BAD_AMOUNT"),
        ("changebalance", {"preciseAmount": -5}, "CHANGE_BALANCE_BAD_AMOUNT"),
        ("changebalance", {"preciseAmount": 1.005}, "CHANGE_BALANCE_BAD_AMOUNT"),
        ("changebonus", {"preciseAmount": -5}, "CHANGE_BONUS_BAD_AMOUNT"),
        ("changebalance", {"preciseAmount": "5"}, "INVALID_REQUEST"),
        ("changebalance", {"preciseAmount": True}, "INVALID_REQUEST"),
        ("changebalance", {"preciseAmount": None}, "INVALID_REQUEST"),
        ("changebalance", {"type": "GIFT"}, "INVALID_REQUEST"),
        ("changebonus", {"type": "DEPOSIT_NONWITHDRAWABLE_BONUS"}, "INVALID_REQUEST"),
        ("changebalance", {"type": None}, "INVALID_REQUEST"),
        ("changebalance", {"login": 7}, "INVALID_REQUEST"),
        ("changebalance", {"externalId": 7}, "INVALID_REQUEST"),
    ],
)
async def test_money_that_cannot_be_moves_nothing(asker, rich, call, change, code):
    body = {"login": rich.login, "preciseAmount": 5, "type": "DEPOSIT", **change}
    assert await asker.refused("POST", f"{TRADERS}/{rich.login}/{call}", body) == (400, code)
    assert len([line for line in asker.books.history if line.login == rich.login]) == 1


# Groups, symbols and assets: reference, sections 4.11 and 6


async def test_groups_symbols_and_assets_have_the_wrappers_of_the_reference(asker):
    groups = (await asker.get(f"{BASE}/tradergroups"))["traderGroup"]
    assert groups[:2] == [
        {"id": 1, "name": "default", "description": "Accounts registered by the CRM"},
        {"id": 2, "name": "enabled_accounts"},
    ]
    symbols = (await asker.get(f"{BASE}/symbols"))["symbol"]
    assert {symbol["name"] for symbol in symbols} == set(asker.books.symbols)
    keys = {"name", "id", "assetClass", "category", "quotesEnabled", "showInCtrader"}
    assert {frozenset(symbol) for symbol in symbols} == {frozenset(keys), frozenset({*keys, "description"})}
    assert await asker.get(f"{BASE}/depositAssets") == {"depositAsset": ["EUR", "USD", "BTC"]}


# Positions: reference, sections 4.12 and 4.13


async def test_open_positions_are_a_sheet(asker, rich):
    position = asker.books.open_position(rich.login, "AUD/USD", 1, 250_000)
    rows = await asker.sheet(OPEN)
    assert [int(row["positionId"]) for row in rows] == list(asker.books.positions)
    assert tuple(rows[0]) == wire.OPEN_COLUMNS
    (row,) = await asker.sheet(OPEN, login=rich.login)
    assert (row["volume"], row["symbol"], row["direction"]) == ("2500.00", "AUD/USD", "SELL")
    assert row["openTimestamp"] == wire.stamp(position.opened_at)
    assert Decimal(row["usedMargin"]).scaleb(2) == rich.margin
    assert await asker.refused("GET", OPEN, login=1) == (400, "TRADER_NOT_FOUND")
    assert await asker.refused("GET", OPEN, login="x") == (400, "INVALID_REQUEST")


async def test_closed_positions_are_the_deals_of_a_window(asker):
    deals = asker.books.deals
    start, stop = deals[100].closed_at, deals[102].closed_at
    rows = await asker.closed(start, stop)
    assert tuple(rows[0]) == wire.CLOSED_COLUMNS
    expected = [deal.id for deal in deals if start <= deal.closed_at < stop]
    assert [int(row["dealId"]) for row in rows] == expected
    assert len(expected) < 5
    login = deals[100].login
    mine = [deal.id for deal in deals if start <= deal.closed_at < stop and deal.login == login]
    assert [int(row["dealId"]) for row in await asker.closed(start, stop, login=login)] == mine


async def test_all_windows_together_hold_every_deal_and_its_exact_result(asker):
    sums, start = dict.fromkeys(asker.books.traders, Decimal(0)), asker.books.deals[0].closed_at
    count = 0
    while start <= asker.books.deals[-1].closed_at:
        for row in await asker.closed(start, start + 2 * DAY):
            sums[int(row["login"])] += Decimal(row["pnl"])
            count += 1
        start += 2 * DAY
    for line in asker.books.history:
        if line.kind in ("DEPOSIT", "WITHDRAW") and line.login in sums:
            sums[line.login] += Decimal(line.amount).scaleb(-line.digits)
    traders = asker.books.traders
    assert count == 600
    assert sums == {login: Decimal(t.balance).scaleb(-t.digits) for login, t in traders.items()}


async def test_an_empty_window_still_has_its_header(asker):
    _, text, _ = await asker.text("GET", CLOSED, **{"from": wire.stamp(0), "to": wire.stamp(5)})
    assert text == ",".join(wire.CLOSED_COLUMNS) + "\n"


async def test_a_window_is_two_days_at_the_most(asker):
    for width, status in ((2 * DAY, 200), (2 * DAY + 1, 400)):
        query = {"from": wire.stamp(DAY), "to": wire.stamp(DAY + width)}
        assert (await asker.text("GET", CLOSED, **query))[0] == status
    assert await asker.refused("GET", CLOSED, **query) == (400, "INVALID_REQUEST")
    assert await asker.refused("GET", CLOSED) == (400, "INVALID_REQUEST")
    short = {"from": wire.stamp(0), "to": wire.stamp(1)}
    assert await asker.refused("GET", CLOSED, login=1, **short) == (400, "TRADER_NOT_FOUND")


async def test_the_window_can_mean_the_opening(session):
    sandbox = await opened(filter_on="open")
    asker = Asker(sandbox, session)
    await asker.login()
    at = sandbox.books.deals[300].position.opened_at
    expected = [deal.id for deal in sandbox.books.deals if at <= deal.position.opened_at < at + DAY]
    assert [int(row["dealId"]) for row in await asker.closed(at, at + DAY)] == expected
    await sandbox.stop()


# Users and links: reference, section 5


async def test_a_user_is_got_or_created_by_its_address(asker):
    path, body = "/cid/ctid/create", {"email": "Ada@example.com", "brokerName": "BESTBROKER", "preferredLanguage": None}
    status, user = await asker.ask("POST", path, body)
    assert (status, user["nickname"], user["email"]) == (200, f"ctid{user['userId']}", "Ada@example.com")
    assert (user["preferredLanguage"], user["status"]) == ("EN", "CTID_NEW")
    assert user["utcCreateTimestamp"] == asker.books.users["ada@example.com"].created_at
    assert await asker.ask("POST", path, {"email": "ada@example.com"}) == (200, {"userId": user["userId"]})


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        ({"email": None}, (400, "INVALID_REQUEST")),
        ({"email": "nobody"}, (400, "INVALID_REQUEST")),
        ({"email": "no body@example.com"}, (400, "INVALID_REQUEST")),
        ({"preferredLanguage": "English"}, (400, "INVALID_REQUEST")),
        ({"brokerName": "NOBODY"}, (400, "CH_PLANT_INVALID")),
        ({"brokerName": FOREIGN_BRAND}, (403, "NOT_ENOUGH_RIGHTS")),
    ],
)
async def test_a_user_that_cannot_be_is_refused(asker, change, answer):
    before = len(asker.books.users)
    assert await asker.refused("POST", "/cid/ctid/create", {"email": "new@example.com", **change}) == answer
    assert len(asker.books.users) == before


@pytest.fixture
def wedding(asker):
    """A trader, a user, and the body that links them."""
    trader, user = asker.books.add_trader(password_hash=HASH), asker.books.add_user("ada@example.com")
    names = {"brokerName": "BESTBROKER", "environmentName": "live", "returnAccountDetails": True}
    return {"traderLogin": trader.login, "traderPasswordHash": HASH, "userId": user.id, **names}


async def test_a_trader_is_linked_once(asker, wedding):
    status, told = await asker.ask("POST", "/cid/ctid/link", wedding)
    assert (status, told) == (200, {"ctidTraderAccountId": asker.books.link_ids[wedding["traderLogin"]]})
    assert asker.books.links[wedding["traderLogin"]] == wedding["userId"]
    again = await asker.refused("POST", "/cid/ctid/link", wedding)
    assert again == (400, "CH_TRADER_ACCOUNT_ALREADY_LINKED")


async def test_a_link_without_details_answers_nothing(asker, wedding):
    del wedding["returnAccountDetails"]
    assert (await asker.text("POST", "/cid/ctid/link", wedding))[:2] == (200, "")
    assert wedding["traderLogin"] in asker.books.links


async def test_the_error_of_a_second_link_can_be_chosen(session):
    sandbox = await opened(linked_code="ALREADY_LINKED", environment="demo", broker="OURS", manager_login=7)
    asker = Asker(sandbox, session)
    await asker.login(7)
    trader, user = sandbox.books.add_trader(password_hash=HASH), sandbox.books.add_user("ada@example.com")
    body = {"traderLogin": trader.login, "traderPasswordHash": HASH, "userId": user.id}
    body |= {"brokerName": "OURS", "environmentName": "demo"}
    assert (await asker.text("POST", "/cid/ctid/link", body))[0] == 200
    assert await asker.refused("POST", "/cid/ctid/link", body) == (400, "ALREADY_LINKED")
    await sandbox.stop()


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        ({"traderPasswordHash": md5("wrong")}, (400, "WRONG_PASSWORD")),
        ({"traderPasswordHash": "plain"}, (400, "INVALID_REQUEST")),
        ({"userId": 1}, (400, "INVALID_REQUEST")),
        ({"traderLogin": 1}, (400, "CH_TRADER_ACCOUNT_NOT_FOUND")),
        ({"environmentName": "demo"}, (400, "CH_ENVIRONMENT_NOT_FOUND")),
        ({"brokerName": "NOBODY"}, (400, "CH_PLANT_INVALID")),
        ({"brokerName": None}, (400, "INVALID_REQUEST")),
        ({"brokerName": SECOND_BRAND}, (403, "NOT_ENOUGH_RIGHTS")),
        ({"returnAccountDetails": "yes"}, (400, "INVALID_REQUEST")),
    ],
)
async def test_a_link_that_cannot_be_is_refused(asker, wedding, change, answer):
    assert await asker.refused("POST", "/cid/ctid/link", {**wedding, **change}) == answer
    assert wedding["traderLogin"] not in asker.books.links


async def test_an_account_changes_its_white_label(asker, rich):
    path, body = "/cid/ctid/changeCtidTraderAccount", {"traderLogin": rich.login, "environmentName": "live"}
    assert (await asker.text("POST", path, {**body, "brokerName": SECOND_BRAND}))[:2] == (204, "")
    assert (await asker.read(rich.login))["brokerName"] == SECOND_BRAND
    assert await asker.refused("POST", path, {**body, "brokerName": FOREIGN_BRAND}) == (403, "NOT_ENOUGH_RIGHTS")
    assert await asker.refused("POST", path, body) == (400, "INVALID_REQUEST")
