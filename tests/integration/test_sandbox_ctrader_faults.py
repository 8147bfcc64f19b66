import asyncio
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

from counterfoil.sandbox import ctrader_faults
from counterfoil.sandbox import ctrader_wire as wire
from counterfoil.sandbox.ctrader_ledger import DAY
from support.ctrader_asker import BASE, CLOSED, LOST, OPEN, TOKEN, TRADERS, WISH, Asker, opened

SYMBOLS = f"{BASE}/symbols"


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


# The transport's


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ({"kind": "error_before"}, 500, "UNKNOWN_ERROR"),
        ({"kind": "error_before", "status": 503}, 503, "UNKNOWN_ERROR"),
        ({"kind": "error_before", "status": 401}, 401, "NOT_ENOUGH_RIGHTS"),
        ({"kind": "forbid"}, 403, "NOT_ENOUGH_RIGHTS"),
        ({"kind": "rate_limited"}, 429, "REQUEST_FREQUENCY_EXCEEDED"),
        ({"kind": "business_error", "code": "SERVER_IS_UNDER_MAINTENANCE"}, 400, "SERVER_IS_UNDER_MAINTENANCE"),
        (
            {"kind": "business_error", "code": "REQUEST_FREQUENCY_EXCEEDED", "status": 409},
            409,
            "REQUEST_FREQUENCY_EXCEEDED",
        ),
    ],
)
async def test_an_error_before_the_effect_has_none(asker, rich, fault, status, code):
    asker.weather(fault)
    answer, told = await asker.money(rich.login, 5)
    assert (answer, told["error"]["errorCode"], rich.balance) == (status, code, 100_000)
    asker.weather(fault, {"kind": "plain_error"})
    answer, text, headers = await asker.text("GET", SYMBOLS)
    assert (answer, text, headers["Content-Type"].split(";")[0]) == (status, f"{code}: simulated fault", "text/plain")
    assert ("Retry-After" in headers) is (fault["kind"] == "rate_limited")


@pytest.mark.parametrize(
    ("fault", "status"),
    [({"kind": "error_after"}, 500), ({"kind": "business_error", "after": True, "code": "TIMEOUT_ERROR"}, 400)],
)
async def test_an_error_after_the_effect_leaves_it(asker, rich, fault, status):
    asker.weather(fault)
    assert (await asker.money(rich.login, 5))[0] == status
    assert (rich.balance, asker.books.check()) == (100_500, [])


@pytest.mark.parametrize(("kind", "balance"), [("drop_before", 100_000), ("drop_after", 100_500)])
async def test_a_connection_is_lost_before_or_after_the_effect(asker, rich, kind, balance):
    asker.weather({"kind": kind, "path": "changebalance"})
    with pytest.raises(LOST):
        await asker.money(rich.login, 5)
    assert rich.balance == balance
    assert asker.sandbox.requests.matching("changebalance")[0].status is None


async def test_silence_lasts_until_the_client_goes(asker):
    asker.weather({"kind": "deaf"})
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asker.get(SYMBOLS), 0.05)
    asker.weather({"kind": "delay", "seconds": 0.01})
    assert (await asker.get(SYMBOLS))["symbol"]


async def test_tokens_expire_under_way(asker):
    asker.weather({"kind": "expire_tokens", "times": 1})
    assert await asker.refused("GET", SYMBOLS) == (401, "NOT_ENOUGH_RIGHTS")
    await asker.login()
    assert (await asker.get(SYMBOLS))["symbol"]


async def test_the_login_is_spared_unless_it_is_named(asker):
    asker.weather({"kind": "error_before"})
    assert (await asker.login())[0] == 200
    asker.weather({"kind": "error_before", "path": "token"})
    assert (await asker.login())[0] == 500


async def test_a_body_is_cut_or_is_a_page_of_a_proxy_or_of_another_shape(asker):
    asker.weather({"kind": "truncated", "keep": 5})
    assert (await asker.text("GET", OPEN))[:2] == (200, "login")
    asker.weather({"kind": "truncated", "announce": True})
    with pytest.raises(aiohttp.ClientPayloadError):
        await asker.text("GET", CLOSED, **{"from": wire.stamp(0), "to": wire.stamp(5)})
    asker.weather({"kind": "html", "status": 502})
    status, text, headers = await asker.text("GET", SYMBOLS)
    assert (status, headers["Content-Type"].split(";")[0], text[:9]) == (502, "text/html", "<!DOCTYPE")
    asker.weather({"kind": "wrong_shape", "value": "[]"})
    assert await asker.get(SYMBOLS) == []


async def test_a_body_trickles_or_is_enormous(asker):
    _, text, headers = await asker.text("GET", OPEN)
    asker.weather({"kind": "slow_body", "bytes_per_second": 10_000_000})
    assert (await asker.text("GET", OPEN))[1] == text
    assert (await asker.text("GET", OPEN))[2]["Content-Type"].split(";")[0] == headers["Content-Type"].split(";")[0]
    asker.weather({"kind": "huge", "size": 1})
    told = json.loads((await asker.text("GET", f"{TRADERS}/"))[1])
    assert (told["hasMore"], len(told["trader"])) == (False, 2)


async def test_an_answer_says_that_this_is_a_sandbox_unless_told_otherwise(asker):
    assert (await asker.text("GET", SYMBOLS))[2]["X-Sandbox"] == "1"
    for fault in ({"kind": "error_before", "path": "."}, {"kind": "html", "path": "."}, {"kind": "plain_error"}):
        for faults, marked in (([fault], True), ([fault, {"kind": "unmark"}], False)):
            asker.weather(*faults)
            for method, path in (("GET", SYMBOLS), ("POST", TOKEN)):
                assert ("X-Sandbox" in (await asker.text(method, path))[2]) is marked


async def test_refusals_of_the_server_itself_can_be_plain_text_too(asker):
    asker.weather({"kind": "plain_error"})
    assert (await asker.text("GET", f"{TRADERS}/1"))[:2] == (400, "TRADER_NOT_FOUND: no trader 1")
    asker.token = None
    assert (await asker.text("GET", SYMBOLS))[1].startswith("NOT_ENOUGH_RIGHTS: ")


# Of rows


async def test_rows_of_json_are_bent(asker, rich):
    path = f"{TRADERS}/{rich.login}"
    asker.weather({"kind": "malformed_record", "field": "balance", "value": '"much"'}, {"kind": "extra_field"})
    told = await asker.get(path)
    assert (told["balance"], told["surprise"]) == ("much", {"new": True})
    asker.weather(
        {"kind": "malformed_record", "field": "balance"}, {"kind": "password_leak"}, {"kind": "shuffle_fields"}
    )
    told = await asker.get(path)
    assert "balance" not in told
    assert (told["hashedPassword"], next(iter(told)) == "login") == ("leaked-secret", False)
    asker.weather({"kind": "malformed_record", "field": "login", "value": "0", "row": 1})
    logins = [row["login"] for row in (await asker.listed())["trader"]]
    assert [place for place, login in enumerate(logins) if not login] == [1]
    asker.weather({"kind": "malformed_record", "field": "balanceHistoryId", "value": "1e400"})
    assert '"balanceHistoryId":1e400' in (await asker.text("POST", f"{path}/changebalance", money(rich)))[1]


def money(trader, amount=5, kind="DEPOSIT"):
    return {"login": trader.login, "preciseAmount": amount, "type": kind}


async def test_rows_of_a_sheet_are_bent(asker, rich):
    for _ in range(2):
        asker.books.close_position(asker.books.open_position(rich.login).id)
    good = await asker.closed(login=rich.login)
    asker.weather({"kind": "extra_field", "name": "venue", "value": '"A, B"'}, {"kind": "password_leak"})
    told = await asker.closed(login=rich.login)
    assert [row.pop("venue") for row in told] == ["A, B"] * 2
    assert {row.pop("hashedPassword") for row in told} == {"leaked-secret"}
    assert [{name: row[name] for name in good[0]} for row in told] == good
    asker.weather({"kind": "shuffle_fields"})
    told = await asker.closed(login=rich.login)
    assert (told, list(told[0]) == list(good[0])) == (good, False)
    asker.weather({"kind": "malformed_record", "field": "pnl", "value": "much"})
    assert [row["pnl"] for row in await asker.closed(login=rich.login)] == ["much", good[1]["pnl"]]
    asker.weather({"kind": "malformed_record", "field": "pnl"})
    _, text, _ = await asker.text("GET", OPEN)
    assert (await asker.closed(login=rich.login))[0]["spreadBetting"] is None
    asker.weather({"kind": "malformed_record", "field": "usedMargin", "value": None})
    assert text.splitlines()[1].rpartition(",")[0] == (await asker.text("GET", OPEN))[1].splitlines()[1]


# Of listings


async def test_the_second_order_of_columns_has_the_same_cells(asker):
    start, stop = asker.books.deals[0].closed_at, asker.books.deals[0].closed_at + 2 * DAY
    good = await asker.closed(start, stop)
    asker.weather({"kind": "column_order"})
    told = await asker.closed(start, stop)
    assert (tuple(told[0]), told) == (wire.SECOND_ORDER, good)
    assert tuple((await asker.sheet(OPEN))[0]) == wire.OPEN_COLUMNS


async def test_positions_can_be_json(asker):
    asker.weather({"kind": "json_positions"})
    start, stop = wire.stamp(asker.books.deals[0].closed_at), wire.stamp(asker.books.deals[0].closed_at + 2 * DAY)
    rows = await asker.get(CLOSED, **{"from": start, "to": stop})
    known = [json.loads(row, parse_float=Decimal) for row in asker.books.rows("deals")]
    assert rows == known[: len(rows)]
    assert isinstance(rows[0]["spreadBetting"], bool)
    assert tuple(rows[0]) == wire.CLOSED_COLUMNS
    assert [row["positionId"] for row in await asker.get(OPEN)] == list(asker.books.positions)
    assert await asker.get(CLOSED, **{"from": wire.stamp(0), "to": wire.stamp(1)}) == []
    assert any(row["stake"] is None for row in await asker.get(OPEN))


async def test_a_chunk_can_be_small(asker):
    asker.weather({"kind": "chunk", "size": 3})
    told = await asker.listed()
    assert ([row["login"] for row in told["trader"]], told["hasMore"]) == (list(asker.books.traders)[:-4:-1], True)


async def test_a_list_can_lie_about_its_end(asker):
    asker.weather({"kind": "short_page", "rows": 3})
    told = await asker.listed()
    assert (len(told["trader"]), told["hasMore"]) == (3, False)
    assert len((await asker.get(SYMBOLS))["symbol"]) == len(await asker.sheet(OPEN)) == 3
    asker.weather({"kind": "endless_pages"})
    assert await asker.listed(0, 1) == {"trader": [], "hasMore": True}
    asker.weather({"kind": "same_page"}, {"kind": "chunk", "size": 2})
    assert [row["login"] for row in (await asker.listed(0, 1))["trader"]] == list(asker.books.traders)[:-3:-1]
    asker.weather({"kind": "duplicate_rows", "rows": 2})
    logins = [row["login"] for row in (await asker.listed())["trader"]]
    assert (logins[:2], len(logins)) == (logins[2:4], len(asker.books.traders) + 2)
    rows = await asker.sheet(OPEN)
    assert rows[:2] == rows[2:4]


async def test_some_rows_are_always_left_out(asker):
    asker.weather({"kind": "vanish", "fraction": 0.5})
    first, second = await asker.listed(), await asker.listed()
    assert first == second
    assert 0 < len(first["trader"]) < len(asker.books.traders)
    assert 0 < len(await asker.sheet(OPEN)) < len(asker.books.positions)
    asker.weather({"kind": "vanish", "fraction": 1})
    assert (await asker.listed())["trader"] == []


async def test_late_rows_show_up_after_some_answers(asker):
    asker.weather({"kind": "late_rows", "rows": 2, "after": 1})
    hidden = set(list(asker.books.traders)[-3:-1])
    for gone in (hidden, hidden, set()):
        told = {row["login"] for row in (await asker.listed())["trader"]}
        assert set(asker.books.traders) - told == gone


async def test_a_late_deal_has_moved_the_balance_long_before_it_shows_up(asker, rich):
    deal = asker.books.close_position(asker.books.open_position(rich.login).id, pnl=-777)
    asker.weather({"kind": "late_deals", "after": 1})
    assert (await asker.read(rich.login))["balance"] == 100_000 - 777
    other = asker.books.deals[0]
    for seen in (False, False, True, True):
        # A window that would not have held it does not count.
        assert await asker.closed(other.closed_at, other.closed_at + 1)
        ids = {int(row["dealId"]) for row in await asker.closed()}
        assert (deal.id in ids) is seen


async def test_the_window_can_mean_the_opening(asker, rich):
    old = asker.books.now() - 30 * DAY
    deal = asker.books.close_position(asker.books.open_position(rich.login, at=old).id)
    for fault, found in (([], False), ([{"kind": "filter_on_open"}], True)):
        asker.weather(*fault)
        rows = await asker.closed(old - 1, old + 1, login=rich.login)
        assert ([int(row["dealId"]) for row in rows] == [deal.id]) is found


# Of writes


async def test_another_amount_is_booked_than_was_asked(asker, rich):
    asker.weather({"kind": "wrong_amount", "by": "0.02"})
    assert list((await asker.money(rich.login, 5))[1]) == ["balanceHistoryId"]
    assert (rich.balance, asker.books.check()) == (100_502, [])


async def test_the_same_money_is_booked_twice(asker, rich):
    asker.weather({"kind": "books_twice"})
    _, told = await asker.money(rich.login, 600, "WITHDRAW", externalId="once")
    mine = [line for line in asker.books.history if line.external_id == "once"]
    assert (rich.balance, [line.amount for line in mine]) == (-20_000, [-60_000, -60_000])
    assert told["balanceHistoryId"] == mine[0].id
    assert asker.books.check() == []


@pytest.mark.parametrize("call", ["changebalance", "changebonus"])
async def test_money_is_booked_and_its_id_kept_back(asker, rich, call):
    asker.weather({"kind": "without_history_id"})
    assert await asker.money(rich.login, 5, call=call) == (200, {})
    assert asker.books.history[-1].amount == 500


async def test_a_withdrawal_is_refused_while_positions_are_open(asker, rich):
    asker.weather({"kind": "refuse_while_open"})
    assert (await asker.money(rich.login, 5, "WITHDRAW"))[0] == 200
    position = asker.books.open_position(rich.login)
    status, told = await asker.money(rich.login, 5, "WITHDRAW")
    assert (status, told["error"]["errorCode"]) == (400, "NOT_ENOUGH_MONEY")
    asker.books.close_position(position.id)
    assert (await asker.money(rich.login, 5, "WITHDRAW"))[0] == 200


@pytest.mark.parametrize(("length", "kept"), [(3, "crm"), (0, None), (50, "crm-4711")])
async def test_a_description_is_cut(asker, length, kept):
    asker.weather({"kind": "description_cut", "length": length})
    _, told = await asker.ask("POST", TRADERS, {**WISH, "description": "crm-4711"})
    assert told.get("description") == kept
    await asker.text("PATCH", f"{TRADERS}/{told['login']}", {"description": "crm-4711"})
    assert (await asker.read(told["login"])).get("description") == kept


async def test_positions_close_while_the_answer_is_lost(asker, rich):
    for _ in range(3):
        asker.books.open_position(rich.login)
    asker.weather(
        {"kind": "close_meanwhile", "count": 2, "pnl": "-5.00"}, {"kind": "drop_after", "path": "changebalance"}
    )
    with pytest.raises(LOST):
        await asker.money(rich.login, 5)
    asker.weather()
    assert (await asker.read(rich.login))["balance"] == 100_000 + 500 - 2 * 500
    assert len(await asker.sheet(OPEN, login=rich.login)) == 1
    assert len(await asker.closed(login=rich.login)) == 2
    assert asker.books.check() == []


async def test_positions_close_although_nothing_was_booked(asker, rich):
    early = {"kind": "close_meanwhile", "before": True, "pnl": "5"}
    asker.weather(early, {"kind": "error_before", "path": "changebalance"})
    assert (await asker.money(rich.login, 5))[0] == 500
    asker.weather(early, {"kind": "drop_before", "path": "changebalance"})
    with pytest.raises(LOST):
        await asker.money(rich.login, 5)
    assert [line.amount for line in asker.books.history if line.login == rich.login] == [100_000]
    assert (rich.balance, len(await asker.closed(login=rich.login))) == (101_000, 2)


async def test_nothing_closes_after_a_refusal(asker, rich):
    asker.books.open_position(rich.login)
    asker.weather({"kind": "close_meanwhile"})
    assert (await asker.money(rich.login, 5_000, "WITHDRAW"))[0] == 400
    assert (await asker.ask("POST", "/cid/ctid/create", {"email": "new@example.com"}))[0] == 200
    assert len(asker.books.positions_of(rich.login)) == 1


# The back door


async def test_the_back_door_tells_the_truth_and_is_not_journalled(asker):
    assert await asker.admin("GET", "health") == (200, {"ok": True})
    truth = (await asker.admin("GET", "books"))[1]
    assert (truth["counts"]["deals"], truth["wrong"]) == (600, [])
    assert (await asker.admin("GET", "books?resource=traders"))[1]["count"] == len(truth["accounts"]) == 38
    full = (await asker.admin("GET", "books?resource=traders&full=1"))[1]["rows"]
    listed = (await asker.listed())["trader"]
    assert sorted(full, key=lambda row: -row["login"]) == sorted(listed, key=lambda row: -row["login"])
    assert dict(asker.sandbox.requests.by_path) == {f"{TRADERS}/": 1}


async def test_the_back_door_moves_the_market(asker):
    books = asker.books
    assert (await asker.admin("POST", "trade", {"rounds": 9}))[1]["deals"] == len(books.deals) > 600
    (late,) = (await asker.admin("POST", "late", {"count": 1}))[1]["ids"]
    assert late in {deal.id for deal in books.deals}
    login = next(iter(books.traders))
    assert (await asker.admin("POST", "touch", {"resource": "traders", "id": login}))[0] == 200
    assert (await asker.read(login))["description"].startswith("touched")
    assert (await asker.admin("POST", "delete", {"resource": "deals", "id": late}))[0] == 200
    assert (await asker.admin("POST", "delete", {"resource": "traders", "id": login}))[0] == 200
    assert await asker.refused("GET", f"{TRADERS}/{login}") == (400, "TRADER_NOT_FOUND")
    assert books.check() == []


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("PUT", "faults", {"kind": "nested_groups"}, 400),
        ("POST", "delete", {"resource": "users", "id": 1}, 400),
        ("POST", "delete", {"resource": "traders", "id": 1}, 404),
        ("POST", "touch", {"resource": "deals", "id": 1}, 400),
        ("GET", "books?resource=people", None, 404),
    ],
)
async def test_the_back_door_refuses_nonsense(asker, method, path, body, status):
    answer, told = await asker.admin(method, path, body)
    assert answer == status
    assert told["error"]


async def test_faults_come_and_go_by_the_back_door(asker):
    status, told = await asker.admin("PUT", "faults", {"faults": [{"kind": "forbid", "times": 1}]})
    assert (status, told["faults"][0]["fired"]) == (200, 0)
    assert await asker.refused("GET", SYMBOLS) == (403, "NOT_ENOUGH_RIGHTS")
    assert (await asker.admin("GET", "faults"))[1]["faults"][0]["fired"] == 1
    assert await asker.admin("PUT", "faults", []) == (200, {"faults": []})
    assert asker.sandbox.faults.fired("forbid") == 0


async def test_an_unknown_fault_is_answered_with_the_list_of_this_kind(asker):
    _, told = await asker.admin("PUT", "faults", {"kind": "weather"})
    assert told["error"].endswith(", ".join(sorted(ctrader_faults.KINDS)))


# The process


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


def test_as_a_process_it_says_where_it_listens_and_ends_cleanly():
    command = [sys.executable, "-m", "counterfoil", "sandbox", "--kind", "ctrader", "--port", "0", "--deals", "10"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        line = process.stdout.readline()
        form = r"sandbox ctrader listening on http://127\.0\.0\.1:(\d+) \(manager 2309, password sandbox\)\n"
        match = re.fullmatch(form, line)
        assert match, line
        socket.create_connection(("127.0.0.1", int(match[1]))).close()
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(10) == 0
        assert process.stderr.read() == ""
