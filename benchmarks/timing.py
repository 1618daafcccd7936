"""The clock."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

Name = TypeVar("Name", bound=Hashable)
ROUNDS = 5


def best(works: Mapping[Name, Callable[[], object]]) -> dict[Name, float]:
    """Seconds that the fastest call of each took.

    They take turns, so that whatever else the machine does in the meantime slows all alike.
    """
    found = dict.fromkeys(works, float("inf"))
    for _ in range(ROUNDS):
        for name, work in works.items():
            # Threads of the one before may still spin, waiting for more to do.
            time.sleep(0.01)
            begin = time.perf_counter()
            work()
            found[name] = min(found[name], time.perf_counter() - begin)
    return found
