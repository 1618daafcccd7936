"""Which points a sweep trains next: the protocol of samplers, and those without feedback."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Protocol

import numpy as np

from backprop_svc.arrays import Floats
from backprop_svc.errors import SettingError, shown
from backprop_svc.settings import Natural, Whole, check
from backprop_svc.sweep.space import Count, Grid, Interval, Points

GRID = "grid"
"""Evenly spaced values of each interval."""
METHODS = ("random", "latin", "sobol")
"""Ways to draw samples of all intervals at once."""
SAMPLERS = (GRID, *METHODS)
MOST_SOBOL = 30
"""The base-2 logarithm of the length of SciPy's Sobol sequence."""


class Sampler(Protocol):
    """Chooses the points of a sweep.

    The engine asks and tells in turn until there are no more points. A sampler that is
    told the same losses has to ask for the same points again: that is how a sweep that was
    stopped goes on.
    """

    def __len__(self) -> int:
        """Count the points that are asked for in all, or the most of them."""
        ...

    def ask(self, most: int) -> Points | None:
        """Return the next points, 1 to ``most`` of them; ``None`` when there are no more."""
        ...

    def tell(self, points: Points, loss: Floats) -> None:
        """Take the last losses of points that were asked for, infinite where diverged.

        Parameters
        ----------
        points
            What :meth:`ask` returned.
        loss
            Shape (points,).
        """
        ...


class GridSampler:
    """Asks for the points of a grid, or for those of its shard, in order."""

    def __init__(self, grid: Grid, start: int = 0, stop: int | None = None) -> None:
        self._grid, self._next, self._start = grid, start, start
        self._stop = len(grid) if stop is None else stop

    def __len__(self) -> int:
        return self._stop - self._start

    def ask(self, most: int) -> Points | None:
        """Return the next points of the grid."""
        if self._next >= self._stop:
            return None
        start, self._next = self._next, min(self._next + most, self._stop)
        return self._grid.points(start, self._next)

    def tell(self, points: Points, loss: Floats) -> None:
        """Do nothing, as the points of a grid do not depend on losses."""


def sampled(
    intervals: Mapping[str, Interval], count: int, method: str, seed: int
) -> dict[str, Floats]:
    """Sample all intervals at once, each to shape (count,); the same for the same seed.

    ``random`` is independent and uniform, ``latin`` a Latin hypercube, ``sobol`` a
    scrambled Sobol sequence (:mod:`scipy.stats.qmc`).

    Raises
    ------
    SettingError
        An unknown method, a count below 1, a seed below 0.
    """
    from scipy.stats import qmc

    method, count, seed = check_sampler(method, count, seed)
    generator = np.random.default_rng(seed)
    size = len(intervals)
    if method == "random":
        unit = generator.random((count, size))
    elif method == "latin":
        unit = qmc.LatinHypercube(size, rng=generator).random(count)
    else:
        # A whole power of two keeps the balance of the sequence; the rest is cut off.
        unit = qmc.Sobol(size, rng=generator).random_base2(math.ceil(math.log2(count)))[:count]
    return {
        name: interval.at(unit[:, column])
        for column, (name, interval) in enumerate(intervals.items())
    }


def check_sampler(sampler: object, samples: object, seed: object) -> tuple[str, int, int]:
    """Return all three as plain values; refuse unknown samplers and what is out of range."""
    name = check("sampler", sampler, str)
    if name not in SAMPLERS:
        raise SettingError("sampler", shown(name), ", ".join(SAMPLERS), "choose one of them")
    most = Annotated[int, Whole(1, bits=MOST_SOBOL)] if name == "sobol" else Count
    return name, check("samples", samples, most), check("seed", seed, Natural)
