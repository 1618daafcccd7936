"""A SQLite file with MLflow's tables and no run, from which new databases are copied.

MLflow makes its tables by all the migrations of its history. That takes seconds, and what
comes of it depends on its release only: so it is done once, and kept in the user's cache.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

import sqlalchemy as sa

from backprop_svc.drafts import replacing
from backprop_svc.tracking import sqlite
from backprop_svc.tracking.artifacts import below, new_root
from backprop_svc.tracking.record import now
from backprop_svc.tracking.revision import (
    State,
    installed_mlflow,
    installed_revisions,
    read_state,
)


def copy_to(draft: Path) -> bool:
    """Write a new database as MLflow would make it here and now; return whether it was kept."""
    kept = _place()
    with suppress(OSError, sqlite3.Error, sa.exc.SQLAlchemyError):
        if kept is not None and kept.is_file():
            shutil.copyfile(kept, draft)
            if _is_whole(draft):
                _settle(draft)
                return True
    draft.unlink(missing_ok=True)
    return False


def keep(draft: Path) -> None:
    """Keep a new database that MLflow has made, where the user's cache can be written."""
    kept = _place()
    with suppress(OSError):
        if kept is not None:
            kept.parent.mkdir(parents=True, exist_ok=True)
            with draft.open("rb") as made, replacing(kept, ".template-") as copy:
                shutil.copyfileobj(made, copy)


def _place() -> Path | None:
    """Return the file of the installed MLflow; ``None`` for a user without a home."""
    _, revision = installed_revisions()
    name = f"mlflow-{installed_mlflow()}-{revision}.db"
    told = Path(os.environ.get("XDG_CACHE_HOME", ""))
    with suppress(RuntimeError):
        # A relative one is to be ignored, says the XDG Base Directory Specification.
        cache = told if told.is_absolute() else Path.home() / ".cache"
        return cache / "backprop-svc" / name
    return None


def _is_whole(draft: Path) -> bool:
    """Tell whether a copy is a database of the installed MLflow without any run."""
    with closing(sqlite3.connect(draft)) as database:
        if database.execute("PRAGMA quick_check").fetchone() != ("ok",):
            return False
        if database.execute("SELECT 1 FROM runs LIMIT 1").fetchone():
            return False
    engine = sa.create_engine(sqlite.uri_of(draft), poolclass=sa.NullPool)
    return read_state(engine)[0] is State.CURRENT


def _settle(draft: Path) -> None:
    """Let the experiments that MLflow has made be of this moment, and of this folder."""
    root, time = new_root(), now()
    with closing(sqlite3.connect(draft)) as database, database:
        numbers = database.execute("SELECT experiment_id FROM experiments").fetchall()
        database.executemany(
            "UPDATE experiments SET artifact_location = ?, creation_time = ?,"
            " last_update_time = ? WHERE experiment_id = ?",
            [(below(root, str(number)), time, time, number) for (number,) in numbers],
        )
