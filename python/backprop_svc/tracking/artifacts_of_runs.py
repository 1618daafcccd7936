"""The artifacts of runs, for a client of their database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from backprop_svc.tracking.artifacts import Folder, local_folder
from backprop_svc.tracking.entities import MLFLOW_LOGGED_IMAGES, Client, FileInfo, Run
from backprop_svc.tracking.failures import artifact_errors, guarded
from backprop_svc.tracking.record import now

if TYPE_CHECKING:
    from PIL.Image import Image


class ArtifactsOfRuns:
    """Methods of :class:`.entities.Client`: into local folders here, by MLflow elsewhere."""

    failures: tuple[type[Exception], ...]

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._remote: Client | None = None

    def get_run(self, run_id: str) -> Run:
        """Return a run by its id."""
        raise NotImplementedError

    def set_tag(self, run_id: str, key: str, value: str) -> None:
        """Set a tag of a run."""
        raise NotImplementedError

    def list_artifacts(self, run_id: str, path: str | None = None) -> list[FileInfo]:
        """Return the artifacts of a run that are directly below a path."""
        with self._folder(run_id) as folder:
            if folder is None:
                return self._elsewhere().list_artifacts(run_id, path)
            return folder.files(path)

    def download_artifacts(self, run_id: str, path: str, dst_path: str | None = None) -> str:
        """Return where an artifact is: a local one stays where it is."""
        with self._folder(run_id) as folder:
            if folder is None:
                return self._elsewhere().download_artifacts(run_id, path, dst_path)
            return str(folder.path(path))

    def log_text(self, run_id: str, text: str, artifact_file: str) -> None:
        """Keep a text as an artifact."""
        with self._folder(run_id) as folder:
            if folder is None:
                self._elsewhere().log_text(run_id, text, artifact_file)
            else:
                folder.write(artifact_file, text.encode())

    def log_artifact(
        self, run_id: str, local_path: str, artifact_path: str | None = None
    ) -> None:
        """Keep a file as an artifact."""
        with self._folder(run_id) as folder:
            if folder is None:
                self._elsewhere().log_artifact(run_id, local_path, artifact_path)
            else:
                folder.copy(Path(local_path), _joined(artifact_path, Path(local_path).name))

    def log_artifacts(
        self, run_id: str, local_dir: str, artifact_path: str | None = None
    ) -> None:
        """Keep what is in a folder as artifacts."""
        with self._folder(run_id) as folder:
            if folder is None:
                self._elsewhere().log_artifacts(run_id, local_dir, artifact_path)
                return
            for entry in Path(local_dir).iterdir():
                folder.copy(entry, _joined(artifact_path, entry.name))

    def log_image(self, run_id: str, image: Image, *, key: str, step: int) -> None:
        """Keep a picture that MLflow's page shows."""
        with self._folder(run_id) as folder:
            if folder is None:
                self._elsewhere().log_image(run_id, image, key=key, step=step)
                return
            folder.picture(image, key, step, now())
        self.set_tag(run_id, MLFLOW_LOGGED_IMAGES, "True")

    @contextmanager
    def _folder(self, run_id: str) -> Iterator[Folder | None]:
        uri = self.get_run(run_id).info.artifact_uri
        with artifact_errors(lambda: uri, (OSError,)):
            folder = local_folder(uri)
            yield None if folder is None else Folder(folder)

    def _elsewhere(self) -> Client:
        """Return MLflow's client, which knows all stores of artifacts."""
        if self._remote is None:
            from backprop_svc.tracking.remote import as_client

            self._remote = guarded(as_client(self._uri), self._uri)
        return self._remote


def _joined(folder: str | None, name: str) -> str:
    return name if folder is None else f"{folder}/{name}"
