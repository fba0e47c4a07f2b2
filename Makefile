# Everything a newcomer needs: `make demo` and `make test`. Both make the environment when it is missing.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin

# The benchmarks compare with Flower, which holds back some of our dependencies: so they have an environment of their own.
BENCH  ?= .venv-bench

.PHONY: demo test smoke test-long check bench bench-robustness bench-rewards clean

demo: $(VENV)/.run
	$(BIN)/folkmoot demo $(ARGS)

test: $(VENV)/.dev check
	$(BIN)/python -m pytest -m "not long" -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

# For each further Python that is promised: the whole demo, from founding to the replay of every round.
smoke: $(VENV)/.run
	$(BIN)/folkmoot demo --rounds 5

test-long: $(VENV)/.dev
	$(BIN)/python -m pytest -m long $(ARGS)

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(BENCH)/.bench
	$(BENCH)/bin/python -m benchmarks --write docs/benchmarks.md $(ARGS)

bench-robustness: $(VENV)/.dev
	$(BIN)/python -m benchmarks robustness --write docs/robustness.md $(ARGS)

bench-rewards: $(VENV)/.dev
	$(BIN)/python -m benchmarks rewards --write docs/rewards.md $(ARGS)

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info < (3, 13) else "folkmoot runs on Python 3.11 and 3.12, and this is " + sys.version.split()[0] + ": pyrevm, which runs its contracts, has no build for a later one. Name another: make PYTHON=python3.12 demo")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	# byzfl, the oracle of the robust rules, asks for a torchvision that would replace torch: only its code is wanted
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps byzfl==0.0.11
	@touch $@ $(VENV)/.run

$(BENCH)/.bench: pyproject.toml
	$(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,bench]'
	@touch $@

clean:
	rm -rf $(VENV) $(BENCH)
