# tickertape: `make serve` and `make test` set up everything they need, on a machine with Python >= 3.11.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' Makefile | expand -t 16

.PHONY: install
install: $(VENV)/.installed ## Make .venv with tickertape and the built-in model's runtime

$(VENV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "tickertape needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Say make PYTHON=python3.12, for example.")'
	@echo "Setting up $(VENV) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(PIP) install --upgrade pip 2>/dev/null || $(PIP) install --upgrade pip
	@$(PIP) install --editable '.[local]'
	@touch $@

.PHONY: serve
serve: install ## Serve the page and the API on http://127.0.0.1:8000 (ARGS="--help" for options)
	@$(BIN)/tickertape serve $(ARGS)

.PHONY: test
test: test-tools ## Run the tests
	@$(BIN)/python -m pytest -n 2 --dist worksteal -m "not soak" $(ARGS)

.PHONY: soak
soak: test-tools ## Run the long fault and load tests
	@$(BIN)/python -m pytest -m soak -s $(ARGS)

.PHONY: mutants
mutants: test-tools ## Take out what keeps the promises, piece by piece, and see the tests fail (ARGS="TT-4" for a part)
	@cd tests && ../$(BIN)/python -m faults.mutants $(ARGS)

.PHONY: simulate
simulate: test-tools ## Simulate 1000 runs of the server with faults (ARGS="--seeds 100000 --from 5000", or "--seed 372" to see one)
	@cd tests && PYTHONHASHSEED=0 ../$(BIN)/python -m simulation $(ARGS)

.PHONY: check
check: test-tools ## Lint, types, layers; the JavaScript's types where npx is there
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@if command -v npx >/dev/null; then npx --yes --package typescript@5 tsc -p tests/page/types; fi

.PHONY: bench
bench: test-tools ## Run the benchmarks beside their rivals (ARGS=--quick for a first impression)
	@for file in bench/decode.py bench/bench_*.py; do $(BIN)/python $$file $(ARGS) || exit 1; done

.PHONY: pictures
pictures: test-tools ## Take the pictures of the documents from the running program
	@$(PIP) install pillow
	@$(BIN)/python docs/pictures.py $(ARGS)

.PHONY: truth
truth: test-tools ## Write docs/truth.md: every upstream fault, as we and others report it
	@PYTHONPATH=tests $(BIN)/python -m truth $(ARGS)

.PHONY: test-tools
test-tools: $(VENV)/.test-tools
	@sh tests/setup.sh

$(VENV)/.test-tools: $(VENV)/.installed pyproject.toml
	@echo "Setting up the test tools ..."
	@$(PIP) install --group test --group check
	@touch $@
