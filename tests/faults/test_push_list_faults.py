"""A look through lists that lie: while the effect is there it is never done again, whatever the platform leaves out."""

import pytest
import pytest_asyncio

from counterfoil.platforms.omtrader import looks, probes
from support.pushing import PushBench, Replica, push_bench

PERSON = {"first_name": "Grace", "family_name": "Hopper"}
KINDS = ("deposit", "withdraw", "credit_in", "credit_out", "client", "account")
LISTS = "/clients$|/accounts$|/deals$|/transactions/history$"
# Looks in a row under the fault; more than any patience.
LOOKS = 7
PAGE = 20
FAULTS = [
    *({"kind": "short_page", "rows": rows} for rows in (0, 1, 3, 19)),
    *({"kind": "cap", "rows": rows} for rows in (0, 1, 20, 40)),
    *({"kind": "vanish", "fraction": fraction} for fraction in (0.5, 1.0)),
    *({"kind": "ignore_limit", "limit": limit} for limit in (1, 7)),
    *({"kind": "shift", "action": action} for action in ("delete", "insert")),
    *({"kind": "error_before", "status": status} for status in (404, 429, 500)),
    *({"kind": "wrong_shape", "value": value} for value in ("[]", "null", '"success"', "{}", '{"records":[]}')),
    *({"kind": "malformed_record", "field": "id", "value": value} for value in (None, '"12"')),
    {"kind": "same_page"},
    {"kind": "endless_pages"},
    {"kind": "overlap_page", "rows": 3},
    {"kind": "late_rows", "rows": 30, "after": 1_000},
    {"kind": "duplicate_rows", "rows": 3},
    {"kind": "ignore_sort"},
    {"kind": "bare_list"},
    {"kind": "null_empty"},
    {"kind": "truncated"},
    {"kind": "html"},
    {"kind": "success_false", "code": 500},
    {"kind": "success_false", "code": 404},
]


# A person or an account that no list ever shows cannot be found by looking; money shows in the balance.
INVISIBLE = {("vanish", "client"), ("vanish", "account"), ("late_rows", "client"), ("late_rows", "account")}
CASES = [(fault, kind) for fault in FAULTS for kind in KINDS if (fault["kind"], kind) not in INVISIBLE]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bench(postgres_server, template_database):
    with postgres_server.database(template_database) as url:
        async with push_bench(url, clients=30, accounts=40, deals=120) as it:
            # One place: no look follows an attempt within the same turn.
            yield it, it.replica(page_size=PAGE, places=1)


@pytest.fixture
def _short_ways(monkeypatch):
    monkeypatch.setattr(looks, "MOST_PAGES", 60)
    # As if the mirror were far behind nothing: what an account had before is known from it alone.
    monkeypatch.setattr(probes, "OVERLAP", 2)


async def done_but_not_answered(it: PushBench, healthy: Replica, kind: str, name: str):
    """What was asked for is in the books, and we do not know; others came after it. What tells how often it is there."""
    if kind == "client":
        it.crm.call("register", name, PERSON, "live")
        wanted = name, lambda: len(it.clients(name))
    elif kind == "account":
        it.registrant(name)
        it.crm.call("open_account", f"{name}/1", name, {})
        username = it.username(f"{name}/1")
        wanted = f"{name}/1", lambda: len(it.accounts(username))
    else:
        it.account(name)
        call, _, direction = kind.partition("_")
        it.crm.call(call, f"{name}/m", f"{name}/1", "7.25", *([direction] if direction else []))
        wanted = f"{name}/m", lambda: len(it.effects(f"{name}/m"))
    await it.mirror("clients", "accounts", "deals")
    it.strike("drop_after", method="POST")
    await healthy.turn()
    assert (it.state(wanted[0]), wanted[1]()) == ("unknown", 1)
    for number in range(4):
        if kind == "client":
            it.books.add_client({**PERSON, "external_id": f"{name}-by-hand-{number}"})
        elif kind == "account":
            it.books.add_account(it.books.clients.ids[0], it.books.trading_groups[79], f"{name}-by-hand-{number}", {})
        else:
            it.fund(it.account_id(f"{name}/1"), number + 1)
    return wanted


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.usefixtures("_short_ways")
@pytest.mark.parametrize(
    ("fault", "kind"), CASES, ids=lambda v: v if isinstance(v, str) else "-".join(map(str, v.values()))
)
async def test_what_is_there_is_never_done_again_however_the_lists_lie(bench, fault, kind):
    it, healthy = bench
    it.sandbox.faults.clear()
    reference, times = await done_but_not_answered(it, healthy, kind, f"r{FAULTS.index(fault)}-{kind}")
    it.sandbox.faults.set({"path": LISTS, **fault})
    for _ in range(LOOKS):
        it.age()
        it.hurry()
        await healthy.turn()
        assert it.state(reference) in ("unknown", "confirmed", "parked")
        assert times() == 1
    it.sandbox.faults.clear()
    await it.until_quiet(healthy)
    assert it.state(reference) in ("confirmed", "parked")
    assert times() == 1
    it.owner.rows("UPDATE counterfoil.platform_state SET paused = NULL")
