# Everything that README.md and book/running.md name. `make` alone lists the targets.

PYTHON        ?= python3
PROFILE       ?= smoke
DEVICE        ?= cpu
SEED          ?= 0
JOBS          ?= 2
ONLY          ?=
PYTEST_ARGS   ?=
KERNELS       ?= haswell prescott
TORCH_VERSION := 2.13.0
# Address of a package index that holds the wanted build of torch; empty: the default one.
TORCH_INDEX   ?=
UV            ?= uv

VENV   := .venv
BIN    := $(VENV)/bin
PY     := $(BIN)/python
STAMP  := $(VENV)/installed-torch-$(TORCH_VERSION)
PIP    := $(PY) -m pip install --quiet --disable-pip-version-check --no-input
# Tests run two at a time, each on one thread.
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
NBVAL  := --nbval --nbval-current-env --nbval-sanitize-with tests/notebooks/sanitize.cfg

# Kernels of tests and chapters run in this environment, without the user's IPython profile.
export IPYTHONDIR := $(CURDIR)/_build/ipython
$(shell mkdir -p $(CURDIR)/_build/ipython)
export JUPYTER_PREFER_ENV_PATH := 1
unexport JUPYTER_PATH

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install book look test unit notebooks kernels lowest lint types format reproduce digests \
  references bench gpu explorer figure lock clean distclean

help:  ## list the targets
	@echo "Targets (each creates $(VENV) first where it is needed):"
	@sed -n 's/^\([a-z]*\):.*##  *\(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-18s %s\n", $$1, $$2}'
	@echo "Variables: PROFILE=smoke|laptop|paper  DEVICE=cpu|cuda  ONLY='02 05' (book, references)"
	@echo "           JOBS=$(JOBS)  SEED=$(SEED)  PYTHON=$(PYTHON)  TORCH_INDEX= (see book/running.md)"

install: $(STAMP)  ## create the environment .venv from requirements.lock

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "dvae needs Python 3.11 or newer, but '$(PYTHON)' is:" \
	       "$$($(PYTHON) --version 2>&1 || true)"; \
	  echo "Name another interpreter: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; } >&2
	@rm -f $(VENV)/installed-torch-*
	@echo "creating the environment $(VENV) (once; about a minute and a half with a fast connection)"
	@test -x $(PY) || $(PYTHON) -m venv $(VENV)
	@$(PIP) --no-deps --require-hashes -r requirements.lock
	@$(PIP) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch==$(TORCH_VERSION)
	@$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@
	@echo "environment ready: $(VENV)"

book: $(STAMP)  ## execute the chapters and build the pages: _build/html/index.html
	@$(PY) tools/book.py build --profile $(PROFILE) --device $(DEVICE) --seed $(SEED) \
	  --jobs $(JOBS) $(if $(ONLY),--only $(ONLY))

look: $(STAMP)  ## look at the built pages in Chromium, on a wide and a narrow screen, light and dark
	@$(PY) tools/book.py look $(if $(PICTURES),--pictures $(PICTURES))

test: lint  ## lint, then unit tests and the nbval comparison of every chapter
	@echo "unit tests and notebook comparisons, $(JOBS) at a time:"
	@$(ONE_THREAD) $(PY) -m pytest -n $(JOBS) --dist loadfile $(NBVAL) $(PYTEST_ARGS)

unit: $(STAMP)  ## unit tests alone
	@$(ONE_THREAD) $(PY) -m pytest -n $(JOBS) --dist loadfile $(PYTEST_ARGS)

notebooks: $(STAMP)  ## nbval alone: do the chapters still print what tests/notebooks holds?
	@$(ONE_THREAD) $(PY) -m pytest -n $(JOBS) --dist loadfile $(NBVAL) $(PYTEST_ARGS) tests/notebooks

kernels: $(STAMP)  ## numerical tests under other linear-algebra kernels: do the tolerances hold, how closely?
	@$(PY) tools/kernels.py $(KERNELS) --jobs $(JOBS) $(if $(PYTEST_ARGS),--pytest="$(PYTEST_ARGS)")

lowest: $(STAMP)  ## quick tests with the lowest versions that pyproject.toml allows (an environment of their own)
	@$(PY) tools/lowest.py $(PYTEST_ARGS)

lint: $(STAMP)  ## ruff on the library, the tests and the chapters' cells; the layers of imports
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) tools/book.py lint
	@$(BIN)/lint-imports --no-cache --no-logo

types: $(STAMP)  ## mypy on the library (a minute the first time)
	@$(PY) -m mypy --cache-dir _build/mypy

format: $(STAMP)  ## format and repair the sources and the chapters' cells
	@$(PY) -m ruff check --fix . ; $(PY) -m ruff format . ; $(PY) tools/book.py lint --fix

reproduce: $(STAMP)  ## run every experiment that is not stored yet: results/
	@$(BIN)/dvae run --all --profile $(PROFILE) --device $(DEVICE)
	@echo "the results are in results/; show them with: make book PROFILE=$(PROFILE)"

digests: $(STAMP)  ## after files in results/ came from elsewhere: check them, bring their digests up to date
	@$(PY) -c "from dvae.results.store import Store; print(*Store.default().update_digests(), sep='\n')"

references: $(STAMP)  ## execute the chapters again for nbval: tests/notebooks/
	@OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 \
	  $(PY) tools/book.py references --jobs $(JOBS) $(if $(ONLY),--only $(ONLY))

bench: $(STAMP)  ## measure speed and memory, for the page How to reproduce: benchmarks/measured.json
	@for script in benchmarks/bench_*.py; do echo "== $$script"; $(PY) $$script --json || exit 1; done

gpu: $(STAMP)  ## half an hour on a CUDA device, most important first: _build/gpu (MINUTES=25)
	@$(PY) tools/gpu.py --minutes $(or $(MINUTES),25)

explorer: $(STAMP)  ## train the models of the page "Move the latents" again: book/explorer.json
	@OMP_NUM_THREADS=1 $(PY) tools/explorer.py

figure: $(STAMP)  ## draw the figure of README.md again from stored results
	@$(PY) tools/readme_figure.py

lock:  ## resolve pyproject.toml again (needs uv): requirements.lock
	@command -v $(UV) >/dev/null || { echo "make lock needs uv: pip install uv, or UV=path/to/uv" >&2; exit 1; }
	@mkdir -p _build && echo torch > _build/not-locked.txt
	@$(UV) pip compile --quiet --universal --generate-hashes --fork-strategy fewest \
	  --python-version 3.11 --all-extras --excludes _build/not-locked.txt \
	  --no-emit-index-url --no-emit-find-links --no-header \
	  pyproject.toml requirements.in --output-file requirements.lock
	@echo "requirements.lock written; torch is pinned in the Makefile (TORCH_VERSION)"

clean:  ## remove what was built (_build, caches), keep .venv and results
	@rm -rf _build .pytest_cache .ruff_cache .hypothesis
	@find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
	@echo "removed _build and caches"

distclean: clean  ## clean, and remove .venv too
	@rm -rf $(VENV) src/*.egg-info
	@echo "removed $(VENV)"
