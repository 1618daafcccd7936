"""MLflow's own client: for servers, for other databases, and for making tables."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager, suppress
from typing import Any, cast

from backprop_svc.scratch import scratch
from backprop_svc.tracking import entities
from backprop_svc.tracking.environment import told
from backprop_svc.tracking.failures import artifact_errors, store_errors
from backprop_svc.tracking.patience import bounded

os.environ.update(told(os.environ))

with warnings.catch_warnings():
    # They are MLflow's to mend, and would be errors where a program asks for that.
    warnings.simplefilter("ignore")
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus, Metric, Param
    from mlflow.environment_variables import MLFLOW_TRACKING_INSECURE_TLS
    from mlflow.exceptions import MlflowException
    from mlflow.tracking import MlflowClient
from sqlalchemy.exc import SQLAlchemyError
from urllib3.exceptions import InsecureRequestWarning

if MLFLOW_TRACKING_INSECURE_TLS.get():
    # Who asks for it knows.
    warnings.filterwarnings("ignore", category=InsecureRequestWarning)
# What goes wrong is raised as well.
for _name in ("mlflow", "alembic"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)


class RemoteClient(MlflowClient):
    """MLflow's client, which also takes the light entities."""

    failures: tuple[type[Exception], ...] = (
        *(MlflowException, SQLAlchemyError, OSError),
        # What a store of artifacts elsewhere needs.
        ImportError,
    )

    def log_model(self, run_id: str, name: str, write: entities.WriteModel) -> str:
        """Log the model of a run, once; return its id."""
        own = self.get_run(run_id)
        for output in own.outputs.model_outputs if own.outputs else ():
            # One that was deleted is not found.
            with suppress(MlflowException):
                there = self.get_logged_model(output.model_id)
                if there.name == name and there.status == LoggedModelStatus.READY:
                    return str(there.model_id)
        model = self.create_logged_model(
            own.info.experiment_id, name=name, source_run_id=run_id, params=own.data.params
        )
        status = LoggedModelStatus.FAILED
        try:
            with scratch() as folder:
                write(model.model_id, model.artifact_location, folder)
                with artifact_errors(lambda: model.artifact_location, self.failures):
                    self.log_model_artifacts(model.model_id, str(folder))
            last = [self.get_metric_history(run_id, key)[-1] for key in own.data.metrics]
            metrics = [
                Metric(m.key, m.value, m.timestamp, m.step, model.model_id, run_id=run_id)
                for m in last
            ]
            try:
                super().log_batch(run_id, metrics)
            except MlflowException as error:
                # MLflow 3.1 puts them into the default experiment, which may not be there.
                if "foreign key" not in str(error).lower():
                    raise
            self.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
            status = LoggedModelStatus.READY
        finally:
            self.finalize_logged_model(model.model_id, status)
        return str(model.model_id)

    # MLflow's other methods for artifacts call these.
    def log_artifact(
        self, run_id: str, local_path: str, artifact_path: str | None = None
    ) -> None:
        """Keep a file as an artifact."""
        with self._artifacts_of(run_id):
            super().log_artifact(run_id, local_path, artifact_path)

    def log_artifacts(
        self, run_id: str, local_dir: str, artifact_path: str | None = None
    ) -> None:
        """Keep what is in a folder as artifacts."""
        with self._artifacts_of(run_id):
            super().log_artifacts(run_id, local_dir, artifact_path)

    def list_artifacts(self, run_id: str, path: str | None = None) -> Any:
        """Return the artifacts of a run that are directly below a path."""
        with self._artifacts_of(run_id):
            return super().list_artifacts(run_id, path)

    def download_artifacts(self, run_id: str, path: str, dst_path: str | None = None) -> str:
        """Return where a copy of an artifact is."""
        with self._artifacts_of(run_id):
            return super().download_artifacts(run_id, path, dst_path)

    def _artifacts_of(self, run_id: str) -> AbstractContextManager[None]:
        return artifact_errors(lambda: self.get_run(run_id).info.artifact_uri, self.failures)

    def log_batch(  # type: ignore[override]
        self,
        run_id: str,
        metrics: Sequence[entities.Metric] = (),
        params: Sequence[entities.Param] = (),
        tags: Sequence[Any] = (),
        synchronous: bool | None = None,
    ) -> Any:
        """Keep values of metrics, and params."""
        return super().log_batch(
            run_id,
            [Metric(one.key, one.value, one.timestamp, one.step) for one in metrics],
            [Param(one.key, one.value) for one in params],
            tags,
            synchronous,
        )


def as_client(uri: str) -> entities.Client:
    """Return MLflow's client, whose entities have all that the light ones have."""
    return cast(entities.Client, RemoteClient(uri))


def connect(uri: str) -> entities.Client:
    """Return MLflow's client for a store.

    Raises
    ------
    StoreError
        MLflow does not open it.
    """
    with store_errors(uri, RemoteClient.failures):
        return bounded(as_client(uri), uri)


def make_tables(uri: str) -> None:
    """Let MLflow make its tables in an empty database, as it does when it opens one."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        MlflowClient(uri).search_experiments(max_results=1)
