"""The report of a sweep: what its parent keeps in MLflow."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from backprop_svc.metric import extreme, shown
from backprop_svc.plots.painter import CURVES, MAP, PAGE, draw_here
from backprop_svc.sweep import repeats
from backprop_svc.sweep.curves import Curves
from backprop_svc.sweep.outcomes import Outcomes
from backprop_svc.tracking import Summary
from backprop_svc.tracking.links import REPORT, Place
from backprop_svc.tracking.record import Picture


def summary(
    outcomes: Outcomes,
    curves: Curves | None = None,
    draw: Callable[..., Picture] = draw_here,
    place: Place | None = None,
) -> Summary:
    """Return figures, pictures and the table of results of a sweep.

    Parameters
    ----------
    outcomes
        What came of all its runs.
    curves
        A sample of the histories of loss, where all runs have the same epochs.
    draw
        Who draws: :func:`.painter.draw_here`, or the method of a painter.
    place
        Where the runs are in MLflow.
    """
    best, runs = outcomes.best(1)[0], len(outcomes)
    metric, score = outcomes.metric, outcomes.best_score()
    # Where the sweep told how far it is, these are the last of its steps.
    metrics = [
        ("runs", float(runs), runs),
        # A resumed sweep may find that nothing is left to do.
        *([("runs_per_second", outcomes.rate, runs)] if outcomes.rate else []),
        ("min_loss", outcomes.best_loss(), runs),
        *([(extreme(metric), score, runs)] if metric != "loss" and np.isfinite(score) else []),
        *((f"share_{n}", share, runs) for n, share in outcomes.shares().items() if share),
    ]
    # MLflow's page begins with what has a slash in its name: curves and pictures.
    figures = {
        f"sweep/{shown(metric)}": draw(
            MAP, outcomes.points, outcomes.scores, outcomes.outcome, metric
        )
    }
    if curves is not None:
        figures["sweep/loss curves"] = draw(
            CURVES, curves.loss, curves.learning_rate, curves.epochs
        )
        metrics += [
            (f"sweep/loss_{name}", float(value), epoch)
            for name, curve in curves.quantiles().items()
            for epoch, value in zip(curves.epochs.tolist(), curve, strict=True)
            if np.isfinite(value)
        ]
    files = {"results.parquet": outcomes.parquet}
    if outcomes.seeds:
        files["best_settings.csv"] = repeats.to_csv(outcomes)
    page = draw(PAGE, outcomes, curves, place)
    return Summary(
        metrics,
        best=int(best["run_id"][-16:], 16) if np.isfinite(score) else None,
        files=files,
        pages={REPORT: page},
        metric=metric,
        note="\n\n".join(filter(None, [outcomes.ties_told(), repeats.note(outcomes)])),
        figures=figures,
    )
