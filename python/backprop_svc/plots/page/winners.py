"""What won."""

from __future__ import annotations

import numpy as np

from backprop_svc.arrays import Floats

MOST = 10
"""Settings, and runs, that are listed."""


def best_runs(objective: Floats) -> list[int]:
    """Return the positions of the best runs with a finite objective, the best first."""
    most = min(MOST, len(objective))
    some = np.flatnonzero(objective <= np.partition(objective, most - 1)[most - 1])
    rows = some[np.argsort(objective[some], kind="stable")][:most]
    return [int(row) for row in rows if np.isfinite(objective[row])]
