# make demo       set everything up and run perfkit's whole job on the bundled kernel
# make test       set everything up, lint, and run all tests
# make demo-full  the demo with the whole tuning loop
# make lint · make bench · make truth · make docs · make clean
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
# How long `make truth` adds to its table; it goes on where it was.
MINUTES ?= 60
BIN := $(CURDIR)/$(VENV)/bin
INSTALLED := $(VENV)/.installed
DEVELOP := $(VENV)/.installed-dev
KERNEL := $(VENV)/.installed-kernel
ENGINE_SOURCES := $(shell find toolkit/engine -name '*.rs' -o -name Cargo.toml) Cargo.toml Cargo.lock pyproject.toml
KERNEL_SOURCES := $(shell find kernel -name '*.rs' -o -name '*.toml') Cargo.toml Cargo.lock

.PHONY: help demo demo-full test lint unit bench truth docs clean require require-test

help:
	@sed -n 's/^# make/make/p' Makefile

require:
	@PYTHON="$(PYTHON)" bash .ci/require

require-test:
	@PYTHON="$(PYTHON)" bash .ci/require --test

$(INSTALLED): $(ENGINE_SOURCES) | require
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(DEVELOP): $(INSTALLED)
	$(BIN)/python -m pip install --quiet --group dev
	touch $@

$(KERNEL): $(KERNEL_SOURCES) $(DEVELOP)
	rm -rf target/kernel-wheel
	PATH="$(BIN):$$PATH" $(BIN)/maturin build --quiet --release --manifest-path kernel/Cargo.toml \
	    --interpreter $(BIN)/python --out target/kernel-wheel
	$(BIN)/python -m pip install --quiet --force-reinstall --no-deps target/kernel-wheel/*.whl
	touch $@

demo: $(INSTALLED)
	@PATH="$(BIN):$$PATH" bash .ci/demo --max-iterations 3 --time-limit 60s

demo-full: $(INSTALLED)
	@PATH="$(BIN):$$PATH" bash .ci/demo

# Rust and Python side by side, on a core each.
lint: $(DEVELOP)
	(cargo fmt --check && cargo clippy --quiet --workspace --all-targets --all-features -- -D warnings) &
	rust=$$!
	trap 'kill "$$rust" 2>/dev/null || true' EXIT
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/vulture
	$(BIN)/deptry toolkit
	cargo machete
	wait "$$rust"

# No unit test waits on a clock, so they may share the machine.
unit: $(DEVELOP)
	$(BIN)/python -m pytest --numprocesses 2 tests/unit

# Of the others, only those marked `beside` may: the rest time something, and must have it alone.
test: require-test lint unit $(KERNEL)
	cargo test --quiet --workspace --release
	PATH="$(BIN):$$PATH" $(BIN)/python -m pytest --durations=20 --numprocesses 2 --dist worksteal \
	    -m beside tests/integration tests/truth
	PATH="$(BIN):$$PATH" $(BIN)/python -m pytest --durations=40 -m 'not beside' \
	    tests/integration tests/truth

bench: $(KERNEL)
	$(BIN)/python -m pip install --quiet --group bench
	PATH="$(BIN):$$PATH" bash .ci/bench

truth: $(KERNEL)
	PATH="$(BIN):$$PATH" $(BIN)/python tests/truth/table.py run --minutes $(MINUTES)
	PATH="$(BIN):$$PATH" $(BIN)/python tests/truth/table.py show
	PATH="$(BIN):$$PATH" $(BIN)/python tests/truth/injected_delays.py run
	PATH="$(BIN):$$PATH" $(BIN)/python tests/truth/live_rules.py run
	PATH="$(BIN):$$PATH" $(BIN)/python -m pytest tests/truth/known_splits.py
	PATH="$(BIN):$$PATH" $(BIN)/python tests/truth/known_bounds.py run
	PATH="$(BIN):$$PATH" $(BIN)/python tests/truth/compared_captures.py run
	PATH="$(BIN):$$PATH" $(BIN)/python tests/truth/answers.py run
	PATH="$(BIN):$$PATH" $(BIN)/python tests/truth/table.py check

docs: $(INSTALLED)
	$(BIN)/python docs/make_reference.py
	$(BIN)/python docs/make_picture.py

clean:
	rm -rf $(VENV) target
