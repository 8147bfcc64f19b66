"""The repository as the architecture tests see it: its files, and its Python as trees."""

import ast
import functools
import subprocess
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "counterfoil"
TESTS = ROOT / "tests"
DOCS = ROOT / "docs"

Function = ast.FunctionDef | ast.AsyncFunctionDef


def modules(folder: Path) -> list[Path]:
    """Every Python file below a folder."""
    return sorted(folder.rglob("*.py"))


def named(path: Path) -> str:
    """A file as a message names it."""
    return str(path.relative_to(ROOT))


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def nodes(path: Path, *kinds: type[ast.AST]) -> Iterator[ast.AST]:
    """The nodes of these kinds in a file."""
    return (node for node in ast.walk(parsed(path)) if isinstance(node, kinds))


def functions(path: Path) -> Iterator[Function]:
    """Every function and method of a file, nested ones too."""
    yield from nodes(path, ast.FunctionDef, ast.AsyncFunctionDef)


def lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def called(call: ast.Call) -> str:
    """What a call calls: `sleep`, `asyncio.sleep`, `self._run`; of what is no name only the last part."""
    parts = []
    target: ast.expr = call.func
    while isinstance(target, ast.Attribute):
        parts.append(target.attr)
        target = target.value
    if isinstance(target, ast.Name):
        parts.append(target.id)
    return ".".join(reversed(parts))


@functools.cache
def repository() -> tuple[Path, ...]:
    """Every file that belongs to the repository: those that git has, and new ones that it would take."""
    # The owner of the files may be another than the user who tests them.
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, timeout=30).stdout.decode()
    return tuple(path for name in listed.split("\0") if name and (path := ROOT / name).is_file())


def texts() -> Iterator[tuple[Path, list[str]]]:
    """The text files of the repository with their lines."""
    for path in repository():
        yield path, path.read_text(encoding="utf-8", errors="replace").splitlines()
