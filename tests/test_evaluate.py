"""Loss and accuracy, beside scikit-learn; and what is kept of them."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mlflow import MlflowClient
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import accuracy_score, log_loss, mean_squared_error
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

import backprop_svc as bp
import stores
from backprop_svc.cli.terminal import show
from backprop_svc.tracking.record import series_of
from command import call

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(40, 3))
LABELS = RANDOM.integers(0, 4, 40)


@given(st.integers(1, 5), st.integers(1, 30), st.integers(2, 5), st.integers(0, 99))
def test_accuracy_is_that_of_scikit_learn(
    runs: int, rows: int, classes: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    predictions = random.random((runs, rows, classes))
    labels = random.integers(0, classes, rows)
    found = bp.accuracy(predictions, np.eye(classes)[labels])
    expected = [accuracy_score(labels, run.argmax(axis=1)) for run in predictions]
    assert found.tolist() == pytest.approx(expected)
    binary = bp.accuracy(predictions[..., :1], labels % 2)
    expected = [accuracy_score(labels % 2, run[:, 0].round()) for run in predictions]
    assert binary.tolist() == pytest.approx(expected)


def test_what_is_no_number_has_no_class() -> None:
    predictions = [[[0.9], [0.4]], [[np.nan], [0.4]], [[np.inf], [0.5]]]
    assert bp.accuracy(predictions, [1, 0]).tolist() == pytest.approx(
        [1, np.nan, 1], nan_ok=True
    )


@pytest.mark.parametrize("piece", [1, 200, 1 << 22])
@pytest.mark.parametrize("loss", ["softmax", "binary", "mse"])
def test_evaluate_is_that_of_scikit_learn(
    loss: str, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_module("backprop_svc.evaluate"), "MOST_VALUES", piece)
    outputs = 1 if loss == "binary" else 4
    y = LABELS[:, np.newaxis] % 2 if loss == "binary" else np.eye(4)[LABELS]
    name = loss if loss == "mse" else f"{loss}_cross_entropy"
    network = bp.Network(3, 5, outputs, bias=True, loss=name)
    weights = bp.initial_weights(network, range(7))
    found = bp.evaluate(network, weights, X, y)
    predictions = bp.predict(network, weights, X)
    if loss == "mse":
        assert found.accuracy is None
        expected = [mean_squared_error(y, run) for run in predictions]
    elif loss == "softmax":
        expected = [log_loss(y, run) for run in predictions]
    else:
        expected = [log_loss(y[:, 0], run[:, 0]) for run in predictions]
    assert found.loss.tolist() == pytest.approx(expected, rel=1e-12)
    if found.accuracy is not None:
        assert found.accuracy.tolist() == bp.accuracy(predictions, y).tolist()


def test_no_runs_and_one() -> None:
    network = bp.Network(1, 1, loss="binary_cross_entropy")
    none = bp.evaluate(network, np.empty((0, 1)), 2.0, 1.0)
    assert none.loss.shape == (0,)
    (one,) = bp.evaluate(network, [1.0], 2.0, 1.0).loss
    assert one == pytest.approx(np.log1p(np.exp(-2.0)))


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match=r"predictions has shape \(2,\); allowed: \(runs, r"):
        bp.accuracy([0.1, 0.2], [0, 1])
    with pytest.raises(ValueError, match=r"predictions has shape \(1, 0, 1\)"):
        bp.accuracy(np.empty((1, 0, 1)), [])
    with pytest.raises(ValueError, match="y has 3 rows; allowed: 2, as many as predictions"):
        bp.accuracy([[[0.1], [0.2]]], [0, 1, 1])
    with pytest.raises(ValueError, match=r"y has shape \(2, 2\); allowed: \(rows, 1\)"):
        bp.evaluate(bp.Network(1, 1), [1.0], [1, 2], [[1, 2], [3, 4]])


def test_what_is_not_finite_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    network = bp.Network(1, 1, activation="identity")
    result = bp.train(network, [[1.0], [2.0]], 1.0, 3.0, epochs=5)
    found = {"val_loss": np.array([np.inf, 0.5]), "val_accuracy": np.full(2, np.nan)}
    series = series_of(result, "last", found)
    assert series["val_loss"].kept.tolist() == [[False], [True]]
    assert series["val_loss"].steps.tolist() == [[5], [5]]
    assert "val_accuracy" not in series
    show.print_achieved({"accuracy": 0.9744, "val_loss": 0.5, "val_accuracy": np.nan})
    assert capsys.readouterr().out == "training: accuracy 97.4 %\nvalidation: loss 0.5\n"


def test_the_logistic_regression_is_judged_on_rows_held_out(tmp_path: Path) -> None:
    uri = stores.empty_database(tmp_path / "kept.db")
    done = call(tmp_path, "train", "experiment=logistic", f"tracking.uri={uri}")
    assert done.returncode == 0, done.stderr
    swept = call(
        tmp_path, "sweep", "experiment=logistic", "train.lr=0.5,1", f"tracking.uri={uri}"
    )
    assert swept.returncode == 0, swept.stderr
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("backprop-svc")
    assert experiment is not None
    everything = client.search_runs([experiment.experiment_id])
    runs = [run for run in everything if run.data.tags.get("backprop.kind") != "sweep"]
    assert sorted(run.data.params["train.lr"] for run in runs) == ["0.5", "1.0", "1.0"]

    x, y = load_breast_cancer(return_X_y=True)
    parts = train_test_split(x, y, test_size=0.2, random_state=0)
    scaler = StandardScaler().fit(parts[0])
    x, val_x = scaler.transform(parts[0]), scaler.transform(parts[1])
    y, val_y = parts[2:]
    network = bp.Network(30, 1, bias=True, loss="binary_cross_entropy")
    for run in runs:
        rate = float(run.data.params["train.lr"])
        weights = bp.train(network, np.zeros(31), x, y, learning_rate=rate, epochs=100).weights[
            0
        ]
        chance, val_chance = (
            1 / (1 + np.exp(-(rows @ weights[:-1] + weights[-1]))) for rows in (x, val_x)
        )
        found = run.data.metrics
        assert found["accuracy"] == pytest.approx(accuracy_score(y, chance > 0.5))
        assert found["val_accuracy"] == pytest.approx(accuracy_score(val_y, val_chance > 0.5))
        assert found["val_loss"] == pytest.approx(log_loss(val_y, val_chance), rel=1e-9)
        assert found["val_accuracy"] >= 0.95
        points = client.get_metric_history(run.info.run_id, "val_accuracy")
        assert sorted(point.step for point in points) == list(range(101))
        if rate == 1:
            assert run.data.tags["outcome"] == "unresolved", "its loss still falls"
            share, loss = 100 * found["val_accuracy"], found["val_loss"]
            assert f"validation: loss {loss:.6g}, accuracy {share:.1f} %" in done.stdout
            assert f"training: accuracy {100 * found['accuracy']:.1f} %" in done.stdout


def test_digits_are_recognised(tmp_path: Path) -> None:
    uri = stores.empty_database(tmp_path / "kept.db")
    done = call(tmp_path, "train", "experiment=digits", f"tracking.uri={uri}")
    assert done.returncode == 0, done.stderr
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("backprop-svc")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.data.metrics["val_accuracy"] >= 0.97
    assert run.data.params["train.optimizer"] == "adam"
    assert run.data.params["train.precision"] == "fast"
    assert "dtype='float32'" in run.data.params["network"]
