# The front door. `make` lists the targets. You may set DATABASE_URL, VENV, PYTHON and ARGS.

VENV   ?= .venv
PYTHON ?= python3
ARGS   ?=

BIN   := $(VENV)/bin/python
READY := $(VENV)/.installed

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install test test-sqlite coverage lint format types floors migrations-check check demo trials slow bench shots build clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(READY) ## create the virtual environment; update it when pyproject.toml has changed

$(READY): pyproject.toml
	@test -x $(BIN) || $(PYTHON) -m venv $(VENV)
	$(BIN) -m pip install --quiet --disable-pip-version-check -e ".[dev]"
	@touch $@

test: $(READY) ## run the tests on a PostgreSQL that it brings along (DATABASE_URL=postgresql://… uses another)
	$(BIN) -m pytest -n auto --dist loadfile $(ARGS)

test-sqlite: $(READY) ## run the tests that must also pass on SQLite
	DATABASE_URL=sqlite $(BIN) -m pytest -m sqlite $(ARGS)

coverage: $(READY) ## run the tests and report which lines and branches they reach
	$(BIN) -m coverage erase
	$(BIN) -m coverage run -m pytest $(ARGS)
	$(BIN) -m coverage combine --quiet
	$(BIN) -m coverage report

check: lint types floors migrations-check ## run every check that needs no database

lint: $(READY) ## ruff: check rules and format
	$(BIN) -m ruff check .
	$(BIN) -m ruff format --check .

format: $(READY) ## ruff: fix and format
	$(BIN) -m ruff check --fix .
	$(BIN) -m ruff format .

types: $(READY) ## mypy, strict
	$(BIN) -m mypy

floors: $(READY) ## import-linter: imports go down only
	$(BIN) -c "from importlinter.cli import lint_imports; raise SystemExit(lint_imports(no_cache=True))"

migrations-check: $(READY) ## check that the migrations match the models
	DATABASE_URL=sqlite://:memory: $(BIN) -m django makemigrations django_workflows \
	  --check --dry-run --settings=tests.settings --pythonpath=.

demo: $(READY) ## serve a small shop, kill its worker during an order, and ship the order
	$(BIN) -m example_project.demo $(ARGS)

trials: $(READY) ## run the long trials: load, kills and outages on real worker processes
	$(BIN) -m trials --long $(ARGS)

slow: $(READY) ## run the tests that `make test` omits, and a hundred rounds of each race
	ROUNDS=100 $(BIN) -m pytest -m "trial or slow or race" --timeout=1800 $(ARGS)

bench: $(READY) ## run the benchmarks (PEERS=1: other engines too, in the same run)
	@test -z "$(PEERS)" -o -n "$(PEERS_PYTHON)" || $(BIN) -m pip install --quiet --disable-pip-version-check -e ".[bench]"
	$(BIN) -m benchmarks $(ARGS)

shots: $(READY) ## take the screenshots of the documentation again
	SHOTS=docs/images $(BIN) -m pytest -m browser tests/admin/test_shots.py $(ARGS)

build: $(READY) ## build wheel and sdist into dist/
	$(BIN) -m hatchling build --clean

clean: ## remove what the targets left behind, .venv included
	rm -rf .venv .nox dist build htmlcov .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache .hypothesis \
	  .import_linter_cache db.sqlite3* test.sqlite3* example_project/db.sqlite3*
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
