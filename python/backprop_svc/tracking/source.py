"""Who ran what, from where: the tags that MLflow gives to every run."""

from __future__ import annotations

import configparser
import getpass
import json
import os
import subprocess
import sys
from contextlib import suppress
from importlib.metadata import entry_points, version
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from backprop_svc.tracking.entities import (
    MLFLOW_GIT_BRANCH,
    MLFLOW_GIT_COMMIT,
    MLFLOW_GIT_REPO_URL,
    MLFLOW_SOURCE_NAME,
    MLFLOW_SOURCE_TYPE,
    MLFLOW_USER,
)
from backprop_svc.tracking.uri import without_password

PLUGINS = "mlflow.run_context_provider"
"""The group of entry points of packages that add tags."""
_GIT_PATIENCE = 10
"""Seconds for an answer of git."""


def source_tags() -> dict[str, str]:
    """Who ran what: MLflow's own tags; the commit of the experiment, else of this package.

    MLflow asks for the commit of the program's file, which an installed command lacks.
    """
    commit = Repository.commit_of(Path.cwd()) or Repository.commit_of(Path(__file__))
    return {
        # The address of a repository may hold a token.
        **{name: without_password(value) for name, value in _resolved().items()},
        **({MLFLOW_GIT_COMMIT: commit} if commit else {}),
        "mlflow.version": version("mlflow"),
    }


def _resolved() -> dict[str, str]:
    """Return what ``mlflow.tracking.context.registry.resolve_tags`` does."""
    databricks = any(name.startswith("DATABRICKS_") for name in os.environ)
    if "IPython" in sys.modules or databricks or entry_points(group=PLUGINS):
        # Notebooks, and what only MLflow knows.
        from mlflow.tracking.context.registry import resolve_tags

        from backprop_svc.tracking import remote

        assert remote
        found: dict[str, str] = resolve_tags()
        return found
    tags = _of_the_program()
    with suppress(ValueError):
        tags |= json.loads(os.environ.get("MLFLOW_RUN_CONTEXT", "{}"))
    return tags


def _of_the_program() -> dict[str, str]:
    program = sys.argv[0] if sys.argv and sys.argv[0] else None
    tags = {}
    # Somebody without a name, as in some containers, has no such tags.
    with suppress(ImportError, KeyError, OSError):
        tags = {
            MLFLOW_USER: _user(),
            MLFLOW_SOURCE_NAME: program or "<console>",
            MLFLOW_SOURCE_TYPE: "LOCAL",
        }
    repository = Repository.of(Path(program)) if program else None
    return tags | (repository.tags() if repository else {})


def _user() -> str:
    told = os.environ.get("MLFLOW_TRACKING_USERNAME")
    if told:
        return told
    file = Path("~/.mlflow/credentials").expanduser()
    if file.exists():
        config = configparser.ConfigParser()
        config.read(file)
        if config.has_option("mlflow", "mlflow_tracking_username"):
            return config.get("mlflow", "mlflow_tracking_username")
    return getpass.getuser()


class Repository:
    """The Git repository that a file or a folder is in, and that does not ignore it."""

    def __init__(self, folder: Path, commit: str) -> None:
        self._folder, self._commit = folder, commit

    @classmethod
    def of(cls, path: Path) -> Repository | None:
        """Return the repository of a path, if it is in one with a commit."""
        folder = (path.parent if path.is_file() else path).absolute()
        above = (folder, *folder.parents)
        if "GIT_DIR" not in os.environ and not any((one / ".git").exists() for one in above):
            return None
        commit = _git(folder, "rev-parse", "--verify", "HEAD")
        if commit is None or _git(folder, "check-ignore", str(folder)) is not None:
            return None
        return cls(folder, commit)

    @classmethod
    def commit_of(cls, path: Path) -> str | None:
        """Return the commit of a path, if it is in a repository."""
        found = cls.of(path)
        return None if found is None else found._commit

    def tags(self) -> dict[str, str]:
        """Return commit, branch and address, as far as they are there."""
        remotes = _git(self._folder, "config", "--get-regexp", r"^remote\..*\.url$")
        address = None
        if remotes:
            name = remotes.split()[0].removeprefix("remote.").removesuffix(".url")
            address = _git(self._folder, "remote", "get-url", name)
        found = {
            MLFLOW_GIT_COMMIT: self._commit,
            MLFLOW_GIT_BRANCH: _git(self._folder, "symbolic-ref", "--short", "HEAD"),
            MLFLOW_GIT_REPO_URL: None if address is None else _without_user(address),
        }
        return {name: value for name, value in found.items() if value is not None}


def _git(folder: Path, *words: str) -> str | None:
    """Return the first line of what git says; ``None`` where it fails or is not there."""
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *words],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
            timeout=_GIT_PATIENCE,
        )  # fmt: skip
    except (OSError, subprocess.SubprocessError, UnicodeError):
        return None
    lines = done.stdout.splitlines()
    return lines[0] if done.returncode == 0 and lines else None


def _without_user(address: str) -> str:
    parts = urlsplit(address)
    if not parts.scheme or "@" not in parts.netloc:
        return address
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
