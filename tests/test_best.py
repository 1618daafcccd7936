"""What runs are compared by, and settings by their seeds."""

from __future__ import annotations

import csv
import io
import re
import shlex
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import r2_score, root_mean_squared_error

import backprop_svc as bp
import stores
from backprop_svc.metric import MAXIMIZED, METRICS
from backprop_svc.sweep import repeats
from backprop_svc.tracking import best_run
from backprop_svc.tracking.access import client_of
from command import call

NETWORK = bp.Network(2, 4, 2, activation="tanh", bias=True)
CLASSES = bp.Network(2, 4, 3, activation="tanh", bias=True, loss="softmax_cross_entropy")
GENERATOR = np.random.default_rng(2)
X = GENERATOR.normal(size=(60, 2))
Y = np.column_stack([np.sin(X[:, 0]), 3 * X[:, 1] ** 2]) + 0.3 * GENERATOR.normal(size=(60, 2))
LABELS = np.eye(3)[np.argmax(X @ [[1, -1, 0], [0, 1, -1]], axis=1)]
AXES: dict[str, Any] = {"lr": [0.05, 0.3, 0.1], "seed": [0, 1, 2, 3]}


def swept(network: bp.Network, y: NDArray[np.float64], **more: Any) -> bp.Outcomes:
    return bp.sweep(
        network, X[20:], y[20:], AXES, init="xavier", validation=(X[:20], y[:20]), epochs=40,
        progress=False, **more,
    )  # fmt: skip


@pytest.mark.parametrize("kind", ["numbers", "one number", "mse", "classes"])
def test_every_metric_is_that_of_scikit_learn(kind: str) -> None:
    y = {"classes": LABELS, "numbers": Y}.get(kind, Y[:, :1])
    sizes = (2, 4, y.shape[1])
    loss = {"classes": "softmax_cross_entropy", "mse": "mse"}.get(kind, "half_squared_error")
    network = bp.Network(*sizes, activation="tanh", bias=True, loss=loss)
    outcomes = swept(network, y, record="weights")
    weights = outcomes.histories()["weights"]
    again = bp.train(
        network, weights[:, 0], X[20:], y[20:], epochs=40, learning_rate=outcomes["train.lr"]
    )
    for prefix, rows in (("", slice(20, None)), ("val_", slice(20))):
        guesses = bp.predict(network, again.weights, X[rows])
        if kind == "classes":
            found = bp.accuracy(guesses, y[rows])
            assert outcomes[f"{prefix}accuracy"].tolist() == found.tolist()
            continue
        rmse = [root_mean_squared_error(y[rows], guess) for guess in guesses]
        r2 = [r2_score(y[rows], guess) for guess in guesses]
        assert outcomes[f"{prefix}rmse"].tolist() == pytest.approx(rmse, rel=1e-9)
        assert outcomes[f"{prefix}r2"].tolist() == pytest.approx(r2, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("metric", METRICS)
def test_the_metric_decides_in_its_direction(metric: str) -> None:
    problem = (CLASSES, LABELS) if metric.endswith("accuracy") else (NETWORK, Y)
    outcomes = swept(*problem, metric=metric)
    values = outcomes[metric]
    best = values.max() if metric in MAXIMIZED else values.min()
    assert outcomes.metric == metric
    assert outcomes.best(1)[0][metric] == outcomes.best_score() == best
    ranked = [run[metric] for run in outcomes.best(12)]
    assert ranked == sorted(values, reverse=metric in MAXIMIZED)
    assert outcomes.ties() == int((values == best).sum())
    shown = bp.figure(outcomes)
    what = "last loss" if metric == "loss" else metric
    assert shown.axes[0].get_title().lower() == f"{what} of 12 runs"


def test_validation_is_the_default_and_divergence_is_the_worst() -> None:
    assert swept(NETWORK, Y).metric == "val_loss"
    plain = bp.sweep(NETWORK, X, Y, {"lr": [0.1]}, init="he", progress=False)
    assert plain.metric == "loss"
    guide = bp.sweep(bp.Network(1, 1, 1), 2.0, 3.0, {"lr": [0.1, 0.2]}, progress=False)
    assert "rmse" not in guide.best(1)[0]
    axes: dict[str, Any] = {"lr": [0.1, 1e9], "seed": [0, 1]}
    network = bp.Network(2, 4, 2, activation="relu", bias=True)
    outcomes = bp.sweep(network, X, Y, axes, init="he", metric="r2", progress=False)
    diverged = outcomes["outcome"] == "diverged"
    assert diverged.tolist() == [False, False, True, True]
    assert outcomes.scores[2:].tolist() == [-np.inf] * 2
    (good, bad) = outcomes.best_settings()
    assert (good["train.lr"], good["failed"], bad["failed"], bad["runs"]) == (0.1, 0, 2, 2)


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        (
            "accuracy",
            "metric is 'accuracy'; allowed: loss, rmse, r2, val_loss, val_rmse, val_r2",
        ),
        ("val", "metric is 'val'; allowed"),
        (3, "metric is 3; allowed"),
    ],
)
def test_a_metric_that_no_run_has_is_refused(metric: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        swept(NETWORK, Y, metric=metric)
    with pytest.raises(ValueError, match="or give rows of validation"):
        bp.sweep(NETWORK, X, Y, {"lr": [0.1]}, init="he", metric="val_r2", progress=False)


def test_settings_are_told_by_mean_and_deviation() -> None:
    outcomes = swept(NETWORK, Y, metric="val_r2")
    assert outcomes.seeds == ("init.seed",)
    settings = outcomes.best_settings()
    values = {rate: outcomes["val_r2"][outcomes["train.lr"] == rate] for rate in AXES["lr"]}
    order = sorted(values, key=lambda rate: -statistics.mean(values[rate]))
    assert [setting["train.lr"] for setting in settings] == order
    for setting in settings:
        own = values[setting["train.lr"]].tolist()
        assert setting["mean"] == pytest.approx(statistics.mean(own))
        assert setting["deviation"] == pytest.approx(statistics.stdev(own))
        assert (setting["runs"], setting["failed"]) == (4, 0)
        best = next(r for r in outcomes.best(12) if r["train.lr"] == setting["train.lr"])
        assert setting["best_run_id"] == best["run_id"]
    assert outcomes.best_settings(1) == settings[:1]
    with pytest.raises(ValueError, match="count is -1"):
        outcomes.best_settings(-1)
    alone = bp.sweep(NETWORK, X, Y, {"lr": [0.1, 0.2]}, init="he", progress=False)
    assert alone.seeds == ()
    assert [s["runs"] for s in alone.best_settings()] == [1, 1]
    assert np.isnan(alone.best_settings()[0]["deviation"])


@pytest.mark.parametrize("metric", [None, "val_r2"])
def test_the_store_knows_the_metric(tmp_path: Path, metric: str | None) -> None:
    uri = stores.empty_database(tmp_path / "kept.db")
    outcomes = swept(NETWORK, Y, metric=metric, tracking=uri, keep_weights="best")
    best = outcomes.best(1)[0]
    assert best_run(outcomes.sweep, tracking=uri) == best["run_id"]
    assert bp.load_run(best["run_id"], tracking=uri).weights is not None
    client = client_of(uri)
    everywhere = [each.experiment_id for each in client.search_experiments()]
    (parent,) = client.search_runs(everywhere, "tags.`backprop.kind` = 'sweep'")
    name = "min_val_loss" if metric is None else "max_val_r2"
    assert parent.data.metrics[name] == outcomes.best_score()
    assert parent.data.metrics["min_loss"] == outcomes.best_loss()
    note = parent.data.tags["mlflow.note.content"]
    ascending = "true" if metric is None else "false"
    assert best["run_id"] in note
    assert f"metrics.%60{outcomes.metric}%60&orderByAsc={ascending}" in note
    assert "**Best settings**" in note
    file = client.download_artifacts(parent.info.run_id, "best_settings.csv", str(tmp_path))
    rows = list(csv.DictReader(io.StringIO(Path(file).read_text())))
    assert [float(r["mean"]) for r in rows] == [s["mean"] for s in outcomes.best_settings()]


def test_the_table_of_the_command_leads_to_predictions(tmp_path: Path) -> None:
    rows = [f"{a},{b},{c}" for a, b, c in np.column_stack([X, 100 * Y[:, 0]]).tolist()]
    Path(tmp_path, "own.csv").write_text("\n".join(["a,b,c", *rows]))
    uri = stores.empty_database(tmp_path / "kept.db")
    words = (
        *("data=csv", "data.path=own.csv", "data.x=[a,b]", "data.y=c", "network.hidden=[4]"),
        *("data.x_scale=standard", "data.y_scale=standard", "data.validation=0.25"),
        *("network.activation=tanh,sigmoid", "init.seed=0,1,2", f"tracking.uri={uri}"),
    )
    done = call(tmp_path, "sweep", *words, "sweep.metric=val_rmse", "train.patience=5")
    assert done.returncode == 0, done.stderr
    assert "best settings: val_rmse, mean ± deviation over init.seed" in done.stdout
    table = done.stdout.partition("best runs")[2].splitlines()
    assert table[1].split()[-1] == "run_id"
    run_id = table[2].split()[-1]
    told = (f"tracking.uri={uri}", "data.path=own.csv", "out=guesses.csv")
    guessed = call(tmp_path, "predict", f"run={run_id}", *told)
    assert guessed.returncode == 0, guessed.stderr
    run = bp.load_run(run_id, tracking=uri)
    assert best_run("last", tracking=uri) == run_id
    # In the unit of the target: the deviation of c is some 70.
    assert 10 < run.metrics["val_rmse"] < 200
    once = (word for word in words if not word.startswith(("data.val", "init.seed", "track")))
    done = call(tmp_path, "sweep", *once, "data.folds=3", "tracking=none")
    assert done.returncode == 0, done.stderr
    assert "6 runs = 6 configurations" in done.stdout
    assert "best settings: val_loss, mean ± deviation over data.fold" in done.stdout
    command = re.search(r"the best settings on all rows: backprop-svc (.*)", done.stdout)
    assert command
    assert "network.activation=" in command[1]
    assert "fold" not in command[1]
    done = call(tmp_path, *shlex.split(command[1]))
    assert done.returncode == 0, done.stderr
    done = call(tmp_path, "sweep", *words, "sweep.metric=accuracy")
    assert done.returncode == 1
    assert "sweep.metric is 'accuracy'; allowed: loss, rmse, r2, val_loss" in done.stderr


def test_a_table_of_the_note_holds_any_value() -> None:
    one = swept(NETWORK, Y)
    evil = "[a|b,`c`\n<img src=x>]"
    several = bp.Outcomes.join([one.with_settings({"data.x": x}) for x in (evil, "[a]")])
    table = repeats.note(several).splitlines()[2:]
    # A bar within a cell is told by the sign before it.
    columns = {len(re.split(r"(?<!\\)\|", row)) for row in table}
    assert len(columns) == 1
    assert any(r"`[a\|b,'c' <img src=x>]`" in row for row in table)
