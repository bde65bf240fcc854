# make apply   set up what is missing, then render, plan and build the example stack
# make test    set up what is missing, then every check and every test (what CI runs)
SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

BIN := .venv/bin
# The user's own engine where there is one, else the one that `tools/engine up` started.
ENGINE := eval "$$(tools/engine env)"

# What `make apply` builds: all that the integration environment starts. `make apply SELECT=` builds everything,
# development images and the optional workers in other languages included.
SELECT ?= +deploy/orchestration +deploy/workers/rust postgres

.PHONY: help setup engine apply up down render fmt fmt-check lint type test test-fast coverage test-engine test-long test-proof snap check bench docs engine-stop clean

help: ## Show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  \1\t/' | expand -t 16

setup: ## Install the tool and its checkers into .venv
	@tools/python-env

engine: ## Make sure an engine answers; on a bare Debian machine, bring one up
	@tools/engine up

apply: setup engine ## Render, plan and build the example stack
	@$(ENGINE); $(BIN)/tasker-build render
	@$(ENGINE); $(BIN)/tasker-build apply $(SELECT)
	@echo
	@echo "next:  make up        start the integration environment and wait until it is healthy"
	@echo "       $(BIN)/tasker-build plan --graph"
	@echo "       make engine-stop   (only if the set-up started an engine)"

up: setup engine ## Start the example's integration environment
	@$(ENGINE); $(BIN)/tasker-build env up integration
	@echo
	@echo "try:   curl -s -X POST localhost:8080/v1/tasks -H 'content-type: application/json' \\"
	@echo "            -d '{\"namespace\": \"linear_workflow\", \"context\": {\"value\": 6}}'"

down: setup ## Stop the example's integration environment; its data stays
	@$(ENGINE); $(BIN)/tasker-build env down integration

render: setup ## Write the example's files
	@$(BIN)/tasker-build render

fmt: setup ## Format the code
	$(BIN)/ruff check --fix --quiet . || true
	$(BIN)/ruff format .

fmt-check: setup
	$(BIN)/ruff format --check .

lint: setup
	$(BIN)/ruff check .
	$(BIN)/python docs/gen_reference.py --check
	$(BIN)/python docs/gen_schemas.py --check
	$(BIN)/python docs/gen_completion.py --check
	$(BIN)/python docs/gen_codes.py --check
	$(BIN)/python docs/gen_rooms.py --check
	$(BIN)/shellcheck tools/engine tools/python-env .ci/run

type: setup
	$(BIN)/mypy

test-fast: setup ## Tests that need no engine
	$(BIN)/pytest

test-engine: setup engine ## Tests on a real engine, real cargo builds included
	@$(ENGINE); $(BIN)/pytest -m "engine and not long"

test-long: setup engine ## Every environment at once: debug builds, production, the database, cleanups
	@$(ENGINE); $(BIN)/pytest -m long

coverage: setup ## Branch coverage of the tests that need no engine
	$(BIN)/pytest --cov --cov-report=term:skip-covered

test-proof: setup engine ## 10 000 random steps in memory, 200 on the engine; 1 000 ignore files, 500 Cargo workspaces, 3 000 expansions
	TASKER_EXAMPLES=220 $(BIN)/pytest -q tests/property
	@$(ENGINE); TASKER_REAL_STEPS=200 TASKER_IGNORE_EXAMPLES=1000 TASKER_WORKSPACES=500 TASKER_EXPANSIONS=3000 \
		$(BIN)/pytest -q -m engine tests/e2e/test_never_stale.py tests/e2e/test_ignore_rules.py \
		tests/e2e/test_cargo_truth.py tests/e2e/test_expansions.py

check: setup engine ## hadolint, shellcheck, build --check and compose config over everything rendered
	@$(ENGINE); $(BIN)/tasker-build render --check
	@$(ENGINE); $(BIN)/tasker-build check --strict

test: fmt-check lint type check ## Everything: linters, types, unit, snapshot, contract and end-to-end tests
	@$(ENGINE); $(BIN)/pytest -m "not long"

snap: setup ## Accept changed snapshots
	$(BIN)/pytest --snapshot-update -q

bench: setup engine ## Timings beside docker buildx bake and the hand-written way
	@$(ENGINE); $(BIN)/python benchmarks/run.py

engine-stop: ## Stop the engine that the set-up started; no other
	@tools/engine stop

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .tasker-build
