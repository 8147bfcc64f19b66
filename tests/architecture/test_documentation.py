"""The documentation tells the truth: links lead somewhere, commands exist, settings load, tables are those of the code."""

import re
import runpy
import shlex
from collections.abc import Iterator

import click
import pytest

from architecture.tree import DOCS, ROOT, SOURCE, modules, named, repository
from counterfoil import settings
from counterfoil.cli.main import counterfoil
from counterfoil.observe import catalogue
from counterfoil.sandbox import SandboxOptions, ctrader_faults, faults

PAGES = sorted(path for path in repository() if path.suffix == ".md")
ADRS = sorted(path for path in PAGES if re.match(r"\d{4}-", path.name))
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def text(path) -> str:
    return path.read_text(encoding="utf-8")


def blocks(path, language: str) -> Iterator[str]:
    return (body for kind, body in BLOCK.findall(text(path)) if kind == language)


def anchors(path) -> set[str]:
    """The fragments that the headings of a page can be linked by."""
    prose = BLOCK.sub("", text(path))
    headings = (match[1] for match in re.finditer(r"^#+ (.+)$", prose, re.MULTILINE))
    return {re.sub(r"[^\w\- ]", "", heading.replace("`", "").lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_links_lead_somewhere(path):
    lost = []
    for target in LINK.findall(BLOCK.sub("", text(path))):
        if "://" in target or target.startswith("mailto:"):
            continue
        name, _, fragment = target.partition("#")
        page = (path.parent / name).resolve() if name else path
        if not page.exists() or (fragment and page.suffix == ".md" and fragment not in anchors(page)):
            lost.append(target)
    assert lost == [], "name a file of the repository, and a heading that it has"


# --- commands ---------------------------------------------------------------------------------------------------------


def commands(path) -> Iterator[str]:
    """Commands that a page shows: lines of its sh blocks, and what it says in backticks."""
    for body in blocks(path, "sh"):
        yield from (line for line in body.splitlines() if line and not line.startswith("#"))
    yield from re.findall(r"`([^`\n]+)`", BLOCK.sub("", text(path)))


def words(command: str, first: str) -> list[str]:
    """The words after `first`, as a shell would split them; empty when it is another command."""
    try:
        split = shlex.split(command, comments=True)
    except ValueError:
        return []
    return split[1:] if split[:1] == [first] else []


def options(command: click.Command) -> set[str]:
    return {option for parameter in command.params for option in parameter.opts}


def objection(given: list[str]) -> str | None:
    """Why `counterfoil` would not understand these words."""
    command: click.Command = counterfoil
    for word in given:
        name = word.partition("=")[0]
        if isinstance(command, click.Group) and not name.startswith("-"):
            found = command.get_command(click.Context(command), name)
            if found is None:
                return f"no command {name}"
            command = found
        elif name.startswith("-") and name not in {"-h", "--help", *options(command)}:
            return f"{command.name} has no option {name}"
    return None


@pytest.mark.parametrize(
    ("given", "answer"),
    [
        ("run -c x.yaml", None),
        ("config show -c x.yaml", None),
        ("sync --full --accept-deletions accounts", None),
        ("--version", None),
        ("intents list -c x.yaml --state parked", None),
        ("payouts list", "no command payouts"),
        ("config hide", "no command hide"),
        ("run --fast", "run has no option --fast"),
    ],
)
def test_a_command_is_understood_or_not(given, answer):
    assert objection(given.split()) == answer


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_the_commands_of_a_page_exist(path):
    shown = [given for command in commands(path) if (given := words(command, "counterfoil"))]
    wrong = [f"counterfoil {shlex.join(given)}: {reason}" for given in shown if (reason := objection(given))]
    assert wrong == [], "write a command that `counterfoil --help` knows"


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_the_targets_of_a_page_exist(path):
    targets = set(re.findall(r"^([a-z]+):", text(ROOT / "Makefile"), re.MULTILINE))
    shown = {
        word
        for command in commands(path)
        for word in words(command, "make")
        if "=" not in word and not word.startswith("-")
    }
    assert shown - targets == set(), "write a target that `make help` lists"


def test_the_readme_shows_the_two_commands_and_every_daily_one():
    shown = "\n".join(commands(ROOT / "README.md"))
    expected = (
        "make demo",
        "make test",
        *(f"counterfoil {name}" for name in ("check", "run", "status", "sync", "sandbox")),
    )
    assert [command for command in expected if command not in shown] == []


def test_the_contract_names_every_command():
    named_there = "\n".join(commands(DOCS / "contract.md"))
    missing = [name for name in counterfoil.commands if f"counterfoil {name}" not in named_there]
    assert missing == [], "tell in docs/contract.md what it does"


# --- events -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", PAGES, ids=named)
def test_the_events_of_a_page_are_in_the_catalogue(path):
    events = {value.name for value in vars(catalogue).values() if isinstance(value, catalogue.Event)}
    keys = {
        f"{section}.{key}"
        for section, described in settings.Settings.model_fields.items()
        for key in getattr(described.annotation, "model_fields", ())
    }
    nouns = {name.partition(".")[0] for name in events}
    shown = set(re.findall(r"`([a-z]+\.[a-z_]+)`", text(path)))
    unknown = {name for name in shown if name.partition(".")[0] in nouns} - events - keys
    assert unknown == set(), "write an event of docs/events.md, or a key of the settings"


# --- settings, tables, records ----------------------------------------------------------------------------------------


def test_the_settings_of_the_readme_are_valid(tmp_path, monkeypatch):
    (shown,) = blocks(ROOT / "README.md", "yaml")
    for name in re.findall(r"/run/secrets/(\w+)", shown):
        (tmp_path / name).write_text("A" * 43 + "=\n")
    file = tmp_path / "counterfoil.yaml"
    file.write_text(shown.replace("/run/secrets/", f"{tmp_path}/"))
    for variable in ("COUNTERFOIL_DATABASE__URL", "COUNTERFOIL_DATABASE__PASSWORD_FILE"):
        monkeypatch.delenv(variable, raising=False)
    assert list(settings.load(file).platforms) == ["live", "ct_live"]


SANDBOXES = {
    "sandbox.yaml": ("username",),
    "sandbox-ctrader.yaml": ("manager_login", "broker_name", "environment_name"),
}
OPTIONS = {"broker_name": "broker", "environment_name": "environment"}


@pytest.mark.parametrize("name", SANDBOXES)
def test_the_settings_for_a_sandbox_fit_it(name):
    (sandbox,) = settings.load(ROOT / "config" / name).platforms.values()
    given = {key: getattr(sandbox, key) for key in SANDBOXES[name]}
    accepted = {key: getattr(SandboxOptions(), OPTIONS.get(key, key)) for key in SANDBOXES[name]}
    assert given == accepted, "write what the sandbox accepts"
    assert sandbox.password.get_secret_value() == SandboxOptions().password
    command = f"counterfoil sandbox --kind {sandbox.kind} --port {sandbox.base_url.rpartition(':')[2]}"
    assert command in text(ROOT / "README.md")


def test_the_page_of_tables_is_the_code_s():
    fresh = runpy.run_path(str(DOCS / "generate_tables.py"))["page"]()
    assert text(DOCS / "tables.md") == fresh, "write it again: .venv/bin/python docs/generate_tables.py"


def test_the_page_of_states_is_the_code_s():
    fresh = runpy.run_path(str(DOCS / "generate_states.py"))["document"]()
    assert text(DOCS / "states.md") == fresh, "write it again: .venv/bin/python docs/generate_states.py"


def test_every_module_has_its_line_in_the_architecture():
    told = set(re.findall(r"`(?:\w+/)*([a-z_*]+)`", text(DOCS / "architecture.md")))
    families = tuple(name.removesuffix("*") for name in told if name.endswith("_*"))
    whole = {"cli", "sandbox"}  # told as one
    silent = [
        named(path)
        for path in modules(SOURCE)
        if not path.stem.startswith("__")
        and path.parent.name not in whole
        and path.stem not in told
        and not path.stem.startswith(families)
    ]
    assert silent == [], "add a line to the table of modules in docs/architecture.md"


@pytest.mark.parametrize(("page", "number"), [("omtrader.md", 11), ("ctrader.md", 13)])
def test_every_assumption_stands_where_the_page_says(page, number):
    section = text(DOCS / page).partition(f"\n## {number}. ")[2]
    places = re.findall(r"^\|[^|]+\| `([\w/]+\.py)`, `(\w+)` \|", section, re.MULTILINE)
    lost = [f"{file}: {name}" for file, name in places if name not in text(SOURCE / file)]
    rows = re.findall(r"^\| (?!assumed|---)", section, re.MULTILINE)
    assert len(places) == len(rows) > 5, "name file and place of each: `pull/reading.py`, `SMALLEST_CAP`"
    assert lost == [], "name the place where the assumption stands now"


def test_every_fault_of_the_second_sandbox_is_told():
    told = set(re.findall(r"^\| `([a-z_]+)` \|", text(DOCS / "ctrader.md"), re.MULTILINE))
    own = ctrader_faults.KINDS.keys() - faults.KINDS.keys()
    assert own - told == set(), "add a line to the faults in docs/ctrader.md"


def test_every_decision_is_listed_and_numbered_once():
    index = text(DOCS / "adr" / "README.md")
    numbers = [path.name[:4] for path in ADRS]
    assert len(numbers) == len(set(numbers))
    assert [path.name for path in ADRS if f"]({path.name})" not in index] == [], "add a line to docs/adr/README.md"


@pytest.mark.parametrize("path", ADRS, ids=lambda path: path.name[:4])
def test_a_decision_says_why_what_follows_and_what_else_there_was(path):
    content = text(path)
    assert content.startswith(f"# {path.name[:4]}: ")
    parts = [part for part in ("## Context", "## Decision", "## Consequences", "## Considered") if part not in content]
    assert parts == []
