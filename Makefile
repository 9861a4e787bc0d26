# make serve   set up and receive objects on port 6066 into archive/
# make test    set up and run the tests
# make check   what CI checks beside the tests
#
# Each makes .venv first; all that is needed is Python 3.10 or newer.

PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python3.10 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null && echo $$python && break; done)
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt

.PHONY: serve test check generate clean

serve: .venv/serve
	$(BIN)/dcmkit storescp 6066 -aet RACCOON_SCP -od archive -v

test: .venv/test
	$(BIN)/python -m pytest -n auto -q

check: .venv/check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m dcmkit.cli.generate --check
	$(BIN)/python tools/generate_uids.py --check
	$(BIN)/python tools/generate_dictionary.py --check
	$(BIN)/python tools/generate_dump_tags.py --check
	$(BIN)/python tools/generate_deid_tables.py --check
	$(BIN)/python tools/generate_deid_modules.py --check

generate: .venv/serve
	$(BIN)/python -m dcmkit.cli.generate

# Compiled once here, so that every start is fast even where Python may not write its caches.
.venv/serve: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable .
	$(BIN)/python -m compileall -q src
	touch $@

.venv/test: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable '.[test]'
	$(BIN)/python -m compileall -q src
	touch $@ .venv/serve

.venv/check: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) --editable '.[dev]'
	touch $@ .venv/serve .venv/test

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "dcmkit needs Python 3.10 or newer; name it with: make PYTHON=/path/to/python" >&2; exit 1; }
	$(PYTHON) -m venv .venv || { rm -rf .venv; echo "Python's venv module is incomplete (on Debian: apt install python3-venv)" >&2; exit 1; }

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
