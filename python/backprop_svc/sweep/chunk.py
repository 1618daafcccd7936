"""Neighbouring runs of a sweep that were trained together, and what of them is kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from backprop_svc.arrays import Floats
from backprop_svc.errors import SettingError, shown
from backprop_svc.metric import scores
from backprop_svc.result import (
    FACTS,
    HISTORIES,
    MOST_NAMED_WEIGHTS,
    OUTCOMES,
    RECORDED_WITH,
    SHARED_BY_RUNS,
    Result,
)
from backprop_svc.sweep.space import Points
from backprop_svc.train import Record


def with_histories(result: Result, record: Sequence[Record]) -> Result:
    """Return a result with these of its histories only."""
    without: dict[str, Any] = {
        field: None for n, field in HISTORIES.items() if RECORDED_WITH.get(n, n) not in record
    }
    return replace(result, **without)


def percentages(counts: ArrayLike, digits: int) -> list[str]:
    """Write counts as percentages that add up to 100, by the method of largest remainders.

    >>> percentages([1, 1, 1], 1), percentages([0, 0], 0)
    (['33.4', '33.3', '33.3'], ['0', '0'])
    """
    whole = [int(count) for count in np.asarray(counts).tolist()]
    total, units = sum(whole) or 1, 100 * 10**digits
    shares, rest = zip(*(divmod(count * units, total) for count in whole), strict=True)
    missing = units - sum(shares) if sum(whole) else 0
    first = sorted(range(len(whole)), key=lambda i: -rest[i])[:missing]
    return [
        f"{(share + (i in first)) / 10**digits:.{digits}f}" for i, share in enumerate(shares)
    ]


@dataclass(frozen=True, eq=False)
class Chunk:
    """Some neighbouring runs of a sweep, which were trained together."""

    first: int
    """Position in the sweep of the first run."""
    points: Points
    result: Result
    """Without the starts, without histories that nobody asked for; of large networks
    without weights."""
    achieved: Mapping[str, Floats]
    """Accuracy and val_…, where they apply and are asked for; each of shape (runs,)."""
    out_of_time: int
    """Runs that the time limit ended before their last epoch."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """The settings that distinguish these runs from those of other configurations."""
    metric: str = "loss"
    """What tells which run is the best: one of :data:`backprop_svc.metric.METRICS`."""
    there: int = 0
    """Runs of it that were in the store already, since the sweep was resumed."""

    @classmethod
    def of(
        cls,
        first: int,
        points: Points,
        result: Result,
        achieved: Mapping[str, Floats],
        out_of_time: int,
        record: Sequence[Record],
        metric: str = "loss",
    ) -> Chunk:
        """Keep only what has to stay in memory until the end of the sweep."""
        nothing = np.empty((len(result), 0))
        # Where a run started follows from its point and the experiment.
        kept = replace(
            with_histories(result, record),
            learning_rate=nothing,
            initial_weights=nothing,
            memory=nothing,
            hyperparameters={},
        )
        if result.network.parameters > MOST_NAMED_WEIGHTS:
            kept = replace(kept, weights=nothing)
        return cls(first, points, kept, achieved, out_of_time, metric=metric)

    @property
    def loss(self) -> Floats:
        """The last loss, infinite where a run diverged, NaN without epochs; shape (runs,)."""
        return np.where(self.result.diverged_at >= 0, np.inf, self.result.last_loss)

    @property
    def scores(self) -> Floats:
        """What tells which run is the best: see :func:`backprop_svc.metric.scores`."""
        return scores(self.metric, self.result, self.achieved)

    @property
    def nbytes(self) -> int:
        """Bytes that its runs keep until the end of the sweep."""
        arrays = [*self.points.values.values(), *self.achieved.values()]
        # What all runs share is the same for many chunks.
        own = {n: a for n, a in vars(self.result).items() if n not in SHARED_BY_RUNS}
        arrays += [array for array in own.values() if isinstance(array, np.ndarray)]
        return sum(array.nbytes for array in arrays)

    @property
    def counts(self) -> NDArray[np.int64]:
        """How many runs have each of :data:`OUTCOMES`."""
        return np.bincount(self.result.outcome_code, minlength=len(OUTCOMES))

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return the column of an axis or of a result, shape (runs,)."""
        # An axis may be called by its short name here too.
        for axis in (name, f"train.{name}", f"init.{name}", f"network.{name}"):
            if axis in self.points.values:
                return self.points.values[axis]
        columns = self.columns()
        if name not in columns:
            allowed = ", ".join([*self.points.values, *columns])
            raise SettingError("a column", shown(name), allowed, "choose one of them")
        return columns[name]

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return the results of each run by their names, each of shape (runs,)."""
        columns = {name: getattr(self.result, name) for name in FACTS}
        if self.result.best_epoch is not None:
            columns["best_epoch"] = self.result.best_epoch
        return {"loss": self.loss, **columns, **self.result.curvature, **self.achieved}
