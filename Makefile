# Two commands do everything on a fresh Debian or Ubuntu machine with Python 3.11 and make:
#   make demo    train on synthetic dialects, retrieve, write isogloss-demo/report.html
#   make test    lint, type check and test
# TORCH=cuda installs the CUDA build of torch; the default is the CPU build.

PYTHON ?= python3
TORCH ?= cpu
TORCH_VERSION ?= 2.13.0
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed-$(TORCH)

.PHONY: help install demo test lint types docs clean

help:
	@sed -n '2,4p' Makefile

install: $(STAMP)

$(STAMP): pyproject.toml Makefile
	@command -v $(PYTHON) >/dev/null || { echo "no $(PYTHON): install Python 3.11 or later, or say PYTHON=..."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is older than 3.11: say PYTHON=python3.11"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo "no venv module: apt-get install python3-venv"; exit 1; }
	$(BIN)/python scripts/install_torch.py $(TORCH) $(TORCH_VERSION)
	$(BIN)/pip install --quiet --disable-pip-version-check -e '.[speech,dev]'
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
	$(BIN)/python -m pytest --cov --cov-report=term $(PYTEST)

docs: $(STAMP)
	$(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) site .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage
