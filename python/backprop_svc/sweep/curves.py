"""How the losses of a sweep fall: a sample of its histories, and their quantiles."""

from __future__ import annotations

from typing import NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from backprop_svc.arrays import Floats
from backprop_svc.sweep.experiment import Experiment
from backprop_svc.sweep.outcomes import Outcomes
from backprop_svc.sweep.space import Points

SAMPLE = 200
"""The number of runs that are trained again for their histories of loss."""
QUANTILES = {"best": 0.0, "quartile": 0.25, "median": 0.5}


class Curves(NamedTuple):
    """Histories of loss of a sample of the runs."""

    loss: Floats
    """Shape (runs, epochs); NaN after a divergence."""
    learning_rate: Floats
    """Learning rates of the first layer, shape (runs,)."""
    rows: NDArray[np.int64]
    """Positions of the runs among all of the sweep, ascending, shape (runs,)."""

    def quantiles(self) -> dict[str, Floats]:
        """Return the best loss, the lower quartile and the median, each (epochs,)."""
        # A run that diverged is worse than all others.
        loss = np.where(np.isnan(self.loss), np.inf, self.loss)
        curves = np.quantile(loss, list(QUANTILES.values()), axis=0, method="lower")
        return dict(zip(QUANTILES, curves, strict=True))


def sample_curves(experiment: Experiment, outcomes: Outcomes) -> Curves:
    """Train a sample of the runs again, which takes microseconds, and record their losses."""
    runs = len(outcomes)
    rows = np.unique(np.linspace(0, runs - 1, min(SAMPLE, runs)).astype(np.int64))
    points = {name: values[rows] for name, values in outcomes.points.items()}
    rates, weights = experiment.starts(Points(len(rows), points))
    result = experiment.train(rates, weights, ("loss",))
    loss = cast(Floats, result.loss)
    # A run that converged keeps its loss after it ended; only a diverged one has none.
    after = np.isnan(loss) & (result.diverged_at < 0)[:, np.newaxis]
    loss = np.where(after, result.last_loss[:, np.newaxis], loss)
    return Curves(loss, rates.reshape(len(rates), -1)[:, 0], rows)
