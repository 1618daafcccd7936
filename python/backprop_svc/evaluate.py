"""What weights achieve: loss and accuracy on any rows."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from backprop_svc._core import Network
from backprop_svc.arrays import Floats
from backprop_svc.train import _floats, _rows, _runs, gradients, predict

MOST_VALUES = 1 << 22
"""Predictions or gradients in memory at once: 32 MB."""


class Evaluation(NamedTuple):
    """What :func:`evaluate` returns."""

    loss: Floats
    """Mean loss over the rows, shape (runs,)."""
    accuracy: Floats | None
    """Share of rows whose class is right, shape (runs,); None but for cross-entropies."""


def accuracy(predictions: ArrayLike, y: ArrayLike) -> Floats:
    """Share of the rows whose class is right, shape (runs,); NaN if a prediction is.

    The class of a row is its largest output, the first of equal ones; with one output,
    whether it is above ½.

    Parameters
    ----------
    predictions
        What :func:`predict` returns, shape (runs, rows, outputs).
    y
        Targets, shape (rows, outputs); (rows,) or a number with one output.

    Raises
    ------
    ValueError
        Shapes that do not fit.

    >>> accuracy([[[0.1, 0.9], [0.6, 0.4]]], [[0, 1], [0, 1]])
    array([0.5])
    """
    guesses = _floats("predictions", predictions)
    if guesses.ndim != 3 or 0 in guesses.shape[1:]:
        raise ValueError(
            f"predictions has shape {guesses.shape}; allowed: (runs, rows, outputs), with one "
            "or more rows and outputs; give what predict returns"
        )
    targets = _rows("y", y, guesses.shape[2])
    if len(targets) != guesses.shape[1]:
        raise ValueError(
            f"y has {len(targets)} rows; allowed: {guesses.shape[1]}, as many as predictions; "
            "give one target for each row"
        )
    right = _classes(guesses) == _classes(targets)
    return np.where(np.isnan(guesses).any(axis=(1, 2)), np.nan, right.mean(axis=1))


def evaluate(network: Network, weights: ArrayLike, x: ArrayLike, y: ArrayLike) -> Evaluation:
    """Loss and accuracy of every run; shapes and errors as for :func:`gradients`.

    >>> import backprop_svc as bp
    >>> bp.evaluate(bp.Network(1, 1, 1), [0.5, 1.0], [2.0, 4.0], [3.0, 2.0])
    Evaluation(loss=array([1.]), accuracy=None)
    """
    starts = _runs(network, weights)
    inputs, targets = _rows("x", x, network.inputs), _rows("y", y, network.outputs)
    loss = np.empty(len(starts))
    share = np.empty(len(starts)) if classifies(network) else None
    size = max(1, MOST_VALUES // max(1, targets.size, network.parameters))
    for low in range(0, len(starts), size):
        piece = slice(low, low + size)
        loss[piece] = gradients(network, starts[piece], inputs, targets).loss
        if share is not None:
            share[piece] = accuracy(predict(network, starts[piece], inputs), targets)
    return Evaluation(loss, share)


def classifies(network: Network) -> bool:
    """Tell whether the loss is a cross-entropy, so that the outputs stand for classes."""
    return network.loss.endswith("_cross_entropy")


def _classes(values: Floats) -> NDArray[np.generic]:
    """Along the last axis."""
    return values.argmax(axis=-1) if values.shape[-1] > 1 else values[..., 0] > 0.5
