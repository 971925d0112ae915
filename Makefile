# Every verb of the workshop. `make` alone lists them.

VENV := $(if $(wildcard .venv/bin/python),.venv/bin/)
PYTHON := $(if $(VENV),.venv/bin/python,python3)

.DEFAULT_GOAL := help
.PHONY: help setup dev test static format lint types imports check long chaos bench docs site migrate fmt lock sbom mutants

help: ## List the verbs
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s  %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Make .venv and install imagegate with its tools
	python3 -m venv .venv
	.venv/bin/pip install -q -e '.[dev]'

dev: ## Serve on IMAGEGATE_HOST and IMAGEGATE_PORT, with the embedded PostgreSQL unless another is configured
	$(PYTHON) -m imagegate serve

test: ## Run the tests
	$(PYTHON) -m pytest

static: format lint types imports ## Everything of `check` that runs no code

format:
	$(PYTHON) -m ruff format --check .

lint:
	$(PYTHON) -m ruff check .

types:
	$(PYTHON) -m mypy

imports:
	$(VENV)lint-imports

check: static test ## What CI runs: format, lint, types, import contracts, tests

long: ## Run the tests that are too long for every run
	$(PYTHON) -m pytest -m long -n 0

chaos: ## Everything that fails, at once, and then the reckoning; `make chaos MINUTES=60 SEED=7`
	$(PYTHON) -m tests.chaos --minutes $(or $(MINUTES),5) $(if $(SEED),--seed $(SEED))

mutants: ## Change the ledger, idempotency, signing and the URL guard bit by bit, and see that a test notices; hours
	$(PYTHON) -m pip install -q mutmut
	$(PYTHON) -m mutmut run
	$(PYTHON) -m mutmut results

bench: ## Measure the gateway beside direct calls, about four minutes; `make bench PEERS=1` beside its peers, half an hour
	$(PYTHON) -m benchmarks.$(if $(PEERS),peers,run)

docs: ## Write the generated pages anew: docs/providers/parameters.md and docs/reference
	$(PYTHON) -m imagegate models parameters --all > docs/providers/parameters.md
	for page in settings cli errors http; do $(PYTHON) -m imagegate reference $$page > docs/reference/$$page.md || exit; done

site: ## Build the documentation into site/, with the tools of the extra `docs`; a broken link fails
	$(PYTHON) -m mkdocs build --strict

migrate: ## Bring the database's schema up to date
	$(PYTHON) -m imagegate db upgrade

fmt: ## Format, and mend what ruff can mend
	$(PYTHON) -m ruff format .
	$(PYTHON) -m ruff check --fix .

# Pins that still hold are kept; `make lock UPGRADE=--upgrade` moves them. uv lives in a folder of its own, since
# nothing else here needs it.
LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	--no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock' $(UPGRADE)

lock: ## Pin what the image installs: requirements.lock and deploy/build.lock
	@folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; set -e; \
	python3 -m venv "$$folder"; \
	"$$folder/bin/pip" install -q uv; \
	"$$folder/bin/"$(LOCK) pyproject.toml -o requirements.lock; \
	"$$folder/bin/"$(LOCK) deploy/build.in -o deploy/build.lock

sbom: ## Write sbom.json: what the image contains, of the lock with its hashes, as CycloneDX
	@folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT; set -e; \
	python3 -m venv "$$folder"; \
	"$$folder/bin/pip" install -q cyclonedx-bom; \
	"$$folder/bin/cyclonedx-py" requirements requirements.lock --pyproject pyproject.toml --mc-type application \
		--output-reproducible --output-format JSON --output-file sbom.json
