# Needs Python 3.11 or newer (with venv), git and make. Everything else goes into .venv, from hashed lock files.
.DEFAULT_GOAL := help
.PHONY: help install demo up test test-fast test-all test-containers check docs schema lock clean
MAKEFLAGS += --no-print-directory

ARGS ?=
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
PIP := $(BIN)/python -m pip --disable-pip-version-check
# Compiled once for all processes that a run starts, whatever the shell says; `make clean` removes it.
export PYTHONDONTWRITEBYTECODE :=
# In as many processes: most tests with real parts wait. What belongs together stays in one, dearest first.
SIDE_BY_SIDE = -n $(WORKERS)
LOCK := uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-header --no-annotate --python-version 3.11

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo '  Arguments go along in ARGS: make demo ARGS="--quick --seed 7"; make test ARGS="-k ledger"'

install: $(VENV)/.dev ## Everything that demo, test and check need, into .venv

demo: $(VENV)/.run ## A whole campaign on a suite of its own, which is stopped again
	@$(BIN)/prebook demo $(ARGS)

up: $(VENV)/.run ## The suite, until Ctrl-C
	@$(BIN)/prebook up $(ARGS)

test: $(VENV)/.dev ## The tests that need no Docker engine, without the long runs
	@$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "not containers and not long" $(ARGS)

test-fast: $(VENV)/.dev ## Pure tests, conformance and architecture: no server, under 90 s
	@$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "not real and not containers and not database" \
		--ignore=tests/devstack --ignore=tests/lab $(ARGS)

test-all: test ## make test, then the long runs: chaos, burst, cluster
	@$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "long and not containers" $(ARGS)

test-containers: $(VENV)/.dev ## The tests with real parts, with PostgreSQL and RabbitMQ as containers
	@PREBOOK_TEST_STACK=containers $(BIN)/python -m pytest $(SIDE_BY_SIDE) tests/integration tests/topology -m real $(ARGS)
	@$(BIN)/python -m pytest -m containers $(ARGS)

check: $(VENV)/.dev ## Style, format, types, import rules
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

schema: $(VENV)/.dev ## Write docs/reference/schema.sql from a migrated database
	@$(BIN)/python -m tests.postgres.schema_reference

docs: $(VENV)/.dev ## docs/reference, from the settings in the code
	@$(BIN)/python -m tests.architecture.settings_reference

lock: ## New lock files from pyproject.toml (needs uv)
	$(LOCK) pyproject.toml -o requirements.txt
	$(LOCK) pyproject.toml --extra local -c requirements.txt -o requirements-local.txt
	$(LOCK) pyproject.toml --extra local --extra test --extra check -c requirements.txt -o requirements-dev.txt

clean: ## Remove .venv, caches, builds and what runs left here; reports stay
	rm -rf $(VENV) .prebook build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11 or newer here; hint: install one, or name it: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "hint: on Debian and Ubuntu, apt-get install python3-venv" >&2; exit 1; }

# The lock files pin the same versions: what is there already is not installed twice.
$(VENV)/.run: requirements-local.txt pyproject.toml | $(BIN)/python
	@echo "installing into $(VENV): what the suite needs"
	@$(PIP) install -q --require-hashes -r requirements-local.txt
	@$(PIP) install -q --no-deps -e .
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.run
	@echo "installing into $(VENV): what tests and checks need"
	@$(PIP) install -q --require-hashes -r requirements-dev.txt
	@touch $@
