"""How fast runs that start beside each other come apart."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from backprop_svc._core import Network
from backprop_svc.arrays import Floats
from backprop_svc.errors import SettingTypeError
from backprop_svc.hyperparameters import OF_NETWORK
from backprop_svc.separation import SHARED, exponents
from backprop_svc.settings import Positive, check
from backprop_svc.train import train

ALLOWED = ("state", "learning_rate", *SHARED, *OF_NETWORK)
"""Settings of :func:`train` that say how an epoch changes the state of a run."""


def lyapunov_exponent(
    network: Network,
    weights: ArrayLike,
    x: ArrayLike,
    y: ArrayLike,
    *,
    epochs: Positive = 1000,
    **settings: Any,
) -> Floats:
    """Measure the largest Lyapunov exponent of every run, shape (runs,), in 1/epoch.

    Two runs that start at a tiny distance d are at the distance d·exp(λ·t) after t epochs. λ is
    above 0 for chaotic runs, and below 0 for those that an attracting minimum or cycle draws
    together; where minima form a line, as for two layers, it is 0. Gradient descent near a
    minimum of a single parameter has ln |1 − lr · sharpness|.

    A copy of each run is nudged in a random direction and trained beside it. Every four epochs
    the distance between their states (weights and what the optimizer remembers) is measured and
    made small again (Benettin, Galgani, Giorgilli & Strelcyn, Meccanica 15, 1980). The exponent
    is the mean over all epochs, so begin with weights that are trained. What is lost in
    rounding limits it to some −4 from below.

    Parameters
    ----------
    network, weights, x, y
        As for :func:`train`.
    epochs
        How many epochs the exponent is a mean over, from 1.
    **settings
        Of :func:`train`, with its meaning and defaults: ``state``, ``learning_rate``,
        ``optimizer``, ``momentum``, ``beta2``, ``epsilon``, ``weight_decay``, ``batch_size``,
        ``batch_seed``, ``gain``, ``negative_slope``, ``threads``.

    Returns
    -------
    A run that diverges has NaN.

    Raises
    ------
    SettingError, SettingTypeError
        As :func:`train`.

    >>> import backprop_svc as bp
    >>> linear = bp.Network(1, 1, activation="identity")
    >>> bp.lyapunov_exponent(linear, [0.5], 2.0, 3.0, learning_rate=[0.1, 0.4]).round(6)
    array([-0.510826, -0.510826])
    >>> float(np.log(1 - 0.1 * 2**2).round(6))
    -0.510826
    """
    for name in settings:
        if name not in ALLOWED:
            raise SettingTypeError(
                "lyapunov_exponent", f"the setting {name!r}", ", ".join(ALLOWED),
                "leave it out", verb="was given",
            )  # fmt: skip
    over = check("epochs", epochs, Positive)
    begin = train(network, weights, x, y, **settings, epochs=0, record=())
    own = {"state", "learning_rate", *begin.hyperparameters}
    shared = {name: value for name, value in settings.items() if name not in own}
    return exponents(begin, x, y, shared, over, train)
