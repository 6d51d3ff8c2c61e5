# Everything runs in a virtual environment of its own; a machine needs Python 3.11, git and make, nothing else.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --quiet --disable-pip-version-check
TORCH := torch==2.13.0

# Shown while installing; a build of torch that is already there (CUDA or not) is kept.
export DVC_NO_ANALYTICS := 1
export HF_HUB_OFFLINE := 1
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: help demo install install-test test check lock bench clean

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

demo: install  ## install, run the demo study, print its AUILC table and where the report is
	@dvc repro
	@python -m stages.summary

install: $(VENV)/installed

install-test: $(VENV)/installed-test

$(VENV)/installed: requirements.lock
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV): torch first, then what requirements.lock pins"
	@$(PIP) install $(TORCH)
	@$(PIP) install --no-deps -r requirements.lock
	@touch $@

$(VENV)/installed-test: $(VENV)/installed requirements-test.lock
	@$(PIP) install --no-deps -r requirements-test.lock
	@touch $@

test: install-test  ## the tests, with coverage of pipeline/
	@python -m pytest -n 2 --dist loadgroup --cov --cov-report=term:skip-covered --cov-fail-under=90

check: install-test  ## ruff, ruff format, mypy --strict, params
	@ruff check .
	@ruff format --check .
	@mypy
	@python -m stages.check

bench: install-test  ## benchmarks: ratios in one run, printed
	@for file in tests/benchmarks/bench_*.py; do echo "== $$file"; python -m tests.benchmarks.$$(basename $$file .py) || exit 1; done

clean:  ## remove scratch; artifacts and DVC's cache stay
	@rm -rf .scratch .mypy_cache .ruff_cache .pytest_cache
