# make demo: search a strategy on bundled real bars.   make test: the whole suite.   Both set up what they need.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
DEV    := $(VENV)/.installed-dev
# What an installation is made from: the rest of src/ is used where it lies.
MADE   := pyproject.toml constraints.txt hatch_build.py $(wildcard src/genesis/trials/_fastkey*.[ch])

.DEFAULT_GOAL := help
.PHONY: help demo test check lint types bench docs clean

help:
	@echo "make demo   search a strategy on the bundled real bars (sets up .venv first)"
	@echo "make test   run the whole test suite (sets up .venv first)"
	@echo "make check  ruff and mypy"
	@echo "make bench  the benchmarks, each against its peer in one run"
	@echo "make docs   build the documentation site into site/"
	@echo "make clean  remove .venv and caches (runs/ is kept)"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Genesis needs Python 3.11 or later; this is $$($(PYTHON) -V). Try: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	@echo "Making a virtual environment in $(VENV) ..."
	@$(PYTHON) -m venv $(VENV)

$(STAMP): $(MADE) | $(BIN)/python
	@echo "Installing Genesis and its pinned dependencies (a minute or so, once) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(DEV): $(MADE) | $(BIN)/python
	@echo "Installing Genesis with everything its tests use (two minutes or so, once) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@ $(STAMP)

demo: $(STAMP)
	@$(BIN)/genesis demo

test: $(DEV)
	@$(BIN)/python -m pytest -n 2 --dist loadgroup

check: $(DEV)
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

lint types: check

bench: $(DEV)
	@$(BIN)/python -m benchmarks

docs: $(DEV)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

clean:
	rm -f src/genesis/trials/_fastkey.*.so src/genesis/trials/_fastkey.*.pyd
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis site
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
