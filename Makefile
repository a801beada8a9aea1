# The whole project in a few words: `make demo` runs the workflow on the embedded data set, `make test` the tests.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CONFIG ?= config/demo.yaml
CORES ?= all
# FAST=1 starts from the renderer in resources/ instead of pretraining one
FAST ?= 0
ifeq ($(FAST),1)
OVERRIDES := --config name=demo-fast pretrained=resources/demo-renderer
SUMMARY := --name demo-fast
endif

# The default scheduler solves an integer programme again and again while jobs run, and what is ready is looked at again
# after each time span of the rate limit, by default a second: both take time from the jobs of a small machine.
SNAKEMAKE = $(BIN)/snakemake --scheduler greedy --max-jobs-per-timespan 500/5s --cores $(CORES) \
  --configfile $(CONFIG) $(OVERRIDES) --quiet rules

.PHONY: setup demo report test lint format lock clean
.DEFAULT_GOAL := help

help: ## show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

setup: $(VENV)/.installed ## the environment of requirements.lock in .venv

$(VENV)/.installed: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-compile --requirement requirements.lock
	@# pip would compile one file after the other; what does not compile, templates for one, is not imported either
	@$(BIN)/python -m compileall -qq -j 0 -x 'site-packages/.*(/tests?/|/testing/|/transformers/models/)' $(VENV)/lib || true
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation --editable .
	touch $@

demo: setup ## the whole workflow on the embedded data set, on the CPU
	$(SNAKEMAKE) --rerun-incomplete --prioritize train_joint -- all
	$(BIN)/wildrayzer run summary $(CONFIG) $(SUMMARY)

report: setup ## the HTML report of the last run
	$(SNAKEMAKE) -- report
	$(BIN)/wildrayzer run summary $(CONFIG) $(SUMMARY)

test: setup ## the tests, a tiny run of the whole workflow included
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 3 --no-loadscope-reorder

lint: setup ## formatting, types, workflow and generated files
	$(BIN)/ruff format --check wildrayzer workflow/scripts tests
	$(BIN)/ruff check wildrayzer workflow/scripts tests
	$(BIN)/snakefmt --check --compact-diff Snakefile workflow/rules
	$(BIN)/mypy
	$(BIN)/snakemake --lint
	$(BIN)/wildrayzer config reference --check

format: setup ## format code and rules
	$(BIN)/ruff format wildrayzer workflow/scripts tests
	$(BIN)/snakefmt Snakefile workflow/rules

lock: setup ## write requirements.lock from what is installed
	@(head -1 requirements.lock; $(BIN)/python -m pip freeze --all --exclude-editable | grep -vi '^pip==' \
	  | sed 's/^torch==\([0-9.]*\).*/torch==\1/') > .lock.new && mv .lock.new requirements.lock

clean: ## remove results, keep the environment
	rm -rf results .snakemake
