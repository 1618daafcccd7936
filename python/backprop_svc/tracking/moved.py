"""A folder with a database and its artifacts that was moved or copied.

MLflow keeps the absolute path of every run's artifacts. In another place they would be looked
for, and new ones written, where the folder was.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from backprop_svc.tracking.waiting import WAITING

ARTIFACTS = "mlruns"
"""The folder of artifacts beside a database."""
MODELS = (
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)
"""Further tables and columns with places of artifacts, which older databases may lack."""


def stay_together(file: Path) -> int:
    """Let the artifacts beside a SQLite file be those of its runs; return of how many.

    They are if a run of the database has its folder there, since the names of runs are unique.
    What is no longer where it was gets new artifacts here, too.
    """
    here = file.resolve().parent / ARTIFACTS
    changed = 0
    with closing(sqlite3.connect(file, **WAITING)) as database:
        experiments = list(database.execute(
            "SELECT experiment_id, artifact_location FROM experiments"
        ))  # fmt: skip
        for elsewhere in sorted(set(_elsewhere(experiments, here))):
            own = [number for number, location in experiments if _root(location) == elsewhere]
            came_along = any(_has_runs(database, here, number) for number in own)
            if not came_along and Path(elsewhere.removeprefix("file://")).exists():
                continue
            with database:
                database.execute("BEGIN IMMEDIATE")
                _move(database, "experiments", "artifact_location", elsewhere, here)
                if came_along:
                    changed += _move(database, "runs", "artifact_uri", elsewhere, here)
                    for table, column in MODELS:
                        if _has_column(database, table, column):
                            _move(database, table, column, elsewhere, here)
    return changed


def _elsewhere(experiments: list[tuple[int, str | None]], here: Path) -> Iterator[str]:
    """Find the folders of artifacts that are not the one beside the database."""
    for _, location in experiments:
        root = _root(location)
        if root is not None and Path(root.removeprefix("file://")) != here:
            yield root


def _root(location: str | None) -> str | None:
    """Return the folder ``mlruns`` that MLflow has put an experiment into."""
    root = (location or "").rpartition("/")[0]
    plain = root.removeprefix("file://")
    return root if plain.startswith("/") and plain.endswith(f"/{ARTIFACTS}") else None


def _has_runs(database: sqlite3.Connection, here: Path, experiment: int) -> bool:
    folder = here / str(experiment)
    if not folder.is_dir():
        return False
    query = "SELECT 1 FROM runs WHERE run_uuid = ? AND experiment_id = ?"
    return any(
        database.execute(query, (run.name, experiment)).fetchone() for run in folder.iterdir()
    )


def _has_column(database: sqlite3.Connection, table: str, column: str) -> bool:
    query = "SELECT 1 FROM pragma_table_info(?) WHERE name = ?"
    return database.execute(query, (table, column)).fetchone() is not None


def _move(database: sqlite3.Connection, table: str, column: str, old: str, new: Path) -> int:
    scheme = "file://" if old.startswith("file://") else ""
    done = database.execute(
        f"UPDATE {table} SET {column} = ? || substr({column}, ?)"
        f" WHERE substr({column}, 1, ?) = ?",
        (f"{scheme}{new}/", len(old) + 2, len(old) + 1, f"{old}/"),
    )
    return done.rowcount
