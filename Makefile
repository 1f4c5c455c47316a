# One virtual environment for everything. `make help` lists the targets.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt

# A file of tests goes to one process, in the order of tests/conftest.py.
PYTEST := $(BIN)/python -m pytest -rsfE -n auto --dist loadfile --no-loadscope-reorder
SANITIZERS := -fsanitize=address,undefined -fno-sanitize-recover=all

.PHONY: help run test faults sanitize audit bench tables docs lint format clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/.run ## install, train MAF (5) and the Gaussian on the bundled digits, show the table
	$(BIN)/maf-run
	$(BIN)/maf-run model=gaussian
	$(BIN)/maf-table

test: $(VENV)/.test ## run the tests; MAF_RUNNER_RAW_DIR=DIR adds those on real data
	OMP_NUM_THREADS=1 $(PYTEST)

faults: $(VENV)/.test ## make every fault the tests know: kills, full disks, hostile files; half an hour or more
	MAF_RUNNER_ALL_FAULTS=1 OMP_NUM_THREADS=1 $(PYTEST) tests/faults

sanitize: $(VENV)/.test ## test the native engine under the address and undefined-behaviour sanitizers of g++
	rm -rf build/sanitize && mkdir -p build/sanitize
	cp -r maf_runner tests conf hydra_plugins setup.py pyproject.toml README.md LICENSE build/sanitize
	rm -f build/sanitize/maf_runner/engine/native/_library*
	cd build/sanitize && MAF_RUNNER_NATIVE_FLAGS="$(SANITIZERS)" $(abspath $(BIN))/python setup.py --quiet build_ext --inplace
	cd build/sanitize && PYTHONPATH=. OMP_NUM_THREADS=1 ASAN_OPTIONS=detect_leaks=0 \
	  LD_PRELOAD="$$(g++ -print-file-name=libasan.so) $$(g++ -print-file-name=libubsan.so)" \
	  $(abspath $(BIN))/python -m pytest -q -p no:cacheprovider tests/engine/test_native.py

audit: $(VENV)/.run ## look up known vulnerabilities of the pinned versions; 2: not all could be checked
	$(PIP) pip-audit
	$(BIN)/python scripts/audit.py

bench: $(VENV)/.run ## time training, evaluation and sampling beside other libraries
	$(PIP) -e '.[plot,bench]'
	$(BIN)/python scripts/benchmark.py

tables: $(VENV)/.run ## make results/reports/ and the README's comparison from results/records/
	$(BIN)/python scripts/update_tables.py

docs: $(VENV)/.test ## make the site of docs/ in build/site; a broken link is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet --site-dir build/site

lint: $(VENV)/.test ## check format, style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/.test ## format the code, sort the imports
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## remove the environment and what tools leave behind; results and data stay
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache

$(VENV)/.run: pyproject.toml constraints.txt setup.py $(wildcard maf_runner/engine/native/src/*)
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(PIP) -e '.[plot]'
	@touch $@

$(VENV)/.test: $(VENV)/.run
	$(PIP) -e '.[plot,dev]'
	@touch $@
