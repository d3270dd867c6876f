# `make demo` and `make test` do all the set-up; a stamp in $(VENV) says what is installed there.
#   PYTHON     the interpreter that makes the virtual environment, 3.11 or newer
#   PIP_FLAGS  more options for pip, such as another index: --extra-index-url URL
#   ARGS       more options for the command itself: make test ARGS="-k mask"
#   SPREAD     how the whole suite is spread over processes; empty for one process
PYTHON ?= python3
PIP_FLAGS ?=
ARGS ?=
SPREAD ?= -n 2 --dist loadfile

VENV := .venv
BIN := $(VENV)/bin
# A stamp is written only after its install succeeded; each extra brings the run time with it.
RUN := $(VENV)/.ready-run
DEV := $(VENV)/.ready-dev
DRAW := $(VENV)/.ready-demo-checkpoint
# A second environment, with the lowest versions that pyproject.toml allows.
OLD := .venv-lowest
# A third, with the tools that build and check the distributions.
PACK := .venv-dist
TOOLS := $(PACK)/.ready
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check $(PIP_FLAGS)

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo docs test test-slow test-lowest lint types pytest demo-checkpoint \
	ddpm-checkpoint flow-checkpoint gold setup setup-dev clean

help:
	@echo "make demo             set up and run the main job on the embedded checkpoint"
	@echo "make test             set up, lint, check types, run the tests"
	@echo "make test-slow        run the tests that are marked slow"
	@echo "make test-lowest      run the tests with the lowest versions, in $(OLD)"
	@echo "make docs             build the documentation as a site, build/site/index.html"
	@echo "make comfyui          pack the nodes for ComfyUI into dist/"
	@echo "make dist             build the sdist and the wheel into dist/, and check them"
	@echo "make demo-checkpoint  train the embedded checkpoint again (needs npm; hours)"
	@echo "make flow-checkpoint  train the embedded flow transformer again (needs npm; two hours)"
	@echo "make gold             train it again without one concept each (needs npm; half a day)"
	@echo "make ddpm-checkpoint  train the class-conditional checkpoint again (a quarter of an hour)"
	@echo "make setup            only install what running needs, into $(VENV)"
	@echo "make setup-dev        only install what testing needs, into $(VENV)"
	@echo "make clean            remove $(VENV), $(OLD), $(PACK), build output and caches"

demo: $(RUN)
	$(BIN)/erasure demo $(ARGS)

# Two processes of one thread each, a file of tests to one of them; mypy's first run beside them.
test: lint
	$(BIN)/mypy & types=$$!; $(BIN)/python -m pytest $(SPREAD) $(ARGS); tests=$$?; \
	  wait $$types && exit $$tests

test-slow: $(DEV)
	$(BIN)/python -m pytest -m "slow and not gpu" $(ARGS)

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(DEV)
	$(BIN)/mypy

pytest: $(DEV)
	$(BIN)/python -m pytest $(ARGS)

test-lowest: $(OLD)/.ready
	$(OLD)/bin/python -m pytest $(SPREAD) $(ARGS)

docs: $(DEV)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

.PHONY: comfyui dist
comfyui:
	$(PYTHON) comfyui/pack.py

dist: $(TOOLS)
	rm -f dist/diffusion_erasure-*
	$(PACK)/bin/python -m build
	$(PACK)/bin/python -m twine check --strict dist/diffusion_erasure-*

$(TOOLS):
	$(PYTHON) -m venv $(PACK)
	$(PACK)/bin/python -m pip install --disable-pip-version-check $(PIP_FLAGS) \
	  'build>=1.2,<2' 'twine>=6,<7'
	@touch $@

demo-checkpoint: $(DRAW)
	$(BIN)/python -m pipelines.demo_checkpoint $(ARGS)

flow-checkpoint: $(DRAW)
	OMP_NUM_THREADS=1 $(BIN)/python -m pipelines.demo_checkpoint.flow $(ARGS)

# Two models side by side, one thread each; a run that was cut goes on where it was.
gold: $(DRAW)
	OMP_NUM_THREADS=1 $(BIN)/python -m pipelines.demo_checkpoint.retrained --jobs 2 $(ARGS)

# One thread; a run that was cut goes on where it was.
ddpm-checkpoint: $(DRAW)
	OMP_NUM_THREADS=1 $(BIN)/python -m pipelines.class_checkpoint $(ARGS)

setup: $(RUN)

setup-dev: $(DEV)

$(VENV)/.created:
	@command -v $(PYTHON) >/dev/null || { \
	  echo "There is no $(PYTHON) here; install Python 3.11 or newer, or name one:" \
	    "make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "$(PYTHON) is $$($(PYTHON) --version 2>&1), but 3.11 or newer is needed; name one:" \
	    "make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@# Editable installs without a setup.py came with pip 21.3; this asks no index if met.
	$(INSTALL) --quiet 'pip>=22'
	@touch $@

$(RUN): $(VENV)/.created pyproject.toml
	$(INSTALL) -e .
	@touch $@

$(DEV): $(VENV)/.created pyproject.toml
	$(INSTALL) -e '.[dev]'
	@touch $(RUN) $@

$(DRAW): $(VENV)/.created pyproject.toml
	$(INSTALL) -e '.[demo-checkpoint]'
	@touch $(RUN) $@

$(OLD)/.ready: pyproject.toml constraints-lowest.txt
	$(PYTHON) -m venv $(OLD)
	$(OLD)/bin/python -m pip install --disable-pip-version-check $(PIP_FLAGS) \
	  -c constraints-lowest.txt -e '.[dev,8bit]'
	@touch $@

clean:
	rm -rf $(VENV) $(OLD) $(PACK) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find erasure eval pipelines prompts tests -name __pycache__ -type d -prune -exec rm -rf {} +
