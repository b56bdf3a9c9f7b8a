# Two commands for a newcomer: `make run` serves examples/hello.py, `make test` runs the whole suite.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := $(wildcard cello/_speedups/*.py cello/_speedups/*.pyx cello/_speedups/*.pxd)

.PHONY: run test test-compiled test-pure lint build bench clean

run: $(VENV)/installed
	$(BIN)/python examples/hello.py $(ARGS)

test: test-compiled test-pure

test-compiled: $(VENV)/installed
	$(BIN)/python -m pytest $(ARGS)

test-pure: $(VENV)/installed
	CELLO_NO_EXTENSIONS=1 $(BIN)/python -m pytest $(ARGS)

lint: $(VENV)/developing
	$(BIN)/ruff check .
	$(BIN)/ruff format --check cello tests benchmarks ci examples setup.py
	$(BIN)/mypy

build: $(VENV)/developing
	rm -rf dist
	$(BIN)/python -m build

bench: $(VENV)/installed
	$(BIN)/python -m pip install --quiet -r benchmarks/requirements.txt
	$(BIN)/python -m benchmarks.load $(ARGS)

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "cello: Python 3.11 or later is needed, $(PYTHON) is " + sys.version.split()[0])'
	$(PYTHON) -m venv $(VENV)

# The compiled modules are built again when one of their sources has changed.
$(VENV)/installed: $(BIN)/python pyproject.toml setup.py $(SOURCES)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	touch $@

$(VENV)/developing: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

clean:
	rm -rf build dist .venv cello.egg-info cello/_speedups/*.so
