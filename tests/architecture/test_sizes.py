"""Nothing grows beyond what a person reads in one sitting."""

import ast
from statistics import median

import pytest

from architecture.tree import SOURCE, TESTS, Function, functions, lines, modules, named

LONGEST_MODULE = 400
LONGEST_FUNCTION = 60
MOST_POSITIONAL = 5
LONGEST_MEDIAN = 12
TESTS_PER_SOURCE = (1.0, 1.8)

EVERY_MODULE = modules(SOURCE)


def length(function: Function) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def positional(function: Function) -> list[str]:
    """The parameters that can be given by position, without self and cls."""
    names = [parameter.arg for parameter in (*function.args.posonlyargs, *function.args.args)]
    return names[1:] if names[:1] in (["self"], ["cls"]) else names


@pytest.mark.parametrize(
    ("code", "names"),
    [
        ("def f(a, b, *, c): ...", ["a", "b"]),
        ("def f(self, a, /, b): ...", ["a", "b"]),
        ("async def f(cls): ...", []),
    ],
)
def test_positional_parameters_are_counted_without_the_object(code, names):
    (function,) = ast.parse(code).body
    assert positional(function) == names


def test_no_module_is_longer_than_a_sitting():
    long = [f"{named(path)}: {lines(path)} lines" for path in EVERY_MODULE if lines(path) > LONGEST_MODULE]
    assert long == [], f"split at a seam with a name of its own; at most {LONGEST_MODULE} lines a module"


def test_no_function_is_longer_than_a_screen():
    long = [
        f"{named(path)}:{function.lineno} {function.name}: {length(function)} lines"
        for path in EVERY_MODULE
        for function in functions(path)
        if length(function) > LONGEST_FUNCTION
    ]
    assert long == [], f"give its steps names of their own; at most {LONGEST_FUNCTION} lines a function"


def test_the_median_function_is_short():
    middle = median(length(function) for path in EVERY_MODULE for function in functions(path))
    assert middle < LONGEST_MEDIAN, "give the steps of long functions names of their own"


def test_no_function_takes_many_parameters_by_position():
    many = [
        f"{named(path)}:{function.lineno} {function.name}({', '.join(positional(function))})"
        for path in EVERY_MODULE
        for function in functions(path)
        if len(positional(function)) > MOST_POSITIONAL
    ]
    assert many == [], "write a bare * and name them, or make them one value with a name"


def test_tests_are_as_long_as_what_they_test_and_not_twice_as_long():
    source = sum(map(lines, EVERY_MODULE))
    tests = sum(map(lines, modules(TESTS)))
    fewest, most = TESTS_PER_SOURCE
    assert fewest <= tests / source <= most, (
        f"{tests} lines of tests for {source} lines of source; below {fewest}: behaviour is untested, above {most}: say it in"
        " tables and properties"
    )
