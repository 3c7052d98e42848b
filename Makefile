# Every target does its own set-up: a virtual environment from the lock file, and the jars. Needs Python ≥ 3.11, Java ≥ 17.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
UV_VERSION := 0.13.9
READY := .venv/ready
JARS := .pedigree/jars/ready
DISTRIBUTIONS := lineage online features serving spark_jobs cli
OURS := pedigree-lineage pedigree-online pedigree-features pedigree-serving pedigree-jobs pedigree-cli
PROJECTS := pyproject.toml $(DISTRIBUTIONS:%=%/pyproject.toml)
PROTOS := $(addprefix serving/pedigree/serving/v1/,value.proto serving.proto pedigree.proto)

.PHONY: help setup demo test bench check docs versions format lock proto apply up down clean

help: ## What can be made
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

setup: $(READY) $(JARS) ## The virtual environment and the jars; done by every other target where needed

$(READY): requirements.lock $(PROJECTS)
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Pedigree needs Python 3.11 or newer; make PYTHON=python3.12 …")'
	@echo "Setting up .venv from requirements.lock"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation $(DISTRIBUTIONS:%=--editable ./%) --editable .
	@touch $@

$(JARS): spark_jobs/pedigree/jobs/spark/jars.py | $(READY)
	@echo "Fetching the jars that Spark needs"
	@$(BIN)/python -m pedigree.jobs.spark.jars .pedigree/jars
	@touch $@

demo: setup ## The main job end to end on real flights; ARGS=--keep leaves the servers up
	@$(BIN)/python -W ignore -m feature_repo.demo $(ARGS)

test: setup ## The quick tests, in two lanes side by side; with ARGS, which are pytest's, those in one
	$(if $(ARGS),$(BIN)/python -m pytest $(ARGS),tests/lanes)

bench: setup ## One benchmark against a peer: NAME=historical; QUICK=1 for under a minute
	@$(BIN)/python -W ignore -m benchmarks.$(NAME)

check: $(READY) ## Style, types, import arrows, generated code and docs, in under a minute
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	@drift=$$(mktemp -d) && trap 'rm -rf "$$drift"' EXIT && \
		$(BIN)/python -m grpc_tools.protoc -Iserving --python_out="$$drift" --pyi_out="$$drift" $(PROTOS) && \
		diff -r --exclude '*.proto' --exclude __pycache__ --exclude __init__.py serving/pedigree/serving/v1 "$$drift/pedigree/serving/v1" && \
		echo "Generated code is up to date"
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

versions: $(READY) $(JARS) ## The quick tests by the oldest and the newest versions that are allowed; ARGS are pytest's
	@for which in lowest-direct highest; do \
		there=.pedigree/versions/$$which; mkdir -p $$there; \
		$(BIN)/uv pip compile --quiet --resolution $$which --python-version 3.11 --all-extras --no-annotate --no-header \
			$(OURS:%=--no-emit-package %) $(PROJECTS) --output-file $$there/versions.txt || exit 1; \
		$(BIN)/uv venv --quiet --clear --python $(BIN)/python $$there/venv && \
		$(BIN)/uv pip install --quiet --python $$there/venv/bin/python --requirements $$there/versions.txt --group test editables && \
		$(BIN)/uv pip install --quiet --python $$there/venv/bin/python --no-deps --no-build-isolation $(DISTRIBUTIONS:%=--editable ./%) || exit 1; \
		echo "$$which: $$(grep -E '^(feast|grpcio|protobuf|pyspark|delta-spark|great-expectations|redis|openlineage-python)==' $$there/versions.txt | tr '\n' ' ')"; \
		$$there/venv/bin/python -m pytest -q $(or $(ARGS),tests/features tests/online tests/lineage tests/serving) || exit 1; \
	done

docs: $(READY) ## The site of docs/, into .pedigree/site; fails on a broken link
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

format: $(READY) ## Format the code
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

lock: $(READY) ## Renew requirements.lock after a change of pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --group dev --all-extras \
		--no-emit-find-links --no-annotate --no-header $(OURS:%=--no-emit-package %) $(PROJECTS) --output-file requirements.lock

proto: $(READY) ## Generate the code of the protos
	$(BIN)/python -m grpc_tools.protoc -Iserving --python_out=serving --pyi_out=serving $(PROTOS)

apply: setup ## Register the definitions: stock `feast apply`
	$(BIN)/feast -f feature_repo/feature_store.yaml apply

up: setup ## Start the local Redis and lineage backend
	@$(BIN)/pedigree up

down: setup ## Stop them, and the server
	@$(BIN)/pedigree down

clean: ## Remove everything that was set up, built or kept here
	rm -rf .venv .pedigree
