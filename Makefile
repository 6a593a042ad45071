# `make` lists the targets. PYTHON picks the interpreter (3.11, 3.12 or 3.13) that .venv is made from.
.DEFAULT_GOAL := help
.PHONY: help venv demo test test-slow test-pythons soak lint format docs notebooks dist bench mutants studies clean

VENV ?= .venv
BENCH_VENV ?= .venv-bench
OUT ?= out
PYTEST_ARGS ?= -n 2 --dist loadfile
SOAK ?= 1
MUTANTS_ARGS ?= --places 100 --jobs 2
SUPPORTED = import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3 python; do \
	$$p -c "$(SUPPORTED)" >/dev/null 2>&1 && { echo $$p; exit; }; done)
RUN := $(VENV)/bin/python
# a comma may not stand in the arguments of $(call); a package that is new in a source root has to be installed once
EXTRAS := [test,lint,docs]
PACKAGES := $(wildcard backends/*/__init__.py calibration/*/__init__.py)

define create
	@test -n "$(PYTHON)" && "$(PYTHON)" -c "$(SUPPORTED)" || { \
		echo "no Python 3.11, 3.12 or 3.13 with venv found; install one, or name it: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	"$(PYTHON)" -m venv $(1)
	$(1)/bin/python -m pip install --quiet -c constraints.txt torch==2.13.0
	$(1)/bin/python -m pip install --quiet -c constraints.txt -e ".$(2)"
endef

# bench, which needs an environment of its own
include tests/benchmarks/Makefile.inc
# interop, likewise
include tests/interop/Makefile.inc
# firmware-..., which need compilers and QEMU
include backends/hwloop_serial/firmware/Makefile.inc
# rtl-synth, which needs Yosys and nextpnr
include backends/hwloop_rtl/Makefile.inc
# soak, to which other folders of tests may add
include tests/storage/Makefile.inc

help:  ## list the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-18s %s\n", $$1, $$2 }'

$(VENV)/.installed: pyproject.toml constraints.txt $(PACKAGES)
	$(call create,$(VENV),$(EXTRAS))
	@touch $@

venv: $(VENV)/.installed  ## create .venv with the tested versions

demo: $(VENV)/.installed  ## the main job on Yin-Yang: train, deploy, compare, fine-tune; report in out/demo
	$(RUN) -m hwloop demo --out $(OUT)/demo --force

test: $(VENV)/.installed  ## the test suite, without the slow tests
	$(RUN) -m pytest $(PYTEST_ARGS)

test-slow: $(VENV)/.installed  ## the slow tests alone
	$(RUN) -m pytest -m slow

test-pythons: $(VENV)/.installed  ## a quick part of the tests in an environment of each Python of 3.11 to 3.13 that is here
	$(RUN) tests/packaging/each_python.py --folder $(OUT)/pythons

soak: $(VENV)/.installed  ## the long column of the reliability tests (hours); SOAK=.01 takes a hundredth of it
	HWLOOP_SOAK=$(SOAK) $(RUN) -m pytest tests/reliability -m "slow or not slow"

lint: $(VENV)/.installed  ## ruff (rules and format), mypy --strict, and no import circles between packages
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	$(VENV)/bin/lint-imports

format: $(VENV)/.installed  ## rewrite the source in the project's format
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

docs: $(VENV)/.installed  ## the documentation as a site, in out/docs; warnings are errors
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --strict --site-dir $(OUT)/docs

notebooks: $(VENV)/.installed  ## the tutorials as notebooks, in out/notebooks, each executed once
	$(RUN) docs/tools/notebooks.py --out $(OUT)/notebooks --execute

dist: $(VENV)/.installed  ## wheel and source distribution in out/dist; the demo from the wheel in an empty environment of each Python
	rm -rf $(OUT)/dist build
	$(RUN) -m build --no-isolation --outdir $(OUT)/dist
	$(RUN) tests/packaging/empty_environments.py $(OUT)/dist/*.whl

mutants: $(VENV)/.installed  ## a slip of the pen in each of 100 places of the source: the share that the tests notice
	nice $(RUN) -m tests.mutation.plant $(MUTANTS_ARGS)

studies: $(VENV)/.installed  ## the long experiments behind the figures of the docs (hours)
	$(RUN) studies/run.py --out $(OUT)/studies

clean:  ## remove what the other targets made, environments included
	rm -rf $(VENV) $(BENCH_VENV) $(INTEROP_VENV) $(OUT) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
