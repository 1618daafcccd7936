"""The bulk writer: a chunk is one transaction into MLflow's own tables.

What it writes is what :class:`mlflow.MlflowClient` would write of ``Runs.records()``.
"""

from __future__ import annotations

import io
import sqlite3
import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice, repeat
from typing import IO, Any
from weakref import finalize

import numpy as np
import sqlalchemy as sa

from backprop_svc.errors import SettingError
from backprop_svc.tracking import sqlite
from backprop_svc.tracking.artifacts import ARTIFACTS, below
from backprop_svc.tracking.client import ClientWriter
from backprop_svc.tracking.connections import connections, has_workspaces
from backprop_svc.tracking.entities import (
    ACTIVE,
    MLFLOW_PARENT_RUN_ID,
    MLFLOW_RUN_NAME,
    MLFLOW_USER,
    Client,
)
from backprop_svc.tracking.failures import is_lasting, store_errors
from backprop_svc.tracking.limits import MAX_PARAM, cut
from backprop_svc.tracking.links import Place
from backprop_svc.tracking.local import LocalClient
from backprop_svc.tracking.parents import BY_CLIENT, IN_BULK, INDEX, SWEEP_ID, WRITER
from backprop_svc.tracking.patience import patiently
from backprop_svc.tracking.record import Progress, RunRecord, Runs, Series, Summary, Sweep
from backprop_svc.tracking.tables import TABLES, difference
from backprop_svc.tracking.uri import shown_uri

Rows = dict[str, Iterable[tuple[Any, ...]]]
"""Of each table by its name, in the order of :data:`TABLES`."""
_PROGRESS = """
SELECT tags.value, count(*), min(CASE WHEN latest.is_nan THEN NULL ELSE latest.value END)
FROM tags
LEFT JOIN latest_metrics latest ON latest.run_uuid = tags.run_uuid AND latest.key = 'loss'
WHERE tags.key = 'outcome' AND tags.run_uuid BETWEEN :first AND :last
GROUP BY tags.value
"""
VARIABLES = 32_766
"""Values of a statement of SQLite, if it takes as many; more save no time."""
UNIQUE_VIOLATION = "23505"
"""SQL's code for a key that is there already."""


class DatabaseWriter(ClientWriter):
    """Keeps the runs of a sweep by writing rows; all else as :class:`ClientWriter`."""

    kind = IN_BULK
    most = 1 << 30

    def __init__(self, uri: str, experiment: str) -> None:
        self._engine = connections(uri)
        # Errors of the bulk write come past SQLAlchemy.
        self._dbapi: Any = self._engine.dialect.loaded_dbapi
        super().__init__(uri, experiment)
        self._by_client: dict[str, bool] = {}
        self._spare: IO[bytes] | None = None
        self._sweeps: dict[str, str] = {}
        with self.store_errors():
            kept = self._client.get_experiment(self.experiment)
            self._artifacts = kept.artifact_location
            self._sqlite = self._engine.dialect.name == "sqlite"
            self._file = sqlite.file_of(self._engine.url) if self._sqlite else None
            self._mark = "?" if self._sqlite else "%s"
            if self._sqlite:
                # Readers, such as the UI, are then never kept waiting by a sweep.
                patiently(lambda: self._pragma("journal_mode = WAL"), self.passes)

    def _connect(self) -> Client:
        with store_errors(self.uri, LocalClient.failures):
            if has_workspaces(self._engine):
                # Only MLflow knows which of them is meant.
                return super()._connect()
        return LocalClient(self.uri)

    @property
    def failures(self) -> tuple[type[Exception], ...]:
        """What the store raises where it refuses or fails."""
        return (*super().failures, self._dbapi.Error)

    @classmethod
    def or_client(cls, uri: str, experiment: str) -> ClientWriter:
        """Return a bulk writer, or with a warning its slow twin where the tables differ."""
        with store_errors(uri, (sa.exc.SQLAlchemyError,)):
            differs = difference(sa.inspect(connections(uri)))
        if differs is None:
            return cls(uri, experiment)
        print(
            f"backprop-svc: {differs} in {shown_uri(uri)}, which this version does not "
            "know; each run is written by itself, more slowly",
            file=sys.stderr,
        )
        return ClientWriter(uri, experiment)

    def write(self, record: RunRecord) -> str:
        """Keep one run, in the file itself; return its id."""
        run_id = super().write(record)
        self._gather_changes()
        return run_id

    def place(self, parent: str) -> Place:
        """Return where the runs of a sweep are."""
        return super().place(parent)._replace(numbered=not self._by_client.get(parent, False))

    def open_sweep(self, sweep: Sweep) -> str:
        """Make or find the parent, and keep room on the disk to end it."""
        if self._file is not None and self._spare is None:
            self._spare = sqlite.spare_room(self._file)
            if self._spare is not None:
                finalize(self, self._spare.close)
        return super().open_sweep(sweep)

    def close_sweep(self, parent: str, status: str, summary: Summary | None = None) -> str:
        """End the parent; gather the statistics without which the UI sorts slowly."""
        if self._spare is not None:
            self._spare.close()
        place = super().close_sweep(parent, status, summary)
        with self.store_errors():
            patiently(self._analyze, self.passes)
        self._gather_changes()
        return place

    def _gather_changes(self) -> None:
        if self._file is not None:
            sqlite.gather_changes(self._file)

    def progress(self, parent: str) -> Progress:
        """Return how far the sweep is, by the rows that it has."""
        self._who_writes(parent)
        if self._by_client[parent]:
            return super().progress(parent)
        first, last = (self._sweeps[parent] + digit * 16 for digit in "0f")
        with self.store_errors(), self._engine.connect() as connection:
            rows = connection.execute(sa.text(_PROGRESS), {"first": first, "last": last}).all()
        losses = [
            float(best)
            for outcome, _, best in rows
            if outcome != "diverged" and best is not None
        ]
        return Progress(
            {outcome: count for outcome, count, _ in rows}, min(losses, default=np.inf)
        )

    def passes(self, error: Exception) -> bool:
        """Tell it also of a database that is locked or away, and of runs that have come."""
        if super().passes(error) or self._was_doubled(error):
            return True
        away = (
            *(sa.exc.OperationalError, sa.exc.InterfaceError),
            *(self._dbapi.OperationalError, self._dbapi.InterfaceError),
        )
        # MLflow's client gives the error of a lost connection a code of its own.
        cause = error if isinstance(error, sa.exc.DBAPIError) else error.__cause__
        lost = isinstance(cause, sa.exc.DBAPIError) and cause.connection_invalidated
        return (isinstance(error, away) or lost) and not is_lasting(error)

    @staticmethod
    def _was_doubled(error: Exception) -> bool:
        """Tell whether another process wrote the same runs first: next time they are there."""
        state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
        return state == UNIQUE_VIOLATION

    def _tidy(self, parent: str) -> None:
        # A transaction leaves no halves, the slow twin may have.
        if self._by_client.get(parent):
            super()._tidy(parent)

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
            name: [cut("param", value, MAX_PARAM) for value in column]
            for name, column in runs.params.items()
        }
        return {
            "runs": zip(
                ids,
                runs.names,
                repeat("UNKNOWN"),
                repeat(""),
                repeat(""),
                repeat(user),
                repeat("FINISHED"),
                repeat(runs.start_time),
                repeat(runs.end_time),
                repeat(None),
                repeat(""),
                repeat(ACTIVE),
                (below(self._artifacts, run_id, ARTIFACTS) for run_id in ids),
                repeat(int(self.experiment)),
            ),
            "tags": _cells(tags, ids),
            "params": _cells(params, ids),
            "metrics": _metrics(runs, _everything),
            "latest_metrics": _metrics(runs, _latest),
        }

    def _write_runs(self, runs: Runs, parent: str) -> int:
        runs = self._unknown_to_the_client(runs, parent)
        if not len(runs):
            return 0
        connection = self._engine.raw_connection()
        try:
            cursor = connection.cursor()
            # An artifact store may take its time: nobody waits for a lock meanwhile.
            missing, _ = self._missing(cursor, runs, parent)
            connection.rollback()
            self._keep_states(missing, parent)
            if self._sqlite:
                # Every row refers to a run of the same transaction.
                cursor.execute("PRAGMA foreign_keys = OFF")
                cursor.execute("PRAGMA synchronous = NORMAL")
                cursor.execute("PRAGMA cache_size = -262144")
                cursor.execute("BEGIN IMMEDIATE")
            missing, deleted = self._missing(cursor, runs, parent)
            if len(missing):
                insert = self._insert if self._sqlite else _copy
                for table, rows in self.rows(missing, parent).items():
                    insert(cursor, table, rows)
            if deleted:
                # The same run would be written again: it comes back as MLflow restores it.
                cursor.executemany(
                    "UPDATE runs SET lifecycle_stage = 'active', deleted_time = NULL "
                    f"WHERE run_uuid = {self._mark}",
                    [(run_id,) for run_id in deleted],
                )
            connection.commit()
            return len(missing) + len(deleted)
        except BaseException:
            try:
                connection.rollback()
            except Exception:
                # It is lost: what it says of that would hide why, and the pool shall forget it.
                connection.invalidate()
            raise
        finally:
            connection.close()

    def _unknown_to_the_client(self, runs: Runs, parent: str) -> Runs:
        """Leave out what the slow twin wrote, whose run ids are others."""
        self._who_writes(parent)
        if not self._by_client[parent]:
            return runs
        there = self.there(parent).finished
        return runs.select(
            np.flatnonzero([position not in there for position in runs.index.tolist()])
        )

    def _run_at(self, position: int, parent: str) -> str | None:
        self._who_writes(parent)
        if self._by_client[parent]:
            return super()._run_at(position, parent)
        return f"{self._sweeps[parent]}{position:016x}"

    def _who_writes(self, parent: str) -> None:
        """Ask once whether the slow twin writes a sweep, and which one it is."""
        if parent not in self._by_client:
            tags = self._client.get_run(parent).data.tags
            self._by_client[parent] = tags.get(WRITER) == BY_CLIENT
            self._sweeps[parent] = tags[SWEEP_ID]

    def _missing(self, cursor: Any, runs: Runs, parent: str) -> tuple[Runs, list[str]]:
        """Return the runs that are not there, and the ids of those that were deleted."""
        ids = runs.run_ids
        mark = self._mark
        cursor.execute(
            "SELECT runs.run_uuid, runs.lifecycle_stage, tags.value FROM runs "
            "LEFT JOIN tags ON tags.run_uuid = runs.run_uuid "
            f"AND tags.key = '{MLFLOW_PARENT_RUN_ID}' "
            f"WHERE runs.run_uuid BETWEEN {mark} AND {mark}",
            (min(ids), max(ids)),
        )
        rows = cursor.fetchall()
        others = {of for _, _, of in rows if of != parent}
        if others:
            raise SettingError(
                f"the sweep {runs.sweep}",
                f"there already, under the parent {others.pop()}",
                "one parent",
                "begin a new sweep",
            )
        there = {run_id for run_id, _, _ in rows}
        wanted = set(ids)
        deleted = [i for i, stage, _ in rows if stage != ACTIVE and i in wanted]
        if not there:
            return runs, []
        missing = np.flatnonzero([run_id not in there for run_id in ids])
        return runs.select(missing), deleted

    @staticmethod
    def _insert(cursor: Any, table: str, rows: Iterable[tuple[Any, ...]]) -> None:
        """Insert rows by statements of as many rows as SQLite takes: it has less to do then."""
        columns = TABLES[table].columns
        into = f"INSERT INTO {table} ({', '.join(columns)}) VALUES "
        marks = f"({','.join('?' * len(columns))})"
        left, most = iter(rows), max(1, _variables(cursor.connection) // len(columns))
        many = into + ",".join([marks] * most)
        while len(some := list(islice(left, most))) == most:
            cursor.execute(many, list(chain.from_iterable(some)))
        # Statements of each length would all be kept ready, with their values.
        cursor.executemany(into + marks, some)

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


def _cells(columns: Any, ids: list[str]) -> Iterator[tuple[Any, ...]]:
    for key, values in columns.items():
        yield from zip(repeat(key), values, ids, strict=False)


def _variables(connection: sqlite3.Connection) -> int:
    """Return how many values a statement has."""
    if sys.version_info >= (3, 11):
        limit = connection.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER)
    else:
        # Python 3.10 cannot ask.
        limit = VARIABLES if sqlite3.sqlite_version_info >= (3, 32) else 999
    return min(limit, VARIABLES)


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
