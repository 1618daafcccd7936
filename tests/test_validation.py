"""Rows of validation: their histories, early stopping, and what is kept of both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import backprop_svc as bp
import stores
from backprop_svc.plots.training import training_png
from backprop_svc.tracking.record import series_of
from command import call

NETWORK = bp.Network(2, 4, 1, activation="tanh", bias=True)
CLASSES = bp.Network(2, 4, 3, activation="tanh", bias=True, loss="softmax_cross_entropy")
GENERATOR = np.random.default_rng(1)
X = GENERATOR.normal(size=(40, 2))
NOISE = GENERATOR.normal(size=40)
Y = np.sin(2 * X[:, :1]) + 0.5 * NOISE[:, np.newaxis]
LABELS = np.eye(3)[np.argmax(X @ [[1, -1, 0], [0, 1, -1]] + NOISE[:, np.newaxis], axis=1)]
MORE: list[dict[str, Any]] = [{}, {"batch_size": 4, "optimizer": "adam"}, {"precision": "fast"}]
PARTS = {"regression": (NETWORK, Y), "classes": (CLASSES, LABELS)}


def trained(network: bp.Network, y: Any, runs: int = 9, **settings: Any) -> bp.Result:
    weights = bp.initial_weights(network, range(runs))
    rates = np.geomspace(0.05, 1, runs)
    told: dict[str, Any] = {"learning_rate": rates, "validation": (X[:15], y[:15]), **settings}
    return bp.train(network, weights, X[15:], y[15:], **told)


@pytest.mark.parametrize("kind", PARTS)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize(
    "more", [{}, {"batch_size": 4, "optimizer": "adam"}, {"precision": "fast"}]
)
def test_histories_are_what_evaluate_says_of_the_weights_of_each_epoch(
    kind: str, dtype: str, more: dict[str, Any]
) -> None:
    shape, y = PARTS[kind]
    network = bp.Network(
        *shape.sizes, activation="tanh", bias=True, loss=shape.loss, dtype=dtype
    )
    result = trained(network, y, epochs=30, record=("loss", "weights"), **more)
    assert result.weight_history is not None
    assert result.val_loss is not None
    for epoch in range(30):
        found = bp.evaluate(network, result.weight_history[:, epoch], X[:15], y[:15])
        assert result.val_loss[:, epoch].tolist() == found.loss.tolist()
        if found.accuracy is None:
            assert result.val_accuracy is None
        else:
            assert result.val_accuracy is not None
            assert result.val_accuracy[:, epoch].tolist() == found.accuracy.tolist()


def test_nothing_is_kept_that_nobody_asks_for() -> None:
    plain = trained(NETWORK, Y, validation=None)
    assert plain.val_loss is plain.val_accuracy is None
    assert plain.best_epoch is None
    others = trained(NETWORK, Y, record="gradients")
    assert others.loss is others.val_loss is None
    assert trained(NETWORK, Y, epochs=0).val_loss.shape == (9, 0)  # type: ignore[union-attr]
    sparse, whole = trained(NETWORK, Y, record_every=7), trained(NETWORK, Y)
    assert sparse.val_loss is not None
    assert whole.val_loss is not None
    assert sparse.val_loss.tolist() == whole.val_loss[:, [0, 7, 14, 19]].tolist()


@pytest.mark.parametrize("min_delta", [0.0, 1e-3])
def test_early_stopping_is_that_of_keras(min_delta: float) -> None:
    """Keras' callback, by its rules of patience, min_delta and restore_best_weights."""
    rates = np.geomspace(0.1, 0.6, 9)
    settings: dict[str, Any] = {"learning_rate": rates, "epochs": 800}
    whole = trained(NETWORK, Y, **settings, record=("loss", "weights"))
    assert whole.val_loss is not None
    assert whole.weight_history is not None
    stopped = trained(NETWORK, Y, **settings, patience=6, min_delta=min_delta)
    assert stopped.best_epoch is not None
    ends = []
    for run in range(9):
        # Keras numbers epochs from 0, and looks at each after its updates.
        looks = [*whole.val_loss[run, 1:], bp.evaluate(
            NETWORK, whole.weights[run], X[:15], Y[:15]).loss[0]]  # fmt: skip
        best, wait, best_epoch, last = np.inf, 0, 0, 799
        for epoch, current in enumerate(looks):
            wait += 1
            if current < best - min_delta:
                best, wait, best_epoch = current, 0, epoch
            if wait >= 6:
                last = epoch
                break
        ends.append(last + 1)
        assert stopped.epochs[run] == last + 1
        assert stopped.best_epoch[run] == best_epoch + 1
        kept = [*whole.weight_history[run, 1:], whole.weights[run]][best_epoch]
        assert stopped.weights[run].tolist() == kept.tolist()
    assert min(ends) < 800, "some run stops"
    assert stopped[stopped.epochs < 800].to_pandas()["best_epoch"].notna().all()


def test_training_goes_on_from_the_best_epoch() -> None:
    told: dict[str, Any] = {"optimizer": "adam", "batch_size": 4, "schedule_epochs": 400}
    rates = np.geomspace(0.01, 0.1, 9)
    stopped = trained(NETWORK, Y, epochs=300, patience=4, learning_rate=rates, **told)
    assert stopped.best_epoch is not None
    assert stopped.state.epochs.tolist() == stopped.best_epoch.tolist()
    for run in range(9):
        best = int(stopped.best_epoch[run])
        own = stopped[run]
        rest = bp.train(
            NETWORK, own.weights, X[15:], Y[15:], epochs=400 - best, learning_rate=rates[run],
            state=own.state, **told,
        )  # fmt: skip
        weights = bp.initial_weights(NETWORK, [run])
        whole = bp.train(
            NETWORK, weights, X[15:], Y[15:], epochs=400, learning_rate=rates[run], **told
        )
        assert rest.weights.tolist() == whole.weights.tolist()


def test_a_metric_begins_with_the_history_and_ends_with_the_kept_weights() -> None:
    result = trained(NETWORK, Y, epochs=200, patience=5)
    assert result.val_loss is not None
    assert result.best_epoch is not None
    final = bp.evaluate(NETWORK, result.weights, X[:15], Y[:15]).loss
    series = series_of(result, "every:10", {"val_loss": final})
    losses = series["val_loss"]
    for run in range(9):
        kept, end = losses.kept[run], int(result.epochs[run])
        steps = losses.steps[run] if losses.steps.ndim == 2 else losses.steps
        expected = sorted({*range(0, end, 10), end - 1})
        assert steps[kept].tolist() == [*expected, end]
        assert losses.values[run][kept].tolist() == [
            *result.val_loss[run, expected],
            final[run],
        ]
        assert final[run] <= np.nanmin(result.val_loss[run, 1:])
    assert series["best_epoch"].values[:, 0].tolist() == result.best_epoch.tolist()
    assert "val_loss" in series_of(result, "none", {"val_loss": final})


def test_a_sweep_keeps_the_histories_of_validation(tmp_path: Path) -> None:
    uri = stores.empty_database(tmp_path / "kept.db")
    outcomes = bp.sweep(
        CLASSES, X[15:], LABELS[15:], {"lr": [0.1, 0.5], "seed": [0, 1, 2]}, init="xavier",
        validation=(X[:15], LABELS[:15]), tracking=uri, record="loss", epochs=60, patience=4,
        progress=False,
    )  # fmt: skip
    found = outcomes.histories()
    assert found["val_loss"].shape == found["val_accuracy"].shape == (6, 60)
    for row in range(6):
        run = bp.load_run(f"{outcomes.sweep}{row:016x}", tracking=uri)
        end = int(outcomes["epochs"][row])
        steps, values = run.histories["val_loss"]
        assert steps.tolist() == list(range(end + 1))
        assert values[:-1].tolist() == found["val_loss"][row, :end].tolist()
        assert values[-1] == outcomes["val_loss"][row]
        assert run.metrics["best_epoch"] == outcomes["best_epoch"][row]


def test_both_curves_are_drawn() -> None:
    result = trained(NETWORK, Y, patience=3)
    with_both = training_png(result, 0, 1.0)
    assert with_both.startswith(b"\x89PNG")
    assert with_both != training_png(trained(NETWORK, Y, validation=None), 0, 1.0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"patience": 3, "validation": None}, "patience is 3, without rows of validation"),
        ({"patience": 0}, "patience is 0; allowed: whole numbers from 1"),
        ({"patience": 1, "min_delta": -1}, "min_delta is -1; allowed: finite numbers from 0"),
        ({"patience": 1, "min_delta": np.nan}, "min_delta is NaN; allowed: finite numbers"),
        ({"validation": 3}, r"validation is 3; allowed: inputs and targets; write \(x, y\)"),
        ({"validation": (X, Y, Y)}, "allowed: inputs and targets"),
        ({"validation": (X[:2], Y[:3])}, "validation y has 3 rows; allowed: 2"),
        (
            {"validation": (X[:, :1], Y)},
            r"validation x has shape \(40, 1\); allowed",
        ),
        ({"validation": (X * np.inf, Y)}, r"validation x\[0, 0\] is -?(inf|NaN); allowed: fin"),
        (
            {"validation": (X[:0], Y[:0])},
            "validation x has 0 values; allowed: one",
        ),
    ],
)
def test_bad_input_is_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        trained(NETWORK, Y, **settings)


def test_the_command_stops_early_and_says_so(tmp_path: Path) -> None:
    aside = ("data.validation=0.3", "train.epochs=2000", "network.hidden=[8]")
    words = ("experiment=logistic", *aside, "train.lr=2", "tracking=none")
    done = call(tmp_path, "train", *words, "train.patience=3")
    assert done.returncode == 0, done.stderr
    assert "these weights are kept" in done.stdout
    assert "val_loss" in done.stdout
    for wrong, message in {
        "train.min_delta=1": "train.min_delta is given and would change nothing",
        "train.early_stopping=3": "train.patience",
    }.items():
        done = call(tmp_path, "train", *words, wrong)
        assert done.returncode == 1
        assert message in done.stderr
    done = call(tmp_path, "train", "tracking=none", "train.patience=3")
    assert "train.patience is 3, without rows of validation" in done.stderr
