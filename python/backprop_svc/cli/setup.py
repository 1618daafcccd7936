"""A configuration turned into what its runs share."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, cast

import numpy as np
from omegaconf import DictConfig, OmegaConf

import backprop_svc as bp
from backprop_svc.arrays import Floats
from backprop_svc.cli import axes
from backprop_svc.cli.errors import named
from backprop_svc.cli.overrides import split
from backprop_svc.cli.problem import Problem, problem
from backprop_svc.cli.schema import Config, DataConfig, InitConfig, TrainConfig
from backprop_svc.evaluate import classifies
from backprop_svc.tracking import RunBatch
from backprop_svc.tracking.record import (
    MOST_NAMED_WEIGHTS,
    build_tags,
    history_interval,
    series_of,
)
from backprop_svc.train import Record


@dataclass(frozen=True)
class Setup:
    """A configuration turned into what its points share."""

    config: Config
    work: Problem
    points: bp.Sweep

    @classmethod
    def of(cls, config: DictConfig) -> Setup:
        """Check everything that can be checked before the first point is trained."""
        sweep = axes.build(cast(Config, config).sweep)
        first = config.copy()
        for name, value in sweep.points(0, 1).items():
            number = float(value[0])
            # Seeds are whole numbers; for all other settings OmegaConf makes them floats.
            OmegaConf.update(first, name, int(number) if number.is_integer() else number)
        settings = cast(Config, first)
        history_interval(settings.tracking.history)
        work = problem(settings.network, settings.data, settings.init)
        for name, rate in _rates(settings.train).items():
            axes.check_learning_rate(name, rate)
        setup = cls(settings, work, sweep)
        # Nothing is trained: the weights meet no epoch, and the settings no run.
        rates, weights = setup.starts({}, 1)
        setup.achieved(setup.train(rates, weights, (), epochs=0))
        setup.train(rates[:0], weights[:0], ())
        return setup

    def starts(self, points: dict[str, Floats], count: int) -> tuple[Floats, Floats]:
        """Learning rates, (runs,) or (runs, layers), and initial weights (runs, parameters)."""
        rates = self._learning_rates(points, count)
        init = self.config.init
        if init.method is not None:
            drawn = self._drawn(points, count)
            with named("init", InitConfig):
                return rates, bp.initial_weights(
                    self.work.network,
                    drawn["init.seed"],
                    init.method,
                    scale=drawn["init.scale"],
                    offset=drawn["init.offset"],
                )
        weights = np.tile(self.work.weights, (count, 1))
        for column, name in enumerate(("init.w1", "init.w2")):
            if name in points:
                weights[:, column] = points[name]
        return rates, weights

    def _learning_rates(self, points: dict[str, Floats], count: int) -> Floats:
        set_rates = _rates(self.config.train)
        rates = {
            name: points.get(name, np.full(count, rate)) for name, rate in set_rates.items()
        }
        if list(rates) == ["train.lr"]:
            return rates["train.lr"]
        layers = range(1, self.work.network.layers + 1)
        return np.column_stack(
            [rates.get(f"train.lr{layer}", rates["train.lr"]) for layer in layers]
        )

    def _drawn(self, points: dict[str, Floats], count: int) -> dict[str, Floats]:
        """Of what initial weights are drawn, each of shape (runs,); nothing if given."""
        init = self.config.init
        if init.method is None:
            return {}
        settings = {"seed": init.seed, "scale": init.scale, "offset": init.offset}
        return {
            f"init.{name}": points.get(f"init.{name}", np.full(count, float(value)))
            for name, value in settings.items()
        }

    def train(
        self,
        rates: Floats,
        weights: Floats,
        record: tuple[Record, ...],
        progress: Callable[[int, int], object] | None = None,
        epochs: int | None = None,
    ) -> bp.Result:
        """Train some of its points."""
        settings = _settings(self.config.train)
        for name in axes.RATES:
            del settings[name.removeprefix("train.")]
        if epochs is not None:
            settings |= {"epochs": epochs, "warmup": 0}
        with named("train", TrainConfig), named("data", DataConfig):
            return bp.train(
                self.work.network,
                weights,
                self.work.data.x,
                self.work.data.y,
                learning_rate=rates,
                record=record,
                progress=progress,
                **settings,
            )

    def achieved(self, result: bp.Result) -> dict[str, Floats]:
        """Evaluate the final weights: accuracy and val_…, where they apply, each (runs,)."""
        network, data, validation, _ = self.work
        found: dict[str, Floats | None] = {}
        if classifies(network):
            found["accuracy"] = bp.evaluate(network, result.weights, *data).accuracy
        if validation is not None:
            of_rows = bp.evaluate(network, result.weights, *validation)
            found |= {"val_loss": of_rows.loss, "val_accuracy": of_rows.accuracy}
        return {name: values for name, values in found.items() if values is not None}

    def count_cut(self, result: bp.Result) -> int:
        """Count the runs that ``train.time_limit`` ended."""
        train = self.config.train
        if train.time_limit is None:
            return 0
        rested = ["converged", "dead"] if train.stop_early else []
        ended = np.isin(result.outcome, ["diverged", *rested])
        return int(((result.epochs < train.epochs) & ~ended).sum())

    def batch(
        self,
        result: bp.Result,
        achieved: dict[str, Floats],
        points: dict[str, Floats],
        first: int,
        data: str,
        overrides: list[str],
        start_time: int,
        end_time: int,
    ) -> RunBatch:
        """Return runs as they are kept: their identity, what was swept, what came of it."""
        count, names = len(result), self.work.network.parameter_names
        rates, weights = result.learning_rate, result.initial_weights
        params = {"network": [str(self.work.network)] * count, "data": [data] * count}
        if rates.ndim == 1:
            params["train.lr"] = list(map(str, rates.tolist()))
        else:
            for layer, column in enumerate(rates.T, start=1):
                params[f"train.lr{layer}"] = list(map(str, column.tolist()))
        params["train.epochs"] = [str(self.config.train.epochs)] * count
        for name, value in _unusual(self.config.train).items():
            params[name] = [str(value)] * count
        if len(names) <= MOST_NAMED_WEIGHTS:
            for name, column in zip(names, weights.T, strict=True):
                params[f"init.{name}"] = list(map(str, column.tolist()))
        for name, column in self._drawn(points, count).items():
            params[name] = [format(value, ".17g") for value in column.tolist()]
        for override in overrides:
            name, value = split(override)
            params.setdefault(_param_name(name), [value] * count)
        version = build_tags()["backprop.version"]
        return RunBatch(
            sweep=self.config.sweep.id or "",
            index=np.arange(first, first + count),
            names=_names(rates, weights),
            params=params,
            series=series_of(result, self.config.tracking.history, achieved),
            tags={"outcome": result.outcome.tolist(), "backprop.version": [version] * count},
            start_time=start_time,
            end_time=end_time,
        )


def _rates(train: TrainConfig) -> dict[str, float]:
    """Return the learning rates that are set: of all layers, and of those that differ."""
    settings = _settings(train)
    rates = {name: settings[name.removeprefix("train.")] for name in axes.RATES}
    return {name: rate for name, rate in rates.items() if rate is not None}


def _unusual(train: TrainConfig) -> dict[str, object]:
    """Return settings with other values than by default, which decide what is computed."""
    usual = {field.name: field.default for field in fields(TrainConfig)}
    shown = {"train.epochs", "train.threads", *axes.RATES}
    return {
        f"train.{name}": value
        for name, value in _settings(train).items()
        if f"train.{name}" not in shown and value != usual[name]
    }


def _settings(train: TrainConfig) -> dict[str, Any]:
    return cast(dict[str, Any], OmegaConf.to_container(cast(DictConfig, train)))


def _param_name(name: str) -> str:
    """Name a setting as MLflow allows it: data@train becomes data.train."""
    return re.sub(r"[^\w./ -]", ".", name)


def _names(rates: Floats, weights: Floats) -> list[str]:
    more = ",…" if weights.shape[1] > 4 else ""
    columns = rates.reshape(len(rates), -1)
    return [
        f"lr={','.join(format(rate, 'g') for rate in own)} "
        f"w={','.join(format(weight, 'g') for weight in row)}{more}"
        for own, row in zip(columns.tolist(), weights[:, :4].tolist(), strict=True)
    ]
