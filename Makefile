# Every command a contributor needs; `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
EXTRA ?= dev

.DEFAULT_GOAL := help
.PHONY: help setup demo lint format messages test test-all study calibration chaos bench bench-full bench-gpu docs clean

help: ## show this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-11s %s\n", $$1, $$2}'

# As 3.11.
OLDEST := $(shell sed -n 's/^requires-python = ">=\([0-9.]*\)"$$/\1/p' pyproject.toml)
VERSION := -c 'import sys; print("%d.%d" % sys.version_info[:2])'

# An old Python would make an environment before pip refuses it, and venv keeps the Python of an environment that is
# there: one of another version is made anew.
$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= tuple(map(int, "$(OLDEST)".split("."))) or sys.exit( \
		"error: $(PYTHON) is Python %d.%d and mmbench needs $(OLDEST) or newer; name one that you have, " \
		"for example: make $(MAKECMDGOALS) PYTHON=python3.12" % sys.version_info[:2])'
	$(PYTHON) -m venv $$([ "$$($(BIN)/python $(VERSION) 2>&1)" = "$$($(PYTHON) $(VERSION))" ] || echo --clear) $(VENV)
	touch README.md
	$(BIN)/python -m pip install --quiet --editable '.[$(EXTRA)]'
	touch $(STAMP)

setup: $(STAMP) ## make .venv and install the project with its development tools

demo: $(STAMP) ## real order lines to a table: do product names help? the pages are in multirun/demo/report
	$(BIN)/python -m mmbench demo

lint: $(STAMP) ## ruff, mypy, import-linter, translations
	$(BIN)/ruff check src tests
	$(BIN)/ruff format --check src tests
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m tests.messages.catalogue

format: $(STAMP) ## mend what ruff can mend
	$(BIN)/ruff check --fix src tests
	$(BIN)/ruff format src tests

messages: $(STAMP) ## bring the sentences of the code into the translations and name what is to be translated
	$(BIN)/python -m tests.messages.catalogue --update

# Empty is unset: where it is set, each process of the tests compiles what it imports and pytest rewrites every assertion.
export PYTHONDONTWRITEBYTECODE :=

# Tracing takes half of the time of the tests.
COVERAGE ?=

test: $(STAMP) ## the test suite, two processes; COVERAGE=1 asks that it runs 90 % of src
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not thorough and not slow" \
		$(if $(COVERAGE),--cov --cov-report=term --cov-fail-under=90)

test-all: $(STAMP) ## the test suite with its thorough and slow checks
	$(BIN)/python -m pytest -n 2 --dist worksteal

study: $(STAMP) ## planted worlds and repeated tunings end to end, hours; continues where it stopped
	$(BIN)/python -m tests.studies.planted
	$(BIN)/python -m tests.studies.own_gain
	$(BIN)/python -m tests.studies.new_items
	$(BIN)/python -m tests.studies.cold_text
	$(BIN)/python -m tests.studies.folds
	$(BIN)/python -m tests.studies.computed
	$(BIN)/python -m tests.studies.trained
	$(BIN)/python -m tests.studies.unstopped
	$(BIN)/python -m tests.studies.touch
	$(BIN)/python -m tests.studies.forecast
	$(BIN)/python -m tests.studies.draws
	$(BIN)/python -m tests.studies.decisions
	$(BIN)/python -m pytest tests/studies

REPLICAS ?= 20000

calibration: $(STAMP) ## coverage of the tuned gain, 20,000 sweeps for each regime, hours; goes on where it was stopped
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.calibration.coverage --replicas $(REPLICAS)

SEEDS ?= 0-9

chaos: $(STAMP) ## kills, stops, wrong clocks and torn files against tiny sweeps, 10 minutes; goes on with the next seeds
	OMP_NUM_THREADS=1 nice $(BIN)/python -m tests.chaos.run --seeds $(SEEDS) --minutes 10

# Not collected by the tests: no file of theirs begins with test_. Processor time, as another process may be running.
BENCH := $(BIN)/python -m pytest tests/benchmarks/bench_kernels.py tests/benchmarks/bench_models.py -q --benchmark-timer=time.process_time --benchmark-columns=min,median,rounds

bench: $(STAMP) ## timings into tests/benchmarks/results.json and docs/performance.md, about 18 minutes; computed models need data/baby under MMBENCH_DATA
	rm -rf build/bench
	$(BENCH) -m "not full"
	$(BIN)/python -m tests.benchmarks.performance

bench-full: $(STAMP) ## what bench has not timed yet and catalogues of 25,000 and 50,000 items, hours, goes on where it was stopped; then trials per hour of two workers
	$(BENCH); status=$$?; [ $$status -eq 0 ] || [ $$status -eq 5 ] # 5: nothing left to time
	$(BIN)/python -m tests.benchmarks.performance
	$(BIN)/python -m tests.benchmarks.workers

bench-gpu: $(STAMP) ## every timed model on the first GPU, into tests/benchmarks/results-gpu.json and docs/performance.md
	$(BIN)/python -m tests.benchmarks.gpu

docs: $(STAMP) ## the documentation as a site in site/, its notebooks executed; needs no network
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

clean: ## remove caches and builds; multirun/ and data/ stay
	rm -rf build dist site .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
