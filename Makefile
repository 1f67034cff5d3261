# Every command of the project. `make help` lists them.
.DEFAULT_GOAL := help
.PHONY: help install demo up test chaos lint format lock

PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
UV := $(shell command -v uv)
STAMP := $(VENV)/.installed

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## Create .venv and install everything the project needs

# The lock pins every package by hash; the project itself is installed in place, with the
# build tool that the lock brought, so that nothing outside the lock is fetched.
$(STAMP): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed and was not found." >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; $(PYTHON) is older. Use make PYTHON=/path/to/python3.11" >&2; exit 1; }
ifneq ($(UV),)
	"$(UV)" venv --quiet --clear --python "$(PYTHON)" $(VENV)
	"$(UV)" pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	"$(UV)" pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
else
	"$(PYTHON)" -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
endif
	@touch $(STAMP)

export PRO_VIDEO_PORT_BASE

demo: $(STAMP) ## Watch one job go through the whole chain; VIDEO=clip.mp4 takes your own file
	@$(BIN)/python -m deployments.demo $(if $(VIDEO),--video "$(VIDEO)")

up: $(STAMP) ## Start the local stack (Prefect, sandbox, worker) in the foreground; Ctrl-C stops it
	@$(BIN)/python -m deployments.up

test: $(STAMP) ## Run all tests
	@$(BIN)/python -m pytest

chaos: $(STAMP) ## Kill and disturb hundreds of jobs at every point; ends with the count of violations
	@$(BIN)/python -m tests.chaos

lint: $(STAMP) ## Check style and types
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

format: $(STAMP) ## Rewrite the code in the project's style
	@$(BIN)/ruff check --fix --quiet .
	@$(BIN)/ruff format .

lock: $(STAMP) ## Resolve the lock file anew (needs uv)
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-emit-find-links --no-header --no-annotate --extra sandbox --extra dev pyproject.toml -o requirements.lock
