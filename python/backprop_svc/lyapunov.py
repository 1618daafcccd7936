"""How fast runs that start beside each other come apart."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from backprop_svc._core import Network
from backprop_svc.arrays import Floats
from backprop_svc.errors import SettingTypeError
from backprop_svc.hyperparameters import OF_NETWORK, OF_TRAINING
from backprop_svc.result import Result
from backprop_svc.settings import Positive, check
from backprop_svc.state import State
from backprop_svc.train import train

SMALLEST = 1e-200
"""The size of a state beside which nothing can be nudged any more."""
EVERY = 4
"""Epochs between two measurements of a distance, after which it is made small again."""
ALLOWED = (
    *("state", "learning_rate", "optimizer", "epsilon", "batch_size", "threads"),
    *(*OF_TRAINING, *OF_NETWORK),
)
"""Settings of :func:`train` that say how an epoch changes the state of a run."""


def lyapunov_exponent(
    network: Network,
    weights: ArrayLike,
    x: ArrayLike,
    y: ArrayLike,
    *,
    epochs: Positive = 1000,
    **settings: Any,
) -> Floats:
    """Measure the largest Lyapunov exponent of every run, shape (runs,), in 1/epoch.

    Two runs that start at a tiny distance d are at the distance d·exp(λ·t) after t epochs. λ is
    above 0 for chaotic runs, and below 0 for those that an attracting minimum or cycle draws
    together; where minima form a line, as for two layers, it is 0. Gradient descent near a
    minimum of a single parameter has ln |1 − lr · sharpness|.

    A copy of each run is nudged in a random direction and trained beside it. Every four epochs
    the distance between their states (weights and what the optimizer remembers) is measured and
    made small again (Benettin, Galgani, Giorgilli & Strelcyn, Meccanica 15, 1980). The exponent
    is the mean over all epochs, so begin with weights that are trained. What is lost in
    rounding limits it to some −4 from below.

    Parameters
    ----------
    network, weights, x, y
        As for :func:`train`.
    epochs
        How many epochs the exponent is a mean over, from 1.
    **settings
        Of :func:`train`, with its meaning and defaults: ``state``, ``learning_rate``,
        ``optimizer``, ``momentum``, ``beta2``, ``epsilon``, ``weight_decay``, ``batch_size``,
        ``batch_seed``, ``gain``, ``negative_slope``, ``threads``.

    Returns
    -------
    A run that diverges has NaN.

    Raises
    ------
    SettingError, SettingTypeError
        As :func:`train`.

    >>> import backprop_svc as bp
    >>> linear = bp.Network(1, 1, activation="identity")
    >>> bp.lyapunov_exponent(linear, [0.5], 2.0, 3.0, learning_rate=[0.1, 0.4]).round(6)
    array([-0.510826, -0.510826])
    >>> float(np.log(1 - 0.1 * 2**2).round(6))
    -0.510826
    """
    for name in settings:
        if name not in ALLOWED:
            raise SettingTypeError(
                "lyapunov_exponent", f"the setting {name!r}", ", ".join(ALLOWED),
                "leave it out", verb="was given",
            )  # fmt: skip
    left = check("epochs", epochs, Positive)
    begin = train(network, weights, x, y, **settings, epochs=0, record=())

    def after(states: Floats, epoch: int, epochs: int) -> Result:
        own, memory = np.split(states, [network.parameters], axis=1)
        if begin.optimizer == "adam":
            # A mean of squares is not below 0.
            memory[:, network.parameters :] = np.maximum(memory[:, network.parameters :], 0)
        told = {**settings, "state": State(begin.optimizer, [epoch] * len(states), memory)}
        return train(network, own, x, y, **told, epochs=epochs, record=())

    limits, chance = np.finfo(network.dtype), np.random.default_rng(0)
    epoch, here = begin.state.epoch, _state(begin)
    apart = chance.standard_normal(here.shape)
    total, bounded = np.zeros(len(begin)), np.full(len(begin), fill_value=True)
    while left:
        some, size = min(EVERY, left), _length(here)
        bounded &= size < limits.max / 2
        # Runs that diverged cannot go on: they stay at 0.
        here = np.where(bounded[:, None], here, 0.0)
        distance = float(limits.eps) ** 0.5 * np.where(bounded & (size > SMALLEST), size, 1.0)
        beside = here + apart / _length(apart)[:, None] * distance[:, None]
        run, copy = after(here, epoch, some), after(beside, epoch, some)
        bounded &= (run.diverged_at < 0) & (copy.diverged_at < 0)
        here, moved = (np.where(bounded[:, None], _state(one), 0.0) for one in (run, copy))
        apart = moved - here
        length, least = _length(apart), limits.eps * distance
        total += np.log(np.maximum(length, least) / distance)
        # What is not apart any more is nudged anew.
        apart = np.where((length < least)[:, None], chance.standard_normal(here.shape), apart)
        epoch, left = epoch + some, left - some
    return np.where(bounded, total / epochs, np.nan)


def _state(result: Result) -> Floats:
    """Return weights and what the optimizer remembers, shape (runs, values)."""
    return np.hstack([result.weights, result.state.memory])


def _length(vectors: Floats) -> Floats:
    """Return the largest absolute component, whose square is never taken, shape (runs,)."""
    found: Floats = np.abs(vectors).max(axis=1, initial=0.0)
    return found
