"""What won: the best settings, and the best runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backprop_svc.arrays import Floats
from backprop_svc.plots.page.axes import PageAxis

MOST = 10
"""Settings, and runs, that are listed."""


def best_runs(objective: Floats) -> list[int]:
    """Return the positions of the best runs with a finite objective, the best first."""
    most = min(MOST, len(objective))
    some = np.flatnonzero(objective <= np.partition(objective, most - 1)[most - 1])
    rows = some[np.argsort(objective[some], kind="stable")][:most]
    return [int(row) for row in rows if np.isfinite(objective[row])]


def best_settings(axes: Sequence[PageAxis], objective: Floats) -> dict[str, Any] | None:
    """Return the settings with the smallest mean over seeds; ``None`` without several seeds.

    A setting of which a run diverged comes behind all others, as its mean is infinite.

    Returns
    -------
    ``settings``, how many there are, and ``best``, of each of which ``run`` (the position of
    its best run), ``runs`` (how many it has), ``mean`` and ``deviation`` (of a sample, ``None``
    of one run) of the objective.
    """
    if not any(axis.is_seed for axis in axes):
        return None
    group = _groups([axis for axis in axes if not axis.is_seed], len(objective))
    counts = np.bincount(group)
    with np.errstate(invalid="ignore"):
        means = np.bincount(group, objective) / counts
        squares = np.bincount(group, (objective - means[group]) ** 2)
    best = np.full(len(counts), -1)
    # Written from the worst to the best: the best stays.
    order = np.argsort(-objective, kind="stable")
    best[group[order]] = order
    found = [
        {
            "run": int(best[one]),
            "runs": int(counts[one]),
            "mean": float(means[one]),
            "deviation": float(np.sqrt(squares[one] / (counts[one] - 1)))
            if counts[one] > 1
            else None,
        }
        for one in np.argsort(means, kind="stable")[:MOST].tolist()
        if np.isfinite(means[one])
    ]
    return {"settings": len(counts), "best": found}


def _groups(axes: Sequence[PageAxis], runs: int) -> NDArray[np.int64]:
    """Return a number for each run by their values of these axes."""
    group = np.zeros(runs, dtype=np.int64)
    for axis in axes:
        codes = np.unique(axis.values, return_inverse=True)[1]
        both = group * (int(codes.max(initial=0)) + 1) + codes
        group = np.unique(both, return_inverse=True)[1].astype(np.int64)
    return group
