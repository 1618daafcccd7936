"""What a training computes once it is done, if it is asked for: curvature, and chaos."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from backprop_svc.arrays import Floats
from backprop_svc.curvature import curvature, sharpness
from backprop_svc.hyperparameters import of_network
from backprop_svc.result import Result
from backprop_svc.separation import SHARED, exponents

MOST_VALUES = 1 << 20
"""Weights of a history that are looked at together: 8 MB."""
FEWEST = 16
"""Epochs of a history that are looked at together: they fill registers and threads."""
UNASKED: dict[str, Any] = {
    "sharpness": False,
    "smallest_eigenvalue": False,
    "lyapunov_epochs": None,
}
"""The settings that ask for it, with the values that ask for nothing."""


def asked(settings: Mapping[str, Any]) -> bool:
    """Tell whether settings of training ask for any of it."""
    return any(settings[name] != unasked for name, unasked in UNASKED.items())


def with_measured(
    result: Result, x: Floats, y: Floats, settings: SimpleNamespace, train: Callable[..., Any]
) -> Result:
    """Add to a result what the settings ask for.

    Parameters
    ----------
    x, y
        The rows that it was trained on.
    settings
        All settings of the training that its runs share.
    train
        :func:`backprop_svc.train`, which goes on where the result ended.
    """
    found: dict[str, Any] = {}
    network, gains = result.network, of_network(result.hyperparameters)
    if settings.sharpness:
        last = sharpness(network, result.weights, x, y, **gains)
        found |= {
            "initial_sharpness": sharpness(network, result.initial_weights, x, y, **gains),
            "sharpness": last,
            "sharpness_ratio": _ratio(result, last),
        }
        if result.weight_history is not None:
            history = sharpness_history(result, x, y)
            found |= {
                "sharpness_history": history,
                "sharpness_ratio_history": _ratio(result, history),
            }
    if settings.smallest_eigenvalue:
        both = curvature(network, result.weights, x, y, **gains)
        found["smallest_eigenvalue"] = both.smallest
    if settings.lyapunov_epochs is not None:
        shared = {name: getattr(settings, name) for name in SHARED}
        found["lyapunov_exponent"] = exponents(
            result, x, y, shared, settings.lyapunov_epochs, train
        )
    return replace(result, **found) if found else result


def sharpness_history(result: Result, x: Floats, y: Floats) -> Floats:
    """Compute the sharpness of all weights that were recorded, some at a time.

    Returns
    -------
    Shape (runs, records); NaN after the end of a run.
    """
    assert result.weight_history is not None
    runs, records, parameters = result.weight_history.shape
    weights = result.weight_history.reshape(-1, parameters)
    found = np.full(len(weights), np.nan)
    size = max(FEWEST, MOST_VALUES // parameters)
    for low in range(0, len(weights), size):
        epochs = weights[low : low + size]
        # After an early end there are no weights.
        there = np.flatnonzero(np.isfinite(epochs).all(axis=1))
        gains = {
            name: values[(low + there) // records]
            for name, values in of_network(result.hyperparameters).items()
        }
        found[low + there] = sharpness(result.network, epochs[there], x, y, **gains)
    return found.reshape(runs, records)


def _ratio(result: Result, sharpness: Floats) -> Floats | None:
    """Return learning rate · sharpness / 2, where each run has one learning rate."""
    rates = result.learning_rate
    if rates.ndim > 1:
        return None
    return rates.reshape(-1, *(1,) * (sharpness.ndim - 1)) * sharpness / 2
