import ast
from pathlib import Path

import pytest

import counterfoil.sandbox
from counterfoil.sandbox import faults as f
from counterfoil.sandbox.desk import FaultDesk

CLIENTS = "/api/v1/manager/clients"


def desk(*specs):
    made = FaultDesk()
    made.set(list(specs))
    return made


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"kind": "weather"}, "unknown kind"),
        ({"kind": "delay"}, "seconds"),
        ({"kind": "delay", "seconds": "long"}, "seconds"),
        ({"kind": "delay", "seconds": -1}, "seconds"),
        ({"kind": "delay", "seconds": 1, "colour": "red"}, "colour"),
        ({"kind": "vanish", "fraction": 2}, "fraction"),
        ({"kind": "forbid", "path": "("}, "regular expression"),
        ({"kind": "forbid", "times": 0}, "times"),
        ({"kind": "shift", "action": "dance"}, "action"),
        ({"kind": "wrong_amount", "by": 0.01}, "by"),
        ({"kind": "wrong_amount", "by": "a cent"}, "by"),
        ({"kind": "answer_amount", "by": "1e9"}, "by"),
        ({"kind": "answer_amount", "by": "1\n"}, "by"),
        ({"faults": [], "more": 1}, "expected one fault"),
        ({"faults": "all"}, "must be a list"),
        (["forbid"], "unknown kind"),
        ("forbid", "must be a list"),
    ],
)
def test_a_fault_that_nobody_can_obey_is_refused_and_changes_nothing(spec, reason):
    made = desk({"kind": "forbid"})
    with pytest.raises(f.FaultError, match=reason):
        made.set(spec)
    assert [fault["kind"] for fault in made.describe()] == ["forbid"]


@pytest.mark.parametrize("spec", [{"kind": "deaf"}, [{"kind": "deaf"}], {"faults": [{"kind": "deaf"}]}])
def test_faults_come_singly_or_in_lists(spec):
    made = FaultDesk()
    made.set(spec)
    assert [fault["kind"] for fault in made.describe()] == ["deaf"]


def test_times_and_every_say_when_it_strikes():
    made = desk({"kind": "forbid", "times": 2, "every": 3})
    struck = [made.pick("GET", CLIENTS, f.LIST).has(f.Forbid) for _ in range(12)]
    assert [place for place, hit in enumerate(struck, 1) if hit] == [3, 6]
    assert made.fired("forbid") == 2


@pytest.mark.parametrize(
    ("spec", "request_", "hit"),
    [
        ({"kind": "forbid"}, ("GET", CLIENTS, f.LIST), True),
        ({"kind": "forbid", "path": "deals"}, ("GET", CLIENTS, f.LIST), False),
        ({"kind": "forbid", "path": "cli.nts$"}, ("GET", CLIENTS, f.LIST), True),
        ({"kind": "forbid", "method": "post"}, ("GET", CLIENTS, f.LIST), False),
        ({"kind": "forbid", "method": "get"}, ("GET", CLIENTS, f.LIST), True),
        ({"kind": "forbid"}, ("POST", "/api/v1/oauth2/login", f.LOGIN), False),
        ({"kind": "forbid", "path": "login"}, ("POST", "/api/v1/oauth2/login", f.LOGIN), True),
        ({"kind": "bare_list"}, ("GET", f"{CLIENTS}/3", f.SINGLE), False),
        ({"kind": "hide_closed"}, ("GET", CLIENTS, f.LIST), False),
        ({"kind": "unique"}, ("GET", CLIENTS, f.LIST), False),
        ({"kind": "extra_field"}, ("POST", CLIENTS, f.WRITE), True),
        ({"kind": "unmark"}, ("POST", "/api/v1/oauth2/login", f.LOGIN), True),
        ({"kind": "unmark"}, ("GET", CLIENTS, f.LIST), True),
        ({"kind": "unmark", "path": "clients"}, ("POST", "/api/v1/oauth2/login", f.LOGIN), False),
        *(
            ({"kind": kind}, (method, CLIENTS, target), target == f.WRITE)
            for kind in (
                "wrong_amount",
                "books_twice",
                "answer_amount",
                "answer_account",
                "answer_without_id",
                "answer_text",
            )
            for method, target in (("POST", f.WRITE), ("GET", f.LIST), ("GET", f.SINGLE))
        ),
    ],
)
def test_a_fault_strikes_what_it_is_meant_for(spec, request_, hit):
    assert bool(desk(spec).pick(*request_).armed) is hit


def test_a_file_of_faults_is_read(tmp_path):
    path = tmp_path / "faults.yaml"
    path.write_text(
        "faults:\n  - {kind: rate_limited, retry_after: 2, times: 1}\n  - kind: drop_after\n    path: money\n"
    )
    made = FaultDesk()
    made.load(path)
    assert [fault["kind"] for fault in made.describe()] == ["rate_limited", "drop_after"]
    path.write_text("faults: [")
    with pytest.raises(f.FaultError, match="not YAML"):
        made.load(path)


def test_good_weather_can_be_restored():
    made = desk({"kind": "deaf"})
    made.clear()
    assert made.describe() == []


def test_the_sandbox_imports_nothing_of_the_client_it_tests():
    allowed = ("counterfoil.sandbox", "counterfoil.domain", "aiohttp", "msgspec", "yaml")
    foreign = []
    for path in Path(counterfoil.sandbox.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            ours = [name for name in names if name.split(".")[0] in {"counterfoil", "sqlalchemy", "psycopg", "httpx"}]
            foreign += [f"{path.name}: {name}" for name in ours if not name.startswith(allowed)]
    assert foreign == []
