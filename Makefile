# `make test` and `make demo` need Python 3.10 or newer, make and the package registries; nothing else.
PYTHON ?= python3
VENV := .venv
ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
else
BIN := $(VENV)/bin
endif
PY := $(BIN)/python
INSTALLED := $(VENV)/.installed
# Small volumes: threads cost more than they win, and tests run beside other work.
ONE_THREAD := OMP_NUM_THREADS=1
# Processes of the tests: one per core, and all tests of a file in one of them, which share its fixtures. 0 takes none.
JOBS ?= auto

.PHONY: help install test lint demo docs bench screenshots train-models evaluate clean

help:
	@echo "make test          style, types and every test"
	@echo "make demo          both modules on a real scan; writes demo/"
	@echo "make docs          the documentation site; writes build/site"
	@echo "make bench         speed and memory"
	@echo "make screenshots   pictures of both panels and of the samples"
	@echo "make train-models  train the models that ship"
	@echo "make evaluate      scores of the models that ship"
	@echo "make lint          style and types only"
	@echo "make clean         remove everything make made"

install: $(INSTALLED)

$(PY):
	$(PYTHON) -c "import sys; sys.exit(0 if sys.version_info >= (3, 10) else 'Python 3.10 or newer is needed; set PYTHON=...')"
	$(PYTHON) -m venv $(VENV)

$(INSTALLED): training/pyproject.toml training/constraints.txt | $(PY)
	$(PY) -m pip install --quiet --disable-pip-version-check -c training/constraints.txt -e "training[train,mrml,test]"
	$(PY) -c "open('$(INSTALLED)', 'w').close()"

lint: $(INSTALLED)
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

test: lint
	$(ONE_THREAD) $(PY) -m pytest -n $(JOBS) --maxprocesses 4 --dist loadfile

demo: $(INSTALLED)
	$(PY) training/demo/run_demo.py

$(VENV)/.docs: $(INSTALLED)
	$(PY) -m pip install --quiet --disable-pip-version-check -c training/constraints.txt -e "training[docs]"
	$(PY) -c "open('$(VENV)/.docs', 'w').close()"

docs: $(VENV)/.docs
	$(PY) training/docs/build.py

bench: $(INSTALLED)
	$(PY) training/benchmarks/run_benchmarks.py

screenshots: $(INSTALLED)
	$(PY) training/demo/panel_pictures.py

train-models: $(INSTALLED)
	$(PY) training/recipes/train_models.py

evaluate: $(INSTALLED)
	$(PY) training/recipes/evaluate_models.py

clean:
	$(PYTHON) -c "import pathlib, shutil; [shutil.rmtree(p, ignore_errors=True) for p in ['$(VENV)', 'demo', 'build', '.mypy_cache', '.ruff_cache', '.pytest_cache', '.hypothesis', *pathlib.Path('.').rglob('__pycache__'), *pathlib.Path('.').rglob('*.egg-info')]]"
