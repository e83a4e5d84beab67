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
export TOX_UV ?= $(abspath $(BIN)/uv)
export TOX_DISCOVER ?= $(subst $(SPACE),$(COMMA),$(wildcard $(or $(PYENV_ROOT),$(HOME)/.pyenv)/versions/3.1[1-9].*/bin/python))

.DEFAULT_GOAL := help
.PHONY: help demo check test format generate check-generated probe-pages spec-lint spec-report upstream docs docs-serve pictures \
	bench fuzz mutate dist check-dist release-check audit-workflows audit-dependencies clean

help: ## list the commands
	@$(PYTHON) -c "import re; [print(f'\n{g}' if g else f'  make {v:19} {t}') for g, v, t in re.findall(r'(?m)^##@ (.*)|^([a-z-]+):.*?## (.*)', open('Makefile').read())]"

##@ Try it

demo: $(VENV)/.installed ## tokenize a card and pay with the token, against a local emulator, and show each message
	@$(BIN)/cybersource-flex demo

##@ Change the code

check: $(VENV)/.check ## before each commit, about a minute: format, lint, types, unit tests, vectors and pages
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/lint-imports --no-cache > /dev/null || $(BIN)/lint-imports --no-cache
	$(BIN)/mypy
	$(BIN)/python -m pytest --numprocesses auto --quiet test/unit test/vectors test/docs

test: $(VENV)/.tox ## run everything: tests, lint, types, and the check of generated files
	@result=0; $(BIN)/tox run-parallel --parallel 3 --parallel-no-spinner || result=$$?; \
		$(BIN)/python tools/not_tested.py && exit $$result

format: $(VENV)/.generate ## format and fix the code with ruff
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.tox ## measure calls, startup, memory and size against raw urllib3 and other SDKs
	$(BIN)/tox run -e bench -- --write

fuzz: $(VENV)/.tox ## fuzz the token parsers for ten minutes, or SECONDS=...
	$(BIN)/tox run -e fuzz -- $(or $(SECONDS),600) .fuzz

mutate: $(VENV)/.mutate ## change the code in 1,500 places, or SAMPLE=..., and list what no test notices; SEED=, JOBS=, GROUP=
	$(BIN)/python tools/mutate.py --sample $(or $(SAMPLE),1500) --seed $(or $(SEED),1) --jobs $(or $(JOBS),1) $(if $(GROUP),--group $(GROUP))

clean: ## remove all files that git ignores
	git clean -fdXq

##@ Change the specification

generate: $(VENV)/.generate $(VENV)/.installed ## regenerate the generated files from openapi.yaml and templates/
	$(BIN)/python tools/generate.py generate

check-generated: $(VENV)/.generate ## list the generated files that are not up to date
	$(BIN)/python tools/generate.py check

spec-lint: $(VENV)/.generate tools/npm/node_modules ## check openapi.yaml, and list problems with place and rule
	$(BIN)/python tools/spec_lint.py

spec-report: check-generated $(VENV)/.report ## BASE=<commit>: write a page with the changes for users since then; OUT=<file>
	$(BIN)/python tools/spec_report.py report $(if $(BASE),--base "$(BASE)") $(if $(OUT),--out "$(OUT)")

upstream: $(VENV)/.generate ## compare openapi.yaml with CyberSource's own specification: UPSTREAM=<file>
	@$(BIN)/python tools/upstream.py "$(or $(UPSTREAM),$(error name CyberSource's merged specification: make upstream UPSTREAM=<file>))"

##@ Write pages

docs: $(VENV)/.site ## build the documentation site in .site/site/; fails on warnings
	$(BIN)/python tools/build_site.py build

docs-serve: $(VENV)/.site ## build and serve the documentation site; start it again after a change
	$(BIN)/python tools/build_site.py serve

pictures: $(VENV)/.tox ## make the pictures of the pages again: the studio, and the output of the demo; needs Chromium
	$(BIN)/tox run -e pictures

probe-pages: $(VENV)/.installed ## write docs/assumptions.md and docs/coverage.md from the list of assumptions and the emulator
	$(BIN)/python tools/probe_pages.py

##@ Release

release-check: check-generated $(VENV)/.report ## BASE=<tag>: fail if the version is too low since then; or TAG=<new tag>
	$(BIN)/python tools/spec_report.py check $(if $(TAG),--tag "$(TAG)") $(if $(BASE),--base "$(BASE)")

dist: $(VENV)/.build ## build wheel and sdist into dist/; the same commit gives the same bytes
	SOURCE_DATE_EPOCH=$(or $(SOURCE_DATE_EPOCH),$(shell git log -1 --format=%ct)) $(BIN)/python -m build --no-isolation --quiet
	@$(BIN)/python -c "import glob, hashlib; [print(hashlib.sha256(open(f, 'rb').read()).hexdigest(), f) for f in sorted(glob.glob('dist/*'))]"

check-dist: $(VENV)/.package ## check the metadata of the files in dist/
	$(BIN)/twine check --strict dist/*

audit-workflows: $(VENV)/.audit ## check the workflows in .github/ with zizmor
	$(BIN)/zizmor --offline --no-progress .github

audit-dependencies: $(VENV)/.audit $(VENV)/.installed ## look for known vulnerabilities in the installed dependencies
	$(BIN)/pip-audit --local --skip-editable --progress-spinner off

$(VENV)/.made:
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed: $(VENV)/.made setup.py
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[all]'
	@touch $@

$(VENV)/.check: $(VENV)/.installed $(wildcard tools/requirements-*.txt)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement tools/requirements-check.txt
	@touch $@

$(VENV)/.tox: $(VENV)/.made
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'tox>=4.67' 'uv>=0.9'
	@touch $@

# The tools for one command each.
TOOLS := $(addprefix $(VENV)/.,audit build generate mutate package report site)
$(TOOLS): $(VENV)/.%: $(VENV)/.made tools/requirements-%.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement tools/requirements-$*.txt
	@touch $@

$(VENV)/.mutate: $(VENV)/.report
$(VENV)/.report: $(VENV)/.installed $(VENV)/.generate tools/npm/node_modules

# The only package from the npm registry.
tools/npm/node_modules: tools/npm/package-lock.json
	$(PYTHON) tools/redocly.py install
	@test ! -d $@ || touch $@
