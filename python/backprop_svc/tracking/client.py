"""The writer for any tracking URI: MLflow's public client."""

from __future__ import annotations

import contextlib
import io
import logging
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from backprop_svc.errors import SettingError, StoreError
from backprop_svc.tracking.patience import bounded, patiently
from backprop_svc.tracking.record import (
    RunRecord,
    Runs,
    Summary,
    Sweep,
    now,
)
from backprop_svc.tracking.uri import HIDDEN, leaks, shown_uri, without_password

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
# A request whose answer was lost must not be sent again blindly: see `_write_runs`.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")

import mlflow
import numpy as np
import PIL.Image
from mlflow.entities import Metric, Param, Run
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from mlflow.tracking.context.registry import resolve_tags
from mlflow.utils.git_utils import get_git_commit
from mlflow.utils.mlflow_tags import (
    MLFLOW_GIT_COMMIT,
    MLFLOW_PARENT_RUN_ID,
    MLFLOW_RUN_NOTE,
    MLFLOW_SOURCE_NAME,
    MLFLOW_SOURCE_TYPE,
    MLFLOW_USER,
)
from sqlalchemy.exc import SQLAlchemyError

# What goes wrong is raised as well.
for _name in ("mlflow", "alembic"):
    logging.getLogger(_name).setLevel(logging.CRITICAL)

SWEEP_ID, KIND, INDEX = "backprop.sweep_id", "backprop.kind", "backprop.index"
DIGEST, WRITER = "backprop.digest", "backprop.writer"
KIND_OF_EXPERIMENT = {"mlflow.experimentKind": "custom_model_development"}
"""The UI then shows what belongs to training, and not to language models."""
MOST_METRICS, MOST_PARAMS = 1000, 100
"""What MLflow's server takes in one ``log_batch``."""
PASSING = {"INTERNAL_ERROR", "REQUEST_LIMIT_EXCEEDED", "TEMPORARILY_UNAVAILABLE"}
"""MLflow's codes for what may be gone in some seconds; the first is also a lost answer."""
THREADS = 8
"""Runs written at once: a server answers several as quickly as one."""


@dataclass
class _There:
    """What a store has of a sweep, by position."""

    finished: set[int] = field(default_factory=set)
    halves: dict[int, list[str]] = field(default_factory=dict)
    """Runs that an interrupt or a lost answer left half-written."""


class ClientWriter:
    """Keeps runs with :class:`mlflow.MlflowClient`."""

    def __init__(self, uri: str, experiment: str) -> None:
        # MLflow prints an address for each run, with the password that the URI has.
        os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
        self.uri = uri
        self.failures: tuple[type[Exception], ...] = (MlflowException, SQLAlchemyError, OSError)
        with self.store_errors():
            mlflow.set_tracking_uri(uri)
            self._client = bounded(MlflowClient(uri), uri)
            self.experiment = self._experiment_id(experiment)
            self.source_tags = source_tags()
        self._there: dict[str, _There] = {}

    def write(self, record: RunRecord) -> str:
        """Keep one run; a failure on the way leaves it FAILED, an interrupt KILLED."""
        with self.store_errors():
            run_id = self._write(record, {**self.source_tags, **record.tags})
        return self._place(run_id)

    def open_sweep(self, sweep: Sweep) -> str:
        """Return the run id of the sweep's parent; it is made, or taken up again."""
        with self.store_errors():
            return patiently(lambda: self._open_sweep(sweep), self.passes)

    def write_runs(self, runs: Runs, parent: str) -> int:
        """Keep the runs that are not there yet, under their parent; return how many."""
        with self.store_errors():
            return patiently(lambda: self._write_runs(runs, parent), self.passes)

    def close_sweep(self, parent: str, status: str, summary: Summary | None = None) -> str:
        """End the parent as FINISHED, FAILED or KILLED; return where to look at it."""
        with self.store_errors():
            if status == "FINISHED":
                patiently(lambda: self._close_sweep(parent, status, summary), self.passes)
            else:
                # What ended the sweep may be that the store is away.
                self._close_sweep(parent, status, summary)
        return self._place(parent, "/model-metrics")

    def last_sweep(self) -> str | None:
        """Return the identity of the sweep that was begun last."""
        with self.store_errors():
            # A sweep of another sweeper has no digest: nobody knows the whole of it.
            found = self._search(f"{_tag(KIND)} = 'sweep' and {_tag(DIGEST)} LIKE '_%'")
        return str(found[0].data.tags[SWEEP_ID]) if found else None

    def passes(self, error: Exception) -> bool:
        """Tell whether an error may be gone in some seconds, such as a server's restart."""
        return (
            isinstance(error, MlflowException)
            and error.error_code in PASSING
            and not is_lasting(error)
        )

    def child_tags(self, runs: Runs, parent: str) -> dict[str, str]:
        """Tags which the runs of a sweep share; the rest of the versions is the parent's."""
        kept = (MLFLOW_USER, MLFLOW_SOURCE_NAME, MLFLOW_SOURCE_TYPE, MLFLOW_GIT_COMMIT)
        tags = {name: self.source_tags[name] for name in kept if name in self.source_tags}
        return {**tags, MLFLOW_PARENT_RUN_ID: parent, SWEEP_ID: runs.sweep}

    def _open_sweep(self, sweep: Sweep) -> str:
        found = self._search(f"{_tag(SWEEP_ID)} = '{sweep.id}' and {_tag(KIND)} = 'sweep'")
        if found:
            run_id = str(found[0].info.run_id)
            begun = found[0].data.tags.get(DIGEST, "")
            if sweep.digest and begun != sweep.digest:
                raise SettingError(
                    f"the sweep {sweep.id}",
                    "begun with other axes or settings",
                    "the same axes and settings",
                    "begin a new sweep, or resume this one as it was begun",
                    verb="was",
                )
            writer = found[0].data.tags.get(WRITER)
            if writer != type(self).__name__:
                raise SettingError(
                    f"the sweep {sweep.id}",
                    f"written by a {writer}, and {shown_uri(self.uri)} has "
                    f"a {type(self).__name__}, whose run ids differ",
                    "the same way to the store",
                    "give the tracking URI with which it was begun",
                    verb="was",
                )
            self._client.update_run(run_id, "RUNNING")
        else:
            tags = {
                **self.source_tags,
                SWEEP_ID: sweep.id,
                KIND: "sweep",
                DIGEST: sweep.digest,
                WRITER: type(self).__name__,
                MLFLOW_RUN_NOTE: sweep.description,
            }
            name = f"sweep {sweep.id}"
            run_id = str(
                self._client.create_run(self.experiment, now(), tags, name).info.run_id
            )
        with self._ended(run_id):
            if sweep.config:
                self._client.log_text(run_id, sweep.config, "config.yaml")
        return run_id

    def _write_runs(self, runs: Runs, parent: str) -> int:
        if runs.sweep not in self._there:
            self._there[runs.sweep] = self._find(runs.sweep)
        there, shared = self._there[runs.sweep], self.child_tags(runs, parent)
        positions = runs.index.tolist()
        missing = [
            (record, {**shared, **record.tags, INDEX: str(position)})
            for record, position in zip(runs.records(), positions, strict=True)
            if position not in there.finished
        ]
        try:
            for position in positions:
                for run_id in there.halves.pop(position, []):
                    self._client.delete_run(run_id)
            with ThreadPoolExecutor(THREADS) as pool:
                list(pool.map(lambda task: self._write(*task), missing))
        except BaseException:
            # What of it has arrived is asked for before it is tried again.
            del self._there[runs.sweep]
            raise
        there.finished.update(positions)
        return len(missing)

    def _close_sweep(self, parent: str, status: str, summary: Summary | None) -> None:
        if status == "FINISHED":
            self._tidy(parent)
        if summary is not None:
            # A point that is there already is not kept twice: it has the same time.
            when = self._client.get_run(parent).info.start_time
            points = [Metric(n, v, when, step) for n, v, step in summary.metrics]
            for batch in _batches(points, MOST_METRICS):
                self._client.log_batch(parent, metrics=batch)
            self._log_files(parent, summary.texts, summary.files)
            for title, png in summary.figures.items():
                image = mlflow.Image(np.asarray(PIL.Image.open(io.BytesIO(png))))
                self._client.log_image(parent, image, key=title, step=0)
        self._client.set_terminated(parent, status)

    def _write(self, record: RunRecord, tags: dict[str, str]) -> str:
        run = self._client.create_run(self.experiment, record.start_time, tags, record.name)
        run_id: str = run.info.run_id
        with self._ended(run_id):
            self._log(run_id, record)
            self._client.set_terminated(run_id, "FINISHED", record.end_time)
        return run_id

    @contextlib.contextmanager
    def _ended(self, run_id: str) -> Iterator[None]:
        """Leave no run that seems to go on after an error or an interrupt."""
        try:
            yield
        except BaseException as error:
            status = "FAILED" if isinstance(error, Exception) else "KILLED"
            with contextlib.suppress(Exception):
                self._client.set_terminated(run_id, status)
            raise

    def _log(self, run_id: str, record: RunRecord) -> None:
        metrics = [Metric(n, v, record.end_time, step) for n, v, step in record.metrics]
        params = [Param(name, value) for name, value in record.params.items()]
        for batch in _batches(params, MOST_PARAMS):
            self._client.log_batch(run_id, params=batch)
        for batch in _batches(metrics, MOST_METRICS):
            self._client.log_batch(run_id, metrics=batch)
        self._log_files(run_id, record.texts, record.images)

    def _log_files(
        self, run_id: str, texts: Mapping[str, str], files: Mapping[str, bytes]
    ) -> None:
        if not texts and not files:
            return
        with TemporaryDirectory() as folder:
            for name, text in texts.items():
                Path(folder, name).write_text(text, encoding="utf-8")
            for name, content in files.items():
                Path(folder, name).write_bytes(content)
            self._client.log_artifacts(run_id, folder)

    def _tidy(self, parent: str) -> None:
        """Delete the halves of a sweep whose answers were lost."""
        sweep = self._client.get_run(parent).data.tags[SWEEP_ID]
        for halves in self._find(sweep).halves.values():
            for run_id in halves:
                self._client.delete_run(run_id)

    def _find(self, sweep: str) -> _There:
        there = _There()
        token: str | None = None
        while True:
            page = self._client.search_runs(
                [self.experiment],
                f"{_tag(SWEEP_ID)} = '{sweep}' and {_tag(INDEX)} != ''",
                max_results=1000,
                page_token=token,
            )
            for run in page:
                position = int(run.data.tags[INDEX])
                if run.info.status == "FINISHED":
                    there.finished.add(position)
                else:
                    there.halves.setdefault(position, []).append(run.info.run_id)
            token = page.token
            if not token:
                return there

    def _search(self, condition: str) -> list[Run]:
        order = ["attributes.start_time DESC"]
        return list(
            self._client.search_runs(
                [self.experiment], condition, max_results=1, order_by=order
            )
        )

    def _experiment_id(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is None:
            try:
                return str(self._client.create_experiment(name, tags=KIND_OF_EXPERIMENT))
            except MlflowException:
                # Another process was quicker.
                found = self._client.get_experiment_by_name(name)
                if found is None:
                    raise
        if found.lifecycle_stage != "active":
            raise SettingError(
                "experiment",
                f"{name!r}, which was deleted",
                "an active or a new experiment",
                "choose another name, or restore it with "
                f"`mlflow experiments restore -x {found.experiment_id}`",
            )
        return str(found.experiment_id)

    def _place(self, run_id: str, tab: str = "") -> str:
        uri = shown_uri(self.uri)
        if uri.startswith(("http://", "https://")):
            # A browser asks for the password itself.
            return uri.replace(f"{HIDDEN}@", "").rstrip("/") + _page(
                self.experiment, run_id, tab
            )
        file = uri.removeprefix("sqlite:///")
        store = uri if file == uri else str(Path(file).absolute())
        return f"run {run_id} in {store}"

    def store_errors(self) -> contextlib.AbstractContextManager[None]:
        """Turn what this store raises into a :class:`StoreError`."""
        return store_errors(self.uri, self.failures)


@contextlib.contextmanager
def store_errors(uri: str, failures: tuple[type[Exception], ...]) -> Iterator[None]:
    """Turn what a store raises into one :class:`StoreError` that says what to do."""
    try:
        yield
    except failures as error:
        reason = without_password(" ".join(str(error).split()))
        if len(reason) > 300:
            reason = reason[:300] + "…"
        raise StoreError(
            "tracking",
            f"{shown_uri(uri)!r}, which failed: {reason}",
            "sqlite:///mlflow.db, postgresql://…, http://… and other stores of MLflow",
            "correct it, install its driver, start the server, make room, or do not track",
        ) from (None if leaks(error) else error)


def is_lasting(error: Exception) -> bool:
    """Tell whether SQLite has no room or no right to write."""
    return "is full" in str(error) or "readonly" in str(error)


def make_tables(uri: str) -> None:
    """Let MLflow make its tables in an empty database, as it does when it opens one."""
    MlflowClient(uri).search_experiments(max_results=1)


def latest_page(uri: str) -> str | None:
    """Return the path of the UI's page on the newest run, or on the sweep that it is of."""
    client = MlflowClient(uri)
    experiments = [e.experiment_id for e in client.search_experiments()]
    order = ["attributes.start_time DESC"]
    newest = client.search_runs(experiments, max_results=1, order_by=order)
    if not newest:
        return None
    info, tags = newest[0].info, newest[0].data.tags
    sweep = SWEEP_ID in tags
    run_id = tags.get(MLFLOW_PARENT_RUN_ID, info.run_id)
    return _page(info.experiment_id, run_id, "/model-metrics" if sweep else "")


def source_tags() -> dict[str, str]:
    """Who ran what: MLflow's own tags; the commit of the experiment, else of this package.

    MLflow asks for the commit of the program's file, which an installed command lacks.
    """
    commit = get_git_commit(str(Path.cwd())) or get_git_commit(__file__)
    return {
        # The address of a repository may hold a token.
        **{name: without_password(value) for name, value in resolve_tags().items()},
        **({MLFLOW_GIT_COMMIT: commit} if commit else {}),
        "mlflow.version": mlflow.__version__,
    }


def _batches(items: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _page(experiment: str, run_id: str, tab: str) -> str:
    return f"/#/experiments/{experiment}/runs/{run_id}{tab}"


def _tag(name: str) -> str:
    return f"tags.`{name}`"
