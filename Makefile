# Every target sets up what it needs: the virtual environment, the pinned dependencies, the database.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
# What decides what is installed: the pinned dependencies and the project's own description, not its tools' settings.
READY  := $(VENV)/.ready-$(shell { cat requirements/dev.txt; sed '/^\[tool\./,$$d' pyproject.toml; } | cksum | cut -d' ' -f1)
PYTEST_ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo test soak bench check format lint types contracts lock clean

help: ## show this list
	@awk -F':.*## ' '/^[a-z]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(READY) ## PostgreSQL, two simulated platforms, the daemon and a live view; Ctrl-C ends it all
	@$(BIN)/counterfoil demo $(DEMO_ARGS)

test: $(READY) ## the whole test suite, on a real PostgreSQL and real sockets
	@$(BIN)/pytest -n 2 --dist worksteal $(PYTEST_ARGS)

soak: $(READY) ## daemons killed 200 times over 2,000 operations and every fault: about ten minutes
	@$(BIN)/python tests/support/soak.py $(SOAK_ARGS)

bench: $(READY) ## beside dlt, Singer, SQLAlchemy and plain COPY: three rounds, about half an hour
	@$(BIN)/python benchmarks/peers/run.py $(BENCH_ARGS)

check: format lint types contracts test ## what a change must pass

format: $(READY) ## is the code formatted
	@$(BIN)/ruff format --check .

lint: $(READY) ## is the code clean
	@$(BIN)/ruff check .

types: $(READY) ## do the types hold
	@$(BIN)/mypy

contracts: $(READY) ## do imports point the right way
	@$(BIN)/lint-imports --no-cache

lock: ## pin every dependency again, with hashes (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate -q \
	  pyproject.toml -o requirements/runtime.txt
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate -q \
	  pyproject.toml --extra embedded --group dev -c requirements/runtime.txt -o requirements/dev.txt
	for tool in arrow dlt plain singer; do \
	  uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url --no-annotate -q \
	    benchmarks/peers/requirements/$$tool.in -o benchmarks/peers/requirements/$$tool.txt || exit 1; \
	done

clean: ## remove everything that these targets made
	rm -rf $(VENV) benchmarks/peers/.venv .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist

$(READY): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed; say which: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@rm -rf $(VENV)
	@echo "setting up $(VENV) (once, about a minute)" >&2
	@$(PYTHON) -m venv $(VENV) >/dev/null 2>&1 \
	  || $(PYTHON) -m venv --without-pip --clear $(VENV)
	@if [ -x $(BIN)/pip ]; then pip="$(BIN)/python -m pip"; else pip="$(PYTHON) -m pip --python $(BIN)/python"; fi; \
	  $$pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt \
	  && $$pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@
