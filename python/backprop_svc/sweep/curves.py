"""How the losses of a sweep fall: a sample of its histories, and their quantiles."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from backprop_svc.arrays import Floats
from backprop_svc.measured import sharpness_history
from backprop_svc.result import Result
from backprop_svc.sweep.experiment import Experiment
from backprop_svc.sweep.outcomes import Outcomes
from backprop_svc.sweep.space import Points

SAMPLE = 200
"""The number of runs that are trained again for their histories of loss."""
MOST_WORK, LEAST_WORK, STEPS = 10**9, 256, 40
"""Products that the sharpness of the sample may take, less than a second; those that each
parameter of an epoch counts as at least, for the memory that its weight takes; products of the
Hessian with a vector that large networks need."""
QUANTILES = {"best": 0.0, "quartile": 0.25, "median": 0.5}


class Curves(NamedTuple):
    """Histories of loss of a sample of the runs."""

    loss: Floats
    """Shape (runs, epochs); NaN after a divergence."""
    learning_rate: Floats
    """Learning rates of the first layer, shape (runs,)."""
    rows: NDArray[np.int64]
    """Positions of the runs among all of the sweep, ascending, shape (runs,)."""
    epochs: NDArray[np.int64]
    """Of the histories, shape (epochs,): those of runs that go on do not begin with 0."""
    val_loss: Floats | None = None
    """As ``loss``, on the rows of validation, where there are any."""
    sharpness: Floats | None = None
    """As ``loss``, where the runs keep it and it is computed in a moment."""

    def quantiles(self) -> dict[str, Floats]:
        """Return the best loss, the lower quartile and the median, each (epochs,)."""
        # A run that diverged is worse than all others.
        loss = np.where(np.isnan(self.loss), np.inf, self.loss)
        curves = np.quantile(loss, list(QUANTILES.values()), axis=0, method="lower")
        return dict(zip(QUANTILES, curves, strict=True))


def sample_curves(experiments: Sequence[Experiment], outcomes: Outcomes) -> Curves | None:
    """Train a sample of the runs again, which takes microseconds, and record their losses.

    Parameters
    ----------
    experiments
        What each configuration of the sweep trains; all have equally many points.
    outcomes
        What came of their runs, those of the first configuration first.

    Returns
    -------
    ``None`` where the histories of configurations are not of the same epochs.
    """
    runs, points = len(outcomes), len(outcomes) // len(experiments)
    rows = np.unique(np.linspace(0, runs - 1, min(SAMPLE, runs)).astype(np.int64))
    parts = [
        _curves(experiment, outcomes, own)
        for number, experiment in enumerate(experiments)
        if (own := rows[rows // points == number]).size
    ]
    first, *others = parts
    if not all(np.array_equal(first.epochs, other.epochs) for other in others):
        return None
    return Curves(
        np.concatenate([part.loss for part in parts]),
        np.concatenate([part.learning_rate for part in parts]),
        rows,
        first.epochs,
        _of_all([part.val_loss for part in parts]),
        _of_all([part.sharpness for part in parts]),
    )


def _of_all(histories: list[Floats | None]) -> Floats | None:
    there = [history for history in histories if history is not None]
    return np.concatenate(there) if len(there) == len(histories) else None


def _curves(experiment: Experiment, outcomes: Outcomes, rows: NDArray[np.int64]) -> Curves:
    points = {name: values[rows] for name, values in outcomes.points.items()}
    start = experiment.starts(Points(len(rows), points))
    sharp = experiment.settings["sharpness"] and _work(experiment, len(rows)) <= MOST_WORK
    result = experiment.train(start, ("loss", "weights") if sharp else ("loss",), measure=False)
    loss = _to_the_end(cast(Floats, result.loss), result)
    first_rates = start.rates.reshape(len(rows), -1)[:, 0]
    val_loss = None if result.val_loss is None else _to_the_end(result.val_loss, result)
    sharpness = None
    if sharp:
        sharpness = _to_the_end(sharpness_history(result, *experiment.data), result)
    return Curves(loss, first_rates, rows, result.recorded, val_loss, sharpness)


def _work(experiment: Experiment, runs: int) -> int:
    """Return roughly how many products the sharpness of all epochs of some runs takes."""
    parameters, rows = experiment.network.parameters, np.size(experiment.data.y)
    each = max(LEAST_WORK, rows * min(parameters, STEPS))
    return runs * int(experiment.settings["epochs"]) * parameters * each


def _to_the_end(history: Floats, result: Result) -> Floats:
    """Let a run that ended early keep its last value; only a diverged one has none."""
    last = np.maximum(0, (~np.isnan(history)).cumsum(axis=1).argmax(axis=1))
    kept = np.take_along_axis(history, last[:, np.newaxis], axis=1)
    after = np.isnan(history) & (result.diverged_at < 0)[:, np.newaxis]
    return np.where(after, kept, history)
