"""Settings that change nothing, because another one is missing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import fields

from backprop_svc.cli.config.overrides import name_of
from backprop_svc.cli.config.problem import layers
from backprop_svc.cli.config.schema import Config
from backprop_svc.datasets import Reading
from backprop_svc.errors import SettingError
from backprop_svc.sweep.axes import OF_LAYERS

Need = tuple[str, Callable[[Config], bool]]


def _layers(config: Config) -> int:
    return layers(config.network)


def _lr_is_used(config: Config) -> bool:
    own = [getattr(config.train, name.removeprefix("train.")) for name in OF_LAYERS]
    return any(rate is None for rate in own[: _layers(config)]) or _layers(config) > len(own)


def _has_layer(number: int) -> Need:
    layers = "layers or more" if number > 1 else "layer or more"
    return (f"a network of {number} {layers}", lambda c: _layers(c) >= number)


def _has_interval(config: Config) -> bool:
    return any("interval" in axis for axis in config.sweep.axes)


def _differs_by_seed(config: Config) -> bool:
    swept = any(axis.startswith("init.scale=") for axis in config.sweep.axes)
    return config.init.method is not None and (swept or config.init.scale != 0)


_DRAWN: Need = ("init=random or another that draws", lambda c: c.init.method is not None)
_STEP: Need = ("train.schedule=step", lambda c: c.train.schedule == "step")
_ADAM: Need = ("train.optimizer=adam", lambda c: c.train.optimizer == "adam")

_HIDDEN: Need = ("a hidden layer", lambda c: _layers(c) > 1)
_GIVEN: Need = (
    "initial weights that are given: init=guide, and network.sizes instead of network.hidden",
    lambda c: c.init.method is None,
)
_VALIDATED: Need = (
    "data.validation above 0, or data.folds",
    lambda c: c.data.validation > 0 or c.data.folds is not None,
)
_TABLE: Need = ("data.path, a table", lambda c: c.data.path is not None)
_TRACKED: Need = ("tracking=mlflow", lambda c: c.tracking.enabled)

READING = [each.name for each in fields(Reading)]
"""Settings of the data that say how a table is read."""

NEEDS: dict[str, Need] = {
    "network.sizes": ("network.hidden left out", lambda c: c.network.hidden is None),
    "network.activation": _HIDDEN,
    "network.gain": _HIDDEN,
    "network.negative_slope": (
        "network.activation=leaky_relu",
        lambda c: "leaky_relu" in (c.network.activation, c.network.output),
    ),
    "data.validation_seed": _VALIDATED,
    **{f"data.{name}": _TABLE for name in (*READING, "exclude", "missing")},
    "train.lr": ("a layer that has no rate of its own", _lr_is_used),
    **{name: _has_layer(number) for number, name in enumerate(OF_LAYERS, start=1)},
    "train.momentum": (
        "train.optimizer=momentum, nesterov or adam",
        lambda c: c.train.optimizer != "gradient_descent",
    ),
    "train.patience": _VALIDATED,
    "train.min_delta": ("train.patience", lambda c: c.train.patience is not None),
    "train.beta2": _ADAM,
    "train.epsilon": _ADAM,
    "train.step_epochs": _STEP,
    "train.step_factor": _STEP,
    "train.schedule_epochs": (
        "train.schedule=cosine",
        lambda c: c.train.schedule == "cosine",
    ),
    "train.batch_seed": ("train.batch_size", lambda c: c.train.batch_size is not None),
    "init.w1": _GIVEN,
    "init.w2": _GIVEN,
    "init.seed": ("init=random or another that draws, and a scale", _differs_by_seed),
    "init.scale": _DRAWN,
    "init.offset": _DRAWN,
    "tracking.uri": _TRACKED,
    "tracking.experiment": _TRACKED,
    "tracking.history": _TRACKED,
    "tracking.weights": _TRACKED,
    "tracking.model": _TRACKED,
    "tracking.register": ("tracking.model=best or all", lambda c: c.tracking.model != "none"),
    "sweep.sampler": ("an interval", _has_interval),
    "sweep.samples": (
        "sweep.sampler=random, latin or sobol",
        lambda c: c.sweep.sampler != "grid",
    ),
    "sweep.points": (
        "an interval and sweep.sampler=grid (the others take sweep.samples)",
        lambda c: c.sweep.sampler == "grid" and _has_interval(c),
    ),
}
"""What a setting needs to change anything, and whether a configuration has it."""


def unused(config: Config, words: Iterable[str]) -> set[str]:
    """Return which of the settings in overrides change nothing in a configuration."""
    return {
        name for name in set(map(name_of, words)) & set(NEEDS) if not NEEDS[name][1](config)
    }


def refuse(names: set[str]) -> None:
    """Raise an error that names the first of these settings, if there is one."""
    for name in sorted(names):
        raise SettingError(
            name,
            "given and would change nothing",
            f"with {NEEDS[name][0]}",
            "add that, or leave it out",
        )
