"""Imports point the right way: the contracts stand in pyproject.toml."""

from importlinter.cli import lint_imports

from architecture.tree import ROOT, SOURCE


def test_imports_keep_the_contracts_of_pyproject(capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    code = lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True, no_logo=True)
    report = capsys.readouterr().out
    assert code == 0, f"move the code to the floor where it belongs (docs/architecture.md), or pass it in:\n{report}"


def test_every_package_says_what_it_is_for():
    packages = sorted(SOURCE.rglob("__init__.py"))
    silent = [
        str(path.relative_to(SOURCE)) for path in packages if not path.read_text(encoding="utf-8").startswith('"""')
    ]
    assert packages
    assert silent == [], "begin with a docstring: one sentence that says what lives here"
