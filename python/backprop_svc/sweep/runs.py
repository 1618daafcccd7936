"""Runs in the form that a writer keeps: identity, settings and results of each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache

import numpy as np

from backprop_svc._core import Network
from backprop_svc.arrays import Floats
from backprop_svc.hyperparameters import of_network, with_own
from backprop_svc.metric import objective, scores
from backprop_svc.result import MOST_NAMED_WEIGHTS, Result
from backprop_svc.sweep.axes import HYPERPARAMETERS
from backprop_svc.sweep.experiment import Draw, Experiment, own_of
from backprop_svc.sweep.naming import Naming
from backprop_svc.sweep.space import Points
from backprop_svc.tracking import Runs
from backprop_svc.tracking.record import build_tags, series_of
from backprop_svc.tracking.states import Keep, States

MOST_SHOWN_WEIGHTS = 4
"""The largest number of initial weights that the name of a run shows."""


def to_runs(
    experiment: Experiment,
    points: Points,
    result: Result,
    achieved: Mapping[str, Floats],
    *,
    sweep: str,
    first: int,
    settings: Mapping[str, str],
    history: str,
    keep: Keep,
    time: tuple[int, int],
    naming: Naming | None = None,
) -> Runs:
    """Return runs as a writer keeps them.

    Parameters
    ----------
    experiment, points, result, achieved
        What was trained, and what came of it.
    sweep, first
        Identity of the sweep, and the position in it of the first run.
    settings
        Further settings that identify these runs, as they were written.
    history
        Which epochs are kept: see :func:`backprop_svc.tracking.record.history_interval`.
    keep
        Of which runs the final weights are kept: see
        :func:`backprop_svc.tracking.states.check_keep`.
    time
        Begin and end of the training, in milliseconds since 1970.
    naming
        Names the runs by what differs between them; by default by where they start.
    """
    count, network = len(result), experiment.network
    rates, weights = result.learning_rate, result.initial_weights
    params = {"network": _networks(network, result), "data": [experiment.data_name] * count}
    if rates.ndim == 1:
        params["train.lr"] = list(map(str, rates.tolist()))
    else:
        for layer, column in enumerate(rates.T, start=1):
            params[f"train.lr{layer}"] = list(map(str, column.tolist()))
    params["train.epochs"] = [str(experiment.settings["epochs"])] * count
    for name, value in experiment.unusual(points.values).items():
        params[f"train.{name}"] = [str(value)] * count
    own = own_of(points)
    for name in points.values:
        if name in HYPERPARAMETERS:
            params[name] = list(map(str, own[name.rpartition(".")[2]].tolist()))
    if network.parameters <= MOST_NAMED_WEIGHTS:
        for name, column in zip(network.parameter_names, weights.T, strict=True):
            params[f"init.{name}"] = list(map(str, column.tolist()))
    for name, column in experiment.drawn(points).items():
        params[name] = [format(value, ".17g") for value in column.tolist()]
    for name, value in settings.items():
        params.setdefault(param_name(name), [value] * count)
    version, metric = build_tags()["backprop.version"], experiment.by
    start_time, end_time = time
    return Runs(
        sweep=sweep,
        index=np.arange(first, first + count),
        names=_names(experiment, points, first, rates, weights, naming),
        params=params,
        series=series_of(result, history, achieved),
        tags={"outcome": result.outcome.tolist(), "backprop.version": [version] * count},
        start_time=start_time,
        end_time=end_time,
        states=States.of(
            result,
            first,
            keep,
            objective(metric, scores(metric, result, achieved)),
            experiment.preparation,
        ),
    )


def _networks(network: Network, result: Result) -> list[str]:
    """Describe the network of each run, with the values of its own."""
    gains = {n: v.tolist() for n, v in of_network(result.hyperparameters).items()}
    if not gains:
        return [str(network)] * len(result)
    described = cache(
        lambda *values: str(with_own(network, **dict(zip(gains, values, strict=True))))
    )
    return [described(*values) for values in zip(*gains.values(), strict=True)]


def param_name(name: str) -> str:
    """Name a setting as MLflow allows it: data@train becomes data.train."""
    return re.sub(r"[^\w./ -]", ".", name)


def _names(
    experiment: Experiment,
    points: Points,
    first: int,
    rates: Floats,
    weights: Floats,
    naming: Naming | None,
) -> list[str]:
    if naming is not None and naming.differs:
        return naming.names(points, first)
    more = ",…" if weights.shape[1] > MOST_SHOWN_WEIGHTS else ""
    init = experiment.init
    # What is drawn says less than how it is drawn.
    starts = (
        [
            f"init={init.method} seed={seed:.0f}"
            for seed in experiment.drawn(points)["init.seed"]
        ]
        if isinstance(init, Draw)
        else [
            f"w={','.join(format(weight, 'g') for weight in row)}{more}"
            for row in weights[:, :MOST_SHOWN_WEIGHTS].tolist()
        ]
    )
    return [
        f"lr={','.join(format(rate, 'g') for rate in own)} {start}"
        for own, start in zip(rates.reshape(len(rates), -1).tolist(), starts, strict=True)
    ]
