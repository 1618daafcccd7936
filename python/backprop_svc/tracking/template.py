"""A SQLite file with MLflow's tables and no run, from which new databases are copied.

MLflow makes its tables by all the migrations of its history, which takes seconds, and an import
of MLflow. So that is done once for each release, and what comes of it kept in the user's cache.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import stat
import time
from contextlib import closing, suppress
from pathlib import Path

from backprop_svc.drafts import replacing
from backprop_svc.tracking.artifacts import below, new_root
from backprop_svc.tracking.record import now
from backprop_svc.tracking.revision import installed_mlflow, installed_revisions

DIGEST = hashlib.sha256().digest_size
"""Bytes at the end of a template: they tell whether it is as it was written."""
DRAFT = ".draft-"
OWN = 0o600
"""The mode of a template, whatever the mask of its user: nobody else may change it."""
SLOW = 60.0
"""Seconds in which a draft of a template is surely written."""


def copy_to(draft: Path) -> bool:
    """Write a new database if there is a template for it; return whether there is."""
    kept, told = _place(), b""
    with suppress(OSError):
        if kept is not None and _is_trusted(kept):
            told = kept.read_bytes()
    content, digest = told[:-DIGEST], told[-DIGEST:]
    if hashlib.sha256(content).digest() != digest:
        return False
    draft.write_bytes(content)
    return True


def keep(draft: Path) -> None:
    """Keep a new database that MLflow has made, where the user's cache can be written."""
    with suppress(OSError):
        kept = _place()
        if kept is not None:
            kept.parent.mkdir(parents=True, exist_ok=True)
            for left in kept.parent.glob(f"{DRAFT}*"):
                with suppress(OSError):
                    # Of a process that was killed.
                    if time.time() - left.stat().st_mtime > SLOW:
                        left.unlink()
            content = draft.read_bytes()
            with replacing(kept, DRAFT, OWN) as copy:
                copy.write(content + hashlib.sha256(content).digest())


def settle(draft: Path) -> None:
    """Let the experiments that MLflow has made be of this moment, and of this folder."""
    root, moment = new_root(), now()
    with closing(sqlite3.connect(draft)) as database, database:
        numbers = database.execute("SELECT experiment_id FROM experiments").fetchall()
        database.executemany(
            "UPDATE experiments SET artifact_location = ?, creation_time = ?,"
            " last_update_time = ? WHERE experiment_id = ?",
            [(below(root, str(number)), moment, moment, number) for (number,) in numbers],
        )


def _place() -> Path | None:
    """Return the template of the installed MLflow; ``None`` for a user without a home."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not cache.is_absolute():
        # Such a one is to be ignored, says the XDG Base Directory Specification.
        try:
            cache = Path.home() / ".cache"
        except RuntimeError:
            return None
    if not cache.is_absolute():
        return None
    _, revision = installed_revisions()
    name = f"mlflow-{installed_mlflow()}-{revision}.template"
    return cache / "backprop-svc" / name


def _is_trusted(kept: Path) -> bool:
    """Tell whether nobody else than this user, or the system's, can have written a template."""
    if not hasattr(os, "getuid"):
        return kept.is_file()
    about = kept.stat()
    others = stat.S_IWGRP | stat.S_IWOTH
    is_own = about.st_uid in {os.getuid(), 0} and not about.st_mode & others
    return is_own and stat.S_ISREG(about.st_mode)
