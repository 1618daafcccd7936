"""Exact results have the same bits on each instruction set of this machine."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import backprop_svc as bp
from command import call

VARIABLE = "BACKPROP_INSTRUCTION_SET"
ALL = ("scalar", "avx2", "avx512", "neon")
HISTORIES = ("loss", "prediction", "gradients", "weights")
RESULTS = (
    *("weights", "outcome", "epochs", "last_loss", "loss_ratio", "period"),
    *("stall_code", "died_at", "highest_loss", "highest_loss_at"),
    *("loss", "prediction", "gradients", "weight_history"),
)


def in_use(name: str | None = None) -> str:
    with pytest.MonkeyPatch.context() as patch:
        if name is None:
            patch.delenv(VARIABLE, raising=False)
        else:
            patch.setenv(VARIABLE, name)
        return str(bp.build_info()["simd"])


def is_here(name: str) -> bool:
    try:
        return in_use(name) == name
    except bp.SettingError:
        return False


HERE = [name for name in ALL if is_here(name)]


@dataclass
class Case:
    """Runs of one network, generated from a seed."""

    network: bp.Network
    runs: int = 37
    rows: int = 5
    seed: int = 0
    spread: float = 1.5
    train: dict[str, Any] = field(default_factory=dict)

    def arrays(self) -> tuple[Any, Any, Any, Any]:
        """Weights, x and y, learning rates: some runs die, some diverge, most do neither."""
        random, network = np.random.default_rng(self.seed), self.network
        weights = random.uniform(-self.spread, self.spread, (self.runs, network.parameters))
        weights[1:2], weights[2:3] = 0.0, -0.0
        x = random.normal(size=(self.rows, network.inputs))
        y: Any = random.normal(size=(self.rows, network.outputs))
        if network.loss == "binary_cross_entropy":
            y = (y > 0) * 1.0
        elif network.loss == "softmax_cross_entropy":
            y = np.eye(network.outputs)[random.integers(network.outputs, size=self.rows)]
        return weights, x, y, np.geomspace(1e-3, 3, self.runs)

    def results(self) -> dict[str, Any]:
        """Whatever the core computes, each array as bytes."""
        weights, x, y, rates = self.arrays()
        told = {"epochs": 41, "record": HISTORIES, **self.train}
        result = bp.train(self.network, weights, x, y, learning_rate=rates, **told)
        found = {name: getattr(result, name) for name in RESULTS}
        step = bp.gradients(self.network, weights, x, y)
        found |= {"a pass's loss": step.loss, "a pass's gradients": step.gradients}
        bent = bp.curvature(self.network, weights, x, y)
        found |= {"sharpness": bent.largest, "smallest eigenvalue": bent.smallest}
        found["predictions"] = bp.predict(self.network, weights, x)
        return {name: bits(values) for name, values in found.items()}

    def check(self) -> None:
        """See that every instruction set gives what the scalar one gives."""
        expected = None
        for name in HERE:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv(VARIABLE, name)
                found = self.results()
            expected = expected or found
            for quantity, values in found.items():
                assert values == expected[quantity], (quantity, name)


def bits(values: Any) -> bytes:
    """Return an array's bytes, each NaN the same: its payload is the processor's business."""
    if values is None:
        return b""
    array = np.asarray(values)
    if array.dtype.kind == "f":
        array = np.where(np.isnan(array), np.nan, array)
    return array.tobytes() if array.dtype != object else repr(array.tolist()).encode()


def test_the_widest_is_in_use_unless_told() -> None:
    assert HERE[0] == "scalar"
    assert in_use() == HERE[-1]


@pytest.mark.parametrize("name", [*(name for name in ALL if name not in HERE), "mmx", "AVX2"])
def test_what_the_machine_lacks_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    case = Case(bp.Network(1, 1, 1))
    weights, x, y, _ = case.arrays()
    monkeypatch.setenv(VARIABLE, name)
    for work in (
        bp.build_info,
        lambda: bp.train(case.network, weights, x, y),
        lambda: bp.gradients(case.network, weights, x, y),
        lambda: bp.predict(case.network, weights, x),
    ):
        with pytest.raises(bp.SettingError, match=f"{VARIABLE} is .*{name}") as error:
            work()
        assert ", ".join(HERE) in error.value.allowed


def test_the_command_refuses_it_too(tmp_path: Path) -> None:
    done = call(tmp_path, "train", **{VARIABLE: "mmx"})
    assert done.returncode != 0
    assert f"{VARIABLE} is" in done.stderr.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("runs", [1, 2, 7, 64, 300])
@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("activation", ["relu", "identity"])
@pytest.mark.parametrize("sizes", [(1, 1), (1, 1, 1)])
def test_single_neurons(sizes: tuple[int, ...], activation: str, rows: int, runs: int) -> None:
    for told in ({}, {"epochs": 400, "record": ()}, {"divergence_bound": 10.0}):
        Case(
            bp.Network(*sizes, activation=activation), runs, rows, spread=2, train=told
        ).check()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    "activation", ["identity", "relu", "leaky_relu", "tanh", "sigmoid", "gelu", "softplus"]
)
def test_activations(activation: str, dtype: Any) -> None:
    Case(bp.Network(3, 5, 2, activation=activation, gain=1.25, bias=True, dtype=dtype)).check()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    "loss", ["half_squared_error", "mse", "binary_cross_entropy", "softmax_cross_entropy"]
)
def test_losses(loss: str, dtype: Any) -> None:
    Case(bp.Network(4, 6, 3, loss=loss, dtype=dtype), rows=9).check()


@pytest.mark.parametrize("batch_size", [None, 1, 4])
@pytest.mark.parametrize("optimizer", ["gradient_descent", "momentum", "nesterov", "adam"])
def test_optimizers_and_batches(optimizer: str, batch_size: int | None) -> None:
    told = {
        "optimizer": optimizer,
        "weight_decay": 0.01,
        "schedule": "cosine",
        "warmup": 3,
        "batch_size": batch_size,
    }
    for dtype in ("float64", "float32"):
        network = bp.Network(3, 4, 2, bias=True, dtype=dtype)
        Case(network, rows=9, train=told).check()


@pytest.mark.parametrize("sizes", [(1, 1), (1, 1, 1)])
@pytest.mark.parametrize("rows", [1, 4])
def test_single_neurons_in_single_precision(sizes: tuple[int, ...], rows: int) -> None:
    Case(bp.Network(*sizes, dtype="float32"), 40, rows, 0, train={"epochs": 9}).check()


@settings(max_examples=30)
@given(
    sizes=st.lists(st.integers(1, 21), min_size=2, max_size=5),
    activation=st.sampled_from(["relu", "tanh", "gelu"]),
    bias=st.booleans(),
    dtype=st.sampled_from(["float64", "float32"]),
    runs=st.integers(1, 40),
    rows=st.integers(1, 40),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_shape(
    sizes: list[int],
    activation: str,
    bias: bool,
    dtype: Any,
    runs: int,
    rows: int,
    seed: int,
) -> None:
    network = bp.Network(*sizes, activation=activation, bias=bias, dtype=dtype)
    Case(network, runs, rows, seed, train={"epochs": 9}).check()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_fast_results_differ_by_rounding(monkeypatch: pytest.MonkeyPatch, dtype: Any) -> None:
    case = Case(bp.Network(3, 5, 2, activation="tanh", dtype=dtype), spread=0.5)
    weights, x, y, _ = case.arrays()
    exact = bp.train(case.network, weights, x, y, epochs=10)
    for name in HERE:
        monkeypatch.setenv(VARIABLE, name)
        fast = bp.train(case.network, weights, x, y, epochs=10, precision="fast")
        near = 100 * np.finfo(dtype).eps
        np.testing.assert_allclose(fast.weights, exact.weights, rtol=near, atol=near)
