"""What all points of a sweep share: the network, the data, the start and the settings."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from backprop_svc._core import Network
from backprop_svc.arrays import Floats, floats
from backprop_svc.datasets import Dataset, Preparation
from backprop_svc.errors import SettingError
from backprop_svc.evaluate import classifies, evaluate, fit
from backprop_svc.hyperparameters import Own, of_network, part
from backprop_svc.initial import check_seeds, initial_weights
from backprop_svc.measured import UNASKED
from backprop_svc.metric import available, check_metric
from backprop_svc.result import Result
from backprop_svc.settings import Seed, check
from backprop_svc.state import State
from backprop_svc.sweep.axes import (
    BATCH_SEED,
    DRAWN,
    HYPERPARAMETERS,
    RATES,
    WEIGHTS,
)
from backprop_svc.sweep.space import Grid, Points
from backprop_svc.train import SHARED, Record, train


@dataclass(frozen=True)
class Draw:
    """Initial weights drawn by a seed: see :func:`backprop_svc.initial_weights`."""

    method: str = "he"
    seed: int = 0
    scale: float = 1.0
    offset: float = 0.0

    def __post_init__(self) -> None:
        for name, kind in (
            ("method", str),
            ("seed", Seed),
            ("scale", float),
            ("offset", float),
        ):
            object.__setattr__(self, name, check(name, getattr(self, name), kind))


class Start(NamedTuple):
    """Where some points start, and what each has of its own."""

    rates: Floats
    """Learning rates, shape (runs,) or (runs, layers)."""
    weights: Floats
    """Initial weights, shape (runs, parameters)."""
    own: Own
    """Further settings of training, shape (runs,) each."""


@dataclass(frozen=True, eq=False)
class Experiment:
    """Trains the points of a sweep: each is this experiment with its own values of the axes."""

    network: Network
    data: Dataset
    """The rows to train on."""
    validation: Dataset | None
    init: Floats | Draw
    """Initial weights, shape (parameters,), or how they are drawn."""
    rates: Mapping[str, float]
    """Learning rates by their names in :data:`RATES`."""
    settings: Mapping[str, Any]
    """A value for each name in :data:`SHARED`."""
    data_name: str
    """The name of the data, which each run records."""
    preparation: Preparation | None = None
    """What was done to the columns of a table, so that new rows can be put through the same."""
    state: State | None = None
    """What the training goes on from, of the run whose final weights are ``init``."""
    metric: str | None = None
    """What tells which run is the best: see :func:`backprop_svc.metric.check_metric`."""

    def check(self, grid: Grid) -> None:
        """Refuse what a later chunk could not train, before the first one is.

        Raises
        ------
        SettingError
            Settings or values of an axis that no run could have.
        """
        self.check_metric()
        for name, rate in self.rates.items():
            check_learning_rate(name, rate)
        for table in grid.tables:
            for name, values in table.items():
                self._check_axis(name, values)
        # A training of zero epochs checks the weights, and one of zero runs checks the
        # settings: both refuse what is wrong, and neither trains anything.
        self._check_frozen(grid)
        start = self.starts(grid.points(0, 1))
        self.evaluate(self.train(start, (), epochs=0, measure=False))
        none = slice(0)
        self.train(Start(start.rates[none], start.weights[none], part(start.own, none)), ())

    def starts(self, points: Points) -> Start:
        """Return where each point starts, and what it has of its own."""
        return Start(self._learning_rates(points), self._weights(points), own_of(points))

    def _weights(self, points: Points) -> Floats:
        if isinstance(self.init, Draw):
            drawn = self.drawn(points)
            try:
                return initial_weights(
                    self.network,
                    drawn["init.seed"],
                    self.init.method,
                    scale=drawn["init.scale"],
                    offset=drawn["init.offset"],
                )
            except SettingError as error:
                raise error.within("init") from None
        weights = np.tile(self.init, (points.count, 1))
        for column, name in enumerate(WEIGHTS):
            if name in points.values:
                weights[:, column] = points.values[name]
        return weights

    def drawn(self, points: Points) -> dict[str, Floats]:
        """Return what initial weights are drawn by, each (runs,); nothing if they are given."""
        if not isinstance(self.init, Draw):
            return {}
        values = (self.init.seed, self.init.scale, self.init.offset)
        return {
            name: points.values.get(name, np.full(points.count, float(value)))
            for name, value in zip(DRAWN, values, strict=True)
        }

    def train(
        self,
        start: Start,
        record: tuple[Record, ...],
        *,
        progress: Callable[[int, int], object] | None = None,
        epochs: int | None = None,
        record_every: int = 1,
        measure: bool = True,
    ) -> Result:
        """Train runs from where they start: see :meth:`starts`.

        Without ``measure`` nothing is computed after the training, whatever settings say.
        """
        settings = {**self.settings, **start.own, **({} if measure else UNASKED)}
        if epochs is not None:
            settings |= {"epochs": epochs, "warmup": 0}
        return train(
            self.network,
            start.weights,
            self.data.x,
            self.data.y,
            state=self.state,
            learning_rate=start.rates,
            record=record,
            record_every=record_every,
            validation=self.validation,
            progress=progress,
            **settings,
        )

    def evaluate(self, result: Result) -> dict[str, Floats]:
        """Return what the final weights achieve, by the names of metrics, each (runs,).

        Of classes it is the accuracy; of numbers that differ from row to row RMSE, in the unit
        of the target, and R²; on the rows of validation ``val_loss`` and the same as ``val_…``.
        """
        network, weights = self.network, result.weights
        gains = of_network(result.hyperparameters)
        found: dict[str, Floats | None] = {}
        if classifies(network):
            found["accuracy"] = evaluate(network, weights, *self.data, **gains).accuracy
        if self.validation is not None:
            of_rows = evaluate(network, weights, *self.validation, **gains)
            found |= {"val_loss": of_rows.loss, "val_accuracy": of_rows.accuracy}
        if "rmse" in available(network, **self._rows):
            unit = 1.0 if self.preparation is None else np.array(self.preparation.y_divisor)
            for prefix, rows in (("", self.data), ("val_", self.validation)):
                if rows is not None:
                    rmse, r2 = fit(network, weights, *rows, unit, **gains)
                    found |= {f"{prefix}rmse": rmse, f"{prefix}r2": r2}
        return {name: values for name, values in found.items() if values is not None}

    def check_metric(self) -> None:
        """Refuse a metric that the runs do not have."""
        check_metric(self.metric, self.network, **self._rows)

    @property
    def by(self) -> str:
        """The metric that tells which run is the best."""
        return check_metric(self.metric, self.network, **self._rows)

    @cached_property
    def _rows(self) -> dict[str, bool]:
        """Say of the rows what decides which metrics there are."""
        targets = floats("y", self.data.y)
        varied = targets.ndim > 0 and bool(np.ptp(targets, axis=0).any())
        return {"varied": varied, "validated": self.validation is not None}

    def count_out_of_time(self, result: Result) -> int:
        """Count the runs that ``time_limit`` ended before their last epoch."""
        if self.settings["time_limit"] is None:
            return 0
        # A run that was told to stop at rest may rest anywhere.
        rests = ["converged", "dead", "stalled"]
        rested = rests if self.settings["stop_when_converged"] else []
        ended = np.isin(result.outcome, ["diverged", *rested])
        if result.best_epoch is not None:
            after = result.first_epoch + result.epochs
            ended |= after - result.best_epoch >= self.settings["patience"]
        return int(((result.epochs < self.settings["epochs"]) & ~ended).sum())

    def unusual(self, axes: Collection[str]) -> dict[str, Any]:
        """Return the settings with other values than by default that decide what comes out.

        Those that are axes differ from run to run, and are not among them.
        """
        return {
            name: value
            for name, value in self.settings.items()
            if name not in {"epochs", "threads"}
            and value != SHARED[name]
            and f"train.{name}" not in axes
        }

    def _learning_rates(self, points: Points) -> Floats:
        rates = {
            name: points.values.get(name, np.full(points.count, rate))
            for name, rate in self.rates.items()
        }
        if list(rates) == ["train.lr"]:
            return rates["train.lr"]
        return np.column_stack([rates[name] for name in self._rate_names()])

    def _rate_names(self) -> list[str]:
        """Return the name of the learning rate of each layer."""
        names = [f"train.lr{layer}" for layer in range(1, self.network.layers + 1)]
        return [name if name in self.rates else "train.lr" for name in names]

    def _check_frozen(self, grid: Grid) -> None:
        """Refuse points of which all layers have the learning rate 0."""
        names = set(self._rate_names())
        fixed = names - set(grid.names)
        tables = [[table[n] for n in table if n in names] for table in grid.tables]
        can_be = [
            bool((np.stack(columns) == 0).all(axis=0).any()) for columns in tables if columns
        ]
        if all(self.rates[name] == 0 for name in fixed) and all(can_be):
            raise SettingError(
                " and ".join(sorted(names)), "0 in one run", "a learning rate above 0 for one "
                "layer or more; 0 freezes a layer", "give a layer that learns a rate above 0",
                verb="are" if len(names) > 1 else "is",
            )  # fmt: skip

    def _check_axis(self, name: str, values: Floats) -> None:
        if name in RATES:
            check_learning_rate(name, float(values.min()))
        elif name in {"init.seed", BATCH_SEED}:
            check_seeds(name, values)
        elif name in HYPERPARAMETERS:
            # Both ends are in range if all between them are.
            for value in (values.min(), values.max()):
                check_hyperparameter(name, float(value))


def own_of(points: Points) -> Own:
    """Return the settings that points have of their own, by their names in ``train``."""
    return {
        name.rpartition(".")[2]: values.astype(np.int64) if name == BATCH_SEED else values
        for name, values in points.values.items()
        if name in HYPERPARAMETERS
    }


def check_learning_rate(name: str, value: float) -> None:
    """Refuse what is not finite and above 0, or 0 of a layer that is to be frozen."""
    freezes = name != "train.lr"
    if not (0 < value < float("inf") or (freezes and value == 0)):
        allowed = "finite numbers above 0" + (", or 0 for a frozen layer" if freezes else "")
        raise SettingError(name, str(value), allowed, "try {name}=0.1")


def check_hyperparameter(name: str, value: float) -> None:
    """Refuse a value that no run can have, with the name of the setting."""
    below_one = (0 <= value < 1, "numbers from 0 to below 1", "0.9")
    is_allowed, allowed, usual = {
        "train.momentum": below_one,
        "train.beta2": below_one,
        "train.weight_decay": (0 <= value < math.inf, "finite numbers from 0", "1e-4"),
        "network.gain": (0 < value < math.inf, "finite numbers above 0", "1"),
        "network.negative_slope": (0 <= value <= 1, "numbers from 0 to 1", "0.01"),
    }[name]
    if not is_allowed:
        raise SettingError(name, str(value), allowed, f"try {{name}}={usual}")
