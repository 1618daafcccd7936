"""From the arguments of a sweep to its experiment."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike

from backprop_svc._core import Network
from backprop_svc.arrays import Floats, checked_network, floats, pair
from backprop_svc.datasets import Dataset
from backprop_svc.errors import SettingError, SettingTypeError, counted, shown
from backprop_svc.hyperparameters import differs
from backprop_svc.settings import check
from backprop_svc.sweep.axes import BATCH_SEED, DRAWN, HYPERPARAMETERS, RATES, WEIGHTS
from backprop_svc.sweep.experiment import Draw, Experiment
from backprop_svc.sweep.space import Grid
from backprop_svc.train import RECORDS, SETTINGS, SHARED, Record

GUIDE = (0.5, 1.0)
"""Initial weights of the guide's network."""


def build(
    network: Network,
    x: ArrayLike,
    y: ArrayLike,
    grid: Grid,
    init: ArrayLike | str | Draw | None,
    learning_rate: ArrayLike | None,
    validation: tuple[ArrayLike, ArrayLike] | None,
    data: str,
    settings: Mapping[str, Any],
    metric: str | None = None,
) -> Experiment:
    """Return what all points of a sweep share; the arguments are those of the sweep.

    Raises
    ------
    SettingError
        Settings that no sweep has; axes that would change nothing.
    """
    checked_network(network)
    for name in settings:
        if name not in SHARED:
            raise SettingTypeError(
                name, "no setting of a sweep", ", ".join(("learning_rate", *SHARED)),
                "correct the name",
            )  # fmt: skip
        if f"train.{name}" in HYPERPARAMETERS and differs(settings[name]):
            raise SettingTypeError(
                name, shown(settings[name]), "one value for all runs",
                'give several as an axis, axes={"{name}": […]}',
            )  # fmt: skip
    start = _start(network, init)
    rates = _rates(network, 0.1 if learning_rate is None else learning_rate)
    swept = [name for name in grid.names if name in RATES]
    if learning_rate is not None and set(swept) >= set(rates):
        raise SettingError(
            "learning_rate",
            f"{shown(learning_rate)}, and {' and '.join(swept)} an axis",
            "one of them",
            "leave it out",
        )
    rates |= {name: float(grid.points(0, 1).values[name][0]) for name in swept}
    _check_hyperparameters(network, grid, settings)
    for name in grid.names:
        if name in HYPERPARAMETERS:
            continue
        if _changes_nothing(name, network, start, rates):
            raise SettingError(
                f"the axis {name!r}",
                "given and would change nothing",
                "axes of what this network starts from, "
                f"which has {counted(network.layers, 'layer')}",
                'remove it, or give init="he" for seeds and initial weights for w1 and w2',
            )
    return Experiment(
        network=network,
        data=_rows(x, y),
        validation=None if validation is None else _rows(*pair("validation", validation)),
        init=start,
        rates=rates,
        settings={
            name: check(name, settings.get(name, usual), SETTINGS[name])
            for name, usual in SHARED.items()
        },
        data_name=check("data", data, str),
        metric=metric,
    )


def describe(experiment: Experiment, grid: Grid) -> str:
    """Write down what a sweep trains, as YAML."""
    init = experiment.init
    told = {
        "network": str(experiment.network),
        "data": experiment.data_name,
        "init": vars(init) if isinstance(init, Draw) else init.tolist(),
        "rates": dict(experiment.rates),
        "train": {n: v for n, v in experiment.settings.items() if n != "threads"},
        "axes": [
            {name: [len(values), values.min(), values.max()] for name, values in table.items()}
            for table in grid.tables
        ],
    }
    # JSON is valid YAML, except for how it writes infinity.
    text = json.dumps(told, indent=2, default=str)
    return re.sub(r"(?<=: )(-?)Infinity(?=,?$)", r"\1.inf", text, flags=re.MULTILINE)


def histories(record: object) -> tuple[Record, ...]:
    """Return the names of the histories that outcomes keep."""
    names: Any = (record,) if isinstance(record, str) else record
    # Not a class of somebody else's, which may be anything but a list.
    if type(names) not in (list, tuple, set, frozenset):
        raise SettingTypeError(
            "record", shown(record), "a list of names of histories", 'write ["loss"], say'
        )
    names = [check("record", name, Record) for name in names]
    return tuple(name for name in RECORDS if name in names)


def _rows(x: ArrayLike, y: ArrayLike) -> Dataset:
    # Training gives the arrays their shape, and its errors name what does not fit.
    return Dataset(cast(Floats, x), cast(Floats, y))


def _start(network: Network, init: ArrayLike | str | Draw | None) -> Floats | Draw:
    if isinstance(init, Draw):
        return init
    if isinstance(init, str):
        return Draw(init)
    if init is None:
        if network.parameters > len(GUIDE):
            raise SettingError(
                "init",
                f"not given for a network of {network.parameters} weights",
                "initial weights, or how they are drawn",
                'try init="he"',
            )
        return np.array(GUIDE[: network.parameters])
    weights = floats("init", init)
    if weights.shape != (network.parameters,):
        raise SettingError(
            "init",
            shown(init),
            f"{network.parameters} weights, a method that draws them, or a Draw",
            'try init="he"',
        )
    return weights


def _rates(network: Network, learning_rate: ArrayLike) -> dict[str, float]:
    rates = floats("learning_rate", learning_rate)
    if rates.shape not in ((), (network.layers,)):
        raise SettingError(
            "learning_rate",
            shown(learning_rate),
            f"a number, or {network.layers} of them, one for each layer",
            "give further rates as the axes lr, lr1, lr2 and so on",
        )
    if not rates.ndim:
        return {"train.lr": float(rates)}
    return {f"train.lr{layer}": float(rate) for layer, rate in enumerate(rates, start=1)}


def _changes_nothing(
    name: str, network: Network, init: Floats | Draw, rates: Mapping[str, float]
) -> bool:
    if name in DRAWN:
        return not isinstance(init, Draw)
    if name in WEIGHTS:
        return isinstance(init, Draw) or WEIGHTS.index(name) >= network.parameters
    if name == "train.lr":
        return all(f"train.lr{layer + 1}" in rates for layer in range(network.layers))
    return int(name.removeprefix("train.lr")) > network.layers


def _check_hyperparameters(network: Network, grid: Grid, settings: Mapping[str, Any]) -> None:
    """Refuse axes of settings that are given besides, or that no other setting uses."""
    told = settings.get("optimizer", SHARED["optimizer"])
    optimizer = check("optimizer", told, SETTINGS["optimizer"])
    needs = {
        "train.momentum": (
            optimizer != "gradient_descent", "with the optimizer momentum, nesterov or adam"
        ),
        "train.beta2": (optimizer == "adam", "with the optimizer adam"),
        "network.gain": (network.layers > 1, "with a hidden layer"),
        "network.negative_slope": (
            "leaky_relu" in (network.activation, network.output), "with leaky_relu"
        ),
        BATCH_SEED: (settings.get("batch_size") is not None, "with a batch_size"),
    }  # fmt: skip
    for name in set(grid.names) & set(HYPERPARAMETERS):
        short = name.rpartition(".")[2]
        if short in settings:
            raise SettingError(
                short, f"{shown(settings[short])}, and {name} an axis", "one of them",
                "leave it out",
            )  # fmt: skip
        is_used, allowed = needs.get(name, (True, ""))
        if not is_used:
            raise SettingError(
                f"the axis {name!r}", "given and would change nothing", allowed,
                "give that, or remove the axis",
            )  # fmt: skip
