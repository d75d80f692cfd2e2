# Two commands on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export OMP_NUM_THREADS ?= 1
export OPENBLAS_NUM_THREADS ?= 1
export MKL_NUM_THREADS ?= 1
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: help setup demo test test-faults readers bench clean

help:
	@echo "make demo    an autonomous experiment on the simulated microscope, with a report"
	@echo "make test    every check: lint, types, layers, tests (BEAMLOOP_DATA=FOLDER adds recorded data, BEAMLOOP_CRASHES=200 more crashes)"
	@echo "make test-faults  every fault: 100,000 schedules in virtual time, 300 with real processes, 90 over a bad network, a million adversarial commands; an hour or two (BEAMLOOP_FAULTS=1000 for fewer)"
	@echo "make readers opens our files with SciFiReaders, HyperSpy and py4DSTEM, in environments of their own"
	@echo "make bench   every benchmark, small cases"

setup: $(VENV)/installed

$(VENV)/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "beamloop needs Python >= 3.11; name one with PYTHON=..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[all,dev]'
	@touch $@

demo: setup
	$(BIN)/beamloop run examples/simulator.toml --instrument simulator

test: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/python -m pytest

test-faults: setup
	BEAMLOOP_FAULTS=$${BEAMLOOP_FAULTS:-all} $(BIN)/python -m pytest tests/faults -v -s

readers: setup .readers/nsid_and_hyperspy/installed .readers/py4dstem/installed
	$(BIN)/python -m pytest tests/conformance -v

.readers/%/installed: tests/conformance/%.txt
	$(PYTHON) -m venv .readers/$*
	.readers/$*/bin/python -m pip install --quiet --requirement $<
	@touch $@

bench: setup
	$(BIN)/python benchmarks/loop.py --quick
	$(BIN)/python benchmarks/stop.py --quick
	$(BIN)/python benchmarks/channel.py --quick
	$(BIN)/python benchmarks/soak.py --quick
	$(BIN)/python benchmarks/simulator.py --quick
	$(BIN)/python benchmarks/journal.py --quick
	$(BIN)/python benchmarks/regret.py --quick
	$(BIN)/python benchmarks/deep_kernel.py --quick

clean:
	rm -rf $(VENV) .readers build *.egg-info
