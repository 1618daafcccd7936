"""The report of a sweep: what its parent keeps in MLflow."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from backprop_svc.plots.painter import CURVES, MAP, draw_here
from backprop_svc.sweep.curves import Curves
from backprop_svc.sweep.outcomes import Outcomes
from backprop_svc.tracking import Summary
from backprop_svc.tracking.record import Picture


def summary(
    outcomes: Outcomes,
    curves: Curves | None = None,
    draw: Callable[..., Picture] = draw_here,
) -> Summary:
    """Return figures, pictures and the table of results of a sweep.

    Parameters
    ----------
    outcomes
        What came of all its runs.
    curves
        A sample of the histories of loss, where all runs share their number of epochs.
    draw
        Who draws: :func:`.painter.draw_here`, or the method of a painter.
    """
    # MLflow's page begins with what has a slash in its name: curves and pictures.
    metrics = [
        ("runs", float(len(outcomes)), 0),
        # A resumed sweep may find that nothing is left to do.
        *([("runs_per_second", outcomes.rate, 0)] if outcomes.rate else []),
        ("min_loss", outcomes.best_loss(), 0),
        *((f"share_{name}", share, 0) for name, share in outcomes.shares().items()),
    ]
    figures = {"sweep/last loss": draw(MAP, outcomes.points, outcomes.loss, outcomes.outcome)}
    if curves is not None:
        figures["sweep/loss curves"] = draw(CURVES, curves.loss, curves.learning_rate)
        metrics += [
            (f"sweep/loss_{name}", float(value), epoch)
            for name, curve in curves.quantiles().items()
            for epoch, value in enumerate(curve)
            if np.isfinite(value)
        ]
    return Summary(metrics, files={"results.parquet": outcomes.parquet}, figures=figures)
