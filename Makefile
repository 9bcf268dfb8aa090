# make install   set up .venv here, with everything
# make demo      see the whole mission happen: publish, sync, import by Dagster, three times
# make dev       the Dagster UI on the demo's data, with the sensor running
# make test      the tests
# make test-slow the docs, the demo and the example projects, every block and command of them; what pyright and ty say: minutes
# make test-long the tests that find more the longer they run: crashes, models, a whole dagster dev
# make test-faults  every file call of every verb killed and failed in turn; POINTS=300 for a random part, SEED=7 for the same
# make test-soak a server, three clients and syncs at work, killed again and again; MINUTES=120 for longer, SEED=7 for the same
# make test-services  the tests that need servers: PostgreSQL, MariaDB, Redis, S3, SFTP and nginx of their own
# make test-workers  four workers on a PostgreSQL of their own, killed and cut off while files are published; FILES=5000 for a minute, SEED=7
# make test-postgres  the tests of SQL targets, and of a ledger that machines share, on a PostgreSQL of their own
# make test-mariadb  the same on a MariaDB of their own
# make test-deploy   examples/deploy, by schemas and by the libraries that read it; no Docker, no cluster
# make test-browser  Dagster's UI in a real Chromium; pictures of it with MMMETA_SHOTS=folder
# make test-dagster  the Dagster tests with the oldest Dagster; DAGSTER=newest or DAGSTER=1.12.3 for another
# make benchmark what everything costs beside the bare work, and whether the goals are met; half an hour
# make check     lint, format and types
# make clean     remove what these made (the demo's data and .venv too)

SHELL := /bin/bash
.DEFAULT_GOAL := help

# Take another Python with: make PYTHON=/path/to/python3.12 install
PYTHON ?=
# Processes that run tests at the same time.
JOBS ?= 2
# Where the Dagster UI listens: make dev PORT=3001
PORT ?= 3000

BIN := .venv/bin
# Not the whole folder: Python in Markdown is laid out for readers.
CODE := mmmeta mmmeta_dagster tests examples benchmarks .ci
READY := .venv/.ready
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input

.PHONY: help install demo dev test test-slow test-long test-faults test-soak test-workers test-services test-postgres test-mariadb test-deploy test-browser test-dagster benchmark check format constraints clean

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

install: $(READY)

# The newest of these decides whether there is anything to do.
$(READY): pyproject.toml constraints.txt
	@set -eu; \
	if ! $(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; then \
		found=; \
		for candidate in $(PYTHON) python3 python3.13 python3.12 python3.11 python3.10 python; do \
			if "$$candidate" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1; \
			then found=$$candidate; break; fi; \
		done; \
		if [ -z "$$found" ]; then \
			echo "No Python >= 3.10 with the module venv was found (tried $(PYTHON) python3, python3.13 … python3.10)." >&2; \
			echo "Install one (Debian, Ubuntu: apt install python3 python3-venv), or name it: make PYTHON=/path/to/python install" >&2; \
			exit 1; \
		fi; \
		echo "Setting up .venv with $$("$$found" --version) …"; \
		"$$found" -m venv --clear .venv; \
	fi
	@echo "Installing what constraints.txt names (a minute or two the first time) …"
	@$(PIP) install -qq -c constraints.txt -e ".[dagster,dev,http,mysql,parquet,s3,sftp]"
	@touch $(READY)

demo: $(READY)
	@$(BIN)/python -m examples.demo

dev: $(READY)
	@$(BIN)/python -m examples.demo prepare
	@echo "The Dagster UI: http://127.0.0.1:$(PORT)  (stop with Ctrl-C)"
	@echo "Publish something for the sensor to notice, in another terminal: $(BIN)/python -m examples.demo publish"
	@env -u MMMETA -u MMMETA_FILES_ROOT -u MMMETA_STATE MMMETA_PROJECT="$(CURDIR)/mmmeta.yaml" \
		DAGSTER_HOME="$(CURDIR)/demo/dagster" PATH="$(CURDIR)/$(BIN):$$PATH" \
		$(BIN)/dagster dev -w workspace.yaml -h 127.0.0.1 -p $(PORT)

test: $(READY)
	@echo "Left out: tests that need servers (make test-services), the examples of deploying (test-deploy), long ones (test-slow, test-long), and a browser (test-browser)"
	@$(BIN)/python -m pytest -n $(JOBS) --dist worksteal

test-slow: $(READY)
	@$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m "slow and not services"

# How often processes are killed, and how many random histories are tried; .ci/run takes fewer.
ROUNDS ?= 300
EXAMPLES ?= 2000
LONG := $(addprefix tests/,whole/test_crash.py whole/test_crashes.py state/test_ledger_model.py whole/test_properties.py files/test_find_model.py)
LONG += $(addprefix tests/hostile/,test_fuzzed_files.py test_fuzzed_answers.py)
test-long: $(READY)
	@MMMETA_CRASH_ROUNDS=$(ROUNDS) MMMETA_HYPOTHESIS_PROFILE=long MMMETA_EXAMPLES=$(EXAMPLES) \
		$(BIN)/python -m pytest -n $(JOBS) --dist worksteal $(LONG)
	@$(BIN)/python -m pytest -m "daemon and not services" tests/dagster

# All points unless there are fewer to be tried; docs/guarantees.md has the outcome of the last full run.
POINTS ?= 0
SEED ?=
test-faults: $(READY)
	@.ci/with-cc $(BIN)/python tests/faults --jobs $(JOBS) --points $(POINTS) $(if $(SEED),--seed $(SEED))

MINUTES ?= 2
test-soak: $(READY)
	@$(BIN)/python tests/soak --minutes $(MINUTES) $(if $(SEED),--seed $(SEED))

FILES ?= 100000
test-workers: $(READY)
	@.ci/with-postgres $(BIN)/python tests/workers --files $(FILES) $(if $(SEED),--seed $(SEED))

test-services: $(READY)
	@$(PIP) install -qq -c constraints.txt -e ".[services]"
	@.ci/with-postgres .ci/with-mariadb .ci/with-redis .ci/with-remotes $(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m "services and not daemon"

test-postgres: $(READY)
	@.ci/with-postgres $(BIN)/python -m pytest -m services -k "postgresql or shared or shards" tests/target tests/jobs/test_load_action.py \
		tests/jobs/test_exactly_once.py tests/state tests/dagster/test_shards_state.py

test-mariadb: $(READY)
	@.ci/with-mariadb $(BIN)/python -m pytest -m services -k mariadb tests/target tests/jobs/test_load_action.py tests/jobs/test_exactly_once.py

test-deploy: $(READY)
	@.ci/with-postgres .ci/with-deploy -m pytest -m "deploy or not deploy" tests/deploy

test-browser: $(READY)
	@.ci/with-chromium $(BIN)/python -m pytest -m browser tests/dagster/whole

# oldest: what pyproject.toml admits; newest: what the package index has.
DAGSTER ?= oldest
test-dagster: $(READY)
	@$(BIN)/python .ci/other_dagster.py $(DAGSTER) $(JOBS)

check: $(READY)
	@$(BIN)/ruff check $(CODE)
	@$(BIN)/ruff format --check $(CODE)
	@$(BIN)/mypy
	@$(BIN)/mypy tests/types/programs

format: $(READY)
	@$(BIN)/ruff check --fix $(CODE)
	@$(BIN)/ruff format $(CODE)

# Every Python that is supported has to be there: make constraints PYTHONS="python3.10 /path/to/python3.11 …"
PYTHONS ?= python3.10 python3.11 python3.12 python3.13
# docs/performance.md shows the outcome: python -m benchmarks --results FILE --page docs/performance.md
benchmark: $(READY)
	@$(PIP) install -qq -c constraints.txt -e ".[benchmarks]"
	@$(BIN)/python -m benchmarks --folder . --results benchmarks.json

constraints: $(READY)
	@$(BIN)/python .ci/constraints.py $(PYTHONS) > constraints.new
	@mv constraints.new constraints.txt

clean:
	rm -rf .venv .venv-dagster-* demo build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
