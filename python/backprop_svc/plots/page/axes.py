"""The axes of a sweep, as its report shows them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backprop_svc.plots.page.columns import Columns
from backprop_svc.sweep.naming import middle, one_line
from backprop_svc.sweep.outcomes import Outcomes
from backprop_svc.sweep.space import is_logarithmic

SEEDS = ("init.seed", "train.batch_seed", "data.validation_seed")
"""Axes whose values only repeat a run with other random numbers."""
LONGEST = 60
"""Characters of the value of a setting that the page shows."""


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

    @property
    def log(self) -> bool:
        """Whether its values spread evenly in their logarithms."""
        return self.labels is None and is_logarithmic(np.unique(self.values))

    def told(self, columns: Columns) -> dict[str, Any]:
        """Describe it for the page, with its values."""
        log = self.log
        column = (
            columns.column(self.values, log=log)
            if self.labels is None
            else columns.codes(self.values, self.labels)
        )
        return {"name": self.name, "log": log, "seed": self.is_seed, "column": column}


def axes_of(outcomes: Outcomes) -> list[PageAxis]:
    """Return what differs between the runs: settings of configurations first, then axes."""
    names = dict.fromkeys(name for chunk in outcomes.chunks for name in chunk.settings)
    lengths = [len(chunk.result) for chunk in outcomes.chunks]
    found = []
    for name in names:
        values = [chunk.settings.get(name) for chunk in outcomes.chunks]
        if all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
            axis = PageAxis(name, np.repeat(np.array(values, dtype=np.float64), lengths))
        else:
            texts = ["" if v is None else middle(one_line(str(v)), LONGEST) for v in values]
            labels = list(dict.fromkeys(texts))
            codes = np.array([labels.index(text) for text in texts])
            axis = PageAxis(name, np.repeat(codes, lengths), labels)
        found.append(axis)
    found += [PageAxis(name, values) for name, values in outcomes.points.items()]
    return [axis for axis in found if (axis.values != axis.values[0]).any()]
