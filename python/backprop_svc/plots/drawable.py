"""What can be drawn of numbers that a run leaves behind as it diverges."""

from __future__ import annotations

import numpy as np

from backprop_svc.arrays import Floats

HIGHEST = 1e250
"""Matplotlib adds a margin to its scales, which has to be a number too."""


def drawable(values: Floats, factor: float = 1.0) -> Floats:
    """Return the values times a factor, with NaN, which is not drawn, beyond all scales.

    >>> drawable(np.array([-2.0, 1e300, np.inf]))
    array([-2., nan, nan])
    """
    most = HIGHEST / max(1.0, abs(factor))
    return factor * np.where(np.abs(values) <= most, values, np.nan)
