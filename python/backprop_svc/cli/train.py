"""The task that Hydra runs: one run, or one part of a sweep."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any, cast

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from backprop_svc.cli import show
from backprop_svc.cli.errors import FORESEEN, foreseen, require_values
from backprop_svc.cli.overrides import name_of
from backprop_svc.cli.part import last_loss, run_part
from backprop_svc.cli.problem import shown_unit
from backprop_svc.cli.schema import Config
from backprop_svc.cli.setup import Setup
from backprop_svc.cli.unused import refuse, unused
from backprop_svc.tracking import Sweep, Writer, open_writer, without_password
from backprop_svc.tracking.record import build_tags
from backprop_svc.train import RECORDS


def train(config: DictConfig) -> Any:
    """Train and keep what the configuration says.

    Return the last loss of a single run, the objective of Hydra's other sweepers; of a
    part of a sweep its results.
    """
    with foreseen(*FORESEEN):
        require_values(config)
        if HydraConfig.get().mode != RunMode.MULTIRUN:
            return _single(config)
        if cast(Config, config).sweep.part is None:
            return _point(config)
        return run_part(config, data=_data(), overrides=_swept())


def _single(config: DictConfig) -> float:
    overrides = HydraConfig.get().overrides.task
    words = [word for word in overrides if name_of(word).startswith("sweep.")]
    if words:
        raise ValueError(
            f"{words[0]} was given to a single run; allowed: settings of sweeps with -m; "
            "write backprop-svc sweep, or leave it out"
        )
    setup = Setup.of(config)
    refuse(unused(setup.config, overrides))
    settings, work = setup.config, setup.work
    rates, weights = setup.starts({}, 1)
    tracking = settings.tracking
    writer: Writer | None = None
    if tracking.enabled:
        # Before the training, which a store that cannot be opened would lose.
        with show.waiting("opening MLflow"):
            writer = open_writer(tracking.uri, tracking.experiment)
    started = _now()
    with show.TrainingBar() as bar:
        result = setup.train(rates, weights, RECORDS, progress=bar)
    ended = _now()
    unit, factor = shown_unit(settings.data)
    show.print_training(result, 0, len(work.data.x), unit, factor)
    if setup.count_cut(result):
        print("train.time_limit ended it before its last epoch")
    achieved = setup.achieved(result)
    show.print_achieved({name: float(values[0]) for name, values in achieved.items()})
    if writer is not None:
        with show.waiting("writing to MLflow"):
            images = {}
            if settings.train.epochs:
                from backprop_svc.plots import training_png

                target = float(work.data.y.mean())
                image = training_png(result, 0, target, unit=unit, factor=factor)
                images["training.png"] = image
            batch = setup.batch(result, achieved, {}, 0, _data(), _swept(), started, ended)
            (record,) = batch.records()
            run = replace(
                record,
                tags={**record.tags, **build_tags()},
                texts={
                    "config.yaml": without_password(OmegaConf.to_yaml(config, resolve=True))
                },
                images=images,
            )
            place = writer.write(run)
        print(f"tracked as {place}\nlook at it with: {show.look(tracking.uri, place)}")
    return float(last_loss(result)[0])


def _point(config: DictConfig) -> float:
    """One job of a sweeper that knows nothing of arrays, such as Hydra's basic one."""
    number = int(HydraConfig.get().job.num)
    settings = cast(Config, config)
    for setting, value in (
        ("sweep.resume", settings.sweep.resume),
        ("sweep.dry_run", settings.sweep.dry_run),
        ("sweep.results", settings.sweep.results),
    ):
        if value:
            raise ValueError(
                f"{setting} is {value!r}; allowed with hydra/sweeper=arrays, which knows the "
                "whole sweep; leave hydra/sweeper out"
            )
    try:
        part = run_part(config, data=_data(), overrides=_swept(), first=number)
    except BaseException as error:
        _close(settings, "FAILED" if isinstance(error, Exception) else "KILLED")
        raise
    _close(settings, "FINISHED")
    loss = float(part.loss[0])
    print(f"{number}: {', '.join(_swept()) or 'defaults'} → {part.outcome[0]}, {loss:.6g}")
    return loss


def _close(settings: Config, status: str) -> None:
    if settings.tracking.enabled and settings.sweep.id:
        writer = open_writer(settings.tracking.uri, settings.tracking.experiment)
        writer.close_sweep(writer.open_sweep(Sweep(settings.sweep.id)), status)


def _data() -> str:
    return str(HydraConfig.get().runtime.choices.get("data"))


def _swept() -> list[str]:
    overrides = HydraConfig.get().overrides.task
    elsewhere = ("sweep.", "tracking")
    return [word for word in overrides if not name_of(word).startswith(elsewhere)]


def _now() -> int:
    return int(time.time() * 1000)
