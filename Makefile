# Two commands to know: `make run` and `make test`. `make help` lists the others.

PORT ?= 8000
ARGS ?=
PYTHON_IN_VENV := .venv/bin/python
MANAGE := $(PYTHON_IN_VENV) manage.py
COMPILE := $(PYTHON_IN_VENV) -m uv pip compile pyproject.toml --quiet --no-config --universal \
	--python-version 3.12 --generate-hashes --no-annotate --no-emit-index-url \
	--custom-compile-command "make lock"

.PHONY: help run test faults fuzz check format lock openapi bench clean

help: ## List these commands
	@sed -n 's/^\([a-z]*\):.*## /\1	/p' Makefile | while read -r name text; do \
		printf '  make %-8s %s\n' "$$name" "$$text"; done

run: .env ## Serve on http://127.0.0.1:8000 with the database inside; PORT= changes the port
	@$(MANAGE) initdb
	@exec $(MANAGE) run --reload --port $(PORT)

test: .venv/installed ## Run the tests; ARGS= goes to pytest
	@$(PYTHON_IN_VENV) -m pytest -n auto --dist worksteal -rfEs $(ARGS)

faults: .venv/installed ## Break things for real and watch; takes twelve minutes
	@$(PYTHON_IN_VENV) -m pytest -m "faults or not faults" -p no:randomly tests/faults $(ARGS)

fuzz: .venv/installed ## Let Schemathesis look for faults for ten minutes; ARGS= goes to pytest
	@$(PYTHON_IN_VENV) -m pytest -m fuzz tests/test_schemathesis.py $(ARGS)

check: .venv/installed ## Run the linters, the type checker and Django's checks
	@scripts/check

format: .venv/installed ## Format the code and fix what can be fixed by itself
	@$(PYTHON_IN_VENV) -m ruff check --fix-only --quiet
	@$(PYTHON_IN_VENV) -m ruff format

lock: .venv/installed ## Lock the newest allowed versions, with hashes
	$(COMPILE) --upgrade --output-file requirements.txt
	$(COMPILE) --constraint requirements.txt --extra embedded --group dev \
		--upgrade --output-file requirements-dev.txt

openapi: .venv/installed ## Write docs/openapi.json
	@ENVIRONMENT=test $(MANAGE) export_openapi_schema --output docs/openapi.json

bench: .venv-bench/installed ## Measure the service beside its peers (15 minutes); ARGS= goes to the runner
	@.venv-bench/bin/python -m benchmarks compare $(ARGS)

clean: ## Remove the virtual environments and caches; the data and .env stay
	@rm -rf .venv .venv-bench .static .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

.env: .env.example | .venv/installed
	@$(PYTHON_IN_VENV) scripts/write_env.py

.venv/bin/python:
	@scripts/venv

.venv/installed: .venv/bin/python requirements-dev.txt
	@echo "Installing the packages into .venv (about a minute) ..."
	@$(PYTHON_IN_VENV) -m pip install --quiet --disable-pip-version-check --require-hashes \
		--requirement requirements-dev.txt
	@touch $@

.venv-bench/installed: .venv/installed benchmarks/requirements.txt
	@echo "Installing the peers into .venv-bench (about a minute) ..."
	@$(PYTHON_IN_VENV) -m venv .venv-bench
	@.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes \
		--requirement benchmarks/requirements.txt
	@touch $@
