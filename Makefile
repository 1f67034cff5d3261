# Every command of the project. `make help` lists them.
.DEFAULT_GOAL := help
.PHONY: help install demo up up-cluster test chaos lint format lock

# The supported versions, as pyproject.toml states them.
LOWEST := $(shell sed -n 's/^requires-python = ">=3\.\([0-9]*\),.*/\1/p' pyproject.toml)
BEYOND := $(shell sed -n 's/^requires-python = ".*,<3\.\([0-9]*\)"/\1/p' pyproject.toml)
MINORS := $(shell seq $(LOWEST) $$(($(BEYOND) - 1)))
SUPPORTED := 3.$(firstword $(MINORS)) to 3.$(lastword $(MINORS))
# The first that runs and is supported: a name on the PATH may lead to a version that is not there.
ifeq ($(origin PYTHON),undefined)
PYTHON := $(shell for each in $(MINORS:%=python3.%) python3; do \
	"$$each" -c 'import sys; print(sys._base_executable); sys.exit(not $(LOWEST) <= sys.version_info[1] < $(BEYOND))' \
	2>/dev/null && break; done | tail -n 1)
endif
VENV := .venv
BIN := $(VENV)/bin
UV := $(shell uv --version >/dev/null 2>&1 && command -v uv)
STAMP := $(VENV)/.installed
CHOOSE = Use make PYTHON=/path/to/python3.$(lastword $(MINORS))
# Of all packages of the lock for one Python; .ci/run compares it with what pip says.
DOWNLOAD_MB := 250

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## Create .venv and install everything the project needs

# The lock pins every package by hash; the project and its sandbox are installed in place, with the
# build tool that the lock brought, so that nothing outside the lock is fetched.
$(STAMP): requirements.lock pyproject.toml sandbox/pyproject.toml
	@test -n "$(PYTHON)" || { echo "No Python $(SUPPORTED) was found. $(CHOOSE)" >&2; exit 1; }
	@command -v "$(PYTHON)" >/dev/null || { echo "There is no Python at $(PYTHON). $(CHOOSE)" >&2; exit 1; }
	@version=$$("$(PYTHON)" -c 'import sys; print("%d.%d" % sys.version_info[:2])') \
		|| { echo "$(PYTHON) does not run. $(CHOOSE)" >&2; exit 1; }; \
	case " $(MINORS:%=3.%) " in *" $$version "*) ;; \
		*) echo "Python $$version is not supported; $(SUPPORTED) are. $(CHOOSE)" >&2; exit 1;; esac
	@echo "Installing into $(VENV); the packages are about $(DOWNLOAD_MB) MB, where none was downloaded before."
ifneq ($(UV),)
	@"$(UV)" venv --quiet --clear --python "$(PYTHON)" $(VENV)
	@"$(UV)" pip install --compile-bytecode --python $(BIN)/python --require-hashes -r requirements.lock
	@"$(UV)" pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e . -e ./sandbox
else
	@"$(PYTHON)" -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e . -e ./sandbox
endif
	@touch $(STAMP)

export PRO_VIDEO_PORT_BASE

demo: $(STAMP) ## Watch one job go through the whole chain; VIDEO=clip.mp4 takes your own file
	@$(BIN)/pro-video demo $(if $(VIDEO),--video "$(VIDEO)")

up: $(STAMP) ## Start the local stack (Prefect, sandbox, worker) in the foreground; Ctrl-C stops it
	@$(BIN)/pro-video up

up-cluster: $(STAMP) ## The same as on several machines: two Prefect servers, Redis, two workers
	@$(BIN)/pro-video up-cluster

# Python compiles a module once and pytest rewrites an assertion once, not each process anew.
test chaos: export PYTHONDONTWRITEBYTECODE =

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
		--no-emit-find-links --no-header --no-annotate --extra local --extra cluster --extra dev \
		pyproject.toml sandbox/pyproject.toml -o requirements.lock
