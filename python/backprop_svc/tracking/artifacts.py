"""Artifacts in a local folder, as MLflow keeps them there."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING
from urllib.parse import unquote, urlsplit, urlunsplit

from backprop_svc.drafts import replacing
from backprop_svc.tracking.entities import FileInfo
from backprop_svc.tracking.limits import RefusedError

if TYPE_CHECKING:
    from PIL.Image import Image

ROOT = "./mlruns"
"""Where a client without a server keeps artifacts."""
ARTIFACTS = "artifacts"
"""The folder of a run's artifacts, within its own."""
PREVIEW = 256
"""Pixels of the longer side of the smaller copy that MLflow's page shows of a picture."""
_DRAFT = ".artifact.uploading."
"""How MLflow begins the name of a file that is being written."""


def new_root() -> str:
    """Return the root of the artifacts of new experiments."""
    root = os.environ.get("_MLFLOW_SERVER_ARTIFACT_ROOT", ROOT)
    folder = local_folder(root)
    if folder is None or folder.is_absolute():
        return root
    parts = urlsplit(root)
    here = (Path.cwd() / folder).as_posix()
    if not parts.scheme and os.name != "nt":
        return here
    return urlunsplit(("file", "", here, parts.query, parts.fragment))


def below(uri: str, *names: str) -> str:
    """Return the address of what is below another one."""
    parts = urlsplit(uri)
    if len(parts.scheme) < 2:
        # A path may have signs that mean something in an address.
        return "/".join([uri.rstrip("/"), *names])
    return urlunsplit(parts._replace(path="/".join([parts.path.rstrip("/"), *names])))


def local_folder(uri: str) -> Path | None:
    """Return the folder of an artifact URI; ``None`` where it is no local one."""
    parts = urlsplit(uri)
    if parts.scheme == "file" and parts.netloc in {"", "localhost"}:
        if os.name != "nt":
            return Path(unquote(parts.path))
        from urllib.request import url2pathname

        return Path(url2pathname(parts.path))
    # A drive of Windows is no scheme.
    return Path(uri) if len(parts.scheme) < 2 else None


class Folder:
    """The local folder with the artifacts of one run."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def files(self, path: str | None) -> list[FileInfo]:
        """List what is directly below a path."""
        folder = self._folder / _plain(path)
        if not folder.is_dir():
            return []
        return [
            FileInfo(
                entry.relative_to(self._folder).as_posix(),
                entry.is_dir(),
                None if entry.is_dir() else entry.stat().st_size,
            )
            for entry in sorted(folder.iterdir())
            if not entry.name.startswith(_DRAFT)
        ]

    def path(self, name: str) -> Path:
        """Return where a file is.

        Raises
        ------
        FileNotFoundError
            There is none.
        """
        path = self._folder / _plain(name)
        if not path.exists():
            raise FileNotFoundError(f"there is no artifact {name!r} in {self._folder}")
        return path

    def write(self, name: str, content: bytes) -> None:
        """Write a file at once: nobody sees a part of it."""
        with self._draft(name) as file:
            file.write(content)

    def copy(self, source: Path, name: str) -> None:
        """Copy a file, or a folder with all below it."""
        if source.is_dir():
            for entry in source.iterdir():
                self.copy(entry, f"{name}/{entry.name}")
        else:
            with source.open("rb") as content, self._draft(name) as file:
                shutil.copyfileobj(content, file)

    def picture(self, image: Image, key: str, step: int, timestamp: int) -> None:
        """Keep a picture so that MLflow's page shows it: whole, and a smaller copy."""
        stem, preview = picture_names(key, step, timestamp)
        with self._draft(f"images/{stem}.png") as file:
            image.save(file, "PNG")
        with self._draft(f"images/{preview}") as file:
            smaller(image).save(file, "WEBP")

    @contextmanager
    def _draft(self, name: str) -> Iterator[IO[bytes]]:
        path = self._folder / _plain(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, _DRAFT) as file:
            yield file


def picture_names(key: str, step: int, timestamp: int) -> tuple[str, str]:
    """Name a picture without its ending, and its smaller copy, as the installed MLflow does."""
    from importlib.metadata import version

    major, minor = version("mlflow").split(".")[:2]
    slash, sign = ("~", "+") if (int(major), int(minor)) >= (3, 11) else ("#", "%")
    parts = [key.replace("/", slash), "step", str(step), "timestamp", str(timestamp)]
    stem = sign.join([*parts, str(uuid.uuid4())])
    return stem, f"{stem}{sign}compressed.webp"


def smaller(image: Image) -> Image:
    """Return the smaller copy of a picture."""
    width, height = image.size
    if width > height:
        return image.resize((PREVIEW, int(height * (PREVIEW / width))))
    return image.resize((int(width * (PREVIEW / height)), PREVIEW))


def _plain(path: str | None) -> PurePosixPath:
    plain = PurePosixPath(path or ".")
    if plain.is_absolute() or ".." in plain.parts:
        raise RefusedError(f"the artifact {path!r} is not below its run")
    return plain
