"""One part of a sweep: a configuration, and arrays of points trained chunk by chunk."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf

import backprop_svc as bp
from backprop_svc.cli import axes, show
from backprop_svc.cli.errors import named
from backprop_svc.cli.overrides import split
from backprop_svc.cli.problem import Problem, problem
from backprop_svc.cli.schema import Config, InitConfig, TrainConfig
from backprop_svc.tracking import RunBatch, Sweep, open_writer
from backprop_svc.tracking.patience import patiently
from backprop_svc.tracking.record import (
    MOST_NAMED_WEIGHTS,
    build_tags,
    history_interval,
    series_of,
)
from backprop_svc.training import Record

MOST_ROWS = 200_000
"""Values of history that a chunk may bring to the store: some 40 MB on their way."""
MOST_BYTES = 1 << 26
"""Of histories trained at once."""
MOST_RUNS = 1 << 18

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Part:
    """What became of some neighbouring points of a sweep."""

    first: int
    """Position in the sweep of the first point."""
    overrides: list[str]
    """The settings of this part that differ from those of other parts."""
    points: dict[str, Floats]
    """Of each axis, shape (runs,)."""
    loss: Floats
    """Last loss, infinite where it diverged; shape (runs,)."""
    outcome_code: NDArray[np.uint8]
    epochs: NDArray[np.int64]
    """That each run went through, shape (runs,)."""
    cut: int
    """Runs that ``train.time_limit`` ended."""
    diverged_at: NDArray[np.int64]
    period: NDArray[np.uint8]
    loss_ratio: Floats
    """Mean of the last losses over the first, shape (runs,)."""
    achieved: dict[str, Floats]
    """Accuracy and val_…, where they apply and are asked for; each of shape (runs,)."""
    weights: Floats | None
    """Final weights of small networks, shape (runs, parameters)."""
    written: int
    """Runs that were not yet in the store."""

    @property
    def outcome(self) -> NDArray[np.str_]:
        """Of every run, shape (runs,)."""
        return bp.training.OUTCOMES[self.outcome_code]


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
        progress: show.TrainingBar | None = None,
        epochs: int | None = None,
    ) -> bp.Result:
        """Train some of its points."""
        settings = _settings(self.config.train)
        for name in axes.RATES:
            del settings[name.removeprefix("train.")]
        if epochs is not None:
            settings |= {"epochs": epochs, "warmup": 0}
        with named("train", TrainConfig):
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
        if bp.evaluation.classifies(network):
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


def run_part(
    config: DictConfig, *, data: str, overrides: list[str], first: int | None = None
) -> Part:
    """Train the points of one part, and keep them while the next chunk is trained.

    Parameters
    ----------
    config
        With ``sweep.axes`` for the arrays, none for a single point.
    data
        Name of the data set.
    overrides
        What distinguishes this part from others.
    first
        Position in the sweep of its first point; derived from ``sweep.part`` by default.
    """
    setup = Setup.of(config)
    settings, total = setup.config, len(setup.points)
    shard, shards = settings.sweep.shard, min(settings.sweep.shards, total)
    start, stop = total * shard // shards, total * (shard + 1) // shards
    offset = first if first is not None else (settings.sweep.part or 0) * total
    record = _recorded(settings)
    size = _chunk(setup, record)
    writer, parent = None, ""
    if settings.tracking.enabled:
        # It was there when the sweep began: that it is away may pass.
        writer = patiently(
            lambda: open_writer(settings.tracking.uri, settings.tracking.experiment),
            lambda error: isinstance(error, ConnectionError),
        )
        parent = writer.open_sweep(Sweep(settings.sweep.id or ""))
    chunks: list[bp.Result] = []
    evaluations: list[dict[str, Floats]] = []
    pending: list[Future[int]] = []
    written = 0

    def collect(most: int) -> None:
        nonlocal written
        while len(pending) > most:
            written += pending.pop(0).result()

    with show.SweepBar(stop - start) as bar, ThreadPoolExecutor(1) as pool:
        for low, high in _ranges(start, stop, size):
            points = setup.points.points(low, high)
            rates, weights = setup.starts(points, high - low)
            began = _now()
            result = setup.train(rates, weights, record)
            ended = _now()
            chunks.append(_essence(result))
            kept = writer is not None or settings.sweep.results is not None
            achieved = setup.achieved(result) if kept else {}
            evaluations.append(achieved)
            if writer is not None:
                batch = setup.batch(
                    result, achieved, points, offset + low, data, overrides, began, ended
                )
                # One batch is written while the next is trained; never more wait.
                collect(1)
                pending.append(pool.submit(writer.write_batch, batch, parent))
            losses = last_loss(result)
            bar.advance(losses, int((result.diverged_at >= 0).sum()))
            collect(1)
        collect(0)
    small = setup.work.network.parameters <= MOST_NAMED_WEIGHTS
    return Part(
        first=offset + start,
        overrides=overrides,
        points=setup.points.points(start, stop),
        loss=np.concatenate([last_loss(chunk) for chunk in chunks]),
        outcome_code=np.concatenate([chunk.outcome_code for chunk in chunks]),
        epochs=np.concatenate([chunk.epochs for chunk in chunks]),
        cut=sum(setup.count_cut(chunk) for chunk in chunks),
        diverged_at=np.concatenate([chunk.diverged_at for chunk in chunks]),
        period=np.concatenate([chunk.period for chunk in chunks]),
        loss_ratio=np.concatenate([chunk.loss_ratio for chunk in chunks]),
        achieved={
            name: np.concatenate([found[name] for found in evaluations])
            for name in evaluations[0]
        },
        weights=np.concatenate([chunk.weights for chunk in chunks]) if small else None,
        written=written,
    )


def last_loss(result: bp.Result) -> Floats:
    """Last recorded loss, infinite where it diverged, NaN without epochs; shape (runs,)."""
    return np.where(result.diverged_at >= 0, np.inf, result.last_loss)


def _essence(result: bp.Result) -> bp.Result:
    """Return what a :class:`Part` needs: it stays in memory to the end of the sweep."""
    small = result.network.parameters <= MOST_NAMED_WEIGHTS
    return replace(
        result,
        loss=None,
        prediction=None,
        gradients=None,
        weight_history=None,
        initial_weights=np.empty((len(result), 0)),
        weights=result.weights if small else np.empty((len(result), 0)),
    )


def _recorded(settings: Config) -> tuple[Record, ...]:
    if not settings.tracking.enabled:
        return ()
    every = history_interval(settings.tracking.history)
    return ("loss",) if every is None else ("loss", "gradients")


def _chunk(setup: Setup, record: tuple[Record, ...]) -> int:
    """Return how many runs to train at once: memory is bounded, whatever the sweep."""
    settings, parameters = setup.config, setup.work.network.parameters
    epochs = max(1, settings.train.epochs)
    wide = len(record) + (parameters - 1 if "gradients" in record else 0)
    size = MOST_BYTES // (8 * (epochs * wide + 2 * parameters))
    if settings.tracking.enabled:
        every = history_interval(settings.tracking.history)
        kept = 1 + (epochs // every if every else 0)
        size = min(size, MOST_ROWS // (kept * min(wide, 1 + MOST_NAMED_WEIGHTS) + 30))
    return max(1, min(size, MOST_RUNS))


def _ranges(start: int, stop: int, size: int) -> Iterator[tuple[int, int]]:
    for low in range(start, stop, size):
        yield low, min(low + size, stop)


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


def _now() -> int:
    return int(time.time() * 1000)
