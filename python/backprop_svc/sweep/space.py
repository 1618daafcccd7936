"""The points of a sweep, which are computed chunk by chunk from the values of its axes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import ArrayLike, NDArray

from backprop_svc.arrays import Floats, array
from backprop_svc.errors import SettingError, SettingTypeError, shown
from backprop_svc.settings import Whole, check

Count = Annotated[int, Whole(1, bits=53)]
"""A number of values, from 1 to 2^53: memory is too small for the largest, but NumPy can
count them."""


@dataclass(frozen=True)
class Interval:
    """All numbers from ``low`` to ``high``; a sweep takes evenly spaced ones, or samples.

    >>> Interval(0, 1).spaced(5)
    array([0.  , 0.25, 0.5 , 0.75, 1.  ])

    Raises
    ------
    SettingError
        Bounds that are not finite or too far apart, or of which the first is the larger.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        for name in ("low", "high"):
            bound = check(f"{type(self).__name__}.{name}", getattr(self, name), float)
            object.__setattr__(self, name, bound)
        # The difference of finite bounds can be too large for float64.
        if not (math.isfinite(self.high - self.low) and self.low <= self.high):
            raise SettingError(
                str(self), "empty or not finite",
                "finite bounds with a finite difference, the smaller first",
                "correct the bounds",
            )  # fmt: skip

    def __str__(self) -> str:
        return f"{type(self).__name__}({self.low:g}, {self.high:g})"

    def spaced(self, count: Count) -> Floats:
        """Return evenly spaced values, both bounds among them, shape (count,)."""
        # Rounding may exceed the largest bounds before the last value is set to high.
        with np.errstate(over="ignore"):
            return np.linspace(self.low, self.high, check("count", count, Count))

    def at(self, unit: Floats) -> Floats:
        """Return the values at these fractions of the way from low to high."""
        values: Floats = np.clip(self._between(unit), self.low, self.high)
        return values

    def _between(self, unit: Floats) -> Floats:
        return self.low + unit * (self.high - self.low)


@dataclass(frozen=True)
class LogInterval(Interval):
    """All numbers from ``low`` to ``high``, taken evenly in their logarithms.

    >>> LogInterval(0.01, 1).spaced(3)
    array([0.01, 0.1 , 1.  ])

    Raises
    ------
    SettingError
        Bounds that are not finite or not above 0, or of which the first is the larger.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.low <= 0:
            raise SettingError(
                str(self), "a lower bound without a logarithm", "bounds above 0",
                "raise the lower bound, or use an interval that is not logarithmic",
                verb="has",
            )  # fmt: skip

    def spaced(self, count: Count) -> Floats:
        """Return values with evenly spaced logarithms, both bounds among them, (count,)."""
        # A power of ten is rounded: it may pass the bound that it should meet.
        with np.errstate(over="ignore"):
            values = np.geomspace(self.low, self.high, check("count", count, Count))
        return np.clip(values, self.low, self.high)

    def _between(self, unit: Floats) -> Floats:
        low, high = math.log(self.low), math.log(self.high)
        with np.errstate(over="ignore"):
            values: Floats = np.exp(low + unit * (high - low))
        return values


@dataclass(frozen=True, eq=False)
class Points:
    """Some points of a sweep."""

    count: int
    values: dict[str, Floats]
    """The values of each axis, shape (count,)."""


def _lengths(columns: Mapping[str, int]) -> str:
    return ", ".join(f"{count} of {name}" for name, count in columns.items()) or "none"


class Grid:
    """The product of tables: every row of one with every row of the others.

    A table is one axis, or several that go together row by row. The last table varies
    fastest, as in nested loops. Only the tables are kept, so that a sweep of millions
    costs nothing until its points are asked for.

    >>> grid = Grid({"lr": [0.01, 0.1]}, {"w1": [-1, 0, 1]})
    >>> len(grid), grid.shape
    (6, (2, 3))
    >>> grid.points(2, 4)
    Points(count=2, values={'lr': array([0.01, 0.1 ]), 'w1': array([ 1., -1.])})

    Raises
    ------
    SettingError
        No values; columns of one table that differ in length; a name that comes twice;
        values that are not finite numbers; 2^63 points or more.
    """

    def __init__(self, *tables: Mapping[str, ArrayLike]) -> None:
        self.tables: list[dict[str, Floats]] = []
        for table in tables:
            columns = {name: _column(name, values) for name, values in table.items()}
            lengths = {name: len(column) for name, column in columns.items()}
            if len(set(lengths.values())) != 1:
                raise SettingError(
                    "the values of axes that go together", _lengths(lengths),
                    "as many of each", "give as many of each", verb="are",
                )  # fmt: skip
            twice = sorted(set(columns) & set(self.names))
            if twice:
                raise SettingError(
                    f"the axis {twice[0]!r}", "twice", "once", "remove one of them",
                    verb="comes",
                )  # fmt: skip
            self.tables.append(columns)
        count = math.prod(self.shape)
        if count >= 2**63:
            raise SettingError(
                "the axes", f"{count:.3g} points", "fewer than 2^63",
                "give fewer values", verb="have",
            )  # fmt: skip

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

    def points(self, start: int = 0, stop: int | None = None) -> Points:
        """Return the points start ≤ i < stop."""
        stop = len(self) if stop is None else min(stop, len(self))
        return self.select(np.arange(start, max(start, stop)))

    def select(self, positions: NDArray[np.int64]) -> Points:
        """Return the points at these positions."""
        if not self.tables:
            return Points(len(positions), {})
        rows = np.unravel_index(positions, self.shape)
        values = {
            name: column[row]
            for table, row in zip(self.tables, rows, strict=True)
            for name, column in table.items()
        }
        return Points(len(positions), values)


def is_logarithmic(distinct: Floats) -> bool:
    """Tell whether values, ascending, spread more evenly in their logarithms."""
    if len(distinct) < 3 or distinct[0] <= 0:
        return False
    # Neither the sum nor the squares of the largest numbers there are would be finite.
    share = distinct / distinct[-1]
    return bool(np.diff(np.log(distinct)).std() < np.diff(share).std() / share.mean())


def _column(name: str, values: object) -> Floats:
    """Return the values of an axis as an array; refuse what may mean something else."""
    axis = f"the axis {name!r}"
    if isinstance(values, (tuple, str, bytes, set, frozenset, Mapping)):
        raise SettingTypeError(
            axis,
            shown(values),
            "a list or an array of numbers, an Interval, a LogInterval, or one of them Zipped",
            "write [0.01, 1] for two values, Interval(0.01, 1) for all between them",
        )
    found = np.atleast_1d(array(axis, values))
    if found.dtype.kind not in "iuf" and found.size:
        raise SettingTypeError(axis, shown(values), "numbers", "convert its values")
    if found.ndim != 1 or not found.size:
        raise SettingError(
            axis, str(found.shape), "a list of one or more numbers", "give it values",
            verb="has shape",
        )  # fmt: skip
    # What only a long double holds becomes infinite, which is refused.
    with np.errstate(over="ignore"):
        column = found.astype(np.float64)
    if not np.isfinite(column).all():
        bad = column[~np.isfinite(column)][0]
        raise SettingError(axis, str(bad), "finite numbers", "remove it", verb="has the value")
    return column
