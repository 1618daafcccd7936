"""MLflow's client without MLflow: statements on the tables of a database.

What a stock :class:`mlflow.MlflowClient` reads of what is written here is what it would have
written itself. Its own tables are made, and changed, by MLflow alone.
"""

from __future__ import annotations

import math
import os
import uuid
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from backprop_svc.tracking import search
from backprop_svc.tracking.artifacts import ARTIFACTS, Folder, below, local_folder, new_root
from backprop_svc.tracking.entities import (
    ACTIVE,
    DELETED,
    MLFLOW_LOGGED_IMAGES,
    MLFLOW_RUN_NAME,
    MLFLOW_USER,
    Client,
    Experiment,
    FileInfo,
    Metric,
    Page,
    Param,
    Run,
    ViewType,
)
from backprop_svc.tracking.limits import (
    MAX_EXPERIMENT_NAME,
    MAX_PARAM,
    MAX_TAG,
    RefusedError,
    checked_name,
    cut,
)
from backprop_svc.tracking.record import now
from backprop_svc.tracking.tables import (
    EXPERIMENT_TAGS,
    EXPERIMENTS,
    LATEST_METRICS,
    METRICS,
    PARAMS,
    RUNS,
    TAGS,
)

if TYPE_CHECKING:
    from PIL.Image import Image

_LARGEST = 1.7976931348623157e308
_LATER = ("step", "timestamp", "value")
"""What decides which value of a metric is the latest."""


@lru_cache(maxsize=100)
def connections(uri: str) -> sa.Engine:
    """Return our connections to a database; those that a restart has cut are made again."""
    waits = {"timeout": 20} if uri.startswith("sqlite") else {}
    engine = sa.create_engine(uri, connect_args=waits, pool_pre_ping=True)
    if engine.dialect.name == "sqlite":
        # As for MLflow's searches.
        sa.event.listen(
            engine, "connect", lambda own, _: own.execute("PRAGMA case_sensitive_like = true")
        )
    return engine


def has_workspaces(engine: sa.Engine) -> bool:
    """Tell whether MLflow keeps experiments apart in this database, or is told to."""
    if os.environ.get("MLFLOW_ENABLE_WORKSPACES", "").lower() in {"true", "1"}:
        return True
    if "workspace" not in {
        one["name"] for one in sa.inspect(engine).get_columns("experiments")
    }:
        return False
    other = sa.text("SELECT 1 FROM experiments WHERE workspace <> 'default' LIMIT 1")
    with engine.connect() as database:
        return database.execute(other).first() is not None


class LocalClient:
    """The methods of :class:`.entities.Client` on a database whose tables are known."""

    failures: tuple[type[Exception], ...] = (sa.exc.SQLAlchemyError, OSError, RefusedError)

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._engine = connections(uri)

    def reading(self) -> AbstractContextManager[sa.Connection]:
        """Return a connection for what no client of MLflow's has a method for."""
        return self._engine.connect()

    def get_experiment(self, experiment_id: str) -> Experiment:
        """Return an experiment by its id."""
        (found,) = self._experiments(EXPERIMENTS.c.experiment_id == int(experiment_id))
        return found

    def get_experiment_by_name(self, name: str) -> Experiment | None:
        """Return an experiment by its name, also a deleted one."""
        return next(iter(self._experiments(EXPERIMENTS.c.name == name)), None)

    def search_experiments(self, view_type: int = ViewType.ACTIVE_ONLY) -> list[Experiment]:
        """Return all experiments."""
        stage = EXPERIMENTS.c.lifecycle_stage
        return self._experiments(stage.in_(search.STAGES[view_type]))

    def create_experiment(self, name: str, *, tags: dict[str, str]) -> str:
        """Make an experiment, and return its id."""
        if not name or len(name) > MAX_EXPERIMENT_NAME:
            raise RefusedError(
                f"the name of an experiment has from 1 to {MAX_EXPERIMENT_NAME} characters"
            )
        time = now()
        with self._writing() as database:
            values = {"name": name, "lifecycle_stage": ACTIVE}
            times = {"creation_time": time, "last_update_time": time}
            done = database.execute(
                # A database may require a location before the number is known.
                EXPERIMENTS.insert().values(**values, **times, artifact_location="")
            )
            (number,) = done.inserted_primary_key or (None,)
            database.execute(
                EXPERIMENTS.update()
                .where(EXPERIMENTS.c.experiment_id == number)
                .values(artifact_location=below(new_root(), str(number)))
            )
            for key, value in tags.items():
                row = {"key": checked_name("tag", key), "value": value, "experiment_id": number}
                database.execute(EXPERIMENT_TAGS.insert().values(row))
        return str(number)

    def create_run(
        self, experiment_id: str, start_time: int, tags: dict[str, str], run_name: str
    ) -> Run:
        """Begin a run, and return it."""
        experiment = self.get_experiment(experiment_id)
        if experiment.lifecycle_stage != ACTIVE:
            raise RefusedError(f"the experiment {experiment.name!r} was deleted")
        run_id = uuid.uuid4().hex
        row = {
            "run_uuid": run_id,
            "name": run_name,
            "source_type": "UNKNOWN",
            "source_name": "",
            "entry_point_name": "",
            "user_id": tags.get(MLFLOW_USER, "unknown"),
            "status": "RUNNING",
            "start_time": start_time,
            "source_version": "",
            "lifecycle_stage": ACTIVE,
            "artifact_uri": below(experiment.artifact_location, run_id, ARTIFACTS),
            "experiment_id": int(experiment_id),
        }
        named = {**tags, MLFLOW_RUN_NAME: run_name}
        cells = [{"key": k, "value": v, "run_uuid": run_id} for k, v in named.items()]
        with self._writing() as database:
            database.execute(RUNS.insert().values(row))
            database.execute(TAGS.insert(), cells)
        return self.get_run(run_id)

    def get_run(self, run_id: str) -> Run:
        """Return a run by its id, also a deleted one."""
        with self._engine.connect() as database:
            found = search.runs(database, sa.select(RUNS).where(RUNS.c.run_uuid == run_id))
        if not found:
            raise RefusedError(f"there is no run {run_id}")
        return found[0]

    def search_runs(
        self,
        experiment_ids: list[str],
        filter_string: str = "",
        run_view_type: int = ViewType.ACTIVE_ONLY,
        max_results: int = 1000,
        order_by: list[str] | None = None,
        page_token: str | None = None,
    ) -> Page:
        """Return the runs that fulfil some conditions (:func:`.search.statement`)."""
        offset = int(page_token or 0)
        chosen = search.statement(experiment_ids, filter_string, run_view_type, order_by)
        with self._engine.connect() as database:
            found = search.runs(database, chosen.offset(offset).limit(max_results + 1))
        more = len(found) > max_results
        return Page(found[:max_results], str(offset + max_results) if more else None)

    def update_run(self, run_id: str, status: str) -> None:
        """Change the status of a run."""
        self._change(run_id, status=status)

    def set_terminated(
        self, run_id: str, status: str | None = None, end_time: int | None = None
    ) -> None:
        """End a run."""
        self._change(run_id, status=status or "FINISHED", end_time=end_time or now())

    def delete_run(self, run_id: str) -> None:
        """Delete a run so that it can be restored."""
        self._change(run_id, lifecycle_stage=DELETED, deleted_time=now())

    def log_batch(
        self, run_id: str, metrics: Sequence[Metric] = (), params: Sequence[Param] = ()
    ) -> None:
        """Keep values of metrics, and params; those that are there already change nothing."""
        for metric in metrics:
            checked_name("metric", metric.key)
        given = {
            checked_name("param", param.key): cut("param", param.value, MAX_PARAM)
            for param in params
        }
        points = [_row(metric, run_id) for metric in metrics]
        with self._writing(run_id) as database:
            self._log_params(database, run_id, given)
            if points:
                insert = self._insert(METRICS).on_conflict_do_nothing()
                database.execute(insert, points)
                self._log_latest(database, points)

    def get_metric_history(self, run_id: str, key: str) -> list[Metric]:
        """Return all values of a metric."""
        one, column = METRICS.c, (METRICS.c.run_uuid, METRICS.c.key)
        chosen = METRICS.select().where(column[0] == run_id, column[1] == key)
        with self._engine.connect() as database:
            rows = database.execute(chosen.order_by(one.timestamp, one.step, one.value))
            return [
                Metric(key, math.nan if row.is_nan else row.value, row.timestamp, row.step)
                for row in rows
            ]

    def set_tag(self, run_id: str, key: str, value: str) -> None:
        """Set a tag of a run."""
        value = cut("tag", str(value), MAX_TAG)
        row = {"key": checked_name("tag", key), "value": value, "run_uuid": run_id}
        insert = self._insert(TAGS).values(row)
        with self._writing(run_id) as database:
            database.execute(
                insert.on_conflict_do_update(
                    index_elements=["key", "run_uuid"], set_={"value": value}
                )
            )

    def delete_tag(self, run_id: str, key: str) -> None:
        """Remove a tag of a run."""
        with self._writing(run_id) as database:
            done = database.execute(
                TAGS.delete().where(TAGS.c.run_uuid == run_id, TAGS.c.key == key)
            )
        if not done.rowcount:
            raise RefusedError(f"the run {run_id} has no tag {key!r}")

    def list_artifacts(self, run_id: str, path: str | None = None) -> list[FileInfo]:
        """Return the artifacts of a run that are directly below a path."""
        folder = self._folder(run_id)
        if folder is None:
            return self._elsewhere().list_artifacts(run_id, path)
        return folder.files(path)

    def download_artifacts(self, run_id: str, path: str) -> str:
        """Return where an artifact is: a local one stays where it is."""
        folder = self._folder(run_id)
        if folder is None:
            return self._elsewhere().download_artifacts(run_id, path)
        return str(folder.path(path))

    def log_text(self, run_id: str, text: str, artifact_file: str) -> None:
        """Keep a text as an artifact."""
        folder = self._folder(run_id)
        if folder is None:
            self._elsewhere().log_text(run_id, text, artifact_file)
        else:
            folder.write(artifact_file, text.encode())

    def log_artifact(
        self, run_id: str, local_path: str, artifact_path: str | None = None
    ) -> None:
        """Keep a file as an artifact."""
        folder = self._folder(run_id)
        if folder is None:
            self._elsewhere().log_artifact(run_id, local_path, artifact_path)
        else:
            folder.copy(Path(local_path), _joined(artifact_path, Path(local_path).name))

    def log_artifacts(
        self, run_id: str, local_dir: str, artifact_path: str | None = None
    ) -> None:
        """Keep what is in a folder as artifacts."""
        folder = self._folder(run_id)
        if folder is None:
            self._elsewhere().log_artifacts(run_id, local_dir, artifact_path)
            return
        for entry in Path(local_dir).iterdir():
            folder.copy(entry, _joined(artifact_path, entry.name))

    def log_image(self, run_id: str, image: Image, *, key: str, step: int) -> None:
        """Keep a picture that MLflow's page shows."""
        folder = self._folder(run_id)
        if folder is None:
            self._elsewhere().log_image(run_id, image, key=key, step=step)
            return
        folder.picture(image, key, step, now())
        self.set_tag(run_id, MLFLOW_LOGGED_IMAGES, "True")

    def _experiments(self, where: sa.ColumnElement[bool]) -> list[Experiment]:
        with self._engine.connect() as database:
            return [
                Experiment(
                    str(row.experiment_id),
                    row.name,
                    row.artifact_location or "",
                    row.lifecycle_stage,
                )
                for row in database.execute(EXPERIMENTS.select().where(where))
            ]

    def _change(self, run_id: str, **values: object) -> None:
        with self._writing(run_id) as database:
            database.execute(RUNS.update().where(RUNS.c.run_uuid == run_id).values(**values))

    @contextmanager
    def _writing(self, run_id: str | None = None) -> Iterator[sa.Connection]:
        """Write all or nothing, of a run only while it is active."""
        with self._engine.begin() as database:
            if self._engine.dialect.name == "sqlite":
                # Otherwise what is read first may have changed before it is written.
                database.exec_driver_sql("BEGIN IMMEDIATE")
            if run_id is not None:
                stage = sa.select(RUNS.c.lifecycle_stage).where(RUNS.c.run_uuid == run_id)
                if database.scalar(stage) != ACTIVE:
                    raise RefusedError(f"there is no active run {run_id}")
            yield database

    def _insert(self, table: sa.Table) -> Any:
        # Each dialect says in its own way what is done with rows that are there.
        return import_module(f"sqlalchemy.dialects.{self._engine.dialect.name}").insert(table)

    @staticmethod
    def _log_params(database: sa.Connection, run_id: str, given: dict[str, str]) -> None:
        if not given:
            return
        chosen = sa.select(PARAMS.c.key, PARAMS.c.value).where(PARAMS.c.run_uuid == run_id)
        there = {row.key: row.value for row in database.execute(chosen)}
        for key, value in given.items():
            if there.get(key, value) != value:
                raise RefusedError(f"the param {key!r} of the run {run_id} has another value")
        new = [
            {"key": key, "value": value, "run_uuid": run_id}
            for key, value in given.items()
            if key not in there
        ]
        if new:
            database.execute(PARAMS.insert(), new)

    def _log_latest(self, database: sa.Connection, points: list[dict[str, Any]]) -> None:
        """Bring the latest value of each metric up to date: by step, time and value."""
        latest: dict[str, dict[str, Any]] = {}
        for point in points:
            before = latest.get(point["key"])
            if before is None or _when(point) > _when(before):
                latest[point["key"]] = point
        # All writers in one order, so that none waits for another that waits for it.
        rows = [latest[key] for key in sorted(latest)]
        insert, own = self._insert(LATEST_METRICS), LATEST_METRICS.c
        new = insert.excluded
        later = sa.tuple_(*(new[name] for name in _LATER)) > sa.tuple_(
            *(own[name] for name in _LATER)
        )
        values = {name: new[name] for name in (*_LATER, "is_nan")}
        database.execute(
            insert.on_conflict_do_update(
                index_elements=["key", "run_uuid"], set_=values, where=later
            ),
            rows,
        )

    def _folder(self, run_id: str) -> Folder | None:
        folder = local_folder(self.get_run(run_id).info.artifact_uri)
        return None if folder is None else Folder(folder)

    def _elsewhere(self) -> Client:
        """Return MLflow's client, which knows all stores of artifacts."""
        from backprop_svc.tracking.remote import as_client

        client = as_client(self._uri)
        self.failures = (*self.failures, *client.failures)
        return client


def _row(metric: Metric, run_id: str) -> dict[str, Any]:
    """Return what SQL keeps of a value: it has neither NaN nor infinities."""
    is_nan = math.isnan(metric.value)
    return {
        "key": metric.key,
        "value": 0.0 if is_nan else min(max(metric.value, -_LARGEST), _LARGEST),
        "timestamp": metric.timestamp,
        "step": metric.step,
        "is_nan": is_nan,
        "run_uuid": run_id,
    }


def _when(point: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(point[name] for name in _LATER)


def _joined(folder: str | None, name: str) -> str:
    return name if folder is None else f"{folder}/{name}"
