"""Brings a SQLite store of an older MLflow to the installed one, by way of a copy.

MLflow's own upgrade changes the database itself, step by step, and a kill between two of them
can leave what no MLflow opens.
"""

from __future__ import annotations

import glob
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path
from tempfile import mkdtemp

import sqlalchemy as sa

from backprop_svc.errors import StoreError
from backprop_svc.tracking import sqlite
from backprop_svc.tracking.check import check, refused
from backprop_svc.tracking.revision import State, read_state

_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "PYTHONWARNINGS": "ignore",
}
_MLFLOW = """
import os, runpy, sys, threading

def end_with_the_other():
    # Nothing is ever written to it: it ends when that process does, also by a kill.
    sys.stdin.read()
    os._exit(1)

threading.Thread(target=end_with_the_other, daemon=True).start()
runpy.run_module("mlflow", run_name="__main__", alter_sys=True)
"""
"""MLflow's command, for a process that does not outlive the one that waits for it."""


def upgrade(uri: str) -> Path | None:
    """Upgrade a SQLite store; a kill at any moment leaves the old one or the new one.

    Returns
    -------
    Where the old database is now; ``None`` if there was nothing to do.

    Raises
    ------
    StoreError
        It is no SQLite store, is used by another program, or MLflow could not upgrade it; it is
        then as it was.
    """
    file = sqlite.file_of(sa.make_url(uri)) if uri.startswith("sqlite:") else None
    if file is None:
        raise refused(
            uri, "which is no file of SQLite",
            "make a backup and run `mlflow db upgrade` with its URI",
            "sqlite:///mlflow.db and other files of SQLite",
        )  # fmt: skip
    if not file.is_file():
        raise refused(uri, "which is not there", "give the file of a database")
    file = file.resolve()
    try:
        with sqlite.alone(file):
            _remove_left(file)
            if check(uri, refuse_older=False) is not State.OLDER:
                return None
            return _replace(uri, file)
    except (sqlite3.Error, OSError) as error:
        if isinstance(error, StoreError):
            raise
        raise refused(uri, f"which cannot be upgraded: {error}") from error


def _remove_left(file: Path) -> None:
    """Remove what an upgrade that was killed has left: nobody else has the lock."""
    for left in file.parent.glob(f"{glob.escape(_draft_prefix(file))}*"):
        shutil.rmtree(left, ignore_errors=True)


def _draft_prefix(file: Path) -> str:
    return f".{file.name}.upgrade-"


def _replace(uri: str, file: Path) -> Path:
    with closing(sqlite3.connect(file, timeout=5, isolation_level=None)) as old:
        # Without its log of changes the file is whole by itself. SQLite leaves the mode only
        # when nobody else has the database open, and nobody can begin to write afterwards.
        try:
            old.execute("PRAGMA journal_mode = DELETE")
            old.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            raise refused(
                uri, f"which another program has open: {error}",
                "end it, `backprop-svc ui` too, and try again",
            ) from error  # fmt: skip
        folder = Path(mkdtemp(prefix=_draft_prefix(file), dir=file.parent))
        try:
            draft = folder / "mlflow.db"
            with (
                closing(sqlite3.connect(file)) as source,
                closing(sqlite3.connect(draft)) as new,
            ):
                # By connections of its own: SQLite copies nothing that is being written.
                source.backup(new)
            revision = _migrate(uri, draft)
            shutil.copymode(file, draft)
            with draft.open("rb") as written:
                os.fsync(written.fileno())
            kept = _keep(file, revision)
            draft.replace(file)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    return kept


def _migrate(uri: str, draft: Path) -> str:
    """Let MLflow upgrade the copy, in a process of its own; return the revision that it had."""
    engine = sqlite.engine_of(draft)
    _, revision = read_state(engine)
    command = [sys.executable, "-c", _MLFLOW, "db", "upgrade", f"sqlite:///{draft.name}"]
    ours, its = os.pipe()
    try:
        done = subprocess.run(
            # From its folder: MLflow would misread signs in the names of those above.
            command, cwd=draft.parent, stdin=ours, env={**os.environ, **_QUIET},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    finally:
        os.close(ours)
        os.close(its)
    if done.returncode or read_state(engine)[0] is not State.CURRENT:
        said = [line for line in done.stderr.splitlines() if line.strip()][-1:]
        raise refused(
            uri, f"which MLflow could not upgrade, and which is as it was: {''.join(said)}",
            "upgrade it with the MLflow releases in between",
        )  # fmt: skip
    return revision


def _keep(file: Path, revision: str) -> Path:
    """Give the old database a second name, which no other file has."""
    number = 0
    while True:
        kept = file.with_name(f"{file.name}.{revision}{f'.{number}' if number else ''}")
        with suppress(FileExistsError):
            os.link(file, kept)
            return kept
        number += 1
