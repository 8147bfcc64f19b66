"""An environment for each tool, as a user would make one: its own virtual environment, its own pinned packages.

They lie in `.venv` beside this file, and are made anew when what they need has changed. A tool that cannot be installed is told
about and left out.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
HOME = HERE / ".venv"
REQUIREMENTS = HERE / "requirements"
# Whoever starts Python often is not to pay for byte code that may not be kept; nobody calls home.
BYTECODE = "PYTHONDONTWRITEBYTECODE"
QUIET = {"DO_NOT_TRACK": "1", "RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "ERROR"}


@dataclass(frozen=True)
class Environment:
    """`python`: its interpreter; `trouble`: why there is none, "" when all is well."""

    name: str
    python: Path
    trouble: str = ""

    def versions(self, packages: tuple[str, ...]) -> dict[str, str]:
        """The versions of some of its packages."""
        code = "import sys,json,importlib.metadata as m; print(json.dumps({n: m.version(n) for n in sys.argv[1:]}))"
        done = subprocess.run([self.python, "-c", code, *packages], capture_output=True, text=True, check=False)
        return json.loads(done.stdout) if done.returncode == 0 else {}


PROJECT = Environment("project", Path(sys.executable))


def variables(**further: str) -> dict[str, str]:
    """The environment variables of every contender."""
    return {name: value for name, value in os.environ.items() if name != BYTECODE} | QUIET | further


def ready(name: str) -> Environment:
    """The environment of this name, made if it is not there; `project` is the one that this runs in."""
    if name == PROJECT.name:
        return PROJECT
    needed = REQUIREMENTS / f"{name}.txt"
    mark = hashlib.sha256(needed.read_bytes() + sys.version.encode()).hexdigest()
    folder = HOME / name
    python, marked = folder / "bin" / "python", folder / "ready"
    if marked.exists() and marked.read_text() == mark:
        return Environment(name, python)
    print(f"setting up {folder} (once)", file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    for command in (_make(folder), _install(python, needed)):
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=variables())
        if done.returncode:
            return Environment(name, python, f"{name} cannot be installed: {_reason(done.stderr or done.stdout)}")
    marked.write_text(mark)
    return Environment(name, python)


def _reason(said: str) -> str:
    lines = [line.strip() for line in said.splitlines() if line.strip()] or ["no reason given"]
    return next((line for line in lines if line.startswith("ERROR")), lines[-1])


def _make(folder: Path) -> list[str]:
    return [sys.executable, "-m", "venv", "--without-pip", str(folder)]


def _install(python: Path, needed: Path) -> list[str]:
    """With the pip of the project's environment or, where that has none, of the interpreter that made it."""
    has_pip = (
        subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True, check=False).returncode == 0
    )
    pip = sys.executable if has_pip else getattr(sys, "_base_executable", sys.executable)
    quietly = ["--quiet", "--disable-pip-version-check", "--require-hashes"]
    return [pip, "-m", "pip", "--python", str(python), "install", *quietly, "-r", str(needed)]
