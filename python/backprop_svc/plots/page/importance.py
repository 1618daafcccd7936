"""How much of the differences between runs each axis explains."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backprop_svc.arrays import Floats

MOST_LEVELS = 16
"""Groups into which the values of an axis are put; fewer for each of two axes together."""
MOST_RUNS = 200_000
"""Runs that are looked at, evenly spaced among all."""


def importance(axes: Mapping[str, NDArray[Any]], objective: Floats) -> dict[str, Any]:
    """Return the explained variance of each axis, alone and together with another one.

    The variance is that of the ranks of the objective, so that its scale does not matter and
    a run that diverged is simply the worst. What an axis explains is ω², the share of the
    variance between the groups of runs with like values, less what chance would give
    (Hays, "Statistics for Psychologists", 1963).

    Parameters
    ----------
    axes
        Values of each axis, each of shape (runs,); numbers or codes of categories.
    objective
        Smaller is better; infinite for the worst; shape (runs,).

    Returns
    -------
    ``runs`` that were looked at; ``axes``, for each of which ``name``, ``alone``, ``best``
    (what it explains together with the axis ``with``), the most important first.
    """
    rows = np.arange(len(objective))
    if len(rows) > MOST_RUNS:
        # Drawn, since evenly spaced rows of a grid may all have one value of an axis.
        rows = np.random.default_rng(0).choice(rows, MOST_RUNS, replace=False)
    ranks = _ranks(objective[rows])
    several = {name: values[rows] for name, values in axes.items()}
    # A group of a few runs says little.
    most = int(np.clip(len(rows) // 5, 2, MOST_LEVELS))
    alone = {name: _omega(_levels(values, most), ranks) for name, values in several.items()}
    together: dict[str, tuple[float, str | None]] = dict.fromkeys(alone, (0.0, None))
    coarse = {
        name: _levels(values, max(2, math.isqrt(most) * 2)) for name, values in several.items()
    }
    for one, two in combinations(several, 2):
        both = _omega(coarse[one] * MOST_LEVELS + coarse[two], ranks)
        for name, other in ((one, two), (two, one)):
            if both > together[name][0]:
                together[name] = (both, other)
    found = [
        {"name": name, "alone": value, "best": together[name][0], "with": together[name][1]}
        for name, value in alone.items()
    ]
    return {
        "runs": len(rows),
        "axes": sorted(found, key=lambda one: -max(one["alone"], one["best"])),
    }


def _ranks(values: Floats) -> Floats:
    """Return ranks of which equal values share the mean."""
    # NaN is worse than infinite, and infinite ones are all equal.
    _, inverse, counts = np.unique(
        np.nan_to_num(values, nan=np.inf, posinf=np.inf),
        return_inverse=True,
        return_counts=True,
    )
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2)[inverse], dtype=np.float64)


def _levels(values: NDArray[Any], most: int) -> NDArray[np.int64]:
    """Put values into groups of some equally many runs."""
    distinct, codes = np.unique(values, return_inverse=True)
    if len(distinct) > most:
        edges = np.quantile(values, np.linspace(0, 1, most + 1)[1:-1])
        codes = np.searchsorted(edges, values, side="right")
    return codes.astype(np.int64)


def _omega(groups: NDArray[np.int64], ranks: Floats) -> float:
    """Return ω² of a one-way analysis of variance, at least 0."""
    counts = np.bincount(groups)
    kept = counts > 0
    free = len(ranks) - kept.sum()
    total = ((ranks - ranks.mean()) ** 2).sum()
    if free <= 0 or total == 0 or kept.sum() < 2:
        return 0.0
    means = np.bincount(groups, ranks)[kept] / counts[kept]
    between = (counts[kept] * (means - ranks.mean()) ** 2).sum()
    within = (total - between) / free
    omega = (between - (kept.sum() - 1) * within) / (total + within)
    return float(np.clip(omega, 0, 1))
