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
from pyarrow import parquet

import backprop_svc as bp
import stores
from backprop_svc import _core
from backprop_svc.datasets import Dataset
from backprop_svc.sweep.experiment import Experiment
from backprop_svc.sweep.pace import MOST_BYTES, chunk_size, tracked_histories
from backprop_svc.sweep.parent import Tracking
from backprop_svc.sweep.space import Points
from backprop_svc.tracking.record import series_of
from backprop_svc.train import SHARED
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


def histories(database: Path, key: str, runs: str = "%") -> dict[str, list[tuple[int, float]]]:
    """Steps and values of a metric, by the ids of the runs, some of them."""
    found: dict[str, list[tuple[int, float]]] = {}
    told = "SELECT run_uuid, step, value FROM metrics WHERE key = ? AND run_uuid LIKE ?"
    with closing(sqlite3.connect(database)) as connection:
        for run, step, value in connection.execute(f"{told} ORDER BY step", (key, runs)):
            found.setdefault(run, []).append((step, value))
    return found


def expected(result: bp.Result, every: int, key: str) -> list[list[tuple[int, float]]]:
    """The same of each run of a training, by its recorded weights."""
    rows = np.array([[2.0]]), np.array([[3.0]])
    found = []
    for run in result:
        assert run.weight_history is not None
        went = int(run.epochs[0])
        steps = sorted({*range(0, went, every), went - 1})
        weights = np.vstack([run.weight_history[0, steps], run.weights])
        values = bp.sharpness(run.network, weights, *rows)
        if key == "sharpness_ratio":
            values = run.learning_rate * values / 2
        pairs = zip([*steps, went], values.tolist(), strict=True)
        found.append([(step, value) for step, value in pairs if np.isfinite(value)])
    return found


@pytest.mark.parametrize("every", [1, 4])
def test_a_sweep_keeps_the_sharpness_of_its_epochs(tmp_path: Path, every: int) -> None:
    """A sweep that was interrupted and resumed, of runs some of which diverge."""
    uri = stores.empty_database(tmp_path / "kept.db")
    rates = np.geomspace(0.01, 2, 20)
    told: dict[str, Any] = {"epochs": 21, "sharpness": True, "stop_when_converged": True}

    def sweep(**how: Any) -> bp.Outcomes:
        return bp.sweep(
            LINEAR, 2.0, 3.0, {"lr": rates},
            tracking=uri, history=f"every:{every}",
            keep_weights="none", **told, **how,
        )  # fmt: skip

    def stop(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt, match="the same call with resume="):
        sweep(progress=stop)
    outcomes = sweep(progress=False, resume="last")
    assert 0 < outcomes.there < len(outcomes)
    result = bp.train(
        LINEAR, [0.5, 1.0], 2.0, 3.0, learning_rate=rates, record="weights", **told
    )
    assert "diverged" in result.outcome
    for key in ("sharpness", "sharpness_ratio"):
        found = histories(tmp_path / "kept.db", key)
        assert [found[run] for run in sorted(found)] == expected(result, every, key)


def test_less_is_kept_where_less_is_asked_for() -> None:
    """Where histories are not kept, the beginning and the end; or the end alone."""
    for history, steps in (("last", [0, 5]), ("none", [5])):
        for record in ("weights", "loss"):
            result = bp.train(
                GUIDE, [0.5, 1.0], 2.0, 3.0, epochs=5, sharpness=True, record=record
            )
            kept = series_of(result, history)
            assert kept["sharpness"].steps.ravel().tolist() == steps
            assert kept["sharpness_ratio"].steps.ravel().tolist() == [5]
        tracking = Tracking("sqlite:///no.db", history=history)
        assert "weights" not in tracked_histories(experiment(GUIDE), tracking)


def experiment(network: bp.Network, **told: Any) -> Experiment:
    return Experiment(
        network=network,
        data=Dataset(np.ones((1, network.inputs)), np.ones((1, network.outputs))),
        validation=None,
        init=np.ones(network.parameters),
        rates={"train.lr": 0.001},
        settings={**SHARED, "sharpness": True, **told},
        data_name="",
    )


def test_the_command_keeps_what_is_asked_for(tmp_path: Path) -> None:
    asked = {"sharpness": True, "smallest_eigenvalue": True, "lyapunov_epochs": 9}
    words = [f"train.{name}={value}" for name, value in asked.items()]
    done = call(tmp_path, "train", "train.epochs=3", *words)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = {"epochs": 3, "record": "weights", **asked}
    one = bp.train(GUIDE, [0.5, 1.0], 2.0, 3.0, **told)
    assert one.sharpness is not None
    assert f", sharpness {one.sharpness[0]:.6g}, sharpness_ratio " in done.stdout
    database = tmp_path / "mlflow.db"
    for key in ("sharpness", "sharpness_ratio"):
        assert list(histories(database, key).values()) == expected(one, 1, key)
    done = call(
        tmp_path, "sweep", *words, "train.epochs=3", "train.lr=0.1,0.2,0.3",
        "tracking.history=every:2", "sweep.shards=2", "sweep.results=found.parquet",
        "sweep.id=0123456789abcdef",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    several = bp.train(GUIDE, [0.5, 1.0], 2.0, 3.0, learning_rate=[0.1, 0.2, 0.3], **told)
    for key in ("sharpness", "sharpness_ratio"):
        found = histories(database, key, "0123456789abcdef%")
        assert [found[run] for run in sorted(found)] == expected(several, 2, key)
    table = parquet.read_table(tmp_path / "found.parquet")
    for key, values in several.curvature.items():
        np.testing.assert_array_equal(table[key].to_numpy(), values)
        if key in {"smallest_eigenvalue", "lyapunov_exponent"}:
            found = histories(database, key, "0123456789abcdef%")
            assert [found[run] for run in sorted(found)] == [[(3, v)] for v in values.tolist()]


def test_outcomes_have_the_histories_that_are_recorded() -> None:
    told: dict[str, Any] = {"epochs": 4, "record": "weights", "sharpness": True}
    told |= {"smallest_eigenvalue": True, "lyapunov_epochs": 9}
    rates = [0.1, 0.2]
    outcomes = bp.sweep(GUIDE, 2.0, 3.0, {"lr": rates}, progress=False, **told)
    result = bp.train(GUIDE, [0.5, 1.0], 2.0, 3.0, learning_rate=rates, **told)
    found = outcomes.histories()
    np.testing.assert_array_equal(found["sharpness"], result.sharpness_history)
    np.testing.assert_array_equal(found["sharpness_ratio"], result.sharpness_ratio_history)
    for name, values in result.curvature.items():
        np.testing.assert_array_equal(outcomes[name], values)
    np.testing.assert_array_equal(
        outcomes["smallest_eigenvalue"],
        bp.curvature(GUIDE, result.weights, 2.0, 3.0).smallest,
    )


def test_a_history_is_computed_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    network = bp.Network(2, 3, 1, activation="tanh")
    x, y = np.random.default_rng(0).normal(size=(6, 2)), np.arange(6.0)

    def train() -> Any:
        return bp.train(
            network, bp.initial_weights(network, range(5)), x, y,
            gain=[0.5, 1.0, 1.5, 2.0, 2.5], epochs=30, record="weights", sharpness=True,
        ).sharpness_history  # fmt: skip

    whole = train()
    monkeypatch.setattr("backprop_svc.measured.MOST_VALUES", 1)
    np.testing.assert_array_equal(train(), whole)


def test_the_weights_of_its_epochs_count_as_memory_of_a_chunk() -> None:
    work = experiment(bp.Network(40, 1), epochs=3)
    record = tracked_histories(work, Tracking("sqlite:///no.db"))
    assert "weights" in record
    runs = chunk_size(work, record, 1, tracked=False)
    points = Points(runs, {"train.lr": np.full(runs, 0.001)})
    result = work.train(work.starts(points), record)
    values = [own.nbytes for own in vars(result).values() if isinstance(own, np.ndarray)]
    assert 0.7 * MOST_BYTES < sum(values) <= MOST_BYTES
    written = chunk_size(work, record, 1, tracked=True)
    lasts = chunk_size(work, ("loss", "gradients"), 0, tracked=True)
    assert written < lasts < runs
