"""Rules of the house that no other tool knows. Each message says what to write instead."""

import ast
import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType

import pytest
import sqlalchemy as sa

from architecture.tree import SOURCE, TESTS, Function, called, functions, modules, named, nodes, parsed
from counterfoil.store.write_tables import metadata

EMPTY_NAMES = re.compile(r"(^|_)(util|utils|helper|helpers|common|manager|misc|handler|processor|data|info)$")
EMPTY_CLASSES = re.compile(r"(Util|Utils|Helper|Helpers|Common|Manager|Processor)$")

# Where text or a database's answer becomes a binary float, and what it is: never money, a price or a volume.
CONVERSIONS = {
    "configfile.py": "a number of the settings file, such as rate_limit.per_second",
    "observe/metrics.py": "Prometheus knows nothing else",
    "platforms/http.py": "seconds of Retry-After",
    "store/budget.py": "seconds to wait",
}
# Where the type is named at all: seconds, shares and rates of requests.
FLOORS_WITH_MONEY = ("domain", "platforms", "pull", "push", "store", "sandbox")
TYPES = {
    "domain/attempt.py": "seconds",
    "domain/errors.py": "seconds",
    "domain/login.py": "seconds",
    "domain/retry.py": "seconds",
    "platforms/base.py": "seconds",
    "platforms/http.py": "seconds",
    "platforms/ctrader/calls.py": "seconds",
    "platforms/ctrader/client.py": "seconds",
    "platforms/ctrader/pushes.py": "seconds",
    "platforms/ctrader/session.py": "seconds",
    "platforms/omtrader/calls.py": "seconds",
    "platforms/omtrader/client.py": "seconds",
    "platforms/omtrader/frames.py": "seconds",
    "platforms/omtrader/pushes.py": "seconds",
    "platforms/omtrader/session.py": "seconds",
    "platforms/omtrader/stream.py": "seconds",
    "platforms/outcomes.py": "seconds",
    "platforms/sessions.py": "seconds",
    "platforms/streaming.py": "seconds",
    "platforms/websocket.py": "seconds",
    "platforms/writing.py": "seconds",
    "platforms/shapes.py": "asks whether a token is a number; the value is thrown away, the token is kept",
    "pull/history.py": "seconds",
    "pull/puller.py": "seconds and shares",
    "pull/run.py": "seconds and shares",
    "pull/streamed.py": "seconds",
    "pull/spans.py": "shares",
    "pull/whole.py": "seconds",
    "push/attempt.py": "seconds",
    "push/pusher.py": "seconds",
    "push/resolve.py": "seconds",
    "sandbox/faults.py": "seconds and shares",
    "sandbox/journal.py": "seconds",
    "sandbox/omtrader.py": "seconds",
    "sandbox/options.py": "seconds",
    "sandbox/server.py": "seconds",
    "store/allowance.py": "seconds",
    "store/budget.py": "seconds and requests a second",
    "store/cursors.py": "seconds",
    "store/drifting.py": "seconds",
    "store/intents.py": "seconds",
    "store/newer.py": "seconds",
    "store/runs.py": "seconds",
    "store/sessions.py": "seconds",
}


def inside(path) -> str:
    return path.relative_to(SOURCE).as_posix()


# --- names ------------------------------------------------------------------------------------------------------------


def test_no_module_has_a_name_that_says_nothing():
    empty = [named(path) for path in (*modules(SOURCE), *modules(TESTS)) if EMPTY_NAMES.search(path.stem)]
    assert empty == [], "name it after what it holds or does: paging, redaction, leases"


def test_no_class_has_a_name_that_says_nothing():
    empty = [
        f"{named(path)}:{node.lineno} {node.name}"
        for path in modules(SOURCE)
        for node in nodes(path, ast.ClassDef)
        if EMPTY_CLASSES.search(node.name)
    ]
    assert empty == [], "name it after what it is: Budget, Vault, Puller"


# --- exact numbers ----------------------------------------------------------------------------------------------------


def conversions(path) -> Iterator[int]:
    return (node.lineno for node in nodes(path, ast.Call) if called(node) == "float")


def mentions(path) -> Iterator[int]:
    return (node.lineno for node in nodes(path, ast.Name) if node.id == "float")


def test_nothing_becomes_a_binary_float_but_what_is_listed_here():
    found = {inside(path) for path in modules(SOURCE) if any(conversions(path))}
    assert found - CONVERSIONS.keys() == set(), "write Decimal(text), or add the module to CONVERSIONS with its reason"
    assert CONVERSIONS.keys() - found == set(), "no longer true: take it out of CONVERSIONS"


def test_binary_floats_are_typed_only_where_seconds_and_shares_are_meant():
    floors = [path for floor in FLOORS_WITH_MONEY for path in modules(SOURCE / floor)]
    found = {inside(path) for path in floors if any(mentions(path))}
    assert found - TYPES.keys() == set(), "write Decimal for money, prices and volumes; else add the module to TYPES"
    assert TYPES.keys() - found == set(), "no longer true: take it out of TYPES"


def test_json_of_a_platform_is_never_read_with_the_default_numbers():
    careless = [
        f"{named(path)}:{node.lineno}"
        for path in modules(SOURCE / "platforms")
        for node in nodes(path, ast.Call)
        if called(node) == "json.loads" and "parse_float" not in {keyword.arg for keyword in node.keywords}
    ]
    assert careless == [], "write json.loads(body, parse_float=…), or decode with msgspec.Raw"


def test_no_column_of_the_database_is_a_binary_float():
    columns = [column for table in metadata.tables.values() for column in table.columns]
    inexact = [str(column) for column in columns if isinstance(column.type, sa.Float)]
    assert len(columns) > 100
    assert inexact == [], "write sa.Numeric() without a scale: it holds the digits that were sent"


# --- tests ------------------------------------------------------------------------------------------------------------


def sleeps(tree: ast.AST) -> Iterator[ast.Call]:
    """Calls that wait for the clock; `sleep(0)` only lets others run."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and called(node).rpartition(".")[2] == "sleep":
            match node.args:
                case [ast.Constant(value=0)]:
                    pass
                case _:
                    yield node


@pytest.mark.parametrize(
    ("code", "count"),
    [("time.sleep(1)", 1), ("await asyncio.sleep(delay)", 1), ("sleep(0.1)", 1), ("await asyncio.sleep(0)", 0)],
)
def test_a_sleep_is_recognised(code, count):
    assert len(list(sleeps(ast.parse(f"async def f():\n    {code}")))) == count


def test_no_test_waits_for_the_clock():
    waiting = [
        f"{named(path)}:{call.lineno} {ast.unparse(call)}"
        for path in modules(TESTS)
        if TESTS / "support" not in path.parents
        for call in sleeps(parsed(path))
    ]
    assert waiting == [], (
        "wait for the thing itself: an asyncio.Event, a line of output, a row; polling with a deadline lives in tests/support"
    )


def asserts(function: Function, own: Mapping[str, Function] = MappingProxyType({})) -> bool:
    """Whether a test can fail by what it looks at; `own`: the functions of its file, which may look in its stead."""
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.Call):
            name = called(node).rpartition(".")[2]
            if name in ("raises", "warns", "fail") or name.lstrip("_").startswith(("assert_", "expect_")):
                return True
            if name in own and own[name] is not function and asserts(own[name]):
                return True
    return False


@pytest.mark.parametrize(
    ("body", "enough"),
    [
        ("assert x", True),
        ("with pytest.raises(ValueError): f()", True),
        ("expect_rows(x, 3)", True),
        ("await self.assert_books()", True),
        ("f()", False),
        ("print('assert')", False),
    ],
)
def test_an_assertion_is_recognised(body, enough):
    (function,) = ast.parse(f"async def test_f(): {body}" if ":" not in body else f"def test_f():\n    {body}").body
    assert asserts(function) is enough


def test_every_test_asserts_something():
    tests = [
        (path, function)
        for path in modules(TESTS)
        for function in functions(path)
        if path.name.startswith("test_") and function.name.startswith("test_")
    ]
    own = {path: {function.name: function for function in functions(path)} for path in {path for path, _ in tests}}
    idle = [f"{named(path)}:{test.lineno} {test.name}" for path, test in tests if not asserts(test, own[path])]
    assert tests
    assert idle == [], "say what must be true: assert, pytest.raises, or a function called assert_… or expect_…"
