SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
# Without the user's PYTHON* variables, and in UTF-8 whatever the locale.
python := .venv/bin/python -E -X utf8

image := llm-inference-image
# These come from the command line alone, as in make bench ARGS=...
ARGS :=
EXAMPLE := engine-keep-alive
REGISTRY :=
TAG := latest

# What shells, grep, pytest and mypy would read of other projects' settings.
unexport BASH_ENV CDPATH GREP_OPTIONS MYPYPATH PYTEST_ADDOPTS PYTEST_PLUGINS

.PHONY: help report bench test check setup doctor image loader push clean

help: ## List the commands
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/\1\t\2/' | expand -t 12

bench: setup ## Measure every deployment that this machine allows, and make the page (ARGS="--only host --set seconds=20")
	@$(python) -m infra run $(ARGS)

report: setup ## Make the page of a recorded experiment, results/example.html (EXAMPLE=engine-kill-one)
	@mkdir -p results
	@$(python) -m analysis examples/$(EXAMPLE) --output results/example.html

test: ## Run all tests that this machine allows (ARGS="-k metrics")
	@infra/setup.sh tests/requirements.txt
	@$(python) -m pytest $(ARGS)

check: ## Lint, types and declared dependencies
	@infra/setup.sh tests/requirements.txt
	@$(python) -m ruff check
	@$(python) -m ruff format --check
	@.venv/bin/shellcheck --severity warning infra/*.sh inference/health.sh .ci/run
	@.venv/bin/zizmor --offline --no-progress --persona pedantic .github/workflows
	@$(python) tests/check_dependencies.py
	@$(python) -m mypy addresses.py runfiles servicefile inference services infra locustfiles analysis fourfold benchmarks tests

setup: ## Make .venv and install what bench needs
	@infra/setup.sh requirements.txt

doctor: ## Say what can run here, and why the rest can't
	@$(python) -c 'import docker, psutil, requests, yaml' 2>/dev/null || infra/setup.sh infra/requirements-doctor.txt
	@$(python) -m infra doctor

image: ## Build the image that the container deployments run
	@$(if $(wildcard .venv/bin/python),$(python),python3 -E -X utf8) -m infra.build --tag $(image) $(ARGS)

loader: ## Build the image that sends load from the nodes of a swarm
	@$(if $(wildcard .venv/bin/python),$(python),python3 -E -X utf8) -m infra.build --tag fourfold-load --file Dockerfile.load $(ARGS)

push: ## Push the image: make push REGISTRY=docker.io/YOU (TAG=latest)
	@if [ -z "$(REGISTRY)" ]; then echo "error: name a registry to push to: make push REGISTRY=docker.io/YOU" >&2; exit 2; fi
	docker tag $(image) $(REGISTRY)/$(image):$(TAG)
	docker push $(REGISTRY)/$(image):$(TAG)

clean: ## Remove what was started, and .venv; results stay
	@if [ -x .venv/bin/python ]; then $(python) -m infra down --all; fi
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache
