"""The loss of a network of one or two parameters over them, and how runs move on it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from backprop_svc._core import Network
from backprop_svc.arrays import Floats, pairs
from backprop_svc.datasets import Dataset
from backprop_svc.evaluate import evaluate, gradients
from backprop_svc.plots.page.columns import Columns
from backprop_svc.sweep.axes import GAINS
from backprop_svc.sweep.curves import Curves
from backprop_svc.sweep.outcomes import Outcomes
from backprop_svc.sweep.space import Points

MOST_RUNS = 24
"""Runs whose ways are drawn."""
MOST_STEPS = 120
"""Points of a way, closer together at the beginning."""
SIDE = 81
"""Points of the surface along a parameter."""
MOST_SHOWN = 1e150
"""Weights beyond it are left out of the range of the surface, whose squares are taken."""
MOST_ROWS = 2000
"""Rows of the data by which the surface is computed; of more of them evenly spaced ones."""


def surface(
    outcomes: Outcomes, curves: Curves | None, columns: Columns
) -> dict[str, Any] | None:
    """Return the surface and the ways of some of the curves; ``None`` for larger networks."""
    experiment = outcomes.experiment
    if curves is None or experiment is None or experiment.network.parameters > 2:
        return None
    if set(GAINS) & set(outcomes.points):
        # Each run has a surface of its own.
        return None
    network, most = experiment.network, len(curves.rows)
    chosen = np.linspace(0, most - 1, min(MOST_RUNS, most)).astype(np.int64)
    rows = curves.rows[np.unique(chosen)]
    points = {name: values[rows] for name, values in outcomes.points.items()}
    start = experiment.starts(Points(len(rows), points))
    rates = start.rates
    result = experiment.train(start, ("weights",), measure=False)
    assert result.weight_history is not None
    # Where a run ended is its last point.
    ways = np.concatenate([result.weight_history, result.weights[:, np.newaxis]], axis=1)
    steps = np.unique(np.geomspace(1, ways.shape[1], MOST_STEPS).astype(np.int64)) - 1
    ways = ways[:, steps].astype(np.float64)
    data, behind = _some(Dataset(*pairs(network, *experiment.data)))
    settled = ~np.isin(outcomes.outcome[rows], ["dead", "diverged"])
    main = ways[settled] if settled.any() else ways
    axes = [_range(main[:, :, place]) for place in range(network.parameters)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, network.parameters)
    one_rate = rates.ndim == 1
    plain = one_rate and experiment.settings["optimizer"] == "gradient_descent"
    return {
        "names": network.parameter_names,
        "axes": [axis.tolist() for axis in axes],
        "loss": columns.add(_finite(evaluate(network, grid, *data).loss)),
        "sharpness": columns.add(_finite(sharpness(network, grid, data))) if plain else None,
        "critical": _critical(network, rows, result.weights, outcomes, data) if plain else None,
        "rates": rates.tolist() if plain else None,
        "rows": rows.tolist(),
        "outcome": outcomes.outcome_code[rows].tolist(),
        "steps": steps.tolist(),
        "ways": columns.add(ways.ravel()),
        "data": behind,
    }


def sharpness(network: Network, weights: Floats, data: Dataset) -> Floats:
    """Return the largest eigenvalue of the Hessian of networks of one or two parameters.

    The Hessian is taken by central differences of exact gradients.

    Parameters
    ----------
    weights
        Shape (runs, parameters).
    """
    parameters = weights.shape[1]
    hessian = np.empty((len(weights), parameters, parameters))
    for place in range(parameters):
        step = 1e-5 * np.maximum(1.0, np.abs(weights[:, place]))
        sides = []
        for sign in (1, -1):
            moved = weights.copy()
            moved[:, place] += sign * step
            sides.append(gradients(network, moved, *data).gradients)
        # Where a gradient is infinite, there is none.
        with np.errstate(invalid="ignore", over="ignore"):
            hessian[:, place] = (sides[0] - sides[1]) / (2 * step)[:, np.newaxis]
    hessian = np.nan_to_num((hessian + hessian.swapaxes(1, 2)) / 2, posinf=0, neginf=0)
    return np.asarray(np.linalg.eigvalsh(hessian)[:, -1], dtype=np.float64)


def _critical(
    network: Network,
    rows: NDArray[np.int64],
    ends: Floats,
    outcomes: Outcomes,
    data: Dataset,
) -> dict[str, Any] | None:
    """Return the sharpness where the best of some runs ended, if it is a valley there."""
    best = int(outcomes.objective[rows].argmin())
    found = float(sharpness(network, ends[best : best + 1].astype(np.float64), data)[0])
    if not (np.isfinite(outcomes.objective[rows[best]]) and found > 0):
        return None
    return {"run": int(rows[best]), "sharpness": found}


def _some(data: Dataset) -> tuple[Dataset, list[int]]:
    rows = len(data.x)
    if rows <= MOST_ROWS:
        return data, [rows, rows]
    chosen = np.linspace(0, rows - 1, MOST_ROWS).astype(np.int64)
    return Dataset(data.x[chosen], data.y[chosen]), [MOST_ROWS, rows]


def _range(values: Floats) -> Floats:
    """Return evenly spaced values around most of those that the runs have."""
    finite = values[np.isfinite(values)]
    finite = finite[np.abs(finite) <= MOST_SHOWN]
    starts = values[:, 0][np.abs(values[:, 0]) <= MOST_SHOWN]
    # A run may leave at any speed: the picture stays where most of them are.
    low, high = np.quantile(finite, [0.02, 0.98]) if finite.size else (-1.0, 1.0)
    if starts.size:
        reach = 4 * max(1.0, np.abs(starts).max())
        low = max(min(low, starts.min()), -reach)
        high = min(max(high, starts.max()), reach)
    margin = 0.15 * (high - low) or 1.0
    return np.linspace(low - margin, high + margin, SIDE)


def _finite(values: NDArray[Any]) -> Floats:
    return np.where(np.isfinite(values), values, np.nan).astype(np.float64)
