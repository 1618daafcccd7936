"""How much room and time runs will take in a store, by a sample of them."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from itertools import repeat
from typing import Any

import numpy as np

from backprop_svc.scratch import scratch
from backprop_svc.tracking.record import Runs
from backprop_svc.tracking.sqlite import file_named_by

OF_A_RUN, OF_A_TEXT, OF_A_VALUE, OF_A_LAST = 220, 175, 235, 160
"""Bytes of a row of MLflow's tables runs, tags and params, metrics, latest_metrics, with those
of its indices, as SQLite's dbstat gave them for 40,000 runs."""
TAGS = 8
"""Tags that all runs of a sweep have beside their own."""


def bytes_of(runs: Runs, share: float = 1.0) -> float:
    """Return how many bytes runs take in a store; ``share`` of their histories."""
    texts = len(runs) * (len(runs.params) + len(runs.tags) + TAGS)
    values = sum(int(np.count_nonzero(series.kept)) for series in runs.series.values())
    last = len(runs) * len(runs.series)
    return (
        len(runs) * OF_A_RUN
        + texts * OF_A_TEXT
        + last * (OF_A_LAST + OF_A_VALUE)
        + max(0, values - last) * share * OF_A_VALUE
        + (0 if runs.states is None else runs.states.nbytes)
    )


def free(uri: str) -> int | None:
    """Return the free bytes on the disk of a database, if it is a file."""
    file = file_named_by(uri)
    if file is None:
        return None
    try:
        disk = shutil.disk_usage(file.resolve().parent)
    except OSError:
        # That the folder is not there is said when the store is opened.
        return None
    # What is no disk, such as /proc, has no size.
    return disk.free if disk.total else None


def seconds_to_write(uri: str, runs: Runs) -> float | None:
    """Return the seconds that a run takes to be written to a SQLite file.

    Its rows go to a database of their own with the same keys, which is thrown away. ``None``
    stands for other stores, and where there is no room for that database.
    """
    if file_named_by(uri) is None:
        return None
    with suppress(sqlite3.Error, OSError):
        return _try_to_write(_rows(runs)) / len(runs)
    return None


def _try_to_write(rows: dict[str, Iterable[tuple[Any, ...]]]) -> float:
    """Return the seconds that rows take to be written."""
    with scratch() as folder, closing(sqlite3.connect(folder / "scratch.db")) as database:
        database.executescript(_TABLES)
        before = time.perf_counter()
        for table, own in rows.items():
            marks = ", ".join("?" * (3 if table == "texts" else 6))
            database.executemany(f"INSERT INTO {table} VALUES ({marks})", own)
        database.commit()
        return time.perf_counter() - before


def _rows(runs: Runs) -> dict[str, Iterable[tuple[Any, ...]]]:
    ids = runs.run_ids
    texts = [*runs.params.items(), *runs.tags.items()]
    texts += [(f"tag {number}", ids) for number in range(TAGS)]

    def points(*, last: bool) -> Iterator[tuple[Any, ...]]:
        owners = np.array(ids, dtype=object)
        for key, series in runs.series.items():
            run, column = np.nonzero(series.kept[:, -1:] if last else series.kept)
            values = series.values[run, column].tolist()
            zeros = [0] * len(values)
            yield from zip(
                repeat(key), values, zeros, column.tolist(), zeros, owners[run].tolist()
            )

    return {
        "texts": (row for key, values in texts for row in zip(repeat(key), values, ids)),
        "points": points(last=False),
        "last": points(last=True),
    }


_POINT = "key TEXT, value REAL, timestamp INT, step INT, is_nan INT, run_uuid TEXT"
_TABLES = f"""
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
CREATE TABLE texts (key TEXT, value TEXT, run_uuid TEXT, PRIMARY KEY (key, run_uuid));
CREATE INDEX texts_of ON texts (run_uuid);
CREATE TABLE points ({_POINT}, PRIMARY KEY (key, timestamp, step, run_uuid, value, is_nan));
CREATE INDEX points_of ON points (run_uuid);
CREATE INDEX points_by ON points (run_uuid, key, step);
CREATE TABLE last ({_POINT}, PRIMARY KEY (key, run_uuid));
CREATE INDEX last_of ON last (run_uuid);
"""
