# Every target does its own set-up: environments are made once, and renewed when pyproject.toml changes; the kernels
# are compiled again when one of them changes. The Python to use: make test PYTHON=python3.12

PYTHON ?= python3
ARGS ?=

# Workers run side by side, so each keeps BLAS to one thread.
WORKERS ?= auto
ONE_THREAD := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_PROGRESS_BAR := off

DOC_RESULTS := doc/_build doc/auto_examples doc/generated
KERNELS := $(shell find skspar -name '*.pyx' -o -name '*.pxd' -o -name '*.pxi' -o -name '*.h')

.PHONY: help test demo doc lint format bench wheel clean

help:
	@echo "make demo    draw what skspar does, into demo/*.png"
	@echo "make test    run the tests (more options: make test ARGS='-k path -x')"
	@echo "make doc     build the documentation with its gallery, into doc/_build/html"
	@echo "make lint    check style; make format mends what can be mended"
	@echo "make bench   compare with other libraries, side by side"
	@echo "make wheel   build the source archive, and the wheel from it, into dist/"
	@echo "make clean   remove everything that was generated"

test: .venv/.built
	@$(ONE_THREAD) .venv/bin/python -m pytest -n $(WORKERS) --maxprocesses 8 --dist worksteal $(ARGS)

demo: .venv/.built
	@mkdir -p demo
	@MPLBACKEND=Agg .venv/bin/python examples/demo.py $(ARGS)

# Warnings are errors. Without running the gallery: make doc ARGS="-D plot_gallery=0"
doc: .venv-doc/.built
	@rm -rf $(DOC_RESULTS)
	@$(ONE_THREAD) MPLBACKEND=Agg .venv-doc/bin/python -m sphinx -q -W --keep-going $(ARGS) doc doc/_build/html
	@echo "Open doc/_build/html/index.html"

lint: .venv-tools/.ready
	.venv-tools/bin/ruff check
	.venv-tools/bin/ruff format --check
	PATH="$(CURDIR)/.venv-tools/bin:$$PATH" cython-lint skspar

format: .venv-tools/.ready
	.venv-tools/bin/ruff check --fix
	.venv-tools/bin/ruff format

bench: .venv-bench/.built
	@.venv-bench/bin/python benchmarks/run.py $(ARGS)

wheel: .venv-tools/.ready
	@rm -rf dist && mkdir -p build
	@echo "Building the archives (log: build/wheel.log) ..."
	@.venv-tools/bin/python -m build > build/wheel.log 2>&1 || { cat build/wheel.log >&2; exit 1; }
	@ls dist

clean:
	rm -rf .venv .venv-tools .venv-bench .venv-doc .cache .pytest_cache .ruff_cache build demo dist skspar.egg-info $(DOC_RESULTS)
	find skspar tests examples -name '__pycache__' -prune -exec rm -rf {} +
	find skspar \( -name '*.so' -o -name '*.pyd' \) -exec rm -f {} +

# $(call environment,directory,groups): an environment with the dependency groups of pyproject.toml.
define environment
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
  echo "error: '$(PYTHON)' is not a Python 3.11 or newer. Name one: make $(MAKECMDGOALS) PYTHON=/path/to/python3" >&2; exit 1; }
@echo "Preparing $(1) ..."
@$(PYTHON) -m venv $(1)
@$(1)/bin/python -m pip install --quiet --upgrade "pip>=25.1"
@$(1)/bin/python -m pip install --quiet $(2:%=--group %)
endef

# Prints what a build needs, one requirement per line: builds run without isolation, so that they need no network.
BUILD_REQUIRES := import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")

# $(call package,directory): the package, editable, with compiled kernels.
define package
@echo "Building skspar in $(1) ..."
@$(1)/bin/python -c '$(BUILD_REQUIRES)' > $(1)/build-requires.txt
@$(1)/bin/python -m pip install --quiet --requirement $(1)/build-requires.txt
@$(1)/bin/python -m pip install -qq --no-build-isolation --editable .
endef

.venv/.ready: pyproject.toml
	$(call environment,.venv,test)
	@touch $@

.venv-bench/.ready: pyproject.toml
	$(call environment,.venv-bench,bench)
	@touch $@

.venv-doc/.ready: pyproject.toml
	$(call environment,.venv-doc,doc)
	@touch $@

.venv-tools/.ready: pyproject.toml
	$(call environment,.venv-tools,lint build)
	@touch $@

%/.built: %/.ready setup.py $(KERNELS)
	$(call package,$*)
	@touch $@

.PRECIOUS: %/.ready
