# Two commands: `make demo` and `make test`. Each sets up all it needs in a virtual environment of this checkout.

PYTHON ?= python3
VENV := .venv
FLOOR := .venv-floor
SDK := .venv-sdk
# LlamaIndex between the oldest and the newest, and on both sides of the workflows that changed how runs begin.
MATRIX := 0.14.12 0.13.6 0.14.12-workflows-2.11.0 0.14.12-workflows-2.14.0
DATA := $(wildcard ../shared/data/locomo-two.json)
BIN := $(VENV)/bin
.DEFAULT_GOAL := help
.PHONY: help demo test check floor matrix servers bench prove pythons soak protos clean

help: ## Show what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(VENV)/.demo: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "setting up $(VENV) (once)…" >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[demo]'
	@touch $@

$(VENV)/.test: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "setting up $(VENV) for the tests (once)…" >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[test]'
	@touch $(VENV)/.demo $@

$(FLOOR)/.test: pyproject.toml
	@test -x $(FLOOR)/bin/python || $(PYTHON) -m venv $(FLOOR)
	@echo "setting up $(FLOOR): the oldest supported frameworks (once)…" >&2
	@$(FLOOR)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[floor]'
	@touch $@

.venv-llamaindex-%/.test: pyproject.toml
	@test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	@echo "setting up $(@D) (once)…" >&2
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[matrix]' \
		llama-index-core==$(subst -workflows-, llama-index-workflows==,$*)
	@touch $@

# The platform's own SDK, by itself. Where no index has it, the conformance run is skipped and says why.
$(SDK)/.test: pyproject.toml
	@test -x $(SDK)/bin/python || $(PYTHON) -m venv $(SDK)
	@echo "setting up $(SDK): the platform's own SDK (once)…" >&2
	@$(SDK)/bin/python -c 'import tomllib; extras = tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]; print(*extras["sdk"], sep="\n")' > $(SDK)/requirements.txt
	@$(SDK)/bin/python -m pip install --quiet --disable-pip-version-check -r $(SDK)/requirements.txt 2> $(SDK)/.log \
		|| grep -q "No matching distribution" $(SDK)/.log || { cat $(SDK)/.log >&2; exit 1; }
	@touch $@

$(VENV)/.servers: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "setting up $(VENV) for more servers (once, some minutes)…" >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[servers]'
	@touch $(VENV)/.demo $(VENV)/.test $@

$(VENV)/.bench: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "setting up $(VENV) for the benchmarks (once)…" >&2
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[bench]'
	@touch $(VENV)/.demo $@

demo: $(VENV)/.demo ## Run the main job: capture, keep, push context back
	@$(BIN)/synap demo $(if $(DATA),--data $(DATA))

test: check floor $(SDK)/.test ## Run every check and every test, on the newest and the oldest supported frameworks
	@$(BIN)/python -m pytest -m "not soak" -n 2 --dist worksteal

check: $(VENV)/.test ## Run the quick checks: style, types, layers
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache --no-logo
	@echo "check: all passed"

floor: $(VENV)/.test $(FLOOR)/.test ## Run the framework tests on the oldest supported versions
	@$(FLOOR)/bin/python -m pytest tests/frameworks -m "not soak" -n 2 --dist worksteal

matrix: $(MATRIX:%=.venv-llamaindex-%/.test) ## Run LlamaIndex's tests on the versions in between
	@$(foreach version,$(MATRIX),echo "LlamaIndex $(version)" && .venv-llamaindex-$(version)/bin/python -m pytest -q \
		-m "not soak" tests/contracts/test_island_contract.py $(wildcard tests/frameworks/test_llamaindex_*.py) && ) true

servers: $(VENV)/.servers ## Run zero code under streamlit, daphne and Django, too
	@$(BIN)/python -m pytest tests/zero_code -k "streamlit or daphne or django"

bench: $(VENV)/.bench ## Measure: added time, memory and throughput, beside the peers
	@$(BIN)/python benchmarks/run.py

prove: $(VENV)/.test ## Measure what is promised, and print one table (half an hour; ARGS=--short for two minutes)
	@$(BIN)/python tests/proofs $(ARGS)

# Other Pythons than the one of $(VENV): those that start by these names, or PYTHONS='/path/to/python3.13 …'.
PYTHONS ?= python3.12 python3.13

pythons: ## Run every test on Python 3.12 and 3.13, those of them that are found
	@set -e; for python in $(PYTHONS); do \
		if ! version=$$($$python -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null); then \
			echo "$$python was not found; name it with PYTHONS='/path/to/$${python##*/} …'"; continue; fi; \
		where=.venv-python-$$version; echo "Python $$version"; \
		test -x $$where/bin/python || $$python -m venv $$where; \
		$$where/bin/python -m pip install --quiet --disable-pip-version-check -e '.[test]'; \
		$$where/bin/python -m pytest -q -m "not soak" -n 2 --dist worksteal; \
	done

soak: $(VENV)/.test ## Run the slow proofs
	@$(BIN)/python -m pytest -m soak

protos: ## Regenerate the stream's wire messages after a change in protos/
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@$(BIN)/python protos/generate.py

clean: ## Remove the virtual environments and everything built
	@rm -rf $(VENV) $(FLOOR) $(SDK) .venv-llamaindex-* .venv-python-* dist .pytest_cache .mypy_cache .ruff_cache
