"""Directories that look as if they held a PostgreSQL server."""

from pathlib import Path


def pretend(directory: Path, version: str, initdb: str = "exit 1") -> Path:
    """A `postgres` that only knows its version, and an `initdb` that runs a shell script; in that directory."""
    directory.mkdir(exist_ok=True)
    directory.chmod(0o755)
    for name, script in {"postgres": f'echo "postgres (PostgreSQL) {version}"', "initdb": initdb}.items():
        (directory / name).write_text(f"#!/bin/sh\n{script}\n")
        (directory / name).chmod(0o755)
    return directory
