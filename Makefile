# `make run` shows the whole product, `make test` proves it, `make` is what CI runs.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Where torch comes from. CPU only: make run TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=
VERSION := $(shell sed -n 's/^__version__ = "\(.*\)"/\1/p' nordiq_watch/__init__.py)
SCRIPTS := nordiq_watch/web/console/static tests/web/console/javascript
KERNEL := $(wildcard nordiq_watch/network/kernel/*.* nordiq_watch/network/kernel/*/*.* nordiq_watch/json_rows/*.cpp nordiq_watch/ingest/kernel/*.*)
TORCH := $(shell grep -o '^torch==[^ ]*' requirements.txt)
# One process per core; a file stays in one process, and slow files begin first (tests/conftest.py). ARGS=-n0: in one.
PARALLEL := -n logical --dist loadfile --no-loadscope-reorder

.PHONY: all run starter quick test coverage test-threads test-long test-system test-sanitizers gpu lint types format bench docs screenshots requirements licences sbom dist release clean
all: lint types test

$(VENV)/.runtime: requirements.txt pyproject.toml setup.py $(KERNEL)
	test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	@echo 'Installing what requirements.txt pins into $(VENV): some minutes, most of them for $(TORCH)'
	$(BIN)/python -m pip install --quiet $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $(TORCH)
	$(BIN)/python -m pip install --quiet -r requirements.txt
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	touch $@

$(VENV)/.dev: $(VENV)/.runtime
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

run: $(VENV)/.runtime
	$(BIN)/python -m nordiq_watch demo $(ARGS)

quick: $(VENV)/.dev  # for every save: all but what trains, starts a daemon or takes long; under two minutes on two cores
	$(BIN)/python -m pytest -m 'not slow' $(PARALLEL) $(ARGS)

test: $(VENV)/.dev
	$(BIN)/python -m pytest $(PARALLEL) $(ARGS)

coverage: $(VENV)/.dev  # what `make quick` runs of the package, in lines and branches
	$(BIN)/python -m pytest -m 'not slow' $(PARALLEL) --cov --cov-report=term:skip-covered $(ARGS)

test-threads: $(VENV)/.dev  # those that share state between threads, with eager switching
	EAGER_SWITCHING=1 $(BIN)/python -m pytest -m threads --ignore tests/faults/test_leaks.py $(PARALLEL) $(ARGS)

test-long: $(VENV)/.dev  # at full length what `make test` runs a short pass of: about an hour
	NORDIQ_TEST_LONG=1 $(BIN)/python -m pytest -m long --timeout 3600 -rP $(PARALLEL) $(ARGS)

test-sanitizers: $(VENV)/.dev  # the C++ kernel under AddressSanitizer and UndefinedBehaviorSanitizer; needs g++
	$(BIN)/python -m pytest tests/network/sanitized.py $(ARGS)

gpu: $(VENV)/.dev  # on a machine with a GPU, in some ten minutes: what needs one, and how fast it is there
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	$(BIN)/python -m pytest -m gpu -n0 --timeout 120 $(ARGS)
	timeout 120 $(BIN)/python benchmarks/forecast.py --device cuda --fleets 500 5000
	timeout 120 $(BIN)/python benchmarks/train.py --device cuda --quick
	timeout 120 $(BIN)/python benchmarks/reload.py --device cuda --quick
	timeout 120 $(BIN)/python benchmarks/reload.py --device cuda --quick --policy unload_first

BENCHMARKS := reload detect feed flood soak console forecast precision answers start train loading imports quality alerts bands million first_forecast

test-system: $(VENV)/.dev  # as root, with debootstrap and systemd-container installed
	$(BIN)/python -m pytest tests/system/lifecycle.py $(ARGS)

bench: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	for name in $(BENCHMARKS); do $(BIN)/python benchmarks/$$name.py $(ARGS) || exit 1; done

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/hadolint Dockerfile
	$(BIN)/clang-format --dry-run --Werror $(KERNEL)
	$(BIN)/oxlint --deny-warnings $(SCRIPTS)

types: $(VENV)/.dev
	$(BIN)/mypy

starter: $(VENV)/.dev  # the model that ships with the program, anew from its seed: some minutes on one core
	OMP_NUM_THREADS=1 $(BIN)/python -m nordiq_watch.training.starter nordiq_watch/data/starter

docs: $(VENV)/.dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

screenshots: $(VENV)/.dev
	$(BIN)/python docs/screenshots.py

# Every dependency of pyproject.toml and all that these need, pinned. Pins stay as they are: ARGS=--upgrade moves them.
requirements: $(VENV)/.dev
	$(BIN)/uv pip compile --quiet --python-version 3.11 --python-platform linux --extra train --annotation-style line \
	    --custom-compile-command 'make requirements' --output-file requirements.txt pyproject.toml $(ARGS)

licences: $(VENV)/.dev
	{ echo '# Licences of the dependencies'; echo; \
	  echo 'What the packages of `requirements.txt` say of themselves. Written by `make licences`.'; echo; \
	  $(BIN)/uvx pip-licenses==5.5.5 --python $(BIN)/python --from mixed --format markdown --no-version --with-system \
	    --packages $$(sed -n 's/^\([^#=]*\)==.*/\1/p' requirements.txt); } > docs/licences.md

sbom: $(VENV)/.dev  # CycloneDX, in dist/
	mkdir -p dist && $(BIN)/uvx --from cyclonedx-bom==7.5.0 cyclonedx-py requirements --pyproject pyproject.toml \
	    --output-file dist/sbom.json requirements.txt

dist: $(VENV)/.dev
	$(BIN)/python -m build

# Tags the version that nordiq_watch/__init__.py names, once CHANGELOG.md has its heading and all tests pass, and builds it.
release: $(VENV)/.dev
	test -z "$$(git status --porcelain)" || { echo 'commit first: the tree is not clean'; exit 1; }
	grep -q '^## $(VERSION) ' CHANGELOG.md || { echo 'CHANGELOG.md has no heading "## $(VERSION) – DATE"'; exit 1; }
	! git rev-parse -q --verify 'refs/tags/v$(VERSION)' || { echo 'v$(VERSION) is released already'; exit 1; }
	$(MAKE) all dist sbom
	git tag -a 'v$(VERSION)' -m 'nordiq_watch $(VERSION)'
	@echo 'now: git push origin v$(VERSION), and upload what is in dist/'

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(KERNEL)

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache demo
