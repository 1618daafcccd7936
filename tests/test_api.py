"""The Python API: shapes, errors, histories, interruption."""

from __future__ import annotations

import copy
import doctest
import importlib
import pickle
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import backprop_svc as bp

GUIDE = bp.Network(1, 1, 1)


def test_a_network_is_a_value() -> None:
    network = bp.Network(2, 3, 1, activation="identity")
    assert network.sizes == (2, 3, 1)
    assert (network.inputs, network.outputs, network.parameters) == (2, 1, 9)
    assert network.parameter_names[:2] == ["w1_1_1", "w1_1_2"]
    assert eval(repr(network), {"Network": bp.Network}) == network
    assert pickle.loads(pickle.dumps(network)) == network
    assert copy.deepcopy(network) == network
    assert len({network, bp.Network(2, 3, 1, activation="identity"), GUIDE}) == 2


def test_learning_rates_and_weights_broadcast() -> None:
    by_rate = bp.train(GUIDE, [0.5, 1.0], 2.0, 3.0, learning_rate=[0.01, 0.1])
    assert by_rate.weights.shape == (2, 2)
    assert by_rate.initial_weights.tolist() == [[0.5, 1.0]] * 2
    by_start = bp.train(GUIDE, [[0.5, 1.0], [1.0, 1.0], [2.0, 0.1]], 2.0, 3.0, epochs=7)
    assert by_start.loss is not None
    assert by_start.loss.shape == (3, 7)
    assert by_start.gradients is not None
    assert by_start.gradients.shape == (3, 7, 2)
    assert by_start.weight_history is None
    assert len(by_start) == 3


def test_record_chooses_histories() -> None:
    result = bp.train(GUIDE, [0.5, 1.0], 2.0, 3.0, record=["weights"], epochs=3)
    assert result.loss is result.prediction is result.gradients is None
    assert result.weight_history is not None
    assert result.weight_history.shape == (1, 3, 2)
    assert result.weight_history[0, 0].tolist() == [0.5, 1.0]


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.float64])
@pytest.mark.parametrize("order", ["C", "F"])
def test_any_real_array_will_do(dtype: Any, order: Any) -> None:
    weights = np.array([[1, 2], [3, 1], [1, 1]], dtype=dtype, order=order)
    weights.flags.writeable = False
    expected = bp.train(GUIDE, weights.tolist(), [1, 2], [2, 3], learning_rate=0.01)
    found = bp.train(GUIDE, weights, [1, 2], [2, 3], learning_rate=0.01)
    assert found.weights.tolist() == expected.weights.tolist()
    strided = np.repeat(weights, 2, axis=0)[::2]
    assert (
        bp.train(GUIDE, strided, [1, 2], [2, 3], learning_rate=0.01).weights.tolist()
        == expected.weights.tolist()
    )


@given(st.integers(1, 40), st.integers(1, 16))
def test_threads_and_neighbours_change_nothing(runs: int, threads: int) -> None:
    weights = np.random.default_rng(runs).normal(size=(runs, 2))
    x, y = [1.0, 2.0, -1.0], [2.0, 3.0, 0.5]
    together = bp.train(GUIDE, weights, x, y, threads=threads)
    alone = [bp.train(GUIDE, row, x, y).weights[0].tobytes() for row in weights]
    assert [row.tobytes() for row in together.weights] == alone


def test_divergence_says_when() -> None:
    network = bp.Network(1, 1, 1, activation="identity")
    result = bp.train(network, [[0.5, 1.0], [50.0, 50.0]], 2.0, 3.0)
    assert result.outcome.tolist() == ["converged", "diverged"]
    assert result.loss is not None
    epoch = result.diverged_at[1]
    assert result.diverged_at[0] == -1
    assert 0 < epoch < 20
    assert np.isfinite(result.loss[1, :epoch]).all()
    assert np.isnan(result.loss[1, epoch + 1 :]).all()
    assert np.isfinite(result.weights).all()


def test_no_runs_and_no_epochs() -> None:
    assert len(bp.train(GUIDE, np.empty((0, 2)), 2.0, 3.0)) == 0
    result = bp.train(GUIDE, [0.5, 1.0], 2.0, 3.0, epochs=0)
    assert result.weights.tolist() == [[0.5, 1.0]]
    assert result.outcome.tolist() == ["unresolved"]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"weights": [0.5, float("nan")]}, ValueError, r"weights\[0, 1\] is NaN; allowed: fin"),
        ({"weights": [0.5]}, ValueError, r"weights has shape \(1,\); allowed: \(runs, 2\)"),
        ({"weights": [[0.5, 1], [1]]}, ValueError, "weights is ragged"),
        ({"weights": ["a", "b"]}, TypeError, "weights has type <U1; allowed: real numbers"),
        ({"x": float("inf")}, ValueError, r"x\[0, 0\] is inf"),
        ({"x": [], "y": []}, ValueError, "x has 0 values; allowed: one or more rows"),
        ({"y": [1, 2]}, ValueError, "y has 2 rows; allowed: 1, as many rows as x"),
        ({"x": [[1, 2]]}, ValueError, r"x has shape \(1, 2\); allowed: \(rows, 1\)"),
        ({"learning_rate": 0}, ValueError, r"learning_rate\[0\] is 0; allowed: finite"),
        ({"learning_rate": -1}, ValueError, r"learning_rate\[0\] is -1"),
        ({"learning_rate": [[0.1]]}, ValueError, r"learning_rate has shape \(1, 1\)"),
        (
            {"learning_rate": [0.1, 0.2], "weights": np.ones((3, 2))},
            ValueError,
            "learning_rate has 2 values and weights 3 runs",
        ),
        ({"epochs": -1}, ValueError, "epochs is -1; allowed: whole numbers from 0"),
        ({"epochs": 1.5}, ValueError, "epochs is 1.5"),
        ({"epochs": 2**60}, MemoryError, "the results need"),
        ({"threads": 0}, ValueError, "threads is 0; allowed: whole numbers from 1"),
        ({"tolerance": -1.0}, ValueError, "tolerance is -1"),
        ({"divergence_bound": float("nan")}, ValueError, "divergence_bound is NaN"),
        ({"record": ["losses"]}, ValueError, "record is 'losses'; allowed: loss, pred"),
    ],
)
def test_bad_input_is_named(
    change: dict[str, Any], error: type[Exception], message: str
) -> None:
    arguments: dict[str, Any] = {"weights": [0.5, 1.0], "x": 2.0, "y": 3.0, **change}
    with pytest.raises(error, match=message):
        bp.train(GUIDE, **arguments)


def test_bad_networks_are_named() -> None:
    with pytest.raises(ValueError, match=r"network sizes is \[1, 0\]"):
        bp.Network(1, 0)
    with pytest.raises(ValueError, match="network size is -1"):
        bp.Network(1, -1)
    with pytest.raises(
        ValueError, match="activation is 'tan'; allowed: identity, relu, leaky_relu"
    ):
        bp.Network(1, 1, activation="tan")
    with pytest.raises(ValueError, match="gain is 0; allowed: finite numbers above 0"):
        bp.Network(1, 1, gain=0)
    with pytest.raises(ValueError, match="negative_slope is 2; allowed: numbers from 0 to 1"):
        bp.Network(1, 1, activation="leaky_relu", negative_slope=2)


def test_gain_and_slope_belong_to_a_network() -> None:
    network = bp.Network(1, 2, 1, activation="leaky_relu", gain=1.5, negative_slope=0.25)
    assert (network.gain, network.negative_slope) == (1.5, 0.25)
    shown = "Network(1, 2, 1, activation='leaky_relu', gain=1.5, negative_slope=0.25)"
    assert repr(network) == shown
    assert eval(repr(network), {"Network": bp.Network}) == network
    assert pickle.loads(pickle.dumps(network)) == network
    assert network != bp.Network(1, 2, 1, activation="leaky_relu", negative_slope=0.25)


def test_progress_reaches_the_end_and_can_stop() -> None:
    seen: list[tuple[int, int]] = []
    weights = np.full((1000, 2), 0.5)
    bp.train(
        GUIDE, weights, 2.0, 3.0, epochs=5000, record=[], progress=lambda *p: seen.append(p)
    )
    assert seen[-1] == (5_000_000, 5_000_000)

    def stop(done: int, total: int) -> None:
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        bp.train(GUIDE, weights, 2.0, 3.0, epochs=10**7, record=[], progress=stop)


@pytest.mark.parametrize(
    "call",
    [
        "bp.train(bp.Network(1, 1, 1), [0.5, 1.0], 2.0, 3.0, epochs=10**12, record=[])",
        "bp.sharpness(bp.Network(1, 9, 1), np.ones((10**6, 18)), range(10**6), range(10**6))",
        "bp.sharpness(bp.Network(1, 20, 1), np.ones((10**6, 40)), range(10**6), range(10**6))",
    ],
)
def test_ctrl_c_ends_a_long_call(call: str) -> None:
    code = f"""
        import numpy as np
        import backprop_svc as bp
        print("ready", flush=True)
        try:
            {call}
        except KeyboardInterrupt:
            print("stopped")
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert out.endswith("stopped\n") or process.returncode == -signal.SIGINT


def test_ctrl_c_ends_an_epoch_of_a_large_network() -> None:
    network = bp.Network(256, 128, 10)
    rows = np.ones((20_000, 256))
    weights = bp.initial_weights(network)

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        bp.train(network, weights, rows, np.ones((20_000, 10)), epochs=1000, progress=stop)
    # Of a thousand epochs each takes a second or so.
    assert time.monotonic() - begin < 60


def test_absurd_numbers_of_epochs_do_not_panic() -> None:
    network = bp.Network(1, 2, 1)
    starts = np.full((3, 4), 1e200)
    seen: list[tuple[int, int]] = []
    result = bp.train(
        network,
        starts,
        1.0,
        1.0,
        epochs=2**62,
        record=[],
        progress=lambda done, total: seen.append((done, total)),
    )
    assert set(result.outcome) == {"diverged"}
    assert seen[-1][1] > 2**62


def test_import_is_light() -> None:
    code = (
        "import sys, backprop_svc; "
        "print([m for m in ('mlflow', 'hydra', 'matplotlib', 'rich') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_build_info() -> None:
    info = bp.build_info()
    assert info["version"] == bp.__version__
    assert info["profile"] == "release"
    assert info["threads"] >= 1
    assert info["simd"]


@pytest.mark.parametrize(
    "module",
    [
        "backprop_svc",
        "backprop_svc.curvature",
        "backprop_svc.errors",
        "backprop_svc.explain",
        "backprop_svc.datasets",
        "backprop_svc.evaluate",
        "backprop_svc.fractal",
        "backprop_svc.initial",
        "backprop_svc.result",
    ],
)
def test_documented_examples_run(module: str) -> None:
    results = doctest.testmod(importlib.import_module(module))
    assert results.attempted > 0
    assert results.failed == 0


@pytest.mark.parametrize("page", ["README.md", "docs/curvature.md"])
def test_the_examples_of_pages_run(page: str) -> None:
    results = doctest.testfile(str(Path(__file__).parents[1] / page), module_relative=False)
    assert results.attempted > 3
    assert results.failed == 0
