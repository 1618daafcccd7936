"""The writer for any tracking URI: MLflow's public client."""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from backprop_svc.tracking.record import RunRecord, Sweep

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
# A server that is away is noticed in seconds, not in minutes.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")

import mlflow
from mlflow.entities import Metric, Param, Run, ViewType
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from mlflow.tracking.context.registry import resolve_tags
from mlflow.utils.git_utils import get_git_commit
from mlflow.utils.mlflow_tags import MLFLOW_GIT_COMMIT, MLFLOW_PARENT_RUN_ID
from sqlalchemy.exc import SQLAlchemyError

SWEEP_ID = "backprop.sweep_id"
MOST_METRICS, MOST_PARAMS, MOST_TAGS = 1000, 100, 100
"""What MLflow's server takes in one ``log_batch``."""


class ClientWriter:
    """Keeps runs with :class:`mlflow.MlflowClient`."""

    def __init__(self, uri: str, experiment: str) -> None:
        for name in ("mlflow", "alembic"):
            logging.getLogger(name).setLevel(logging.ERROR)
        self._uri = uri
        with self._store_errors():
            mlflow.set_tracking_uri(uri)
            self._client = MlflowClient(uri)
            self._experiment = self._experiment_id(experiment)

    def write(self, record: RunRecord, sweep: Sweep | None = None) -> str:
        """Keep one run; a failure on the way leaves it FAILED, an interrupt KILLED."""
        with self._store_errors():
            tags = {**source_tags(), **record.tags}
            if sweep is not None:
                tags[MLFLOW_PARENT_RUN_ID] = self._parent(sweep)
                tags[SWEEP_ID] = sweep.id
            run = self._client.create_run(
                self._experiment, record.start_time, tags, record.name
            )
            run_id: str = run.info.run_id
            try:
                self._log(run_id, record)
            except BaseException as error:
                status = "FAILED" if isinstance(error, Exception) else "KILLED"
                with contextlib.suppress(Exception):
                    self._client.set_terminated(run_id, status)
                raise
            self._client.set_terminated(run_id, "FINISHED", record.end_time)
            return self._place(run_id)

    def end_sweep(self, sweep: Sweep, status: str) -> None:
        """Give the parent its status; one that FAILED or was KILLED keeps it."""
        with self._store_errors():
            parent = self._find_parent(sweep)
            if parent is not None and parent.info.status not in {"FAILED", "KILLED"}:
                self._client.set_terminated(parent.info.run_id, status)

    def _log(self, run_id: str, record: RunRecord) -> None:
        client = self._client
        metrics = [Metric(n, v, record.end_time, step) for n, v, step in record.metrics]
        params = [Param(name, value) for name, value in record.params.items()]
        for batch in _batches(params, MOST_PARAMS):
            client.log_batch(run_id, params=batch)
        for batch in _batches(metrics, MOST_METRICS):
            client.log_batch(run_id, metrics=batch)
        with TemporaryDirectory() as folder:
            for name, text in record.texts.items():
                Path(folder, name).write_text(text, encoding="utf-8")
            for name, image in record.images.items():
                Path(folder, name).write_bytes(image)
            if record.texts or record.images:
                client.log_artifacts(run_id, folder)

    def _experiment_id(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is None:
            try:
                return str(self._client.create_experiment(name))
            except MlflowException:
                # Another process was quicker.
                found = self._client.get_experiment_by_name(name)
                if found is None:
                    raise
        if found.lifecycle_stage != "active":
            raise ValueError(
                f"tracking.experiment is {name!r}, which was deleted; allowed: an active or a "
                f"new experiment; choose another name, or restore it with "
                f"`mlflow experiments restore -x {found.experiment_id}`"
            )
        return str(found.experiment_id)

    def _find_parent(self, sweep: Sweep) -> Run | None:
        found = self._client.search_runs(
            [self._experiment],
            f"tags.`{SWEEP_ID}` = '{sweep.id}' and tags.`backprop.kind` = 'sweep'",
            ViewType.ACTIVE_ONLY,
            max_results=1,
        )
        return found[0] if found else None

    def _parent(self, sweep: Sweep) -> str:
        parent = self._find_parent(sweep)
        if parent is None:
            tags = {
                **source_tags(),
                SWEEP_ID: sweep.id,
                "backprop.kind": "sweep",
                "mlflow.note.content": sweep.description,
            }
            now = int(time.time() * 1000)
            parent = self._client.create_run(self._experiment, now, tags, f"sweep {sweep.id}")
            self._client.set_terminated(parent.info.run_id, "FINISHED")
        return str(parent.info.run_id)

    def _place(self, run_id: str) -> str:
        if self._uri.startswith(("http://", "https://")):
            base = self._uri.rstrip("/")
            return f"{base}/#/experiments/{self._experiment}/runs/{run_id}"
        file = self._uri.removeprefix("sqlite:///")
        store = self._uri if file == self._uri else str(Path(file).absolute())
        return f"run {run_id} in {store}"

    @contextlib.contextmanager
    def _store_errors(self) -> Iterator[None]:
        try:
            yield
        except (MlflowException, SQLAlchemyError, OSError) as error:
            reason = " ".join(str(error).split())
            if len(reason) > 300:
                reason = reason[:300] + "…"
            raise ConnectionError(
                f"tracking.uri is {self._uri!r}, which failed: {reason}; allowed: "
                "sqlite:///mlflow.db, postgresql://…, http://… and other stores of MLflow; "
                "correct it, start the server, or use tracking=none"
            ) from error


def source_tags() -> dict[str, str]:
    """Who ran what: MLflow's own tags; the commit of the experiment, else of this package.

    MLflow asks for the commit of the program's file, which an installed command lacks.
    """
    commit = get_git_commit(str(Path.cwd())) or get_git_commit(__file__)
    return {
        **resolve_tags(),
        **({MLFLOW_GIT_COMMIT: commit} if commit else {}),
        "mlflow.version": mlflow.__version__,
        "python.version": platform.python_version(),
    }


def _batches(items: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
