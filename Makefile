# What CI runs and what a person types are the same targets. Everything lives in .venv; nothing else is touched.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help up down test check fix migrate revision bench docs soak

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
TESTS ?= tests
# Tests wait more than they compute; each worker has servers of its own.
WORKERS ?= 4
MINUTES ?= 10
NAME ?=

# The newest Python that runs (a version manager's shim may exist and not run); tried only when something is installed.
define find_python
for candidate in $(PYTHON) python3.14 python3.13 python3.12 python3.11 python3 python; do \
	if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$candidate; break; fi; \
done; \
if [ -z "$$python" ]; then \
	echo "smm-admin needs Python 3.11 or newer, and none was found: install one, or name it: make PYTHON=/path/to/python3" >&2; \
	exit 1; \
fi
endef

help: ## What can be made
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

# A venv whose Python was since removed is made anew.
$(INSTALLED): requirements.lock pyproject.toml
	@set -e; $(find_python); \
	if ! $(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
		echo "making $(VENV) with $$python"; \
		rm -rf $(VENV); \
		if command -v uv >/dev/null 2>&1; then \
			uv venv --quiet --python "$$(command -v "$$python")" $(VENV); \
		elif ! "$$python" -m venv $(VENV); then \
			rm -rf $(VENV); \
			echo "$$python cannot make a virtual environment: install its venv package (Debian: python3-venv), or uv" >&2; \
			exit 1; \
		fi; \
	fi
	@set -e; echo "installing what requirements.lock names"; \
	if command -v uv >/dev/null 2>&1; then \
		uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements.lock; \
		uv pip install --quiet --python $(BIN)/python --no-deps --editable .; \
	else \
		$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip --upgrade >/dev/null; \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock; \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .; \
	fi
	@touch $@

# exec: Ctrl-C reaches smm-admin alone, and make reports what it reports.
up: $(INSTALLED) ## Install and run everything until Ctrl-C
	@exec $(BIN)/smm-admin up

down: $(INSTALLED) ## Stop what runs here
	@$(BIN)/smm-admin down

test: $(INSTALLED) ## Install and run the tests (TESTS=tests/jobs for some)
	@$(BIN)/python -m pytest -n $(WORKERS) $(TESTS)

check: $(INSTALLED) ## Lint, format, types, layers, dead code, dependencies
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/vulture
	$(BIN)/deptry .

fix: $(INSTALLED) ## Repair what ruff can repair
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

migrate: $(INSTALLED) ## Bring the schema up to date
	@$(BIN)/smm-admin migrate

revision: $(INSTALLED) ## Draft a migration from the models (MESSAGE="add a column"); `make up` must be running
	@test -n "$(MESSAGE)" || { echo 'say what it does: make revision MESSAGE="add a column"' >&2; exit 2; }
	@eval "$$($(BIN)/smm-admin env)" && $(BIN)/alembic revision --autogenerate \
		--rev-id "$$(printf %04d $$(($$(ls alembic/versions/[0-9]*.py | wc -l) + 1)))" -m "$(MESSAGE)"

bench: $(INSTALLED) ## Run a benchmark (NAME=...; without one it lists them)
	@$(BIN)/python -m tests.benchmarks $(NAME)

docs: $(INSTALLED) ## Write the generated parts of the documentation
	@$(BIN)/smm-admin contract --write docs
	@$(BIN)/smm-admin config reference --write docs

soak: $(INSTALLED) ## Run under load and watch sizes (MINUTES=10)
	@$(BIN)/python -m tests.benchmarks soak --minutes $(MINUTES)
