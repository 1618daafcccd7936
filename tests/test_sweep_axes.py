"""Settings of training as axes of a sweep: one call, and what each run says of itself."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pyarrow import parquet

import backprop_svc as bp
import stores
from backprop_svc.cli.config.going_on import _trained
from backprop_svc.tracking.identity import new_sweep_id
from command import call
from test_instruction_sets import bits

GUIDE = bp.Network(1, 1, 1)
DEEP = bp.Network(1, 2, 1, 1, activation="leaky_relu")
WEIGHTS = np.linspace(-1, 1.5, DEEP.parameters)
X, Y = np.linspace(-1, 1, 7), np.linspace(0, 1, 7) ** 2
VALUES: dict[str, Any] = {
    "train.momentum": bp.Interval(0, 0.9),
    "train.beta2": [0.9, 0.999],
    "train.weight_decay": [0.0, 0.1],
    "train.batch_seed": [0, 1, 2],
    "network.gain": bp.LogInterval(0.5, 2),
    "network.negative_slope": [0.0, 0.5],
    "train.lr1": [0.0, 0.1],
    "train.lr3": bp.Interval(0, 0.2),
}


@pytest.mark.parametrize("names", [[name] for name in VALUES] + [list(VALUES)])
def test_each_point_is_trained_with_its_own_values(names: list[str]) -> None:
    told: dict[str, Any] = {"optimizer": "adam", "batch_size": 3, "epochs": 20}
    axes = {name: VALUES[name] for name in names}
    points = 3 if any(isinstance(axis, bp.Interval) for axis in axes.values()) else None
    outcomes = bp.sweep(DEEP, X, Y, axes, init=WEIGHTS, points=points, **told)
    for row in range(0, len(outcomes), 7):
        own = {name: outcomes[name][row] for name in names}
        rates = np.full(3, 0.1)
        for layer in (1, 3):
            rates[layer - 1] = own.pop(f"train.lr{layer}", 0.1)
        keywords = {name.rpartition(".")[2]: value.item() for name, value in own.items()}
        if "batch_seed" in keywords:
            keywords["batch_seed"] = int(keywords["batch_seed"])
        layered = any(name.startswith("train.lr") for name in names)
        alone = bp.train(
            DEEP, WEIGHTS, X, Y, learning_rate=rates[np.newaxis] if layered else 0.1,
            **told, **keywords,
        )  # fmt: skip
        assert outcomes["loss"][row] == alone.last_loss[0]
        assert outcomes["outcome"][row] == alone.outcome[0]


@pytest.mark.parametrize(
    ("axes", "told", "message"),
    [
        ({"momentum": [0.5]}, {}, "would change nothing; allowed: with the optimizer momentum"),
        ({"beta2": [0.5]}, {"optimizer": "momentum"}, "allowed: with the optimizer adam"),
        ({"batch_seed": [1]}, {}, "allowed: with a batch_size"),
        ({"negative_slope": [1]}, {}, "allowed: with leaky_relu"),
        ({"weight_decay": [1]}, {"weight_decay": 0.1}, "weight_decay is 0.1, and train.weight"),
        ({"weight_decay": [0, -1]}, {}, "train.weight_decay is -1.0; allowed: finite numbers"),
        ({"gain": [1, 0]}, {}, "network.gain is 0.0; allowed: finite numbers above 0"),
        ({"lr": [0.1, 0]}, {}, "train.lr is 0.0; allowed: finite numbers above 0"),
        ({"lr1": [0, 1], "lr2": [1, 0]}, {}, "train.lr1 and train.lr2 are 0 in one run"),
        ({"lr3": [0.1]}, {}, "the axis 'train.lr3' is given and would change nothing"),
        ({"lr17": [0.1]}, {}, "an axis has the name 'lr17'; allowed: train.lr, train.lr1,"),
        (
            {"momentum": [0, 1]}, {"optimizer": "nesterov"},
            "train.momentum is 1.0; allowed: numbers from 0 to below 1",
        ),
    ],
)  # fmt: skip
def test_axes_that_no_run_can_have_are_refused(
    axes: dict[str, Any], told: dict[str, Any], message: str
) -> None:
    with pytest.raises(bp.SettingError, match=message):
        bp.sweep(GUIDE, 2.0, 3.0, axes, **told)
    with pytest.raises(bp.SettingTypeError, match="give several as an axis"):
        bp.sweep(GUIDE, 2.0, 3.0, {}, optimizer="momentum", momentum=[0.5, 0.9])
    zipped = {"lr1": bp.Zipped([0, 1]), "lr2": bp.Zipped([1, 0])}
    assert len(bp.sweep(GUIDE, 2.0, 3.0, zipped)) == 2


def test_a_run_is_tracked_with_the_network_that_it_had(tmp_path: Path) -> None:
    uri = stores.empty_database(tmp_path / "mlflow.db")
    network = bp.Network(1, 2, 1, activation="tanh")
    axes: dict[str, Any] = {
        "gain": [0.5, 1.0, 2.0],
        "weight_decay": [0.0, 0.1],
        "lr2": [0, 0.1],
    }
    told: dict[str, Any] = {"init": "he", "epochs": 30, "tracking": uri}
    outcomes = bp.sweep(network, X, Y, axes, sweep_id=new_sweep_id(), **told)
    for row, best in enumerate(outcomes.best(12)):
        run = bp.load_run(best["run_id"], tracking=uri)
        gain = best["network.gain"]
        assert run.network == bp.Network(1, 2, 1, activation="tanh", gain=gain)
        assert run.params["network"] == str(run.network)
        assert run.params["network.gain"] == str(gain)
        assert run.params["train.weight_decay"] == str(best["train.weight_decay"])
        assert run.weights is not None
        assert run.network is not None
        rmse = np.sqrt(2 * bp.evaluate(run.network, run.weights, X, Y).loss[0])
        assert best["rmse"] == pytest.approx(rmse, rel=1e-12), row
        # It goes on with what it had, and no rate for all layers is 0.
        train = _trained(run)
        names = ("lr", "lr1", "lr2", "weight_decay")
        assert [float(train[name]) for name in names] == [
            0.1, 0.1, best["train.lr2"], best["train.weight_decay"]
        ]  # fmt: skip


def test_the_command_has_them_as_axes(tmp_path: Path) -> None:
    done = call(
        tmp_path, "sweep", "train.optimizer=momentum,adam", "train.momentum=interval(0,0.99)",
        "train.weight_decay=0,0.1", "train.lr2=tag(log,interval(0.01,1))", "sweep.points=4",
        "tracking=none", "sweep.results=all.parquet", "network.gain=1,2",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "128 runs" in done.stdout
    assert "2 configurations × 64 points" in done.stdout
    table = parquet.read_table(tmp_path / "all.parquet")
    momenta = table["train.momentum"].to_numpy()
    assert (momenta == np.tile(np.repeat(np.linspace(0, 0.99, 4), 16), 2)).all()
    rates = np.stack([np.full(64, 0.1), table["train.lr2"].to_numpy()[:64]], axis=1)
    expected = bp.train(
        GUIDE, [0.5, 1.0], 2.0, 3.0, learning_rate=rates, optimizer="momentum",
        momentum=momenta[:64], weight_decay=table["train.weight_decay"].to_numpy()[:64],
        gain=table["network.gain"].to_numpy()[:64],
    )  # fmt: skip
    assert bits(table["loss"].to_numpy()[:64]) == bits(
        np.where(expected.outcome == "diverged", np.inf, expected.last_loss)
    )


def test_the_order_of_the_axes_is_that_of_the_command(tmp_path: Path) -> None:
    own = ["train.lr=interval(0.9,2)", "train.weight_decay=interval(0,0.5)"]
    more = ["sweep.points=[7,3]", "tracking=none", "sweep.dry_run=true"]
    done = call(tmp_path, "sweep", "experiment=weight_decay", *own, *more)
    assert done.returncode == 0, done.stderr
    assert re.search(r"train\.lr +7 values", done.stdout)
    assert re.search(
        r"train\.weight_decay +3 values|train\.weight_decay +0, 0\.25, 0\.5", done.stdout
    )


def test_a_frozen_layer_is_an_axis_of_a_tracked_sweep(tmp_path: Path) -> None:
    stores.empty_database(tmp_path / "mlflow.db")
    done = call(tmp_path, "sweep", "train.lr1=0,0.1", "train.epochs=5")
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    assert "2 runs tracked" in done.stdout
    done = call(tmp_path, "sweep", "train.lr2=0", "init.w1=0.5,0.6", "train.epochs=5")
    assert done.returncode == 0, done.stderr
    done = call(tmp_path, "train", "init.run=best", "train.epochs=3")
    assert done.returncode == 0, done.stderr
    done = call(tmp_path, "explain", "run=best")
    assert done.returncode == 0, done.stderr
    assert "at the largest rate of a layer" in done.stdout
