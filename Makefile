# Every target needs a Python from 3.10 and a Rust toolchain, nothing else.
PYTHON ?= python3
BIN := .venv/bin
RUST := Cargo.toml Cargo.lock $(wildcard rust/*/Cargo.toml rust/py/build.rs) \
	$(shell find rust -name '*.rs')

.PHONY: help install test lint format wheel clean

help:  ## What can be made
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

install: .venv/installed  ## .venv with the extension built in release mode

.venv/installed: pyproject.toml $(RUST)
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade "pip>=24"
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	@touch $@

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

wheel: install  ## One abi3 wheel in dist/
	$(BIN)/maturin build --release --locked --out dist

clean:  ## Remove everything that was built
	rm -rf .venv target dist python/backprop_svc/_core*.so
