"""The clock."""

from __future__ import annotations

import time
from collections.abc import Callable

BEST_OF = 3


def seconds(work: Callable[[], object]) -> float:
    """Time of the fastest of some calls."""
    best = float("inf")
    for _ in range(BEST_OF):
        begin = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - begin)
    return best
