"""The runs of a sweep as one table, made of the long and narrow tables of a store."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import sqlalchemy as sa

from backprop_svc.tracking.entities import ACTIVE, MLFLOW_PARENT_RUN_ID, Client, Run
from backprop_svc.tracking.parents import INDEX, OUTCOME, tag
from backprop_svc.tracking.states import States
from backprop_svc.tracking.tables import LATEST_METRICS, PARAMS, RUNS, TAGS

if TYPE_CHECKING:
    import pyarrow as pa

OF_STATES = ("weights", "gradients")
"""Columns that come from the files of a sweep."""
PAGE = 1000
"""Runs that a store is asked for at once."""
_WHOLE = re.compile(r"-?(0|[1-9]\d{0,17})")
Cell = tuple[str, Any, str]
"""Name of a column, value and run id."""


@dataclass(frozen=True)
class Cells:
    """What a store has of the runs of a sweep."""

    runs: Sequence[tuple[str, int, str, str]]
    """Run id, position, name and status, in the order of the positions."""
    params: Iterable[Cell]
    metrics: Iterable[Cell]
    outcomes: Iterable[Cell]


def of_database(database: sa.Connection, parent: str) -> Cells:
    """Return the active children of a run by three statements."""
    index, of = TAGS.alias("position"), TAGS.alias("parent")
    children = (
        sa.select(RUNS.c.run_uuid, index.c.value, RUNS.c.name, RUNS.c.status)
        .join(of, sa.and_(of.c.run_uuid == RUNS.c.run_uuid, of.c.key == MLFLOW_PARENT_RUN_ID))
        .join(index, sa.and_(index.c.run_uuid == RUNS.c.run_uuid, index.c.key == INDEX))
        .where(of.c.value == parent, RUNS.c.lifecycle_stage == ACTIVE)
    )
    runs = [(row[0], int(row[1]), row[2], row[3]) for row in database.execute(children)]
    among = sa.select(TAGS.c.run_uuid).where(
        TAGS.c.key == MLFLOW_PARENT_RUN_ID, TAGS.c.value == parent
    )

    def cells(table: sa.Table, value: sa.ColumnElement[Any]) -> sa.Select[Any]:
        return sa.select(table.c.key, value, table.c.run_uuid).where(
            table.c.run_uuid.in_(among)
        )

    metrics = LATEST_METRICS.c
    value = sa.case((metrics.is_nan, None), else_=metrics.value)
    nan = (
        (k, np.nan if v is None else v, i)
        for k, v, i in _rows(database, cells(LATEST_METRICS, value))
    )
    outcomes = cells(TAGS, TAGS.c.value).where(TAGS.c.key == OUTCOME)
    return Cells(
        sorted(runs, key=lambda run: run[1]),
        _rows(database, cells(PARAMS, PARAMS.c.value)),
        nan,
        _rows(database, outcomes),
    )


def of_client(client: Client, parent: Run) -> Cells:
    """Return the active children of a run, page by page."""
    found: list[Run] = []
    token: str | None = None
    conditions = f"{tag(MLFLOW_PARENT_RUN_ID)} = '{parent.info.run_id}' and {tag(INDEX)} != ''"
    while True:
        page = client.search_runs(
            [parent.info.experiment_id], conditions, max_results=PAGE, page_token=token
        )
        found += page
        token = page.token
        if not token:
            break
    found.sort(key=lambda run: int(run.data.tags[INDEX]))
    return Cells(
        [
            (run.info.run_id, int(run.data.tags[INDEX]), run.info.run_name, run.info.status)
            for run in found
        ],
        [(k, v, run.info.run_id) for run in found for k, v in run.data.params.items()],
        [(k, v, run.info.run_id) for run in found for k, v in run.data.metrics.items()],
        [
            (OUTCOME, run.data.tags[OUTCOME], run.info.run_id)
            for run in found
            if OUTCOME in run.data.tags
        ],
    )


def table(cells: Cells, states: Sequence[States]) -> pa.Table:
    """Return one row a run: see :func:`backprop_svc.load_sweep`."""
    import pyarrow as pa

    ids, index, names, status = (
        zip(*cells.runs, strict=True) if cells.runs else ((), (), (), ())
    )
    columns: dict[str, Any] = {
        "run_id": pa.array(ids, pa.string()),
        "index": pa.array(index, pa.int64()),
        "name": pa.array(names, pa.string()),
        "status": pa.array(status, pa.string()).dictionary_encode(),
    }
    row_of = {run_id: row for row, run_id in enumerate(ids)}
    for kind, given, made in (
        ("params", cells.params, _typed),
        ("metrics", cells.metrics, pa.array),
        ("tags", cells.outcomes, _texts),
    ):
        for key, values in _wide(given, row_of).items():
            # A metric may have the name of a param, or of another column.
            name = f"{kind}.{key}" if key in columns or key in OF_STATES else key
            columns[name] = made(values)
    positions = np.array(index, dtype=np.int64)
    if states:
        columns["weights"] = _lists(positions, states, [one.weights for one in states])
        columns["gradients"] = _lists(positions, states, [one.gradients for one in states])
    return pa.table(columns)


def _rows(database: sa.Connection, chosen: sa.Select[Any]) -> list[Cell]:
    return [(row[0], row[1], row[2]) for row in database.execute(chosen)]


def _wide(cells: Iterable[Cell], row_of: dict[str, int]) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]] = {}
    for key, value, run_id in cells:
        row = row_of.get(run_id)
        if row is None:
            # Of a deleted run.
            continue
        if key not in columns:
            columns[key] = [None] * len(row_of)
        columns[key][row] = value
    return columns


def _texts(values: list[str | None]) -> pa.Array:
    import pyarrow as pa

    return pa.array(values, pa.string()).dictionary_encode()


def _typed(values: list[str | None]) -> pa.Array:
    """Return params as whole numbers or numbers, if all of them are, else as texts."""
    import pyarrow as pa

    given = {value for value in values if value is not None}
    if all(map(_WHOLE.fullmatch, given)):
        return pa.array([None if v is None else int(v) for v in values], pa.int64())
    try:
        numbers = {value: float(value) for value in given}
    except ValueError:
        return _texts(values)
    return pa.array([None if v is None else numbers[v] for v in values], pa.float64())


def _lists(
    positions: np.ndarray, states: Sequence[States], values: Sequence[np.ndarray]
) -> pa.Array:
    """Return the rows of several files as lists, in the order of the positions."""
    import pyarrow as pa

    lists = [
        pa.ListArray.from_arrays(
            np.arange(0, rows.size + 1, rows.shape[1], dtype=np.int32), rows.reshape(-1)
        )
        for rows in values
    ]
    known = np.concatenate([one.index for one in states])
    # A run that two files have is the same in both, unless a time limit ended it.
    known, first = np.unique(known, return_index=True)
    place = np.searchsorted(known, positions).clip(max=len(known) - 1)
    is_there = known[place] == positions
    return pa.concat_arrays(lists).take(pa.array(first[place], mask=~is_there))
