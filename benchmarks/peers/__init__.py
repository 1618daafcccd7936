"""Others that do the same work, in their own best way, with as many threads.

Each module has `ways(work)`: names, and what trains when it is called. Whatever can be done
before the clock starts, such as compiling, is done by the first call or before it.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType


def installed(*names: str) -> list[ModuleType]:
    """Import the peers that can be had; print a line about those that cannot."""
    for name in names:
        if find_spec(name) is None:
            print(f"{name} is not installed and left out: pip install -e '.[bench]'")
    return [import_module(f"peers.{name}") for name in names if find_spec(name)]
