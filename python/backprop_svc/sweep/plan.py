"""What decides the runs of a sweep, taken from its experiment and its grid."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from backprop_svc._core import build_info
from backprop_svc.arrays import Floats
from backprop_svc.datasets import Dataset
from backprop_svc.errors import counted
from backprop_svc.result import MOST_NAMED_WEIGHTS
from backprop_svc.state import State
from backprop_svc.sweep.experiment import Draw, Experiment
from backprop_svc.sweep.space import Grid
from backprop_svc.tracking.plan import Part, Plan

ARITHMETIC = 2
"""Version of the arithmetic: raised by whoever changes the bits of any run."""
FREE = {"threads"}
"""Settings of training that change no run."""
NETWORK = ("sizes", "activation", "gain", "negative_slope", "bias", "loss", "dtype", "output")
LATER = {
    "network.output": "identity",
    "tracking.weights": "all",
    "train.schedule_epochs": None,
    "train.patience": None,
    "train.min_delta": 0.0,
    "train.smallest_eigenvalue": False,
    "train.lyapunov_epochs": None,
}
"""Settings that are younger than plans that may go on, with the values that these stand for: a
setting that has that value is not told."""


def plan(
    experiment: Experiment,
    grid: Grid,
    history: str,
    weights: str,
    *,
    data: Mapping[str, str] | None = None,
    axes: Mapping[str, str] | None = None,
    axis: Mapping[str, Mapping[str, str]] | None = None,
) -> Plan:
    """Return everything that decides what the runs of one configuration are.

    Parameters
    ----------
    experiment, grid
        What is trained at which points.
    history, weights
        Which epochs the store is given, and the final weights of which runs.
    data, axes
        What the rows and the axes came from, to explain a difference. They are kept as they
        are, so that what stands in an environment variable must not be in them.
    axis
        What each axis came from, by its name.
    """
    settings = experiment.settings
    network = {
        f"network.{name}": getattr(experiment.network, name)
        for name in NETWORK
        if f"network.{name}" not in grid.names
    }
    training = {
        f"train.{n}": value
        for n, value in settings.items()
        if n not in FREE and f"train.{n}" not in grid.names
    }
    rates = {n: rate for n, rate in experiment.rates.items() if n not in grid.names}
    kept = {"tracking.history": history, "tracking.weights": weights}
    texts = {
        "the arithmetic": f"version {ARITHMETIC}",
        **{
            name: str(value)
            for name, value in (network | training | rates | kept).items()
            if name not in LATER or value != LATER[name]
        },
        **_start(experiment, grid),
        "data": experiment.data_name,
    }
    if experiment.state is not None:
        texts["what the optimizer remembers"] = _state(experiment.state)
    if settings["precision"] == "fast":
        # Only exact results have the same bits everywhere.
        texts["the instruction set"] = build_info()["simd"]
    parts = {name: Part.of(text) for name, text in texts.items()}
    parts["the content of the data"] = _rows(experiment.data, data)
    if experiment.validation is not None:
        parts["the content of the validation data"] = _rows(experiment.validation, data)
    order = [" with ".join(table) for table in grid.tables]
    parts["the axes"] = Part.of(", ".join(order) or "none")
    for table in grid.tables:
        for name, values in table.items():
            because = {**(axes or {}), **(axis or {}).get(name, {})}
            parts[f"the axis {name}"] = _axis(values, because)
    return Plan(parts)


def _state(state: State) -> str:
    told = f"{state.optimizer} before epoch {state.epoch}"
    return f"{told} #{_content(state.memory)}"


def _start(experiment: Experiment, grid: Grid) -> dict[str, str]:
    """Say where runs start, but for what the axes say."""
    init = experiment.init
    if isinstance(init, Draw):
        drawn = {f"init.{name}": str(value) for name, value in vars(init).items()}
        return {name: text for name, text in drawn.items() if name not in grid.names}
    weights = experiment.starts(grid.points(0, 1)).weights
    if experiment.network.parameters > MOST_NAMED_WEIGHTS:
        return {"init.weights": str(weights[0].tolist())}
    return {
        f"init.{name}": str(weight)
        for name, weight in zip(
            experiment.network.parameter_names, weights[0].tolist(), strict=True
        )
        if f"init.{name}" not in grid.names
    }


def _rows(rows: Dataset, because: Mapping[str, str] | None) -> Part:
    x, y = _table(rows.x), _table(rows.y)
    content = _content(x, y)
    shape = f"{counted(len(x), 'row')} of {counted(x.shape[1], 'input')}"
    return Part(f"{shape} #{content}", dict(because or {}))


def _axis(values: Floats, because: Mapping[str, str]) -> Part:
    low, high = values.min(), values.max()
    told = f"{counted(len(values), 'value')} from {low:g} to {high:g}"
    return Part(f"{told} #{_content(values)}", dict(because))


def _table(values: ArrayLike) -> Floats:
    """Return rows and columns, however they were given."""
    table = np.asarray(values, dtype=np.float64)
    return table.reshape(len(table), -1) if table.ndim else table.reshape(1, 1)


def _content(*arrays: Floats) -> str:
    sign = hashlib.sha256()
    for values in arrays:
        sign.update(f"{values.shape}".encode())
        # The same on machines of either byte order.
        sign.update(np.ascontiguousarray(values, dtype="<f8").data)
    return sign.hexdigest()[:16]
