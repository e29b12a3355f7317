# launchcore. `make demo` shows it at work, `make test` tests it, `make help` lists the rest.
# All that the machine needs: Python >= 3.11, make, git. Everything else goes into .venv.

VENV  := .venv
BIN   := $(VENV)/bin
READY := $(VENV)/.ready
PLUGINS := $(patsubst %/pyproject.toml,%,$(wildcard plugins/*/pyproject.toml))

PYTEST_ARGS ?=
DEMO_ARGS   ?=

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-live test-live-engine test-live-cluster test-doors test-http test-postgresql test-http-postgresql test-fast check lint docs transcript lock bench cluster-up cluster-down clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 28

setup: $(READY) ## make .venv from requirements.lock (runs by itself when it has to)

$(READY): requirements.lock pyproject.toml scripts/setup.sh
	@scripts/setup.sh $(VENV)
	@touch $(READY)

demo: setup ## a queue, an agent and a small training job, watched from start to end
	@$(BIN)/launch demo $(DEMO_ARGS)

test: setup ## every test that needs no live engine, cluster or cloud
	$(BIN)/pytest -m "not live" -n 2 $(PYTEST_ARGS)

test-live: test-live-engine test-live-cluster ## the tests on real engines and clusters; none may be skipped

# Neither lane touches what the other one has started, so that both may go on at the same time.
CLUSTER := plugins/launch_k8s plugins/launch_kaniko tests/live/kubernetes tests/live/kaniko

test-live-engine: setup ## those that need a Docker engine, Podman, PostgreSQL
	LAUNCHCORE_REQUIRE_LIVE=1 $(BIN)/pytest -m live $(CLUSTER:%=--ignore %) -o cache_dir=.pytest_cache/engine $(PYTEST_ARGS)

test-live-cluster: setup ## those that need a Kubernetes cluster
	LAUNCHCORE_REQUIRE_LIVE=1 $(BIN)/pytest -m live $(CLUSTER) -o cache_dir=.pytest_cache/cluster $(PYTEST_ARGS)

# The queue's suites, unchanged, by the other ways to a queue: the doors are where both sides come in.
DOORS := tests/store tests/queues -m "not live" -n 2

test-doors: test-http test-postgresql test-http-postgresql ## all three of the following

test-http: setup ## the queue's suites through a server
	LAUNCHCORE_TEST_DOOR=http $(BIN)/pytest $(DOORS) $(PYTEST_ARGS)

test-postgresql: setup ## the queue's suites on PostgreSQL
	LAUNCHCORE_TEST_DATABASE=postgresql $(BIN)/pytest $(DOORS) $(PYTEST_ARGS)

test-http-postgresql: setup ## the queue's suites through a server on PostgreSQL
	LAUNCHCORE_TEST_DOOR=http LAUNCHCORE_TEST_DATABASE=postgresql $(BIN)/pytest $(DOORS) $(PYTEST_ARGS)

test-fast: setup ## the tests that take milliseconds
	$(BIN)/pytest $(PYTEST_ARGS)

check: setup lint ## style, types, import rules, the lock, and docs that run
	$(BIN)/pytest tests/docs $(PYTEST_ARGS)

lint: setup ## ruff, mypy --strict, import rules, the lock: `make check` without the docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy scripts
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m scripts.check_lock

docs: setup ## write the generated parts of the docs again
	$(BIN)/python -m scripts.reference
	$(BIN)/python -m launchcore.cli.reference > docs/cli.md.new && mv docs/cli.md.new docs/cli.md

transcript: setup ## run the demo and put its output into README.md
	$(BIN)/python -m scripts.transcript

lock: setup ## resolve requirements.lock again (the newest versions with LOCK_ARGS=--upgrade)
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	  --all-extras --group dev --custom-compile-command "make lock" $(LOCK_ARGS) \
	  $(foreach name,launchcore $(subst plugins/launch_,launchcore-,$(PLUGINS)),--no-emit-package $(name)) \
	  pyproject.toml $(PLUGINS:%=%/pyproject.toml) --output-file requirements.lock

bench: setup ## measure; JSON to bench.json, a table for people
	$(BIN)/python -m benchmarks.bench --output bench.json --table $(BENCH_ARGS)

cluster-up: setup ## a real Kubernetes cluster of one node for the tests, as root; prints its KUBECONFIG
	@$(BIN)/python -m scripts.cluster up

cluster-down: setup ## remove it, and everything that is left of it
	@$(BIN)/python -m scripts.cluster down

clean: ## remove everything that make made
	rm -rf $(VENV) build dist bench.json .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
