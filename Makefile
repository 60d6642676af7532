# What people type. `make` alone prints the list.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo check test test-all lint docs audit bench drill clean packages static third-party
.PHONY: .buttons .neighbours .oldest .coverage .mutate .fuzz

# PYTHON names the Python that makes .venv; scripts/python.sh finds one when it is not given.
# ARGS are options for what a target runs, for example: make demo ARGS="--port 9000"
ARGS ?=
# PART names one of the parts of a target that has several: make audit PART=fuzz
PART ?=

RUN := .venv/bin/python -m
# Whole files side by side, those that take longest first (tests/conftest.py puts them in order).
TESTS := $(RUN) pytest --numprocesses auto --dist loadfile --no-loadscope-reorder --durations=25
SITE := $(RUN) sphinx --quiet --fail-on-warning --keep-going --fresh-env --conf-dir docs . build/docs
BENCHES := "" " --bad-attribute" .mirror .conditions .throughput ".scale --plot docs/plots/scale.png" \
	.imports .memory .fleet .page .start .host .rebuild .failback

help:
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 18

demo:  ## open the example shop on this machine, over three memcached nodes
	@scripts/system-packages.sh venv
	@# Without memcached the shop keeps its sessions locally, and prints that.
	@scripts/system-packages.sh memcached || true
	@scripts/venv.sh demo
	@exec $(RUN) example_app $(ARGS)

check: static  ## the checks of every day: style, types, layers, unit and contract tests
	@scripts/system-packages.sh memcached
	@$(TESTS) tests/unit tests/contract $(ARGS)

test: packages static third-party  ## check everything: style, types, layers, links, tests
	@$(TESTS) $(ARGS)

# Its parts are what takes too long for make test: buttons, neighbours (suites of others), oldest.
test-all: $(if $(PART),.$(PART),test .buttons .neighbours .oldest)  ## the same, and what takes longer; PART=oldest one part of that

lint: static  ## check without running the code: style, types, layers, links

docs:  ## build the documentation in build/docs; a broken link fails
	@scripts/system-packages.sh venv
	@scripts/venv.sh docs
	@$(SITE)
	@ln -sf README.html build/docs/index.html
	@echo "Built: build/docs/index.html"

# PART is a file of benchmarks/; its first lines tell what it measures.
bench:  ## measure what sessions add to a request; PART=fleet something else, PART=all all
	@scripts/system-packages.sh venv memcached $(if $(filter all throughput,$(PART)),wrk)
	@# Without Redis one contender is missing; the tables show that.
	@scripts/system-packages.sh redis || true
	@scripts/venv.sh bench
	@$(if $(filter all,$(PART)),for part in $(BENCHES); do $(RUN) benchmarks$$part; done,$(RUN) benchmarks$(PART:%=.%) $(ARGS))

drill:  ## break everything while people click, and print who noticed
	@scripts/system-packages.sh venv memcached
	@# Without HAProxy the drill takes a small balancer of its own; it prints that.
	@scripts/system-packages.sh haproxy prometheus || true
	@scripts/venv.sh demo
	@$(RUN) drill $(ARGS)

# coverage: nine of ten branches of each inner file; mutate: whether tests notice small changes of
# meaning; fuzz: broken input for all that is parsed.
audit: $(if $(PART),.$(PART),.coverage .mutate .fuzz)  ## check what the tests see: branches, small mistakes, broken input

clean:  ## remove .venv and everything else that was made here
	@rm -rf .venv .venv-min .venv-third-party build dist .coverage
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name .git -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

.buttons: packages
	@EVERY_BUTTON=1 $(RUN) pytest tests/browser/test_demo.py tests/browser/test_buttons.py \
		tests/browser/test_accessibility.py $(ARGS)

.neighbours: third-party
	@scripts/venv-third-party.sh neighbours
	@NEIGHBOURS=1 $(RUN) pytest --numprocesses 2 tests/third_party $(ARGS)

.oldest:
	@scripts/system-packages.sh venv memcached
	@scripts/venv.sh min
	@scripts/venv-min.sh
	@.venv-min/bin/python -m pytest --numprocesses auto --dist loadfile \
		tests/unit tests/contract $(ARGS)

.coverage:
	@scripts/system-packages.sh venv memcached
	@scripts/venv.sh coverage
	@# What measures memory finds that of the measuring.
	@$(TESTS) tests/unit tests/contract --cov --cov-report=json:build/coverage.json --cov-report= \
		--deselect "tests/unit/test_local_bounds.py::test_the_memory_of_a_worker_does_not_grow_with_the_sessions_it_has_seen"
	@.venv/bin/python scripts/branches.py build/coverage.json

.mutate:
	@scripts/system-packages.sh venv
	@scripts/venv.sh tests
	@.venv/bin/python tests/mutations/run.py $(if $(PART),$(ARGS))

.fuzz:
	@scripts/system-packages.sh venv
	@scripts/venv.sh tests
	@.venv/bin/python tests/fuzz/run.py $(if $(PART),$(ARGS))

packages:
	@scripts/system-packages.sh venv memcached chromium
	@# Without HAProxy the tests of the route in the cookie are skipped with that reason.
	@scripts/system-packages.sh haproxy prometheus || true

third-party:
	@scripts/system-packages.sh venv
	@scripts/venv.sh tests min
	@# Without the package index these tests are skipped with that reason; not where CI is set.
	@scripts/venv-third-party.sh

static:
	@scripts/system-packages.sh venv
	@scripts/venv.sh tests typing lint release
	@$(RUN) ruff check
	@$(RUN) ruff format --check
	@$(RUN) mypy
	@# Its report is long even when all is well; then the last line is enough.
	@report="$$(.venv/bin/lint-imports)" || { echo "$$report"; exit 1; }; tail -n 1 <<<"$$report"
	@$(SITE)
