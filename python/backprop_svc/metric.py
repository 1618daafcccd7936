"""What tells which run of a sweep is the best, and in which direction."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from backprop_svc import errors
from backprop_svc._core import Network
from backprop_svc.arrays import Floats
from backprop_svc.evaluate import classifies
from backprop_svc.result import Result

MAXIMIZED = {"accuracy", "val_accuracy", "r2", "val_r2"}
"""Metrics of which the largest value is the best; of all others it is the smallest."""
METRICS = ("loss", "accuracy", "rmse", "r2", "val_loss", "val_accuracy", "val_rmse", "val_r2")
"""Every metric by which runs are compared; ``val_…`` are those on the rows of validation."""


def available(network: Network, *, varied: bool, validated: bool) -> list[str]:
    """Return the metrics that the runs of a network have.

    Parameters
    ----------
    network
        Of all runs.
    varied
        Whether targets differ from row to row.
    validated
        Whether there are rows of validation.
    """
    absent = set() if varied else {"rmse", "r2"}
    absent |= {"rmse", "r2"} if classifies(network) else {"accuracy"}
    return [
        name
        for name in METRICS
        if name.removeprefix("val_") not in absent
        and (validated or not name.startswith("val_"))
    ]


def check_metric(metric: object, network: Network, *, varied: bool, validated: bool) -> str:
    """Return the metric that is asked for.

    By default it is the loss on the rows of validation, where there are some, else that of the
    training.

    Raises
    ------
    SettingError
        The runs have no such metric.
    """
    allowed = available(network, varied=varied, validated=validated)
    if metric is None:
        return "val_loss" if validated else "loss"
    if not isinstance(metric, str) or metric not in allowed:
        fix = "choose one of them"
        if isinstance(metric, str) and metric.removeprefix("val_") in allowed:
            fix += ", or give rows of validation"
        raise errors.SettingError("metric", errors.shown(metric), ", ".join(allowed), fix)
    return metric


def scores(metric: str, result: Result, achieved: Mapping[str, Floats]) -> Floats:
    """Return a metric of each run, shape (runs,).

    Parameters
    ----------
    metric
        One of :data:`METRICS`.
    result
        What the training returned: the loss is the last one.
    achieved
        All other metrics by their names, shape (runs,) each.

    Returns
    -------
    The worst value there is, ∞ or −∞, where a run diverged or has no finite one.
    """
    values = result.last_loss if metric == "loss" else achieved[metric]
    bad = (result.diverged_at >= 0) | ~np.isfinite(values)
    return np.where(bad, worst(metric), values)


def worst(metric: str) -> float:
    """Return the worst value of a metric."""
    return -np.inf if metric in MAXIMIZED else np.inf


def objective(metric: str, values: Floats) -> Floats:
    """Return what the best run has the smallest value of."""
    return -values if metric in MAXIMIZED else values


def extreme(metric: str) -> str:
    """Name the best value of a metric: ``min_loss``, ``max_accuracy``."""
    return f"{'max' if metric in MAXIMIZED else 'min'}_{metric}"


def shown(metric: str) -> str:
    """Say in pictures what a metric is."""
    return "last loss" if metric == "loss" else metric
