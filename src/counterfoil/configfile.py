"""Where settings come from: the YAML file, the environment, secret files.

Each source becomes a `Layer`: plain values, and for every key the place where a person would go to change it. What the
keys mean is `counterfoil.settings`'s business. Nothing here puts a value into a message, because any of them may be a
secret.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import yaml

from counterfoil.domain.errors import ConfigurationError

KeyPath: TypeAlias = tuple[str, ...]

PREFIX = "COUNTERFOIL_"
# Of the test suite, of `counterfoil demo`, and where the embedded PostgreSQL finds its binaries.
_OTHER_PREFIXES = ("COUNTERFOIL_TEST_", "COUNTERFOIL_DEMO_", "COUNTERFOIL_POSTGRES_BIN")
_MAX_BYTES = 256 * 1024
_MAX_NODES = 10_000  # aliases multiply: a few hundred bytes can stand for billions of values
_MAX_DEPTH = 32  # an alias may contain itself

_SYNTAX = {
    "found character '\\t'": "a tab stands where only spaces may; indent with spaces",
    "found character": "a value begins with a character that must be quoted; put it in quotes",
    "mapping values are not allowed": "a colon stands where none may; check the indentation, or put the value in quotes",
    "could not find expected ':'": "a colon and a space are missing after a key",
    "found undefined alias": "an alias has no anchor; put a value that begins with * in quotes",
    "expected alphabetic or numeric": "an anchor or alias has no name; put a value that begins with & or * in quotes",
    "found unexpected end of stream": "a quote is not closed",
    "expected <block end>": "the indentation does not fit the lines above",
    "expected ',' or": "a bracket is not closed, or a comma is missing",
    "but found another document": "a second document begins; one is all there can be",
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a key was set: what to call it, and its line (0: not in the file)."""

    label: str
    line: int = 0


@dataclass(frozen=True, slots=True)
class Layer:
    """The settings of one source: values as a tree, the place of each key, the folder that relative paths start from."""

    name: str
    tree: dict[str, object]
    places: dict[KeyPath, Place] = field(default_factory=dict)
    folder: Path = field(default_factory=Path)

    def place(self, path: KeyPath) -> Place:
        """Where `path` was set: the place of its nearest ancestor when the key itself is not there."""
        nearest = (self.places.get(path[:length]) for length in range(len(path), 0, -1))
        return next((place for place in nearest if place), Place(self.name))

    def depth(self, path: KeyPath) -> int:
        """How many parts of `path`, from the left, the layer sets."""
        section: object = self.tree
        for depth, part in enumerate(path):
            if not isinstance(section, dict) or part not in section:
                return depth
            section = section[part]
        return len(path)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, said without the value."""

    place: Place
    path: KeyPath
    text: str

    def __str__(self) -> str:
        """One line: place, key, what is wrong."""
        return ": ".join(part for part in (self.place.label, dotted(self.path), self.text) if part)


def refusal(problems: Sequence[Problem]) -> ConfigurationError:
    """One line for all of `problems` (at least one): the first by line, and how many more there are."""
    first, *others = sorted(problems, key=lambda problem: problem.place.line)
    return ConfigurationError(f"{first} (and {len(others)} more)" if others else str(first))


def dotted(path: KeyPath) -> str:
    """`path` as an operator writes it; a part that is no key at all (`password:hunter2`) is not repeated."""
    return ".".join(part if re.fullmatch(r"[\w.<>-]{1,64}", part, re.ASCII) else "…" for part in path)


def read_file(path: Path) -> Layer:
    """The YAML file at `path`, at most 256 KiB.

    Raises:
        ConfigurationError: It cannot be read, is not UTF-8 or not YAML, is empty, repeats a key, or is no mapping.
    """
    name = printable(path.name)
    text = _decoded(_contents(path), name)
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise ConfigurationError(f"{name} line {line}: a control character stands there; remove it") from None
    except yaml.MarkedYAMLError as error:
        raise _syntax_error(error, name) from None
    except RecursionError:
        raise ConfigurationError(f"{name}: nested too deeply") from None
    except (ValueError, OverflowError):  # PyYAML lets those of chr() and int() through
        raise ConfigurationError(f"{name}: not valid YAML") from None
    if node is None:
        raise ConfigurationError(f"{name}: empty; config/counterfoil.yaml shows every key")
    if not isinstance(node, yaml.MappingNode):
        raise ConfigurationError(
            f"{name} line {_line(node)}: not a mapping; write keys such as database: and platforms:"
        )
    places: dict[KeyPath, Place] = {}
    return Layer(name, _Expansion(name, places).mapping(node, ()), places, path.parent)


def read_environment(environ: Mapping[str, str], capitals: Sequence[KeyPath] = ()) -> Layer:
    """The variables that begin with `COUNTERFOIL_`: `__` parts the keys, case does not matter.

    Args:
        environ: The environment.
        capitals: The keys that are not spelled in lower case; `*` stands for any name.

    Raises:
        ConfigurationError: Two variables set the same key, or one sets a section and another a key in it.
    """
    layer = Layer("environment", {})
    problems = []
    for name in sorted(environ):
        if not name.startswith(PREFIX) or name.startswith(_OTHER_PREFIXES):
            continue
        path = _spelled(tuple(name.removeprefix(PREFIX).lower().split("__")), capitals)
        place = Place(printable(name))
        if not _plant(layer, path, environ[name], place):
            problems.append(Problem(place, path, "set twice in the environment; keep one of the variables"))
    if problems:
        raise refusal(problems)
    return layer


def read_overrides(overrides: Mapping[str, object]) -> Layer:
    """Nested values from the command line; None means that the option was not given."""

    def given(section: Mapping[str, object]) -> dict[str, object]:
        return {
            key: given(value) if isinstance(value, Mapping) else value
            for key, value in section.items()
            if value is not None
        }

    return Layer("command line", given(overrides))


def read_secret_files(layers: Sequence[Layer], secrets: Sequence[KeyPath]) -> Layer:
    """What the files named by `x_file` hold, for every secret `x`; the `x_file` keys are taken out of `layers`.

    Args:
        layers: The sources, the one that wins first, the YAML file last. A secret that any but the last gives outright
            is not read from a file, because a file ranks below them.
        secrets: The key paths of all secrets; `*` stands for any name.

    Raises:
        ConfigurationError: A source gives a secret and its file both, or a file cannot be read or is empty.
    """
    problems = []
    found = Layer("secret file", {})
    outright = {path for layer in layers[:-1] for path, _ in _present(layer.tree, secrets)}
    for layer in layers:
        for path, section in _present(layer.tree, [(*key[:-1], f"{key[-1]}_file") for key in secrets]):
            target = (*path[:-1], path[-1].removesuffix("_file"))
            name, place = section.pop(path[-1]), layer.place(path)
            if target[-1] in section:
                problems.append(Problem(place, path, f"contradicts {target[-1]}; keep one of the two"))
            elif target not in outright and target not in found.places:
                value = _secret(name, layer.folder)
                problems += [Problem(place, path, value.text)] if isinstance(value, _Unreadable) else []
                _plant(found, target, value, place)
    if problems:
        raise refusal(problems)
    return found


def anchor_paths(layer: Layer, keys: Sequence[KeyPath]) -> None:
    """Make the relative paths at `keys` start from the layer's own folder; `*` stands for any name."""
    for path, section in _present(layer.tree, keys):
        value = section[path[-1]]
        if isinstance(value, str) and value:
            section[path[-1]] = str(layer.folder / value)


def printable(text: str) -> str:
    """`text` on one line, with `?` for what a terminal would act upon."""
    return "".join(character if character.isprintable() else "?" for character in text)


class _Loader(yaml.SafeLoader):
    """YAML with the few types that settings have.

    Nothing else is guessed: no dates, no base 60 (`1:30`), no octal numbers (`0755`), no underscores in numbers; those
    stay text.
    """

    yaml_implicit_resolvers = {}  # noqa: RUF012 - the type is the library's


for _tag, _pattern, _first in (
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF|yes|Yes|YES|no|No|NO)$", "tTfFoOyYnN"),
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("int", r"^[-+]?(?:0|[1-9][0-9]{0,17})$", "-+0123456789"),
    ("float", r"^[-+]?[0-9]{1,17}\.[0-9]{1,17}$", "-+0123456789"),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), list(_first))


class _Expansion:
    """Turns YAML nodes into plain values and notes the line of each key; bounded in size and depth."""

    def __init__(self, name: str, places: dict[KeyPath, Place]) -> None:
        self._name = name
        self._places = places
        self._nodes_left = _MAX_NODES

    def mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, object]:
        """The values of `node` by key.

        Raises:
            ConfigurationError: A key is not text or stands twice, or the whole is larger than settings can be.
        """
        result: dict[str, object] = {}
        for key, child in node.value:
            here = self._place(key)
            if not isinstance(key, yaml.ScalarNode):
                raise refusal([Problem(here, path, "a key must be plain text")])
            inner = (*path, self._text(key, path))
            if key.value in result:
                text = f"written twice, first in line {self._places[inner].line}; keep one"
                raise refusal([Problem(here, inner, text)])
            self._places[inner] = here
            result[key.value] = self._value(child, inner)
        return result

    def _value(self, node: yaml.Node, path: KeyPath) -> object:
        self._nodes_left -= 1
        if self._nodes_left < 0 or len(path) > _MAX_DEPTH:
            raise refusal(
                [Problem(self._place(node), path, "larger than settings can be, aliases counted each time; write less")]
            )
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self._value(item, (*path, str(index))) for index, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _scalar(self, node: yaml.Node, path: KeyPath) -> object:
        text = self._text(node, path)
        try:
            match node.tag.removeprefix("tag:yaml.org,2002:"):
                case "null":
                    return None
                case "bool":
                    return yaml.SafeLoader.bool_values[text.lower()]
                case "int":
                    return int(text)
                case "float":
                    return float(text)
                case "str":
                    return text
        except (ValueError, KeyError):
            pass
        raise refusal([Problem(self._place(node), path, "a tag (a word after !) has no use here; remove it")])

    def _text(self, node: yaml.Node, path: KeyPath) -> str:
        text = str(node.value)
        if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
            raise refusal([Problem(self._place(node), path, "holds a character that is not text")])
        return text

    def _place(self, node: yaml.Node) -> Place:
        return Place(f"{self._name} line {_line(node)}", _line(node))


def _spelled(path: KeyPath, capitals: Sequence[KeyPath]) -> KeyPath:
    """`path`, which is in lower case, as the settings spell it."""
    for key in capitals:
        if len(key) == len(path) and all(
            own in {"*", mine} for own, mine in zip(map(str.lower, key), path, strict=True)
        ):
            return tuple(mine if own == "*" else own for own, mine in zip(key, path, strict=True))
    return path


@dataclass(frozen=True, slots=True)
class _Unreadable:
    """Why a secret file gave no secret."""

    text: str


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _contents(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{printable(str(path))}: {_reason(error)}") from None
    if len(raw) > _MAX_BYTES:
        raise ConfigurationError(f"{printable(str(path))}: larger than 256 KiB; that is not a settings file")
    return raw


def _decoded(raw: bytes, name: str) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(f"{name} line {line}: not UTF-8; save the file as UTF-8") from None


def _reason(error: Exception) -> str:
    match error:
        case FileNotFoundError():
            return "no such file"
        case IsADirectoryError():
            return "a directory, not a file"
        case PermissionError():
            return "permission denied; let this user read it"
    return "cannot be read"


def _syntax_error(error: yaml.MarkedYAMLError, name: str) -> ConfigurationError:
    """PyYAML's own words quote the text, which may be a secret, so ours stand in for them."""
    said = f"{error.problem or ''} {error.context or ''}"
    mark = error.problem_mark or error.context_mark
    text = next((ours for theirs, ours in _SYNTAX.items() if theirs in said), "not valid YAML")
    return ConfigurationError(f"{name} line {mark.line + 1}: {text}" if mark else f"{name}: {text}")


def _secret(name: object, folder: Path) -> str | _Unreadable:
    """The text of the file called `name`, without one newline at its end."""
    if not isinstance(name, str) or not name:
        return _Unreadable("is not the path of a file")
    # A secret written under x_file by mistake must not be repeated; a path mostly shows that it is one.
    shown = printable(name) if name.startswith(("/", "./", "../")) else "the file named there"
    try:
        with (folder / name).open("rb") as file:
            text = file.read(_MAX_BYTES).decode("utf-8")
    except UnicodeDecodeError:
        return _Unreadable(f"{shown}: not UTF-8 text")
    except (OSError, ValueError) as error:
        return _Unreadable(f"{shown}: {_reason(error)}")
    return re.sub(r"\r?\n\Z", "", text) or _Unreadable(f"{shown}: the file is empty")


def _plant(layer: Layer, path: KeyPath, value: object, place: Place) -> bool:
    """Set `path` in the layer; False when it, or something above or below it, is set already."""
    section = layer.tree
    for length, key in enumerate(path[:-1], start=1):
        inner = section.setdefault(key, {})
        if not isinstance(inner, dict):
            return False
        section = inner
        layer.places.setdefault(path[:length], place)
    if path[-1] in section:
        return False
    section[path[-1]] = value
    layer.places[path] = place
    return True


def _present(tree: dict[str, object], keys: Sequence[KeyPath]) -> Iterator[tuple[KeyPath, dict[str, object]]]:
    """The full path, and the section that holds it, of each of `keys` that is in `tree`; `*` stands for any name."""
    for first, *rest in keys:
        for name in list(tree) if first == "*" else [first]:
            inner = tree.get(name)
            if name in tree and not rest:
                yield (name,), tree
            elif isinstance(inner, dict):
                for path, section in _present(inner, [tuple(rest)]):
                    yield (name, *path), section
