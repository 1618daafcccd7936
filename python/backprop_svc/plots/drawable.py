"""What can be drawn of numbers as large or as small as there are."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from backprop_svc.arrays import Floats
from backprop_svc.sweep.space import is_logarithmic

HIGHEST = 1e250
"""Matplotlib adds a margin to its scales, which has to be a number too."""


WIDEST = 1e200
"""Ends of a logarithmic scale; Matplotlib looks for ticks far beyond them."""
MOST_TICKS = 4


class Ticks(NamedTuple):
    """What stands beside an axis whose values no scale holds."""

    places: Floats
    labels: list[str]


def along_an_axis(values: Floats) -> tuple[Floats, Ticks | None]:
    """Return where numbers are drawn: evenly, with ticks, where no scale holds them.

    >>> along_an_axis(np.array([0.5, 2.0]))
    (array([0.5, 2. ]), None)
    >>> along_an_axis(np.array([1e308, -1e308, 0.0]))[0]
    array([2., 0., 1.])
    """
    distinct, places = np.unique(values, return_inverse=True)
    size = np.abs(distinct)
    smallest = distinct[0] if is_logarithmic(distinct) else 1.0
    if size.max() <= WIDEST and smallest >= 1 / WIDEST:
        return values, None
    some = np.linspace(0, len(distinct) - 1, min(len(distinct), MOST_TICKS)).round()
    labels = [f"{value:.2g}" for value in distinct[some.astype(int)].tolist()]
    return places.astype(np.float64), Ticks(some, labels)


def drawable(values: Floats, factor: float = 1.0) -> Floats:
    """Return the values times a factor, with NaN, which is not drawn, beyond all scales.

    >>> drawable(np.array([-2.0, 1e300, np.inf]))
    array([-2., nan, nan])
    """
    most = HIGHEST / max(1.0, abs(factor))
    return factor * np.where(np.abs(values) <= most, values, np.nan)
