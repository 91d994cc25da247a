# The commands of the README. They install into .venv alone.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
REFERENCE := .reference

.PHONY: quickstart test test-fast lint format docs install clean fixtures fidelity

quickstart: $(VENV)/.lean
	$(BIN)/python launch.py experiment=quickstart

# Two files of tests at a time: much of a test is waiting for a server, a signal or a grace period.
# In the order of the folders, so that the quick unit tests come last and neither core idles at the end: by itself,
# xdist begins with the files of most tests, and the slow ones have few.
# `make test TESTS=tests/unit/data` runs some alone, `make test TESTS="-k resume"` too.
test: install
	$(BIN)/python -m pytest $(if $(TESTS),$(TESTS),--numprocesses 2 --dist loadfile --no-loadscope-reorder)

# Unit tests that neither start processes nor compile a network: less than 90 seconds on two cores.
test-fast: install
	$(BIN)/python -m pytest tests/unit -m "not slow and not process" --numprocesses 2 --dist worksteal

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Fix what ruff can fix, and format.
format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The documentation as a site, in site/: needs no network, and fails on a broken link.
docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet --site-dir site

# Compare with timm again and write docs/fidelity.md.
fidelity: install
	$(BIN)/python -m pytest tests/fidelity --write-fidelity

# Ask timm and torch again what the tests compare with, and say what changed; they live in .reference alone.
fixtures: $(REFERENCE)/.installed
	$(REFERENCE)/venv/bin/python tests/reference/make_fixtures.py

$(REFERENCE)/.installed: tests/reference/requirements.txt tests/reference/requirements-timm-0.3.2.txt
	rm -rf $(REFERENCE)
	$(PYTHON) -m venv $(REFERENCE)/venv
	$(REFERENCE)/venv/bin/python -m pip install --quiet --no-deps --requirement tests/reference/requirements.txt
	$(REFERENCE)/venv/bin/python -m pip install --quiet --no-deps --target $(REFERENCE)/timm-0.3.2 \
		--requirement tests/reference/requirements-timm-0.3.2.txt
	touch $@

install: $(VENV)/.installed

# What a run needs, which is all that the quickstart installs.
$(VENV)/.lean: constraints.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

# With the extras and the tools of the tests.
$(VENV)/.installed: $(VENV)/.lean
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) $(REFERENCE)
