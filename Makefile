# The commands of the project. They need make, Python 3.11 or newer, and PyPI; those that compare specifications also need
# Node.js and npm. Everything else is installed on first use.

PYTHON ?= python3
VENV := .venv
ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
else
BIN := $(VENV)/bin
endif

# tox looks for interpreters on PATH. pyenv keeps interpreters that are not selected outside of PATH.
SPACE := $(subst ,, )
COMMA := ,
export TOX_DISCOVER ?= $(subst $(SPACE),$(COMMA),$(wildcard $(or $(PYENV_ROOT),$(HOME)/.pyenv)/versions/3.1[1-9].*/bin/python))

.DEFAULT_GOAL := help
.PHONY: help demo test generate check-generated spec-lint spec-report release-check upstream bench fuzz dist format \
	clean

help: ## list the commands
	@$(PYTHON) -c "import re; [print(f'make {v:16} {t}') for v, t in re.findall(r'(?m)^([a-z-]+):.*?## (.*)', open('Makefile').read())]"

demo: $(VENV)/.installed ## run the five steps against a local emulator and show each artefact
	@$(BIN)/cybersource-flex demo

test: $(VENV)/.tox ## run everything: tests, lint, types, and the check of generated files
	$(BIN)/tox run-parallel --parallel 2 --parallel-no-spinner

generate: $(VENV)/.generator ## regenerate the generated files from openapi.yaml and templates/
	$(BIN)/python tools/generate.py generate

check-generated: $(VENV)/.generator ## list the generated files that are not up to date
	$(BIN)/python tools/generate.py check

upstream: $(VENV)/.generator ## compare openapi.yaml with CyberSource's own specification: UPSTREAM=<file>
	@$(BIN)/python tools/upstream.py "$(or $(UPSTREAM),$(error name CyberSource's merged specification: make upstream UPSTREAM=<file>))"

spec-lint: $(VENV)/.generator tools/npm/node_modules ## check openapi.yaml, and list problems with place and rule
	$(BIN)/python tools/spec_lint.py

spec-report: check-generated $(VENV)/.report ## BASE=<commit>: write a page with the changes for users since then; OUT=<file>
	$(BIN)/python tools/spec_report.py report --base "$(BASE)" $(if $(OUT),--out "$(OUT)")

release-check: check-generated $(VENV)/.report ## BASE=<tag>: fail if the version is too low for the changes since then
	$(BIN)/python tools/spec_report.py check --base "$(BASE)"

bench: $(VENV)/.tox ## measure calls, startup, memory and size against raw urllib3 and other SDKs
	$(BIN)/tox run -e bench -- --write

fuzz: $(VENV)/.tox ## fuzz the token parsers for ten minutes, or SECONDS=...
	$(BIN)/tox run -e fuzz -- $(or $(SECONDS),600) .fuzz

dist: $(VENV)/.builder ## build wheel and sdist into dist/; the same commit gives the same bytes
	SOURCE_DATE_EPOCH=$(or $(SOURCE_DATE_EPOCH),$(shell git log -1 --format=%ct)) $(BIN)/python -m build --no-isolation --quiet
	@$(BIN)/python -c "import glob, hashlib; [print(hashlib.sha256(open(f, 'rb').read()).hexdigest(), f) for f in sorted(glob.glob('dist/*'))]"

format: $(VENV)/.generator ## format and fix the code with ruff
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean: ## remove all files that git ignores
	git clean -fdXq

$(VENV)/.made:
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed: $(VENV)/.made setup.py
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[all]'
	@touch $@

$(VENV)/.tox: $(VENV)/.made
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'tox>=4.67'
	@touch $@

$(VENV)/.generator: $(VENV)/.made tools/requirements-generate.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement tools/requirements-generate.txt
	@touch $@

$(VENV)/.builder: $(VENV)/.made tools/requirements-build.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement tools/requirements-build.txt
	@touch $@

$(VENV)/.report: $(VENV)/.installed $(VENV)/.generator tools/npm/node_modules tools/requirements-report.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement tools/requirements-report.txt
	@touch $@

# The only package from the npm registry.
tools/npm/node_modules: tools/npm/package-lock.json
	$(PYTHON) tools/redocly.py install
	@test ! -d $@ || touch $@
