# make run: try it here, without root.  make test: what must pass.  The rest: see README.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: run test lint bench system install clean

run: $(VENV)/.installed
	@mkdir -p var
	@exec $(BIN)/jobqueued --root var --config etc/jobqueued.yaml --jobs etc/jobqueue.d --log text

test: $(VENV)/.tested
	$(BIN)/python -m pytest

lint: $(VENV)/.linted
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python tests/budget.py

bench: $(VENV)/.tested
	$(BIN)/python -m bench

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable .
	touch $@

$(VENV)/.tested: $(VENV)/.installed
	$(BIN)/pip install --quiet --editable '.[test]'
	touch $@

$(VENV)/.linted: $(VENV)/.tested
	$(BIN)/pip install --quiet --editable '.[test,lint]'
	touch $@

clean:
	rm -rf $(VENV) var build *.egg-info
