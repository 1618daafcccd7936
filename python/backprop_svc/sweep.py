"""The points of a sweep: axes that become arrays, however many points they make."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import ArrayLike

from backprop_svc.arrays import Floats

Method = Literal["random", "latin", "sobol"]
METHODS: tuple[Method, ...] = get_args(Method)


class Interval(NamedTuple):
    """All numbers between two bounds, evenly or (``log``) evenly in their logarithm."""

    low: float
    high: float
    log: bool = False


class Sweep:
    """The product of tables: every row of one with every row of the others.

    A table is one axis, or several that go together row by row. The last table varies
    fastest, as in nested loops. Only the tables are kept, so that a sweep of millions
    costs nothing until its points are asked for.

    >>> sweep = Sweep({"lr": [0.01, 0.1]}, {"w1": [-1, 0, 1]})
    >>> len(sweep), sweep.shape
    (6, (2, 3))
    >>> sweep.points(2, 4)
    {'lr': array([0.01, 0.1 ]), 'w1': array([ 1., -1.])}

    Raises
    ------
    ValueError
        No values; columns of one table that differ in length; a name that comes twice;
        values that are not finite.
    """

    def __init__(self, *tables: Mapping[str, ArrayLike]) -> None:
        self.tables: list[dict[str, Floats]] = []
        for table in tables:
            columns = {name: _axis(name, values) for name, values in table.items()}
            lengths = {name: len(column) for name, column in columns.items()}
            if len(set(lengths.values())) != 1:
                raise ValueError(
                    f"the axes {lengths or 'of a table'} differ in length; allowed: as many "
                    "values of each axis that goes with others; make them equally long"
                )
            twice = sorted(set(columns) & set(self.names))
            if twice:
                raise ValueError(
                    f"the axis {twice[0]!r} comes twice; allowed: once; remove one of them"
                )
            self.tables.append(columns)

    @property
    def names(self) -> list[str]:
        """Names of the axes."""
        return [name for table in self.tables for name in table]

    @property
    def shape(self) -> tuple[int, ...]:
        """Rows of each table."""
        return tuple(len(next(iter(table.values()))) for table in self.tables)

    def __len__(self) -> int:
        """Count the points."""
        return math.prod(self.shape)

    def points(self, start: int = 0, stop: int | None = None) -> dict[str, Floats]:
        """Values of every axis at the points start ≤ i < stop, each of shape (points,)."""
        stop = len(self) if stop is None else min(stop, len(self))
        if not self.tables:
            return {}
        rows = np.unravel_index(np.arange(start, max(start, stop)), self.shape)
        return {
            name: column[row]
            for table, row in zip(self.tables, rows, strict=True)
            for name, column in table.items()
        }


def spaced(interval: Interval, count: int) -> Floats:
    """Evenly spaced values, both bounds among them, shape (count,).

    >>> spaced(Interval(0.01, 1, log=True), 3)
    array([0.01, 0.1 , 1.  ])

    Raises
    ------
    ValueError
        Bounds that are not finite or not ascending; logarithms of numbers not above 0;
        a count below 1.
    """
    _check(interval)
    if count < 1:
        raise ValueError(f"count is {count}; allowed: whole numbers from 1; try 10")
    space = np.geomspace if interval.log else np.linspace
    return space(interval.low, interval.high, count)


def sampled(
    intervals: Mapping[str, Interval], count: int, method: Method, seed: int
) -> dict[str, Floats]:
    """Sample all intervals at once, each to shape (count,); the same for the same seed.

    ``random`` is independent and uniform, ``latin`` a Latin hypercube, ``sobol`` a
    scrambled Sobol sequence (:mod:`scipy.stats.qmc`).

    Raises
    ------
    ValueError
        As for :func:`spaced`; an unknown method.
    """
    from scipy.stats import qmc

    if method not in METHODS:
        raise ValueError(
            f"the method is {method!r}; allowed: {', '.join(METHODS)}; choose one of them"
        )
    if count < 1:
        raise ValueError(f"count is {count}; allowed: whole numbers from 1; try 64")
    for interval in intervals.values():
        _check(interval)
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
        name: _within(interval, unit[:, column])
        for column, (name, interval) in enumerate(intervals.items())
    }


def _within(interval: Interval, unit: Floats) -> Floats:
    low, high = interval.low, interval.high
    if interval.log:
        values = np.exp(math.log(low) + unit * (math.log(high) - math.log(low)))
    else:
        values = low + unit * (high - low)
    return np.clip(values, low, high)


def _check(interval: Interval) -> None:
    low, high, log = interval
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise ValueError(
            f"interval({low:g},{high:g}) is empty or not finite; allowed: finite bounds, the "
            "smaller first; correct them"
        )
    if log and low <= 0:
        raise ValueError(
            f"interval({low:g},{high:g}) has no logarithm; allowed with log: bounds above 0; "
            "raise the lower bound or leave out log"
        )


def _axis(name: str, values: ArrayLike) -> Floats:
    column = np.atleast_1d(np.asarray(values, dtype=np.float64))
    if column.ndim != 1 or not column.size:
        raise ValueError(
            f"the axis {name!r} has shape {column.shape}; allowed: a list of one or more "
            "numbers; give it values"
        )
    if not np.isfinite(column).all():
        bad = column[~np.isfinite(column)][0]
        raise ValueError(
            f"the axis {name!r} has the value {bad}; allowed: finite numbers; remove it"
        )
    return column
