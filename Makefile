# Two commands for a newcomer: `make run` serves examples/hello.py, `make test` runs the whole suite.
# Both set everything up in .venv first. `make run ARGS="--port 8080"`, `make test ARGS="-k router"`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
SOURCES := $(wildcard cello/_speedups/*.py cello/_speedups/*.pyx cello/_speedups/*.pxd)

# CELLO_NO_EXTENSIONS=1 installs and tests the pure implementation alone, where there is no C compiler.
ifeq ($(filter-out 0,$(CELLO_NO_EXTENSIONS)),)
INSTALLED := $(VENV)/installed
TESTS := test-compiled test-pure
else
INSTALLED := $(VENV)/installed-pure
TESTS := test-pure
endif
DEVELOPING := $(INSTALLED)-for-development

.PHONY: run test test-compiled test-pure lint build wheels bench clean

run: $(INSTALLED)
	$(BIN)/python examples/hello.py $(ARGS)

test: $(TESTS)

test-compiled: $(INSTALLED)
	$(BIN)/python -m pytest $(ARGS)

test-pure: $(INSTALLED)
	CELLO_NO_EXTENSIONS=1 $(BIN)/python -m pytest $(ARGS)

lint: $(DEVELOPING)
	bash ci/lint.sh $(BIN)/python

build: $(DEVELOPING)
	rm -rf dist
	$(BIN)/python -m build

# Builds both wheels from the sdist, installs each into a fresh environment and asks it for an answer.
wheels: $(DEVELOPING)
	bash ci/wheels.sh $(BIN)/python

bench: $(INSTALLED)
	$(PIP) install --quiet -r benchmarks/requirements.txt
	$(BIN)/python -m benchmarks.load $(ARGS)

# A venv whose making failed half-way (no ensurepip) would be taken for a whole one the next time.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "cello: Python 3.11 or later is needed, and $(PYTHON) is " + sys.version.split()[0] + "; name another: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

# The compiled modules are built again when one of their sources has changed.
$(INSTALLED): $(BIN)/python pyproject.toml setup.py $(SOURCES)
	$(PIP) install --quiet --editable '.[test]'
	touch $@

# Style, types and packaging need the tools alone; that this builds too is how pip works, and is not done twice.
$(DEVELOPING): $(BIN)/python pyproject.toml
	$(PIP) install --quiet --editable '.[dev]'
	touch $(INSTALLED) $@

clean:
	rm -rf build dist $(VENV) cello.egg-info cello/_speedups/*.so .hypothesis .mypy_cache .ruff_cache
