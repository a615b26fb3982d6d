PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# The environment variable holds for packages that pip has to build, too. Python compiles a module when it is first
# imported, and keeps that: compiling all that is installed would take longer than downloading it, and 300 MB.
INSTALL := PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet --no-compile
export PYTHONDONTWRITEBYTECODE :=
OLD_PYTHON := the pinned versions need Python 3.11 or newer: make PYTHON=python3.11

.PHONY: env search test test-slow test-extras test-older-cpu lint docs clean

search: env
	$(BIN)/erde-nas search quickstart --out runs/quickstart

test: $(VENV)/.test # a process on each of two cores; a file's tests stay together, since they share what they prepared
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow and not extra"

test-slow: $(VENV)/.test
	$(BIN)/python -m pytest -m "slow and not extra"

test-extras: $(VENV)/.extras # the optional runtimes and Ray, where they can be installed
	$(BIN)/python -m pytest -m extra

# Those whose results depend on the CPU's instructions, as on one with AVX2 alone.
test-older-cpu: $(VENV)/.test
	tests/older_cpu/run $(BIN)/python -m pytest -m "not slow and not extra" tests/compression tests/device tests/onnx_files \
		tests/measurement/test_int8_form.py tests/measurement/test_profiling.py tests/distil/training/test_calibrate.py

lint: $(VENV)/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python .ci/long_functions.py erde_nas

docs: $(VENV)/.docs # the pages of site/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

env: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("$(OLD_PYTHON)" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) -e .
	touch $@

$(VENV)/.test: $(VENV)/.installed
	$(INSTALL) -e '.[test]'
	touch $@

$(VENV)/.lint: $(VENV)/.installed
	$(INSTALL) -e '.[lint]'
	touch $@

$(VENV)/.docs: $(VENV)/.installed
	$(INSTALL) -e '.[docs]'
	touch $@

$(VENV)/.extras: $(VENV)/.test
	$(INSTALL) -e '.[openvino,executorch,ray]'
	touch $@

clean:
	rm -rf .venv dist build site .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
