"""Others that do the same work, in their own best way, with as many threads.

Each module has `ways(work)`: names, and what trains when it is called. Whatever can be done
before the clock starts, such as compiling, is done by the first call or before it.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

NUMBA_BLOCKS = "numba, blocks of 64 runs"
"""The fastest of the peers for the guide's network, named here as it may not be installed."""


def installed(*names: str) -> list[ModuleType]:
    """Import the peers that can be had; print a line about those that cannot."""
    for name in names:
        if find_spec(name) is None:
            print(f"{name} is not installed and left out: pip install --group bench")
    return [import_module(f"peers.{name}") for name in names if find_spec(name)]
