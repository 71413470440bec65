SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
python := .venv/bin/python

.PHONY: help bench test check setup doctor clean

help: ## List the commands
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/\1\t\2/' | expand -t 12

bench: setup ## Measure every deployment that this machine allows, and make the page (ARGS="--only host --seconds 10")
	@$(python) -m infra run $(ARGS)

test: ## Run all tests that this machine allows (ARGS="-k metrics")
	@infra/setup.sh tests/requirements.txt
	@$(python) -m pytest $(ARGS)

check: ## Lint and types
	@infra/setup.sh tests/requirements.txt
	@$(python) -m ruff check
	@$(python) -m ruff format --check
	@$(python) -m mypy runfiles.py inference infra locustfiles analysis tests

setup: ## Make .venv and install what bench needs
	@infra/setup.sh requirements.txt

doctor: setup ## Say what can run here, and why the rest can't
	@$(python) -m infra doctor

clean: ## Remove what was started, and .venv; results stay
	@if [ -x $(python) ]; then $(python) -m infra down --all; fi
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache
