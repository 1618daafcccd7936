"""Runs a server as long as the process that asked for it is there.

A program of its own, by its path and with nothing but Python's library: it holds the reading
end of a pipe, whose other end closes when that process ends, by whatever signal.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

PATIENCE = 5.0
"""Seconds for a clean end of the server."""
CHILD_SUBREAPER, PARENT_DEATH_SIGNAL = 36, 1
"""Linux's prctl: orphans become children of this process; die when the parent does."""


def main(pipe: int, command: list[str]) -> int:
    """Start the server; end it and its workers when the pipe closes. Return its code."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    _prctl(CHILD_SUBREAPER, 1)
    server = subprocess.Popen(command, preexec_fn=_as_child)
    try:
        while server.poll() is None and not select.select([pipe], [], [], 0.5)[0]:
            pass
        return server.poll() or 0
    finally:
        _end_all(server)


def _as_child() -> None:
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    _prctl(PARENT_DEATH_SIGNAL, signal.SIGTERM)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _end_all(server: subprocess.Popen[bytes]) -> None:
    """Ask the server and all that it started to end, and kill what does not."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        end = time.monotonic() + PATIENCE
        asked: set[int] = set()
        while time.monotonic() < end:
            server.poll()
            there = _descendants(server)
            if not there:
                return
            for pid in there - asked:
                with contextlib.suppress(OSError):
                    os.kill(pid, number)
            asked |= there
            time.sleep(0.05)
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass


def _descendants(server: subprocess.Popen[bytes]) -> set[int]:
    """Return the processes below this one; without /proc the server alone."""
    if not Path("/proc/self/stat").exists():
        return {server.pid} if server.poll() is None else set()
    children: dict[int, set[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):
                state, parent = (entry / "stat").read_text().rpartition(")")[2].split()[:2]
                if state not in "ZX":
                    children.setdefault(int(parent), set()).add(int(entry.name))
    found: set[int] = set()
    new = {os.getpid()}
    while new:
        new = {child for parent in new for child in children.get(parent, set())} - found
        found |= new
    return found


if __name__ == "__main__":
    raise SystemExit(main(int(sys.argv[1]), sys.argv[2:]))
