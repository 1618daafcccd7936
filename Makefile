# Every target needs a Python from 3.10 and a Rust toolchain, nothing else.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
RUST := Cargo.toml Cargo.lock $(wildcard rust/*/Cargo.toml rust/py/build.rs) \
	$(shell find rust -name '*.rs')

.PHONY: help install demo ui test compatibility torture lint format bench wheel clean

help:  ## What can be made
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 15

install: .venv/installed  ## .venv with the command, its extension built in release mode

# The kernel takes about as long to compile as packages take to install: both at once. What
# goes wrong with it is said again by the next step, which takes up what was compiled.
.venv/packages: pyproject.toml
	@test -x $(BIN)/python || { echo "Creating .venv"; $(PYTHON) -m venv .venv; }
	@echo "Installing packages and compiling the kernel, a minute or two"
	@PYO3_PYTHON=$(abspath $(BIN))/python \
	cargo build --quiet --release --locked --package backprop-py & \
	$(PIP) --upgrade "pip>=26.3" && $(PIP) --only-deps . && wait
	@touch $@

.venv/installed: .venv/packages $(RUST)
	@echo "Building the extension"
	@$(PIP) --no-deps --editable .
	@touch $@

.venv/developed: .venv/installed
	@echo "Installing what tests and checks need"
	@$(PIP) --group dev
	@touch $@

demo: install  ## The guide's example and a small sweep on real data, tracked in mlflow.db
	$(BIN)/backprop-svc explain
	$(BIN)/backprop-svc train
	$(BIN)/backprop-svc sweep data=ames train.lr=0.05,0.1,0.2 init.w1=-0.5,0.5,1
	@echo
	@echo "The runs are in mlflow.db: look at them with 'make ui'."

ui: install  ## MLflow's UI on mlflow.db
	$(BIN)/backprop-svc ui

test: .venv/developed  ## All tests, Rust and Python
	@echo "Testing from Python, and beside it the core in Rust, which is shown at the end"
	@mkdir -p target
	@cargo test --quiet --locked > target/test.log 2>&1 & rust=$$!; \
	trap "kill $$rust" INT TERM; \
	$(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal; \
	python=$$?; wait $$rust; rust=$$?; cat target/test.log; exit $$((python | rust))

compatibility: .venv/developed  ## The oldest and the newest releases that are allowed
	$(BIN)/python tests/compatibility.py --jobs 2 oldest newest ray hydra-pre

torture: .venv/developed  ## Kills, hostile calls and random command lines, for hours
	$(BIN)/python tests/torture.py --sqlite 100 --postgresql 100 --server 100 \
	--calls 1000000 --commands 10000

lint: .venv/developed  ## rustfmt, clippy, ruff, mypy, stubtest
	cargo fmt --check
	cargo clippy --quiet --locked --all-targets -- -D warnings
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/stubtest backprop_svc._core

format: .venv/developed  ## Let rustfmt and ruff have their way
	cargo fmt
	$(BIN)/ruff check --fix --quiet
	$(BIN)/ruff format --quiet

bench: .venv/developed  ## Our figures beside those of others, for each instruction set
	$(BIN)/python benchmarks/kernel.py
	$(BIN)/python benchmarks/curvature.py
	$(BIN)/python benchmarks/tracking.py

wheel: .venv/developed  ## One abi3 wheel in dist/
	$(BIN)/maturin build --release --locked --out dist

clean:  ## Remove everything that was built
	rm -rf .venv target dist python/backprop_svc/_core*.so
