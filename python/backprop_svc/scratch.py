"""Folders for files that nobody needs afterwards, also if the process is killed."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import gettempdir, mkdtemp

PREFIX = "backprop-svc-scratch-"
_NAME = re.compile(re.escape(PREFIX) + r"[a-z0-9_]{8}")
_NEW = 60.0
"""Seconds in which the process that made a folder has surely locked it."""


@contextmanager
def scratch() -> Iterator[Path]:
    """Open an empty folder in the temporary folder, and remove it afterwards.

    A process that is killed removes nothing. So each keeps a lock on its folder, which ends
    with the process, and each removes first what it finds without one.
    """
    _remove_left()
    folder = Path(mkdtemp(prefix=PREFIX))
    lock = _lock(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _remove_left() -> None:
    with suppress(OSError):
        for entry in list(os.scandir(gettempdir())):
            if _NAME.fullmatch(entry.name):
                _remove_if_left(entry)


def _remove_if_left(entry: os.DirEntry[str]) -> None:
    # Another process may remove it at the same time.
    with suppress(OSError):
        found = entry.stat(follow_symlinks=False)
        is_ours = entry.is_dir(follow_symlinks=False) and found.st_uid == _user()
        if is_ours and abs(time.time() - found.st_mtime) > _NEW:
            lock = _lock(Path(entry.path))
            if lock is not None:
                shutil.rmtree(entry.path, ignore_errors=True)
                os.close(lock)


def _user() -> int:
    return os.getuid() if hasattr(os, "getuid") else 0


def _lock(folder: Path) -> int | None:
    """Lock a folder until the number that is returned is closed; ``None`` if that is not to be.

    Another process may have the lock. Windows and some network file systems lock no folders.
    """
    try:
        import fcntl
    except ImportError:
        return None
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW
    opened = os.open(folder, flags)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(opened)
        return None
    return opened
