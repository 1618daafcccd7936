"""One run: configuration → arrays → Rust → tracking."""

from __future__ import annotations

import time
from typing import cast

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

import backprop_svc as bp
from backprop_svc.cli import show
from backprop_svc.cli.errors import FORESEEN, foreseen, require_values
from backprop_svc.cli.problem import Problem, problem
from backprop_svc.cli.schema import Config
from backprop_svc.tracking import RunRecord, Sweep, Writer, open_writer
from backprop_svc.tracking.record import metrics_of, tags_of


def train(config: DictConfig) -> float:
    """Train, show and keep one run; return its last loss, the objective of a sweep."""
    with foreseen(*FORESEEN):
        require_values(config)
        return _train(cast(Config, config), OmegaConf.to_yaml(config, resolve=True))


def _train(config: Config, resolved: str) -> float:
    settings = config.train
    work = problem(config.network, config.data, config.init)
    started = _now()
    with show.TrainingBar() as bar:
        result = bp.train(
            work.network,
            work.weights,
            work.data.x,
            work.data.y,
            learning_rate=_learning_rate(settings.lr),
            epochs=settings.epochs,
            tolerance=settings.tolerance,
            divergence_bound=settings.divergence_bound,
            threads=settings.threads,
            record=("loss", "prediction", "gradients", "weights"),
            progress=bar,
        )
    ended = _now()
    hydra = HydraConfig.get()
    sweeping = hydra.mode == RunMode.MULTIRUN
    unit, factor = config.data.unit, config.data.unit_factor
    if sweeping:
        where = f"{hydra.job.num}: {', '.join(_swept()) or 'defaults'} → {result.outcome[0]}"
        print(f"{where}, {_last(result):.6g}")
    else:
        show.print_training(result, 0, unit, factor)
    if config.tracking.enabled:
        with show.waiting("writing to MLflow"):
            record = _record(config, resolved, work, result, started, ended)
            writer = open_writer(config.tracking.uri, config.tracking.experiment)
            sweep = _sweep(config) if sweeping else None
            place = _write(writer, record, sweep)
        if not sweeping:
            print(f"tracked as {place}\nlook at it with: {_look(config.tracking.uri, place)}")
    return _last(result)


def _write(writer: Writer, record: RunRecord, sweep: Sweep | None) -> str:
    try:
        return writer.write(record, sweep)
    except BaseException as error:
        if sweep is not None and not isinstance(error, ConnectionError):
            writer.end_sweep(sweep, "FAILED" if isinstance(error, Exception) else "KILLED")
        raise


def _record(
    config: Config, resolved: str, work: Problem, result: bp.Result, started: int, ended: int
) -> RunRecord:
    from backprop_svc.plots import training_png

    choices = HydraConfig.get().runtime.choices
    params = {
        "network": str(work.network),
        "data": str(choices["data"]),
        "train.lr": str(config.train.lr),
        "train.epochs": str(config.train.epochs),
    }
    if len(work.weights) <= 16:
        names = work.network.parameter_names
        params |= {f"init.{n}": str(w) for n, w in zip(names, work.weights, strict=True)}
    for override in _swept():
        name, _, value = override.partition("=")
        params.setdefault(name.lstrip("+~"), value)
    images = {}
    if config.train.epochs:
        target = float(work.data.y.mean())
        unit, factor = config.data.unit, config.data.unit_factor
        images["training.png"] = training_png(result, 0, target, unit=unit, factor=factor)
    weights = ",".join(f"{weight:g}" for weight in work.weights[:4])
    return RunRecord(
        name=f"lr={config.train.lr:g} w={weights}{',…' if len(work.weights) > 4 else ''}",
        params=params,
        metrics=metrics_of(result, 0),
        tags=tags_of(result, 0),
        start_time=started,
        end_time=ended,
        texts={"config.yaml": resolved},
        images=images,
    )


def _learning_rate(value: float) -> float:
    if not 0 < value < float("inf"):
        raise ValueError(
            f"train.lr is {value}; allowed: finite numbers above 0; try train.lr=0.1"
        )
    return value


def _sweep(config: Config) -> Sweep:
    return Sweep(config.sweep.id or "unnamed", "A sweep of " + ", ".join(_swept()))


def _swept() -> list[str]:
    overrides = HydraConfig.get().overrides.task
    return [override for override in overrides if not override.startswith("sweep.id=")]


def _last(result: bp.Result) -> float:
    if result.loss is None or not result.loss.shape[1]:
        return float("nan")
    diverged = int(result.diverged_at[0])
    return float("inf") if diverged >= 0 else float(result.loss[0, -1])


def _look(uri: str, place: str) -> str:
    if place.startswith("http"):
        return place
    default = uri == "sqlite:///mlflow.db"
    return "backprop-svc ui" if default else f"backprop-svc ui tracking.uri={uri}"


def _now() -> int:
    return int(time.time() * 1000)
