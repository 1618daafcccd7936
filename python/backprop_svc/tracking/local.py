"""MLflow's client without MLflow: statements on the tables of a database.

What a stock :class:`mlflow.MlflowClient` reads of what is written here is what it would have
written itself. Its own tables are made, and changed, by MLflow alone.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property

import sqlalchemy as sa

from backprop_svc.tracking import models, search
from backprop_svc.tracking.artifacts import ARTIFACTS, below, local_folder, new_root
from backprop_svc.tracking.artifacts_of_runs import ArtifactsOfRuns
from backprop_svc.tracking.connections import connections
from backprop_svc.tracking.entities import (
    ACTIVE,
    DELETED,
    MLFLOW_RUN_NAME,
    MLFLOW_USER,
    Experiment,
    Metric,
    Page,
    Param,
    Run,
    ViewType,
    WriteModel,
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
    METRICS,
    MODEL_TABLES,
    RUNS,
    TAGS,
    difference,
)
from backprop_svc.tracking.values import log_metrics, log_params, log_tag


class LocalClient(ArtifactsOfRuns):
    """The methods of :class:`.entities.Client` on a database whose tables are known."""

    failures: tuple[type[Exception], ...] = (
        *(sa.exc.SQLAlchemyError, OSError, RefusedError),
        # What a store of artifacts elsewhere needs.
        ImportError,
    )

    def __init__(self, uri: str) -> None:
        super().__init__(uri)
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
        with self._writing(run_id) as database:
            log_params(database, run_id, given)
            log_metrics(database, run_id, metrics)

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
        with self._writing(run_id) as database:
            log_tag(database, run_id, checked_name("tag", key), value)

    def delete_tag(self, run_id: str, key: str) -> None:
        """Remove a tag of a run."""
        with self._writing(run_id) as database:
            done = database.execute(
                TAGS.delete().where(TAGS.c.run_uuid == run_id, TAGS.c.key == key)
            )
        if not done.rowcount:
            raise RefusedError(f"the run {run_id} has no tag {key!r}")

    def log_model(self, run_id: str, name: str, write: WriteModel) -> str:
        """Log the model of a run, once; return its id."""
        run = self.get_run(run_id)
        root = self.get_experiment(run.info.experiment_id).artifact_location
        model_id = models.id_of(run)
        location = models.location_of(root, model_id)
        folder = local_folder(location)
        if folder is None or not self._knows_models:
            return self._elsewhere().log_model(run_id, name, write)
        with self.reading() as database:
            there = models.logged(database, run, name)
            if there is not None:
                return there
        models.write_files(folder, location, model_id, write)
        with self._writing(run_id) as database:
            models.log_rows(database, run, name, location)
        return model_id

    @cached_property
    def _knows_models(self) -> bool:
        """Tell whether the tables of models are as they are written here."""
        return difference(sa.inspect(self._engine), MODEL_TABLES) is None

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
