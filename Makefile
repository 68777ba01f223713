# FlowMaestro: `make run` starts everything, `make test` proves it. Needs Python 3.11+ and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN_STAMP := $(VENV)/.installed
DEV_STAMP := $(VENV)/.installed-dev
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help
.PHONY: help run test lint format bench clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(RUN_STAMP) ## Start database, web server and workers; PORT=8000, Ctrl-C stops
	@exec $(BIN)/python manage.py up

test: $(DEV_STAMP) ## Run all tests; ARGS="-k name" selects
	@$(BIN)/python -m pytest $(ARGS)

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
