"""What happened to a run on the way: its highest loss, its death, and where it was stopped."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import backprop_svc as bp

GUIDE = bp.Network(1, 1, 1)
LINEAR = bp.Network(1, 1, 1, activation="identity")
WIDE = bp.Network(1, 3, 1, activation="tanh", bias=True)


def test_the_epoch_of_death_is_the_first_without_a_gradient() -> None:
    rates = np.linspace(0.2, 0.4, 400)
    result = bp.train(GUIDE, [0.5, 1.0], 2.0, 3.0, learning_rate=rates, epochs=200)
    assert result.gradients is not None
    dead = result.outcome == "dead"
    assert 50 < dead.sum() < 400
    silent = (result.gradients == 0).all(axis=2)
    # Where the minimum is met exactly the gradient is 0 as well.
    np.testing.assert_array_equal(result.died_at[dead], silent.argmax(axis=1)[dead])
    assert (result.died_at[~dead] == -1).all()


def test_the_highest_loss_is_that_of_the_history() -> None:
    rates = np.concatenate([np.linspace(0.001, 0.32, 500), [5.0, 1e-9]])
    for network in (GUIDE, LINEAR):
        result = bp.train(network, [0.5, 1.0], 2.0, 3.0, learning_rate=rates, epochs=3000)
        without = bp.train(
            network, [0.5, 1.0], 2.0, 3.0, learning_rate=rates, epochs=3000, record=[]
        )
        assert result.loss is not None
        assert result.highest_loss.tolist() == np.nanmax(result.loss, axis=1).tolist()
        assert result.highest_loss_at.tolist() == np.nanargmax(result.loss, axis=1).tolist()
        assert without.highest_loss.tolist() == result.highest_loss.tolist()
        assert without.highest_loss_at.tolist() == result.highest_loss_at.tolist()


@pytest.mark.parametrize("network", [GUIDE, LINEAR, bp.Network(1, 1), WIDE])
@pytest.mark.parametrize("target", [3.0, 0.0, -1e-3])
def test_the_highest_loss_of_any_start(network: bp.Network, target: float) -> None:
    """Beside runs that fall, and some of which begin at a saddle, or repeat cycles."""
    random = np.random.default_rng(11)
    starts = random.normal(size=(400, network.parameters))
    starts[::10] *= 1e-6
    rates = np.geomspace(1e-3, 0.7, 400)
    settings: dict[str, Any] = {"learning_rate": rates, "epochs": 1500}
    for precision in ("exact", "fast"):
        kept = bp.train(network, starts, 2.0, target, precision=precision, **settings)
        result = bp.train(
            network, starts, 2.0, target, precision=precision, record=[], **settings
        )
        assert kept.loss is not None
        np.testing.assert_array_equal(result.highest_loss, np.nanmax(kept.loss, axis=1))
        np.testing.assert_array_equal(result.highest_loss_at, np.nanargmax(kept.loss, axis=1))


def test_an_outcome_is_that_of_the_last_epoch_whatever_weights_are_kept() -> None:
    """Early stopping keeps the best weights; how training went is another question."""
    random = np.random.default_rng(2)
    starts, rates = random.normal(size=(60, 2)), np.geomspace(0.01, 0.3, 60)
    settings: dict[str, Any] = {"learning_rate": rates, "record": []}
    stopped = bp.train(
        LINEAR, starts, 2.0, 3.0, epochs=3000, validation=(2.0, 2.9), patience=7, **settings
    )
    assert stopped.best_epoch is not None
    assert (stopped.best_epoch < stopped.epochs).any()
    for epochs in np.unique(stopped.epochs).tolist():
        whole = bp.train(LINEAR, starts, 2.0, 3.0, epochs=epochs, **settings)
        here = (stopped.epochs == epochs) & (stopped.outcome != "diverged")
        for name in ("outcome", "period", "died_at", "highest_loss", "highest_loss_at"):
            expected = getattr(whole, name)[here].tolist()
            assert getattr(stopped, name)[here].tolist() == expected, (name, epochs)
    assert len(np.unique(stopped.outcome)) > 2


@pytest.mark.parametrize("optimizer", ["gradient_descent", "momentum", "adam"])
def test_an_outcome_does_not_depend_on_a_pause(optimizer: Any) -> None:
    random = np.random.default_rng(4)
    starts, rates = random.normal(size=(100, 2)), np.geomspace(0.01, 0.3, 100)
    settings: dict[str, Any] = {"learning_rate": rates, "optimizer": optimizer, "record": []}
    whole = bp.train(GUIDE, starts, 2.0, 3.0, epochs=1200, **settings)
    early = bp.train(GUIDE, starts, 2.0, 3.0, epochs=200, **settings)
    going = np.isin(early.outcome, ["diverged"], invert=True)
    settings["learning_rate"] = rates[going]
    later = bp.train(
        GUIDE, early[going].weights, 2.0, 3.0, epochs=1000, state=early[going].state, **settings
    )
    same = whole.outcome[going] == later.outcome
    # A share of the epochs of a training decides how long a run is followed.
    assert same.mean() > 0.97
    died = (later.outcome == "dead") & same
    assert died.any()
    # What was dead before has died in the first epoch; their numbers go on.
    np.testing.assert_array_equal(
        np.maximum(whole.died_at[going][died], 200), later.died_at[died]
    )
    assert (later.highest_loss_at >= 200).all()
