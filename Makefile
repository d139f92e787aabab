# Two commands set up everything they need: `make run` and `make test`. Only Python 3.11 and make are assumed.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
ROWS ?= 20000
BENCH_ROWS ?= 400000
export TF_CPP_MIN_LOG_LEVEL ?= 2

.PHONY: install run test lint format bench lock clean

install: $(VENV)/.installed

$(VENV)/.installed: requirements.lock pyproject.toml setup.py
	@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) not found; set PYTHON=/path/to/python3.11"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@echo "installing into $(VENV)"
	@# Compiled here, once: TensorFlow alone takes 6 seconds to compile, in every process where nothing may be written.
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --require-hashes --compile-bytecode -r requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

run: install
	@$(BIN)/aiqleads data generate --rows $(ROWS) --seed 7 --out build/data
	@$(BIN)/aiqleads run configs/lead_scoring.yaml configs/recommendation.yaml
	@$(BIN)/aiqleads serve --check
	@$(BIN)/aiqleads report configs/lead_scoring.yaml
	@$(BIN)/aiqleads report configs/recommendation.yaml

test: lint
	@$(BIN)/python -m pytest tests

lint: install
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

format: install
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: install
	@for name in ingest pipeline forest; do $(BIN)/aiqleads bench $$name --rows $(BENCH_ROWS) || exit 1; done

# Needed only when dependencies change. The file pins everything with hashes and names no index.
lock: install
	@$(BIN)/uv pip compile --quiet pyproject.toml --extra dev --python-version 3.11 --generate-hashes --no-header -o requirements.lock

clean:
	rm -rf build .mypy_cache .ruff_cache .hypothesis
