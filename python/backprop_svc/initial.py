"""Seeded initial weights."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from backprop_svc._core import Network
from backprop_svc.arrays import Floats, checked_network, column
from backprop_svc.errors import SettingError, counted, shown
from backprop_svc.settings import check

Method = Callable[[np.random.RandomState, int, int], Floats]
"""From a generator, fan-in and fan-out, the matrix of a layer, shape (fan_out, fan_in)."""


def _he(generator: np.random.RandomState, fan_in: int, fan_out: int) -> Floats:
    return float(np.sqrt(2 / fan_in)) * generator.standard_normal((fan_out, fan_in))


def _xavier(generator: np.random.RandomState, fan_in: int, fan_out: int) -> Floats:
    bound = np.sqrt(6 / (fan_in + fan_out))
    return generator.uniform(-bound, bound, (fan_out, fan_in))


METHODS: dict[str, Method] = {
    "normal": lambda generator, fan_in, fan_out: generator.standard_normal((fan_out, fan_in)),
    "uniform": lambda generator, fan_in, fan_out: generator.uniform(-1, 1, (fan_out, fan_in)),
    "he": _he,
    "xavier": _xavier,
}


def initial_weights(
    network: Network,
    seed: ArrayLike = 0,
    method: str = "he",
    *,
    scale: ArrayLike = 1.0,
    offset: ArrayLike = 0.0,
) -> Floats:
    """Draw the initial weights of every run: offset + scale·draw, with biases of 0.

    A run depends on its own seed alone, whatever other runs there are. NumPy guarantees
    the stream of ``RandomState`` for all versions and machines.

    Parameters
    ----------
    network
        The shape of the network.
    seed
        One for each run, shape (runs,), or one for all; whole numbers from 0 to 2^32 − 1.
    method
        ``"normal"`` N(0, 1); ``"uniform"`` U(−1, 1); ``"he"`` N(0, 2/fan_in) (He et al.,
        arXiv 1502.01852); ``"xavier"`` U(±√(6/(fan_in + fan_out))) (Glorot & Bengio 2010).
    scale, offset
        One for each run, shape (runs,), or one for all.

    Returns
    -------
    Shape (runs, parameters).

    Raises
    ------
    SettingError
        The method is unknown, a seed impossible, a value not finite or too large, or the
        shapes do not fit.
    MemoryError
        The weights do not fit in memory.

    >>> import backprop_svc as bp
    >>> bp.initial_weights(bp.Network(1, 1, 1), [0, 1], "normal").shape
    (2, 2)
    """
    checked_network(network)
    if check("method", method, str) not in METHODS:
        raise SettingError("method", shown(method), ", ".join(METHODS), "choose one of them")
    seeds = column("seed", seed)
    check_seeds("seed", seeds)
    scales, offsets = column("scale", scale), column("offset", offset)
    counts = {len(each) for each in (seeds, scales, offsets)} - {1}
    if len(counts) > 1:
        raise SettingError(
            "seed",
            f"{counted(len(seeds), 'value')}, scale {len(scales)} and offset {len(offsets)}",
            "as many of each, or one",
            "make them fit",
            verb="has",
        )
    different, inverse = np.unique(seeds.astype(np.int64), return_inverse=True)
    draws = np.array([_draw(network, int(one), METHODS[method]) for one in different])
    draws = draws.reshape(-1, network.parameters)[inverse.reshape(-1)]
    is_weight = np.concatenate(
        [
            np.repeat([True, False], [fan_in * fan_out, fan_out if network.bias else 0])
            for fan_in, fan_out in zip(network.sizes[:-1], network.sizes[1:], strict=True)
        ]
    )
    with np.errstate(over="ignore", invalid="ignore"):
        weights = np.where(is_weight, offsets[:, None] + scales[:, None] * draws, 0.0)
    if not np.isfinite(weights).all():
        raise SettingError(
            "scale",
            shown(scales[np.abs(scales).argmax()]),
            "numbers that keep the weights finite",
            "make scale and offset smaller",
        )
    return weights


def check_seeds(name: str, seeds: Floats) -> None:
    """Refuse what is no seed of ``RandomState``, with the name of the setting.

    Raises
    ------
    SettingError
        A number that is not whole, below 0 or above 2^32 − 1.
    """
    # NaN is no seed either: it is not equal to its floor.
    bad = seeds[(seeds < 0) | (seeds >= 2**32) | (seeds != np.floor(seeds))]
    if bad.size:
        raise SettingError(
            name, f"{bad[0]:.17g}", "whole numbers from 0 to 2^32 − 1", "try {name}=0"
        )


def _draw(network: Network, seed: int, draw: Method) -> Floats:
    generator = np.random.RandomState(seed)
    parts = []
    for fan_in, fan_out in zip(network.sizes[:-1], network.sizes[1:], strict=True):
        parts.append(draw(generator, fan_in, fan_out).reshape(-1))
        if network.bias:
            parts.append(np.zeros(fan_out))
    return np.concatenate(parts)
