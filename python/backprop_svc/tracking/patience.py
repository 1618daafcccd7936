"""Waiting for a store that is busy or away, with a bound."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
ATTEMPTS, PAUSE = 8, 0.5
"""Tries, and seconds before the second; they double: a minute in all, as a restart takes."""


def patiently(work: Callable[[], T], passes: Callable[[Exception], bool]) -> T:
    """Try again while what is raised may pass; the last error is raised."""
    for attempt in range(ATTEMPTS - 1):
        try:
            return work()
        except Exception as error:
            if not passes(error):
                raise
        time.sleep(PAUSE * 2**attempt)
    return work()
