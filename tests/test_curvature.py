"""Eigenvalues of the Hessian: by hand, beside a naive twin, at their limits."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import backprop_svc as bp
from backprop_svc import _core
from backprop_svc.tracking.record import series_of
from command import call

GUIDE = bp.Network(1, 1, 1)
LINEAR = bp.Network(1, 1, 1, activation="identity")
NUMBERS = st.floats(-3, 3)


def hessian_by_differences(network: bp.Network, weights: Any, x: Any, y: Any) -> Any:
    """∂²L/∂w² of one run, by central differences of its gradients."""
    step = 1e-5 * np.eye(network.parameters)
    above, below = (bp.gradients(network, weights + s, x, y).gradients for s in (step, -step))
    found = (above - below) / 2e-5
    return (found + found.T) / 2


@given(NUMBERS, NUMBERS, NUMBERS, NUMBERS)
def test_the_guides_network_by_hand(w1: float, w2: float, x: float, y: float) -> None:
    """L = ½(y − w2·w1·x)², and 0 where ReLU is off."""
    on = np.sign(w1) * np.sign(x) > 0
    mixed = x * (2 * w1 * w2 * x - y)
    hessian = on * np.array([[(w2 * x) ** 2, mixed], [mixed, (w1 * x) ** 2]])
    smallest, largest = np.linalg.eigvalsh(hessian)
    near = {"rel": 1e-12, "abs": 1e-12 * max(abs(smallest), abs(largest))}
    assert bp.sharpness(GUIDE, [w1, w2], x, y)[0] == pytest.approx(largest, **near)
    assert bp.curvature(GUIDE, [w1, w2], x, y).smallest[0] == pytest.approx(smallest, **near)


@given(st.floats(0.1, 3), st.floats(0.1, 3), st.floats(0.1, 3))
def test_at_a_minimum_of_two_linear_layers(w1: float, w2: float, x: float) -> None:
    """x²·(w1² + w2²), the direction along the minima is flat."""
    found = bp.curvature(LINEAR, [w1, w2], x, w1 * w2 * x)
    assert found.largest[0] == pytest.approx(x**2 * (w1**2 + w2**2))
    assert found.smallest[0] == pytest.approx(0, abs=1e-13 * found.largest[0])


def test_deep_linear_chains_at_a_minimum() -> None:
    """Σᵢ (∏ⱼ₌ᵢ wⱼ)²·x²: the Hessian is an outer product there."""
    weights = np.random.default_rng(0).uniform(0.5, 1.5, (50, 5))
    network, x = bp.Network(*[1] * 6, activation="identity"), 1.7
    for run in weights:
        product = run.prod()
        expected = x**2 * ((product / run) ** 2).sum()
        assert bp.sharpness(network, run, x, product * x) == pytest.approx(expected)


def test_least_squares_has_the_eigenvalues_of_its_inputs() -> None:
    """XᵀX/n once for each output, so that every eigenvalue comes several times."""
    x = np.random.default_rng(0).normal(size=(60, 20))
    expected = np.linalg.eigvalsh(x.T @ x / 60)
    found = bp.curvature(bp.Network(20, 4), np.ones((3, 80)), x, np.zeros((60, 4)))
    assert found.largest == pytest.approx([expected[-1]] * 3, rel=1e-12)
    assert found.smallest == pytest.approx([expected[0]] * 3, abs=1e-12 * expected[-1])


@given(st.data())
def test_beside_a_naive_twin(data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(1, 6), min_size=2, max_size=4))
    smooth = [name for name in _core.ACTIVATIONS if "relu" not in name]
    network = bp.Network(
        *sizes,
        activation=data.draw(st.sampled_from(smooth)),
        gain=data.draw(st.floats(0.5, 2)),
        bias=data.draw(st.booleans()),
        loss=data.draw(st.sampled_from(["mse", "half_squared_error", "binary_cross_entropy"])),
    )
    random = np.random.default_rng(data.draw(st.integers(0, 999)))
    rows = data.draw(st.integers(1, 20))
    x, y = random.normal(size=(rows, sizes[0])), random.random((rows, sizes[-1]))
    weights = random.normal(0, 0.5, network.parameters)
    expected = np.linalg.eigvalsh(hessian_by_differences(network, weights, x, y))
    found = bp.curvature(network, weights, x, y)
    near = 1e-7 * (1 + np.abs(expected).max())
    assert found.largest[0] == pytest.approx(expected[-1], abs=near)
    assert found.smallest[0] == pytest.approx(expected[0], abs=near)


def test_a_run_has_the_same_bits_whatever_runs_are_beside_it() -> None:
    for sizes in ((1, 1, 1), (2, 3, 1), (4, 8, 2)):
        network = bp.Network(*sizes, activation="tanh")
        x, y = np.ones((3, sizes[0])), np.zeros((3, sizes[-1]))
        weights = bp.initial_weights(network, range(21))
        together = bp.sharpness(network, weights, x, y)
        alone = [bp.sharpness(network, run, x, y)[0] for run in weights]
        assert together.tolist() == alone


def test_float32_is_computed_in_float64() -> None:
    small, large = (bp.Network(2, 3, 1, activation="tanh", dtype=d) for d in ("f4", "f8"))
    weights = bp.initial_weights(large, range(5)).astype(np.float32)
    told = (weights, [[0.1, 0.2]], [0.3])
    assert bp.sharpness(small, *told).tolist() == bp.sharpness(large, *told).tolist()


@pytest.mark.parametrize("network", [GUIDE, bp.Network(2, 2, 1), bp.Network(4, 9, 1)])
def test_what_is_flat_has_no_curvature(network: bp.Network) -> None:
    """Every unit is off."""
    weights = -np.ones((2, network.parameters))
    found = bp.curvature(network, weights, np.ones((2, network.inputs)), [1.0, 2.0])
    assert all(values.tolist() == [0, 0] for values in found)


@pytest.mark.parametrize("network", [GUIDE, bp.Network(2, 2, 1), bp.Network(4, 9, 1)])
def test_what_overflows_is_not_a_number(network: bp.Network) -> None:
    """It stays in its run."""
    weights = np.ones((2, network.parameters))
    weights[0] = 1e200
    found = bp.curvature(network, weights, np.ones((1, network.inputs)), 1.0)
    assert not np.isfinite(found.largest[0])
    assert np.isfinite(found.largest[1])


def test_large_and_small_curvatures_are_found() -> None:
    """Squares of these numbers would overflow or vanish."""
    for network in (GUIDE, bp.Network(2, 2, 1), bp.Network(4, 9, 1)):
        rows = np.ones((1, network.inputs))
        weights = np.ones(network.parameters)
        one = bp.sharpness(network, weights, rows, 0.0)
        for scale in (1e-50, 1e50):
            scaled = bp.sharpness(network, scale * weights, rows, 0.0)
            assert scaled / scale**2 == pytest.approx(one, rel=1e-12)
        for scale in (1e-120, 1e60):
            scaled = bp.sharpness(network, weights, scale * rows, 0.0)
            assert scaled / scale**2 == pytest.approx(one, rel=1e-12)


def test_no_runs() -> None:
    assert bp.sharpness(GUIDE, np.empty((0, 2)), 2.0, 3.0).shape == (0,)
    assert bp.curvature(GUIDE, np.empty((0, 2)), 2.0, 3.0).smallest.shape == (0,)


def test_what_is_wrong_is_refused() -> None:
    with pytest.raises(bp.SettingError, match=r"weights has shape \(3,\); allowed: \(runs, 2"):
        bp.sharpness(GUIDE, [1, 2, 3], 2.0, 3.0)
    with pytest.raises(bp.SettingError, match=r"weights\[0, 1\] is NaN"):
        bp.curvature(GUIDE, [1, np.nan], 2.0, 3.0)
    with pytest.raises(bp.SettingError, match="y has 3 rows; allowed: 2"):
        bp.sharpness(GUIDE, [1, 2], [1, 2], [1, 2, 3])


def test_a_training_keeps_the_sharpness_of_its_weights() -> None:
    network = bp.Network(2, 3, 1, activation="tanh")
    x, y = np.random.default_rng(0).normal(size=(6, 2)), np.arange(6.0)
    starts, rates = bp.initial_weights(network, range(3)), np.array([0.01, 0.2, 1e9])

    def train(record: list[Any], rates: Any) -> bp.Result:
        return bp.train(
            network, starts, x, y, learning_rate=rates, epochs=30, record=record, sharpness=True
        )

    assert train(["loss"], rates).sharpness_history is None
    result = train(["weights"], rates)
    assert result.sharpness is not None
    assert result.sharpness_history is not None
    np.testing.assert_array_equal(result.sharpness, bp.sharpness(network, result.weights, x, y))
    np.testing.assert_array_equal(result.initial_sharpness, result.sharpness_history[:, 0])
    np.testing.assert_array_equal(result.sharpness_ratio, rates * result.sharpness / 2)
    for run in result:
        history, weights = run.sharpness_history, run.weight_history
        assert history is not None
        assert weights is not None
        went = int(run.epochs[0])
        expected = bp.sharpness(network, weights[0, :went], x, y)
        np.testing.assert_array_equal(history[0, :went], expected)
        assert np.isnan(history[0, went:]).all()
    np.testing.assert_array_equal(result.to_pandas()["sharpness"], result.sharpness)
    assert train([], np.full((3, 2), 0.1)).sharpness_ratio is None


def test_only_finite_numbers_are_tracked() -> None:
    starts = [[0.5, 1.0], [1e160, 1e160]]
    result = bp.train(GUIDE, starts, 2.0, 3.0, learning_rate=1e-9, epochs=2, sharpness=True)
    series = series_of(result)["sharpness"]
    assert series.kept.tolist() == [[True, True], [False, False]]
    assert series.steps[0].tolist() == [0, 2]
    unrecorded = series_of(result, "none")["sharpness"]
    assert unrecorded.steps[0].tolist() == [2]


def test_the_command_keeps_the_sharpness(tmp_path: Path) -> None:
    done = call(tmp_path, "train", "train.sharpness=true", "train.epochs=3")
    assert done.returncode == 0, done.stderr
    done = call(tmp_path, "sweep", "train.sharpness=true", "train.lr=0.1,0.2")
    assert done.returncode == 0, done.stderr
    one = bp.train(GUIDE, [0.5, 1.0], 2.0, 3.0, epochs=3, sharpness=True, record="weights")
    swept = bp.sweep(
        GUIDE, 2.0, 3.0, {"lr": [0.1, 0.2]}, init=[0.5, 1.0], sharpness=True, progress=False
    )
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
        found = database.execute("SELECT value FROM metrics WHERE key = 'sharpness'").fetchall()
    assert one.sharpness_history is not None
    assert one.sharpness is not None
    expected = [*one.sharpness_history[0], *one.sharpness]
    expected += [*swept["initial_sharpness"], *swept["sharpness"]]
    assert sorted(value for (value,) in found) == sorted(expected)
