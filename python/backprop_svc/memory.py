"""How much memory there is, and how sizes are written."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from backprop_svc.errors import RoomError

LEAST = 60
"""Bytes that the outcome of a run takes at least until the end of its sweep."""
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_USED = ("/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory/memory.usage_in_bytes")


def available() -> int:
    """Return the bytes of memory that this process may still take, as far as can be seen."""
    found = [1 << 62]
    with suppress(OSError, ValueError, IndexError, StopIteration):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        line = next(line for line in lines if line.startswith("MemAvailable:"))
        found.append(int(line.split()[1]) * 1024)
    if len(found) == 1:
        with suppress(OSError, ValueError, AttributeError):
            found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    # Of a container.
    for limit, used in zip(_LIMITS, _USED, strict=True):
        with suppress(OSError, ValueError):
            most = int(Path(limit).read_text(encoding="ascii"))
            found.append(max(0, most - int(Path(used).read_text(encoding="ascii"))))
    return min(found)


def told(size: float) -> str:
    """Write a number of bytes.

    >>> told(999), told(18_400_000), told(18e12)
    ('999 B', '18 MB', '18 TB')
    """
    for unit in ("B", "kB", "MB", "GB", "TB", "PB"):
        if size < 999.5 or unit == "PB":
            break
        size /= 1000
    return f"{size:.2g} {unit}" if size < 9.5 and unit != "B" else f"{size:,.0f} {unit}"


def refuse_points(points: int) -> None:
    """Refuse more runs than have room in memory, before anything is made for each of them.

    Raises
    ------
    RoomError
        They have no room.
    """
    room = available()
    if points * LEAST > room:
        raise RoomError(
            "the sweep",
            f"more than {told(points * LEAST)} of memory",
            f"what fits into the {told(room)} that are free",
            "give fewer points, or sweep a part of them at a time",
            verb="needs",
        )
