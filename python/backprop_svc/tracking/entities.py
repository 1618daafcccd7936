"""What a tracking store is asked for, with the names that MLflow's own client has for it.

Importing MLflow takes longer than most commands, so what is read and written has light classes
here. :class:`Client` is the part of :class:`mlflow.MlflowClient` that is used:
:mod:`.local` has it without MLflow, :mod:`.remote` with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from PIL.Image import Image

MLFLOW_USER = "mlflow.user"
MLFLOW_RUN_NAME = "mlflow.runName"
MLFLOW_RUN_NOTE = "mlflow.note.content"
MLFLOW_PARENT_RUN_ID = "mlflow.parentRunId"
MLFLOW_SOURCE_NAME = "mlflow.source.name"
MLFLOW_SOURCE_TYPE = "mlflow.source.type"
MLFLOW_GIT_COMMIT = "mlflow.source.git.commit"
MLFLOW_GIT_BRANCH = "mlflow.source.git.branch"
MLFLOW_GIT_REPO_URL = "mlflow.source.git.repoURL"
MLFLOW_LOGGED_IMAGES = "mlflow.loggedImages"
ACTIVE, DELETED = "active", "deleted"
"""Stages of runs and experiments; what was deleted can be restored."""


class ViewType:
    """Which runs and experiments are looked at, by their stage."""

    ACTIVE_ONLY, DELETED_ONLY, ALL = 1, 2, 3


@dataclass(frozen=True)
class Metric:
    """One value of a metric."""

    key: str
    value: float
    timestamp: int
    """Milliseconds since 1970."""
    step: int = 0


@dataclass(frozen=True)
class Param:
    """One param of a run."""

    key: str
    value: str


@dataclass(frozen=True)
class FileInfo:
    """An artifact, or a folder of them."""

    path: str
    """Below the artifacts of the run."""
    is_dir: bool
    file_size: int | None


WriteModel = Callable[[str, str, Path], None]
"""Writes the files of a model, of an id and an address, into a folder."""


def status_after(error: BaseException) -> str:
    """Return the status of a run that an error ends: an interrupt is no failure of it."""
    return "FAILED" if isinstance(error, Exception) else "KILLED"


@dataclass(frozen=True)
class RunInfo:
    """What every run has."""

    run_id: str
    run_name: str
    experiment_id: str
    user_id: str
    status: str
    """RUNNING, FINISHED, FAILED or KILLED."""
    start_time: int
    """Milliseconds since 1970, as for ``end_time``."""
    end_time: int | None
    lifecycle_stage: str
    artifact_uri: str


@dataclass(frozen=True)
class RunData:
    """What was logged of a run; of each metric the latest value."""

    metrics: Mapping[str, float] = field(default_factory=dict)
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Run:
    """A run as a store has it."""

    info: RunInfo
    data: RunData


@dataclass(frozen=True)
class Experiment:
    """An experiment as a store has it."""

    experiment_id: str
    name: str
    artifact_location: str
    lifecycle_stage: str


class Page(list[Run]):
    """Runs that were found, and where the next ones are."""

    def __init__(self, runs: Sequence[Run], token: str | None) -> None:
        super().__init__(runs)
        self.token = token


class Client(Protocol):
    # ruff: noqa: D102
    """The methods of :class:`mlflow.MlflowClient` that are used: see its documentation."""

    failures: tuple[type[Exception], ...]
    """What its methods raise where the store refuses or fails."""

    def get_experiment(self, experiment_id: str) -> Experiment: ...

    def get_experiment_by_name(self, name: str) -> Experiment | None: ...

    def create_experiment(self, name: str, *, tags: dict[str, str]) -> str: ...

    def search_experiments(self, view_type: int = ViewType.ACTIVE_ONLY) -> list[Experiment]: ...

    def create_run(
        self, experiment_id: str, start_time: int, tags: dict[str, str], run_name: str
    ) -> Run: ...

    def get_run(self, run_id: str) -> Run: ...

    def search_runs(
        self,
        experiment_ids: list[str],
        filter_string: str = "",
        run_view_type: int = ViewType.ACTIVE_ONLY,
        max_results: int = 1000,
        order_by: list[str] | None = None,
        page_token: str | None = None,
    ) -> Page: ...

    def update_run(self, run_id: str, status: str) -> None: ...

    def set_terminated(
        self, run_id: str, status: str | None = None, end_time: int | None = None
    ) -> None: ...

    def delete_run(self, run_id: str) -> None: ...

    def log_batch(
        self, run_id: str, metrics: Sequence[Metric] = (), params: Sequence[Param] = ()
    ) -> None: ...

    def get_metric_history(self, run_id: str, key: str) -> list[Metric]: ...

    def set_tag(self, run_id: str, key: str, value: str) -> None: ...

    def delete_tag(self, run_id: str, key: str) -> None: ...

    def list_artifacts(self, run_id: str, path: str | None = None) -> list[FileInfo]: ...

    def download_artifacts(
        self, run_id: str, path: str, dst_path: str | None = None
    ) -> str: ...

    def log_text(self, run_id: str, text: str, artifact_file: str) -> None: ...

    def log_artifact(
        self, run_id: str, local_path: str, artifact_path: str | None = None
    ) -> None: ...

    def log_artifacts(
        self, run_id: str, local_dir: str, artifact_path: str | None = None
    ) -> None: ...

    def log_image(self, run_id: str, image: Image, *, key: str, step: int) -> None: ...

    # What MLflow's own client has several methods for.
    def log_model(self, run_id: str, name: str, write: WriteModel) -> str: ...
