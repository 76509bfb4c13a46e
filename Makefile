# `make demo` and `make test` are all that a newcomer needs. Both set up `.venv` first, once.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
CORPUS ?=
PEERS ?= $(BIN)/python

# One thread a process: the tests run several at a time, and sums in a fixed order give the same digits everywhere.
export OMP_NUM_THREADS = 1
export MKL_NUM_THREADS = 1

.PHONY: help setup demo test docs rule bench-calibration bench-overhead bench-beside bench-memory bench-check bench-judgements clean

help:
	@echo "make demo              run the doctor on examples/digits.py"
	@echo "make test              every check: format, lint, types, tests"
	@echo "make docs              write docs/rules/ again from the rules"
	@echo "make rule NAME=some-fault FAMILY=loss       start a new rule"
	@echo "make bench-calibration healthy and sick programs by the hundred: detection, false alarms, thresholds"
	@echo "make bench-overhead    what watching costs, against a bare run"
	@echo "make bench-beside PEERS=python              the same beside wandb.watch, Cockpit and TrainCheck"
	@echo "make bench-memory      what a run of 100,000 steps leaves on disk and in memory"
	@echo "make bench-check CORPUS='folders'           'torchdx check' beside ast.parse, torchfix and torch-preflight"
	@echo "make bench-judgements CORPUS='folders'      how many of its findings there are true"
	@echo "make clean             remove what was built, .venv too"

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps --upgrade \
		--target .venv/vision/site-packages torchvision
	@touch $@

demo: $(READY)
	$(BIN)/torchdx run examples/digits.py

test: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow"

docs: $(READY)
	$(BIN)/python -m torchdx.pages docs/rules

rule: $(READY)
	@$(BIN)/python tools/new_rule.py "$(NAME)" "$(FAMILY)"

bench-calibration: $(READY)
	PYTHONPATH=bench $(BIN)/python bench/calibration/run.py

bench-overhead: $(READY)
	$(BIN)/python bench/overhead.py

bench-beside: $(READY)
	$(BIN)/python bench/beside.py --python $(PEERS)

bench-memory: $(READY)
	$(BIN)/python bench/memory.py

bench-check: $(READY)
	$(BIN)/python bench/check.py $(CORPUS)

bench-judgements: $(READY)
	$(BIN)/python bench/judgements.py $(CORPUS)

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache torchdx-runs
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
