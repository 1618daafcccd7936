"""What the report of a sweep says, as numbers and texts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from backprop_svc._core import VERSION
from backprop_svc.metric import MAXIMIZED
from backprop_svc.plots.page.axes import PageAxis, axes_of
from backprop_svc.plots.page.columns import MOST_EXACT, Columns
from backprop_svc.plots.page.importance import importance
from backprop_svc.plots.page.sample import sample
from backprop_svc.plots.page.surface import surface
from backprop_svc.plots.page.winners import MOST, best_runs
from backprop_svc.result import OUTCOMES
from backprop_svc.sweep.curves import Curves
from backprop_svc.sweep.outcomes import Outcomes
from backprop_svc.sweep.repeats import DEVIATION, FAILED, MEAN, RUNS
from backprop_svc.tracking.links import Place

LOGARITHMIC = ("loss", "val_loss", "loss_ratio", "rmse", "val_rmse", "sharpness")
"""Results whose colours and scales are logarithmic."""
MOST_BYTES = 5_500_000
"""Compressed numbers of all runs; of more of them the page holds some runs."""
MOST_EPOCHS = 200
"""Epochs of the curves that are shown, closer together at the beginning."""


def content(
    outcomes: Outcomes, curves: Curves | None, place: Place | None
) -> tuple[dict[str, Any], Columns]:
    """Return what the page is made of: see :func:`backprop_svc.plots.page.report`."""
    axes, objective = axes_of(outcomes), outcomes.objective
    told, columns = _rows(outcomes, axes, slice(None))
    if columns.size > MOST_BYTES:
        main = [axis for axis in axes if not axis.is_seed] or axes
        some = sample(
            main, objective, np.array([], np.int64) if curves is None else curves.rows
        )
        told, columns = _rows(outcomes, axes, some.rows)
        place_of = columns.add(some.rows.astype(np.float64))
        told["sample"] = {"rows": place_of, "drawn": some.drawn, "cells": some.cells}
    by_axis = {axis.name: axis.values for axis in axes if not axis.is_seed}
    told |= {
        "sweep": outcomes.sweep,
        "version": VERSION,
        "runs": len(outcomes),
        "rounded": len(outcomes) > MOST_EXACT,
        "place": None if place is None else place._asdict(),
        "outcomes": OUTCOMES.tolist(),
        "counts": np.bincount(outcomes.outcome_code, minlength=len(OUTCOMES)).tolist(),
        "objective": outcomes.metric,
        "maximized": outcomes.metric in MAXIMIZED,
        "best": [_run(row, outcomes, axes) for row in best_runs(objective)],
        "settings": _settings(axes, outcomes),
        "importance": importance(by_axis, objective) if len(outcomes) > 2 else None,
        "curves": None if curves is None else _curves(curves, outcomes, columns),
        "surface": surface(outcomes, curves, columns),
    }
    return told, columns


def _rows(
    outcomes: Outcomes, axes: list[PageAxis], rows: NDArray[np.int64] | slice
) -> tuple[dict[str, Any], Columns]:
    """Return the settings and results of some runs."""
    columns = Columns()
    return {
        "axes": [axis.told(columns, rows) for axis in axes],
        "outcome": columns.codes(outcomes.outcome_code[rows], OUTCOMES.tolist()),
        "measures": _measures(outcomes, columns, rows),
    }, columns


def _measures(
    outcomes: Outcomes, columns: Columns, rows: NDArray[np.int64] | slice
) -> list[dict[str, Any]]:
    """Return the results of the runs, those that differ, with their values."""
    found = []
    needed = {"loss", outcomes.metric}
    for name, values in outcomes.results.items():
        is_number = values.dtype.kind in "biuf"
        if not is_number or (name not in needed and (values == values[0]).all()):
            continue
        log = name in LOGARITHMIC
        shown = values.astype(np.float64)
        if name == "diverged_at":
            shown[values < 0] = np.nan
        found.append({"name": name, "log": log, "column": columns.column(shown[rows], log=log)})
    return found


def _run(row: int, outcomes: Outcomes, axes: list[PageAxis]) -> dict[str, Any]:
    """Return one run with the exact values of its settings and results."""
    found = {axis.name: _value(axis, row) for axis in axes}
    results = {name: column[row].item() for name, column in outcomes.results.items()}
    return {"run": row, "settings": found, "results": results}


def _settings(axes: list[PageAxis], outcomes: Outcomes) -> list[dict[str, Any]] | None:
    """Return the best settings over seeds; ``None`` where no seeds differ."""
    if not outcomes.seeds:
        return None
    own = [axis for axis in axes if not axis.is_seed]
    found = []
    for one in outcomes.best_settings(MOST):
        run = int(one["best_run_id"][-16:], 16)
        told = {name: one[name] for name in (MEAN, DEVIATION, RUNS, FAILED)}
        settings = {axis.name: _value(axis, run) for axis in own}
        found.append({"run": run, "settings": settings, **{n: _finite(told[n]) for n in told}})
    return found


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _value(axis: PageAxis, row: int) -> Any:
    value = axis.values[row].item()
    return value if axis.labels is None else axis.labels[value]


def _curves(curves: Curves, outcomes: Outcomes, columns: Columns) -> dict[str, Any]:
    """Return the histories of a sample of the runs, at some of the epochs."""
    count = curves.loss.shape[1]
    epochs = np.unique(np.geomspace(1, count, MOST_EPOCHS).astype(np.int64)) - 1
    if count <= MOST_EPOCHS:
        epochs = np.arange(count)
    told = {
        "loss": curves.loss,
        "val_loss": curves.val_loss,
        "sharpness": curves.sharpness,
    }
    return {
        "epochs": curves.epochs[epochs].tolist(),
        "rows": curves.rows.tolist(),
        "outcome": outcomes.outcome_code[curves.rows].tolist(),
        "histories": {
            name: columns.add(history[:, epochs].astype(np.float64).ravel())
            for name, history in told.items()
            if history is not None
        },
    }
