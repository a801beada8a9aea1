# Shortcuts: `make demo` runs the workflow on the embedded data set, `make test` runs the tests.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CORES ?= all
# FAST=1 takes about three minutes: fewer clips and steps, and the renderer in resources/ instead of pretraining one
FAST ?= 0
CONFIG ?= config/demo$(if $(filter 1,$(FAST)),-fast).yaml

# The default scheduler solves an integer programme while jobs run, and Snakemake looks for ready jobs once per time span
# of the rate limit, by default every second. On a small machine both take time from the jobs.
SNAKEMAKE = $(BIN)/snakemake --scheduler greedy --max-jobs-per-timespan 500/5s --cores $(CORES) \
  --configfile $(CONFIG) --quiet rules

# Without a home folder that can be written to, Snakemake does not start: users without an entry in /etc/passwd have none.
export HOME := $(shell test -w "$$HOME" && echo "$$HOME" || echo "$${TMPDIR:-/tmp}")

.PHONY: setup demo report test rehearsal lint format docs lock clean
.DEFAULT_GOAL := help

help: ## show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 12

setup: $(VENV)/.installed ## the environment of requirements.lock in .venv

$(VENV)/.installed: requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=")'
	@# an interrupted set-up can leave a Python without pip; venv completes it
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	@# pip takes a package that it was interrupted in for installed if it has METADATA; it writes INSTALLER last
	@find $(VENV)/lib -maxdepth 3 -name '*.dist-info' ! -exec test -e '{}/INSTALLER' ';' -prune -exec rm -r '{}' ';'
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-compile --requirement requirements.lock
	@# pip would compile files one by one; files that do not compile, such as templates, are never imported
	@$(BIN)/python -m compileall -qq -j 0 -x 'site-packages/.*(/tests?/|/testing/|/transformers/models/)' $(VENV)/lib || true
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --no-deps --no-build-isolation --editable .
	touch $@

demo: setup ## the whole workflow on the embedded data set, on the CPU
	$(SNAKEMAKE) --rerun-incomplete --prioritize train_joint -- all
	@$(BIN)/wildrayzer run summary $(CONFIG)

report: setup ## the HTML report of the last run
	$(SNAKEMAKE) -- report
	@$(BIN)/wildrayzer run summary $(CONFIG)

test: setup ## the tests, a tiny run of the whole workflow included
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 3 --no-loadscope-reorder

rehearsal: setup ## every job of the full-size runs at true sizes, a step per stage, on the CPU
	$(BIN)/python -m tests.rehearsal

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

docs: setup ## the documentation site in build/site; broken links and anchors are errors
	$(BIN)/mkdocs build --strict --quiet

lock: setup ## write requirements.lock from what is installed
	@(head -1 requirements.lock; $(BIN)/python -m pip freeze --all --exclude-editable | grep -vi '^pip==' \
	  | sed 's/^torch==\([0-9.]*\).*/torch==\1/') > .lock.new && mv .lock.new requirements.lock

clean: ## remove results, keep the environment
	rm -rf results .snakemake
