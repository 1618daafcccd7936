"""A configuration turned into an experiment and a grid of points."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from omegaconf import DictConfig, OmegaConf

from backprop_svc.cli.config import axes
from backprop_svc.cli.config.choices import Models
from backprop_svc.cli.config.going_on import run_to_go_on
from backprop_svc.cli.config.problem import draw_by_default, problem
from backprop_svc.cli.config.schema import (
    Config,
    DataConfig,
    SweepConfig,
    TrackingConfig,
    TrainConfig,
)
from backprop_svc.cli.terminal.errors import named
from backprop_svc.errors import SettingError, shown
from backprop_svc.settings import check
from backprop_svc.sweep.axes import RATES
from backprop_svc.sweep.experiment import Draw, Experiment
from backprop_svc.sweep.parent import Tracking
from backprop_svc.sweep.space import Grid
from backprop_svc.tracking.record import history_interval
from backprop_svc.tracking.states import check_keep
from backprop_svc.train import SHARED


@dataclass(frozen=True)
class Prepared:
    """A checked configuration, and what it asks for."""

    config: Config
    """The experiment, with the values of its first point."""
    experiment: Experiment
    grid: Grid
    tracking: Tracking | None
    notes: tuple[str, ...] = ()
    """What was done to the data unasked, a line for each."""

    @classmethod
    def of(cls, config: DictConfig, data_name: str = "") -> Prepared:
        """Check everything that can be checked before the first point is trained.

        Raises
        ------
        SettingError, FileNotFoundError
            With what was wrong, what is allowed, and the fix.
        """
        grid = axes.build(cast(Config, config).sweep)
        first = config.copy()
        for name, value in grid.points(0, 1).values.items():
            number = float(value[0])
            # Seeds are whole numbers; for all other settings OmegaConf makes them floats.
            OmegaConf.update(first, name, int(number) if number.is_integer() else number)
        settings = cast(Config, first)
        draw_by_default(settings.network, settings.init)
        with named("tracking", TrackingConfig):
            history_interval(settings.tracking.history)
        experiment, notes = _experiment(settings, data_name)
        with named("sweep", SweepConfig):
            experiment.check_metric()
        with named("train", TrainConfig), named("data", DataConfig):
            experiment.check(grid)
        return cls(settings, experiment, grid, tracking(settings), notes)


def tracking(config: Config) -> Tracking | None:
    """Return where runs are kept, if they are."""
    where = config.tracking
    if not where.enabled:
        return None
    with named("tracking", TrackingConfig):
        keep = check_keep(where.weights)
        _check_model(where)
    return Tracking(where.uri, where.experiment, where.history, keep)


def _check_model(where: TrackingConfig) -> None:
    model = check("model", where.model, Models | None)
    register = where.register
    if register is not None and not re.fullmatch(r"[^/:]*[^/:\s][^/:]*", register):
        raise SettingError(
            "register", shown(register), "names of models without / and :", "choose another"
        )
    kept = {"all": ("best", "all"), "best": ("best",), "none": ()}[where.weights]
    for name, value in (("model", model), ("register", register)):
        if value is None or model == "none" or (model or "best") in kept:
            continue
        raise SettingError(
            name, f"{value}, with weights={where.weights}", "weights=all",
            "keep the weights of which a model is made",
        )  # fmt: skip


def _experiment(config: Config, data_name: str) -> tuple[Experiment, tuple[str, ...]]:
    """Return the experiment, and notes on its data."""
    run = None if config.init.run is None else run_to_go_on(config.init.run, config)
    work = problem(config.network, config.data, config.init, run)
    train = cast(
        dict[str, Any], OmegaConf.to_container(cast(DictConfig, config.train), resolve=True)
    )
    rates = {name: train[name.removeprefix("train.")] for name in RATES}
    init = config.init
    drawn = None
    if init.method is not None and run is None:
        drawn = Draw(init.method, init.seed, init.scale, init.offset)
    experiment = Experiment(
        network=work.network,
        data=work.data,
        validation=work.validation,
        init=np.array(work.weights) if drawn is None else drawn,
        rates={name: rate for name, rate in rates.items() if rate is not None},
        settings={name: train[name] for name in SHARED},
        data_name=data_name,
        preparation=work.preparation,
        state=None if run is None else run.state,
        metric=config.sweep.metric,
    )
    return experiment, work.notes
