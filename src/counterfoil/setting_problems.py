"""What is wrong with the settings, in an operator's words instead of pydantic's."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic_core import ErrorDetails

from counterfoil.configfile import KeyPath, Layer, Problem, printable

_UNSPOKEN = ("password", "key", "secret", "url")  # one of these in a key's path: its value is not repeated
_LONGEST_VALUE = 40  # characters of a value that a message repeats

_AFTER_THE_VALUE = {
    "bool_parsing": "is not true or false",
    "bool_type": "is not true or false",
    "int_parsing": "is not a whole number",
    "int_type": "is not a whole number",
    "int_from_float": "is not a whole number",
    "float_parsing": "is not a number",
    "float_type": "is not a number",
    "finite_number": "is not a number",
    "greater_than": "is too small; write more than {gt:g}",
    "greater_than_equal": "is too small; at least {ge}",
    "less_than_equal": "is too large; at most {le:.10g}",
    "string_type": "is not text; put it in quotes",
    "literal_error": "is not known here; write {expected}",
    "string_pattern_mismatch": "is not a path; write one such as /api/v1/trader/deals",
    "path_type": "is not the path of a file",
}
_NO_KIND = {"union_tag_not_found", "union_tag_invalid"}
_WITHOUT_THE_VALUE = {
    "model_type": "not a section; write its keys below it",
    "model_attributes_type": "not a section; write its keys below it",
    "mapping_type": "not a section; write its keys below it",
    "dict_type": "not a section; write its keys below it",
    "too_short": "empty; at least one platform is needed",
    "string_unicode": "holds a character that is not text",
}


def problem(details: ErrorDetails, layers: Sequence[Layer], schema: Callable[[], dict[str, Any]]) -> Problem:
    """One of pydantic's errors, at the place where a person would mend it.

    Args:
        details: The error.
        layers: The sources, the one that wins first, the file last.
        schema: Gives the JSON Schema of the file; asked only where the names of keys are needed.
    """
    path = _path(details)
    place = _owner(layers, path).place(path)
    return Problem(place, path, _text(details, path, schema))


def _path(details: ErrorDetails) -> KeyPath:
    """The key that a person would mend.

    Behind a platform's name pydantic puts one part that no file has: the kind that it chose, or `[key]` for the name itself.
    """
    loc = details["loc"]
    written = (*loc[:2], *loc[3:]) if loc[:1] == ("platforms",) else loc
    at = ("kind",) if details["type"] in _NO_KIND else details.get("ctx", {}).get("at", ())
    return tuple(str(part) for part in (*written, *at))


def _text(details: ErrorDetails, path: KeyPath, schema: Callable[[], dict[str, Any]]) -> str:
    loc = details["loc"]
    match details["type"]:
        case "extra_forbidden":
            return _unknown_key(path[-1], _known_keys(schema(), loc[:-1]), _other_kinds(schema(), loc))
        case "missing":
            return _missing(path[-1], _known_keys(schema(), loc[:-1]))
        case "union_tag_not_found":
            return f"missing; write {_kinds(schema())}"
        case "union_tag_invalid":
            value = _spoken(details["input"]["kind"], path)
            text = f"is not a kind of platform that this version knows; write {_kinds(schema())}"
            return f'"{value}" {text}' if value else text
    return _sentence(details, path)


def _owner(layers: Sequence[Layer], path: KeyPath) -> Layer:
    """The layer whose value counts; for a key that is nowhere, the one that should have it: mostly the file."""
    exact = (layer for layer in layers if layer.depth(path) == len(path))
    return next(exact, None) or max(reversed(layers), key=lambda layer: layer.depth(path))


def _unknown_key(name: str, known: Sequence[str], kinds: Sequence[str]) -> str:
    """`kinds`: those of a platform that do have the key, so that what it resembles here is not what was meant."""
    if kinds:
        return f"unknown key, which only kind {' and '.join(kinds)} has; known here: {', '.join(known)}"
    close = difflib.get_close_matches(name, known, n=1)
    return f"unknown key; did you mean {close[0]}?" if close else f"unknown key; known here: {', '.join(known)}"


def _missing(name: str, known: Sequence[str]) -> str:
    return f"missing; give {name} or {name}_file" if f"{name}_file" in known else "missing"


def _sentence(details: ErrorDetails, path: KeyPath) -> str:
    kind, context = details["type"], details.get("ctx", {})
    if details["loc"][-1:] == ("[key]",):
        return "not a name for a platform; write lower-case letters, digits, - and _, at most 40"
    if kind in _WITHOUT_THE_VALUE:
        return _WITHOUT_THE_VALUE[kind]
    if kind == "stated":
        return details["msg"]
    text = _AFTER_THE_VALUE[kind].format(**context) if kind in _AFTER_THE_VALUE else details["msg"]
    value = _spoken(details["input"], path)
    return f'"{value}" {text}' if value else text


def _spoken(value: object, path: KeyPath) -> str:
    """`value` for a message; nothing where it may be a secret or is no single value."""
    if any(word in part for word in _UNSPOKEN for part in path) or not isinstance(value, str | int | float):
        return ""
    text = str(value).lower() if isinstance(value, bool) else printable(str(value))
    return text if len(text) <= _LONGEST_VALUE else f"{text[:_LONGEST_VALUE]}…"


def _known_keys(schema: Mapping[str, Any], loc: Sequence[int | str]) -> list[str]:
    """The keys that the section at `loc` may have."""
    return list(_section(schema, loc).get("properties", {}))


def _kinds(schema: Mapping[str, Any]) -> str:
    return " or ".join(_by_kind(_section(schema, ("platforms", "any"))))


def _other_kinds(schema: Mapping[str, Any], loc: Sequence[int | str]) -> list[str]:
    """The kinds of platform that have the key at `loc`, which the kind at `loc` does not have."""
    platform, kind, inner, name = loc[:2], loc[2:3], loc[3:-1], loc[-1]
    kinds = _by_kind(_section(schema, platform))
    return [other for other in kinds if [other] != [*kind] and name in _known_keys(schema, (*platform, other, *inner))]


def _section(schema: Mapping[str, Any], loc: Sequence[int | str]) -> Mapping[str, Any]:
    """The schema at `loc`, which names the kind of a platform behind the platform's name."""
    section: Mapping[str, Any] = schema
    for part in loc:
        named = _by_kind(section).get(str(part)) or section.get("properties", {}).get(part)
        section = _resolved(schema, named or next(iter(section.get("patternProperties", {}).values()), {}))
    return section


def _by_kind(section: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The schema of each kind where `section` is one of several."""
    mapping = section.get("discriminator", {}).get("mapping", {})
    return {kind: {"$ref": reference} for kind, reference in mapping.items()}


def _resolved(schema: Mapping[str, Any], node: Mapping[str, Any]) -> Mapping[str, Any]:
    options = [option["$ref"] for option in (node, *node.get("anyOf", ())) if "$ref" in option]
    return schema["$defs"][options[0].rpartition("/")[2]] if options else node
