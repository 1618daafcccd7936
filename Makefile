# Every target needs a Python from 3.10 and a Rust toolchain, nothing else.
PYTHON ?= python3
BIN := .venv/bin
RUST := Cargo.toml Cargo.lock $(wildcard rust/*/Cargo.toml rust/py/build.rs) \
	$(shell find rust -name '*.rs')

.PHONY: help install demo ui test lint format bench wheel clean

help:  ## What can be made
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

install: .venv/installed  ## .venv with the extension built in release mode

.venv/installed: pyproject.toml $(RUST)
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade "pip>=24"
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	@touch $@

demo: install  ## The guide's example and a small sweep on real data, tracked in mlflow.db
	$(BIN)/backprop-svc explain
	$(BIN)/backprop-svc train
	$(BIN)/backprop-svc sweep data=ames train.lr=0.05,0.1,0.2 init.w1=-0.5,0.5,1
	@echo
	@echo "The runs are in mlflow.db: look at them with 'make ui'."

ui: install  ## MLflow's UI on mlflow.db
	$(BIN)/backprop-svc ui

test: install  ## All tests, Rust and Python
	cargo test --quiet --locked
	$(BIN)/python -m pytest

lint: install  ## rustfmt, clippy, ruff, mypy, stubtest
	cargo fmt --check
	cargo clippy --quiet --locked --all-targets -- -D warnings
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/stubtest backprop_svc._core

format: install  ## Let rustfmt and ruff have their way
	cargo fmt
	$(BIN)/ruff check --fix --quiet
	$(BIN)/ruff format --quiet

bench: install  ## Our figures beside those of others, as ratios
	$(BIN)/python benchmarks/kernel.py
	$(BIN)/python benchmarks/tracking.py

wheel: install  ## One abi3 wheel in dist/
	$(BIN)/maturin build --release --locked --out dist

clean:  ## Remove everything that was built
	rm -rf .venv target dist python/backprop_svc/_core*.so
