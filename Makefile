# FlowMaestro: `make run` starts everything, `make test` proves it. Needs Python 3.11+ and make.

PYTHON ?= python3
JOBS ?= auto
VENV := .venv
BIN := $(VENV)/bin
RUN_STAMP := $(VENV)/.installed
DEV_STAMP := $(VENV)/.installed-dev
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.PHONY: help run test lint format bench proofs chaos soak scale clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(RUN_STAMP) ## Start database, web server and workers; PORT=8000, Ctrl-C stops
	@exec $(BIN)/python manage.py up

# Each of the test processes has a database server of its own.
test: $(DEV_STAMP) ## Run all tests; ARGS="-k name" selects, JOBS=1 runs them one by one
	@$(BIN)/python -m pytest --numprocesses $(JOBS) --maxprocesses 4 --dist loadfile $(ARGS)

lint: export FLOWMAESTRO_SECRET_KEY := only-for-linting
lint: $(DEV_STAMP) ## Check style, types and import directions
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: $(DEV_STAMP) ## Format the code
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: $(DEV_STAMP) ## Measure ours beside its peers; ONLY=W2 and JSON=FILE
	@$(BIN)/python -m benchmarks $(if $(ONLY),--only $(ONLY)) $(if $(JSON),--json $(JSON))

proofs: export PROOFS := full
proofs: $(DEV_STAMP) ## The suite's proofs at full size: an hour or so; ARGS="-k name" selects
	@$(BIN)/python -m pytest executions/tests/test_state_machine.py executions/tests/test_pairs.py executions/tests/test_token_race.py executions/tests/test_crash_points.py executions/tests/test_unknown_commits.py executions/tests/hostile executions/tests/test_long_loops.py triggers/tests/schedules/test_ticks.py triggers/tests/schedules/test_cluster.py flowmaestro/tests/test_conformance.py $(ARGS)

chaos: $(DEV_STAMP) ## Kill everything under 2,000 runs; SEED=, RUNS=, SECONDS=, JSON=FILE
	@$(BIN)/python -m proofs chaos $(if $(SEED),--seed $(SEED)) $(if $(RUNS),--runs $(RUNS)) $(if $(SECONDS),--seconds $(SECONDS)) $(if $(JSON),--json $(JSON))

soak: $(DEV_STAMP) ## Load a cluster for an hour: does anything grow? MINUTES=60, JSON=FILE
	@$(BIN)/python -m proofs soak $(if $(MINUTES),--minutes $(MINUTES)) $(if $(JSON),--json $(JSON))

scale: $(DEV_STAMP) ## Park 100,000 runs, claim among a million rows; ONLY=parked, JSON=FILE
	@$(BIN)/python -m proofs scale $(if $(ONLY),--only $(ONLY)) $(if $(JSON),--json $(JSON))

clean: ## Remove caches and the virtual environment; data stays
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] + "; set PYTHON=") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)

# A stamp newer than its requirements means that they are installed.
$(RUN_STAMP): requirements.txt | $(BIN)/python
	@echo "Installing the packages of requirements.txt into $(VENV) ..."
	@$(PIP) install -r requirements.txt
	@touch $@

$(DEV_STAMP): requirements.txt requirements-dev.txt | $(BIN)/python
	@echo "Installing the packages of requirements-dev.txt into $(VENV) ..."
	@$(PIP) install -r requirements-dev.txt
	@touch $(RUN_STAMP) $@
