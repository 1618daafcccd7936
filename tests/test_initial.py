"""Seeded initial weights, in Python and from the command line."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np
import pytest

import backprop_svc as bp
import stores
from command import call

NETWORK = bp.Network(40, 60, 20, bias=True)
SPREAD = {
    "normal": (1.0, 1.0),
    "uniform": (3**-0.5, 3**-0.5),
    "he": ((2 / 40) ** 0.5, (2 / 60) ** 0.5),
    "xavier": ((2 / 100) ** 0.5, (2 / 80) ** 0.5),
}
"""Standard deviation of the weights of both layers, from the papers' formulas."""


@pytest.mark.parametrize("method", SPREAD)
def test_spread_of_each_layer(method: str) -> None:
    weights = bp.initial_weights(NETWORK, range(20), method)
    assert weights.shape == (20, NETWORK.parameters)
    first, rest = np.split(weights, [40 * 60], axis=1)
    biases, second, last = np.split(rest, [60, 60 + 60 * 20], axis=1)
    assert not biases.any()
    assert not last.any()
    for layer, spread in zip((first, second), SPREAD[method], strict=True):
        assert abs(layer.mean()) < 0.05 * spread
        assert layer.std() == pytest.approx(spread, rel=0.02)


def test_a_run_depends_on_its_own_seed_alone() -> None:
    together = bp.initial_weights(NETWORK, [7, 3, 7], scale=[1, 2, 0.5], offset=[0, 0, 1])
    alone = [bp.initial_weights(NETWORK, seed)[0] for seed in (7, 3)]
    assert (together[0] == alone[0]).all()
    assert (together[1] == 2 * alone[1]).all()
    weights = together[2] != 0
    assert (together[2][weights] == 1 + 0.5 * alone[0][weights]).all()
    # The first number of MT19937 with seed 7, as NumPy has always drawn it.
    network = bp.Network(1, 1)
    assert bp.initial_weights(network, 7, "normal")[0, 0] == 1.690525703800356


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: bp.initial_weights(NETWORK, -1), "seed is -1; allowed: whole numbers"),
        (lambda: bp.initial_weights(NETWORK, 0.5), "seed is 0.5; allowed"),
        (lambda: bp.initial_weights(NETWORK, 0, "hee"), "method is 'hee'; allowed"),
        (
            lambda: bp.initial_weights(NETWORK, scale=np.inf),
            "scale is inf; allowed: finite",
        ),
    ],
)
def test_bad_input_is_named(call: object, message: str) -> None:
    assert callable(call)
    with pytest.raises(ValueError, match=message):
        call()


def test_seeds_are_an_axis(tmp_path: Path) -> None:
    stores.empty_database(tmp_path / "mlflow.db")
    axes = ["init.seed=range(0,30)", "init.scale=1,2", "tracking.history=none"]
    done = call(tmp_path, "sweep", "experiment=xor", *axes)
    assert done.returncode == 0, done.stderr
    assert "60 runs tracked" in done.stdout
    with sqlite3.connect(tmp_path / "mlflow.db") as db:
        seeds = db.execute(
            "select count(distinct value) from params where key = 'init.seed' "
            "and run_uuid in (select run_uuid from tags where key = 'backprop.index')"
        )
        assert seeds.fetchone() == (30,)
        solved = db.execute(
            "select count(*) from latest_metrics where key = 'accuracy' and value = 1"
        )
        assert solved.fetchone()[0] > 30
    db.close()


def test_given_weights_have_no_seed(tmp_path: Path) -> None:
    done = call(tmp_path, "sweep", "init.seed=1,2")
    assert done.returncode == 1
    assert "init.seed is given and would change nothing; allowed: with init=" in done.stderr
