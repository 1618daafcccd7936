"""What all processes of one test run share: a folder, and a lock for what is made in it once.

The process that begins the run makes the folder, and removes it in the end with all that goes
on in it. Its workers, and what they start, find it by the environment.
"""

from __future__ import annotations

import atexit
import os
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

NAME = "TESTS_SHARED_FOLDER"


def folder() -> Path:
    """Return the folder; whoever asks first makes it."""
    if NAME not in os.environ:
        os.environ[NAME] = mkdtemp(prefix="tests-")
        atexit.register(_remove, os.getpid(), Path(os.environ[NAME]))
    return Path(os.environ[NAME])


@contextmanager
def alone(what: str) -> Iterator[Path]:
    """Be the only process of this test run that does something; yields the folder."""
    file = folder() / f"{what}.lock"
    with closing(sqlite3.connect(file, timeout=300, isolation_level=None)) as lock:
        lock.execute("BEGIN EXCLUSIVE")
        yield folder()


def _remove(process: int, made: Path) -> None:
    # What was forked inherits what is done at the end.
    if os.getpid() != process:
        return
    for file in made.glob("*/data/postmaster.pid"):
        # PostgreSQL's "fast" shutdown: it does not wait for its clients.
        os.kill(int(file.read_text().split()[0]), signal.SIGINT)
        end = time.monotonic() + 30
        while file.exists() and time.monotonic() < end:
            time.sleep(0.05)
    rmtree(made, ignore_errors=True)
