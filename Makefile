# The daily commands; CI runs the same ones. `make help` lists them.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CHAIN := tests/chain/node_modules/.package-lock.json
BROWSER := tests/browser/node_modules/.package-lock.json
DRAWS := packaging/diagrams/node_modules/.package-lock.json

.PHONY: help demo test chain predict sim machines cluster audit lint format bench docs site wheel clean

help: ## what can be made
	@grep -E '^[a-z]+:.*##' Makefile | sed 's/:.*##/\t/' | expand -t 12

PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# The kernels are compiled on the one core while the rest is installed on the other.
$(STAMP): pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade "pip>=25.1"
	$(PIP) numba numpy msgspec
	$(BIN)/python -m xarb.warm engine & engine=$$!; \
	$(BIN)/python -m xarb.warm venues & venues=$$!; \
	$(PIP) --editable . --group dev && wait $$engine && wait $$venues
	@touch $(STAMP)

demo: $(STAMP) ## install if needed, run the backtest of the shipped recording, say what came out and what to type next
	@$(BIN)/xarb demo

# A local EVM node and the contracts that the chain tests deploy on it, by the versions of its lock file.
$(CHAIN): tests/chain/package-lock.json
	@if command -v npm >/dev/null; then npm ci --prefix tests/chain --silent && touch $@; \
	else echo "no npm: the chain tests are left out"; fi

# A browser in which tests open the pages that we write, by the versions of its lock file; laid out once, as it comes packed.
$(BROWSER): tests/browser/package-lock.json
	@if command -v npm >/dev/null; then npm ci --prefix tests/browser --silent && touch $@ \
	&& { node tests/browser/look.mjs || echo "the browser cannot be laid out here: the test of pages in it says why"; }; \
	else echo "no npm: the tests of pages in a browser are left out"; fi

# What draws the diagrams of the documentation's site.
$(DRAWS): packaging/diagrams/package-lock.json
	@if command -v npm >/dev/null; then npm ci --prefix packaging/diagrams --silent && touch $@; \
	else echo "no npm: the diagrams of the site stay text"; fi

test: $(STAMP) $(CHAIN) $(BROWSER) $(DRAWS) lint ## everything: lint, types, import contracts, tests, documentation examples
	$(BIN)/python -m pytest -n 4 --dist worksteal

chain: $(STAMP) $(CHAIN) ## a local chain with real contracts and a market that moves, until Ctrl-C; CHAIN_ARGS="--interval 1 --rate 5"
	@$(BIN)/python -m tests.chain $(CHAIN_ARGS)

predict: $(STAMP) $(CHAIN) ## backtests of local chains beside sessions that trade on them, eight seeds, some ten minutes; PREDICT_ARGS="--seeds 2"
	@$(BIN)/python -m tests.chain.predict $(PREDICT_ARGS)

sim: $(STAMP) ## 25,000 fixed simulated worlds and 2,000 fresh ones on all cores; names each broken one
	$(BIN)/python -m tests.simulation 25000 --fresh 2000

machines: $(STAMP) ## stateful machines of books, orders and the log in thousands of drawn courses, about half an hour
	$(BIN)/python -m tests.machines

cluster: $(STAMP) ## install Ray (80 MB) and sweep on a local cluster of two nodes; not part of CI
	$(PIP) --editable ".[ray]"
	$(BIN)/python -m pytest -n 0 tests/verbs/sweep/test_cluster.py

audit: $(STAMP) ## ask a database on the network for known weaknesses of the locked dependencies; not part of CI
	$(PIP) --group audit
	$(BIN)/python packaging/audit.py

lint: $(STAMP) ## ruff, mypy, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP) ## let ruff format and mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(STAMP) ## the benchmarks; prints ratios, judges nothing
	$(BIN)/python -m bench

docs: $(STAMP) ## write the pages that are made from code: help pages, events, config keys, life cycles
	$(BIN)/python docs/generate.py

site: $(STAMP) $(DRAWS) ## the documentation as a site in build/site; SITE_ARGS=serve shows it while pages are written
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs $(or $(SITE_ARGS),build)

wheel: $(STAMP) ## wheel and sdist in dist; installs the wheel in an empty environment and runs the demo there, some minutes
	rm -rf dist build/wheel && $(PIP) build && $(BIN)/python -m build --outdir dist .
	$(PYTHON) -m venv build/wheel && build/wheel/bin/python -m pip install --quiet --disable-pip-version-check dist/*.whl
	cd build/wheel && PYTHONSAFEPATH=1 bin/xarb demo

clean: ## remove caches and runs
	rm -rf runs .mypy_cache .ruff_cache .hypothesis .import_linter_cache build dist
	find xarb tests bench docs -name __pycache__ -type d -prune -exec rm -rf {} +
