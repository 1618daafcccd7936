"""How sharply the loss is curved: eigenvalues of its Hessian, ∂²L/∂w²."""

from __future__ import annotations

from typing import NamedTuple

from numpy.typing import ArrayLike

from backprop_svc import _core
from backprop_svc._core import Network
from backprop_svc.arrays import Floats, pairs
from backprop_svc.hyperparameters import Number, looked_at


class Curvature(NamedTuple):
    """What :func:`curvature` returns."""

    largest: Floats
    """The largest eigenvalue of the Hessian, the sharpness, shape (runs,)."""
    smallest: Floats
    """The smallest eigenvalue, below 0 at a saddle, shape (runs,)."""
    error: Floats
    """Distance from each within which there is an eigenvalue, but for rounding; (runs,)."""


def sharpness(
    network: Network,
    weights: ArrayLike,
    x: ArrayLike,
    y: ArrayLike,
    *,
    gain: Number | None = None,
    negative_slope: Number | None = None,
) -> Floats:
    """Compute the largest eigenvalue of the Hessian ∂²L/∂w² of every run, shape (runs,).

    L is the mean loss over the rows, w are all parameters. Gradient descent with the learning
    rate lr is stable at a minimum only if lr · sharpness / 2 is below 1.

    The Hessian is exact but for rounding: no differences are taken. ReLU is straight on either
    side of its kink, where its second derivative counts as 0. All is computed in float64, also
    for networks of float32. Up to 32 parameters the whole matrix is; for larger networks
    Lanczos' method ends once the error that :func:`curvature` returns is 1e-13 of the largest
    absolute eigenvalue, or after 500 steps.

    The arguments and errors are those of :func:`gradients`. A run whose numbers overflow on
    the way has NaN.

    >>> import backprop_svc as bp
    >>> bp.sharpness(bp.Network(1, 1, activation="identity"), [0.5], 2.0, 3.0)
    array([4.])
    """
    starts, own = looked_at(network, weights, gain=gain, negative_slope=negative_slope)
    return _core.curvature(network, starts, own, *pairs(network, x, y), False)[0]


def curvature(
    network: Network,
    weights: ArrayLike,
    x: ArrayLike,
    y: ArrayLike,
    *,
    gain: Number | None = None,
    negative_slope: Number | None = None,
) -> Curvature:
    """Compute the largest and the smallest eigenvalue of the Hessian of every run.

    See :func:`sharpness`, which is faster: the smallest eigenvalue of a large network is one
    among many near 0, which takes Lanczos' method more steps.

    >>> import backprop_svc as bp
    >>> saddle = bp.curvature(bp.Network(1, 1, 1, activation="identity"), [0.0, 0.0], 2.0, 3.0)
    >>> saddle.largest, saddle.smallest
    (array([6.]), array([-6.]))
    """
    starts, own = looked_at(network, weights, gain=gain, negative_slope=negative_slope)
    found = _core.curvature(network, starts, own, *pairs(network, x, y), True)
    largest, smallest, error = found
    assert smallest is not None
    return Curvature(largest, smallest, error)
