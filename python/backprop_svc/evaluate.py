"""What weights give on any rows: predictions, gradients, loss and accuracy."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from backprop_svc import _core
from backprop_svc._core import Network
from backprop_svc.arrays import Floats, floats, pairs, rows
from backprop_svc.errors import SettingError, counted
from backprop_svc.hyperparameters import Number, looked_at, part

MOST_VALUES = 1 << 22
"""Predictions or gradients in memory at once: 32 MB."""


class Gradients(NamedTuple):
    """What :func:`gradients` returns."""

    loss: Floats
    """Mean loss over the rows, shape (runs,)."""
    gradients: Floats
    """∂L/∂w, shape (runs, parameters)."""


class Evaluation(NamedTuple):
    """What :func:`evaluate` returns."""

    loss: Floats
    """Mean loss over the rows, shape (runs,)."""
    accuracy: Floats | None
    """Share of rows whose class is right, shape (runs,); None but for cross-entropies."""


def gradients(
    network: Network,
    weights: ArrayLike,
    x: ArrayLike,
    y: ArrayLike,
    *,
    gain: Number | None = None,
    negative_slope: Number | None = None,
) -> Gradients:
    """Compute loss and ∂L/∂w of every run by one forward and one backward pass.

    Parameters
    ----------
    network
        The shape that all runs share.
    weights
        Shape (runs, parameters), or (parameters,) of a single run.
    x
        Inputs, shape (rows, inputs); (rows,) or a number for networks with one input.
    y
        Targets, shape (rows, outputs); (rows,) or a number for networks with one output.
    gain, negative_slope
        Of the activation, in place of those of the network: a number, or shape (runs,).

    Raises
    ------
    SettingError
        Shapes do not fit, or a value is not a finite number.
    MemoryError
        The results do not fit in memory.

    >>> import backprop_svc as bp
    >>> bp.gradients(bp.Network(1, 1, 1), [0.5, 1.0], 2.0, 3.0)
    Gradients(loss=array([2.]), gradients=array([[-4., -2.]]))
    """
    starts, own = looked_at(network, weights, gain=gain, negative_slope=negative_slope)
    inputs, targets = pairs(network, x, y)
    return Gradients(*_core.gradients(network, starts, own, inputs, targets))


def predict(
    network: Network,
    weights: ArrayLike,
    x: ArrayLike,
    *,
    gain: Number | None = None,
    negative_slope: Number | None = None,
) -> Floats:
    """Compute ŷ of every run for every row, shape (runs, rows, outputs).

    The arguments and errors are those of :func:`gradients`.

    >>> import backprop_svc as bp
    >>> bp.predict(bp.Network(1, 1, 1), [0.5, 1.0], 2.0)
    array([[[1.]]])
    """
    starts, own = looked_at(network, weights, gain=gain, negative_slope=negative_slope)
    return _core.predict(network, starts, own, rows("x", x, network.inputs))


def accuracy(predictions: ArrayLike, y: ArrayLike) -> Floats:
    """Compute the share of rows whose class is right, shape (runs,).

    The class of a row is its largest output, the first one of equal ones. With one output,
    the class is whether the output is above ½. The share is NaN if a prediction is.

    Parameters
    ----------
    predictions
        What :func:`predict` returns, shape (runs, rows, outputs).
    y
        Targets, shape (rows, outputs); (rows,) or a number with one output.

    Raises
    ------
    SettingError
        Shapes do not fit, or a value is not a number.

    >>> accuracy([[[0.1, 0.9], [0.6, 0.4]]], [[0, 1], [0, 1]])
    array([0.5])
    """
    guesses = floats("predictions", predictions)
    if guesses.ndim != 3 or 0 in guesses.shape[1:]:
        raise SettingError(
            "predictions",
            f"shape {guesses.shape}",
            "(runs, rows, outputs), with one or more rows and outputs",
            "give what predict returns",
            verb="has",
        )
    targets = rows("y", y, guesses.shape[2])
    if len(targets) != guesses.shape[1]:
        raise SettingError(
            "y",
            counted(len(targets), "row"),
            f"{guesses.shape[1]}, as many as predictions",
            "give one target for each row",
            verb="has",
        )
    right = _classes(guesses) == _classes(targets)
    return np.where(np.isnan(guesses).any(axis=(1, 2)), np.nan, right.mean(axis=1))


def evaluate(
    network: Network,
    weights: ArrayLike,
    x: ArrayLike,
    y: ArrayLike,
    *,
    gain: Number | None = None,
    negative_slope: Number | None = None,
) -> Evaluation:
    """Compute loss and accuracy of every run.

    The arguments and errors are those of :func:`gradients`.

    >>> import backprop_svc as bp
    >>> bp.evaluate(bp.Network(1, 1, 1), [0.5, 1.0], [2.0, 4.0], [3.0, 2.0])
    Evaluation(loss=array([1.]), accuracy=None)
    """
    starts, own = looked_at(network, weights, gain=gain, negative_slope=negative_slope)
    inputs, targets = pairs(network, x, y)
    # Copies of our own: nobody changes them between one piece and the next.
    starts, inputs, targets = starts.copy(), inputs.copy(), targets.copy()
    loss = np.empty(len(starts))
    share = np.empty(len(starts)) if classifies(network) else None
    size = max(1, MOST_VALUES // max(1, targets.size, network.parameters))
    for low in range(0, len(starts), size):
        piece = slice(low, low + size)
        gains = part(own, piece)
        loss[piece] = gradients(network, starts[piece], inputs, targets, **gains).loss
        if share is not None:
            share[piece] = accuracy(predict(network, starts[piece], inputs, **gains), targets)
    return Evaluation(loss, share)


class Fit(NamedTuple):
    """What :func:`fit` returns."""

    rmse: Floats
    """Root mean squared error in the unit of the targets, shape (runs,)."""
    r2: Floats
    """Coefficient of determination R², NaN where targets are constant; shape (runs,)."""


def fit(
    network: Network,
    weights: Floats,
    x: Floats,
    y: Floats,
    unit: ArrayLike = 1.0,
    **gains: NDArray[Any],
) -> Fit:
    """Compute how well each run fits its targets; of several outputs it is the mean.

    Parameters
    ----------
    network, weights, x, y
        As for :func:`gradients`.
    unit
        What targets were divided by, a number or shape (outputs,).
    gains
        ``gain`` and ``negative_slope``, as for :func:`gradients`.
    """
    inputs, targets = pairs(network, x, y)
    starts, own = looked_at(network, weights, **gains)
    if network.outputs == 1 and network.loss in SQUARED:
        loss = gradients(network, starts, inputs, targets, **own).loss
        squares = SQUARED[network.loss] * loss[:, np.newaxis]
    else:
        squares = np.empty((len(starts), network.outputs))
        size = max(1, MOST_VALUES // max(1, targets.size))
        for low in range(0, len(starts), size):
            piece = slice(low, low + size)
            each = part(own, piece)
            with np.errstate(over="ignore", invalid="ignore"):
                errors = predict(network, starts[piece], inputs, **each) - targets
                squares[piece] = (errors**2).mean(axis=1)
    variance = targets.var(axis=0)
    # Equal values that are no binary fraction have a variance above 0; tiny ones that differ
    # may have none.
    variance[(np.ptp(targets, axis=0) == 0) | (variance == 0)] = np.nan
    with np.errstate(over="ignore", invalid="ignore"):
        rmse = np.sqrt(squares) * np.abs(unit)
        return Fit(rmse.mean(axis=1), (1 - squares / variance).mean(axis=1))


SQUARED = {"half_squared_error": 2.0, "mse": 1.0}
"""Of each squared error, the mean square of a single output as a multiple of the loss."""


def classifies(network: Network) -> bool:
    """Tell whether the loss is a cross-entropy, so that the outputs stand for classes."""
    return network.loss.endswith("_cross_entropy")


def _classes(values: Floats) -> NDArray[np.generic]:
    """Return the class along the last axis."""
    return values.argmax(axis=-1) if values.shape[-1] > 1 else values[..., 0] > 0.5
