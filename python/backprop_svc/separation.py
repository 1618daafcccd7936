"""How fast a run and its copy beside it come apart: Benettin's method."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from backprop_svc.arrays import Floats
from backprop_svc.hyperparameters import OF_TRAINING, part
from backprop_svc.result import Result
from backprop_svc.state import State

SMALLEST = 1e-200
"""The size of a state beside which nothing can be nudged any more."""
EVERY = 4
"""Epochs between two measurements of a distance, after which it is made small again."""
MOST_VALUES = 1 << 20
"""Numbers of the states that are trained together: 8 MB."""
SHARED = ("optimizer", "epsilon", "batch_size", "threads", *OF_TRAINING)
"""Settings of :func:`train`, shared by all runs, that say what an epoch does."""


def exponents(
    begin: Result,
    x: Any,
    y: Any,
    shared: Mapping[str, Any],
    epochs: int,
    train: Callable[..., Result],
) -> Floats:
    """Measure the Lyapunov exponents of runs from where they ended, shape (runs,).

    Each run has the bits that it has alone. One that diverged has NaN.

    Parameters
    ----------
    begin
        Where they ended, with what they have of their own.
    x, y
        The rows.
    shared
        Those of :data:`SHARED` that are not as by default.
    epochs
        How many epochs an exponent is a mean over.
    train
        :func:`backprop_svc.train`.
    """
    state = begin.state
    # Without mini-batches and Adam's first steps every epoch is like every other.
    is_counted = begin.optimizer == "adam" or shared.get("batch_size") is not None
    firsts = state.epochs if is_counted else np.minimum(state.epochs, 0)
    states = np.hstack([begin.weights, state.memory])
    own = {"learning_rate": begin.learning_rate, **begin.hyperparameters}
    found = np.full(len(begin), np.nan)
    size = max(1, MOST_VALUES // (2 * states.shape[1]))
    for first in np.unique(firsts[firsts >= 0]).tolist():
        runs = np.flatnonzero(firsts == first)
        for low in range(0, len(runs), size):
            some = runs[low : low + size]
            # The runs, and then their copies.
            after = _Epochs(begin, x, y, {**shared, **part(own, np.tile(some, 2))}, train)
            found[some] = _separate(states[some], first, epochs, after)
    return found


class _Epochs:
    """Trains states of runs for some epochs."""

    def __init__(
        self, begin: Result, x: Any, y: Any, told: dict[str, Any], train: Callable[..., Result]
    ) -> None:
        self.network, self._optimizer = begin.network, begin.optimizer
        self._rows, self._told, self._train = (x, y), told, train

    def __call__(self, states: Floats, first: int, epochs: int) -> tuple[Floats, Any]:
        """Return the states after the epochs, and which runs did not diverge."""
        own, memory = np.split(states, [self.network.parameters], axis=1)
        if self._optimizer == "adam":
            # A mean of squares is not below 0.
            squares = memory[:, self.network.parameters :]
            np.maximum(squares, 0, out=squares)
        state = State(self._optimizer, [first] * len(states), memory)
        done = self._train(
            self.network, own, *self._rows, **self._told, state=state, epochs=epochs, record=()
        )
        return np.hstack([done.weights, done.state.memory]), done.diverged_at < 0


def _separate(here: Floats, first: int, epochs: int, after: _Epochs) -> Floats:
    limits, chance = np.finfo(after.network.dtype), np.random.default_rng(0)
    # The same direction for all runs: what is beside a run changes nothing.
    apart = np.broadcast_to(chance.standard_normal(here.shape[1]), here.shape)
    total, bounded = np.zeros(len(here)), np.full(len(here), fill_value=True)
    left = epochs
    while left:
        some, size = min(EVERY, left), _length(here)
        bounded &= size < limits.max / 2
        # Runs that diverged cannot go on: they stay at 0.
        here = np.where(bounded[:, None], here, 0.0)
        distance = float(limits.eps) ** 0.5 * np.where(bounded & (size > SMALLEST), size, 1.0)
        beside = here + apart / _length(apart)[:, None] * distance[:, None]
        both, is_there = after(np.vstack([here, beside]), first + epochs - left, some)
        # What an optimizer remembers may be infinite where the weights are not.
        is_there &= np.isfinite(both).all(axis=1)
        bounded &= is_there.reshape(2, -1).all(axis=0)
        here, moved = (np.where(bounded[:, None], s, 0.0) for s in np.split(both, 2))
        apart = moved - here
        length, least = _length(apart), limits.eps * distance
        # Each by itself: their ratio may be beyond the largest number.
        total += np.log(np.maximum(length, least)) - np.log(distance)
        # What is not apart any more is nudged anew.
        anew = chance.standard_normal(here.shape[1])
        apart = np.where((length < least)[:, None], anew, apart)
        left -= some
    return np.where(bounded, total / epochs, np.nan)


def _length(vectors: Floats) -> Floats:
    """Return the largest absolute component, whose square is never taken, shape (runs,)."""
    found: Floats = np.abs(vectors).max(axis=1, initial=0.0)
    return found
