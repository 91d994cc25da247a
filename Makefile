# The commands of the README. They install into .venv alone.
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(VENV)/bin
# Another MindSpore than that of constraints.txt: `make install MINDSPORE=2.9.0`, or export MINDSPORE (docs/hardware.md).
MINDSPORE ?= $(shell sed -n 's/^mindspore==//p' constraints.txt)
REFERENCE := .reference

.PHONY: quickstart test test-fast test-versions lint format docs install install-check-aarch64 clean fixtures fidelity ascend-dry-run

quickstart: $(VENV)/.lean-$(MINDSPORE)
	$(BIN)/python launch.py experiment=quickstart

# Three files of tests at a time on two cores: much of a test is waiting for a server, a signal or a grace period.
# In the order of the folders, so that the quick unit tests come last and neither core idles at the end: by itself,
# xdist begins with the files of most tests, and the slow ones have few.
# `make test TESTS=tests/unit/data` runs some alone, `make test TESTS="-k resume"` too.
test: install
	$(BIN)/python -m pytest $(if $(TESTS),$(TESTS),--numprocesses 3 --dist loadfile --no-loadscope-reorder)

# Unit tests that neither start processes nor compile a network: about a minute on two cores.
test-fast: install
	$(BIN)/python -m pytest tests/unit -m "not slow and not process" --numprocesses 2 --dist worksteal

# Training, resume, evaluation, export and two processes with every MindSpore that is supported. Only MindSpore is installed
# again, in front of the packages of .venv; pip says whether all other pins fit it.
# `make test-versions VERSIONS=2.9.0` tests one.
VERSIONS ?= 2.7.2 2.8.0 2.9.0 2.10.0
test-versions: $(VERSIONS:%=test-version-%)

test-version-%: .versions/%/.installed
	PYTHONPATH="$(CURDIR):$(CURDIR)/.versions/$*" $(BIN)/python -m pytest -m versions $$(grep -rl 'mark\.versions' tests)

.PRECIOUS: .versions/%/.installed
.versions/%/.installed: | install
	rm -rf $(@D)
	mkdir -p $(@D)
	sed 's/^mindspore==.*/mindspore==$*/' constraints.txt > $(@D)/constraints.txt
	$(BIN)/python -m pip install --quiet --dry-run --constraint $(@D)/constraints.txt --editable .
	$(BIN)/python -m pip install --quiet --no-deps --target $(@D) mindspore==$*
	touch $@

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

# What a step would launch on an Ascend card, without one: `make ascend-dry-run ARGS="model=deit_small optim=sgd"`.
# It needs Linux on x86_64, gcc, and the version of MindSpore that tests/ascend/stand_ins.py is for.
ascend-dry-run: install
	$(BIN)/python tests/ascend/dry_run.py $(ARGS)

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

install: $(VENV)/.installed-$(MINDSPORE)

# What a run needs, which is all that the quickstart installs. The file says by its name which MindSpore is there.
$(VENV)/.lean-$(MINDSPORE): constraints.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	rm -f $(VENV)/.lean-* $(VENV)/.installed-*
	sed 's/^mindspore==.*/mindspore==$(MINDSPORE)/' constraints.txt > $(VENV)/constraints.txt
	$(BIN)/python -m pip install --quiet --constraint $(VENV)/constraints.txt --editable .
	touch $@

# With the extras and the tools of the tests.
$(VENV)/.installed-$(MINDSPORE): $(VENV)/.lean-$(MINDSPORE)
	$(BIN)/python -m pip install --quiet --constraint $(VENV)/constraints.txt --editable '.[dev]'
	touch $@

# Whether every pin has a wheel for an aarch64 server with glibc 2.28 or newer; nothing is installed. antlr4 has none on any
# platform: pip builds it, which needs setuptools and no compiler.
GLIBC := 17 24 26 27 28
install-check-aarch64:
	grep -v '^antlr4-python3-runtime' constraints.txt | $(PYTHON) -m pip install --dry-run --quiet --no-deps --ignore-installed \
		--target none --only-binary=:all: --implementation cp --abi cp311 --abi abi3 --abi none \
		--python-version $$($(PYTHON) -c 'import platform; print(platform.python_version())') \
		$(GLIBC:%=--platform manylinux_2_%_aarch64) --platform manylinux2014_aarch64 --requirement /dev/stdin
	@echo "constraints.txt has wheels for aarch64"

clean:
	rm -rf $(VENV) $(REFERENCE) .versions
