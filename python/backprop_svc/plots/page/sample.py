"""Which runs a page holds where all of them are too many."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from backprop_svc.arrays import Floats
from backprop_svc.plots.page.axes import PageAxis

MOST_BEST, DRAWN = 80_000, 40_000
"""Runs of which each is the best of a cell of some map, and runs that are drawn by chance."""


class Sample(NamedTuple):
    """Some of the runs of a sweep."""

    rows: NDArray[np.int64]
    """Their positions: first those that were drawn, then the best of each cell."""
    drawn: int
    """How many were drawn: a mean over them is one over all runs."""
    cells: int
    """Into how many cells a map puts each axis: of each cell the best run is here."""


def sample(axes: Sequence[PageAxis], objective: Floats, also: NDArray[np.int64]) -> Sample:
    """Return runs by which each map shows the best of all runs in each of its cells.

    Parameters
    ----------
    axes
        Of which any two are those of a map.
    objective
        Smaller is better; shape (runs,).
    also
        Positions of runs that other pictures show.
    """
    runs = len(objective)
    pairs = list(combinations(axes, 2)) or [(axes[0], axes[0])]
    cells = int(np.sqrt(MOST_BEST / len(pairs)))
    places = {axis.name: axis.cells(cells) for axis in axes}
    worst_first = np.argsort(-objective, kind="stable")
    kept = np.zeros(runs, dtype=bool)
    best = np.empty(cells * cells, dtype=np.int64)
    for one, two in pairs:
        best.fill(-1)
        # Written from the worst to the best: the best stays.
        cell = places[one.name] * cells + places[two.name]
        best[cell[worst_first]] = worst_first
        kept[best[best >= 0]] = True
    kept[also] = True
    drawn = np.sort(np.random.default_rng(0).choice(runs, min(DRAWN, runs), replace=False))
    kept[drawn] = False
    return Sample(np.concatenate([drawn, np.flatnonzero(kept)]), len(drawn), cells)
