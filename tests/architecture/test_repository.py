"""What lies in the repository would work anywhere: no machine of ours, no package host, pinned dependencies."""

import re
import tomllib

import pytest

from architecture.tree import DOCS, ROOT, named, texts

ELSEWHERE = {
    "name packages and versions; the installer's own settings say where they come from": re.compile(
        r"pypi\.org|pythonhosted\.org|npmjs\.(org|com)|deb\.debian\.org|--(extra-)?index-url\s+\S|--trusted[-]host"
    ),
    "write a path relative to the repository, or one of the system such as /var/lib": re.compile(
        r"(?<![\w.$}/-])/(work|home/\w+|Users/\w+|root)/(?=\w|\.)"
    ),
    "say the fact itself: a reader has only the repository": re.compile(
        r"\.\./shared\b|\bissue #?\d+\b", re.IGNORECASE
    ),
}
LOCKS = ("requirements/runtime.txt", "requirements/dev.txt")
REQUIREMENT = re.compile(r"^[a-z0-9][a-z0-9._-]*==[^\s;]+( ; [^\\]+)? \\$")


@pytest.mark.parametrize("instead", ELSEWHERE, ids=["package hosts", "paths of one machine", "papers from elsewhere"])
def test_no_file_points_to_what_only_some_machine_has(instead):
    pattern = ELSEWHERE[instead]
    found = [
        f"{named(path)}:{number}: {line.strip()[:80]}"
        for path, content in texts()
        for number, line in enumerate(content, 1)
        if pattern.search(line)
    ]
    assert found == [], instead


@pytest.mark.parametrize("name", LOCKS)
def test_every_pinned_dependency_carries_hashes_and_no_address(name):
    content = (ROOT / name).read_text(encoding="utf-8")
    entries = [entry for entry in re.split(r"\n(?=\S)", content) if entry.strip()]
    loose = [
        entry.partition("\n")[0]
        for entry in entries
        if not REQUIREMENT.match(entry.partition("\n")[0]) or "    --hash=sha256:" not in entry
    ]
    assert len(entries) > 10
    assert loose == [], "pin it again with `make lock`: name==version with --hash lines, nothing else"
    assert "://" not in content, "pin it again with `make lock`: addresses belong to the installer's settings"


def normal(requirement: str) -> str:
    """The name in a requirement, as registries compare names."""
    return re.sub(r"[-_.]+", "-", re.match(r"[A-Za-z0-9._-]+", requirement).group()).lower()


def declared() -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = project["project"].get("optional-dependencies", {})
    groups = project.get("dependency-groups", {})
    lists = [
        project["project"]["dependencies"],
        project["build-system"]["requires"],
        *extras.values(),
        *groups.values(),
    ]
    return {normal(requirement) for requirements in lists for requirement in requirements}


def test_every_dependency_is_pinned():
    pinned = set(re.findall(r"^([a-z0-9._-]+)==", (ROOT / LOCKS[1]).read_text(encoding="utf-8"), re.MULTILINE))
    assert declared() - {normal(name) for name in pinned} == set(), "pin it with `make lock`"


def test_every_dependency_earns_its_place_in_one_line():
    listed = re.findall(
        r"^\| `([^`\[]+)(?:\[[^`]*\])?` \| \S", (DOCS / "adr" / "dependencies.md").read_text(), re.MULTILINE
    )
    assert len(listed) == len(set(listed)), "one line each"
    assert declared() - set(listed) == set(), "say in docs/adr/dependencies.md why it is worth having"
    assert set(listed) - declared() == set(), "gone from pyproject.toml: take its line out of docs/adr/dependencies.md"
