"""The bulk writer: a chunk is one transaction into MLflow's own tables.

What it writes is what :class:`mlflow.MlflowClient` would write of ``Runs.records()``.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from itertools import repeat
from typing import Any

import numpy as np
import sqlalchemy as sa
from mlflow.entities import LifecycleStage, RunStatus, SourceType
from mlflow.utils.mlflow_tags import MLFLOW_RUN_NAME, MLFLOW_USER
from mlflow.utils.validation import MAX_PARAM_VAL_LENGTH

from backprop_svc.tracking.client import INDEX, ClientWriter, is_lasting, store_errors
from backprop_svc.tracking.patience import patiently
from backprop_svc.tracking.record import Runs, Series, Summary
from backprop_svc.tracking.tables import TABLES, difference
from backprop_svc.tracking.uri import shown_uri

Rows = dict[str, Iterable[tuple[Any, ...]]]
"""Of each table by its name, in the order of :data:`TABLES`."""
ARTIFACTS = "artifacts"
"""The folder of a run's artifacts, within its own."""


class DatabaseWriter(ClientWriter):
    """Keeps the runs of a sweep by writing rows; all else as :class:`ClientWriter`."""

    def __init__(self, uri: str, experiment: str) -> None:
        super().__init__(uri, experiment)
        with self.store_errors():
            self._engine = _engine(uri)
            # Errors of the bulk write come past SQLAlchemy.
            self._dbapi: Any = self._engine.dialect.loaded_dbapi
            self.failures = (*self.failures, self._dbapi.Error)
            kept = self._client.get_experiment(self.experiment)
            self._artifacts = kept.artifact_location
            self._sqlite = self._engine.dialect.name == "sqlite"
            if self._sqlite:
                # Readers, such as the UI, are then never kept waiting by a sweep.
                patiently(lambda: self._pragma("journal_mode = WAL"), self.passes)

    @classmethod
    def or_client(cls, uri: str, experiment: str) -> ClientWriter:
        """Return a bulk writer, or with a warning its slow twin where the tables differ."""
        with store_errors(uri, (sa.exc.SQLAlchemyError,)):
            differs = difference(sa.inspect(_engine(uri)))
        if differs is None:
            return cls(uri, experiment)
        print(
            f"backprop-svc: {differs} in {shown_uri(uri)}, which this version does not "
            "know; each run is written by itself, more slowly",
            file=sys.stderr,
        )
        return ClientWriter(uri, experiment)

    def close_sweep(self, parent: str, status: str, summary: Summary | None = None) -> str:
        """End the parent; gather the statistics without which the UI sorts slowly."""
        place = super().close_sweep(parent, status, summary)
        with self.store_errors():
            patiently(self._analyze, self.passes)
        return place

    def passes(self, error: Exception) -> bool:
        """Tell it also of a database that is locked or away."""
        operational = (sa.exc.OperationalError, self._dbapi.OperationalError)
        return super().passes(error) or (
            isinstance(error, operational) and not is_lasting(error)
        )

    def _tidy(self, parent: str) -> None:
        """Do nothing: a transaction leaves no halves."""

    def rows(self, runs: Runs, parent: str) -> Rows:
        """Every row of a chunk of runs, as MLflow's own client would write it."""
        ids = runs.run_ids
        shared = self.child_tags(runs, parent)
        user = shared.get(MLFLOW_USER, "unknown")
        tags = {
            **{name: repeat(value) for name, value in shared.items()},
            **runs.tags,
            MLFLOW_RUN_NAME: runs.names,
            INDEX: map(str, runs.index.tolist()),
        }
        # MLflow's client cuts them too.
        params = {
            name: [value[:MAX_PARAM_VAL_LENGTH] for value in column]
            for name, column in runs.params.items()
        }
        return {
            "runs": zip(
                ids,
                runs.names,
                repeat(SourceType.to_string(SourceType.UNKNOWN)),
                repeat(""),
                repeat(""),
                repeat(user),
                repeat(RunStatus.to_string(RunStatus.FINISHED)),
                repeat(runs.start_time),
                repeat(runs.end_time),
                repeat(None),
                repeat(""),
                repeat(LifecycleStage.ACTIVE),
                (f"{self._artifacts}/{run_id}/{ARTIFACTS}" for run_id in ids),
                repeat(int(self.experiment)),
            ),
            "tags": _cells(tags, ids),
            "params": _cells(params, ids),
            "metrics": _metrics(runs, _everything),
            "latest_metrics": _metrics(runs, _latest),
        }

    def _write_runs(self, runs: Runs, parent: str) -> int:
        connection = self._engine.raw_connection()
        try:
            cursor = connection.cursor()
            if self._sqlite:
                # Every row refers to a run of the same transaction.
                cursor.execute("PRAGMA foreign_keys = OFF")
                cursor.execute("PRAGMA synchronous = NORMAL")
                cursor.execute("PRAGMA cache_size = -262144")
                cursor.execute("BEGIN IMMEDIATE")
            runs = self._missing(cursor, runs)
            if len(runs):
                insert = self._insert if self._sqlite else _copy
                for table, rows in self.rows(runs, parent).items():
                    insert(cursor, table, rows)
            connection.commit()
            return len(runs)
        except BaseException:
            connection.rollback()
            raise
        finally:
            connection.close()

    def _missing(self, cursor: Any, runs: Runs) -> Runs:
        ids = runs.run_ids
        mark = "?" if self._sqlite else "%s"
        cursor.execute(
            f"SELECT run_uuid FROM runs WHERE run_uuid BETWEEN {mark} AND {mark}",
            (min(ids), max(ids)),
        )
        there = {run_id for (run_id,) in cursor.fetchall()}
        if not there:
            return runs
        return runs.select(np.flatnonzero([run_id not in there for run_id in ids]))

    @staticmethod
    def _insert(cursor: Any, table: str, rows: Iterable[tuple[Any, ...]]) -> None:
        columns = TABLES[table].columns
        marks = ", ".join("?" * len(columns))
        cursor.executemany(
            f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})",
            rows,
        )

    def _analyze(self) -> None:
        if self._sqlite:
            self._pragma("analysis_limit = 1000", "ANALYZE")
            return
        with self._engine.begin() as connection:
            for table in TABLES:
                connection.execute(sa.text(f"ANALYZE {table}"))

    def _pragma(self, pragma: str, *statements: str) -> None:
        connection = self._engine.raw_connection()
        try:
            for statement in (f"PRAGMA {pragma}", *statements):
                connection.cursor().execute(statement)
            connection.commit()
        finally:
            connection.close()


@lru_cache(maxsize=100)
def _engine(uri: str) -> sa.Engine:
    """Return our connections to a store; those that a restart has cut are made again."""
    waits = {"timeout": 20} if uri.startswith("sqlite") else {}
    return sa.create_engine(uri, connect_args=waits, pool_pre_ping=True)


def _cells(columns: Any, ids: list[str]) -> Iterator[tuple[Any, ...]]:
    for key, values in columns.items():
        yield from zip(repeat(key), values, ids, strict=False)


def _everything(series: Series) -> np.ndarray:
    return series.kept


def _latest(series: Series) -> np.ndarray:
    """Choose the kept value with the largest step of each run."""
    from_the_end = np.argmax(series.kept[:, ::-1], axis=1)
    last = series.kept.shape[1] - 1 - from_the_end
    latest = np.zeros_like(series.kept)
    latest[np.arange(len(last)), last] = series.kept.any(axis=1)
    return latest


def _metrics(runs: Runs, choose: Callable[[Series], np.ndarray]) -> Iterator[tuple[Any, ...]]:
    ids = np.array(runs.run_ids, dtype=object)
    largest = np.finfo(np.float64).max
    for key, series in runs.series.items():
        run, column = np.nonzero(choose(series))
        values = series.values[run, column]
        nan = np.isnan(values)
        # As MLflow's store: SQL has neither NaN nor infinities.
        values = np.clip(np.where(nan, 0.0, values), -largest, largest)
        steps = series.steps[column] if series.steps.ndim == 1 else series.steps[run, column]
        yield from zip(
            repeat(key),
            values.tolist(),
            repeat(runs.end_time),
            steps.tolist(),
            nan.tolist(),
            ids[run].tolist(),
            strict=False,
        )


def _copy(cursor: Any, table: str, rows: Iterable[tuple[Any, ...]]) -> None:
    """PostgreSQL's COPY, by psycopg 3 or psycopg2."""
    statement = f"COPY {table} ({', '.join(TABLES[table].columns)}) FROM STDIN"
    if hasattr(cursor, "copy"):
        with cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row(row)
    else:
        lines = "".join("\t".join(map(_field, row)) + "\n" for row in rows)
        cursor.copy_expert(statement, io.StringIO(lines))


def _field(value: Any) -> str:
    """Write a value in COPY's text format."""
    if value is None:
        return r"\N"
    text = str(value)
    for plain, escaped in (("\\", r"\\"), ("\t", r"\t"), ("\n", r"\n"), ("\r", r"\r")):
        text = text.replace(plain, escaped)
    return text
