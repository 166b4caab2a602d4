# The commands that people and CI use; `make` alone lists them.

PORT ?= 8000
PYTHON ?= python3
ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
CHROMIUM := $(or $(shell which chromium),/usr/bin/chromium)
REDIS := $(or $(shell which redis-server),/usr/bin/redis-server)
FONT := NotoColorEmoji.ttf
EMOJI := $(or $(firstword $(wildcard /usr/share/fonts/*/$(FONT) /usr/share/fonts/*/*/$(FONT))),/usr/share/fonts/truetype/noto/$(FONT))
# onnxruntime and onnxruntime-gpu own the same folder in site-packages: never both.
RUNTIME = $(shell nvidia-smi >/dev/null 2>&1 && echo gpu || echo cpu)
OTHER = $(if $(filter gpu,$(RUNTIME)),onnxruntime,onnxruntime-gpu)
PIP = $(BIN)/pip --disable-pip-version-check
INSTALL = $(PIP) install --quiet --constraint requirements.lock --editable

.PHONY: help serve test install lint bench clean

help: ## lists the commands
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST)

serve: $(VENV)/stamp-serve ## installs what serving needs, and serves on http://127.0.0.1:8000; PORT= changes the port
	@echo "starting Recast on http://127.0.0.1:$(PORT)"
	@exec $(BIN)/recast serve --port $(PORT)

test: install $(CHROMIUM) $(EMOJI) $(REDIS) ## runs every test; ARGS= goes to pytest
	@echo "running the tests"
	@$(BIN)/pytest --numprocesses auto --maxprocesses 4 --dist loadfile $(ARGS)

install: $(VENV)/stamp-full ## installs everything into .venv: service, training, tests

lint: install ## checks style, types and import rules
	@echo "checking style, types and import rules"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: install ## runs the benchmarks of benchmarks/, but faces, which needs pictures
	@for name in $(filter-out faces _%,$(basename $(notdir $(wildcard benchmarks/*.py)))); do \
		echo "running benchmarks/$$name.py"; $(BIN)/recast bench $$name || exit; \
	done

clean: ## removes .venv and every cache; data and runs stay
	@echo "removing .venv and caches"
	@rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/stamp-serve: pyproject.toml requirements.lock | $(VENV)/bin/pip
	@echo "installing the service ($(RUNTIME)) into $(VENV): 270 MB on a CPU, a minute or two"
	@$(PIP) uninstall --quiet --quiet --yes $(OTHER)
	@$(INSTALL) '.[$(RUNTIME)]'
	@touch $@

$(VENV)/stamp-full: pyproject.toml requirements.lock | $(VENV)/bin/pip
	@echo "installing everything ($(RUNTIME)) into $(VENV): PyTorch is large, so it takes some minutes"
	@$(PIP) uninstall --quiet --quiet --yes $(OTHER)
	@$(INSTALL) '.[$(RUNTIME),queue,otel,train,dev]'
	@touch $(VENV)/stamp-serve $@

$(VENV)/bin/pip:
	@echo "making $(VENV)"
	@scripts/venv $(PYTHON) $(VENV)

$(CHROMIUM):
	@echo "installing Chromium, for the tests of the page"
	@scripts/apt-install chromium

$(REDIS):
	@echo "installing Redis, for the tests of service and workers"
	@scripts/apt-install redis-server

$(EMOJI):
	@echo "installing the emoji font, for data sets"
	@scripts/apt-install fonts-noto-color-emoji
