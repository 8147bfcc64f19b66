"""Code and catalogue of events hold each other: nothing else is said, and nothing is listed in vain.

Read from the source, so that a line of code that no test runs is held as well.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from counterfoil.observe import catalogue, event

SOURCE = Path(__file__).parents[2] / "src" / "counterfoil"
OBSERVE = SOURCE / "observe"
CONSTANTS = {name: value for name, value in vars(catalogue).items() if isinstance(value, catalogue.Event)}
FILES = sorted(SOURCE.rglob("*.py"))


def emits(tree: ast.AST) -> Iterator[ast.Call]:
    """Calls of `emit(…)` and `events.emit(…)`."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Name(id="emit") | ast.Attribute(value=ast.Name(id="events"), attr="emit")):
                yield node


def constant(call: ast.Call) -> str:
    """The name of the constant that is emitted, empty when it is something else."""
    match call.args:
        case [ast.Name(id=name)] | [ast.Attribute(value=ast.Name(id="events"), attr=name)]:
            return name if name in CONSTANTS else ""
    return ""


def objections(call: ast.Call) -> list[str]:
    """What is wrong with one call, by what its text alone tells."""
    name = constant(call)
    if not name:
        return ["its first argument is not a constant of the catalogue"]
    allowed = CONSTANTS[name].fields.keys() | event.CONTEXT.keys()
    return [
        f"{name} does not declare {keyword.arg}" if keyword.arg else "its fields are not written out"
        for keyword in call.keywords
        if keyword.arg not in allowed
    ]


def imported(tree: ast.AST) -> set[str]:
    """The packages that a module imports, by their first name."""
    names = set()
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=aliases):
                names |= {alias.name.partition(".")[0] for alias in aliases}
            case ast.ImportFrom(module=str(module), level=0):
                names.add(module.partition(".")[0])
    return names


@pytest.mark.parametrize(
    ("code", "objection"),
    [
        ("emit(PULL_STARTED, platform='live')", None),
        ("events.emit(events.LEASE_LOST, holder='b')", None),
        ("events.emit(events.LEASE_LOST, colour='red')", "LEASE_LOST does not declare colour"),
        ("events.emit(events.LEASE_LOST, **fields)", "its fields are not written out"),
        ("emit('lease.lost')", "its first argument is not a constant of the catalogue"),
        ("emit(A if b else C)", "its first argument is not a constant of the catalogue"),
    ],
)
def test_a_call_is_judged_by_its_text(code, objection):
    (call,) = emits(ast.parse(code))
    assert objections(call) == ([objection] if objection else [])


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_module_emits_events_of_the_catalogue_with_declared_fields_only(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    wrong = [f"{path.name}:{call.lineno}: {text}" for call in emits(tree) for text in objections(call)]
    assert wrong == []


def test_every_event_of_the_catalogue_is_emitted_somewhere():
    emitted = {constant(call) for path in FILES for call in emits(ast.parse(path.read_text(encoding="utf-8")))}
    never = sorted(CONSTANTS.keys() - emitted)
    assert not never, f"listed in observe/catalogue.py, emitted nowhere in src: {', '.join(never)}"


@pytest.mark.parametrize(
    "path",
    [path for path in FILES if not path.is_relative_to(OBSERVE)],
    ids=lambda path: str(path.relative_to(SOURCE)),
)
def test_a_module_has_no_way_around_the_catalogue(path):
    around = imported(ast.parse(path.read_text(encoding="utf-8"))) & {"structlog", "logging"}
    assert around == set(), "say it with counterfoil.observe.events"
