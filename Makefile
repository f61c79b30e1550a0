# Two commands: `make demo` and `make test`. Each creates the environment it needs.

VENV ?= .venv
PYTHON := $(shell command -v python3.11 || command -v python3)
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# Nothing phones home (src/prefpaint/__init__.py says the same for every other way of starting).
export DO_NOT_TRACK := 1
export DVC_NO_ANALYTICS := 1
export GX_ANALYTICS_ENABLED := false
export HF_HUB_DISABLE_TELEMETRY := 1
export KEDRO_DISABLE_TELEMETRY := 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test clean

demo: $(STAMP)
	$(BIN)/kedro run
	@echo
	@echo "Report:        $(CURDIR)/data/08_reporting/report.html"
	@echo "Aligned model: $(CURDIR)/data/06_models/release"

test: $(STAMP)
	$(BIN)/ruff format --check src tests benchmarks .ci
	$(BIN)/ruff check src tests benchmarks .ci
	$(BIN)/mypy
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[all]'
	touch $@

# Everything that a run makes; the environment, the base checkpoint and the judge stay.
clean:
	find data -mindepth 2 -maxdepth 2 ! -name .gitkeep ! -path data/01_raw/* ! -path data/06_models/base ! -path data/06_models/judge -exec rm -rf {} +
