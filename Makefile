# Targets of the template itself; the rendered repository has a Makefile of its own.
SHELL := /bin/sh
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Answers reach the programs through the environment as they were typed: neither make nor a shell reads what stands in them.
VARIABLES := DEST DEFAULTS DATA ANSWERS KEEP
$(foreach variable,$(VARIABLES),$(if $(filter command line,$(origin $(variable))),$(eval override $(variable) := $$(value $(variable)))))
export $(VARIABLES)

##@ Use
.PHONY: new
new: $(VENV)/new.stamp ## Render a deployment repository: DEST=../my-clair [DEFAULTS=1 DATA="key=value ..." ANSWERS=file.yml]
	@$(BIN)/python -m tools.new_project

.PHONY: demo
demo: $(VENV)/new.stamp ## Show the whole job with a sample image and a sample feed, then remove it [KEEP=1]
	@$(BIN)/python -m demo.run

##@ Develop
.PHONY: test
test: $(VENV)/test.stamp ## Run every test (those that need Docker are skipped without it) [ARGS=]
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/pytest $(ARGS)

.PHONY: lint
lint: $(VENV)/test.stamp ## Run the linters and the type checker
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/codespell --ignore-words-list=algorthm --skip='.git,.venv,build,*.json,requirements*.txt' .

.PHONY: bench
bench: $(VENV)/test.stamp ## Measure the ratios that docs/benchmarks.md lists (needs Docker)
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m bench

.PHONY: golden
golden: $(VENV)/test.stamp ## Write the golden trees of tests/render/golden anew, for review
	@$(BIN)/pytest -q tests/render/test_golden_trees.py --update-golden

.PHONY: lock
lock: ## Pin the environments again (needs uv)
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header -o requirements.txt pyproject.toml
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header -o requirements-test.txt pyproject.toml --group test

$(VENV)/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.11 ..." >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/new.stamp: requirements.txt | $(VENV)/pyvenv.cfg
	@echo "Setting up $(VENV)" >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@touch $@

$(VENV)/test.stamp: requirements-test.txt | $(VENV)/pyvenv.cfg
	@echo "Setting up $(VENV) for the tests" >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-test.txt
	@touch $@ $(VENV)/new.stamp

.PHONY: help
help: ## Print this help
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z]+:.*## / {printf "  %-8s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
