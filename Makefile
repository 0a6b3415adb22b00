# Two commands do everything on a fresh Debian or Ubuntu machine with Python 3.11 and make:
#   make demo    train on synthetic dialects, retrieve, write isogloss-demo/report.html
#   make test    lint, type check and test
# Both install into .venv first, once. Others: make docs, make lint, make types, make clean.
# TORCH=cuda installs the CUDA build of torch; the default is the CPU build.
# DEMO="--minutes 60" and PYTEST="-k retrieval" are passed on; PYTHON=python3.12 chooses a Python.

VENV := .venv
BIN := $(VENV)/bin
# What is installed stays, so that `make test` after `make demo TORCH=cuda` does not change it.
TORCH ?= $(or $(patsubst $(VENV)/.installed-%,%,$(firstword $(wildcard $(VENV)/.installed-*))),cpu)
TORCH_VERSION ?= 2.13.0
STAMP := $(VENV)/.installed-$(TORCH)

# python3 where it is new enough, else the newest of the others that is installed.
NEW_ENOUGH := -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
ifndef PYTHON
PYTHON := $(firstword $(foreach name,python3 python3.13 python3.12 python3.11,\
	$(shell $(name) $(NEW_ENOUGH) && echo $(name))))
endif

.PHONY: help install demo test lint types docs clean

help:
	@sed -n '2,6s/^# //p' Makefile

install: $(STAMP)

$(STAMP): pyproject.toml Makefile scripts/install_torch.py
	@test -n "$(PYTHON)" && $(PYTHON) $(NEW_ENOUGH) || \
	  { echo "Python 3.11 or later is needed: apt-get install python3.11, or PYTHON=..."; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || \
	  { rm -rf $(VENV) && $(PYTHON) -m venv $(VENV); } || \
	  { rm -rf $(VENV); echo "no venv module: apt-get install $(PYTHON)-venv"; exit 1; }
	@echo "installing into $(VENV); a few minutes the first time"
	$(BIN)/python scripts/install_torch.py $(TORCH) $(TORCH_VERSION)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  -e '.[speech,text,st,typology,hf,onnx,ray,search,serve,engine,mic,dev]'
	@rm -f $(VENV)/.installed-*
	@touch $@

demo: $(STAMP)
	$(BIN)/isogloss demo $(DEMO)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

test: lint types
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --cov \
	  --cov-report=term $(PYTEST)

docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

clean:
	rm -rf $(VENV) site .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
