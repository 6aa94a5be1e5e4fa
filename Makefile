# Requires Python 3.11 or newer (with venv), git and make. Everything else is installed into .venv from hashed lock files.
.DEFAULT_GOAL := help
.PHONY: help install demo up test test-fast test-all test-lab test-containers test-browser test-observability check kubernetes kubernetes-schemas \
	docs schema lock clean
MAKEFLAGS += --no-print-directory

ARGS ?=
WORKERS ?= 3
FAST_WORKERS ?= 3
VENV := .venv
BIN := $(VENV)/bin
PROMETHEUS := $(VENV)/prometheus
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
PIP := $(BIN)/python -m pip --disable-pip-version-check
# Bytecode is written even if the shell disables it: the processes of a run share it. `make clean` removes it.
export PYTHONDONTWRITEBYTECODE :=
# Tests run in parallel processes, because those with real servers mostly wait, and those without wait half of the time.
# Tests of one suite share a process, and the longest groups start first.
SIDE_BY_SIDE = -n $(WORKERS)
LOCK := uv pip compile -q --universal --generate-hashes --no-emit-index-url --no-header --no-annotate --python-version 3.11

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo '  Pass arguments in ARGS: make demo ARGS="--quick --seed 7"; make test ARGS="-k ledger"'

install: $(VENV)/.dev ## Install everything that demo, test and check need into .venv

demo: $(VENV)/.run ## Start a suite, run a whole campaign, and stop the suite
	@$(BIN)/prebook demo $(ARGS)

up: $(VENV)/.run ## Run the suite until Ctrl-C
	@$(BIN)/prebook up $(ARGS)

test: $(VENV)/.dev ## Run all tests that need no Docker engine, except the long ones
	@$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "not containers and not long and not browser and not promtool" $(ARGS)

test-fast: $(VENV)/.dev ## Run unit, conformance and architecture tests: no server, under 90 s
	@$(BIN)/python -m pytest -n $(FAST_WORKERS) -m "not real and not containers and not database and not long and not promtool" \
		--ignore=tests/devstack --ignore=tests/lab --ignore=tests/kubernetes $(ARGS)

test-all: test ## Run make test, then the long tests: chaos, crash points, burst, cluster, back pressure, outages, experiments
	@$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "long and not containers" $(ARGS)

test-lab: $(VENV)/.dev ## Run every experiment of the lab in its quick size: the laws, and their violations by the wrong way
	@$(BIN)/python -m pytest tests/lab/experiments/test_quick_runs.py tests/lab/experiments/test_variability_runs.py $(ARGS)

test-containers: $(VENV)/.dev ## Run the tests with real servers, with PostgreSQL and RabbitMQ in containers
	@PREBOOK_TEST_STACK=containers $(BIN)/python -m pytest $(SIDE_BY_SIDE) tests/integration tests/topology -m real $(ARGS)
	@$(BIN)/python -m pytest -m containers $(ARGS)

test-browser: $(VENV)/.dev ## Run the tests of the control room in Debian's Chromium; as root, install it if it is missing
	@command -v chromium >/dev/null || { apt-get update -qq && \
		apt-get install -y -qq --no-install-recommends chromium >/dev/null; } || \
		{ echo "error: no chromium found; hint: apt-get install chromium" >&2; exit 1; }
	@$(BIN)/python -m pytest tests/browser -m browser $(ARGS)

test-observability: $(VENV)/.dev ## Check the rules for Prometheus with promtool; without one, get Debian's package prometheus
	@command -v promtool >/dev/null || test -x $(PROMETHEUS)/usr/bin/promtool || { mkdir -p $(PROMETHEUS) && cd $(PROMETHEUS) && \
		apt-get download -qq prometheus && dpkg-deb -x prometheus_*.deb . ; } || \
		{ echo "error: no promtool found; hint: apt-get install prometheus" >&2; exit 1; }
	@PATH="$(abspath $(PROMETHEUS))/usr/bin:$$PATH" $(BIN)/python -m pytest tests/observability -m promtool $(ARGS)

check: $(VENV)/.dev ## Check style, format, types, import contracts, contracts of messages, and the coupling to other parties
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/prebook contracts check docs/reference/contracts.json
	@$(BIN)/prebook coupling check
	@$(BIN)/prebook generate --check

kubernetes: $(VENV)/.dev ## Check that the Kubernetes manifests are as the model says, and that nothing is wrong in them
	@$(BIN)/prebook kubernetes generate --check
	@PREBOOK_CRD_SCHEMAS=$${PREBOOK_CRD_SCHEMAS:-deploy/kubernetes/schemas} $(BIN)/prebook kubernetes check

kubernetes-schemas: $(VENV)/.dev ## Prune the JSON Schemas in the folder CRD_SCHEMAS for deploy/kubernetes/schemas
	@$(BIN)/python -m tests.kubernetes.pruned_schemas $(CRD_SCHEMAS)

schema: $(VENV)/.dev ## Write docs/reference/schema.sql from a migrated database
	@$(BIN)/python -m tests.postgres.schema_reference

docs: $(VENV)/.dev ## Write everything that follows from the model and the settings: pictures, AsyncAPI, broker, compose, Kubernetes
	@$(BIN)/prebook generate
	@$(BIN)/python -m tests.architecture.settings_reference

lock: ## Update the lock files from pyproject.toml (needs uv)
	$(LOCK) pyproject.toml -o requirements.txt
	$(LOCK) pyproject.toml --extra local -c requirements.txt -o requirements-local.txt
	$(LOCK) pyproject.toml --extra otel -c requirements.txt -o requirements-otel.txt
	$(LOCK) pyproject.toml --extra local --extra otel --extra test --extra check -c requirements.txt -o requirements-dev.txt
	$(BIN)/python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['build-system']['requires'], sep='\n')" | \
		$(LOCK) - -c requirements-dev.txt -o requirements-build.txt

clean: ## Remove .venv, caches, builds and the data of runs; keep reports
	rm -rf $(VENV) .prebook build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "error: no Python 3.11 or newer found; hint: install one, or name it: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); echo "hint: on Debian and Ubuntu, apt-get install python3-venv" >&2; exit 1; }

# The lock files pin equal versions, so that packages of the first step are not installed again.
# Without build isolation, pip builds with what is installed and fetches nothing that the lock files do not name.
$(VENV)/.run: requirements-local.txt requirements-build.txt pyproject.toml | $(BIN)/python
	@echo "installing the requirements of the suite into $(VENV)"
	@$(PIP) install -q --require-hashes -r requirements-local.txt
	@$(PIP) install -q --require-hashes -r requirements-build.txt
	@$(PIP) install -q --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.run
	@echo "installing the requirements of tests and checks into $(VENV)"
	@$(PIP) install -q --require-hashes -r requirements-dev.txt
	@touch $@
