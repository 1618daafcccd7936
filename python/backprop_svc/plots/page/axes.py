"""The axes of a sweep, as its report shows them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backprop_svc.plots.page.columns import Columns
from backprop_svc.sweep.naming import middle, one_line
from backprop_svc.sweep.outcomes import Outcomes
from backprop_svc.sweep.repeats import SEEDS
from backprop_svc.sweep.space import is_logarithmic

LONGEST = 60
"""Characters of the value of a setting that the page shows."""
FEW, UNEVEN = 12, 4.0
"""Up to so many numbers are drawn evenly if a gap between them is so many times another one."""


@dataclass(frozen=True, eq=False)
class PageAxis:
    """One setting that differs between runs."""

    name: str
    values: NDArray[Any]
    """Numbers, or positions in ``labels``; shape (runs,)."""
    labels: list[str] | None = None
    """What the positions mean, where the setting is no number."""

    @property
    def is_seed(self) -> bool:
        """Whether it only repeats runs."""
        return self.name in SEEDS

    @cached_property
    def distinct(self) -> NDArray[Any]:
        """The different values, ascending."""
        return np.unique(self.values)

    @property
    def log(self) -> bool:
        """Whether its values spread evenly in their logarithms."""
        return self.labels is None and is_logarithmic(self.distinct)

    def cells(self, most: int) -> NDArray[np.int64]:
        """Return the cell of each run in a map with so many along this axis, (runs,)."""
        distinct = self.distinct
        if len(distinct) <= most:
            return np.searchsorted(distinct, self.values).astype(np.int64)
        scale = np.log if self.log else np.asarray
        low, high = scale(distinct[0]), scale(distinct[-1])
        place = (scale(self.values) - low) / (high - low) * most
        return np.asarray(np.clip(place, 0, most - 1), dtype=np.int64)

    def told(self, columns: Columns, rows: NDArray[np.int64] | slice) -> dict[str, Any]:
        """Describe it for the page, with the values of some runs."""
        values, log = self.values[rows], self.log
        found = {"name": self.name, "log": log, "seed": self.is_seed}
        if self.labels is not None:
            return {**found, "column": columns.codes(values, self.labels)}
        ends = {"low": float(self.distinct[0]), "high": float(self.distinct[-1])}
        return {**found, **ends, "column": columns.column(values, log=log)}


def axes_of(outcomes: Outcomes) -> list[PageAxis]:
    """Return what differs between the runs: settings of configurations first, then axes."""
    names = dict.fromkeys(name for chunk in outcomes.chunks for name in chunk.settings)
    lengths = [len(chunk.result) for chunk in outcomes.chunks]
    found = []
    for name in names:
        values = [chunk.settings.get(name) for chunk in outcomes.chunks]
        if all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
            axis = _of_numbers(name, np.repeat(np.array(values, dtype=np.float64), lengths))
        else:
            texts = ["" if v is None else middle(one_line(str(v)), LONGEST) for v in values]
            labels = list(dict.fromkeys(texts))
            codes = np.array([labels.index(text) for text in texts])
            axis = PageAxis(name, np.repeat(codes, lengths), labels)
        found.append(axis)
    found += [_of_numbers(name, values) for name, values in outcomes.points.items()]
    return [axis for axis in found if (axis.values != axis.values[0]).any()]


def _of_numbers(name: str, values: NDArray[Any]) -> PageAxis:
    """Return an axis of numbers, or of their names: 0, 1e-4, 0.1 lie on no scale apart."""
    axis = PageAxis(name, values)
    distinct = axis.distinct
    if not 2 < len(distinct) <= FEW:
        return axis
    gaps = np.diff(np.log(distinct) if axis.log else distinct)
    if gaps.max() < UNEVEN * gaps.min():
        return axis
    codes = np.searchsorted(distinct, values)
    return PageAxis(name, codes, [f"{value:.6g}" for value in distinct.tolist()])
